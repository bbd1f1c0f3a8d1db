package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PushSecretConditionType is the type of a condition.
type PushSecretConditionType string

// The condition types.
const (
	// PushSecretReady is True while the stores are in step.
	PushSecretReady PushSecretConditionType = "Ready"
	// PushSecretReconciling is True while the stores are not yet in step, and absent otherwise.
	PushSecretReconciling PushSecretConditionType = "Reconciling"
	// PushSecretStalled is True when nothing will happen before somebody changes
	// something, and absent otherwise.
	PushSecretStalled PushSecretConditionType = "Stalled"
)

// PushSecretStatusCondition is one condition.
type PushSecretStatusCondition struct {
	// Type of the condition.
	Type PushSecretConditionType `json:"type"`
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

// PushSecretStatus is the observed state.
type PushSecretStatus struct {
	// RefreshTime is when the stores were last looked at.
	// +optional
	// +nullable
	RefreshTime metav1.Time `json:"refreshTime,omitzero"`
	// SyncedResourceVersion tells which state of the PushSecret, and of what it
	// depends on, was pushed last.
	// +optional
	SyncedResourceVersion string `json:"syncedResourceVersion,omitempty"`
	// ObservedGeneration is the generation that the conditions speak about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// SyncedPushSecrets is what this object has, or may have, written: by store
	// ("Kind/name"), then by place ("remoteKey" or "remoteKey/property").
	// +optional
	SyncedPushSecrets map[string]map[string]PushSecretData `json:"syncedPushSecrets,omitempty"`
	// Conditions, at most one of each type.
	// +optional
	Conditions []PushSecretStatusCondition `json:"conditions,omitempty"`
}
