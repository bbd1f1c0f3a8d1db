package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fake hands out what its manifest says, for tests and demonstrations.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators}
type Fake struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec FakeSpec `json:"spec,omitzero"`
}

// FakeList is a list of Fake objects.
// +kubebuilder:object:root=true
type FakeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Fake `json:"items"`
}

// GeneratorSpec returns the *FakeSpec inside g.
func (g *Fake) GeneratorSpec() any { return &g.Spec }

// ControllerClass returns spec.controller.
func (g *Fake) ControllerClass() string { return g.Spec.Controller }

// FakeSpec is what is handed out.
type FakeSpec struct {
	// Controller is the class of controller that handles this generator; empty means all.
	// +optional
	Controller string `json:"controller,omitempty"`
	// Data is handed out as it is. It is no place for a real secret: whoever may read
	// the generator may read it.
	// +optional
	Data map[string]string `json:"data,omitempty"`
}
