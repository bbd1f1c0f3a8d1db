package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
)

// CloudsmithAccessToken makes tokens for Cloudsmith.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the organization in spec.orgSlug"
type CloudsmithAccessToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec CloudsmithAccessTokenSpec `json:"spec,omitzero"`
}

// CloudsmithAccessTokenList is a list of CloudsmithAccessToken objects.
// +kubebuilder:object:root=true
type CloudsmithAccessTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CloudsmithAccessToken `json:"items"`
}

// GeneratorSpec returns the *CloudsmithAccessTokenSpec inside g.
func (g *CloudsmithAccessToken) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*CloudsmithAccessToken) ControllerClass() string { return "" }

// CloudsmithAccessTokenSpec says for what a token is.
type CloudsmithAccessTokenSpec struct {
	// APIURL is the host name of the API; empty means api.cloudsmith.io.
	// +optional
	APIURL string `json:"apiUrl,omitempty"`
	// OrgSlug is the organization.
	OrgSlug string `json:"orgSlug"`
	// ServiceSlug is the service of the organization to log in as.
	ServiceSlug string `json:"serviceSlug"`
	// ServiceAccountRef names the service account whose token the service trusts.
	ServiceAccountRef esmeta.ServiceAccountSelector `json:"serviceAccountRef"`
}
