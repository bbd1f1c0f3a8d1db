package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func TestSpecsThatAreRefused(t *testing.T) {
	caWithoutKey := &esv1.KubernetesProvider{Auth: byAccount("a"), Server: esv1.KubernetesServer{CAProvider: &esv1.CAProvider{Type: "Secret", Name: "ca"}}}
	at := func(url string) *esv1.KubernetesProvider {
		return &esv1.KubernetesProvider{Auth: byAccount("a"), Server: esv1.KubernetesServer{URL: url}}
	}
	two := byAccount("a")
	two.Token = &esv1.TokenAuth{BearerToken: ref("t", "k")}
	nameless := ref("", "config")
	for name, tc := range map[string]struct {
		spec  *esv1.KubernetesProvider
		names []string
	}{
		"no auth":                       {&esv1.KubernetesProvider{}, []string{"auth", "authRef"}},
		"an empty auth":                 {&esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{}}, []string{"auth", "authRef"}},
		"two methods":                   {&esv1.KubernetesProvider{Auth: two}, []string{"token", "serviceAccount"}},
		"a token without key":           {&esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{Token: &esv1.TokenAuth{BearerToken: ref("t", "")}}}, []string{"auth.token.bearerToken.key"}},
		"a certificate without name":    {&esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{Cert: &esv1.CertAuth{ClientKey: ref("c", "k")}}}, []string{"auth.cert.clientCert.name"}},
		"a certificate key without key": {&esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{Cert: &esv1.CertAuth{ClientCert: ref("c", "k"), ClientKey: ref("c", "")}}}, []string{"auth.cert.clientKey.key"}},
		"a service account of no name":  {&esv1.KubernetesProvider{Auth: byAccount("")}, []string{"auth.serviceAccount.name"}},
		"a kubeconfig of no name":       {&esv1.KubernetesProvider{AuthRef: &nameless}, []string{"authRef.name"}},
		"a CA without key":              {caWithoutKey, []string{"server.caProvider.key"}},
		"an address of another scheme":  {at("ftp://host"), []string{"server.url", "ftp"}},
		"an address with a password":    {at("https://u:p@host"), []string{"server.url"}},
		"an address with a query":       {at("https://host?x=1"), []string{"server.url"}},
		"no address":                    {at("https://"), []string{"server.url"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := Provider().Validate(tc.spec)
			if !errors.Is(err, secret.Invalid) {
				t.Fatalf("error %v, want Invalid", err)
			}
			for _, name := range tc.names {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("error %v does not name %q", err, name)
				}
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	f := fixture{T: t, env: providertest.NewEnv(t)}
	s := f.open(&esv1.KubernetesProvider{Auth: byAccount("a")})
	if diff := cmp.Diff([]string{"https://kubernetes.default", "default"}, []string{s.server.String(), s.namespace}); diff != "" {
		t.Errorf("server and namespace (-want +got):\n%s", diff)
	}
}

func TestGet(t *testing.T) {
	f := newFixture(t)
	obj := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: "db", Labels: map[string]string{"team": "harbour"},
			Annotations: map[string]string{"note": "n", corev1.LastAppliedConfigAnnotation: `{"data":{"password":"cA=="}}`},
		},
		Data: map[string][]byte{"user": []byte("u"), "blob": {0, 0xff, '\n'}, "empty": {}},
	}
	created, err := f.client.CoreV1().Secrets(f.namespace).Create(t.Context(), obj, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bare := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bare"}}
	if _, err := f.client.CoreV1().Secrets(f.namespace).Create(t.Context(), bare, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s := f.open(f.spec(byAccount("reader")))
	wantMetadata(t, s)

	got, err := s.Get(t.Context(), secret.Ref{Key: "db"})
	if err != nil {
		t.Fatal(err)
	}
	have := map[string][]byte{}
	for k, v := range got.Fields {
		have[k] = append([]byte{}, v.Reveal()...)
	}
	if diff := cmp.Diff(obj.Data, have); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if got.Version != secret.Version(created.ResourceVersion) {
		t.Errorf("version %q, want %q", got.Version, created.ResourceVersion)
	}

	if got, err := s.Get(t.Context(), secret.Ref{Key: "bare"}); err != nil || string(got.Whole().Reveal()) != "{}" {
		t.Errorf("a Secret without data: %q, error %v, want {}", got.Whole().Reveal(), err)
	}
}

// wantMetadata wants what is kept beside the value, less a copy of the value.
func wantMetadata(t *testing.T, s *store) {
	t.Helper()
	meta, err := s.Get(t.Context(), secret.Ref{Key: "db", Metadata: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"annotations":{"note":"n"},"labels":{"team":"harbour"}}`, string(meta.Whole().Reveal())); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func TestKeysThatAreNoNames(t *testing.T) {
	f := fixture{T: t, env: providertest.NewEnv(t)}
	s := f.open(&esv1.KubernetesProvider{Auth: byAccount("a")})
	for _, key := range []string{"", "..", "a/b", "A", "db?x=1", "db%2f"} {
		if _, err := s.Get(t.Context(), secret.Ref{Key: key}); !errors.Is(err, secret.Invalid) {
			t.Errorf("key %q: %v, want Invalid", key, err)
		}
	}
}

func TestListRefusesWhatCannotBeALabel(t *testing.T) {
	f := fixture{T: t, env: providertest.NewEnv(t)}
	s := f.open(&esv1.KubernetesProvider{Auth: byAccount("a")})
	for _, err := range s.List(t.Context(), secret.Query{Tags: map[string]string{"a b": "c"}}) {
		if !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), "find.tags") {
			t.Errorf("error %v, want Invalid that names find.tags", err)
		}
	}
}

// A page of the usual size can be larger than a response may be.
func TestListOfLargeSecrets(t *testing.T) {
	f := newFixture(t)
	const n = 6
	large := bytes.Repeat([]byte("k"), 900<<10)
	var want, got []string
	for i := range n {
		want = append(want, fmt.Sprintf("large-%d", i))
		f.seed(t, providertest.Entry{Key: want[i], Value: large})
	}
	for item, err := range f.open(f.spec(byAccount("reader"))).List(t.Context(), secret.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, item.Ref.Key)
		if !bytes.Equal(field(*item.Secret).Reveal(), large) {
			t.Errorf("%s has another value", item.Ref.Key)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestCallsAreObserved(t *testing.T) {
	f := newFixture(t)
	f.seed(t, providertest.Entry{Key: "db", Value: []byte("v")})
	s := f.open(f.spec(byAccount("reader")))
	_, _ = s.Get(t.Context(), secret.Ref{Key: "db"})
	_, _ = s.Get(t.Context(), secret.Ref{Key: "none"})
	for range s.List(t.Context(), secret.Query{}) {
	}
	_ = s.Check(t.Context())
	_ = f.open(f.spec(byAccount("nobody"))).Check(t.Context())
	var got []string
	for _, c := range f.env.Calls() {
		got = append(got, fmt.Sprintf("%s %t", c.Name, c.Err == nil))
	}
	want := []string{
		"GetSecret true", "GetSecret false", "ListSecrets true", "CreateSelfSubjectRulesReview true",
		"CreateSelfSubjectRulesReview true", "CreateSelfSubjectAccessReview true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestCheckCountsEveryKindOfGrant(t *testing.T) {
	f := newFixture(t)
	for name, tc := range map[string]struct {
		rule rbacv1.PolicyRule
		want secret.Kind
	}{
		"wildcards":         {rule: rbacv1.PolicyRule{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}},
		"one Secret":        {rule: rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"db"}}},
		"listing alone":     {rule: rbacv1.PolicyRule{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"secrets"}}, want: secret.Denied},
		"another resource":  {rule: rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}}, want: secret.Denied},
		"another API group": {rule: rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{"x"}, Resources: []string{"secrets"}}, want: secret.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			user := strings.ReplaceAll(name, " ", "-")
			f.user(user)
			f.grant(rbacv1.Subject{Kind: rbacv1.UserKind, Name: user}, tc.rule)
			if err := f.open(f.spec(byCert(user))).Check(t.Context()); secret.KindOf(err) != tc.want {
				t.Errorf("error %v, want kind %q", err, tc.want)
			}
		})
	}
}

// What a server answers that is none, or has a bad day.
func TestStrangeAnswers(t *testing.T) {
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	absent := func(kind, name string) string {
		return fmt.Sprintf(`{"kind":"Status","reason":"NotFound","message":%q,"details":{"kind":%q,"name":%q}}`, providertest.Mark, kind, name)
	}
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		get    secret.Kind
		list   secret.Kind
		check  secret.Kind
	}{
		"a page that is not there":   {status(404, "<html>"+providertest.Mark), secret.Invalid, secret.Invalid, secret.Invalid},
		"another thing is absent":    {status(404, absent("namespaces", "db")), secret.Invalid, secret.Invalid, secret.Invalid},
		"another Secret is absent":   {status(404, absent("secrets", "other")), secret.Invalid, secret.Invalid, secret.Invalid},
		"the Secret is absent":       {status(404, absent("secrets", "db")), secret.NotFound, secret.Invalid, secret.Invalid},
		"a web page":                 {status(200, "<html>"+providertest.Mark), secret.Invalid, secret.Invalid, secret.Invalid},
		"an object of another kind":  {status(200, `{"kind":"Pod","data":{"a":"YQ=="}}`), secret.Invalid, secret.Invalid, secret.Invalid},
		"data that is no Base64":     {status(200, `{"kind":"Secret","data":{"a":"`+providertest.Mark+`"}}`), secret.Invalid, secret.Invalid, secret.Invalid},
		"a redirect":                 {http.RedirectHandler("https://elsewhere.example", http.StatusFound).ServeHTTP, secret.Invalid, secret.Invalid, secret.Invalid},
		"the listing took too long":  {status(410, providertest.Mark), secret.Unavailable, secret.Unavailable, secret.Unavailable},
		"a defect":                   {status(500, providertest.Mark), secret.Unavailable, secret.Unavailable, secret.Unavailable},
		"a conflict":                 {status(409, providertest.Mark), secret.Conflict, secret.Conflict, secret.Conflict},
		"may not, not even ask":      {status(403, providertest.Mark), secret.Denied, secret.Denied, secret.Unsupported},
		"an answer that is cut off":  {cutOff, secret.Unavailable, secret.Unavailable, secret.Unavailable},
		"an answer that never stops": {endless, secret.Invalid, secret.Invalid, secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.answer)
			t.Cleanup(server.Close)
			f := fixture{T: t, env: providertest.NewEnv(t)}
			f.env.Put("", providertest.Namespace, "t", map[string]string{"token": "t"})
			s := f.open(&esv1.KubernetesProvider{Auth: byToken("t"), Server: esv1.KubernetesServer{URL: server.URL}})
			_, get := s.Get(t.Context(), secret.Ref{Key: "db"})
			var list error
			for _, list = range s.List(t.Context(), secret.Query{}) {
			}
			for what, c := range map[string]struct {
				got  error
				want secret.Kind
			}{"get": {get, tc.get}, "list": {list, tc.list}, "check": {s.Check(t.Context()), tc.check}} {
				if secret.KindOf(c.got) != c.want || c.got == nil || strings.Contains(c.got.Error(), providertest.Mark) {
					t.Errorf("%s: %v, want kind %q", what, c.got, c.want)
				}
			}
		})
	}
}

func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"kind":"Secret"`)
}

func endless(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"kind":"`)
	for chunk := bytes.Repeat([]byte("x"), 1<<20); ; {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// Clusters behind a gateway have a path in their address.
func TestAddressWithAPath(t *testing.T) {
	var path, accept, authorization string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, accept, authorization = r.URL.Path, r.Header.Get("Accept"), r.Header.Get("Authorization")
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Secret"})
	}))
	t.Cleanup(server.Close)
	f := fixture{T: t, env: providertest.NewEnv(t)}
	f.env.Put("", providertest.Namespace, "t", map[string]string{"token": "t\n"})
	s := f.open(&esv1.KubernetesProvider{Auth: byToken("t"), Server: esv1.KubernetesServer{URL: server.URL + "/k8s/clusters/c-1/"}})
	if _, err := s.Get(t.Context(), secret.Ref{Key: "db"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"/k8s/clusters/c-1/api/v1/namespaces/default/secrets/db", "application/json", "Bearer t"}
	if diff := cmp.Diff(want, []string{path, accept, authorization}); diff != "" {
		t.Errorf("path, Accept and Authorization (-want +got):\n%s", diff)
	}
}

func TestThrottledSaysHowLong(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(server.Close)
	f := fixture{T: t, env: providertest.NewEnv(t)}
	f.env.Put("", providertest.Namespace, "t", map[string]string{"token": "t"})
	s := f.open(&esv1.KubernetesProvider{Auth: byToken("t"), Server: esv1.KubernetesServer{URL: server.URL}})
	_, err := s.Get(t.Context(), secret.Ref{Key: "db"})
	if !errors.Is(err, secret.RateLimited) || secret.RetryAfterOf(err) != 3*time.Second {
		t.Errorf("error %v after %v, want RateLimited after 3s", err, secret.RetryAfterOf(err))
	}
	if calls := f.env.Calls(); len(calls) != 1 {
		t.Errorf("%d calls, want one: the funnel repeats them", len(calls))
	}
}
