package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// STSSessionToken makes temporary credentials of AWS.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name the region in spec.region"
type STSSessionToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec STSSessionTokenSpec `json:"spec,omitzero"`
}

// STSSessionTokenList is a list of STSSessionToken objects.
// +kubebuilder:object:root=true
type STSSessionTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []STSSessionToken `json:"items"`
}

// GeneratorSpec returns the *STSSessionTokenSpec inside g.
func (g *STSSessionToken) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*STSSessionToken) ControllerClass() string { return "" }

// STSSessionTokenSpec says for what credentials are.
type STSSessionTokenSpec struct {
	// Region of the service, such as eu-west-1.
	Region string `json:"region"`
	// Auth is how to log in to AWS: jwt, else secretRef, else what the controller itself
	// has.
	// +optional
	Auth esv1.AWSAuth `json:"auth,omitzero"`
	// Role is the ARN of a role to assume.
	// +optional
	Role string `json:"role,omitempty"`
	// RequestParameters of GetSessionToken.
	// +optional
	RequestParameters *RequestParameters `json:"requestParameters,omitempty"`
}

// RequestParameters of GetSessionToken.
type RequestParameters struct {
	// SessionDuration is how many seconds the credentials are valid.
	// +optional
	SessionDuration *int32 `json:"sessionDuration,omitempty"`
	// SerialNumber of the MFA device of the user.
	// +optional
	SerialNumber *string `json:"serialNumber,omitempty"`
	// TokenCode that the MFA device shows.
	// +optional
	TokenCode *string `json:"tokenCode,omitempty"`
}
