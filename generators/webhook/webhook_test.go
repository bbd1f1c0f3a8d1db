package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	goodToken = "good-token-0001"
	weakToken = "weak-token-0002"
)

// service makes credentials: POST /new answers with a user and a password.
type service struct {
	mu   sync.Mutex
	made int
	seen []string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Header.Get("Authorization") {
	case "Bearer " + goodToken:
	case "Bearer " + weakToken:
		http.Error(w, providertest.Mark, http.StatusForbidden)
		return
	default:
		http.Error(w, providertest.Mark, http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/new" {
		http.Error(w, providertest.Mark, http.StatusNotFound)
		return
	}
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	s.seen = append(s.seen, string(body))
	_ = json.NewEncoder(w).Encode(map[string]any{"credentials": map[string]string{
		"user": "app", "password": fmt.Sprintf("password-number-%d", s.made),
	}})
}

func spec(url, token string) *v1alpha1.WebhookSpec {
	return &v1alpha1.WebhookSpec{
		URL: url + "/new", Method: http.MethodPost, Body: `{"for":"app"}`,
		Headers: map[string]string{"Authorization": "Bearer {{ .auth.token }}"},
		Result:  esv1.WebhookResult{JSONPath: "$.credentials"},
		Secrets: []v1alpha1.WebhookSecret{{Name: "auth", SecretRef: v1alpha1.SecretKeySelector{Name: token}}},
	}
}

func newEnv(t *testing.T) *providertest.Env {
	t.Helper()
	env := providertest.NewEnv(t)
	for name, token := range map[string]string{"good": goodToken, "weak": weakToken, "wrong": providertest.Mark} {
		env.Put("Secret", providertest.Namespace, name, map[string]string{"token": token})
		env.Label(providertest.Namespace, name, map[string]string{"external-secrets.io/type": "webhook"})
	}
	env.Put("Secret", providertest.Namespace, "unlabelled", map[string]string{"token": goodToken})
	return env
}

func TestConformance(t *testing.T) {
	s := httptest.NewServer(&service{})
	t.Cleanup(s.Close)
	const retryAfter = 9 * time.Second
	proxy := providertest.NewProxy(t, s.URL, nil, retryAfter)
	change := func(f func(*v1alpha1.WebhookSpec)) *v1alpha1.WebhookSpec {
		out := spec(s.URL, "good")
		f(out)
		return out
	}
	generatortest.Run(t, generatortest.Harness{
		Env: newEnv(t), Generator: Generator(), Secret: []string{"password"}, Public: []string{"user"},
		Reached: proxy.Reached(), RetryAfter: retryAfter,
		Spec: func(s providertest.Situation) any {
			token := map[providertest.Situation]string{providertest.BadCredential: "wrong", providertest.Underprivileged: "weak"}[s]
			if token == "" {
				token = "good"
			}
			return spec(proxy.URL(s), token)
		},
		Invalid: map[string]any{
			"spec.url":                       change(func(s *v1alpha1.WebhookSpec) { s.URL = "https://h.example/{{ .remoteRef.key }}" }),
			"spec.method":                    change(func(s *v1alpha1.WebhookSpec) { s.Method = "GET /" }),
			"spec.headers":                   change(func(s *v1alpha1.WebhookSpec) { s.Headers = map[string]string{"a b": "c"} }),
			"spec.timeout":                   change(func(s *v1alpha1.WebhookSpec) { s.Timeout = &metav1.Duration{Duration: -1} }),
			"spec.secrets[0].name":           change(func(s *v1alpha1.WebhookSpec) { s.Secrets[0].Name = "" }),
			"spec.secrets[0].secretRef.name": change(func(s *v1alpha1.WebhookSpec) { s.Secrets[0].SecretRef.Name = "" }),
			"spec.auth":                      change(func(s *v1alpha1.WebhookSpec) { s.Auth = &esv1.AuthorizationProtocol{} }),
			"spec.result.jsonPath":           change(func(s *v1alpha1.WebhookSpec) { s.Result.JSONPath = "$." }),
			"spec.caProvider":                change(func(s *v1alpha1.WebhookSpec) { s.CAProvider = &esv1.CAProvider{Type: "Secret", Name: "ca"} }),
		},
	})
}

func TestOutput(t *testing.T) {
	cases := map[string]struct {
		path, answer string
		want         map[string]string
		kind         secret.Kind
	}{
		"the answer itself":          {"", `{"a":"x","n":1.50,"o":{"b":true}}`, map[string]string{"a": "x", "n": "1.50", "o": `{"b":true}`}, ""},
		"an object in it":            {"$.data", `{"data":{"a":"x"}}`, map[string]string{"a": "x"}, ""},
		"an object in its text":      {"$.data", `{"data":"{\"a\":\"x\"}"}`, map[string]string{"a": "x"}, ""},
		"the first of several":       {"$.data", `{"data":[{"a":"x"},{"a":"y"}]}`, map[string]string{"a": "x"}, ""},
		"no object":                  {"$.data", `{"data":"x"}`, nil, secret.Invalid},
		"an empty object":            {"", `{}`, nil, secret.Invalid},
		"no JSON":                    {"", providertest.Mark, nil, secret.Invalid},
		"nothing where it is looked": {"$.data", `{"a":"x"}`, nil, secret.Invalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, c.answer) }))
			t.Cleanup(s.Close)
			out, err := Generator().Generate(t.Context(), &v1alpha1.WebhookSpec{URL: s.URL, Result: esv1.WebhookResult{JSONPath: c.path}}, newEnv(t))
			if secret.KindOf(err) != c.kind || err != nil && strings.Contains(err.Error(), providertest.Mark) {
				t.Fatal(err)
			}
			var got map[string]string
			for k, v := range out.Values {
				if got == nil {
					got = map[string]string{}
				}
				got[k] = string(v.Reveal())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	service := &service{}
	s := httptest.NewServer(service)
	t.Cleanup(s.Close)
	elsewhere := spec(s.URL, "good")
	elsewhere.URL = s.URL + "/nowhere"
	missing := spec(s.URL, "good")
	missing.Body = "{{ .remote.key }}"
	for name, c := range map[string]struct {
		spec *v1alpha1.WebhookSpec
		want secret.Kind
		in   string
	}{
		"a Secret without the label":      {spec(s.URL, "unlabelled"), secret.Denied, "spec.secrets[0].secretRef"},
		"an address where nothing is":     {elsewhere, secret.Invalid, "spec.url"},
		"a template of what is not there": {missing, secret.Invalid, "spec.body"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Generator().Generate(t.Context(), c.spec, newEnv(t))
			if secret.KindOf(err) != c.want || !strings.Contains(err.Error(), c.in) || strings.Contains(err.Error(), goodToken) {
				t.Errorf("got %v", err)
			}
		})
	}
	if service.made != 0 {
		t.Errorf("%d were made", service.made)
	}
}

// TestTwoNamespacesShareNothing runs one generator for two tenants at the same time, who
// have the same names for other Secrets.
func TestTwoNamespacesShareNothing(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"who":%q}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	t.Cleanup(s.Close)
	g := Generator()
	var group sync.WaitGroup
	for i := range 8 {
		token := fmt.Sprintf("token-of-tenant-%d", i)
		env := providertest.NewEnv(t)
		env.Put("Secret", providertest.Namespace, "mine", map[string]string{"token": token})
		env.Label(providertest.Namespace, "mine", map[string]string{"external-secrets.io/type": "webhook"})
		own := spec(s.URL, "mine")
		own.Result.JSONPath = ""
		group.Go(func() {
			for range 10 {
				out, err := g.Generate(t.Context(), own, env)
				if got := string(out.Values["who"].Reveal()); err != nil || got != token {
					t.Errorf("%s got %s, %v", token, got, err)
				}
			}
		})
	}
	group.Wait()
}
