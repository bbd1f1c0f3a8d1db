package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strconv"
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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/config/crds"
	"github.com/keyferry/keyferry/internal/controller"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/internal/reconcile/conditions/check"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/providers/fake"
	"github.com/keyferry/keyferry/providers/kubernetes"
	"github.com/keyferry/keyferry/providers/webhook"
	"github.com/keyferry/keyferry/secret"
)

func TestMain(m *testing.M) {
	crlog.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	os.Exit(m.Run()) //nolint:forbidigo // the exit of a test binary
}

// definitions are installed once for all tests.
var definitions sync.Once

// kit is what a test works with: a namespace, a backend, and a controller on both.
type kit struct {
	*testing.T
	ns       string
	config   *rest.Config
	api      client.Client
	backend  *backend
	clock    *clock
	registry *prometheus.Registry
	forced   atomic.Int64
}

// clock is the real one, set forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time                         { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (c *clock) jump(d time.Duration)                   { c.ahead.Add(int64(d)) }

// newKit is a kit whose controller does not run yet.
func newKit(t *testing.T) *kit {
	t.Helper()
	plane := testenv.Cluster(t)
	config := plane.Config()
	config.WarningHandler = rest.NoWarnings{}
	definitions.Do(func() { installCRDs(t, config) })
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, esv1.AddToScheme, v1alpha1.AddToScheme, genv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &kit{T: t, ns: plane.Namespace(t), config: config, api: api, backend: newBackend(), clock: &clock{}}
}

func installCRDs(t *testing.T, config *rest.Config) {
	t.Helper()
	all, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	if err := testenv.InstallCRDs(t.Context(), config, all); err != nil {
		t.Fatal(err)
	}
}

// start is a kit with a controller that runs until the test ends.
func start(t *testing.T, change ...func(*controller.Options)) *kit {
	t.Helper()
	t.Parallel()
	k := newKit(t)
	k.run(change...)
	return k
}

// oneByOne makes the controller work on one object at a time, in the order in which
// they came: what is done with a later one comes after an earlier one.
func oneByOne(o *controller.Options) { o.Concurrency = 1 }

// run runs a controller until the test ends, or what it returns is called.
func (k *kit) run(change ...func(*controller.Options)) (stop func()) {
	k.Helper()
	registry, err := provider.NewRegistry(fake.Provider(), kubernetes.Provider(), webhook.Provider(), k.backend.provider())
	if err != nil {
		k.Fatal(err)
	}
	k.registry = prometheus.NewRegistry()
	o := controller.Options{
		Registry: registry, Logger: logr.Discard(), Version: "test", Registerer: k.registry, Clock: k.clock,
		Class: k.ns, Namespace: k.ns, Concurrency: 4, StoreInterval: 5 * time.Minute,
		ClusterStores: true, SecretStores: true, FloodGate: true, PushSecrets: true,
		EgressAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Metrics:     controller.MetricsOptions{Address: "0"}, ProbeAddress: "0",
	}
	for _, f := range change {
		f(&o)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(k.Context()))
	ended := make(chan error, 1)
	go func() { ended <- controller.Run(ctx, k.config, o) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			k.Errorf("the controller ended: %v", err)
		}
	})
	k.Cleanup(stop)
	return stop
}

// create creates an object of the namespace; body is YAML beside kind and name.
func (k *kit) create(apiVersion, kind, name, body string) {
	k.Helper()
	if err := k.api.Create(k.Context(), k.object(apiVersion, kind, name, body)); err != nil {
		k.Fatalf("create %s %s: %v", kind, name, err)
	}
}

func (k *kit) object(apiVersion, kind, name, body string) *unstructured.Unstructured {
	k.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(body), &u.Object); err != nil {
		k.Fatalf("%v in\n%s", err, body)
	}
	if u.Object == nil {
		u.Object = map[string]any{}
	}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	u.SetName(name)
	if kind != esv1.ClusterSecretStoreKind {
		u.SetNamespace(k.ns)
	}
	return u
}

const group = "external-secrets.io/v1"

func (k *kit) externalSecret(name, spec string) {
	k.Helper()
	k.create(group, esv1.ExtSecretKind, name, "spec: "+spec)
}

// store creates a SecretStore of a provider.
func (k *kit) store(name, prov string) {
	k.Helper()
	k.create(group, esv1.SecretStoreKind, name, "spec: {provider: "+prov+"}")
}

// clusterStore creates a ClusterSecretStore of this test's class, named after the
// namespace, and deletes it with the test.
func (k *kit) clusterStore(prov, more string) (name string) {
	k.Helper()
	name = k.ns
	body := fmt.Sprintf("spec: {controller: %s, provider: %s%s}", k.ns, prov, more)
	k.create(group, esv1.ClusterSecretStoreKind, name, body)
	k.Cleanup(func() {
		obj := &esv1.ClusterSecretStore{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_ = k.api.Delete(context.WithoutCancel(k.Context()), obj) // the control plane ends soon
	})
	return name
}

// secret creates a Secret that is nobody's.
func (k *kit) secret(name string, data map[string]string) {
	k.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.ns, Name: name}, StringData: data}
	if err := k.api.Create(k.Context(), s); err != nil {
		k.Fatal(err)
	}
}

func (k *kit) configMap(name string, data map[string]string) {
	k.Helper()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: k.ns, Name: name}, Data: data}
	if err := k.api.Create(k.Context(), m); err != nil {
		k.Fatal(err)
	}
}

// edit applies a merge patch, in YAML.
func (k *kit) edit(obj client.Object, name, patch string) {
	k.Helper()
	raw, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		k.Fatal(err)
	}
	obj.SetName(name)
	switch obj.(type) {
	case *esv1.ClusterSecretStore, *corev1.Namespace:
	default:
		obj.SetNamespace(k.ns)
	}
	if err := k.api.Patch(k.Context(), obj, client.RawPatch(types.MergePatchType, raw), client.FieldOwner("somebody")); err != nil {
		k.Fatalf("edit %s: %v", name, err)
	}
}

func (k *kit) delete(obj client.Object, name string) {
	k.Helper()
	obj.SetName(name)
	obj.SetNamespace(k.ns)
	if err := k.api.Delete(k.Context(), obj); err != nil {
		k.Fatalf("delete %s: %v", name, err)
	}
}

// get reads an object of the namespace; false if there is none.
func (k *kit) get(obj client.Object, name string) bool {
	k.Helper()
	key := client.ObjectKey{Namespace: k.ns, Name: name}
	if _, ok := obj.(*esv1.ClusterSecretStore); ok {
		key.Namespace = ""
	}
	err := k.api.Get(k.Context(), key, obj)
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

// awaitData waits until the Secret holds exactly data; nil waits until it is gone.
func (k *kit) awaitData(name string, data map[string]string) *corev1.Secret {
	k.Helper()
	var s *corev1.Secret
	k.await("Secret "+name, func() string {
		s = &corev1.Secret{}
		return cmp.Diff(data, k.data(s, name))
	})
	return s
}

// data reads a Secret and returns what it holds; nil if there is none.
func (k *kit) data(s *corev1.Secret, name string) map[string]string {
	k.Helper()
	if !k.get(s, name) {
		return nil
	}
	out := make(map[string]string, len(s.Data))
	for key, value := range s.Data {
		out[key] = string(value)
	}
	return out
}

// awaitReady waits until the ExternalSecret, as it is now, has the reason.
func (k *kit) awaitReady(name, reason string) *esv1.ExternalSecret {
	k.Helper()
	var es *esv1.ExternalSecret
	k.await("ExternalSecret "+name, func() string {
		es = &esv1.ExternalSecret{}
		if !k.get(es, name) {
			return "is not there"
		}
		if got := ready(es).Reason; got != reason || es.Status.ObservedGeneration != es.Generation {
			return fmt.Sprintf("generation %d of %d is %q, want %q: %s", es.Status.ObservedGeneration, es.Generation, got, reason, ready(es).Message)
		}
		return ""
	})
	return k.sound(es)
}

// sound checks what holds for the conditions of every object.
func (k *kit) sound(es *esv1.ExternalSecret) *esv1.ExternalSecret {
	k.Helper()
	var list []conditions.Condition
	for _, c := range es.Status.Conditions {
		list = append(list, conditions.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time})
	}
	check.Conditions(k, list)
	return es
}

func (k *kit) awaitSynced(name string) *esv1.ExternalSecret {
	k.Helper()
	var es *esv1.ExternalSecret
	k.await("ExternalSecret "+name, func() string {
		es = &esv1.ExternalSecret{}
		if !k.get(es, name) {
			return "is not there"
		}
		if got := ready(es); got.Status != corev1.ConditionTrue || es.Status.SyncedResourceVersion != plan.SyncedVersion(es) {
			return "is not synced: " + got.Message
		}
		return ""
	})
	return k.sound(es)
}

// awaitFailed waits until the ExternalSecret reports a failure of that kind.
func (k *kit) awaitFailed(name string, kind secret.Kind) *esv1.ExternalSecret {
	k.Helper()
	var es *esv1.ExternalSecret
	k.await("ExternalSecret "+name, func() string {
		es = &esv1.ExternalSecret{}
		k.get(es, name)
		if c := ready(es); c.Status != corev1.ConditionFalse || !strings.HasPrefix(c.Message, string(kind)+": ") || es.Status.ObservedGeneration != es.Generation {
			return fmt.Sprintf("want %s, has %q", kind, c.Message)
		}
		return ""
	})
	return k.sound(es)
}

func ready(es *esv1.ExternalSecret) esv1.ExternalSecretStatusCondition {
	return condition(es, esv1.ExternalSecretReady)
}

func condition(es *esv1.ExternalSecret, t esv1.ExternalSecretConditionType) esv1.ExternalSecretStatusCondition {
	for _, c := range es.Status.Conditions {
		if c.Type == t {
			return c
		}
	}
	return esv1.ExternalSecretStatusCondition{}
}

// ask sets the force-sync annotation to a value that it did not have.
func (k *kit) ask(name string) {
	k.Helper()
	k.edit(&esv1.ExternalSecret{}, name, `{metadata: {annotations: {external-secrets.io/force-sync: "`+strconv.FormatInt(k.forced.Add(1), 10)+`"}}}`)
}

// force has an ExternalSecret synced now and waits for it.
func (k *kit) force(name string) *esv1.ExternalSecret {
	k.Helper()
	k.ask(name)
	return k.awaitSynced(name)
}

// knock makes the controller look whether an object is due, and changes nothing by
// which it would be.
func (k *kit) knock(name string) {
	k.Helper()
	k.edit(&esv1.ExternalSecret{}, name, `{metadata: {finalizers: [keyferry.test/knock]}}`)
	k.edit(&esv1.ExternalSecret{}, name, `{metadata: {finalizers: null}}`)
}

// awaitStore waits until the store, as it is now, has the reason.
func (k *kit) awaitStore(s esv1.GenericStore, name, reason string) esv1.SecretStoreStatusCondition {
	k.Helper()
	var got esv1.SecretStoreStatusCondition
	k.await(s.GetKind()+" "+name, func() string {
		if !k.get(s, name) {
			return "is not there"
		}
		got = storeReady(s)
		if got.Reason != reason || s.GetStatus().ObservedGeneration != s.GetGeneration() {
			return fmt.Sprintf("generation %d of %d is %q, want %q: %s", s.GetStatus().ObservedGeneration, s.GetGeneration(), got.Reason, reason, got.Message)
		}
		return ""
	})
	var list []conditions.Condition
	for _, c := range s.GetStatus().Conditions {
		list = append(list, conditions.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time})
	}
	check.Conditions(k, list)
	return got
}

func storeReady(s esv1.GenericStore) esv1.SecretStoreStatusCondition {
	for _, c := range s.GetStatus().Conditions {
		if c.Type == esv1.SecretStoreReady {
			return c
		}
	}
	return esv1.SecretStoreStatusCondition{}
}

// events returns "Type Reason: Message" of the events about an object, each as often
// as it was seen.
func (k *kit) events(kind, name string) []string {
	k.Helper()
	var list corev1.EventList
	in := client.InNamespace(k.ns)
	if kind == esv1.ClusterSecretStoreKind {
		in = client.InNamespace(metav1.NamespaceDefault)
	}
	if err := k.api.List(k.Context(), &list, in); err != nil {
		k.Fatal(err)
	}
	var out []string
	for _, e := range list.Items {
		if e.InvolvedObject.Kind != kind || e.InvolvedObject.Name != name {
			continue
		}
		n := max(e.Count, 1)
		if e.Series != nil {
			n = max(n, e.Series.Count)
		}
		for range n {
			out = append(out, e.Type+" "+e.Reason+": "+e.Message)
		}
	}
	return out
}

// eventsOf returns the events of a reason about ExternalSecret app.
func (k *kit) eventsOf(reason string) []string {
	k.Helper()
	var out []string
	for _, e := range k.events(esv1.ExtSecretKind, "app") {
		if strings.Contains(e, " "+reason+": ") {
			out = append(out, e)
		}
	}
	return out
}

// awaitEvent waits for an event about ExternalSecret app that begins so.
func (k *kit) awaitEvent(event string) {
	k.Helper()
	k.await("events", func() string {
		all := k.events(esv1.ExtSecretKind, "app")
		for _, e := range all {
			if strings.HasPrefix(e, event) {
				return ""
			}
		}
		return fmt.Sprintf("none begins with %q: %q", event, all)
	})
}

// metric adds up the series of a metric that have all the labels; none is 0.
func (k *kit) metric(name string, labels map[string]string) (sum float64, series int) {
	k.Helper()
	families, err := k.registry.Gather()
	if err != nil {
		k.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			rest := maps.Clone(labels)
			for _, l := range m.GetLabel() {
				if v, ok := rest[l.GetName()]; ok && v == l.GetValue() {
					delete(rest, l.GetName())
				}
			}
			if len(rest) == 0 {
				series++
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum, series
}

// requests is how often the controller asked the API server.
func (k *kit) requests(verb, resource string) int {
	k.Helper()
	n, _ := k.metric("keyferry_kubernetes_requests_total", map[string]string{"verb": verb, "resource": resource})
	return int(n)
}

// passes is how often ExternalSecret app was synced, or that was tried.
func (k *kit) passes() int {
	k.Helper()
	n, _ := k.metric("externalsecret_sync_calls_total", map[string]string{"name": "app", "namespace": k.ns})
	return int(n)
}

// raw encodes for messages.
func raw(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
