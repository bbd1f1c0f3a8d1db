package fanout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"

	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Config is what a controller works with; all of it is required.
type Config struct {
	Events  *reconcile.Events
	Metrics *metrics.Metrics
	Clock   provider.Clock
	// Concurrency is the number of pairs worked on at once.
	Concurrency int
}

// task is what a controller's queue holds: an object, whose children are all to be
// compared, or which is to be reported; an object and a namespace; or a namespace
// that is to be released.
type task struct {
	parent, namespace string
	report            bool
}

// fan is the controller of one kind.
type fan[P, C client.Object] struct {
	Config
	kind   Kind[P, C]
	client client.Client // writes
	cache  cache.Cache
	book   book
	queue  queue
}

// Setup adds the controller of a kind to a manager; live writes. It fails if the
// cache cannot be indexed or watched.
func Setup[P, C client.Object](ctx context.Context, mgr ctrl.Manager, live client.Client, kind Kind[P, C], cfg Config) error {
	f := &fan[P, C]{Config: cfg, kind: kind, client: live, cache: mgr.GetCache(), book: book{m: map[string]*chapter{}}}
	if err := mgr.GetFieldIndexer().IndexField(ctx, kind.NewChild(), f.byParent(), f.parentUID); err != nil {
		return fmt.Errorf("index children of %s: %w", kind.GroupVersionKind.Kind, err)
	}
	inner, err := controller.NewTyped(kind.Name, mgr, controller.TypedOptions[task]{Reconciler: f, MaxConcurrentReconciles: cfg.Concurrency})
	if err != nil {
		return err
	}
	return f.watch(inner)
}

// Reconcile does one task.
func (f *fan[P, C]) Reconcile(ctx context.Context, t task) (ctrl.Result, error) {
	began := f.Clock.Now()
	var err error
	var again time.Duration
	switch {
	case t.parent == "":
		err = f.release(ctx, t.namespace)
	case t.report:
		err = f.report(ctx, t.parent, began)
	case t.namespace == "":
		again, err = f.pass(ctx, t.parent)
		f.Metrics.Took(f.kind.Name, f.Clock.Now().Sub(began))
	default:
		again, err = f.serve(ctx, t, began)
		f.Metrics.Took(f.kind.Name, f.Clock.Now().Sub(began))
	}
	if errors.Is(err, secret.Conflict) { // the cache will know better soon
		wait, _ := reconcile.Backoff(err, 1)
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	return ctrl.Result{RequeueAfter: max(again, 0)}, err
}

// pass compares all children of an object, and makes due those that are not in order.
// It returns when to come again; 0 is never.
func (f *fan[P, C]) pass(ctx context.Context, name string) (time.Duration, error) {
	parent := f.kind.New()
	if err := f.cache.Get(ctx, client.ObjectKey{Name: name}, parent); err != nil {
		if !apierrors.IsNotFound(err) {
			return 0, cluster.Error("read", err)
		}
		f.book.forget(name)
		f.kind.Series.Delete(metrics.Key{Name: name})
		return 0, nil
	}
	if !parent.GetDeletionTimestamp().IsZero() { // garbage collection deletes the children, or lets them go
		f.book.forget(name)
		return 0, f.drop(ctx, parent, func(finalizer string) bool { return finalizer == f.kind.Finalizer })
	}
	t, err := newTarget(f.kind, parent)
	if err != nil {
		f.book.refuse(name, parent.GetGeneration(), err)
		f.ask(name)
		return 0, nil
	}
	t = f.book.open(t)
	namespaces, err := f.concerned(ctx, t)
	if err != nil {
		return 0, err
	}
	for ns := range namespaces {
		if err := f.compare(ctx, t, ns); err != nil {
			return 0, err
		}
	}
	f.ask(name)
	return t.interval, nil
}

// concerned returns the namespaces that an object selects, has children in, or had.
func (f *fan[P, C]) concerned(ctx context.Context, t *target) (map[string]bool, error) {
	out := f.book.namespaces(t.name)
	all := &metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(cluster.NamespaceKind().GroupVersion().WithKind("NamespaceList"))
	if err := f.cache.List(ctx, all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, cluster.Error("list", err)
	}
	for i := range all.Items {
		if t.selects(&all.Items[i]) {
			out[all.Items[i].Name] = true
		}
	}
	mine, err := f.children(ctx, t, metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	for _, child := range mine {
		out[child.GetNamespace()] = true
	}
	return out, nil
}

// compare notes how a pair stands, and makes it due if that takes a call. There may
// be thousands: whatever an event makes due goes before them.
func (f *fan[P, C]) compare(ctx context.Context, t *target, ns string) error {
	_, p := f.book.target(t.name, ns)
	v, err := f.look(ctx, t, ns)
	if err != nil {
		return err
	}
	s := t.decide(v, p)
	if s.idle() {
		f.settle(t, ns, p, s, nil)
		return nil
	}
	p.there = v.named != nil && t.controls(v.named)
	p.pending = true
	f.book.note(t, ns, &p)
	low := lowPriority
	f.queue.AddWithOpts(priorityqueue.AddOpts{Priority: &low}, task{parent: t.name, namespace: ns})
	return nil
}

// settle notes that a step is done, and returns when to look again; 0 is when
// something changes.
func (f *fan[P, C]) settle(t *target, ns string, p page, s step, written client.Object) time.Duration {
	if s.verb == leave {
		f.book.note(t, ns, nil)
		return 0
	}
	now := f.Clock.Now()
	next := p.after(t, s, written, now)
	f.book.note(t, ns, &next)
	if next.fought(now) {
		return repairCalm + time.Second
	}
	return 0
}

// ask has an object reported soon.
func (f *fan[P, C]) ask(name string) {
	if wait, ok := f.book.ask(name, f.Clock.Now()); ok {
		f.queue.AddAfter(task{parent: name, report: true}, wait)
	}
}

// report writes the status if it says something new.
func (f *fan[P, C]) report(ctx context.Context, name string, now time.Time) error {
	y, ok := f.book.take(name, now)
	parent := f.kind.New()
	if err := f.cache.Get(ctx, client.ObjectKey{Name: name}, parent); err != nil || !ok {
		return client.IgnoreNotFound(cluster.Error("read", err))
	}
	old := f.kind.Status(parent)
	next := y.status(old, now)
	f.count(name, next)
	if old.equal(next) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": f.kind.Encode(next)})
	if err != nil {
		return err
	}
	to := f.kind.New()
	to.SetName(name)
	if err := f.client.Status().Patch(ctx, to, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return client.IgnoreNotFound(cluster.Error("status", err))
	}
	ready, _ := conditions.Find(next.Conditions, conditions.Ready)
	if ready.Status == conditions.False && warning(next) != warning(old) {
		f.Events.Warning(parent, ReasonErrored, warning(next))
	}
	return nil
}

func (f *fan[P, C]) count(name string, s Status) {
	list := make([]metrics.Condition, 0, len(s.Conditions))
	for _, c := range s.Conditions {
		list = append(list, metrics.Condition{Type: c.Type, Status: c.Status})
	}
	f.kind.Series.Set(metrics.Key{Name: name}, list, nil)
}

// release removes ESO's finalizers from a namespace, which would keep it for ever.
func (f *fan[P, C]) release(ctx context.Context, name string) error {
	ns := cluster.Metadata(cluster.NamespaceKind())
	if err := f.cache.Get(ctx, client.ObjectKey{Name: name}, ns); err != nil {
		return client.IgnoreNotFound(cluster.Error("read", err))
	}
	return f.drop(ctx, ns, f.foreign)
}

// foreign reports whether a finalizer of a namespace is ESO's.
func (f *fan[P, C]) foreign(finalizer string) bool {
	return f.kind.NamespaceFinalizer != "" && strings.HasPrefix(finalizer, f.kind.NamespaceFinalizer)
}

// drop removes finalizers, if there are such.
func (f *fan[P, C]) drop(ctx context.Context, obj client.Object, which func(string) bool) error {
	kept := slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), which)
	if len(kept) == len(obj.GetFinalizers()) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": kept, "resourceVersion": obj.GetResourceVersion()}})
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(cluster.Error("finalizers", f.client.Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch))))
}
