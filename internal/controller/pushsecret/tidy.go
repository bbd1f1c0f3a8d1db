package pushsecret

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

func keyOf(ps *v1alpha1.PushSecret) client.ObjectKey { return client.ObjectKeyFromObject(ps) }

// tidy removes from the stores what was pushed and is not wanted any more, after
// looking that everything wanted is there. With deletionPolicy None it is forgotten.
func (c *Controller) tidy(ctx context.Context, ps *v1alpha1.PushSecret, targets []target, entries map[plan.StoreRef][]plan.PushEntry, out *outcome) error {
	wanted := plan.PushedOf(entries)
	obsolete := out.pushed.Less(wanted)
	if len(obsolete) == 0 {
		return nil
	}
	if !deletes(ps) {
		out.pushed = out.pushed.Less(obsolete)
		return nil
	}
	for _, ref := range obsolete.Stores() {
		for _, d := range obsolete.List(ref) {
			if wanted.Covers(ref, d) { // what is wanted there now took its place
				obsolete.Remove(ref, d)
				out.pushed.Remove(ref, d)
			}
		}
	}
	if len(obsolete) == 0 {
		return nil
	}
	if err := c.verify(ctx, ps, targets, entries); err != nil {
		return err
	}
	return c.empty(ctx, ps, obsolete, out)
}

// verify looks whether the stores hold what they should.
func (c *Controller) verify(ctx context.Context, ps *v1alpha1.PushSecret, targets []target, entries map[plan.StoreRef][]plan.PushEntry) error {
	for _, t := range targets {
		for i, w := range c.Pool.Write(ctx, t.place, c.writes(ctx, ps, t, entries[t.Ref])) {
			if w.Err != nil {
				return fmt.Errorf("%s (%s): nothing is deleted before this is in place: %w", entries[t.Ref][i].Field, t.Ref, w.Err)
			}
		}
	}
	return nil
}

// empty removes places from the stores. What is done is recorded; the rest stays
// recorded, and is the error.
func (c *Controller) empty(ctx context.Context, ps *v1alpha1.PushSecret, obsolete plan.Pushed, out *outcome) error {
	var failed error
	out.ends = sync.OnceValue(func() time.Time { return c.namespaceEnds(ctx, ps) })
	for _, ref := range obsolete.Stores() {
		t := target{PushStore: plan.PushStore{Ref: ref}}
		var err error
		if t.place, err = c.holder(ctx, ps, ref); err == nil {
			err = c.emptyStore(ctx, ps, t, obsolete, out)
		} else if c.letsGo(ps, t, err, out.ends) {
			c.leave(ps, ref, "everything", err)
			out.forget(ref, obsolete)
			err = nil
		}
		failed = worst(failed, err)
	}
	return failed
}

// leave reports what stays at a store for good.
func (c *Controller) leave(ps *v1alpha1.PushSecret, ref plan.StoreRef, what string, err error) {
	c.Events.Warning(ps, v1alpha1.ReasonErrored, reconcile.Message(fmt.Errorf("%s: %s that was pushed there is left there: %w", ref, what, err)))
}

func (o *outcome) forget(ref plan.StoreRef, list plan.Pushed) {
	for _, d := range list.List(ref) {
		o.pushed.Remove(ref, d)
	}
}

// holder finds a store that holds something of an object. It fails with Invalid if
// the store is gone.
func (c *Controller) holder(ctx context.Context, ps *v1alpha1.PushSecret, ref plan.StoreRef) (store.Place, error) {
	s, err := c.stores.Get(ctx, ps.Namespace, ref)
	if errors.Is(err, cluster.ErrSkip) {
		return store.Place{}, &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("%s belongs to another controller, so what was pushed there cannot be deleted: set the annotation %s=true to leave it there", ref, v1alpha1.AnnotationForgetStores)}
	}
	if secret.KindOf(err) == secret.Invalid {
		return store.Place{}, &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("%s is gone, so what was pushed there cannot be deleted: create it again, or set the annotation %s=true to leave it there", ref, v1alpha1.AnnotationForgetStores)}
	}
	if err != nil {
		return store.Place{}, err
	}
	place, err := c.stores.Place(ctx, s, ps.Namespace)
	if err != nil {
		return place, fmt.Errorf("what was pushed there cannot be deleted, and is left there if the annotation %s is true: %w", v1alpha1.AnnotationForgetStores, err)
	}
	return place, nil
}

// emptyStore removes places from one store.
func (c *Controller) emptyStore(ctx context.Context, ps *v1alpha1.PushSecret, t target, obsolete plan.Pushed, out *outcome) error {
	var data []v1alpha1.PushSecretData
	var deletions []store.Deletion
	for _, d := range obsolete.List(t.Ref) {
		e := plan.PushEntry{Data: d}
		_, free := c.claims.take(t, d, keyOf(ps)) // nobody writes there meanwhile
		if free {
			defer c.claims.give(t, d, keyOf(ps))
		}
		if !free || c.shared(ctx, ps, t, d) {
			out.pushed.Remove(t.Ref, d)
			continue
		}
		data = append(data, d)
		deletions = append(deletions, store.Deletion{Ref: e.Ref(), Metadata: e.Metadata()})
	}
	var failed, stays error
	var left []string
	for i, err := range c.Pool.Delete(ctx, t.place, deletions) {
		id := plan.PushEntry{Data: data[i]}.ID()
		if err != nil && !never(err) && !c.letsGo(ps, t, err, out.ends) {
			failed = worst(failed, fmt.Errorf("%s, key %q is not deleted yet: %w", t.Ref, id, err))
			continue
		}
		if err != nil {
			left, stays = append(left, id), worst(stays, err)
		}
		out.pushed.Remove(t.Ref, data[i])
	}
	if stays != nil {
		c.leave(ps, t.Ref, someOf(left), stays)
	}
	return failed
}

// never reports whether something will never be deleted: it is not ours, or cannot be.
// An error that is not about the key may pass.
func never(err error) bool {
	switch secret.KindOf(err) {
	case secret.Conflict, secret.Unsupported, secret.Invalid:
		return ofKey(err)
	}
	return false
}

// ofKey reports whether an error is about a key, and not about the store as a whole.
func ofKey(err error) bool {
	e, ok := errors.AsType[*secret.Error](err)
	return ok && e.Ref.Key != ""
}

// shared reports whether another object pushes to a place, and keeps it alive.
func (c *Controller) shared(ctx context.Context, ps *v1alpha1.PushSecret, t target, d v1alpha1.PushSecretData) bool {
	return slices.ContainsFunc(c.pushers(ctx, ps.Namespace, t, d.Match.RemoteRef.RemoteKey), func(o *v1alpha1.PushSecret) bool {
		return o.UID != ps.UID && o.DeletionTimestamp == nil && plan.Pushed(o.Status.SyncedPushSecrets).Covers(t.Ref, d)
	})
}
