package integration

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

func TestKubernetesStoreOnThisCluster(t *testing.T) {
	k := start(t)
	clients, err := kubernetes.NewForConfig(k.config)
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "reader"}}
	if _, err := clients.CoreV1().ServiceAccounts(k.ns).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.secret("source", held{"user": "u", "password": "1"})
	k.create(group, esv1.SecretStoreKind, "main", `spec: {refreshInterval: 1s, provider: {kubernetes: {remoteNamespace: `+k.ns+`, server: {url: "`+k.config.Host+`", caBundle: `+
		base64.StdEncoding.EncodeToString(k.config.CAData)+`}, auth: {serviceAccount: {name: reader}}}}}`)
	k.externalSecret("app", `{secretStoreRef: {name: main}, data: [{secretKey: p, remoteRef: {key: source, property: password}}], dataFrom: [{extract: {key: source}}]}`)
	k.awaitFailed("app", secret.Denied)

	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "read"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "watch"}}},
	}
	if _, err := clients.RbacV1().Roles(k.ns).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "read"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "read"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: k.ns, Name: "reader"}},
	}
	if _, err := clients.RbacV1().RoleBindings(k.ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.awaitData("app", held{"p": "1", "user": "u", "password": "1"})
	k.edit(&corev1.Secret{}, "source", `{stringData: {password: "2"}}`)
	k.force("app")
	k.awaitData("app", held{"p": "2", "user": "u", "password": "2"})
}

func TestWebhookStore(t *testing.T) {
	k := start(t)
	var answer atomic.Value
	answer.Store(`{"value": "1"}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Token") != "good":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path != "/db":
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = w.Write([]byte(answer.Load().(string)))
		}
	}))
	t.Cleanup(server.Close)
	k.create("v1", "Secret", "token", "metadata: {labels: {external-secrets.io/type: webhook}}\nstringData: {t: good}")
	k.store("main", `{webhook: {url: "`+server.URL+`/{{ .remoteRef.key }}", headers: {X-Token: "{{ .auth.t }}"}, result: {jsonPath: $.value}, secrets: [{name: auth, secretRef: {name: token}}]}}`)
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonStoreValid)
	k.externalSecret("app", oneKey(""))
	k.awaitData("app", held{"p": "1"})
	answer.Store(`{"value": "2"}`)
	k.force("app")
	k.awaitData("app", held{"p": "2"})
	k.edit(&corev1.Secret{}, "token", `{stringData: {t: bad}}`)
	k.ask("app")
	k.awaitFailed("app", secret.Unauthenticated)
	k.awaitData("app", held{"p": "2"})
	k.edit(&corev1.Secret{}, "token", `{stringData: {t: good}}`)
	k.awaitSynced("app")
}
