package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crconfig "sigs.k8s.io/controller-runtime/pkg/config"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/config/crds"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/controller/clusterexternalsecret"
	"github.com/keyferry/keyferry/internal/controller/clusterpushsecret"
	"github.com/keyferry/keyferry/internal/fanout"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/internal/reconcile/conditions/check"
	"github.com/keyferry/keyferry/internal/testenv"
)

func TestMain(m *testing.M) {
	crlog.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	os.Exit(m.Run()) //nolint:forbidigo // the exit of a test binary
}

// definitions are installed once for all tests.
var definitions sync.Once

// kit is what a test works with.
type kit struct {
	*testing.T
	id       string // of this test: the name of a namespace and the value of label kit
	config   *rest.Config
	api      client.Client
	clock    *clock
	requests *requests
	series   *prometheus.Registry
}

// clock is the real one, set forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time                         { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// requests counts what the controllers ask of the API server: "verb resource".
type requests struct {
	mu    sync.Mutex
	m     map[string]int
	fault func(*http.Request) *metav1.Status
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if what, ok := describe(req); ok {
			r.m[what]++
		}
		if r.fault != nil {
			if status := r.fault(req); status != nil {
				return &http.Response{
					StatusCode: int(status.Code), Header: http.Header{"Content-Type": {"application/json"}},
					Body: io.NopCloser(strings.NewReader(text(status))), Request: req,
				}, nil
			}
		}
		r.mu.Unlock()
		defer r.mu.Lock()
		return next.RoundTrip(req)
	})
}

// answer has the API server answer so, where it does not return nil; nil ends that.
func (r *requests) answer(fault func(*http.Request) *metav1.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// describe says what a request is; what an informer asks, and events, do not count.
func describe(req *http.Request) (string, bool) {
	if req.URL.Query().Get("watch") != "" || strings.Contains(req.URL.Path, "/events") {
		return "", false
	}
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	if i := slices.Index(parts, "namespaces"); i >= 0 && len(parts) > i+2 {
		parts = parts[i+2:]
	} else if i >= 0 {
		parts = parts[i:]
	} else {
		parts = parts[min(3, len(parts)):]
	}
	what := req.Method
	for i, p := range parts {
		if i == 1 { // the name
			p = "*"
		}
		what += " " + p
	}
	return what, len(parts) > 0
}

// start is a kit with controllers that run until the test ends.
func start(t *testing.T) *kit {
	t.Helper()
	t.Parallel()
	k := newKit(t)
	k.run()
	return k
}

func newKit(t *testing.T) *kit {
	t.Helper()
	plane := testenv.Cluster(t)
	config := plane.Config()
	config.WarningHandler = rest.NoWarnings{}
	config.QPS = -1
	definitions.Do(func() {
		all, err := crds.All()
		if err == nil {
			err = testenv.InstallCRDs(t.Context(), config, all)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	api, err := client.New(config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return &kit{T: t, id: plane.Namespace(t), config: config, api: api, clock: &clock{}, requests: &requests{m: map[string]int{}}}
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, esv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// run runs controllers until the test ends, or what it returns is called.
func (k *kit) run() (stop func()) {
	k.Helper()
	config := rest.CopyConfig(k.config)
	config.Wrap(k.requests.wrap)
	mine := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{"kit": k.id})}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme(k.T), Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Cache: cache.Options{
			DefaultTransform: cluster.StripManagedFields,
			ByObject:         map[client.Object]cache.ByObject{&esv1.ClusterExternalSecret{}: mine, &v1alpha1.ClusterPushSecret{}: mine},
		},
		Controller: crconfig.Controller{SkipNameValidation: new(true), RecoverPanic: new(false)},
	})
	if err != nil {
		k.Fatal(err)
	}
	live, err := client.New(config, client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		k.Fatal(err)
	}
	k.series = prometheus.NewRegistry()
	counts, err := metrics.New(k.series, metrics.Options{})
	if err != nil {
		k.Fatal(err)
	}
	cfg := fanout.Config{
		Events: reconcile.NewEvents(mgr.GetEventRecorder("test"), k.clock), Metrics: counts, Clock: k.clock, Concurrency: 4,
	}
	if err := clusterexternalsecret.Setup(k.Context(), mgr, live, cfg); err != nil {
		k.Fatal(err)
	}
	if err := clusterpushsecret.Setup(k.Context(), mgr, live, cfg); err != nil {
		k.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(k.Context()))
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			k.Errorf("the manager ended: %v", err)
		}
	})
	k.Cleanup(stop)
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		k.Fatal("the caches do not fill")
	}
	return stop
}

// namespace creates a namespace of the test; with labels in YAML.
func (k *kit) namespace(suffix, labels string) string {
	k.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: k.id + "-" + suffix, Labels: k.yaml(labels)}}
	if err := k.api.Create(k.Context(), ns); err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() { _ = k.api.Delete(context.WithoutCancel(k.Context()), ns) }) // the control plane ends soon
	return ns.Name
}

func (k *kit) yaml(s string) map[string]string {
	k.Helper()
	out := map[string]string{}
	if err := yaml.Unmarshal([]byte(s), &out); err != nil {
		k.Fatal(err)
	}
	return out
}

// relabel replaces labels of a namespace; null removes one.
func (k *kit) relabel(name, labels string) {
	k.Helper()
	k.patch(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, "{metadata: {labels: "+labels+"}}")
}

func (k *kit) patch(obj client.Object, patch string) {
	k.Helper()
	raw, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		k.Fatal(err)
	}
	if err := k.api.Patch(k.Context(), obj, client.RawPatch(types.MergePatchType, raw), client.FieldOwner("somebody")); err != nil {
		k.Fatalf("patch %s: %v", obj.GetName(), err)
	}
}

// spread is what all ExternalSecrets of these tests say.
const spread = "{secretStoreRef: {name: s}, data: [{secretKey: a, remoteRef: {key: db}}]}"

// ces creates a ClusterExternalSecret; more is YAML beside spec.externalSecretSpec.
func (k *kit) ces(name, more string) *esv1.ClusterExternalSecret {
	k.Helper()
	ces := &esv1.ClusterExternalSecret{}
	if err := yaml.UnmarshalStrict([]byte("spec: {externalSecretSpec: "+spread+", "+more+"}"), ces); err != nil {
		k.Fatal(err)
	}
	ces.Name, ces.Labels = k.id+"-"+name, map[string]string{"kit": k.id}
	k.create(ces)
	return ces
}

func (k *kit) create(obj client.Object) {
	k.Helper()
	if err := k.api.Create(k.Context(), obj); err != nil {
		k.Fatalf("create %s: %v", obj.GetName(), err)
	}
	k.Cleanup(func() { _ = k.api.Delete(context.WithoutCancel(k.Context()), obj) }) // the control plane ends soon
}

func (k *kit) delete(obj client.Object, opts ...client.DeleteOption) {
	k.Helper()
	if err := k.api.Delete(k.Context(), obj, opts...); err != nil {
		k.Fatalf("delete %s: %v", obj.GetName(), err)
	}
}

// get reads an object; false if there is none.
func (k *kit) get(obj client.Object, namespace, name string) bool {
	k.Helper()
	err := k.api.Get(k.Context(), client.ObjectKey{Namespace: namespace, Name: name}, obj)
	if client.IgnoreNotFound(err) != nil {
		k.Fatalf("read %s: %v", name, err)
	}
	return !apierrors.IsNotFound(err)
}

// await polls until problem has none. The garbage collector takes half a minute to
// learn of new kinds.
func (k *kit) await(what string, problem func() string) {
	k.Helper()
	deadline := time.After(75 * time.Second)
	for {
		p := problem()
		if p == "" {
			return
		}
		select {
		case <-time.After(15 * time.Millisecond):
		case <-deadline:
			k.Fatalf("%s: %s", what, p)
		}
	}
}

// child waits for an ExternalSecret.
func (k *kit) child(namespace, name string) *esv1.ExternalSecret {
	k.Helper()
	es := &esv1.ExternalSecret{}
	k.await("ExternalSecret "+name, func() string {
		if !k.get(es, namespace, name) {
			return "is not there"
		}
		return ""
	})
	return es
}

// gone waits until there is no such ExternalSecret.
func (k *kit) gone(namespace, name string) {
	k.Helper()
	k.await("ExternalSecret "+name, func() string {
		if k.get(&esv1.ExternalSecret{}, namespace, name) {
			return "is there"
		}
		return ""
	})
}

// status waits until a ClusterExternalSecret, as it is now, says exactly where it has
// children and where it failed ("namespace: reason").
func (k *kit) status(name string, provisioned []string, failed ...string) esv1.ClusterExternalSecretStatus {
	k.Helper()
	ces := &esv1.ClusterExternalSecret{}
	k.await("ClusterExternalSecret "+name, func() string {
		if !k.get(ces, "", name) {
			return "is not there"
		}
		var got []string
		for _, f := range ces.Status.FailedNamespaces {
			got = append(got, f.Namespace+": "+f.Reason)
		}
		want := conditions.True
		if len(failed) > 0 {
			want = conditions.False
		}
		diff := cmp.Diff(provisioned, ces.Status.ProvisionedNamespaces) + cmp.Diff(failed, got) + cmp.Diff(want, string(condition(ces, conditions.Ready).Status))
		if ces.Status.ObservedGeneration != ces.Generation {
			diff += fmt.Sprintf("generation %d of %d", ces.Status.ObservedGeneration, ces.Generation)
		}
		return diff
	})
	k.sound(ces)
	return ces.Status
}

// sound checks what holds for the conditions of every object.
func (k *kit) sound(ces *esv1.ClusterExternalSecret) {
	k.Helper()
	var list []conditions.Condition
	for _, c := range ces.Status.Conditions {
		list = append(list, conditions.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time})
	}
	check.Conditions(k, list)
}

func condition(ces *esv1.ClusterExternalSecret, t string) esv1.ClusterExternalSecretStatusCondition {
	for _, c := range ces.Status.Conditions {
		if string(c.Type) == t {
			return c
		}
	}
	return esv1.ClusterExternalSecretStatusCondition{}
}

// since returns the requests since the last call, without those by which informers
// fill themselves: one list of each kind.
func (k *kit) since() map[string]int {
	k.requests.mu.Lock()
	defer k.requests.mu.Unlock()
	out := k.requests.m
	k.requests.m = map[string]int{}
	for _, kind := range []string{"externalsecrets", "pushsecrets", "clusterexternalsecrets", "clusterpushsecrets", "namespaces"} {
		if out["GET "+kind] == 1 {
			delete(out, "GET "+kind)
		}
	}
	return out
}

// asked returns how often something was asked since the last call of since.
func (k *kit) asked(what string) int {
	k.requests.mu.Lock()
	defer k.requests.mu.Unlock()
	return k.requests.m[what]
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
