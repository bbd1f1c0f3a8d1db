package reconcile

import (
	"fmt"
	"time"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// Place returns a store as a consumer in the namespace tenant sees it; an empty
// tenant is the store itself. It fails with Invalid if the manifest is wrong.
func Place(s v1.GenericStore, tenant string) (store.Place, error) {
	spec := s.GetSpec()
	name, member := spec.Provider.Selected()
	if name == "" {
		return store.Place{}, invalid("spec.provider: set exactly one provider")
	}
	p := store.Place{
		Kind: s.GetKind(), Namespace: s.GetNamespace(), Name: s.GetName(),
		UID: string(s.GetUID()), Generation: s.GetGeneration(),
		Provider: name, Spec: member, Tenant: tenant,
	}
	if p.Kind == v1.SecretStoreKind {
		p.Tenant = ""
	}
	if r := spec.RetrySettings; r != nil {
		if r.MaxRetries != nil {
			n := int(*r.MaxRetries)
			p.Retries = &n
		}
		if r.RetryInterval != nil {
			d, err := time.ParseDuration(*r.RetryInterval)
			if err != nil || d < 0 {
				return store.Place{}, invalid("spec.retrySettings.retryInterval: write a duration such as 5s")
			}
			p.RetryInterval = d
		}
	}
	return p, nil
}

func invalid(format string, args ...any) error {
	return &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf(format, args...)}
}
