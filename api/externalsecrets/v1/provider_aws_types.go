package v1

import esmeta "github.com/keyferry/keyferry/api/meta/v1"

// AWSServiceType is a service of AWS that keeps secrets.
// +kubebuilder:validation:Enum=SecretsManager;ParameterStore;CertificateManager
type AWSServiceType string

// The services.
const (
	AWSServiceSecretsManager AWSServiceType = "SecretsManager"
	AWSServiceParameterStore AWSServiceType = "ParameterStore"
	// AWSServiceCertificateManager is in the schema so that manifests apply; this
	// build has no support for it.
	AWSServiceCertificateManager AWSServiceType = "CertificateManager"
)

// AWSSessionTagsPolicy says which tags a session gets beside sessionTags.
// +kubebuilder:validation:Enum=None;Simple;Custom
type AWSSessionTagsPolicy string

// The session tag policies. Empty means AWSSessionTagsPolicyNone.
const (
	AWSSessionTagsPolicyNone AWSSessionTagsPolicy = "None"
	// AWSSessionTagsPolicySimple adds those that are named below.
	AWSSessionTagsPolicySimple AWSSessionTagsPolicy = "Simple"
	// AWSSessionTagsPolicyCustom adds them and customSessionTags.
	AWSSessionTagsPolicyCustom AWSSessionTagsPolicy = "Custom"
)

// The session tags of AWSSessionTagsPolicySimple: who uses which store.
const (
	AWSSessionTagNamespace = "esoNamespace"
	AWSSessionTagStoreName = "esoStoreName"
	AWSSessionTagStoreKind = "esoStoreKind"
)

// AWSProvider reads and writes secrets of AWS Secrets Manager and Parameter Store.
type AWSProvider struct {
	// Service that keeps the secrets. CertificateManager is not supported by this build.
	Service AWSServiceType `json:"service"`
	// Auth is how to log in: jwt, else secretRef, else what the controller itself has
	// (service account, pod identity, environment, instance).
	// +optional
	Auth AWSAuth `json:"auth,omitzero"`
	// Role is the ARN of a role to assume, with externalID and the session tags.
	// +optional
	Role string `json:"role,omitempty"`
	// Region of the service, such as eu-west-1.
	Region string `json:"region"`
	// AdditionalRoles are ARNs of roles to assume before role, in this order.
	// +optional
	AdditionalRoles []string `json:"additionalRoles,omitempty"`
	// ExternalID to assume the role with.
	// +optional
	ExternalID string `json:"externalID,omitempty"`
	// SessionTags of the session that assumes the role.
	// +optional
	SessionTags []Tag `json:"sessionTags,omitempty"`
	// TransitiveTagKeys are the keys of the session tags that a chain of roles keeps.
	// +optional
	TransitiveTagKeys []string `json:"transitiveTagKeys,omitempty"`
	// SessionTagsPolicy adds session tags that tell who asks: Simple adds esoNamespace,
	// esoStoreName and esoStoreKind, Custom adds customSessionTags beside them.
	// +optional
	// +kubebuilder:default=None
	SessionTagsPolicy AWSSessionTagsPolicy `json:"sessionTagsPolicy,omitempty"`
	// CustomSessionTags are added by the policy Custom.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!('esoNamespace' in self) && !('esoStoreName' in self) && !('esoStoreKind' in self)",message="customSessionTags must not set esoNamespace, esoStoreName or esoStoreKind: they tell who asks"
	CustomSessionTags map[string]string `json:"customSessionTags,omitempty"`
	// SecretsManager says how secrets are deleted there.
	// +optional
	SecretsManager *SecretsManager `json:"secretsManager,omitempty"`
	// Prefix precedes every key.
	// +optional
	Prefix string `json:"prefix,omitempty"`
}

// AWSAuth is how to log in: jwt, else secretRef, else what the controller itself has.
type AWSAuth struct {
	// SecretRef points at an access key.
	// +optional
	SecretRef *AWSAuthSecretRef `json:"secretRef,omitempty"`
	// JWTAuth uses the AWS role of a service account.
	// +optional
	JWTAuth *AWSJWTAuth `json:"jwt,omitempty"`
}

// AWSAuthSecretRef points at an access key.
type AWSAuthSecretRef struct {
	// AccessKeyID points at the ID of the key.
	// +optional
	AccessKeyID esmeta.SecretKeySelector `json:"accessKeyIDSecretRef,omitzero"`
	// SecretAccessKey points at the key.
	// +optional
	SecretAccessKey esmeta.SecretKeySelector `json:"secretAccessKeySecretRef,omitzero"`
	// SessionToken points at the session token, for temporary keys.
	// +optional
	SessionToken *esmeta.SecretKeySelector `json:"sessionTokenSecretRef,omitempty"`
}

// AWSJWTAuth uses the AWS role of a service account.
type AWSJWTAuth struct {
	// ServiceAccountRef names the service account; its annotation
	// eks.amazonaws.com/role-arn names the role.
	// +optional
	ServiceAccountRef *esmeta.ServiceAccountSelector `json:"serviceAccountRef,omitempty"`
}

// Tag is a tag of a session.
type Tag struct {
	// Key of the tag.
	Key string `json:"key"`
	// Value of the tag.
	Value string `json:"value"`
}

// SecretsManager says how secrets are deleted in Secrets Manager.
// +kubebuilder:validation:XValidation:rule="!has(self.forceDeleteWithoutRecovery) || !self.forceDeleteWithoutRecovery || !has(self.recoveryWindowInDays) || self.recoveryWindowInDays == 0",message="forceDeleteWithoutRecovery leaves nothing to recover: set it or recoveryWindowInDays, not both"
type SecretsManager struct {
	// ForceDeleteWithoutRecovery deletes at once.
	// +optional
	ForceDeleteWithoutRecovery bool `json:"forceDeleteWithoutRecovery,omitempty"`
	// RecoveryWindowInDays is how long a deleted secret can be brought back, 7 to 30;
	// empty or 0 is 30.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == 0 || (self >= 7 && self <= 30)",message="recoveryWindowInDays must be 7 to 30"
	RecoveryWindowInDays int64 `json:"recoveryWindowInDays,omitempty"`
}

// PerConsumer reports whether sessions tell whom they are for, so that each namespace
// needs its own.
func (p *AWSProvider) PerConsumer() bool {
	return p.SessionTagsPolicy != "" && p.SessionTagsPolicy != AWSSessionTagsPolicyNone
}
