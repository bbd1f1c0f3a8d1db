package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
)

// QuayAccessToken makes tokens of Quay robot accounts.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the account in spec.robotAccount"
type QuayAccessToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec QuayAccessTokenSpec `json:"spec,omitzero"`
}

// QuayAccessTokenList is a list of QuayAccessToken objects.
// +kubebuilder:object:root=true
type QuayAccessTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []QuayAccessToken `json:"items"`
}

// GeneratorSpec returns the *QuayAccessTokenSpec inside g.
func (g *QuayAccessToken) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*QuayAccessToken) ControllerClass() string { return "" }

// QuayAccessTokenSpec says for what a token is.
type QuayAccessTokenSpec struct {
	// URL is the host name of the server; empty means quay.io.
	// +optional
	URL string `json:"url,omitempty"`
	// RobotAccount is the robot account to log in as, such as example+robot.
	RobotAccount string `json:"robotAccount"`
	// ServiceAccountRef names the service account whose token the robot account trusts.
	ServiceAccountRef esmeta.ServiceAccountSelector `json:"serviceAccountRef"`
}
