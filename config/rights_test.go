package config_test

import (
	"context"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	generators "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/controller"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/providers/kubernetes"
)

// traffic is what was asked of the API server.
type traffic struct {
	next http.RoundTripper

	mu        sync.Mutex
	used      map[string]bool // "group/resource verb"
	forbidden []string
}

// RoundTrip implements http.RoundTripper.
func (r *traffic) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if what := right(req); what != "" {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.used[what] = true
		if err == nil && resp.StatusCode == http.StatusForbidden {
			r.forbidden = append(r.forbidden, what)
		}
	}
	return resp, err
}

// right is what a request needs, as "group/resource verb"; empty for discovery.
func right(req *http.Request) string {
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	group := ""
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		group, parts = parts[1], parts[3:]
	default:
		return ""
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	resource := group + "/" + parts[0]
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	return resource + " " + verb(req, len(parts) == 1)
}

func verb(req *http.Request, all bool) string {
	known := map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}
	switch v := known[req.Method]; {
	case v != "":
		return v
	case req.URL.Query().Get("watch") != "":
		return "watch"
	case all:
		return "list"
	}
	return "get"
}

// run starts the controller as a service account, and stops it with the test, which
// fails if anything was forbidden.
func run(t *testing.T, plane *testenv.ControlPlane, admin client.Client, account *corev1.ServiceAccount, change func(*controller.Options)) *traffic {
	t.Helper()
	token := &authenticationv1.TokenRequest{}
	if err := admin.SubResource("token").Create(t.Context(), account, token); err != nil {
		t.Fatal(err)
	}
	cfg := rest.AnonymousClientConfig(plane.Config())
	cfg.BearerToken = token.Status.Token
	seen := &traffic{used: map[string]bool{}}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		seen.next = next
		return seen
	})
	registry, err := provider.NewRegistry(kubernetes.Provider(), identified())
	if err != nil {
		t.Fatal(err)
	}
	makers, err := generator.NewRegistry(leaving())
	if err != nil {
		t.Fatal(err)
	}
	o := controller.Options{
		Generators: makers, GeneratorState: true, GeneratorGrace: time.Millisecond,
		Registry: registry, Registerer: prometheus.NewRegistry(), Class: "default", Concurrency: 4, StoreInterval: time.Minute,
		ClusterStores: true, SecretStores: true, FloodGate: true, TemplateLeft: "{{", TemplateRight: "}}",
		PushSecrets: true, ClusterExternalSecrets: true, ClusterPushSecrets: true,
		Metrics: controller.MetricsOptions{Address: "0"}, ProbeAddress: "0",
	}
	change(&o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- controller.Run(ctx, cfg, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the controller ended with: %v", err)
		}
		seen.check(t)
	})
	return seen
}

// saw reports whether something was asked, "group/resource verb".
func (r *traffic) saw(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used[what]
}

// check fails for every request that was refused.
func (r *traffic) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.forbidden)
	for _, what := range slices.Compact(r.forbidden) {
		t.Errorf("the controller may not: %s", what)
	}
}

// loopback is where the API server of the tests is.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestControllerHasTheRightsItUses(t *testing.T) {
	admin, plane := installed(t)
	u := tenant{t, admin, plane.Namespace(t), plane}
	u.reader()
	shared := &v1.ClusterSecretStore{ObjectMeta: metav1.ObjectMeta{Name: u.namespace}, Spec: u.provider()}
	shared.Spec.Conditions = []v1.ClusterSecretStoreCondition{{NamespaceRegexes: []string{"test-.*"}}}
	own := &v1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: u.namespace, Name: "own"}, Spec: u.provider()}
	for _, o := range []client.Object{shared, own} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = admin.Delete(context.WithoutCancel(t.Context()), o) })
	}
	account := object[corev1.ServiceAccount](t, "ServiceAccount", system)
	seen := run(t, plane, admin, account, func(o *controller.Options) {
		o.EgressAllow = loopback
		o.LeaderElection = controller.LeaderElection{
			Enabled: true, ID: "external-secrets-controller", Namespace: system,
			Lease: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryGap: 50 * time.Millisecond,
		}
	})
	u.pull(u.externalSecret(v1.ClusterSecretStoreKind, shared.Name))
	u.identify()
	u.push(seen, v1alpha1.PushSecretStoreRef{Kind: v1.ClusterSecretStoreKind, Name: shared.Name}, v1alpha1.PushSecretStoreRef{Name: own.Name})
	u.spread(shared.Name)
	u.generate(append(generators.Kinds(), generators.ClusterGeneratorKind)...)
	granted := rights(object[rbacv1.ClusterRole](t, "ClusterRole", "keyferry-controller").Rules)
	maps.Copy(granted, rights(object[rbacv1.Role](t, "Role", "keyferry-leader-election").Rules))
	// Owner references are not checked by this API server.
	maps.DeleteFunc(granted, func(resource string, _ []string) bool { return strings.HasSuffix(resource, "/finalizers") })
	// When equal events become a series, which is patched, is the recorder's to decide.
	granted["events.k8s.io/events"] = []string{"create"}
	var left []string
	defer func() {
		if t.Failed() {
			t.Logf("granted and not used: %v", left)
		}
	}()
	eventually(t, "every right is used", func(context.Context) bool {
		left = seen.unused(granted)
		return len(left) == 0
	})
}

// unused are the rights that were granted for nothing. Newer API servers send with a
// watch what older ones are asked for by a list.
func (r *traffic) unused(granted map[string][]string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for resource, verbs := range granted {
		for _, verb := range verbs {
			if !r.used[resource+" "+verb] && (verb != "list" || !r.used[resource+" watch"]) {
				out = append(out, resource+" "+verb)
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestOneNamespaceNeedsARoleOnly grants the rules of the ClusterRole in one namespace
// alone, as for --namespace without ClusterSecretStores.
func TestOneNamespaceNeedsARoleOnly(t *testing.T) {
	admin, plane := installed(t)
	u := tenant{t, admin, plane.Namespace(t), plane}
	u.reader()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: system}}
	u.put(
		account,
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: system}, Rules: object[rbacv1.ClusterRole](t, "ClusterRole", "keyferry-controller").Rules},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: system}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: system},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: system, Namespace: u.namespace}},
		},
		&v1.SecretStore{ObjectMeta: metav1.ObjectMeta{Name: "own"}, Spec: u.provider()},
	)
	seen := run(t, plane, admin, account, func(o *controller.Options) {
		o.Namespace, o.ClusterStores = u.namespace, false
		o.EgressAllow = loopback
	})
	u.pull(u.externalSecret(v1.SecretStoreKind, "own"))
	u.identify()
	u.push(seen, v1alpha1.PushSecretStoreRef{Name: "own"})
	u.generate()
}
