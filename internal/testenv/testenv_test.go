package testenv_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/keyferry/keyferry/internal/testenv"
)

func client(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually waits until ok is true: the controllers of a real control plane take
// their time.
func eventually(t *testing.T, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within a minute", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestServersAreOneForTheProcess(t *testing.T) {
	if a, b := testenv.Cluster(t), testenv.Cluster(t); a != b {
		t.Error("two control planes, want one")
	}
	if a, b := testenv.OpenBao(t), testenv.OpenBao(t); a != b {
		t.Error("two OpenBaos, want one")
	}
}

func TestClusterCollectsGarbage(t *testing.T) {
	cluster := testenv.Cluster(t)
	secrets := client(t, cluster.Config()).CoreV1().Secrets(cluster.Namespace(t))
	owner, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owned := metav1.ObjectMeta{Name: "owned", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Secret", Name: "owner", UID: owner.UID},
	}}
	if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: owned}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Delete(t.Context(), "owner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the owned Secret is gone", func(ctx context.Context) bool {
		_, err := secrets.Get(ctx, "owned", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func TestClusterAuthorizesByRBAC(t *testing.T) {
	cluster := testenv.Cluster(t)
	namespace := cluster.Namespace(t)
	cfg, err := cluster.User("reader", "auditors")
	if err != nil {
		t.Fatal(err)
	}
	user := client(t, cfg)
	if _, err := user.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("a user without a role may list Secrets: %v", err)
	}
	grant(t, client(t, cluster.Config()), namespace, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "auditors"})
	eventually(t, "the role is in force", func(ctx context.Context) bool {
		_, err := user.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
		return err == nil
	})

	anonymous := rest.AnonymousClientConfig(cluster.Config())
	if _, err := client(t, anonymous).CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("an anonymous user got %v, want unauthorized", err)
	}
}

// grant lets the subject list the Secrets of the namespace.
func grant(t *testing.T, admin kubernetes.Interface, namespace string, subject rbacv1.Subject) {
	t.Helper()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "list"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"list"}}},
	}
	if _, err := admin.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "list"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "list"},
		Subjects:   []rbacv1.Subject{subject},
	}
	if _, err := admin.RbacV1().RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestClusterRestartsAKilledAPIServerWithItsData(t *testing.T) {
	cluster := testenv.StartCluster(t)
	namespace := cluster.Namespace(t)
	c := client(t, cluster.Config())
	if err := cluster.KillAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{}); err == nil {
		t.Error("a killed API server answers")
	}
	if err := cluster.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{}); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func TestInstallCRDsMakesThemUsableAndMayBeRepeated(t *testing.T) {
	cluster := testenv.Cluster(t)
	preserve := true
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "things.testenv.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "testenv.example.com",
			Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "things", Kind: "Thing"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: &preserve,
				}},
			}},
		},
	}
	for range 2 {
		if err := testenv.InstallCRDs(t.Context(), cluster.Config(), []*apiextensionsv1.CustomResourceDefinition{crd}); err != nil {
			t.Fatal(err)
		}
	}
	get := client(t, cluster.Config()).CoreV1().RESTClient().Get().AbsPath("/apis/testenv.example.com/v1/things")
	if err := get.Do(t.Context()).Error(); err != nil {
		t.Error(err)
	}
}

// password reads secret/data/db.
func password(t *testing.T, bao *testenv.Bao) string {
	t.Helper()
	answer, err := bao.Do(t.Context(), http.MethodGet, "secret/data/db", nil)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Data struct{ Data map[string]string }
	}
	if err := json.Unmarshal(answer, &read); err != nil {
		t.Fatal(err)
	}
	return read.Data.Data["password"]
}

func TestOpenBaoKeepsItsDataWhileItIsStopped(t *testing.T) {
	bao := testenv.StartOpenBao(t)
	body := map[string]any{"data": map[string]string{"password": "p"}}
	if _, err := bao.Do(t.Context(), http.MethodPost, "secret/data/db", body); err != nil {
		t.Fatal(err)
	}
	bao.Stop()
	if _, err := bao.Do(t.Context(), http.MethodGet, "secret/data/db", nil); err == nil {
		t.Error("a stopped OpenBao answers")
	}
	if err := bao.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := password(t, bao); got != "p" {
		t.Errorf("password after the restart is %q", got)
	}
}

func TestOpenBaoHasBothVersionsOfKV(t *testing.T) {
	bao := testenv.OpenBao(t)
	for path, body := range map[string]any{
		"kv1/a":         map[string]string{"k": "v"},
		"secret/data/a": map[string]any{"data": map[string]string{"k": "v"}},
	} {
		if _, err := bao.Do(t.Context(), http.MethodPost, path, body); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenBaoListensWithTLS(t *testing.T) {
	bao := testenv.OpenBao(t)
	for name, test := range map[string]struct {
		address  string
		identify bool
		want     bool
	}{
		"a client without a certificate is let in where it is asked":      {bao.TLSAddress, false, true},
		"a client with a certificate is let in where it is asked":         {bao.TLSAddress, true, true},
		"a client without a certificate is refused where it is necessary": {bao.MutualTLSAddress, false, false},
		"a client with a certificate is let in where it is necessary":     {bao.MutualTLSAddress, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := tlsClient(t, bao, test.identify)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.address+"/v1/sys/health", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			if got := err == nil; got != test.want {
				t.Errorf("let in: %v, want %v (%v)", got, test.want, err)
			}
		})
	}
}

// tlsClient trusts the server's authority and has a certificate of it or not.
func tlsClient(t *testing.T, bao *testenv.Bao, identify bool) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bao.CA) {
		t.Fatal("CA holds no certificate")
	}
	cfg := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if identify {
		cert, key, err := bao.ClientCert("app")
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}}
}
