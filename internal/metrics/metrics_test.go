package metrics_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/store"
)

var _ store.Metrics = (*metrics.Metrics)(nil)

func newMetrics(t *testing.T, o metrics.Options) (*metrics.Metrics, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	m, err := metrics.New(r, o)
	if err != nil {
		t.Fatal(err)
	}
	return m, r
}

// series lists what a registry has, as "name{labels} value"; histograms by their count.
func series(t *testing.T, r *prometheus.Registry) []string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		for _, s := range f.GetMetric() {
			var labels []string
			for _, l := range s.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
			out = append(out, f.GetName()+"{"+strings.Join(labels, ",")+"} "+string(rune('0'+int(value))))
		}
	}
	slices.Sort(out)
	return out
}

// fill makes a series of every metric.
func fill(m *metrics.Metrics) {
	es, ss, css := metrics.Key{Namespace: "ns", Name: "es"}, metrics.Key{Namespace: "ns", Name: "ss"}, metrics.Key{Name: "css"}
	labels := map[string]string{"app.kubernetes.io/name": "app", "app.kubernetes.io/part-of": "whole", "other": "x"}
	m.ExternalSecrets.Synced(es, nil)
	m.ExternalSecrets.Synced(es, errors.New("odd"))
	m.ExternalSecrets.Set(es, []metrics.Condition{{Type: "Ready", Status: "True"}}, labels)
	m.SecretStores.Set(ss, []metrics.Condition{{Type: "Ready", Status: "False"}}, labels)
	m.ClusterStores.Set(css, []metrics.Condition{{Type: "Ready", Status: "Unknown"}}, labels)
	m.Call("HashiCorp/Vault", "ReadSecretData", nil)
	m.Call("HashiCorp/Vault", "ReadSecretData", errors.New("odd"))
	m.Read("HashiCorp/Vault", true)
	m.Read("HashiCorp/Vault", false)
	m.Took("externalsecret", time.Second)
}

func TestNamesAndLabels(t *testing.T) {
	m, r := newMetrics(t, metrics.Options{})
	fill(m)
	want := []string{
		"clustersecretstore_status_condition{condition=Ready,name=css,status=False} 0",
		"clustersecretstore_status_condition{condition=Ready,name=css,status=True} 0",
		"externalsecret_provider_api_calls_count{call=ReadSecretData,provider=HashiCorp/Vault,status=error} 1",
		"externalsecret_provider_api_calls_count{call=ReadSecretData,provider=HashiCorp/Vault,status=success} 1",
		"externalsecret_status_condition{condition=Ready,name=es,namespace=ns,status=False} 0",
		"externalsecret_status_condition{condition=Ready,name=es,namespace=ns,status=True} 1",
		"externalsecret_sync_calls_error{name=es,namespace=ns} 1",
		"externalsecret_sync_calls_total{name=es,namespace=ns} 2",
		"keyferry_reconcile_duration_seconds{controller=externalsecret} 1",
		"keyferry_store_reads_total{provider=HashiCorp/Vault,shared=false} 1",
		"keyferry_store_reads_total{provider=HashiCorp/Vault,shared=true} 1",
		"secretstore_status_condition{condition=Ready,name=ss,namespace=ns,status=False} 1",
		"secretstore_status_condition{condition=Ready,name=ss,namespace=ns,status=True} 0",
	}
	if diff := cmp.Diff(want, series(t, r)); diff != "" {
		t.Error(diff)
	}
}

func TestExtendedLabels(t *testing.T) {
	m, r := newMetrics(t, metrics.Options{ExtendedLabels: true})
	key := metrics.Key{Namespace: "ns", Name: "es"}
	extended := func(name, part string) string {
		return "app_kubernetes_io_component=,app_kubernetes_io_instance=,app_kubernetes_io_managed_by=,app_kubernetes_io_name=" + name +
			",app_kubernetes_io_part_of=" + part + ",app_kubernetes_io_version="
	}
	expect := func(name, part string) {
		t.Helper()
		want := []string{
			"externalsecret_sync_calls_error{" + extended(name, part) + ",name=es,namespace=ns} 0",
			"externalsecret_sync_calls_total{" + extended(name, part) + ",name=es,namespace=ns} 1",
		}
		if diff := cmp.Diff(want, series(t, r)); diff != "" {
			t.Error(diff)
		}
	}
	m.ExternalSecrets.Synced(key, nil)
	expect("", "")
	m.ExternalSecrets.Set(key, nil, map[string]string{"app.kubernetes.io/name": "app", "app.kubernetes.io/part-of": "whole", "other": "x"})
	expect("app", "whole")
	m.ExternalSecrets.Set(key, nil, nil)
	expect("", "")
}

func TestSeriesEndWithTheirObject(t *testing.T) {
	m, r := newMetrics(t, metrics.Options{ExtendedLabels: true})
	one, two := metrics.Key{Namespace: "ns", Name: "one"}, metrics.Key{Namespace: "ns", Name: "two"}
	for _, key := range []metrics.Key{one, two} {
		m.ExternalSecrets.Synced(key, nil)
		m.ExternalSecrets.Set(key, []metrics.Condition{{Type: "Ready", Status: "True"}, {Type: "Stalled", Status: "False"}}, nil)
	}
	m.ExternalSecrets.Set(two, []metrics.Condition{{Type: "Ready", Status: "True"}}, nil) // no longer Stalled
	before := len(series(t, r))
	m.ExternalSecrets.Delete(one)
	m.ExternalSecrets.Delete(one)
	after := series(t, r)
	if before != 10 || len(after) != 4 {
		t.Errorf("%d series before, %d after: %v", before, len(after), after)
	}
	for _, s := range after {
		if !strings.Contains(s, "name=two") {
			t.Errorf("%s is left", s)
		}
	}
}

// TestLint allows the two names that come from External Secrets Operator.
func TestLint(t *testing.T) {
	m, r := newMetrics(t, metrics.Options{})
	fill(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Metric+": "+p.Text)
	}
	slices.Sort(got)
	want := []string{
		`externalsecret_provider_api_calls_count: counter metrics should have "_total" suffix`,
		`externalsecret_provider_api_calls_count: non-histogram and non-summary metrics should not have "_count" suffix`,
		`externalsecret_sync_calls_error: counter metrics should have "_total" suffix`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNamesThatAreTaken(t *testing.T) {
	r := prometheus.NewRegistry()
	if _, err := metrics.New(r, metrics.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := metrics.New(r, metrics.Options{}); err == nil {
		t.Error("registered twice")
	}
}

func TestUseFromAllSides(t *testing.T) {
	m, r := newMetrics(t, metrics.Options{ExtendedLabels: true})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			key := metrics.Key{Namespace: "ns", Name: string(rune('a' + i))}
			for range 100 {
				fill(m)
				m.ExternalSecrets.Set(key, []metrics.Condition{{Type: "Ready", Status: "True"}}, map[string]string{"app.kubernetes.io/name": "app"})
				if _, err := r.Gather(); err != nil {
					t.Error(err)
				}
				m.ExternalSecrets.Delete(key)
			}
		})
	}
	wg.Wait()
	if got := series(t, r); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "name=a,") }) {
		t.Errorf("something is left: %v", got)
	}
}

type answer struct{ asked []string }

func (a *answer) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	return nil, http.ErrServerClosed
}

func TestRequestsByVerbAndResource(t *testing.T) {
	const (
		core = "http://api/api/v1/namespaces/ns/"
		ours = "http://api/apis/external-secrets.io/v1/"
	)
	cases := map[string]struct{ method, url, want string }{
		"get":                          {"GET", core + "secrets/s", "resource=secrets,verb=get"},
		"list of a namespace":          {"GET", core + "secrets?limit=500", "resource=secrets,verb=list"},
		"list of all":                  {"GET", "http://api/api/v1/secrets", "resource=secrets,verb=list"},
		"watch":                        {"GET", ours + "externalsecrets?watch=true&resourceVersion=1", "resource=externalsecrets,verb=watch"},
		"watch, briefly":               {"GET", ours + "externalsecrets?watch=1", "resource=externalsecrets,verb=watch"},
		"no watch":                     {"GET", ours + "externalsecrets?watch=false", "resource=externalsecrets,verb=list"},
		"create":                       {"POST", core + "secrets", "resource=secrets,verb=create"},
		"update":                       {"PUT", core + "secrets/s", "resource=secrets,verb=update"},
		"delete":                       {"DELETE", core + "secrets/s", "resource=secrets,verb=delete"},
		"patch":                        {"PATCH", ours + "namespaces/ns/externalsecrets/es", "resource=externalsecrets,verb=patch"},
		"patch of a status":            {"PATCH", ours + "namespaces/ns/externalsecrets/es/status", "resource=externalsecrets/status,verb=patch"},
		"a token":                      {"POST", core + "serviceaccounts/sa/token", "resource=serviceaccounts/token,verb=create"},
		"an event":                     {"POST", "http://api/apis/events.k8s.io/v1/namespaces/ns/events", "resource=events,verb=create"},
		"a cluster-scoped object":      {"GET", ours + "clustersecretstores/css", "resource=clustersecretstores,verb=get"},
		"a namespace":                  {"GET", "http://api/api/v1/namespaces/ns", "resource=namespaces,verb=get"},
		"namespaces":                   {"GET", "http://api/api/v1/namespaces?watch=true", "resource=namespaces,verb=watch"},
		"the status of a namespace":    {"PUT", "http://api/api/v1/namespaces/ns/status", "resource=namespaces/status,verb=update"},
		"the API groups":               {"GET", "http://api/apis", "resource=-,verb=discover"},
		"the resources of a group":     {"GET", "http://api/apis/external-secrets.io/v1", "resource=-,verb=discover"},
		"the resources of the core":    {"GET", "http://api/api/v1", "resource=-,verb=discover"},
		"the version":                  {"GET", "http://api/version", "resource=-,verb=discover"},
		"the root":                     {"GET", "http://api/", "resource=-,verb=discover"},
		"a name that is a subresource": {"GET", core + "secrets/status", "resource=secrets,verb=get"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m, r := newMetrics(t, metrics.Options{})
			var next answer
			req, err := http.NewRequestWithContext(t.Context(), c.method, c.url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := m.RoundTripper(&next).RoundTrip(req)
			if !errors.Is(err, http.ErrServerClosed) || resp != nil || len(next.asked) != 1 {
				t.Errorf("the request did not go through: %v, %v", err, next.asked)
			}
			if diff := cmp.Diff([]string{"keyferry_kubernetes_requests_total{" + c.want + "} 1"}, series(t, r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestClientsFindTheTransportUnderneath(t *testing.T) {
	m, _ := newMetrics(t, metrics.Options{})
	next := &answer{}
	wrapped, ok := m.RoundTripper(next).(interface{ WrappedRoundTripper() http.RoundTripper })
	if !ok || wrapped.WrappedRoundTripper() != http.RoundTripper(next) {
		t.Error("it is hidden")
	}
}
