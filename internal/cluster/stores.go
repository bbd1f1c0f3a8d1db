package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// ErrSkip says that an object is none of this process's business: its store is
// another controller's.
var ErrSkip = errors.New("not served here")

// Stores finds the stores that objects name.
type Stores struct {
	Cache client.Reader
	// Class is the value of spec.controller that this process serves, beside none.
	Class string
	// ClusterStores is false if ClusterSecretStores are not served.
	ClusterStores bool
}

// Get returns a store as it is in the cache. It fails with Invalid if there is none,
// and with ErrSkip if it is another controller's.
func (s Stores) Get(ctx context.Context, namespace string, ref plan.StoreRef) (v1.GenericStore, error) {
	if ref.Kind == v1.ClusterSecretStoreKind && !s.ClusterStores {
		return nil, ErrSkip
	}
	var found v1.GenericStore = &v1.SecretStore{}
	key := client.ObjectKey{Namespace: namespace, Name: ref.Name}
	if ref.Kind == v1.ClusterSecretStoreKind {
		found, key.Namespace = &v1.ClusterSecretStore{}, ""
	}
	switch err := s.Cache.Get(ctx, key, found); {
	case apierrors.IsNotFound(err):
		return nil, &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("%s %q does not exist: create it, or correct the reference", ref.Kind, ref.Name)}
	case err != nil:
		return nil, Error("read", err)
	}
	if class := found.GetSpec().Controller; class != "" && class != s.Class {
		return nil, ErrSkip
	}
	return found, nil
}

// Place returns a store as a consumer in the namespace sees it. It fails with Denied
// unless the store's conditions let the namespace use it, and with Invalid if the
// manifest is wrong.
func (s Stores) Place(ctx context.Context, found v1.GenericStore, namespace string) (store.Place, error) {
	if err := s.admits(ctx, found, namespace); err != nil {
		return store.Place{}, err
	}
	place, err := reconcile.Place(found, namespace)
	if err != nil {
		return place, fmt.Errorf("%s %s: %w", found.GetKind(), found.GetName(), err)
	}
	return place, nil
}

func (s Stores) admits(ctx context.Context, found v1.GenericStore, namespace string) error {
	conditions := found.GetSpec().Conditions
	if found.GetKind() != v1.ClusterSecretStoreKind || len(conditions) == 0 {
		return nil
	}
	ns := Metadata(NamespaceKind())
	if err := s.Cache.Get(ctx, client.ObjectKey{Name: namespace}, ns); err != nil {
		return Error("read", err)
	}
	ok, err := plan.Admits(conditions, namespace, ns.Labels)
	if err != nil {
		return fmt.Errorf("%s %s: %w", found.GetKind(), found.GetName(), err)
	}
	if !ok {
		return &secret.Error{Kind: secret.Denied, Err: fmt.Errorf("using cluster store %q is not allowed from namespace %q: denied by spec.condition", found.GetName(), namespace)}
	}
	return nil
}

// List returns the stores of a kind that a selector matches, those that are being
// deleted left out. Skipped is true if one is another controller's.
func (s Stores) List(ctx context.Context, namespace, kind string, selector labels.Selector) (found []v1.GenericStore, skipped bool, err error) {
	if kind == v1.ClusterSecretStoreKind && !s.ClusterStores {
		return nil, true, nil
	}
	all, err := s.all(ctx, namespace, kind, selector)
	for _, one := range all {
		class := one.GetSpec().Controller
		switch {
		case class != "" && class != s.Class:
			skipped = true
		case one.GetDeletionTimestamp() == nil:
			found = append(found, one)
		}
	}
	slices.SortFunc(found, func(a, b v1.GenericStore) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return found, skipped, err
}

func (s Stores) all(ctx context.Context, namespace, kind string, selector labels.Selector) ([]v1.GenericStore, error) {
	var out []v1.GenericStore
	if kind == v1.ClusterSecretStoreKind {
		var list v1.ClusterSecretStoreList
		err := s.Cache.List(ctx, &list, client.MatchingLabelsSelector{Selector: selector})
		for i := range list.Items {
			out = append(out, &list.Items[i])
		}
		return out, Error("read", err)
	}
	var list v1.SecretStoreList
	err := s.Cache.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector})
	for i := range list.Items {
		out = append(out, &list.Items[i])
	}
	return out, Error("read", err)
}
