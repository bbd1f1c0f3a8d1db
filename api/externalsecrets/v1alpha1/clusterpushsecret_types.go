package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterPushSecret makes a PushSecret in every namespace that matches.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Cluster,categories={external-secrets}
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: say in spec.pushSecretSpec what each namespace gets"
type ClusterPushSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ClusterPushSecretSpec `json:"spec,omitzero"`
	// +optional
	Status ClusterPushSecretStatus `json:"status,omitzero"`
}

// ClusterPushSecretList is a list of ClusterPushSecrets.
// +kubebuilder:object:root=true
type ClusterPushSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterPushSecret `json:"items"`
}

// ClusterPushSecretSpec is the wanted state.
type ClusterPushSecretSpec struct {
	// PushSecretSpec is the spec of the PushSecrets.
	PushSecretSpec PushSecretSpec `json:"pushSecretSpec"`
	// RefreshInterval is how often the namespaces are looked at although nothing happened.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('876000h')",message="refreshTime must be a duration such as 1h30m or 45s, and at most 876000h"
	RefreshInterval *metav1.Duration `json:"refreshTime,omitempty"`
	// PushSecretName is the name of the PushSecrets; empty is that of this object.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	PushSecretName string `json:"pushSecretName,omitempty"`
	// PushSecretMetadata is the metadata of the PushSecrets.
	// +optional
	PushSecretMetadata PushSecretMetadata `json:"pushSecretMetadata,omitzero"`
	// NamespaceSelectors select the namespaces: those that one of them matches.
	// +optional
	NamespaceSelectors []*metav1.LabelSelector `json:"namespaceSelectors,omitempty"`
}

// PushSecretMetadata is metadata of a PushSecret.
type PushSecretMetadata struct {
	// Annotations to set.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// Labels to set.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
}

// ClusterPushSecretNamespaceFailure is a namespace that could not be served.
type ClusterPushSecretNamespaceFailure struct {
	// Namespace that failed.
	Namespace string `json:"namespace"`
	// Reason why.
	// +optional
	Reason string `json:"reason,omitempty"`
}

// ClusterPushSecretStatus is the observed state.
type ClusterPushSecretStatus struct {
	// FailedNamespaces are those that could not be served.
	// +optional
	FailedNamespaces []ClusterPushSecretNamespaceFailure `json:"failedNamespaces,omitempty"`
	// ProvisionedNamespaces are those that have their PushSecret.
	// +optional
	ProvisionedNamespaces []string `json:"provisionedNamespaces,omitempty"`
	// PushSecretName is the name of the PushSecrets that were made.
	// +optional
	PushSecretName string `json:"pushSecretName,omitempty"`
	// ObservedGeneration is the generation that the conditions speak about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions, at most one of each type.
	// +optional
	Conditions []PushSecretStatusCondition `json:"conditions,omitempty"`
}
