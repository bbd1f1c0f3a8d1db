package externalsecret

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/rotation"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/store"
)

// The indexes of the cache over ExternalSecrets: by store, by template source and by
// generator ("Kind/name"), and by target ("group/kind/name"). Owned is over Secrets,
// by the UID of their controller.
const (
	byStore     = "store"
	byTarget    = "target"
	byTemplate  = "template"
	byGenerator = "generator"
	byOwner     = "owner"
)

type queue = workqueue.TypedRateLimitingInterface[ctrl.Request]

func (c *Controller) index(ctx context.Context, indexer client.FieldIndexer) error {
	extract := map[string]func(*v1.ExternalSecret) []string{
		byStore: func(es *v1.ExternalSecret) []string {
			var out []string
			for _, ref := range plan.Stores(&es.Spec) {
				out = append(out, ref.String())
			}
			return out
		},
		byTarget: func(es *v1.ExternalSecret) []string {
			return []string{targetKind(es).GroupKind().String() + "/" + plan.TargetName(es)}
		},
		byGenerator: func(es *v1.ExternalSecret) []string {
			var out []string
			for _, ref := range plan.Generators(&es.Spec) {
				out = append(out, rotation.Key(ref))
			}
			return out
		},
		byTemplate: func(es *v1.ExternalSecret) []string {
			var out []string
			for _, s := range plan.TemplateSources(&es.Spec) {
				out = append(out, s.Key())
			}
			return out
		},
	}
	for name, f := range extract {
		if err := indexer.IndexField(ctx, &v1.ExternalSecret{}, name, func(o client.Object) []string {
			es, ok := o.(*v1.ExternalSecret)
			if !ok {
				return nil
			}
			return f(es)
		}); err != nil {
			return fmt.Errorf("index ExternalSecrets by %s: %w", name, err)
		}
	}
	return indexer.IndexField(ctx, cluster.Metadata(cluster.SecretKind()), byOwner, func(o client.Object) []string {
		if owner := metav1.GetControllerOf(o); owner != nil {
			return []string{string(owner.UID)}
		}
		return nil
	})
}

// watch adds everything that makes an ExternalSecret due.
func (c *Controller) watch(inner controller.Controller) error {
	sources := []source.Source{
		source.Func(func(ctx context.Context, q queue) error {
			c.Changes.Subscribe(func(p store.Place) {
				c.wakeStore(ctx, p.Kind, client.ObjectKey{Namespace: p.Namespace, Name: p.Name}, q, ifFailing)
			})
			return nil
		}),
		source.Kind[client.Object](c.cache, &v1.ExternalSecret{}, &handler.EnqueueRequestForObject{}, c.noteInitial(), changedObject()),
		source.Kind[client.Object](c.cache, cluster.Metadata(cluster.SecretKind()), c.secretHandler()),
		source.Kind[client.Object](c.cache, cluster.Metadata(cluster.ConfigMapKind()), c.templateHandler("ConfigMap")),
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

// noteInitial lets everything pass, and notes what was there at the start.
func (c *Controller) noteInitial() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool {
		if e.IsInInitialList {
			c.memory.startWith(client.ObjectKeyFromObject(e.Object))
		}
		return true
	}}
}

// changedObject lets pass what matters of an ExternalSecret: not its status.
func changedObject() predicate.Predicate {
	return predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{},
		predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
			return (e.ObjectOld.GetDeletionTimestamp() == nil) != (e.ObjectNew.GetDeletionTimestamp() == nil) ||
				len(e.ObjectOld.GetFinalizers()) != len(e.ObjectNew.GetFinalizers())
		}})
}

// secretHandler wakes whoever writes a Secret or takes templates from it.
func (c *Controller) secretHandler() handler.EventHandler {
	templates := c.templateHandler("Secret")
	target := func(ctx context.Context, o client.Object, q queue, gone bool) {
		c.each(ctx, o.GetNamespace(), byTarget, cluster.SecretKind().GroupKind().String()+"/"+o.GetName(), func(es *v1.ExternalSecret) {
			c.wakeTarget(es, o, q, gone)
		})
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			target(ctx, e.Object, q, false)
			templates.Create(ctx, e, q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			target(ctx, e.ObjectNew, q, false)
			templates.Update(ctx, e, q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			target(ctx, e.Object, q, true)
			templates.Delete(ctx, e, q)
		},
	}
}

// wakeTarget has a look at an object whose target changed, unless it was us who
// changed it.
func (c *Controller) wakeTarget(es *v1.ExternalSecret, target client.Object, q queue, gone bool) {
	key := client.ObjectKeyFromObject(es)
	if e, ok := c.memory.get(key); ok {
		switch {
		case gone:
			e.lost(target.GetResourceVersion())
		case e.wrote(target.GetResourceVersion()):
			return
		}
		e.Touch(c.Clock.Now())
	}
	q.Add(ctrl.Request{NamespacedName: key})
}

func (c *Controller) templateHandler(kind string) handler.EventHandler {
	wake := func(ctx context.Context, o client.Object, q queue) {
		c.each(ctx, o.GetNamespace(), byTemplate, kind+"/"+o.GetName(), func(es *v1.ExternalSecret) {
			c.wake(es, q, always)
		})
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

// storeHandler wakes all who read from a store that appeared or changed, and those
// that failed when it has become usable.
func (c *Controller) storeHandler(kind string) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			c.wakeStore(ctx, kind, client.ObjectKeyFromObject(e.Object), q, ifFailing)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			switch {
			case e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration():
				c.wakeStore(ctx, kind, client.ObjectKeyFromObject(e.ObjectNew), q, always)
			case readiness(e.ObjectOld) != readiness(e.ObjectNew):
				c.wakeStore(ctx, kind, client.ObjectKeyFromObject(e.ObjectNew), q, ifFailing)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			c.wakeStore(ctx, kind, client.ObjectKeyFromObject(e.Object), q, always)
		},
	}
}

func readiness(o client.Object) string {
	s, ok := o.(v1.GenericStore)
	if !ok {
		return ""
	}
	for _, cond := range s.GetStatus().Conditions {
		if cond.Type == v1.SecretStoreReady {
			return string(cond.Status)
		}
	}
	return ""
}

// namespaceHandler wakes those who may have gained or lost a cluster store by the
// labels of their namespace.
func (c *Controller) namespaceHandler() handler.EventHandler {
	return handler.Funcs{
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			c.list(ctx, client.InNamespace(e.ObjectNew.GetName()), nil, func(es *v1.ExternalSecret) {
				for _, ref := range plan.Stores(&es.Spec) {
					if ref.Kind == v1.ClusterSecretStoreKind {
						c.wake(es, q, always)
						return
					}
				}
			})
		},
	}
}

// Whom to wake at once: everybody, or those whose last pass failed. The others look
// whether they are due.
type urgency bool

const (
	always    urgency = true
	ifFailing urgency = false
)

func (c *Controller) wakeStore(ctx context.Context, kind string, key client.ObjectKey, q queue, u urgency) {
	c.each(ctx, key.Namespace, byStore, plan.StoreRef{Kind: kind, Name: key.Name}.String(), func(es *v1.ExternalSecret) {
		c.wake(es, q, u)
	})
}

// wakeGenerator wakes those that name a generator: all if it is another now.
func (c *Controller) wakeGenerator(ctx context.Context, namespace, name string, changed bool, q queue) {
	c.each(ctx, namespace, byGenerator, name, func(es *v1.ExternalSecret) { c.wake(es, q, urgency(changed)) })
}

func (c *Controller) wake(es *v1.ExternalSecret, q queue, u urgency) {
	key := client.ObjectKeyFromObject(es)
	if e, ok := c.memory.get(key); ok {
		e.Touch(c.Clock.Now())
		if u == always {
			e.Nudge(c.Clock.Now())
		}
	}
	q.Add(ctrl.Request{NamespacedName: key})
}

// each calls f for the ExternalSecrets that an index holds under a value; an empty
// namespace is all of them.
func (c *Controller) each(ctx context.Context, namespace, index, value string, f func(*v1.ExternalSecret)) {
	c.list(ctx, client.InNamespace(namespace), client.MatchingFields{index: value}, f)
}

func (c *Controller) list(ctx context.Context, in client.InNamespace, fields client.MatchingFields, f func(*v1.ExternalSecret)) {
	opts := []client.ListOption{in, client.UnsafeDisableDeepCopy}
	if fields != nil {
		opts = append(opts, fields)
	}
	var all v1.ExternalSecretList
	if err := c.cache.List(ctx, &all, opts...); err != nil {
		return // the cache stops: so does everything
	}
	for i := range all.Items {
		f(&all.Items[i])
	}
}
