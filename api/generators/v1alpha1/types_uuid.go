package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UUID makes random UUIDs.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type UUID struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec UUIDSpec `json:"spec,omitzero"`
}

// UUIDList is a list of UUID objects.
// +kubebuilder:object:root=true
type UUIDList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []UUID `json:"items"`
}

// GeneratorSpec returns the *UUIDSpec inside g.
func (g *UUID) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns an empty string.
func (*UUID) ControllerClass() string { return "" }

// UUIDSpec has nothing to choose.
type UUIDSpec struct{}
