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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
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
	registry, err := provider.NewRegistry(kubernetes.Provider())
	if err != nil {
		t.Fatal(err)
	}
	o := controller.Options{
		Registry: registry, Registerer: prometheus.NewRegistry(), Class: "default", Concurrency: 4, StoreInterval: time.Minute,
		ClusterStores: true, SecretStores: true, FloodGate: true, TemplateLeft: "{{", TemplateRight: "}}",
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

// tenant is a namespace of a user whose objects exercise everything that needs a right.
type tenant struct {
	*testing.T
	client.Client
	namespace string
	plane     *testenv.ControlPlane
}

func (u tenant) put(objects ...client.Object) {
	u.Helper()
	for _, o := range objects {
		if o.GetNamespace() == "" {
			o.SetNamespace(u.namespace)
		}
		if err := u.Create(u.Context(), o); err != nil {
			u.Fatalf("create %s: %v", o.GetName(), err)
		}
	}
}

// reader is a service account that may read Secrets of the namespace, and the Secret
// that there is to read.
func (u tenant) reader() {
	u.Helper()
	u.put(
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "reader"}},
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list"}}}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "reader"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "reader", Namespace: u.namespace}},
		},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "source"}, StringData: map[string]string{"password": "p"}},
	)
}

// provider is a store of the Secrets of the namespace, read as its service account.
func (u tenant) provider() v1.SecretStoreSpec {
	cfg := u.plane.Config()
	return v1.SecretStoreSpec{Provider: &v1.SecretStoreProvider{Kubernetes: &v1.KubernetesProvider{
		Server:          v1.KubernetesServer{URL: cfg.Host, CABundle: cfg.CAData},
		Auth:            &v1.KubernetesAuth{ServiceAccount: &esmeta.ServiceAccountSelector{Name: "reader"}},
		RemoteNamespace: u.namespace,
	}}}
}

// externalSecret has a template from a ConfigMap, and one from a Secret.
func (u tenant) externalSecret(kind, store string) *v1.ExternalSecret {
	from := func(name string) *v1.TemplateRef {
		return &v1.TemplateRef{Name: name, Items: []v1.TemplateRefItem{{Key: "url", TemplateAs: v1.TemplateScopeValues}}}
	}
	return &v1.ExternalSecret{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Finalizers: []string{v1.ExternalSecretFinalizer}},
		Spec: v1.ExternalSecretSpec{
			SecretStoreRef: v1.SecretStoreRef{Kind: kind, Name: store},
			Target: v1.ExternalSecretTarget{Name: "first", Template: &v1.ExternalSecretTemplate{
				EngineVersion: v1.TemplateEngineV2,
				TemplateFrom:  []v1.TemplateFrom{{ConfigMap: from("templates")}, {Secret: from("templates")}},
			}},
			Data: []v1.ExternalSecretData{{SecretKey: "password", RemoteRef: v1.ExternalSecretDataRemoteRef{Key: "source", Property: "password"}}},
		},
	}
}

// written waits until the Secret has the value under the key url.
func (u tenant) written(name, url string) *corev1.Secret {
	u.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: u.namespace, Name: name}}
	eventually(u.T, "Secret "+name+" holds "+url, func(ctx context.Context) bool {
		return u.Get(ctx, client.ObjectKeyFromObject(s), s) == nil && string(s.Data["url"]) == url
	})
	return s
}

func (u tenant) gone(o client.Object) {
	u.Helper()
	eventually(u.T, o.GetName()+" is gone", func(ctx context.Context) bool {
		return apierrors.IsNotFound(u.Get(ctx, client.ObjectKeyFromObject(o), o))
	})
}

// patch changes an object that the controller writes too.
func (u tenant) patch(o client.Object, change string) {
	u.Helper()
	if err := u.Patch(u.Context(), o, client.RawPatch(types.MergePatchType, []byte(change))); err != nil {
		u.Fatal(err)
	}
}

// work goes through all that the controller does for an ExternalSecret.
func (u tenant) work(es *v1.ExternalSecret) {
	u.Helper()
	u.put(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "templates"}, Data: map[string]string{"url": "config"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "templates"}, StringData: map[string]string{"url": "https://u:{{ .password }}@host"}},
		es,
	)
	const url = "https://u:p@host"
	s := u.written("first", url)
	for _, name := range []string{"stray", "another-stray"} {
		u.put(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: s.Labels, OwnerReferences: s.OwnerReferences}})
	}
	u.patch(s, `{"data":{"url":"ZWRpdGVk"}}`)
	s = u.written("first", url)
	u.patch(es, `{"spec":{"target":{"name":"second"}}}`)
	u.written("second", url)
	u.gone(s)
	if err := u.Delete(u.Context(), es); err != nil {
		u.Fatal(err)
	}
	u.gone(es)
}

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
		o.LeaderElection = controller.LeaderElection{
			Enabled: true, ID: "external-secrets-controller", Namespace: system,
			Lease: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryGap: 50 * time.Millisecond,
		}
	})
	u.work(u.externalSecret(v1.ClusterSecretStoreKind, shared.Name))
	granted := rights(object[rbacv1.ClusterRole](t, "ClusterRole", "keyferry-controller").Rules)
	maps.Copy(granted, rights(object[rbacv1.Role](t, "Role", "keyferry-leader-election").Rules))
	// Owner references are not checked by this API server.
	delete(granted, "external-secrets.io/externalsecrets/finalizers")
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
	run(t, plane, admin, account, func(o *controller.Options) {
		o.Namespace, o.ClusterStores = u.namespace, false
		o.EgressAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	u.work(u.externalSecret(v1.SecretStoreKind, "own"))
}
