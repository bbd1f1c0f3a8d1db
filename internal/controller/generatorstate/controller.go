package generatorstate

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/store"
)

// Config is what the controller works with. All of it is required.
type Config struct {
	Pool        *store.Pool
	Events      *reconcile.Events
	Metrics     *metrics.Metrics
	Clock       provider.Clock
	Concurrency int
}

// Controller reconciles GeneratorStates.
type Controller struct {
	Config
	client client.Client // writes, and reads past the cache
	cache  client.Reader

	mu sync.Mutex
	m  map[types.UID]*reconcile.Turns
}

// Setup adds the controller to a manager; live writes.
func Setup(mgr ctrl.Manager, live client.Client, cfg Config) error {
	c := &Controller{Config: cfg, client: live, cache: mgr.GetCache(), m: map[types.UID]*reconcile.Turns{}}
	return ctrl.NewControllerManagedBy(mgr).Named("generatorstate").
		For(&v1alpha1.GeneratorState{}, builder.WithPredicates(changed())).
		WithOptions(controller.Options{MaxConcurrentReconciles: cfg.Concurrency}).
		Complete(c)
}

// changed lets pass what matters of a GeneratorState: not its status.
func changed() predicate.Predicate {
	return predicate.Or[client.Object](
		predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{},
		predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
			return (e.ObjectOld.GetDeletionTimestamp() == nil) != (e.ObjectNew.GetDeletionTimestamp() == nil)
		}})
}

// Reconcile brings one GeneratorState up to date.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	now := c.Clock.Now()
	state := &v1alpha1.GeneratorState{}
	if err := c.cache.Get(ctx, req.NamespacedName, state); err != nil {
		return ctrl.Result{}, cluster.Error("read", client.IgnoreNotFound(err))
	}
	if state.DeletionTimestamp != nil {
		return c.release(ctx, state, now)
	}
	if !controllerutil.ContainsFinalizer(state, v1alpha1.GeneratorStateFinalizer) {
		return ctrl.Result{}, c.finalizer(ctx, state, true)
	}
	deadline := state.Spec.GarbageCollectionDeadline
	switch {
	case deadline == nil:
		return ctrl.Result{}, nil
	case deadline.After(now):
		return ctrl.Result{RequeueAfter: deadline.Sub(now)}, nil
	}
	uid := state.UID
	err := c.client.Delete(ctx, state, client.Preconditions{UID: &uid})
	if apierrors.IsConflict(err) { // another of that name
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, cluster.Error("delete", client.IgnoreNotFound(err))
}

// turns returns how the passes over a state that is being deleted went.
func (c *Controller) turns(uid types.UID) *reconcile.Turns {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m[uid] == nil {
		c.m[uid] = &reconcile.Turns{}
	}
	return c.m[uid]
}

func (c *Controller) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, uid)
}

// finalizer adds or removes the finalizer. That the object is gone is no error.
func (c *Controller) finalizer(ctx context.Context, state *v1alpha1.GeneratorState, wanted bool) error {
	next := state.DeepCopy()
	if wanted {
		controllerutil.AddFinalizer(next, v1alpha1.GeneratorStateFinalizer)
	} else {
		controllerutil.RemoveFinalizer(next, v1alpha1.GeneratorStateFinalizer)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": next.Finalizers, "resourceVersion": state.ResourceVersion}})
	if err != nil {
		return err
	}
	err = c.client.Patch(ctx, next, client.RawPatch(types.MergePatchType, patch))
	return cluster.Error("finalizers", client.IgnoreNotFound(err))
}

// letGoEvery is how often a state that cannot go looks whether it can.
const letGoEvery = time.Minute
