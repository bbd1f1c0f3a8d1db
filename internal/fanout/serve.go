package fanout

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/secret"
)

var errGone = errors.New("it is not there any more")

// serve puts one pair in order, and returns when to come again; 0 is when something
// changes.
func (f *fan[P, C]) serve(ctx context.Context, due task, now time.Time) (time.Duration, error) {
	t, p := f.book.target(due.parent, due.namespace)
	if t == nil {
		return 0, nil
	}
	v, err := f.look(ctx, t, due.namespace)
	if err != nil {
		return 0, err
	}
	s := t.decide(v, p)
	if wait := p.hold(t, s, now); wait > 0 {
		return wait, nil
	}
	defer f.ask(t.name)
	written, err := f.apply(ctx, t, due.namespace, s)
	switch {
	case s.verb == create && (apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)):
		f.book.note(t, due.namespace, nil) // the namespace is going
		return 0, nil
	case err != nil:
		next, wait := p.failed(err)
		f.book.note(t, due.namespace, &next)
		return wait, nil
	}
	return f.settle(t, due.namespace, p, s, written), nil
}

// look returns what the caches know of a pair. What it returns must not be changed.
func (f *fan[P, C]) look(ctx context.Context, t *target, namespace string) (view, error) {
	ns := cluster.Metadata(cluster.NamespaceKind())
	if err := f.cache.Get(ctx, client.ObjectKey{Name: namespace}, ns); err != nil {
		return view{}, client.IgnoreNotFound(cluster.Error("read", err))
	}
	v := view{there: ns.DeletionTimestamp.IsZero(), selected: t.selects(ns)}
	var err error
	if v.mine, err = f.children(ctx, t, namespace); err != nil {
		return view{}, err
	}
	for _, child := range v.mine {
		if child.GetName() == t.child.GetName() {
			v.named = child
			return v, nil
		}
	}
	other := f.kind.NewChild()
	err = f.cache.Get(ctx, client.ObjectKey{Namespace: namespace, Name: t.child.GetName()}, other)
	if err == nil {
		v.named = other
	}
	return v, client.IgnoreNotFound(cluster.Error("read", err))
}

// children returns those of an object in a namespace; an empty one is all. They are
// the cache's own.
func (f *fan[P, C]) children(ctx context.Context, t *target, namespace string) ([]client.Object, error) {
	list := f.kind.NewChildren()
	if err := f.cache.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{f.byParent(): string(t.uid)}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, cluster.Error("list", err)
	}
	var out []client.Object
	err := apimeta.EachListItem(list, func(o runtime.Object) error {
		child, ok := o.(client.Object)
		if !ok {
			return fmt.Errorf("a list of %T holds %T", f.kind.NewChild(), o)
		}
		out = append(out, child)
		return nil
	})
	return out, err
}

// apply does a step and returns the child as it was written; nil if it was not.
func (f *fan[P, C]) apply(ctx context.Context, t *target, namespace string, s step) (written client.Object, err error) {
	switch s.verb {
	case create:
		written, err = f.fresh(t, namespace)
		if err == nil {
			err = f.failure("create", f.client.Create(ctx, written))
		}
	case update:
		written, err = f.fresh(t, namespace)
		if err == nil {
			inherit(written, s.have)
			err = f.failure("update", f.client.Update(ctx, written))
		}
	}
	if err != nil {
		return nil, err
	}
	for _, child := range s.remove {
		uid, version := child.GetUID(), child.GetResourceVersion()
		gone := f.kind.NewChild()
		gone.SetNamespace(child.GetNamespace())
		gone.SetName(child.GetName())
		err := f.client.Delete(ctx, gone, client.Preconditions{UID: &uid, ResourceVersion: &version})
		if err := f.failure("delete", client.IgnoreNotFound(err)); err != nil {
			return nil, err
		}
	}
	return written, nil
}

func (f *fan[P, C]) fresh(t *target, namespace string) (client.Object, error) {
	child, ok := t.child.DeepCopyObject().(client.Object)
	if !ok {
		return nil, &secret.Error{Kind: secret.Internal, Err: errors.New("a copy of a child is no object")}
	}
	child.SetNamespace(namespace)
	return child, nil
}

// inherit takes over what is not the object's to decide: who it is, and who holds it.
func inherit(child, from client.Object) {
	from, ok := from.DeepCopyObject().(client.Object)
	if !ok {
		return
	}
	child.SetUID(from.GetUID())
	child.SetResourceVersion(from.GetResourceVersion())
	child.SetOwnerReferences(from.GetOwnerReferences())
	child.SetFinalizers(from.GetFinalizers())
}

// failure says what could not be done to a child.
func (f *fan[P, C]) failure(op string, err error) error {
	if op == "update" && apierrors.IsNotFound(err) {
		return &secret.Error{Kind: secret.Conflict, Op: op, Err: errGone}
	}
	wrapped := cluster.Error(op, err)
	if errors.Is(wrapped, secret.Denied) {
		return fmt.Errorf("%w: a quota or an admission webhook refused it, or the controller lacks the permission to %s it", wrapped, op)
	}
	return wrapped
}
