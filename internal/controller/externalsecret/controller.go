package externalsecret

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
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
	// ClusterStores is false if ClusterSecretStores are not served, SecretStores if
	// nobody checks SecretStores.
	ClusterStores, SecretStores bool
	// FloodGate holds reads back until the store is Ready.
	FloodGate bool
	// AllowGeneric allows targets that are not Secrets.
	AllowGeneric bool
}

// Controller reconciles ExternalSecrets.
type Controller struct {
	Config
	client client.Client // writes, and reads past the cache
	cache  cache.Cache
	stores cluster.Stores
	// generators finds those that objects name.
	generators rotation.Finder
	memory     memory
	started    time.Time
	watched    watched
}

// Setup adds the controller to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, live client.Client, cfg Config) error {
	c := &Controller{Config: cfg, client: live, cache: mgr.GetCache(), started: cfg.Clock.Now()}
	c.stores = cluster.Stores{Cache: c.cache, Class: cfg.Class, ClusterStores: cfg.ClusterStores}
	c.memory.m, c.memory.initial = map[client.ObjectKey]*entry{}, map[client.ObjectKey]bool{}
	c.memory.key = make([]byte, 32)
	if _, err := rand.Read(c.memory.key); err != nil {
		return err
	}
	if err := c.index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	inner, err := controller.New("externalsecret", mgr, controller.Options{
		Reconciler: c, MaxConcurrentReconciles: cfg.Concurrency,
	})
	if err != nil {
		return err
	}
	c.watched.controller = inner
	c.generators.Cache, c.generators.Class = c.cache, cfg.Class
	c.generators.Controller, c.generators.Wake = inner, c.wakeGenerator
	return c.watch(inner)
}

// Reconcile brings one ExternalSecret up to date, if it is due.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	now := c.Clock.Now()
	es := &v1.ExternalSecret{}
	if err := c.cache.Get(ctx, req.NamespacedName, es); err != nil {
		if apierrors.IsNotFound(err) {
			c.forget(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, cluster.Error("read", err)
	}
	if !es.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, c.release(ctx, es)
	}
	if old, ok := c.memory.get(req.NamespacedName); ok && old.uid != es.UID {
		c.Rotation.Forget(old.uid)
	}
	e := c.memory.entry(req.NamespacedName, es)
	why, err := c.due(ctx, es, e, now)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !why.now {
		return requeue(why.next, now), nil
	}
	defer func() { c.Metrics.Took("externalsecret", c.Clock.Now().Sub(now)) }()
	out, err := c.sync(ctx, es, e, why.since)
	if errors.Is(err, cluster.ErrSkip) {
		return ctrl.Result{}, nil
	}
	if errors.Is(err, errWaiting) {
		return ctrl.Result{RequeueAfter: waitingFor}, nil
	}
	return c.finish(ctx, es, e, out, err)
}

func requeue(next, now time.Time) ctrl.Result {
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
	c.Metrics.ExternalSecrets.Delete(metrics.Key{Namespace: key.Namespace, Name: key.Name})
}

// shortest is how long what was made is in use at least, however soon it ends.
const shortest = 10 * time.Second

// finish reports a pass, remembers how it went, and says when to come again.
func (c *Controller) finish(ctx context.Context, es *v1.ExternalSecret, e *entry, out outcome, err error) (ctrl.Result, error) {
	now := c.Clock.Now()
	c.Metrics.ExternalSecrets.Synced(metrics.Key{Namespace: es.Namespace, Name: es.Name}, err)
	status := status(es, out, err, now)
	c.tell(es, status, out.events)
	if patchErr := c.report(ctx, es, e, status); patchErr != nil {
		err = errors.Join(err, patchErr)
	}
	if err == nil {
		e.succeeded(out)
		done := *es
		done.Status = status
		c.warn(&done, e, now)
		ends, err := c.ends(ctx, &done, now)
		if least := now.Add(shortest); !ends.IsZero() && ends.Before(least) {
			ends = least
		}
		return requeue(earliest(c.next(&done, now), ends), now), err
	}
	e.known = false
	retry := e.Failed(plan.SyncedVersion(es), err, out.began, now)
	if retry.IsZero() {
		return requeue(c.interval(es, now), now), nil
	}
	return requeue(retry, now), nil
}
