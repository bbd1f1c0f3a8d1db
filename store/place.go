package store

import (
	"reflect"
	"time"

	"github.com/keyferry/keyferry/provider"
)

// The kinds of store.
const (
	KindSecretStore        = "SecretStore"
	KindClusterSecretStore = "ClusterSecretStore"
)

// Place is a store as its manifest describes it, seen by one consumer.
type Place struct {
	// Kind is KindSecretStore or KindClusterSecretStore.
	Kind string
	// Namespace is the store's own; empty for a cluster store.
	Namespace string
	Name      string
	// UID and Generation tell one state of the manifest from another.
	UID        string
	Generation int64
	// Provider is the key under spec.provider, and Spec what is there.
	Provider string
	Spec     any
	// Tenant is the namespace of the consumer; empty when the store itself is
	// validated.
	Tenant string
	// Retries and RetryInterval are spec.retrySettings; nil and zero for the defaults.
	Retries       *int
	RetryInterval time.Duration
}

// String names the store for a message.
func (p Place) String() string {
	if p.Kind == KindClusterSecretStore {
		return p.Kind + " " + p.Name
	}
	return p.Kind + " " + p.Namespace + "/" + p.Name
}

// Referent reports whether each consumer has connections of its own: of a cluster
// store with a reference that has no namespace, or one that tells its backend whom
// it is for.
func (p Place) Referent() bool {
	if p.Kind != KindClusterSecretStore {
		return false
	}
	if spec, ok := p.Spec.(provider.PerConsumer); ok && spec.PerConsumer() {
		return true
	}
	return hasOpenReference(reflect.ValueOf(p.Spec))
}

// identity tells apart what must not share an open store: another manifest, another
// state of it, and another tenant where the credentials are the tenant's.
type identity struct {
	uid        string
	generation int64
	tenant     string
}

func (p Place) identity() identity {
	id := identity{uid: p.UID, generation: p.Generation}
	if p.Referent() {
		id.tenant = p.Tenant
	}
	return id
}

// hasOpenReference finds, anywhere in a spec, a selector that names an object and
// no namespace. Selectors are told by their shape: a Name, and a Namespace that is
// a pointer to a string.
func hasOpenReference(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && hasOpenReference(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if hasOpenReference(v.Index(i)) {
				return true
			}
		}
	case reflect.Struct:
		return isOpenSelector(v) || anyField(v, hasOpenReference)
	}
	return false
}

func isOpenSelector(v reflect.Value) bool {
	name, ns := v.FieldByName("Name"), v.FieldByName("Namespace")
	if !name.IsValid() || name.Kind() != reflect.String || !ns.IsValid() {
		return false
	}
	pointer, ok := reflect.TypeAssert[*string](ns)
	return ok && pointer == nil && name.Len() > 0
}

func anyField(v reflect.Value, found func(reflect.Value) bool) bool {
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() && found(v.Field(i)) {
			return true
		}
	}
	return false
}
