package pushsecret

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/rotation"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/store"
	"github.com/keyferry/keyferry/template"
)

// Config is what the controller works with. All of it is required but the switches.
type Config struct {
	Pool         *store.Pool
	Rotation     *rotation.Keeper
	Registry     provider.Registry
	Surroundings store.Surroundings
	Changes      *cluster.Changes
	Events       *reconcile.Events
	Metrics      *metrics.Metrics
	Engine       *template.Engine
	Clock        provider.Clock
	// Class is the value of a store's spec.controller that this process serves,
	// beside none.
	Class       string
	Concurrency int
	// ClusterStores is false if ClusterSecretStores are not served.
	ClusterStores bool
}

// Controller reconciles PushSecrets.
type Controller struct {
	Config
	client client.Client // writes, and reads past the cache
	cache  cache.Cache
	stores cluster.Stores
	// generators finds those that objects name.
	generators rotation.Finder
	memory     memory
	claims     claims
	queue      queue // set before there is work
}

// Setup adds the controller to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, live client.Client, cfg Config) error {
	c := &Controller{Config: cfg, client: live, cache: mgr.GetCache()}
	c.stores = cluster.Stores{Cache: c.cache, Class: cfg.Class, ClusterStores: cfg.ClusterStores}
	c.memory.m = map[client.ObjectKey]*entry{}
	c.claims.at, c.claims.of = map[place]map[client.ObjectKey][]v1alpha1.PushSecretData{}, map[client.ObjectKey]map[place]bool{}
	if err := c.index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	inner, err := controller.New("pushsecret", mgr, controller.Options{Reconciler: c, MaxConcurrentReconciles: cfg.Concurrency})
	if err != nil {
		return err
	}
	c.generators.Cache, c.generators.Class = c.cache, cfg.Class
	c.generators.Controller, c.generators.Wake = inner, c.wakeGenerator
	if err := c.watch(inner); err != nil {
		return err
	}
	return setupGuards(mgr, c)
}

// Reconcile brings one PushSecret up to date, if it is due.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	now := c.Clock.Now()
	ps := &v1alpha1.PushSecret{}
	if err := c.cache.Get(ctx, req.NamespacedName, ps); err != nil {
		if apierrors.IsNotFound(err) {
			c.forget(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, cluster.Error("read", err)
	}
	if old, ok := c.memory.get(req.NamespacedName); ok && old.uid != ps.UID {
		c.Rotation.Forget(old.uid)
	}
	e := c.memory.entry(req.NamespacedName, ps)
	if !ps.DeletionTimestamp.IsZero() {
		return c.release(ctx, ps, e, now)
	}
	return c.turn(ctx, ps, e, now)
}

// turn makes a pass over an object, if it is due.
func (c *Controller) turn(ctx context.Context, ps *v1alpha1.PushSecret, e *entry, now time.Time) (ctrl.Result, error) {
	state, err := c.state(ctx, ps)
	if errors.Is(err, cluster.ErrSkip) {
		c.claims.drop(keyOf(ps))
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	ends, err := c.ends(ctx, ps, now)
	if err != nil {
		return ctrl.Result{}, err
	}
	if due, next := c.due(ps, e, state, now); !due && (ends.IsZero() || ends.After(now) || e.Failing()) {
		return again(earliest(next, ends), now), nil
	}
	defer func() { c.Metrics.Took("pushsecret", c.Clock.Now().Sub(now)) }()
	out := outcome{began: now, state: state, pushed: plan.Pushed{}.With(ps.Status.SyncedPushSecrets)}
	err = c.sync(ctx, ps, e, &out)
	if errors.Is(err, cluster.ErrSkip) {
		return ctrl.Result{}, nil
	}
	return c.finish(ctx, ps, e, out, err)
}

func again(next, now time.Time) ctrl.Result {
	if next.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(next.Sub(now), time.Millisecond)}
}

func (c *Controller) forget(key client.ObjectKey) {
	if e, ok := c.memory.get(key); ok {
		c.Rotation.Forget(e.uid)
	}
	c.memory.forget(key)
	c.claims.drop(key)
	c.wakeLosers(key, c.queue)
	c.Metrics.PushSecrets.Delete(metrics.Key{Namespace: key.Namespace, Name: key.Name})
}

// finish reports a pass, remembers how it went, and says when to come again.
func (c *Controller) finish(ctx context.Context, ps *v1alpha1.PushSecret, e *entry, out outcome, err error) (ctrl.Result, error) {
	now := c.Clock.Now()
	if e.collides(err, now) {
		return again(e.Failed(out.state, err, out.began, now), now), nil
	}
	status := status(ps, out, err, now)
	c.tell(ps, status, out, err)
	if patchErr := c.report(ctx, ps, e, status); patchErr != nil {
		err = errors.Join(err, patchErr)
	}
	if err == nil {
		e.Succeeded()
		ends, err := c.ends(ctx, ps, now)
		if least := now.Add(shortest); !ends.IsZero() && ends.Before(least) {
			ends = least
		}
		return again(earliest(c.interval(ps, now), ends), now), err
	}
	retry := e.Failed(out.state, err, out.began, now)
	if retry.IsZero() {
		retry = c.interval(ps, now)
	}
	return again(retry, now), nil
}
