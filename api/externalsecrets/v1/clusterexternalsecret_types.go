package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterExternalSecret makes an ExternalSecret in every namespace that matches.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Cluster,categories={external-secrets},shortName=ces
// +kubebuilder:printcolumn:name="Store",type=string,JSONPath=`.spec.externalSecretSpec.secretStoreRef.name`
// +kubebuilder:printcolumn:name="Refresh Interval",type=string,JSONPath=`.spec.refreshTime`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: say in spec.externalSecretSpec what each namespace gets"
type ClusterExternalSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ClusterExternalSecretSpec `json:"spec,omitzero"`
	// +optional
	Status ClusterExternalSecretStatus `json:"status,omitzero"`
}

// ClusterExternalSecretList is a list of ClusterExternalSecrets.
// +kubebuilder:object:root=true
type ClusterExternalSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterExternalSecret `json:"items"`
}

// ClusterExternalSecretSpec is the wanted state. A namespace is served if one of
// namespaceSelectors, namespaceSelector and namespaces names it.
type ClusterExternalSecretSpec struct {
	// ExternalSecretSpec is the spec of the ExternalSecrets.
	ExternalSecretSpec ExternalSecretSpec `json:"externalSecretSpec"`
	// ExternalSecretName is the name of the ExternalSecrets; empty is that of this
	// object. When it changes, those of the old name are deleted.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	ExternalSecretName string `json:"externalSecretName,omitempty"`
	// ExternalSecretMetadata is the metadata of the ExternalSecrets.
	// +optional
	ExternalSecretMetadata ExternalSecretMetadata `json:"externalSecretMetadata,omitzero"`
	// NamespaceSelector selects namespaces.
	//
	// Deprecated: use namespaceSelectors.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// NamespaceSelectors select the namespaces: those that one of them matches.
	// +optional
	NamespaceSelectors []*metav1.LabelSelector `json:"namespaceSelectors,omitempty"`
	// Namespaces are names of namespaces.
	//
	// Deprecated: use namespaceSelectors with the label kubernetes.io/metadata.name.
	// +optional
	// +kubebuilder:validation:items:MinLength:=1
	// +kubebuilder:validation:items:MaxLength:=63
	// +kubebuilder:validation:items:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
	Namespaces []string `json:"namespaces,omitempty"`
	// RefreshInterval is how often the namespaces are looked at although nothing happened.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('876000h')",message="refreshTime must be a duration such as 1h30m or 45s, and at most 876000h"
	RefreshInterval *metav1.Duration `json:"refreshTime,omitempty"`
}

// ExternalSecretMetadata is metadata of an ExternalSecret.
type ExternalSecretMetadata struct {
	// Annotations to set.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// Labels to set.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
}

// ClusterExternalSecretConditionType is the type of a condition.
type ClusterExternalSecretConditionType string

// The condition types.
const (
	// ClusterExternalSecretReady is True while every namespace has its ExternalSecret.
	ClusterExternalSecretReady ClusterExternalSecretConditionType = "Ready"
	// ClusterExternalSecretReconciling is True while namespaces are being served, and
	// absent otherwise.
	ClusterExternalSecretReconciling ClusterExternalSecretConditionType = "Reconciling"
	// ClusterExternalSecretStalled is True when nothing will happen before somebody
	// changes something, and absent otherwise.
	ClusterExternalSecretStalled ClusterExternalSecretConditionType = "Stalled"
)

// ClusterExternalSecretStatusCondition is one condition.
type ClusterExternalSecretStatusCondition struct {
	// Type of the condition.
	Type ClusterExternalSecretConditionType `json:"type"`
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

// ClusterExternalSecretNamespaceFailure is a namespace that could not be served.
type ClusterExternalSecretNamespaceFailure struct {
	// Namespace that failed.
	Namespace string `json:"namespace"`
	// Reason why.
	// +optional
	Reason string `json:"reason,omitempty"`
}

// ClusterExternalSecretStatus is the observed state.
type ClusterExternalSecretStatus struct {
	// ExternalSecretName is the name of the ExternalSecrets that were made.
	// +optional
	ExternalSecretName string `json:"externalSecretName,omitempty"`
	// Conditions, at most one of each type.
	// +optional
	Conditions []ClusterExternalSecretStatusCondition `json:"conditions,omitempty"`
	// FailedNamespaces are those that could not be served.
	// +optional
	FailedNamespaces []ClusterExternalSecretNamespaceFailure `json:"failedNamespaces,omitempty"`
	// ProvisionedNamespaces are those that have their ExternalSecret.
	// +optional
	ProvisionedNamespaces []string `json:"provisionedNamespaces,omitempty"`
	// ObservedGeneration is the generation that the conditions speak about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}
