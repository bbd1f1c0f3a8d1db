package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GeneratorState says what a generator has left behind elsewhere (a token, a lease), so
// that it is ended when nobody needs it any more. The controller writes it, and it holds
// no secret value.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets,external-secrets-generators},shortName=gs
// +kubebuilder:printcolumn:name="GC Deadline",type=string,JSONPath=`.spec.garbageCollectionDeadline`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type GeneratorState struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec GeneratorStateSpec `json:"spec,omitzero"`
	// +optional
	Status GeneratorStateStatus `json:"status,omitzero"`
}

// GeneratorStateList is a list of GeneratorStates.
// +kubebuilder:object:root=true
type GeneratorStateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GeneratorState `json:"items"`
}

// GeneratorStateSpec is what a generator has left behind.
type GeneratorStateSpec struct {
	// GarbageCollectionDeadline is when it is to be ended; empty while it is in use.
	// +optional
	GarbageCollectionDeadline *metav1.Time `json:"garbageCollectionDeadline,omitempty"`
	// Resource is the generator as it was then.
	Resource *apiextensionsv1.JSON `json:"resource"`
	// State is what the generator needs to find it again.
	State *apiextensionsv1.JSON `json:"state"`
}

// GeneratorStateConditionType is the type of a condition.
type GeneratorStateConditionType string

// GeneratorStateReady is True while what the generator left behind is in use or has
// ended, and False while it cannot be ended.
const GeneratorStateReady GeneratorStateConditionType = "Ready"

// Reasons of a GeneratorState's conditions.
const (
	ConditionReasonCreated = "Created"
	ConditionReasonError   = "Error"
)

// GeneratorStateStatusCondition is one condition.
type GeneratorStateStatusCondition struct {
	// Type of the condition.
	Type GeneratorStateConditionType `json:"type"`
	// Status is True, False or Unknown.
	Status corev1.ConditionStatus `json:"status"`
	// Reason is one word for machines.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message says what is the matter and what to do.
	// +optional
	Message string `json:"message,omitempty"`
	// LastTransitionTime is when the status last changed.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitzero"`
}

// GeneratorStateStatus is the observed state.
type GeneratorStateStatus struct {
	// Expires is when what was made ends by itself; empty if that is not known. It is
	// extended or replaced when a third of its lifetime is left.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
	// Lifetime is how long it was good for when it was made.
	// +optional
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`
	// Renewable is true if its end can be put off.
	// +optional
	Renewable bool `json:"renewable,omitempty"`
	// Conditions, at most one of each type.
	// +optional
	Conditions []GeneratorStateStatusCondition `json:"conditions,omitempty"`
}
