package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// PushSecret says which Secret to write to which external stores.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="external-secrets.io/component=controller"
// +kubebuilder:resource:scope=Namespaced,categories={external-secrets},shortName=ps
// +kubebuilder:printcolumn:name="AGE",type="date",JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Last Sync",type=date,JSONPath=`.status.refreshTime`
// +kubebuilder:validation:XValidation:rule="has(self.spec)",message="spec is needed: say in spec.selector what to push, and in spec.secretStoreRefs where to"
type PushSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec PushSecretSpec `json:"spec,omitzero"`
	// +optional
	Status PushSecretStatus `json:"status,omitzero"`
}

// PushSecretList is a list of PushSecrets.
// +kubebuilder:object:root=true
type PushSecretList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PushSecret `json:"items"`
}

// PushSecretSpec is the wanted state.
type PushSecretSpec struct {
	// RefreshInterval is the time between looks at the stores, as a duration such as
	// 1h30m. With 0 the values are written once, and when something changes here.
	// +optional
	// +kubebuilder:default="1h0m0s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('876000h')",message="refreshInterval must be a duration such as 1h30m or 45s, and at most 876000h"
	RefreshInterval *metav1.Duration `json:"refreshInterval,omitempty"`

	// SecretStoreRefs are the stores to write to.
	SecretStoreRefs []PushSecretStoreRef `json:"secretStoreRefs"`

	// UpdatePolicy Replace overwrites what is at the store; IfNotExists leaves it alone.
	// +optional
	// +kubebuilder:default="Replace"
	UpdatePolicy PushSecretUpdatePolicy `json:"updatePolicy,omitempty"`

	// DeletionPolicy Delete removes from the stores what was pushed, when it is no
	// longer wanted or this object is deleted; None leaves it there.
	// +optional
	// +kubebuilder:default="None"
	DeletionPolicy PushSecretDeletionPolicy `json:"deletionPolicy,omitempty"`

	// Selector says what to push.
	Selector PushSecretSelector `json:"selector"`

	// Data lists the values to push, each to one place.
	// +optional
	Data []PushSecretData `json:"data,omitempty"`

	// DataTo pushes many keys. A key that an entry of data names is left to that.
	// +optional
	DataTo []PushSecretDataTo `json:"dataTo,omitempty"`

	// Template adds to what is pushed, or changes it.
	// +optional
	Template *esv1.ExternalSecretTemplate `json:"template,omitempty"`
}

// PushSecretStoreRef names stores.
// +kubebuilder:validation:XValidation:rule="has(self.name) || has(self.labelSelector)",message="set name or labelSelector"
type PushSecretStoreRef struct {
	// Name of the store.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name,omitempty"`
	// LabelSelector selects all stores that match.
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
	// Kind of the stores: SecretStore or ClusterSecretStore.
	// +optional
	// +kubebuilder:default="SecretStore"
	// +kubebuilder:validation:Enum=SecretStore;ClusterSecretStore
	Kind string `json:"kind,omitempty"`
}

// PushSecretUpdatePolicy says what becomes of what is at the store.
// +kubebuilder:validation:Enum=Replace;IfNotExists
type PushSecretUpdatePolicy string

// The update policies. Empty means PushSecretUpdatePolicyReplace.
const (
	PushSecretUpdatePolicyReplace     PushSecretUpdatePolicy = "Replace"
	PushSecretUpdatePolicyIfNotExists PushSecretUpdatePolicy = "IfNotExists"
)

// PushSecretDeletionPolicy says what becomes of what is no longer wanted.
// +kubebuilder:validation:Enum=Delete;None
type PushSecretDeletionPolicy string

// The deletion policies. Empty means PushSecretDeletionPolicyNone.
const (
	PushSecretDeletionPolicyDelete PushSecretDeletionPolicy = "Delete"
	PushSecretDeletionPolicyNone   PushSecretDeletionPolicy = "None"
)

// PushSecretSelector says what to push: exactly one of its fields.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type PushSecretSelector struct {
	// Secret selects Secrets of the namespace.
	// +optional
	Secret *PushSecretSecret `json:"secret,omitempty"`
	// GeneratorRef names a generator: what it makes is pushed.
	// +optional
	GeneratorRef *esv1.GeneratorRef `json:"generatorRef,omitempty"`
}

// PushSecretSecret selects Secrets, by name or by label.
// +kubebuilder:validation:XValidation:rule="has(self.name) || has(self.selector)",message="set name or selector"
type PushSecretSecret struct {
	// Name of the Secret.
	// +optional
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name,omitempty"`
	// Selector selects all Secrets that match.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// PushSecretConversionStrategy says how keys become names at the store.
// +kubebuilder:validation:Enum=None;ReverseUnicode
type PushSecretConversionStrategy string

// The conversion strategies. Empty means PushSecretConversionNone.
const (
	PushSecretConversionNone PushSecretConversionStrategy = "None"
	// PushSecretConversionReverseUnicode turns "_U0041_" into the character of that
	// code point, before keys are matched.
	PushSecretConversionReverseUnicode PushSecretConversionStrategy = "ReverseUnicode"
)

// PushSecretData is one value and its place at the stores.
type PushSecretData struct {
	// Match says which value goes where.
	Match PushSecretMatch `json:"match"`
	// Metadata is what the provider is to keep beside the value: a PushSecretMetadata.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Metadata *apiextensionsv1.JSON `json:"metadata,omitempty"`
	// ConversionStrategy says how keys become names at the store.
	// +optional
	// +kubebuilder:default="None"
	ConversionStrategy PushSecretConversionStrategy `json:"conversionStrategy,omitempty"`
}

// PushSecretMatch says which value goes where.
type PushSecretMatch struct {
	// SecretKey is the key of the Secret; empty is all of it.
	// +optional
	SecretKey string `json:"secretKey,omitempty"`
	// RemoteRef is the place at the store.
	RemoteRef PushSecretRemoteRef `json:"remoteRef"`
}

// PushSecretRemoteRef is a place at a store.
type PushSecretRemoteRef struct {
	// RemoteKey is the name, path or ID at the store.
	RemoteKey string `json:"remoteKey"`
	// Property is the part of the secret to write; empty is all of it.
	// +optional
	Property string `json:"property,omitempty"`
}

// PushSecretDataTo pushes many keys.
// +kubebuilder:validation:XValidation:rule="has(self.storeRef) && (has(self.storeRef.name) || has(self.storeRef.labelSelector))",message="storeRef must name one of spec.secretStoreRefs, or select them by labelSelector"
// +kubebuilder:validation:XValidation:rule="!has(self.remoteKey) || !has(self.rewrite) || size(self.rewrite) == 0",message="remoteKey and rewrite exclude each other: with remoteKey all keys go into one secret"
type PushSecretDataTo struct {
	// StoreRef says which of spec.secretStoreRefs to push to.
	// +optional
	StoreRef *PushSecretStoreRef `json:"storeRef,omitempty"`
	// RemoteKey bundles all keys in one secret of that name, as a JSON object. Without
	// it each key becomes a secret of its own.
	// +optional
	RemoteKey string `json:"remoteKey,omitempty"`
	// Match says which keys; all without it.
	// +optional
	Match *PushSecretDataToMatch `json:"match,omitempty"`
	// Rewrite changes the names, step by step.
	// +optional
	Rewrite []PushSecretRewrite `json:"rewrite,omitempty"`
	// Metadata is what the provider is to keep beside the values: a PushSecretMetadata.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Metadata *apiextensionsv1.JSON `json:"metadata,omitempty"`
	// ConversionStrategy says how keys become names at the store.
	// +optional
	// +kubebuilder:default="None"
	ConversionStrategy PushSecretConversionStrategy `json:"conversionStrategy,omitempty"`
}

// PushSecretDataToMatch selects keys.
type PushSecretDataToMatch struct {
	// RegExp is a Go regular expression that the key must match somewhere; empty is all.
	// +optional
	RegExp string `json:"regexp,omitempty"`
}

// PushSecretRewrite is one step: exactly one of its fields.
// +kubebuilder:validation:XValidation:rule="(has(self.regexp) && !has(self.transform)) || (!has(self.regexp) && has(self.transform))",message="set exactly one of regexp and transform"
type PushSecretRewrite struct {
	// Regexp replaces matches in the names.
	// +optional
	Regexp *esv1.ExternalSecretRewriteRegexp `json:"regexp,omitempty"`
	// Transform renders each name anew; it sees it as .value.
	// +optional
	Transform *esv1.ExternalSecretRewriteTransform `json:"transform,omitempty"`
}
