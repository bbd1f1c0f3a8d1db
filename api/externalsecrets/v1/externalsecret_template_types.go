package v1

import corev1 "k8s.io/api/core/v1"

// ExternalSecretTemplate renders the target.
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'bootstrap.kubernetes.io/token'",message="type bootstrap.kubernetes.io/token is refused: it would let a cluster node join; use another type"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'kubernetes.io/service-account-token' || !has(self.metadata) || !has(self.metadata.annotations) || !('kubernetes.io/service-account.name' in self.metadata.annotations)",message="type kubernetes.io/service-account-token with the annotation kubernetes.io/service-account.name is refused: it would hand out a token of that account; use another type"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'kubernetes.io/service-account-token' || !has(self.templateFrom) || self.templateFrom.all(t, !has(t.target) || t.target.lowerAscii() != 'annotations')",message="type kubernetes.io/service-account-token with a templateFrom whose target is Annotations is refused: it could hand out the token of an account; use another type"
type ExternalSecretTemplate struct {
	// Type of the Secret; empty means Opaque.
	// +optional
	Type corev1.SecretType `json:"type,omitempty"`

	// EngineVersion of the templates.
	// +optional
	// +kubebuilder:default=v2
	EngineVersion TemplateEngineVersion `json:"engineVersion,omitempty"`

	// Metadata of the target; empty copies labels and annotations of the ExternalSecret.
	// +optional
	Metadata ExternalSecretTemplateMetadata `json:"metadata,omitzero"`

	// MergePolicy Replace writes what the templates render; Merge adds it to the values.
	// +optional
	// +kubebuilder:default=Replace
	MergePolicy TemplateMergePolicy `json:"mergePolicy,omitempty"`

	// Data holds a template for each key.
	// +optional
	Data map[string]string `json:"data,omitempty"`

	// TemplateFrom lists templates that are kept elsewhere.
	// +optional
	// +kubebuilder:validation:MaxItems:=4096
	TemplateFrom []TemplateFrom `json:"templateFrom,omitempty"`
}

// ExternalSecretTemplateMetadata is metadata for the target.
type ExternalSecretTemplateMetadata struct {
	// Annotations; the values are templates.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// Labels; the values are templates.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Finalizers to add.
	// +optional
	Finalizers []string `json:"finalizers,omitempty"`
}

// TemplateEngineVersion is the version of the template engine.
// +kubebuilder:validation:Enum=v2
type TemplateEngineVersion string

// TemplateEngineV2 is the only engine. Empty means the same.
const TemplateEngineV2 TemplateEngineVersion = "v2"

// TemplateMergePolicy says what becomes of values that no template renders.
// +kubebuilder:validation:Enum=Replace;Merge
type TemplateMergePolicy string

// The merge policies. Empty means MergePolicyReplace.
const (
	MergePolicyReplace TemplateMergePolicy = "Replace"
	MergePolicyMerge   TemplateMergePolicy = "Merge"
)

// The values of TemplateFrom.Target for a Secret; letter case does not matter and
// empty means TemplateTargetData. For other kinds it may also be a dotted path.
const (
	TemplateTargetData        = "Data"
	TemplateTargetAnnotations = "Annotations"
	TemplateTargetLabels      = "Labels"
)

// TemplateFrom is one source of templates.
type TemplateFrom struct {
	// ConfigMap that holds templates.
	// +optional
	ConfigMap *TemplateRef `json:"configMap,omitempty"`
	// Secret that holds templates.
	// +optional
	Secret *TemplateRef `json:"secret,omitempty"`
	// Target is what the result goes into: Data, Annotations or Labels; for a target
	// that is not a Secret also a dotted path.
	// +optional
	// +kubebuilder:default="Data"
	// +kubebuilder:validation:MaxLength:=1024
	Target string `json:"target,omitempty"`
	// Literal is a template that renders to YAML of keys and values.
	// +optional
	Literal *string `json:"literal,omitempty"`
	// ValuesDecodingStrategy says how the rendered values are decoded.
	// +optional
	ValuesDecodingStrategy ExternalSecretDecodingStrategy `json:"valuesDecodingStrategy,omitempty"`
}

// TemplateRef names an object that holds templates.
type TemplateRef struct {
	// Name of the object, in the namespace of the ExternalSecret.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$
	Name string `json:"name"`
	// Items are the keys to use.
	Items []TemplateRefItem `json:"items"`
}

// TemplateScope says what a template renders.
// +kubebuilder:validation:Enum=Values;KeysAndValues
type TemplateScope string

// The scopes. Empty means TemplateScopeValues.
const (
	// TemplateScopeValues renders the value of one key.
	TemplateScopeValues TemplateScope = "Values"
	// TemplateScopeKeysAndValues renders YAML of keys and values.
	TemplateScopeKeysAndValues TemplateScope = "KeysAndValues"
)

// TemplateRefItem is one template of an object.
type TemplateRefItem struct {
	// Key of the template in the object.
	// +kubebuilder:validation:MinLength:=1
	// +kubebuilder:validation:MaxLength:=253
	// +kubebuilder:validation:Pattern:=^[-._a-zA-Z0-9]+$
	Key string `json:"key"`
	// TemplateAs says what the template renders.
	// +optional
	// +kubebuilder:default=Values
	TemplateAs TemplateScope `json:"templateAs,omitempty"`
}
