package fanout

import (
	"context"
	"errors"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
)

type (
	added = workqueue.TypedRateLimitingInterface[task]
	queue = priorityqueue.PriorityQueue[task]
	funcs = handler.TypedFuncs[client.Object, task]
)

// lowPriority is that of the pairs of a whole object.
const lowPriority = handler.LowPriority

// byParent is the index over children: by the UID of the object that controls them.
func (f *fan[P, C]) byParent() string { return f.kind.Name }

func (f *fan[P, C]) parentUID(o client.Object) []string {
	if owner := f.parentOf(o); owner != nil {
		return []string{string(owner.UID)}
	}
	return nil
}

// parentOf returns the object that controls a child; nil if that is something else.
func (f *fan[P, C]) parentOf(o client.Object) *metav1.OwnerReference {
	owner := metav1.GetControllerOf(o)
	if owner == nil || owner.Kind != f.kind.GroupVersionKind.Kind {
		return nil
	}
	if gv, err := schema.ParseGroupVersion(owner.APIVersion); err != nil || gv.Group != f.kind.GroupVersionKind.Group {
		return nil
	}
	return owner
}

var errQueue = errors.New("the controller needs a queue with priorities")

func (f *fan[P, C]) watch(inner controller.TypedController[task]) error {
	keep := source.TypedFunc[task](func(_ context.Context, q added) error {
		var ok bool
		if f.queue, ok = q.(queue); !ok {
			return errQueue
		}
		return nil
	})
	for _, s := range []source.TypedSource[task]{
		keep,
		source.TypedKind[client.Object, task](f.cache, f.kind.New(), f.parents(), asksAnew()),
		source.TypedKind[client.Object, task](f.cache, f.kind.NewChild(), f.siblings()),
		source.TypedKind[client.Object, task](f.cache, cluster.Metadata(cluster.NamespaceKind()), f.namespaces()),
	} {
		if err := inner.Watch(s); err != nil {
			return err
		}
	}
	return nil
}

func (f *fan[P, C]) parents() funcs {
	return funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q added) { q.Add(task{parent: e.Object.GetName()}) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q added) { q.Add(task{parent: e.ObjectNew.GetName()}) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q added) { q.Add(task{parent: e.Object.GetName()}) },
	}
}

// asksAnew lets pass what changes what an object asks for, or ends it.
func asksAnew() predicate.Predicate {
	return predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{},
		predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() ||
				e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() ||
				e.ObjectOld.GetAnnotations()[v1.AnnotationForceSync] != e.ObjectNew.GetAnnotations()[v1.AnnotationForceSync]
		}})
}

// siblings make due the pair that a child is of, and those that want its name.
func (f *fan[P, C]) siblings() funcs {
	wake := func(q added, objects ...client.Object) {
		for _, o := range objects {
			if owner := f.parentOf(o); owner != nil {
				q.Add(task{parent: owner.Name, namespace: o.GetNamespace()})
			}
		}
		for _, t := range f.book.targets() {
			if t.child.GetName() == objects[0].GetName() {
				q.Add(task{parent: t.name, namespace: objects[0].GetNamespace()})
			}
		}
	}
	return funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q added) {
			if !e.IsInInitialList { // the objects look at what was there
				wake(q, e.Object)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q added) {
			if changed(e.ObjectOld, e.ObjectNew) {
				wake(q, e.ObjectNew, e.ObjectOld)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q added) { wake(q, e.Object) },
	}
}

// changed reports whether more of a child changed than its status.
func changed(a, b client.Object) bool {
	return a.GetUID() != b.GetUID() || a.GetGeneration() != b.GetGeneration() ||
		!maps.Equal(a.GetLabels(), b.GetLabels()) || !maps.Equal(a.GetAnnotations(), b.GetAnnotations()) ||
		!equality.Semantic.DeepEqual(a.GetOwnerReferences(), b.GetOwnerReferences())
}

// namespaces make due the pairs for which it matters what happened to a namespace.
func (f *fan[P, C]) namespaces() funcs {
	wake := func(q added, ns client.Object, which func(*target) bool) {
		for _, t := range f.book.targets() {
			if which(t) {
				q.Add(task{parent: t.name, namespace: ns.GetName()})
			}
		}
	}
	release := func(q added, ns client.Object) {
		if slices.ContainsFunc(ns.GetFinalizers(), f.foreign) {
			q.Add(task{namespace: ns.GetName()})
		}
	}
	return funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q added) {
			release(q, e.Object)
			if !e.IsInInitialList { // the objects look at what was there
				wake(q, e.Object, func(t *target) bool { return t.selects(e.Object) })
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q added) {
			release(q, e.ObjectNew)
			other := e.ObjectOld.GetUID() != e.ObjectNew.GetUID() || e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
			wake(q, e.ObjectNew, func(t *target) bool {
				before, after := t.selects(e.ObjectOld), t.selects(e.ObjectNew)
				return before != after || other && after
			})
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q added) {
			wake(q, e.Object, func(t *target) bool { return t.selects(e.Object) })
		},
	}
}
