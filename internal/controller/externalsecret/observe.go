package externalsecret

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// errWaiting says that a store has not been looked at yet. The store's status wakes
// the object; waitingFor is in case that is missed.
var errWaiting = errors.New("the store is being validated")

const waitingFor = 10 * time.Second

// places resolves the stores that an ExternalSecret reads from. It fails with
// cluster.ErrSkip if one of them is another controller's, with Invalid if one is
// missing, with Denied if one does not admit the namespace.
func (c *Controller) places(ctx context.Context, es *v1.ExternalSecret) (map[plan.StoreRef]store.Place, error) {
	out := map[plan.StoreRef]store.Place{}
	for _, ref := range plan.Stores(&es.Spec) {
		s, err := c.stores.Get(ctx, es.Namespace, ref)
		if err != nil {
			return nil, err
		}
		if out[ref], err = c.stores.Place(ctx, s, es.Namespace); err != nil {
			return nil, err
		}
		if err := c.ready(s); err != nil {
			return nil, err
		}
	}
	return out, nil
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
