package v1

// ExternalSecretData is one key of the target and where its value is.
type ExternalSecretData struct {
	// SecretKey is the key in the target.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[-._a-zA-Z0-9]+$
	SecretKey string `json:"secretKey"`
	// RemoteRef names the value in the store.
	RemoteRef ExternalSecretDataRemoteRef `json:"remoteRef"`
	// SourceRef names another store than spec.secretStoreRef.
	// +optional
	SourceRef *StoreSourceRef `json:"sourceRef,omitempty"`
}

// ExternalSecretMetadataPolicy says whether the value or its metadata is read.
// +kubebuilder:validation:Enum=None;Fetch
type ExternalSecretMetadataPolicy string

// The metadata policies. Empty means ExternalSecretMetadataPolicyNone.
const (
	ExternalSecretMetadataPolicyNone  ExternalSecretMetadataPolicy = "None"
	ExternalSecretMetadataPolicyFetch ExternalSecretMetadataPolicy = "Fetch"
)

// ExternalSecretConversionStrategy says how names become keys.
// +kubebuilder:validation:Enum=Default;Unicode
type ExternalSecretConversionStrategy string

// The conversion strategies. Empty means ExternalSecretConversionDefault.
const (
	// ExternalSecretConversionDefault replaces what a key may not hold by an underscore.
	ExternalSecretConversionDefault ExternalSecretConversionStrategy = "Default"
	// ExternalSecretConversionUnicode replaces it by its code point.
	ExternalSecretConversionUnicode ExternalSecretConversionStrategy = "Unicode"
)

// ExternalSecretDecodingStrategy says how values are decoded.
// +kubebuilder:validation:Enum=Auto;Base64;Base64URL;None
type ExternalSecretDecodingStrategy string

// The decoding strategies. Empty means ExternalSecretDecodeNone.
const (
	// ExternalSecretDecodeAuto decodes what is Base64 and keeps what is not.
	ExternalSecretDecodeAuto      ExternalSecretDecodingStrategy = "Auto"
	ExternalSecretDecodeBase64    ExternalSecretDecodingStrategy = "Base64"
	ExternalSecretDecodeBase64URL ExternalSecretDecodingStrategy = "Base64URL"
	ExternalSecretDecodeNone      ExternalSecretDecodingStrategy = "None"
)

// ExternalSecretNullBytePolicy says what becomes of values that hold a null byte.
// +kubebuilder:validation:Enum=Ignore;Fail
type ExternalSecretNullBytePolicy string

// The null byte policies. Empty means ExternalSecretNullBytePolicyIgnore.
const (
	ExternalSecretNullBytePolicyIgnore ExternalSecretNullBytePolicy = "Ignore"
	ExternalSecretNullBytePolicyFail   ExternalSecretNullBytePolicy = "Fail"
)

// ExternalSecretDataRemoteRef names a value in a store.
type ExternalSecretDataRemoteRef struct {
	// Key is the name, path or ID in the store.
	Key string `json:"key"`
	// MetadataPolicy Fetch reads what the store keeps beside the value (tags, labels)
	// instead of the value.
	// +optional
	MetadataPolicy ExternalSecretMetadataPolicy `json:"metadataPolicy,omitempty"`
	// Property is a path into the value.
	// +optional
	Property string `json:"property,omitempty"`
	// Version of the value; empty is the current one.
	// +optional
	Version string `json:"version,omitempty"`
	// ConversionStrategy says how names become keys.
	// +optional
	ConversionStrategy ExternalSecretConversionStrategy `json:"conversionStrategy,omitempty"`
	// DecodingStrategy says how values are decoded.
	// +optional
	DecodingStrategy ExternalSecretDecodingStrategy `json:"decodingStrategy,omitempty"`
	// NullBytePolicy says what becomes of values that hold a null byte.
	// +optional
	NullBytePolicy ExternalSecretNullBytePolicy `json:"nullBytePolicy,omitempty"`
}

// ExternalSecretDataFromRemoteRef is one source of many keys: exactly one of
// extract, find and sourceRef.generatorRef.
// +kubebuilder:validation:XValidation:rule="(has(self.extract) ? 1 : 0) + (has(self.find) ? 1 : 0) + (has(self.sourceRef) && has(self.sourceRef.generatorRef) ? 1 : 0) == 1",message="set exactly one of extract, find and sourceRef.generatorRef"
type ExternalSecretDataFromRemoteRef struct {
	// Extract takes every member of one secret.
	// +optional
	Extract *ExternalSecretDataRemoteRef `json:"extract,omitempty"`
	// Find takes every secret that matches.
	// +optional
	Find *ExternalSecretFind `json:"find,omitempty"`
	// Rewrite changes the keys, step by step.
	// +optional
	Rewrite []ExternalSecretRewrite `json:"rewrite,omitempty"`
	// SourceRef names another store than spec.secretStoreRef, or a generator.
	// +optional
	SourceRef *StoreGeneratorSourceRef `json:"sourceRef,omitempty"`
}

// ExternalSecretRewrite is one step: exactly one of its fields.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type ExternalSecretRewrite struct {
	// Merge combines the values of all keys into one map.
	// +optional
	Merge *ExternalSecretRewriteMerge `json:"merge,omitempty"`
	// Regexp replaces matches in the keys.
	// +optional
	Regexp *ExternalSecretRewriteRegexp `json:"regexp,omitempty"`
	// Transform renders each key anew.
	// +optional
	Transform *ExternalSecretRewriteTransform `json:"transform,omitempty"`
}

// ExternalSecretRewriteMerge combines the members of all values.
type ExternalSecretRewriteMerge struct {
	// Into is the key that receives the result; needed with strategy JSON.
	// +optional
	// +kubebuilder:default=""
	Into string `json:"into,omitempty"`
	// Priority orders the keys; the last one wins.
	// +optional
	Priority []string `json:"priority,omitempty"`
	// PriorityPolicy says whether every key of priority must be there.
	// +optional
	// +kubebuilder:default=Strict
	PriorityPolicy ExternalSecretRewriteMergePriorityPolicy `json:"priorityPolicy,omitempty"`
	// ConflictPolicy says what becomes of members that two values have.
	// +optional
	// +kubebuilder:default=Error
	ConflictPolicy ExternalSecretRewriteMergeConflictPolicy `json:"conflictPolicy,omitempty"`
	// Strategy Extract makes every member a key; JSON writes one object into a key.
	// +optional
	// +kubebuilder:default=Extract
	Strategy ExternalSecretRewriteMergeStrategy `json:"strategy,omitempty"`
}

// ExternalSecretRewriteMergePriorityPolicy says whether every key must be there.
// +kubebuilder:validation:Enum=IgnoreNotFound;Strict
type ExternalSecretRewriteMergePriorityPolicy string

// The priority policies. Empty means Strict.
const (
	ExternalSecretRewriteMergePriorityPolicyIgnoreNotFound ExternalSecretRewriteMergePriorityPolicy = "IgnoreNotFound"
	ExternalSecretRewriteMergePriorityPolicyStrict         ExternalSecretRewriteMergePriorityPolicy = "Strict"
)

// ExternalSecretRewriteMergeConflictPolicy says what becomes of duplicates.
// +kubebuilder:validation:Enum=Ignore;Error
type ExternalSecretRewriteMergeConflictPolicy string

// The conflict policies. Empty means Error.
const (
	ExternalSecretRewriteMergeConflictPolicyIgnore ExternalSecretRewriteMergeConflictPolicy = "Ignore"
	ExternalSecretRewriteMergeConflictPolicyError  ExternalSecretRewriteMergeConflictPolicy = "Error"
)

// ExternalSecretRewriteMergeStrategy says what the result looks like.
// +kubebuilder:validation:Enum=Extract;JSON
type ExternalSecretRewriteMergeStrategy string

// The merge strategies. Empty means Extract.
const (
	ExternalSecretRewriteMergeStrategyExtract ExternalSecretRewriteMergeStrategy = "Extract"
	ExternalSecretRewriteMergeStrategyJSON    ExternalSecretRewriteMergeStrategy = "JSON"
)

// ExternalSecretRewriteRegexp replaces matches in keys.
type ExternalSecretRewriteRegexp struct {
	// Source is a Go regular expression.
	Source string `json:"source"`
	// Target replaces each match; $1 and ${name} stand for groups.
	Target string `json:"target"`
}

// ExternalSecretRewriteTransform renders keys anew.
type ExternalSecretRewriteTransform struct {
	// Template is rendered for each key, which it sees as .value.
	Template string `json:"template"`
}

// ExternalSecretFind selects secrets.
type ExternalSecretFind struct {
	// Path is where to look, in the store's terms.
	// +optional
	Path *string `json:"path,omitempty"`
	// Name selects by name.
	// +optional
	Name *FindName `json:"name,omitempty"`
	// Tags selects secrets that carry all of these.
	// +optional
	Tags map[string]string `json:"tags,omitempty"`
	// ConversionStrategy says how names become keys.
	// +optional
	ConversionStrategy ExternalSecretConversionStrategy `json:"conversionStrategy,omitempty"`
	// DecodingStrategy says how values are decoded.
	// +optional
	DecodingStrategy ExternalSecretDecodingStrategy `json:"decodingStrategy,omitempty"`
	// NullBytePolicy says what becomes of values that hold a null byte.
	// +optional
	NullBytePolicy ExternalSecretNullBytePolicy `json:"nullBytePolicy,omitempty"`
}

// FindName selects by name.
type FindName struct {
	// RegExp is a Go regular expression that the name must match somewhere.
	// +optional
	RegExp string `json:"regexp,omitempty"`
}

// StoreSourceRef is the source of one key.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type StoreSourceRef struct {
	// SecretStoreRef names a store.
	// +optional
	SecretStoreRef SecretStoreRef `json:"storeRef,omitzero"`
	// GeneratorRef is deprecated here: use it in dataFrom.
	// +optional
	GeneratorRef *GeneratorRef `json:"generatorRef,omitempty"`
}

// StoreGeneratorSourceRef is the source of many keys: a store or a generator.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type StoreGeneratorSourceRef struct {
	// SecretStoreRef names a store.
	// +optional
	SecretStoreRef *SecretStoreRef `json:"storeRef,omitempty"`
	// GeneratorRef names a generator.
	// +optional
	GeneratorRef *GeneratorRef `json:"generatorRef,omitempty"`
}

// GeneratorRef names a generator.
type GeneratorRef struct {
	// APIVersion of the generator.
	// +optional
	// +kubebuilder:default="generators.external-secrets.io/v1alpha1"
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the generator.
	// +kubebuilder:validation:Enum=ACRAccessToken;BeyondtrustWorkloadCredentialsDynamicSecret;ClusterGenerator;CloudsmithAccessToken;ECRAuthorizationToken;Fake;GCRAccessToken;GithubAccessToken;GitlabDeployToken;QuayAccessToken;Password;SSHKey;STSSessionToken;UUID;VaultDynamicSecret;Webhook;Grafana;MFA
	Kind string `json:"kind"`
	// Name of the generator.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name"`
}
