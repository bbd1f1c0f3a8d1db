package vaultapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// fake is a server of one secret engine and one login, in memory: its calls are
// method calls, so that it works inside a synctest bubble too.
type fake struct {
	// fault answers a request in the server's place, and says whether it did.
	fault func(w http.ResponseWriter, r *http.Request) bool
	// lease is the life of a token in seconds, and renewed what a renewal gives.
	lease, renewed int

	mu     sync.Mutex
	tokens map[string]bool
	logins int
	seen   []*http.Request
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, r)
	f.mu.Unlock()
	if f.fault != nil && f.fault(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	token := r.Header.Get("X-Vault-Token")
	switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
	case path == "auth/userpass/login/bob":
		f.logins++
		token = "token-of-login-" + string(rune('0'+f.logins))
		f.tokens[token] = true
		f.auth(w, token, f.lease)
	case !f.tokens[token]:
		respond(w, http.StatusForbidden, map[string]any{"errors": []string{"2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"}})
	case path == "auth/token/renew-self":
		f.auth(w, token, f.renewed)
	case path == "auth/token/revoke-self":
		delete(f.tokens, token)
		w.WriteHeader(http.StatusNoContent)
	case path == "auth/token/lookup-self":
		respond(w, http.StatusOK, map[string]any{"data": map[string]any{"id": token}})
	case strings.HasPrefix(path, "kv/data/x"):
		respond(w, http.StatusOK, map[string]any{"data": map[string]any{"data": map[string]string{"v": "1"}, "metadata": map[string]any{"version": 4}}})
	default:
		respond(w, http.StatusNotFound, map[string]any{"errors": []string{}})
	}
}

func (f *fake) auth(w http.ResponseWriter, token string, lease int) {
	w.Header().Set("X-Vault-Index", "index-of-"+token)
	respond(w, http.StatusOK, map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": lease, "renewable": true, "token_type": "service"}})
}

func (f *fake) revoke() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.tokens)
}

func (f *fake) living() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.tokens)
}

// count tells how many requests there were for a path that ends so.
func (f *fake) count(suffix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.seen {
		if strings.HasSuffix(r.URL.Path, suffix) {
			n++
		}
	}
	return n
}

func (f *fake) last(suffix string) http.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range slices.Backward(f.seen) {
		if strings.HasSuffix(r.URL.Path, suffix) {
			return r.Header
		}
	}
	return nil
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func raw(w http.ResponseWriter, status int, body string) bool {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
	return true
}

// direct is an Env whose clients call the fake without a network.
type direct struct {
	*providertest.Env
	h http.Handler
}

func (d direct) HTTP(provider.TLS) (*http.Client, error) { return &http.Client{Transport: d}, nil }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func newFake() *fake {
	return &fake{lease: 3600, renewed: 3600, tokens: map[string]bool{"given-token": true}}
}

// openFake opens a client of the fake; server is its address, or empty for none.
func openFake(t *testing.T, h http.Handler, server string, changes ...func(*Config)) (*Client, *providertest.Env) {
	t.Helper()
	env := providertest.NewEnv(t)
	env.Put("", providertest.Namespace, "bob", map[string]string{"password": "right-password"})
	env.Put("", providertest.Namespace, "given", map[string]string{"token": "given-token"})
	var used provider.Env = env
	if server == "" {
		used, server = direct{env, h}, "https://vault.test:8200"
	}
	cfg := Config{
		Provider: "vault", Spec: "spec.provider.vault", Server: server, Mount: "kv", KV: 2,
		Auth: Password("auth.userPass", "userpass", "bob", esmeta.SecretKeySelector{Name: "bob", Key: "password"}),
	}
	for _, change := range changes {
		change(&cfg)
	}
	c, err := Open(t.Context(), cfg, used)
	if err != nil {
		t.Fatal(err)
	}
	return c, env
}

func given(c *Config) {
	c.Auth = Token("auth.token", esmeta.SecretKeySelector{Name: "given", Key: "token"})
}

func wantKind(t *testing.T, err error, want secret.Kind) {
	t.Helper()
	if got := secret.KindOf(err); got != want {
		t.Errorf("kind %q, want %q: %v", got, want, err)
	}
}
