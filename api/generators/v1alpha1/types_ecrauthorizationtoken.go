package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// ECRAuthorizationToken makes logins for Elastic Container Registry.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the region in spec.region"
type ECRAuthorizationToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ECRAuthorizationTokenSpec `json:"spec,omitzero"`
}

// ECRAuthorizationTokenList is a list of ECRAuthorizationToken objects.
// +kubebuilder:object:root=true
type ECRAuthorizationTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ECRAuthorizationToken `json:"items"`
}

// GeneratorSpec returns the *ECRAuthorizationTokenSpec inside g.
func (g *ECRAuthorizationToken) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*ECRAuthorizationToken) ControllerClass() string { return "" }

// ECRAuthorizationTokenSpec says for what a login is.
type ECRAuthorizationTokenSpec struct {
	// Region of the registry, such as eu-west-1.
	Region string `json:"region"`
	// Auth is how to log in to AWS: jwt, else secretRef, else what the controller itself
	// has.
	// +optional
	Auth esv1.AWSAuth `json:"auth,omitzero"`
	// Role is the ARN of a role to assume.
	// +optional
	Role string `json:"role,omitempty"`
	// Scope is private (also when empty) or public.
	// +optional
	Scope string `json:"scope,omitempty"`
}
