package secretstore

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// Config is what the controller works with; everything but Interval is required.
type Config struct {
	Pool     *store.Pool
	Registry provider.Registry
	Changes  *cluster.Changes
	// Events are for SecretStores, ClusterEvents for ClusterSecretStores.
	Events, ClusterEvents *reconcile.Events
	Metrics               *metrics.Metrics
	Clock                 provider.Clock
	// Class is the value of spec.controller that this process serves, beside none.
	Class string
	// Interval is how often a store without a refreshInterval is checked.
	Interval    time.Duration
	Concurrency int
}

// Controller checks the stores of one kind.
type Controller struct {
	Config
	client client.Client
	name   string
	kind   string
	empty  func() v1.GenericStore
	series *metrics.Objects
	checks checks
}

// Setup adds the controllers of both kinds to a manager. Namespaced and cluster say
// which are wanted.
func Setup(mgr ctrl.Manager, cfg Config, namespaced, cluster bool) error {
	if namespaced {
		c := &Controller{Config: cfg, kind: v1.SecretStoreKind, empty: func() v1.GenericStore { return &v1.SecretStore{} }, series: cfg.Metrics.SecretStores}
		if err := c.setup(mgr, "secretstore"); err != nil {
			return err
		}
	}
	if cluster {
		cfg.Events = cfg.ClusterEvents
		c := &Controller{Config: cfg, kind: v1.ClusterSecretStoreKind, empty: func() v1.GenericStore { return &v1.ClusterSecretStore{} }, series: cfg.Metrics.ClusterStores}
		return c.setup(mgr, "clustersecretstore")
	}
	return nil
}

func (c *Controller) setup(mgr ctrl.Manager, name string) error {
	c.client, c.name = mgr.GetClient(), name
	c.checks.m = map[client.ObjectKey]check{}
	changes := source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		c.Changes.Subscribe(func(p store.Place) {
			if p.Kind == c.kind {
				key := client.ObjectKey{Namespace: p.Namespace, Name: p.Name}
				c.checks.forget(key)
				q.Add(ctrl.Request{NamespacedName: key})
			}
		})
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).Named(name).
		For(c.empty(), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(changes).
		WithOptions(controller.Options{MaxConcurrentReconciles: c.Concurrency}).
		Complete(c)
}

// Reconcile checks one store, unless the last check still stands.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := c.empty()
	if err := c.client.Get(ctx, req.NamespacedName, s); err != nil {
		if !apierrors.IsNotFound(err) {
			return ctrl.Result{}, cluster.Error("read", err)
		}
		c.gone(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if class := s.GetSpec().Controller; class != "" && class != c.Class {
		return ctrl.Result{}, nil
	}
	now := c.Clock.Now()
	last := c.checks.get(req.NamespacedName)
	if wait := last.until.Sub(now); last.isOf(s) && wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	defer func() { c.Metrics.Took(c.name, c.Clock.Now().Sub(now)) }()
	next, err := c.pass(ctx, s, last.failures)
	if err != nil {
		return ctrl.Result{}, err
	}
	c.checks.set(req.NamespacedName, next)
	return ctrl.Result{RequeueAfter: next.until.Sub(c.Clock.Now())}, nil
}

// pass checks a store and reports it. It returns how long the verdict stands: until
// the interval is over, or less if it is a failure that may pass.
func (c *Controller) pass(ctx context.Context, s v1.GenericStore, failures int) (check, error) {
	interval, err := c.interval(s)
	if err == nil {
		err = c.check(ctx, s)
	}
	v := judge(err)
	if err := c.report(ctx, s, v); err != nil {
		return check{}, err
	}
	next := check{uid: string(s.GetUID()), generation: s.GetGeneration()}
	if v.failed() {
		next.failures = failures + 1
		if wait, again := reconcile.Backoff(err, next.failures); again {
			interval = min(interval, wait)
		}
	}
	next.until = c.Clock.Now().Add(interval)
	return next, nil
}

func (c *Controller) gone(key client.ObjectKey) {
	if last := c.checks.get(key); last.uid != "" {
		c.Pool.Forget(last.uid)
	}
	c.checks.forget(key)
	c.series.Delete(metrics.Key{Namespace: key.Namespace, Name: key.Name})
}

// check opens the store and asks whether its credential works.
func (c *Controller) check(ctx context.Context, s v1.GenericStore) error {
	place, err := reconcile.Place(s, "")
	if err != nil {
		return err
	}
	p, err := c.Registry.Lookup(place.Provider)
	if err != nil {
		return err
	}
	if err := p.Validate(place.Spec); err != nil {
		return err
	}
	return c.Pool.Check(ctx, place)
}

// interval is spec.refreshInterval: seconds as a number, or a duration.
func (c *Controller) interval(s v1.GenericStore) (time.Duration, error) {
	given := s.GetSpec().RefreshInterval
	if given == nil {
		return c.Interval, nil
	}
	d := time.Duration(given.IntValue()) * time.Second
	if text := given.StrVal; text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			return c.Interval, &secret.Error{Kind: secret.Invalid, Err: errInterval}
		}
	}
	switch {
	case d < 0:
		return c.Interval, &secret.Error{Kind: secret.Invalid, Err: errInterval}
	case d == 0:
		return c.Interval, nil
	}
	return d, nil
}
