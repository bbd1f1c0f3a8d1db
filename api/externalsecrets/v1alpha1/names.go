package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The group, its version and the kinds.
const (
	Group   = "external-secrets.io"
	Version = "v1alpha1"

	PushSecretKind        = "PushSecret"
	ClusterPushSecretKind = "ClusterPushSecret"
)

// PushSecretFinalizer is on a PushSecret with deletionPolicy Delete until what it
// pushed is deleted.
const PushSecretFinalizer = "pushsecret.externalsecrets.io/finalizer"

// AnnotationForgetStores with the value "true" lets a PushSecret be deleted although
// a store that holds what it pushed is gone or cannot be reached: what is there stays.
const AnnotationForgetStores = "external-secrets.io/forget-unreachable-stores"

// Reasons of a PushSecret's conditions and events.
const (
	ReasonSynced        = "Synced"
	ReasonErrored       = "Errored"
	ReasonSourceDeleted = "SourceDeleted"
)

// GroupVersion returns external-secrets.io/v1alpha1.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: Group, Version: Version}
}

// AddToScheme adds the kinds of this package to s. It is idempotent and its error
// is always nil.
func AddToScheme(s *runtime.Scheme) error {
	b := runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
		s.AddKnownTypes(GroupVersion(),
			&PushSecret{}, &PushSecretList{},
			&ClusterPushSecret{}, &ClusterPushSecretList{})
		metav1.AddToGroupVersion(s, GroupVersion())
		return nil
	})
	return b.AddToScheme(s)
}
