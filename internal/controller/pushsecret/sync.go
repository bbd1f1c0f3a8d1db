package pushsecret

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// outcome is what a pass came to, as far as it got.
type outcome struct {
	began time.Time
	// state is what the pass went by.
	state string
	// had is what was recorded before the pass, pushed what is, or may be, at the
	// stores because of the object.
	had, pushed plan.Pushed
	// again is true if the last pass that went well went by the same.
	again bool
	// replaced names what somebody else had written, kept what was left alone.
	replaced, kept []string
	changed        bool
	sourceDeleted  bool
	// ends is when the namespace began to be deleted; zero if it is not.
	ends func() time.Time
}

// target is a store that is pushed to.
type target struct {
	plan.PushStore
	place store.Place
}

// sync brings the stores in step with an object. What could be done is done, and in
// out, although it fails.
func (c *Controller) sync(ctx context.Context, ps *v1alpha1.PushSecret, e *entry, out *outcome) error {
	out.had, out.again = ps.Status.SyncedPushSecrets, ps.Status.SyncedResourceVersion == out.state
	if err := c.finalize(ctx, ps); err != nil {
		return err
	}
	targets, failed := c.targets(ctx, ps)
	if len(targets) == 0 && failed != nil {
		return failed
	}
	sources, err := c.sources(ctx, ps, out.began)
	if sourceIsGone(ps, out, err) {
		return c.sourceGone(ctx, ps, out, err)
	}
	if err != nil {
		return err
	}
	entries, err := c.entries(ctx, ps, targets, sources, failed != nil)
	if err != nil {
		return err
	}
	c.claims.drop(keyOf(ps))
	writes := make([][]store.Write, len(targets))
	for i, t := range targets {
		writes[i] = c.writes(ctx, ps, t, entries[t.Ref])
	}
	if err := c.intend(ctx, ps, e, allowed(targets, entries, writes), out); err != nil {
		return err
	}
	failed = worst(failed, c.push(ctx, targets, entries, writes, out))
	c.offer(ps, entries, out, failed)
	if failed != nil {
		return failed
	}
	return c.settle(ctx, ps, targets, entries, out)
}

// offer lets others have what the object does not want any more although it cannot be
// deleted yet, because another object has what it wants: two that change places would
// wait for each other.
func (c *Controller) offer(ps *v1alpha1.PushSecret, entries map[plan.StoreRef][]plan.PushEntry, out *outcome, failed error) {
	var offers plan.Pushed
	if secret.KindOf(failed) == secret.Conflict {
		offers = out.pushed.Less(plan.PushedOf(entries))
	}
	if c.memory.offer(keyOf(ps), offers) {
		c.wakeLosers(keyOf(ps), c.queue)
	}
}

// settle does what comes after everything has been pushed.
func (c *Controller) settle(ctx context.Context, ps *v1alpha1.PushSecret, targets []target, entries map[plan.StoreRef][]plan.PushEntry, out *outcome) error {
	if err := c.commit(ctx, ps); err != nil {
		return err
	}
	return c.tidy(ctx, ps, targets, entries, out)
}

// targets returns the stores to push to, without those that fail: they are missing,
// do not admit the namespace, or cannot be written to.
func (c *Controller) targets(ctx context.Context, ps *v1alpha1.PushSecret) ([]target, error) {
	stores, failed := c.named(ctx, ps)
	if errors.Is(failed, cluster.ErrSkip) {
		return nil, failed
	}
	var out []target
	for _, s := range stores {
		t := target{PushStore: plan.PushStore{Ref: plan.StoreRef{Kind: s.GetKind(), Name: s.GetName()}, Labels: s.GetLabels()}}
		var err error
		if t.place, err = c.stores.Place(ctx, s, ps.Namespace); err == nil {
			err = c.writable(t)
		}
		if err != nil {
			failed = worst(failed, err)
			continue
		}
		out = append(out, t)
	}
	return out, failed
}

// writable fails with Unsupported if the provider of a store cannot write.
func (c *Controller) writable(t target) error {
	p, err := c.Registry.Lookup(t.place.Provider)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Ref, err)
	}
	if p.Access == provider.ReadOnly {
		return &secret.Error{Kind: secret.Unsupported, Err: fmt.Errorf("%s: provider %s is read-only in this build: push to another store", t.Ref, t.place.Provider)}
	}
	return nil
}

// entries plans what the stores are to hold. Partial is true if some that the object
// names are left out.
func (c *Controller) entries(ctx context.Context, ps *v1alpha1.PushSecret, targets []target, sources []plan.PushSource, partial bool) (map[plan.StoreRef][]plan.PushEntry, error) {
	templates, err := reconcile.Templates(ctx, c.Surroundings, ps.Namespace, plan.PushTemplateSources(ps))
	if err != nil {
		return nil, err
	}
	stores := make([]plan.PushStore, len(targets))
	for i, t := range targets {
		stores[i] = t.PushStore
	}
	return plan.PushPlan{Object: ps, Engine: c.Engine, Templates: templates, Partial: partial}.Entries(ctx, stores, sources)
}

// push writes to all stores at the same time, and records what is there then.
func (c *Controller) push(ctx context.Context, targets []target, entries map[plan.StoreRef][]plan.PushEntry, writes [][]store.Write, out *outcome) error {
	results := make([][]store.Written, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() { results[i] = c.Pool.Write(ctx, t.place, writes[i]) })
	}
	wg.Wait()
	var failed error
	for i, t := range targets {
		for j, entry := range entries[t.Ref] {
			failed = worst(failed, out.record(t, entry, results[i][j]))
		}
	}
	return failed
}

// writes returns what to ask of a store. What another object has a better right to
// is refused there unless it is what is there.
func (c *Controller) writes(ctx context.Context, ps *v1alpha1.PushSecret, t target, entries []plan.PushEntry) []store.Write {
	writes := make([]store.Write, len(entries))
	for i, e := range entries {
		writes[i] = store.Write{
			Ref: e.Ref(), Content: e.Content, Metadata: e.Metadata(),
			IfNotExists: ps.Spec.UpdatePolicy == v1alpha1.PushSecretUpdatePolicyIfNotExists,
			Anew:        ownsWhole(ps, t.Ref, e),
			Origin:      originOf(ps, e),
			Refuse:      c.contested(ctx, ps, t, e),
		}
	}
	return writes
}

// ownsWhole reports whether an object pushed all of the secret of which it now wants
// to push a property: then what else is in it is its own, and goes.
func ownsWhole(ps *v1alpha1.PushSecret, ref plan.StoreRef, e plan.PushEntry) bool {
	if e.Ref().Property == "" || ps.Spec.UpdatePolicy == v1alpha1.PushSecretUpdatePolicyIfNotExists {
		return false
	}
	had, ok := plan.Pushed(ps.Status.SyncedPushSecrets).Whole(ref, e.Ref().Key)
	return ok && string(plan.PushMetadata(had)) == string(e.Metadata())
}

// originOf is what a store may keep of the source. One key of a Secret does not have
// the Secret's type, unless the manifest says so.
func originOf(ps *v1alpha1.PushSecret, e plan.PushEntry) provider.Origin {
	o := provider.Origin{Type: e.Source.Type, Labels: e.Source.Labels, Annotations: e.Source.Annotations}
	if e.Data.Match.SecretKey != "" && (ps.Spec.Template == nil || ps.Spec.Template.Type == "") {
		o.Type = ""
	}
	return o
}

// record notes what became of one entry, and returns the failure with its place.
func (o *outcome) record(t target, e plan.PushEntry, w store.Written) error {
	before := o.had.Has(t.Ref, e.Data)
	switch {
	case w.Err != nil:
		if !before && !mayHaveHappened(w.Err) {
			o.pushed.Remove(t.Ref, e.Data)
		}
		err := fmt.Errorf("%s (%s, key %q): %w", e.Field, t.Ref, e.ID(), w.Err)
		if secret.KindOf(err) == secret.Conflict && !errors.Is(err, store.ErrRetired) {
			return reconcile.Stop(err)
		}
		return err
	case w.Kept:
		o.kept = append(o.kept, e.ID())
		return nil
	}
	if w.Changed {
		o.changed = true
		if before && o.again {
			o.replaced = append(o.replaced, e.ID())
		}
	}
	o.pushed.Add(t.Ref, e.Data)
	return nil
}

// mayHaveHappened reports whether a write that failed so may have been done.
func mayHaveHappened(err error) bool {
	switch secret.KindOf(err) {
	case secret.Unavailable, secret.RateLimited, secret.Internal:
		return true
	}
	return errors.Is(err, store.ErrRetired)
}

// worst returns the failure to go by: one that may pass, or else the first.
func worst(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil || !reconcile.Stuck(a):
		return a
	case !reconcile.Stuck(b):
		return b
	}
	return a
}

// allowed returns what is to be written that nobody else has a better right to.
func allowed(targets []target, entries map[plan.StoreRef][]plan.PushEntry, writes [][]store.Write) plan.Pushed {
	out := plan.Pushed{}
	for i, t := range targets {
		for j, e := range entries[t.Ref] {
			if writes[i][j].Refuse == nil {
				out.Add(t.Ref, e.Data)
			}
		}
	}
	return out
}

// intend writes down what is going to be pushed before it is, so that it is deleted
// some day whatever happens in between. Under IfNotExists what is there may be
// somebody else's: then only what was written counts.
func (c *Controller) intend(ctx context.Context, ps *v1alpha1.PushSecret, e *entry, wanted plan.Pushed, out *outcome) error {
	if !deletes(ps) || ps.Spec.UpdatePolicy == v1alpha1.PushSecretUpdatePolicyIfNotExists {
		return nil
	}
	if len(wanted.Less(out.pushed)) == 0 {
		return nil
	}
	out.pushed = out.pushed.With(wanted)
	next := *ps.Status.DeepCopy()
	next.SyncedPushSecrets = out.pushed.With(nil)
	if err := c.patch(ctx, ps, e, next); err != nil {
		return err
	}
	ps.Status = next // what is not pushed after all has to be removed from it
	return nil
}

func deletes(ps *v1alpha1.PushSecret) bool {
	return ps.Spec.DeletionPolicy == v1alpha1.PushSecretDeletionPolicyDelete
}
