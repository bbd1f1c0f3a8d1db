package pushsecret

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/rotation"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// The indexes of the cache. Over PushSecrets: by what they depend on in the namespace
// ("Secret/name", "ConfigMap/name", a generator, or selecting for those that select
// Secrets by label), by store ("Kind/name", or "Kind/" for those that select stores by label), and
// by what their status says they pushed, and by the stores in which they have something
// to delete some day. Over ExternalSecrets: by the Secret that
// they make.
const (
	bySource  = "pushsource"
	byStore   = "pushstore"
	byPushed  = "pushed"
	byHeld    = "pushheld"
	byTarget  = "pushtarget"
	selecting = "*"
)

type queue = workqueue.TypedRateLimitingInterface[ctrl.Request]

// pushedKey is how the index byPushed names a key of a store.
func pushedKey(ref plan.StoreRef, key string) string { return ref.String() + "\x00" + key }

func (c *Controller) index(ctx context.Context, indexer client.FieldIndexer) error {
	for name, f := range map[string]func(*v1alpha1.PushSecret) []string{bySource: sourcesOf, byStore: storesOf, byPushed: pushedBy, byHeld: heldBy} {
		if err := indexer.IndexField(ctx, &v1alpha1.PushSecret{}, name, func(o client.Object) []string {
			ps, ok := o.(*v1alpha1.PushSecret)
			if !ok {
				return nil
			}
			return f(ps)
		}); err != nil {
			return fmt.Errorf("index PushSecrets by %s: %w", name, err)
		}
	}
	return indexer.IndexField(ctx, &v1.ExternalSecret{}, byTarget, func(o client.Object) []string {
		es, ok := o.(*v1.ExternalSecret)
		if !ok || plan.IsGeneric(es) || es.Spec.Target.CreationPolicy == v1.CreatePolicyNone {
			return nil
		}
		return []string{plan.TargetName(es)}
	})
}

func sourcesOf(ps *v1alpha1.PushSecret) []string {
	var out []string
	if s := ps.Spec.Selector.Secret; s != nil && s.Name != "" {
		out = append(out, "Secret/"+s.Name)
	} else if s != nil {
		out = append(out, selecting)
	}
	if ref := ps.Spec.Selector.GeneratorRef; ref != nil {
		out = append(out, rotation.Key(ref))
	}
	for _, s := range plan.PushTemplateSources(ps) {
		out = append(out, s.Key())
	}
	return out
}

// wakeGenerator has a look at those that push what a generator makes. Whether it is
// another is in their state.
func (c *Controller) wakeGenerator(ctx context.Context, namespace, name string, _ bool, q queue) {
	c.each(ctx, namespace, bySource, name, q)
}

// storesOf names the stores that an object pushes to, and those that it pushed to.
func storesOf(ps *v1alpha1.PushSecret) []string {
	seen := map[string]bool{}
	for _, ref := range ps.Spec.SecretStoreRefs {
		kind := ref.Kind
		if kind == "" {
			kind = v1.SecretStoreKind
		}
		seen[plan.StoreRef{Kind: kind, Name: ref.Name}.String()] = true
	}
	for name := range ps.Status.SyncedPushSecrets {
		seen[name] = true
	}
	out := make([]string, 0, len(seen))
	for name := range seen {
		out = append(out, name)
	}
	return out
}

func heldBy(ps *v1alpha1.PushSecret) []string {
	if !deletes(ps) {
		return nil
	}
	return secret.Keys(ps.Status.SyncedPushSecrets)
}

func pushedBy(ps *v1alpha1.PushSecret) []string {
	var out []string
	pushed := plan.Pushed(ps.Status.SyncedPushSecrets)
	for _, ref := range pushed.Stores() {
		for _, d := range pushed.List(ref) {
			out = append(out, pushedKey(ref, d.Match.RemoteRef.RemoteKey))
		}
	}
	return out
}

// watch adds everything that makes a PushSecret due.
func (c *Controller) watch(inner controller.Controller) error {
	sources := []source.Source{
		source.Func(func(ctx context.Context, q queue) error {
			c.queue = q
			c.Changes.Subscribe(func(p store.Place) { c.wakeStore(ctx, p.Kind, p.Namespace, p.Name, q) })
			return nil
		}),
		source.Kind[client.Object](c.cache, &v1alpha1.PushSecret{}, &handler.EnqueueRequestForObject{}, changedObject()),
		source.Kind[client.Object](c.cache, &v1alpha1.PushSecret{}, c.rivalHandler()),
		source.Kind[client.Object](c.cache, cluster.Metadata(cluster.SecretKind()), c.sourceHandler("Secret")),
		source.Kind[client.Object](c.cache, cluster.Metadata(cluster.ConfigMapKind()), c.sourceHandler("ConfigMap")),
		source.Kind[client.Object](c.cache, &v1.SecretStore{}, c.storeHandler(v1.SecretStoreKind)),
	}
	if c.ClusterStores {
		sources = append(sources,
			source.Kind[client.Object](c.cache, &v1.ClusterSecretStore{}, c.storeHandler(v1.ClusterSecretStoreKind)),
			source.Kind[client.Object](c.cache, cluster.Metadata(cluster.NamespaceKind()), c.namespaceHandler(), predicate.LabelChangedPredicate{}))
	}
	for _, s := range sources {
		if err := inner.Watch(s); err != nil {
			return err
		}
	}
	return nil
}

// changedObject lets pass what matters of a PushSecret: not its status.
func changedObject() predicate.Predicate {
	return predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{},
		predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
			return (e.ObjectOld.GetDeletionTimestamp() == nil) != (e.ObjectNew.GetDeletionTimestamp() == nil)
		}})
}

// rivalHandler wakes those that lost to an object which lets go of what it pushed.
func (c *Controller) rivalHandler() handler.EventHandler {
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			old, ok := e.ObjectOld.(*v1alpha1.PushSecret)
			now, ok2 := e.ObjectNew.(*v1alpha1.PushSecret)
			if ok && ok2 && len(plan.Pushed(old.Status.SyncedPushSecrets).Less(now.Status.SyncedPushSecrets)) > 0 {
				c.wakeLosers(keyOf(old), q)
			}
		},
	}
}

// wakeLosers lets those try again that lost to an object.
func (c *Controller) wakeLosers(rival client.ObjectKey, q queue) {
	for _, key := range c.memory.losers(rival) {
		if e, ok := c.memory.get(key); ok {
			e.Touch(c.Clock.Now())
		}
		q.Add(ctrl.Request{NamespacedName: key})
	}
}

// sourceHandler has a look at whoever pushes a Secret or takes templates from an
// object. Whether it is due is in its state.
func (c *Controller) sourceHandler(kind string) handler.EventHandler {
	wake := func(ctx context.Context, o client.Object, q queue) {
		c.each(ctx, o.GetNamespace(), bySource, kind+"/"+o.GetName(), q)
		if kind == "Secret" {
			c.each(ctx, o.GetNamespace(), bySource, selecting, q)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if !e.IsInInitialList {
				wake(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() {
				wake(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { wake(ctx, e.Object, q) },
	}
}

// storeHandler has a look at those that push to a store that appeared or changed.
func (c *Controller) storeHandler(kind string) handler.EventHandler {
	wake := func(ctx context.Context, o client.Object, q queue) {
		c.wakeStore(ctx, kind, o.GetNamespace(), o.GetName(), q)
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if !e.IsInInitialList {
				wake(ctx, e.Object, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() || !sameLabels(e.ObjectOld, e.ObjectNew) {
				wake(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { wake(ctx, e.Object, q) },
	}
}

func sameLabels(a, b client.Object) bool {
	return fmt.Sprint(a.GetLabels()) == fmt.Sprint(b.GetLabels())
}

// namespaceHandler has a look at those who may have gained or lost a cluster store by
// the labels of their namespace.
func (c *Controller) namespaceHandler() handler.EventHandler {
	return handler.Funcs{
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			c.wakeAll(ctx, q, (*entry).Nudge, client.InNamespace(e.ObjectNew.GetName()))
		},
	}
}

// wakeStore has a look at those that push to a store, by name or by label; those that
// failed try again.
func (c *Controller) wakeStore(ctx context.Context, kind, namespace, name string, q queue) {
	if kind == v1.ClusterSecretStoreKind {
		namespace = ""
	}
	for _, value := range []string{plan.StoreRef{Kind: kind, Name: name}.String(), plan.StoreRef{Kind: kind}.String()} {
		c.wakeAll(ctx, q, (*entry).Touch, client.InNamespace(namespace), client.MatchingFields{byStore: value})
	}
}

// each has a look at the PushSecrets of a namespace that an index holds under a value.
func (c *Controller) each(ctx context.Context, namespace, index, value string, q queue) {
	c.wakeAll(ctx, q, func(*entry, time.Time) {}, client.InNamespace(namespace), client.MatchingFields{index: value})
}

// wakeAll has a look at PushSecrets, after what happened is noted of each.
func (c *Controller) wakeAll(ctx context.Context, q queue, note func(*entry, time.Time), opts ...client.ListOption) {
	var all v1alpha1.PushSecretList
	if err := c.cache.List(ctx, &all, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return // the cache stops: so does everything
	}
	for i := range all.Items {
		key := client.ObjectKeyFromObject(&all.Items[i])
		if e, ok := c.memory.get(key); ok {
			note(e, c.Clock.Now())
		}
		q.Add(ctrl.Request{NamespacedName: key})
	}
}
