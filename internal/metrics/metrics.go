package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics holds the metrics of a process.
type Metrics struct {
	ExternalSecrets *Objects
	SecretStores    *Objects
	ClusterStores   *Objects
	PushSecrets     *Objects
	// ClusterExternalSecrets and ClusterPushSecrets are cluster-scoped.
	ClusterExternalSecrets, ClusterPushSecrets *Objects

	calls    *prometheus.CounterVec
	requests *prometheus.CounterVec
	reads    *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// Options say how much is counted.
type Options struct {
	// ExtendedLabels adds the recommended Kubernetes labels of an object to the
	// series of its ExternalSecret.
	ExtendedLabels bool
}

// New registers the metrics. It fails if one of the names is taken.
func New(r prometheus.Registerer, o Options) (*Metrics, error) {
	m := &Metrics{
		ExternalSecrets:        newObjects("externalsecret", true, true, o.ExtendedLabels),
		SecretStores:           newObjects("secretstore", true, false, false),
		ClusterStores:          newObjects("clustersecretstore", false, false, false),
		PushSecrets:            newObjects("pushsecret", true, false, false),
		ClusterExternalSecrets: newObjects("clusterexternalsecret", false, false, false),
		ClusterPushSecrets:     newObjects("clusterpushsecret", false, false, false),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "externalsecret_provider_api_calls_count",
			Help: "Calls to secret backends, by provider, call and outcome.",
		}, []string{"provider", "call", "status"}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyferry_store_reads_total",
			Help: "Values wanted from secret backends; shared ones took no call of their own.",
		}, []string{"provider", "shared"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyferry_kubernetes_requests_total",
			Help: "Requests to the Kubernetes API server, by verb and resource.",
		}, []string{"verb", "resource"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "keyferry_reconcile_duration_seconds",
			Help:    "Time that a pass over one object took.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"controller"}),
	}
	for _, c := range []prometheus.Collector{m.ExternalSecrets, m.SecretStores, m.ClusterStores, m.PushSecrets, m.ClusterExternalSecrets, m.ClusterPushSecrets, m.calls, m.reads, m.requests, m.took} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Call implements store.Metrics.
func (m *Metrics) Call(provider, call string, err error) {
	status := "success"
	if err != nil {
		status = "error"
	}
	m.calls.WithLabelValues(provider, call, status).Inc()
}

// Read implements store.Metrics.
func (m *Metrics) Read(provider string, shared bool) {
	label := "false"
	if shared {
		label = "true"
	}
	m.reads.WithLabelValues(provider, label).Inc()
}

// Took records the length of one pass.
func (m *Metrics) Took(controller string, d time.Duration) {
	m.took.WithLabelValues(controller).Observe(d.Seconds())
}
