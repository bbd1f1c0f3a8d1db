package github

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator/generatortest"
	"github.com/keyferry/keyferry/internal/restapi/resttest"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const (
	appID     = "4711"
	installed = "12"
	suspended = "13"
	throttled = "14"
)

// hub is GitHub: it knows one app, and its installations.
type hub struct {
	key   *rsa.PublicKey
	clock *providertest.Clock

	mu     sync.Mutex
	made   int
	orders []map[string]any
}

// pair makes the key of the app and another one, once for all tests.
var pair = sync.OnceValues(func() ([2]*rsa.PrivateKey, error) {
	app, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return [2]*rsa.PrivateKey{}, err
	}
	wrong, err := rsa.GenerateKey(rand.Reader, 2048)
	return [2]*rsa.PrivateKey{app, wrong}, err
})

func newHub(t *testing.T, env *providertest.Env) *hub {
	t.Helper()
	h := &hub{clock: env.Time}
	made, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	h.key = &made[0].PublicKey
	for i, name := range []string{"app", "wrong"} {
		text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(made[i])}))
		if name == "wrong" {
			text = providertest.Mark + "\n" + text
		}
		env.Put("Secret", providertest.Namespace, name, map[string]string{"key": text})
	}
	return h
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	problem := func(status int, text string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"message":%q}`, text+providertest.Mark)
	}
	installation, ok := strings.CutPrefix(strings.TrimSuffix(r.URL.Path, "/access_tokens"), "/app/installations/")
	switch {
	case r.Method != http.MethodPost || !ok:
		problem(http.StatusNotFound, "no such route")
		return
	case r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") == "" || r.Header.Get("Content-Type") != "application/json":
		problem(http.StatusUnsupportedMediaType, "the headers")
		return
	case !h.isApp(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")):
		problem(http.StatusUnauthorized, "a JSON web token could not be decoded")
		return
	}
	switch installation {
	case installed:
		h.create(w, r, problem)
	case suspended:
		problem(http.StatusForbidden, "this installation has been suspended")
	case throttled:
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", fmt.Sprint(h.clock.Now().Add(90*time.Second).Unix()))
		problem(http.StatusForbidden, "the rate limit is exceeded")
	default:
		problem(http.StatusNotFound, "no such installation")
	}
}

func (h *hub) create(w http.ResponseWriter, r *http.Request, problem func(int, string)) {
	var order map[string]any
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		problem(http.StatusBadRequest, "the body")
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if permissions, _ := order["permissions"].(map[string]any); permissions["administration"] != nil {
		problem(http.StatusUnprocessableEntity, "the permissions are not granted")
		return
	}
	h.made++
	h.orders = append(h.orders, order)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": fmt.Sprintf("ghs_token-number-%d", h.made), "expires_at": h.clock.Now().Add(time.Hour).Format(time.RFC3339),
		"permissions": map[string]string{"contents": "read"}, "repository_selection": "selected",
	})
}

// isApp checks a JWT as GitHub does: signed by the app, not from the future, and good for
// ten minutes at most.
func (h *hub) isApp(token string) bool {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return false
	}
	payload, err := signed.Verify(h.key)
	if err != nil {
		return false
	}
	var c struct {
		Iss      string
		Iat, Exp int64
	}
	now := h.clock.Now().Unix()
	return json.Unmarshal(payload, &c) == nil && c.Iss == appID && c.Iat < now && c.Exp > now && c.Exp-c.Iat <= 600
}

func good() *v1alpha1.GithubAccessTokenSpec {
	s := &v1alpha1.GithubAccessTokenSpec{AppID: appID, InstallID: installed}
	s.Auth.PrivateKey.SecretRef = esmeta.SecretKeySelector{Name: "app", Key: "key"}
	return s
}

func change(f func(*v1alpha1.GithubAccessTokenSpec)) *v1alpha1.GithubAccessTokenSpec {
	s := good()
	f(s)
	return s
}

func TestConformance(t *testing.T) {
	env := providertest.NewEnv(t)
	w := resttest.NewWorld(t, map[string]http.Handler{"api.github.com": newHub(t, env)})
	generatortest.Run(t, generatortest.Harness{
		Env: env, Generator: Generator(), Secret: []string{"token"}, Lasts: time.Hour,
		Transport: w.Transport, Reached: w.Reached(), RetryAfter: resttest.RetryAfter,
		Spec: func(s providertest.Situation) any {
			spec := good()
			switch s {
			case providertest.BadCredential:
				spec.Auth.PrivateKey.SecretRef.Name = "wrong"
			case providertest.Underprivileged:
				spec.InstallID = suspended
			}
			return spec
		},
		Invalid: map[string]any{
			"spec.url":                       change(func(s *v1alpha1.GithubAccessTokenSpec) { s.URL = "ftp://github.example.com" }),
			"spec.appID":                     change(func(s *v1alpha1.GithubAccessTokenSpec) { s.AppID = " " }),
			"spec.installID":                 change(func(s *v1alpha1.GithubAccessTokenSpec) { s.InstallID = "../../user" }),
			"spec.auth.privateKey.secretRef": change(func(s *v1alpha1.GithubAccessTokenSpec) { s.Auth.PrivateKey.SecretRef.Key = "" }),
		},
	})
}

func TestWhatIsAskedFor(t *testing.T) {
	cases := map[string]struct {
		spec *v1alpha1.GithubAccessTokenSpec
		want map[string]any
	}{
		"all that the installation has": {good(), map[string]any{}},
		"some repositories and permissions": {change(func(s *v1alpha1.GithubAccessTokenSpec) {
			s.Repositories, s.Permissions = []string{"a", "b"}, map[string]string{"contents": "read"}
		}), map[string]any{"repositories": []any{"a", "b"}, "permissions": map[string]any{"contents": "read"}}},
		"of another server": {change(func(s *v1alpha1.GithubAccessTokenSpec) { s.URL = "http://github.example.com/api/v3/" }), map[string]any{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := providertest.NewEnv(t)
			h := newHub(t, env)
			w := resttest.NewWorld(t, map[string]http.Handler{"api.github.com": h, "github.example.com": http.StripPrefix("/api/v3", h)})
			out, err := Generator().Generate(t.Context(), c.spec, w.Env(env))
			if err != nil || string(out.Values["token"].Reveal()) != "ghs_token-number-1" || out.State != nil {
				t.Fatalf("got %v, %v", out, err)
			}
			if diff := cmp.Diff([]map[string]any{c.want}, h.orders); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	cases := map[string]struct {
		spec *v1alpha1.GithubAccessTokenSpec
		want secret.Kind
		in   string
		wait time.Duration
	}{
		"an installation that is not there": {change(func(s *v1alpha1.GithubAccessTokenSpec) { s.InstallID = "99" }), secret.Invalid, "spec.installID", 0},
		"permissions that are not granted": {change(func(s *v1alpha1.GithubAccessTokenSpec) {
			s.Permissions = map[string]string{"administration": "write"}
		}), secret.Invalid, "spec.permissions", 0},
		"a quota that is used up": {change(func(s *v1alpha1.GithubAccessTokenSpec) { s.InstallID = throttled }), secret.RateLimited, "api.github.com", 90 * time.Second},
		"a key that is none":      {change(func(s *v1alpha1.GithubAccessTokenSpec) { s.Auth.PrivateKey.SecretRef.Name = "text" }), secret.Unauthenticated, "spec.auth.privateKey.secretRef", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := providertest.NewEnv(t)
			w := resttest.NewWorld(t, map[string]http.Handler{"api.github.com": newHub(t, env)})
			env.Put("Secret", providertest.Namespace, "text", map[string]string{"key": providertest.Mark})
			out, err := Generator().Generate(t.Context(), c.spec, w.Env(env))
			if secret.KindOf(err) != c.want || len(out.Values) > 0 {
				t.Fatalf("got %v, %v", out, err)
			}
			if text := err.Error(); !strings.Contains(text, c.in) || strings.Contains(text, providertest.Mark) {
				t.Errorf("the error is %q", text)
			}
			if wait := secret.RetryAfterOf(err); wait != c.wait {
				t.Errorf("wait %v, want %v", wait, c.wait)
			}
		})
	}
}

func TestStrangeAnswers(t *testing.T) {
	for name, body := range map[string]string{"a page": "<html>" + providertest.Mark, "no token": `{"expires_at":"2030-01-01T00:00:00Z"}`, "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			env := providertest.NewEnv(t)
			newHub(t, env)
			w := resttest.NewWorld(t, map[string]http.Handler{"api.github.com": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprint(w, body)
			})})
			out, err := Generator().Generate(t.Context(), good(), w.Env(env))
			if secret.KindOf(err) != secret.Unavailable || strings.Contains(err.Error(), providertest.Mark) {
				t.Errorf("got %v, %v", out, err)
			}
		})
	}
}
