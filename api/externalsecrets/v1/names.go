package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The group, its storage version and the kinds.
const (
	Group   = "external-secrets.io"
	Version = "v1"

	ExtSecretKind          = "ExternalSecret"
	ClusterExtSecretKind   = "ClusterExternalSecret"
	SecretStoreKind        = "SecretStore"
	ClusterSecretStoreKind = "ClusterSecretStore"
)

// Labels.
const (
	// LabelManaged is on every Secret that is kept in step; its value is LabelManagedValue.
	LabelManaged      = "reconcile.external-secrets.io/managed"
	LabelManagedValue = "true"
	// LabelOwner is on every Secret with creationPolicy Owner: a digest of the
	// namespace and name of its ExternalSecret.
	LabelOwner = "reconcile.external-secrets.io/created-by"
	// LabelType must be LabelTypeWebhook on a Secret that a webhook store sends out.
	LabelType        = "external-secrets.io/type"
	LabelTypeWebhook = "webhook"
	// LabelComponent is on the CRDs, with the value LabelComponentController.
	LabelComponent           = "external-secrets.io/component"
	LabelComponentController = "controller"
)

// Annotations.
const (
	// AnnotationDataHash is where ESO keeps a digest of a Secret's data. It is
	// known so that it can be removed.
	AnnotationDataHash = "reconcile.external-secrets.io/data-hash"
	// AnnotationForceSync asks for a refresh whenever its value changes.
	AnnotationForceSync = "external-secrets.io/force-sync"
	// AnnotationIgnoreMaintenance silences events about unmaintained providers.
	AnnotationIgnoreMaintenance = "external-secrets.io/ignore-maintenance-checks"
)

// Finalizers that ESO sets. They are honored and released.
const (
	ExternalSecretFinalizer        = "externalsecrets.external-secrets.io/externalsecret-cleanup"
	SecretStoreFinalizer           = "secretstore.externalsecrets.io/finalizer"
	ClusterExternalSecretFinalizer = "externalsecrets.external-secrets.io/clusterexternalsecret-cleanup"
	// NamespaceFinalizerPrefix precedes the name of a ClusterExternalSecret in the
	// finalizers of the namespaces that it serves.
	NamespaceFinalizerPrefix = "externalsecrets.external-secrets.io/ces-"
)

// FieldManagerPrefix precedes the name of the ExternalSecret in the field manager
// of the Secrets written for it; FieldManagerHashPrefix precedes its digest if the
// whole would exceed FieldManagerMaxLength characters.
const (
	FieldManagerPrefix     = "externalsecrets.external-secrets.io/"
	FieldManagerHashPrefix = "externalsecrets.external-secrets.io/sha3/"
	FieldManagerMaxLength  = 63
)

// Reasons of an ExternalSecret's conditions. The Resource ones are for targets
// that are not Secrets.
const (
	ConditionReasonSecretSynced        = "SecretSynced"
	ConditionReasonSecretSyncedError   = "SecretSyncedError"
	ConditionReasonSecretDeleted       = "SecretDeleted"
	ConditionReasonSecretMissing       = "SecretMissing"
	ConditionReasonResourceSynced      = "ResourceSynced"
	ConditionReasonResourceSyncedError = "ResourceSyncedError"
	ConditionReasonResourceDeleted     = "ResourceDeleted"
	ConditionReasonResourceMissing     = "ResourceMissing"
)

// Reasons of an ExternalSecret's events.
const (
	ReasonCreated               = "Created"
	ReasonUpdated               = "Updated"
	ReasonDeleted               = "Deleted"
	ReasonUpdateFailed          = "UpdateFailed"
	ReasonMissingProviderSecret = "MissingProviderSecret"
)

// Reasons of a store's conditions and events.
const (
	ReasonStoreValid            = "Valid"
	ReasonInvalidStore          = "InvalidStoreConfiguration"
	ReasonInvalidProviderConfig = "InvalidProviderConfig"
	ReasonValidationFailed      = "ValidationFailed"
	ReasonValidationUnknown     = "ValidationUnknown"
	ReasonStoreUnmaintained     = "StoreUnmaintained"
	ReasonStoreDeprecated       = "StoreDeprecated"
)

// GroupVersion returns external-secrets.io/v1.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: Group, Version: Version}
}

// AddToScheme adds the kinds of this package to s. It is idempotent and its error
// is always nil.
func AddToScheme(s *runtime.Scheme) error {
	b := runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
		s.AddKnownTypes(GroupVersion(),
			&ExternalSecret{}, &ExternalSecretList{},
			&ClusterExternalSecret{}, &ClusterExternalSecretList{},
			&SecretStore{}, &SecretStoreList{},
			&ClusterSecretStore{}, &ClusterSecretStoreList{})
		metav1.AddToGroupVersion(s, GroupVersion())
		return nil
	})
	return b.AddToScheme(s)
}
