package externalsecret

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// errWaiting says that a store has not been looked at yet. The store's status wakes
// the object; waitingFor is in case that is missed.
var errWaiting = errors.New("the store is being validated")

const waitingFor = 10 * time.Second

// places resolves the stores that an ExternalSecret reads from. It fails with
// errSkip if one of them is another controller's, with Invalid if one is missing,
// with Denied if one does not admit the namespace.
func (c *Controller) places(ctx context.Context, es *v1.ExternalSecret) (map[plan.StoreRef]store.Place, error) {
	out := map[plan.StoreRef]store.Place{}
	for _, ref := range plan.Stores(&es.Spec) {
		if ref.Kind == v1.ClusterSecretStoreKind && !c.ClusterStores {
			return nil, errSkip
		}
		s, err := c.store(ctx, es.Namespace, ref)
		if err != nil {
			return nil, err
		}
		if class := s.GetSpec().Controller; class != "" && class != c.Class {
			return nil, errSkip
		}
		if err := c.admits(ctx, s, es.Namespace); err != nil {
			return nil, err
		}
		if err := c.ready(s); err != nil {
			return nil, err
		}
		if out[ref], err = reconcile.Place(s, es.Namespace); err != nil {
			return nil, fmt.Errorf("%s %s: %w", ref.Kind, ref.Name, err)
		}
	}
	return out, nil
}

func (c *Controller) store(ctx context.Context, namespace string, ref plan.StoreRef) (v1.GenericStore, error) {
	var s v1.GenericStore = &v1.SecretStore{}
	key := client.ObjectKey{Namespace: namespace, Name: ref.Name}
	if ref.Kind == v1.ClusterSecretStoreKind {
		s, key.Namespace = &v1.ClusterSecretStore{}, ""
	}
	switch err := c.cache.Get(ctx, key, s); {
	case apierrors.IsNotFound(err):
		return nil, &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("%s %q does not exist: create it, or correct spec.secretStoreRef", ref.Kind, ref.Name)}
	case err != nil:
		return nil, cluster.Error("read", err)
	}
	return s, nil
}

// admits fails with Denied unless the store's conditions let the namespace use it.
func (c *Controller) admits(ctx context.Context, s v1.GenericStore, namespace string) error {
	conditions := s.GetSpec().Conditions
	if s.GetKind() != v1.ClusterSecretStoreKind || len(conditions) == 0 {
		return nil
	}
	ns := cluster.Metadata(cluster.NamespaceKind())
	if err := c.cache.Get(ctx, client.ObjectKey{Name: namespace}, ns); err != nil {
		return cluster.Error("read", err)
	}
	ok, err := plan.Admits(conditions, namespace, ns.Labels)
	if err != nil {
		return fmt.Errorf("%s %s: %w", s.GetKind(), s.GetName(), err)
	}
	if !ok {
		return &secret.Error{Kind: secret.Denied, Err: fmt.Errorf("using cluster store %q is not allowed from namespace %q: denied by spec.condition", s.GetName(), namespace)}
	}
	return nil
}

// ready is the floodgate: while a store is not usable nothing is asked of it.
func (c *Controller) ready(s v1.GenericStore) error {
	if !c.FloodGate || s.GetKind() == v1.SecretStoreKind && !c.SecretStores {
		return nil
	}
	for _, cond := range s.GetStatus().Conditions {
		if cond.Type != v1.SecretStoreReady {
			continue
		}
		if cond.Status == "True" {
			return nil
		}
		return &secret.Error{Kind: kindOf(cond.Message), Err: fmt.Errorf("%s %q is not ready: see its status", s.GetKind(), s.GetName())}
	}
	return errWaiting
}

// kindOf reads the kind that a store's message begins with. The store's own
// controller decides when to try again, and its status wakes the object.
func kindOf(message string) secret.Kind {
	for _, kind := range []secret.Kind{secret.Invalid, secret.Unsupported, secret.Unauthenticated, secret.Denied, secret.RateLimited} {
		if len(message) > len(kind) && message[:len(kind)] == string(kind) {
			return kind
		}
	}
	return secret.Unavailable
}

// templates reads what templateFrom refers to.
func (c *Controller) templates(ctx context.Context, es *v1.ExternalSecret) (map[string]map[string]secret.Value, error) {
	sources := plan.TemplateSources(&es.Spec)
	out := make(map[string]map[string]secret.Value, len(sources))
	for _, s := range sources {
		loaded, err := c.Surroundings.Load(ctx, s.Kind, es.Namespace, s.Name)
		if errors.Is(err, secret.NotFound) {
			return nil, &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("%s: %s %q does not exist: create it, or remove the entry", s.Field, s.Kind, s.Name)}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Field, err)
		}
		out[s.Key()] = loaded.Data
	}
	return out, nil
}

// versions stands for the templates in the digest of what a target is made from, so
// that they are read only when one of them has changed.
func (c *Controller) versions(ctx context.Context, es *v1.ExternalSecret) map[string]map[string]secret.Value {
	out := map[string]map[string]secret.Value{}
	for _, s := range plan.TemplateSources(&es.Spec) {
		kind := cluster.SecretKind()
		if s.Kind == "ConfigMap" {
			kind = cluster.ConfigMapKind()
		}
		meta := cluster.Metadata(kind)
		if err := c.cache.Get(ctx, client.ObjectKey{Namespace: es.Namespace, Name: s.Name}, meta); err != nil {
			continue // read, and reported, when the target is made
		}
		out[s.Key()] = map[string]secret.Value{"resourceVersion": secret.FromString(meta.ResourceVersion)}
	}
	return out
}
