package pushsecret

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// contested fails with Conflict, naming the other party, if somebody else has the
// better right to a place: a PushSecret that pushes there, or the ExternalSecret that
// makes the source from that very place. Two that each write their own would never end.
func (c *Controller) contested(ctx context.Context, ps *v1alpha1.PushSecret, t target, e plan.PushEntry) error {
	if err := c.fed(ctx, ps, t, e); err != nil {
		return err
	}
	if ps.Spec.UpdatePolicy == v1alpha1.PushSecretUpdatePolicyIfNotExists {
		return nil
	}
	rival, lost := c.rival(ctx, ps, t, e)
	if lost {
		c.memory.lost(keyOf(ps), rival)
		rival, lost = c.rival(ctx, ps, t, e) // he may have gone before he was noted
	}
	if !lost {
		return nil
	}
	return &secret.Error{Kind: secret.Conflict, Err: fmt.Errorf("PushSecret %s pushes there already: name another key or property, or delete one of the two", rival)}
}

// rival returns who has the better right to a place; without one it is claimed.
func (c *Controller) rival(ctx context.Context, ps *v1alpha1.PushSecret, t target, e plan.PushEntry) (client.ObjectKey, bool) {
	others := slices.DeleteFunc(c.pushers(ctx, ps.Namespace, t, e.Ref().Key), func(o *v1alpha1.PushSecret) bool {
		return c.memory.offered(o, t.Ref, e.Data)
	})
	if other := plan.Rival(ps, t.Ref, e.Data, others); other != nil {
		return client.ObjectKeyFromObject(other), true
	}
	other, taken := c.claims.take(t, e.Data, keyOf(ps))
	return other, !taken
}

// fed looks whether an ExternalSecret makes the source from the place.
func (c *Controller) fed(ctx context.Context, ps *v1alpha1.PushSecret, t target, e plan.PushEntry) error {
	name, ok := strings.CutPrefix(e.Source.Name, "Secret ")
	if !ok {
		return nil
	}
	var makers v1.ExternalSecretList
	if err := c.cache.List(ctx, &makers, client.InNamespace(ps.Namespace), client.MatchingFields{byTarget: strings.Trim(name, `"`)}); err != nil {
		return err
	}
	for i := range makers.Items {
		if err := plan.Feeds(&makers.Items[i], t.Ref, e.Ref()); err != nil {
			return err
		}
	}
	return nil
}

// pushers returns the objects whose status says that they pushed to a key of a store,
// as it is for the namespace.
func (c *Controller) pushers(ctx context.Context, namespace string, t target, key string) []*v1alpha1.PushSecret {
	opts := []client.ListOption{client.MatchingFields{byPushed: pushedKey(t.Ref, key)}, client.UnsafeDisableDeepCopy}
	if t.Ref.Kind == v1.SecretStoreKind || t.place.Referent() {
		opts = append(opts, client.InNamespace(namespace))
	}
	var list v1alpha1.PushSecretList
	if err := c.cache.List(ctx, &list, opts...); err != nil {
		return nil // the cache stops: so does everything
	}
	out := make([]*v1alpha1.PushSecret, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out
}
