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
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/controller/externalsecret"
	"github.com/keyferry/keyferry/internal/controller/secretstore"
	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile"
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
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1.AddToScheme} {
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
}

// add adds the controllers to the manager and returns what closes the stores.
func (a assembly) add(ctx context.Context) (func(), error) {
	tenants := httpx.New(httpx.Policy{Allow: a.EgressAllow}, httpx.Options{Version: a.Version})
	trusted := httpx.New(httpx.Unrestricted(), httpx.Options{Version: a.Version})
	surroundings := cluster.New(a.live, tenants, trusted)
	var changes *cluster.Changes
	pool := store.New(store.Config{
		Registry: a.Registry, Surroundings: surroundings, Clock: a.Clock, Metrics: a.metrics,
		Recovered: func(p store.Place) { changes.Tell(p) },
	})
	changes, err := cluster.NewChanges(ctx, a.mgr.GetCache(), pool)
	if err != nil {
		return nil, err
	}
	closeStores := func() { _ = pool.Close() } // sessions that cannot be ended end by themselves
	err = secretstore.Setup(a.mgr, secretstore.Config{
		Pool: pool, Registry: a.Registry, Changes: changes, Metrics: a.metrics, Clock: a.Clock,
		Events:        reconcile.NewEvents(a.mgr.GetEventRecorder("secret-store"), a.Clock),
		ClusterEvents: reconcile.NewEvents(a.mgr.GetEventRecorder("cluster-secret-store"), a.Clock),
		Class:         a.Class, Interval: a.StoreInterval, Concurrency: a.Concurrency,
	}, a.SecretStores, a.ClusterStores)
	if err != nil {
		return nil, err
	}
	return closeStores, externalsecret.Setup(ctx, a.mgr, a.live, externalsecret.Config{
		Pool: pool, Surroundings: surroundings, Changes: changes, Metrics: a.metrics, Clock: a.Clock, Engine: a.engine,
		Events: reconcile.NewEvents(a.mgr.GetEventRecorder("external-secrets"), a.Clock),
		Class:  a.Class, Concurrency: a.Concurrency,
		ClusterStores: a.ClusterStores, SecretStores: a.SecretStores, FloodGate: a.FloodGate, AllowGeneric: a.AllowGeneric,
	})
}
