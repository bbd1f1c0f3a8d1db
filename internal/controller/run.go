package controller

import (
	"context"
	"crypto/tls"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/controller/clusterexternalsecret"
	"github.com/keyferry/keyferry/internal/controller/clusterpushsecret"
	"github.com/keyferry/keyferry/internal/controller/externalsecret"
	"github.com/keyferry/keyferry/internal/controller/generatorstate"
	"github.com/keyferry/keyferry/internal/controller/pushsecret"
	"github.com/keyferry/keyferry/internal/controller/secretstore"
	"github.com/keyferry/keyferry/internal/fanout"
	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/rotation"
	"github.com/keyferry/keyferry/store"
	"github.com/keyferry/keyferry/template"
)

// Run works until ctx ends, or the lead is lost, and then closes all stores. It
// fails if the API server cannot be reached or the options contradict each other.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	engine, err := template.New(template.Options{Left: o.TemplateLeft, Right: o.TemplateRight})
	if err != nil {
		return fmt.Errorf("--template-left-delimiter and --template-right-delimiter: %w", err)
	}
	ctrl.SetLogger(o.Logger) // the libraries log there too
	if o.Registerer == nil {
		o.Registerer = ctrlmetrics.Registry
	}
	counts, err := metrics.New(o.Registerer, metrics.Options{ExtendedLabels: o.ExtendedLabels})
	if err != nil {
		return err
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // the API server's priority and fairness does it
	cfg.UserAgent = "keyferry/" + o.Version
	cfg.Wrap(counts.RoundTripper)
	mgr, err := newManager(cfg, o)
	if err != nil {
		return err
	}
	live, err := client.New(cfg, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return err
	}
	a := assembly{Options: o, mgr: mgr, live: live, metrics: counts, engine: engine}
	closeStores, err := a.add(ctx)
	if err != nil {
		return err
	}
	defer closeStores()
	return mgr.Start(ctx)
}

func newManager(cfg *rest.Config, o Options) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1.AddToScheme, v1alpha1.AddToScheme, genv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	caches := cache.Options{
		DefaultTransform: cluster.StripManagedFields,
		ByObject: map[client.Object]cache.ByObject{
			cluster.Metadata(cluster.SecretKind()):    {Transform: cluster.Strip},
			cluster.Metadata(cluster.ConfigMapKind()): {Transform: cluster.Strip},
		},
	}
	if o.Namespace != "" {
		caches.DefaultNamespaces = map[string]cache.Config{o.Namespace: {}}
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Logger: o.Logger, Cache: caches,
		Metrics: serveMetrics(o.Metrics), HealthProbeBindAddress: o.ProbeAddress,
		LeaderElection: o.LeaderElection.Enabled, LeaderElectionID: o.LeaderElection.ID, LeaderElectionNamespace: o.LeaderElection.Namespace,
		LeaseDuration: &o.LeaderElection.Lease, RenewDeadline: &o.LeaderElection.RenewDeadline, RetryPeriod: &o.LeaderElection.RetryGap,
		LeaderElectionReleaseOnCancel: true,
		Controller:                    config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("ping", healthz.Ping)
}

func serveMetrics(m MetricsOptions) metricsserver.Options {
	o := metricsserver.Options{BindAddress: m.Address, SecureServing: m.Secure, CertDir: m.CertDir, CertName: m.CertName, KeyName: m.KeyName}
	if m.Auth {
		o.FilterProvider = authorize
	}
	if !m.HTTP2 {
		o.TLSOpts = append(o.TLSOpts, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
	}
	return o
}

// assembly is what the controllers are made from.
type assembly struct {
	Options
	mgr     ctrl.Manager
	live    client.Client
	metrics *metrics.Metrics
	engine  *template.Engine
	// rotation holds what generators made, for all controllers.
	rotation *rotation.Keeper
}

// add adds the controllers to the manager and returns what closes the stores.
func (a assembly) add(ctx context.Context) (func(), error) {
	tenants := httpx.New(httpx.Policy{Allow: a.EgressAllow}, httpx.Options{Version: a.Version})
	trusted := httpx.New(httpx.Unrestricted(), httpx.Options{Version: a.Version})
	surroundings := cluster.New(a.live, tenants, trusted)
	var changes *cluster.Changes
	pool := store.New(store.Config{
		Registry: a.Registry, Generators: a.Generators, Surroundings: surroundings, Clock: a.Clock, Metrics: a.metrics,
		Recovered: func(p store.Place) { changes.Tell(p) },
	})
	changes, err := cluster.NewChanges(ctx, a.mgr.GetCache(), pool)
	if err != nil {
		return nil, err
	}
	closeStores := func() { _ = pool.Close() } // sessions that cannot be ended end by themselves
	a.rotation = rotation.NewKeeper(rotation.Config{
		Pool: pool, Generators: a.Generators, Client: a.live, Cache: a.mgr.GetCache(), Clock: a.Clock,
		Grace: a.GeneratorGrace, States: a.GeneratorState,
	})
	for _, add := range []func() error{
		func() error { return a.addGeneratorStates(ctx, pool) },
		func() error { return a.addStores(pool, changes) },
		func() error { return a.addExternalSecrets(ctx, pool, surroundings, changes) },
		func() error { return a.addPushSecrets(ctx, pool, surroundings, changes) },
		func() error { return a.addClusterKinds(ctx) },
	} {
		if err := add(); err != nil {
			return nil, err
		}
	}
	return closeStores, nil
}

func (a assembly) events(name string) *reconcile.Events {
	return reconcile.NewEvents(a.mgr.GetEventRecorder(name), a.Clock)
}

// addGeneratorStates adds what ends that which generators left behind.
func (a assembly) addGeneratorStates(ctx context.Context, pool *store.Pool) error {
	if !a.GeneratorState {
		return nil
	}
	if err := rotation.Index(ctx, a.mgr.GetFieldIndexer()); err != nil {
		return err
	}
	return generatorstate.Setup(a.mgr, a.live, generatorstate.Config{
		Pool: pool, Events: a.events("generator-state"), Metrics: a.metrics, Clock: a.Clock, Concurrency: a.Concurrency,
	})
}

func (a assembly) addStores(pool *store.Pool, changes *cluster.Changes) error {
	return secretstore.Setup(a.mgr, secretstore.Config{
		Pool: pool, Registry: a.Registry, Changes: changes, Metrics: a.metrics, Clock: a.Clock,
		Events: a.events("secret-store"), ClusterEvents: a.events("cluster-secret-store"),
		Class: a.Class, Interval: a.StoreInterval, Concurrency: a.Concurrency,
	}, a.SecretStores, a.ClusterStores)
}

func (a assembly) addExternalSecrets(ctx context.Context, pool *store.Pool, surroundings store.Surroundings, changes *cluster.Changes) error {
	return externalsecret.Setup(ctx, a.mgr, a.live, externalsecret.Config{
		Pool: pool, Rotation: a.rotation, Surroundings: surroundings, Changes: changes, Metrics: a.metrics, Clock: a.Clock, Engine: a.engine,
		Events: a.events("external-secrets"),
		Class:  a.Class, Concurrency: a.Concurrency,
		ClusterStores: a.ClusterStores, SecretStores: a.SecretStores, FloodGate: a.FloodGate, AllowGeneric: a.AllowGeneric,
	})
}

func (a assembly) addPushSecrets(ctx context.Context, pool *store.Pool, surroundings store.Surroundings, changes *cluster.Changes) error {
	if !a.PushSecrets {
		return nil
	}
	return pushsecret.Setup(ctx, a.mgr, a.live, pushsecret.Config{
		Pool: pool, Rotation: a.rotation, Registry: a.Registry, Surroundings: surroundings, Changes: changes, Metrics: a.metrics, Clock: a.Clock, Engine: a.engine,
		Events: a.events("pushsecret"),
		Class:  a.Class, Concurrency: a.Concurrency, ClusterStores: a.ClusterStores,
	})
}

// addClusterKinds adds the kinds that work in many namespaces, unless the process is
// restricted to one.
func (a assembly) addClusterKinds(ctx context.Context) error {
	cfg := fanout.Config{Metrics: a.metrics, Clock: a.Clock, Concurrency: a.Concurrency}
	if a.ClusterExternalSecrets && a.Namespace == "" {
		cfg.Events = a.events("cluster-external-secret")
		if err := clusterexternalsecret.Setup(ctx, a.mgr, a.live, cfg); err != nil {
			return err
		}
	}
	if a.ClusterPushSecrets && a.Namespace == "" {
		cfg.Events = a.events("external-secrets-controller")
		return clusterpushsecret.Setup(ctx, a.mgr, a.live, cfg)
	}
	return nil
}
