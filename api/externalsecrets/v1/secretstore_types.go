package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// SecretStore says how to reach an external store, for one namespace.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets},shortName=ss
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Capabilities",type=string,JSONPath=`.status.capabilities`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name a provider in spec.provider"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.provider.vault) || !has(self.spec.provider.vault.caProvider) || !has(self.spec.provider.vault.caProvider.namespace)",message="spec.provider.vault.caProvider.namespace must not be set in a SecretStore: the object is read from the namespace of the store"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.provider.openBao) || !has(self.spec.provider.openBao.caProvider) || !has(self.spec.provider.openBao.caProvider.namespace)",message="spec.provider.openBao.caProvider.namespace must not be set in a SecretStore: the object is read from the namespace of the store"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.provider.webhook) || !has(self.spec.provider.webhook.caProvider) || !has(self.spec.provider.webhook.caProvider.namespace)",message="spec.provider.webhook.caProvider.namespace must not be set in a SecretStore: the object is read from the namespace of the store"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.provider.kubernetes) || !has(self.spec.provider.kubernetes.server) || !has(self.spec.provider.kubernetes.server.caProvider) || !has(self.spec.provider.kubernetes.server.caProvider.namespace)",message="spec.provider.kubernetes.server.caProvider.namespace must not be set in a SecretStore: the object is read from the namespace of the store"
type SecretStore struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec SecretStoreSpec `json:"spec,omitzero"`
	// +optional
	Status SecretStoreStatus `json:"status,omitzero"`
}

// SecretStoreList is a list of SecretStores.
// +kubebuilder:object:root=true
type SecretStoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SecretStore `json:"items"`
}

// ClusterSecretStore says how to reach an external store, for all namespaces that
// its conditions admit.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Cluster,categories={external-secrets},shortName=css
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Capabilities",type=string,JSONPath=`.status.capabilities`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name a provider in spec.provider"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.provider.vault) || !has(self.spec.provider.vault.caProvider) || has(self.spec.provider.vault.caProvider.namespace)",message="spec.provider.vault.caProvider.namespace is needed in a ClusterSecretStore"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.provider.openBao) || !has(self.spec.provider.openBao.caProvider) || has(self.spec.provider.openBao.caProvider.namespace)",message="spec.provider.openBao.caProvider.namespace is needed in a ClusterSecretStore"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.provider.webhook) || !has(self.spec.provider.webhook.caProvider) || has(self.spec.provider.webhook.caProvider.namespace)",message="spec.provider.webhook.caProvider.namespace is needed in a ClusterSecretStore"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.provider.kubernetes) || !has(self.spec.provider.kubernetes.server) || !has(self.spec.provider.kubernetes.server.caProvider) || has(self.spec.provider.kubernetes.server.caProvider.namespace)",message="spec.provider.kubernetes.server.caProvider.namespace is needed in a ClusterSecretStore"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.provider.webhook) || !has(self.spec.provider.webhook.secrets) || self.spec.provider.webhook.secrets.all(s, has(s.secretRef.namespace))",message="spec.provider.webhook.secrets[].secretRef.namespace is needed in a ClusterSecretStore"
type ClusterSecretStore struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec SecretStoreSpec `json:"spec,omitzero"`
	// +optional
	Status SecretStoreStatus `json:"status,omitzero"`
}

// ClusterSecretStoreList is a list of ClusterSecretStores.
// +kubebuilder:object:root=true
type ClusterSecretStoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterSecretStore `json:"items"`
}

// GenericStore is a SecretStore or a ClusterSecretStore.
// +kubebuilder:object:generate=false
type GenericStore interface {
	metav1.Object
	runtime.Object
	// GetKind returns SecretStoreKind or ClusterSecretStoreKind, also when the
	// object's TypeMeta is empty.
	GetKind() string
	// GetSpec returns the spec inside the object. It is never nil.
	GetSpec() *SecretStoreSpec
	// GetStatus returns the status inside the object. It is never nil.
	GetStatus() *SecretStoreStatus
}

var (
	_ GenericStore = (*SecretStore)(nil)
	_ GenericStore = (*ClusterSecretStore)(nil)
)

// GetKind returns SecretStoreKind.
func (s *SecretStore) GetKind() string { return SecretStoreKind }

// GetSpec returns the spec inside s.
func (s *SecretStore) GetSpec() *SecretStoreSpec { return &s.Spec }

// GetStatus returns the status inside s.
func (s *SecretStore) GetStatus() *SecretStoreStatus { return &s.Status }

// GetKind returns ClusterSecretStoreKind.
func (s *ClusterSecretStore) GetKind() string { return ClusterSecretStoreKind }

// GetSpec returns the spec inside s.
func (s *ClusterSecretStore) GetSpec() *SecretStoreSpec { return &s.Spec }

// GetStatus returns the status inside s.
func (s *ClusterSecretStore) GetStatus() *SecretStoreStatus { return &s.Status }

// SecretStoreSpec is how to reach a store.
type SecretStoreSpec struct {
	// Controller is the class of controller that handles this store; empty means all.
	// +optional
	Controller string `json:"controller,omitempty"`

	// Provider is the kind of store: exactly one of its members.
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=1
	// +kubebuilder:pruning:PreserveUnknownFields
	Provider *SecretStoreProvider `json:"provider"`

	// RetrySettings of the requests.
	// +optional
	RetrySettings *SecretStoreRetrySettings `json:"retrySettings,omitempty"`

	// RefreshInterval is how often the store is validated: a duration such as 5m, or a
	// number of seconds. Empty or 0 means the controller's own interval.
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 && self <= 2147483647 : (self.size() == 0 || (self.matches('^[+]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|µs|ms|s|m|h))+)$') && duration(self) >= duration('0s')))",message="refreshInterval must be a duration such as 5m, or a number of seconds, and not negative"
	RefreshInterval *intstr.IntOrString `json:"refreshInterval,omitempty"`

	// Conditions limit which namespaces may use a ClusterSecretStore: one of them must
	// hold. None admits every namespace.
	// +optional
	// +kubebuilder:validation:MaxItems:=200
	Conditions []ClusterSecretStoreCondition `json:"conditions,omitempty"`
}

// ClusterSecretStoreCondition admits namespaces: any of its fields may do so.
type ClusterSecretStoreCondition struct {
	// NamespaceSelector admits namespaces by their labels.
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// Namespaces admits namespaces by name.
	// +optional
	// +kubebuilder:validation:items:MinLength:=1
	// +kubebuilder:validation:items:MaxLength:=63
	// +kubebuilder:validation:items:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
	Namespaces []string `json:"namespaces,omitempty"`

	// NamespaceRegexes admits namespaces whose whole name matches.
	// +optional
	// +kubebuilder:validation:MaxItems:=100
	// +kubebuilder:validation:items:MaxLength:=400
	// +kubebuilder:validation:items:XValidation:rule="''.matches(self) ? true : true",message="namespaceRegexes must hold Go regular expressions"
	NamespaceRegexes []string `json:"namespaceRegexes,omitempty"`
}

// SecretStoreRetrySettings says how requests are repeated.
type SecretStoreRetrySettings struct {
	// MaxRetries is how often a request is repeated.
	// +optional
	MaxRetries *int32 `json:"maxRetries,omitempty"`
	// RetryInterval is the time between two attempts, as a duration such as 5s.
	// +optional
	RetryInterval *string `json:"retryInterval,omitempty"`
}

// SecretStoreConditionType is the type of a condition.
type SecretStoreConditionType string

// The condition types.
const (
	// SecretStoreReady is True while the store can be used.
	SecretStoreReady SecretStoreConditionType = "Ready"
	// SecretStoreReconciling is True while the store is not yet validated, and absent otherwise.
	SecretStoreReconciling SecretStoreConditionType = "Reconciling"
	// SecretStoreStalled is True when nothing will happen before somebody changes
	// something, and absent otherwise.
	SecretStoreStalled SecretStoreConditionType = "Stalled"
)

// SecretStoreStatusCondition is one condition.
type SecretStoreStatusCondition struct {
	// Type of the condition.
	Type SecretStoreConditionType `json:"type"`
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

// SecretStoreCapabilities is what a store can do.
type SecretStoreCapabilities string

// The capabilities.
const (
	SecretStoreReadOnly  SecretStoreCapabilities = "ReadOnly"
	SecretStoreWriteOnly SecretStoreCapabilities = "WriteOnly"
	SecretStoreReadWrite SecretStoreCapabilities = "ReadWrite"
)

// SecretStoreStatus is the observed state.
type SecretStoreStatus struct {
	// Conditions, at most one of each type.
	// +optional
	Conditions []SecretStoreStatusCondition `json:"conditions,omitempty"`
	// Capabilities is ReadOnly, WriteOnly or ReadWrite.
	// +optional
	Capabilities SecretStoreCapabilities `json:"capabilities,omitempty"`
	// ObservedGeneration is the generation that the conditions speak about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}
