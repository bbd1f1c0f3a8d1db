package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ExternalSecretConditionType is the type of a condition.
// +kubebuilder:validation:Enum=Ready;Deleted;Reconciling;Stalled
type ExternalSecretConditionType string

// The condition types.
const (
	// ExternalSecretReady is True while the target is in step.
	ExternalSecretReady ExternalSecretConditionType = "Ready"
	// ExternalSecretDeleted is set by ESO once the target is gone.
	ExternalSecretDeleted ExternalSecretConditionType = "Deleted"
	// ExternalSecretReconciling is True while the target is not yet in step, and absent otherwise.
	ExternalSecretReconciling ExternalSecretConditionType = "Reconciling"
	// ExternalSecretStalled is True when nothing will happen before somebody changes
	// something, and absent otherwise.
	ExternalSecretStalled ExternalSecretConditionType = "Stalled"
)

// ExternalSecretStatusCondition is one condition.
type ExternalSecretStatusCondition struct {
	// Type of the condition.
	Type ExternalSecretConditionType `json:"type"`
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

// ExternalSecretStatus is the observed state.
type ExternalSecretStatus struct {
	// RefreshTime is when the values were last read.
	// +optional
	// +nullable
	RefreshTime metav1.Time `json:"refreshTime,omitzero"`
	// SyncedResourceVersion tells which state of the ExternalSecret was synced last:
	// its generation and a digest of its labels and annotations.
	// +optional
	SyncedResourceVersion string `json:"syncedResourceVersion,omitempty"`
	// ObservedGeneration is the generation that the conditions speak about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// TargetResourceVersion is the resourceVersion of the target as last written or
	// verified.
	// +optional
	TargetResourceVersion string `json:"targetResourceVersion,omitempty"`
	// Conditions, at most one of each type.
	// +optional
	Conditions []ExternalSecretStatusCondition `json:"conditions,omitempty"`
	// Binding names the target that was written.
	// +optional
	Binding corev1.LocalObjectReference `json:"binding,omitzero"`
}
