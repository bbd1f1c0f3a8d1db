package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ExternalSecret says which Secret to keep in step with which secrets of external
// stores.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets},shortName=es
// +kubebuilder:printcolumn:name="StoreType",type=string,JSONPath=`.spec.secretStoreRef.kind`
// +kubebuilder:printcolumn:name="Store",type=string,JSONPath=`.spec.secretStoreRef.name`
// +kubebuilder:printcolumn:name="Refresh Interval",type=string,JSONPath=`.spec.refreshInterval`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Last Sync",type=date,JSONPath=`.status.refreshTime`
// +kubebuilder:selectablefield:JSONPath=`.spec.secretStoreRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.secretStoreRef.kind`
// +kubebuilder:selectablefield:JSONPath=`.spec.target.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.refreshInterval`
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: name a secret to read in spec.data or spec.dataFrom"
type ExternalSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ExternalSecretSpec `json:"spec,omitzero"`
	// +optional
	Status ExternalSecretStatus `json:"status,omitzero"`
}

// ExternalSecretList is a list of ExternalSecrets.
// +kubebuilder:object:root=true
type ExternalSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ExternalSecret `json:"items"`
}

// ExternalSecretSpec is the wanted state.
// +kubebuilder:validation:XValidation:rule="(has(self.data) && self.data.size() > 0) || (has(self.dataFrom) && self.dataFrom.size() > 0)",message="data and dataFrom are both empty: name at least one secret to read"
// +kubebuilder:validation:XValidation:rule="!has(self.data) || (has(self.target) && has(self.target.deletionPolicy) && self.target.deletionPolicy != 'Retain') || self.data.transformMapEntry(i, d, {d.secretKey: i}).size() == self.data.size()",message="data has two entries of one secretKey: give each its own"
type ExternalSecretSpec struct {
	// SecretStoreRef names the store for every entry that names none itself.
	// +optional
	SecretStoreRef SecretStoreRef `json:"secretStoreRef,omitzero"`

	// Target is the Secret (or other object) to write.
	// +optional
	// +kubebuilder:default={creationPolicy:Owner,deletionPolicy:Retain}
	Target ExternalSecretTarget `json:"target,omitzero"`

	// RefreshPolicy says when values are read again. Periodic (also when empty):
	// every refreshInterval and when this object changes. OnChange: when this object
	// changes. CreatedOnce: never after the first time.
	// +optional
	RefreshPolicy ExternalSecretRefreshPolicy `json:"refreshPolicy,omitempty"`

	// RefreshInterval is the time between reads, as a duration such as 1h30m. With 0
	// or less the values are read once.
	// +optional
	// +kubebuilder:default="1h0m0s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('876000h')",message="refreshInterval must be a duration such as 1h30m or 45s, and at most 876000h"
	RefreshInterval *metav1.Duration `json:"refreshInterval,omitempty"`

	// SyncWindows limits when the interval may cause a refresh.
	// +optional
	SyncWindows *SyncWindows `json:"syncWindows,omitempty"`

	// Data lists the keys to write, each from one place.
	// +optional
	Data []ExternalSecretData `json:"data,omitempty"`

	// DataFrom lists sources of many keys. Later ones win over earlier ones, and data
	// over all of them.
	// +optional
	DataFrom []ExternalSecretDataFromRemoteRef `json:"dataFrom,omitempty"`
}

// ExternalSecretRefreshPolicy says when values are read again.
// +kubebuilder:validation:Enum=CreatedOnce;Periodic;OnChange
type ExternalSecretRefreshPolicy string

// The refresh policies. Empty means RefreshPolicyPeriodic.
const (
	RefreshPolicyCreatedOnce ExternalSecretRefreshPolicy = "CreatedOnce"
	RefreshPolicyPeriodic    ExternalSecretRefreshPolicy = "Periodic"
	RefreshPolicyOnChange    ExternalSecretRefreshPolicy = "OnChange"
)

// SyncWindows limits periodic refreshes to, or keeps them out of, windows of time.
type SyncWindows struct {
	// Kind is allow (refresh inside a window only) or deny (outside all only).
	Kind SyncWindowKind `json:"kind"`
	// Windows of time, in UTC.
	// +kubebuilder:validation:MinItems:=1
	Windows []SyncWindow `json:"windows"`
}

// SyncWindowKind says what a window does.
// +kubebuilder:validation:Enum=allow;deny
type SyncWindowKind string

// The kinds of windows.
const (
	SyncWindowAllow SyncWindowKind = "allow"
	SyncWindowDeny  SyncWindowKind = "deny"
)

// SyncWindow starts when its schedule fires and lasts for its duration.
type SyncWindow struct {
	// Schedule is a cron expression of five fields, a descriptor such as @daily, or
	// @every and a duration.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:Pattern:=`^(@(annually|yearly|monthly|weekly|daily|midnight|hourly)|@every [^\s]+.*|[^\s]+( [^\s]+){4})$`
	Schedule string `json:"schedule"`
	// Duration of the window.
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('876000h')",message="duration must be a duration such as 1h30m or 45s, and at most 876000h"
	Duration metav1.Duration `json:"duration"`
}

// SecretStoreRef names a store.
type SecretStoreRef struct {
	// Name of the store.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name,omitempty"`
	// Kind of the store: SecretStore (also when empty) or ClusterSecretStore.
	// +optional
	// +kubebuilder:validation:Enum=SecretStore;ClusterSecretStore
	Kind string `json:"kind,omitempty"`
}

// ExternalSecretCreationPolicy says who owns the target and who creates it.
// +kubebuilder:validation:Enum=Owner;Orphan;Merge;None;CreateOrMerge
type ExternalSecretCreationPolicy string

// The creation policies. Empty means CreatePolicyOwner.
const (
	// CreatePolicyOwner creates the target and deletes it with the ExternalSecret.
	CreatePolicyOwner ExternalSecretCreationPolicy = "Owner"
	// CreatePolicyOrphan creates the target and leaves it behind.
	CreatePolicyOrphan ExternalSecretCreationPolicy = "Orphan"
	// CreatePolicyMerge adds keys to a target that exists and never creates one.
	CreatePolicyMerge ExternalSecretCreationPolicy = "Merge"
	// CreatePolicyNone writes nothing.
	CreatePolicyNone ExternalSecretCreationPolicy = "None"
	// CreatePolicyCreateOrMerge adds keys to a target and creates it if it is missing.
	CreatePolicyCreateOrMerge ExternalSecretCreationPolicy = "CreateOrMerge"
)

// ExternalSecretDeletionPolicy says what happens when the stores have nothing left.
// +kubebuilder:validation:Enum=Delete;Merge;Retain
type ExternalSecretDeletionPolicy string

// The deletion policies. Empty means DeletionPolicyRetain.
const (
	// DeletionPolicyDelete deletes the target once the stores have nothing for it.
	DeletionPolicyDelete ExternalSecretDeletionPolicy = "Delete"
	// DeletionPolicyMerge removes keys that the stores no longer have.
	DeletionPolicyMerge ExternalSecretDeletionPolicy = "Merge"
	// DeletionPolicyRetain keeps what is there; a missing secret is an error.
	DeletionPolicyRetain ExternalSecretDeletionPolicy = "Retain"
)

// ExternalSecretTarget is the object to write.
// +kubebuilder:validation:XValidation:rule="!has(self.deletionPolicy) || self.deletionPolicy != 'Delete' || !has(self.creationPolicy) || !(self.creationPolicy in ['Merge', 'None', 'CreateOrMerge'])",message="deletionPolicy Delete would delete an object that somebody else may own: use it with creationPolicy Owner, or set deletionPolicy to Retain or Merge"
// +kubebuilder:validation:XValidation:rule="!has(self.deletionPolicy) || self.deletionPolicy != 'Merge' || !has(self.creationPolicy) || self.creationPolicy != 'None'",message="deletionPolicy Merge has nothing to remove with creationPolicy None: set deletionPolicy to Retain, or another creationPolicy"
// +kubebuilder:validation:XValidation:rule="has(self.manifest) || !has(self.template) || !has(self.template.templateFrom) || self.template.templateFrom.all(t, !has(t.target) || t.target.size() == 0 || t.target.lowerAscii() in ['data', 'annotations', 'labels'])",message="template.templateFrom[].target must be Data, Annotations or Labels: other targets need target.manifest"
type ExternalSecretTarget struct {
	// Name of the object; empty means the name of the ExternalSecret.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name,omitempty"`

	// CreationPolicy says who creates and owns the object.
	// +optional
	// +kubebuilder:default=Owner
	CreationPolicy ExternalSecretCreationPolicy `json:"creationPolicy,omitempty"`

	// DeletionPolicy says what happens when the stores have nothing left.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy ExternalSecretDeletionPolicy `json:"deletionPolicy,omitempty"`

	// Template renders the object; empty copies the values as they are.
	// +optional
	Template *ExternalSecretTemplate `json:"template,omitempty"`

	// Manifest makes the target another kind than a Secret. The controller must allow it.
	// +optional
	Manifest *ManifestReference `json:"manifest,omitempty"`

	// Immutable makes the Secret immutable: it is written once.
	// +optional
	Immutable bool `json:"immutable,omitempty"`
}

// ManifestReference names a kind of object.
type ManifestReference struct {
	// APIVersion of the object, such as v1 or apps/v1.
	// +kubebuilder:validation:MinLength:=1
	APIVersion string `json:"apiVersion"`
	// Kind of the object, such as ConfigMap.
	// +kubebuilder:validation:MinLength:=1
	Kind string `json:"kind"`
}
