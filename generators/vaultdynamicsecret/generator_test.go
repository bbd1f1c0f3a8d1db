package vaultdynamicsecret

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const auth = v1alpha1.VaultDynamicSecretResultTypeAuth

// as is a server where a user logs in.
func (f fixture) as(user string) *esv1.VaultProvider {
	return &esv1.VaultProvider{
		Server: f.bao.Address,
		Auth:   &esv1.VaultAuth{UserPass: &esv1.VaultUserPassAuth{Path: "users", Username: user, SecretRef: esmeta.SecretKeySelector{Name: user, Key: "password"}}},
	}
}

// with is a server that is used with a token that f made.
func (f fixture) with(options map[string]any) *esv1.VaultProvider {
	f.Helper()
	var v struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		}
	}
	if err := json.Unmarshal(f.do(http.MethodPost, "auth/token/create", options), &v); err != nil {
		f.Fatal(err)
	}
	f.env.Put("", providertest.Namespace, "given", map[string]string{"token": v.Auth.ClientToken})
	return &esv1.VaultProvider{Server: f.bao.Address, Auth: &esv1.VaultAuth{TokenSecretRef: &esmeta.SecretKeySelector{Name: "given", Key: "token"}}}
}

// user makes a user whose logins live so long.
func (f fixture) user(name string, options map[string]any) {
	f.Helper()
	all := map[string]any{"password": "right-password", "token_policies": "maker,made"}
	maps.Copy(all, options)
	f.do(http.MethodPost, "auth/users/users/"+name, all)
	f.env.Put("", providertest.Namespace, name, map[string]string{"password": "right-password"})
}

// lasts wants a life of about that length.
func (f fixture) lasts(what string, l generator.Life, want time.Duration) {
	f.Helper()
	if got := l.Expires.Sub(f.env.Time.Now()); got > want || got < want-time.Minute {
		f.Errorf("%s: the life is %v, want %v", what, got, want)
	}
}

// end ends all tokens that carry the policy.
func (f fixture) end(policy string) {
	f.Helper()
	for _, accessor := range f.tokens(f, policy) {
		_, err := f.bao.Do(f.Context(), http.MethodPost, "auth/token/revoke-accessor", map[string]string{"accessor": accessor})
		if err != nil && !strings.Contains(err.Error(), "invalid accessor") { // it may have ended with another
			f.Error(err)
		}
	}
}

// pki has certificates with leases made at pki/issue/web of a namespace.
func (f fixture) pki(namespace string) {
	f.Helper()
	f.do(http.MethodPost, namespace+"sys/mounts/pki", map[string]string{"type": "pki"})
	f.do(http.MethodPost, namespace+"pki/root/generate/internal", map[string]any{"common_name": "test", "key_type": "ec"})
	f.do(http.MethodPost, namespace+"pki/roles/web", map[string]any{"allow_any_name": true, "generate_lease": true, "key_type": "ec", "ttl": "1h"})
}

func body(s string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(s)} }

func wantKind(t *testing.T, err error, want secret.Kind) {
	t.Helper()
	if got := secret.KindOf(err); got != want {
		t.Errorf("kind %q, want %q: %v", got, want, err)
	}
}

func (f fixture) generate(s *v1alpha1.VaultDynamicSecretSpec) generator.Output {
	f.Helper()
	out, err := Generator().Generate(f.Context(), s, f.env)
	if err != nil {
		f.Fatal(err)
	}
	return out
}

// What is made can live no longer than the token that asked for it.
func TestLifeIsThatOfTheShorterOfTwo(t *testing.T) {
	f := newFixture(t, cleaning+`path "auth/token/create" { capabilities = ["update"] }
path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }
path "pki/issue/web" { capabilities = ["update"] }`)
	f.pki("")
	f.user("short", map[string]any{"token_ttl": "20m", "token_max_ttl": "30m"})
	f.user("batch", map[string]any{"token_ttl": "20m", "token_type": "batch"})
	f.user("shy", map[string]any{"token_ttl": "20m", "token_policies": "modest,made"})
	f.do(http.MethodPut, "sys/policies/acl/modest", map[string]any{"policy": `path "auth/token/create" { capabilities = ["update"] }`})
	tokens := v1alpha1.VaultDynamicSecretSpec{Path: "auth/token/create", Method: "POST", ResultType: auth, Parameters: body(`{"policies":["made"],"ttl":"1h"}`)}
	orphans, certificates := tokens, v1alpha1.VaultDynamicSecretSpec{Path: "pki/issue/web", Method: "POST", Parameters: body(`{"common_name":"web.test"}`)}
	orphans.Path = "auth/token/create-orphan"
	user := func(name string) func() *esv1.VaultProvider { return func() *esv1.VaultProvider { return f.as(name) } }
	given := func() *esv1.VaultProvider {
		return f.with(map[string]any{"policies": []string{"maker", "made"}, "ttl": "10m"})
	}
	for name, tc := range map[string]struct {
		provider func() *esv1.VaultProvider
		spec     v1alpha1.VaultDynamicSecretSpec
		life     time.Duration
		// renewed is the life after a renewal; zero if there is none.
		renewed time.Duration
		renews  bool
		// left are the tokens after the generation and after the cleanup.
		left, after int
		cleanup     secret.Kind
	}{
		"the made is shorter":             {user("maker"), tokens, time.Hour, time.Hour, true, 2, 0, ""},
		"the login is shorter":            {user("short"), tokens, 20 * time.Minute, 20 * time.Minute, true, 2, 0, ""},
		"a batch login cannot be renewed": {user("batch"), certificates, 20 * time.Minute, 0, false, 0, 0, ""},
		"an orphan is not held":           {user("short"), orphans, time.Hour, time.Hour, true, 1, 0, ""},
		"no policy to renew and to end":   {user("shy"), tokens, 20 * time.Minute, 0, true, 2, 2, secret.Denied},
		"a given token is shorter":        {given, tokens, 10 * time.Minute, 10 * time.Minute, true, 2, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f.T = t
			spec := tc.spec.DeepCopy()
			spec.Provider = tc.provider()
			out := f.generate(spec)
			f.lasts("generated", out.Life, tc.life)
			if out.Life.Renewable != tc.renews {
				t.Errorf("renewable: %v, want %v", out.Life.Renewable, tc.renews)
			}
			if got := len(f.tokens(t, "made")); got != tc.left {
				t.Errorf("%d tokens live, want %d", got, tc.left)
			}
			switch life, err := Generator().Renew(t.Context(), spec, f.env, out.State); {
			case tc.renewed > 0 && err == nil:
				f.lasts("renewed", life, tc.renewed)
			case tc.renewed > 0:
				t.Error(err)
			case tc.renews:
				wantKind(t, err, secret.Denied)
			}
			wantKind(t, Generator().Cleanup(t.Context(), spec, f.env, out.State), tc.cleanup)
			if got := f.tokens(t, "made"); len(got) != tc.after {
				t.Errorf("%d tokens live after the cleanup, want %d", len(got), tc.after)
			}
			f.end("made")
		})
	}
}

// One of the two permissions to end a lease is enough, and a token that was given is
// never ended.
func TestWhatCleanupNeeds(t *testing.T) {
	f := newFixture(t, `path "pki/issue/web" { capabilities = ["update"] }`)
	f.pki("")
	for name, policy := range map[string]string{
		"leases":   `path "sys/leases/revoke" { capabilities = ["update"] }`,
		"sessions": `path "auth/token/revoke-accessor" { capabilities = ["update"] }`,
	} {
		f.do(http.MethodPut, "sys/policies/acl/"+name, map[string]any{"policy": policy})
		f.user(name, map[string]any{"token_policies": "maker," + name})
	}
	for name, tc := range map[string]struct {
		provider *esv1.VaultProvider
		kind     secret.Kind
		logins   int
	}{
		"none of the two":    {f.as("maker"), secret.Denied, 1},
		"to revoke leases":   {f.as("leases"), "", 1},
		"to revoke sessions": {f.as("sessions"), "", 0},
		"a given token":      {f.with(map[string]any{"policies": []string{"maker", "leases", "sessions"}}), "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f.T = t
			spec := &v1alpha1.VaultDynamicSecretSpec{Provider: tc.provider, Path: "pki/issue/web", Method: "POST", Parameters: body(`{"common_name":"web.test"}`)}
			before, logins := f.leases(t, "pki/issue/web"), len(f.tokens(t, "maker"))
			if tc.provider.Auth.TokenSecretRef != nil {
				logins--
			}
			out := f.generate(spec)
			wantKind(t, Generator().Cleanup(t.Context(), spec, f.env, out.State), tc.kind)
			ended := func() bool { return slices.Equal(before, f.leases(t, "pki/issue/web")) }
			if tc.kind != "" && ended() {
				t.Error("the lease has ended")
			}
			for tries := 0; tc.kind == "" && !ended(); tries++ { // after its session it ends a moment later
				if tries == 10_000 {
					t.Fatal("the lease has not ended")
				}
			}
			if got := len(f.tokens(t, "maker")) - logins; got != tc.logins {
				t.Errorf("%d logins are left, want %d", got, tc.logins)
			}
		})
	}
}

// A login in one namespace makes something in another, and ends it there.
func TestNamespaces(t *testing.T) {
	f := newFixture(t, strings.ReplaceAll(cleaning, `path "`, `path "a/`)+cleaning+`path "a/pki/issue/web" { capabilities = ["update"] }`)
	f.do(http.MethodPost, "sys/namespaces/a", nil)
	f.pki("a/")
	p := f.as("maker")
	p.Namespace, p.Auth.Namespace = new("a"), new("")
	spec := &v1alpha1.VaultDynamicSecretSpec{Provider: p, Path: "pki/issue/web", Method: "POST", Parameters: body(`{"common_name":"web.test"}`)}
	out := f.generate(spec)
	if n := len(f.do("LIST", "a/sys/leases/lookup/pki/issue/web", nil)); n == 0 {
		t.Error("there is no lease")
	}
	if err := Generator().Cleanup(t.Context(), spec, f.env, out.State); err != nil {
		t.Error(err)
	}
	if _, err := f.bao.Do(t.Context(), "LIST", "a/sys/leases/lookup/pki/issue/web", nil); err == nil {
		t.Error("the lease has not ended")
	}
	if left := f.tokens(t, "maker"); len(left) > 0 {
		t.Errorf("%d logins are left", len(left))
	}
}

// scripted is a server that answers the n-th call of the generator so.
func scripted(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) (*v1alpha1.VaultDynamicSecretSpec, *providertest.Env) {
	t.Helper()
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/auth/token/lookup-self" {
			_, _ = w.Write([]byte(`{"data":{"accessor":"a","ttl":0}}`))
			return
		}
		answer(int(n.Add(1)), w, r)
	}))
	t.Cleanup(server.Close)
	env := providertest.NewEnv(t)
	env.Put("", providertest.Namespace, "given", map[string]string{"token": "given-token"})
	return &v1alpha1.VaultDynamicSecretSpec{
		Path: "some/path", Provider: &esv1.VaultProvider{
			Server: server.URL, Auth: &esv1.VaultAuth{TokenSecretRef: &esmeta.SecretKeySelector{Name: "given", Key: "token"}},
		},
	}, env
}

func reveal(out generator.Output) map[string]string {
	if out.Values == nil {
		return nil
	}
	got := map[string]string{}
	for k, v := range out.Values {
		got[k] = string(v.Reveal())
	}
	return got
}

func TestRequestsAndResults(t *testing.T) {
	const plain = `{"request_id":"r","lease_id":"","lease_duration":0,"renewable":false,"data":{"text":"a","number":1.50,"list":[1,"x"],"null":null,"\"null\"":"null","yes":true},"auth":null}`
	type request struct{ Method, Path, Query, Body string }
	all := map[string]string{"text": "a", "number": "1.50", "list": `[1,"x"]`, "null": "", `"null"`: "null", "yes": "true"}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.VaultDynamicSecretSpec)
		answer string
		status int
		want   map[string]string
		sent   request
		kind   secret.Kind
	}{
		"without a method": {answer: plain, want: all, sent: request{"GET", "/v1/some/path", "", ""}},
		"GET with a query": {
			change: func(s *v1alpha1.VaultDynamicSecretSpec) {
				s.Method, s.GetParameters, s.Parameters = "GET", map[string][]string{"ttl": {"1h"}, "x": {"a", "b"}}, body(`{"not":"sent"}`)
			}, answer: plain, want: all, sent: request{"GET", "/v1/some/path", "ttl=1h&x=a&x=b", ""},
		},
		"LIST": {
			change: func(s *v1alpha1.VaultDynamicSecretSpec) { s.Method, s.Path = "LIST", "/some/path/" },
			answer: `{"data":{"keys":["a"]}}`, want: map[string]string{"keys": `["a"]`}, sent: request{"GET", "/v1/some/path", "list=true", ""},
		},
		"DELETE": {
			change: func(s *v1alpha1.VaultDynamicSecretSpec) { s.Method, s.AllowEmptyResponse = "DELETE", true },
			status: 204, want: map[string]string{}, sent: request{"DELETE", "/v1/some/path", "", ""},
		},
		"a write": {
			change: func(s *v1alpha1.VaultDynamicSecretSpec) {
				s.Method, s.Parameters, s.GetParameters = "PATCH", body(`{"a":{"b":[1]}}`), map[string][]string{"not": {"sent"}}
			}, answer: plain, want: all, sent: request{"POST", "/v1/some/path", "", `{"a":{"b":[1]}}`},
		},
		"a write without parameters": {
			change: func(s *v1alpha1.VaultDynamicSecretSpec) { s.Method = "POST" }, answer: plain, want: all, sent: request{"POST", "/v1/some/path", "", `{}`},
		},
		"all of it": {
			change: func(s *v1alpha1.VaultDynamicSecretSpec) { s.ResultType = v1alpha1.VaultDynamicSecretResultTypeRaw },
			answer: `{"request_id":"r","lease_duration":0,"data":{"a":1},"auth":null}`, want: map[string]string{"request_id": "r", "lease_duration": "0", "data": `{"a":1}`, "auth": ""},
		},
		"auth, and there is none": {
			change: func(s *v1alpha1.VaultDynamicSecretSpec) { s.ResultType = auth }, answer: plain, kind: secret.Invalid,
		},
		"nothing is there":            {answer: `{"errors":[]}`, status: 404, kind: secret.Invalid},
		"nothing, which is allowed":   {change: func(s *v1alpha1.VaultDynamicSecretSpec) { s.AllowEmptyResponse = true }, answer: `{"errors":[]}`, status: 404, want: map[string]string{}},
		"nothing serves the path":     {change: func(s *v1alpha1.VaultDynamicSecretSpec) { s.AllowEmptyResponse = true }, answer: `{"errors":["no handler for route \"canary\""]}`, status: 404, kind: secret.Invalid},
		"data that is no object":      {answer: `{"data":["canary"]}`, kind: secret.Invalid},
		"what the server refuses":     {answer: `{"errors":["canary"]}`, status: 400, kind: secret.Invalid},
		"a path that climbs out":      {change: func(s *v1alpha1.VaultDynamicSecretSpec) { s.Path = "a/../sys" }, kind: secret.Invalid},
		"an answer of something else": {answer: `<html>canary`, kind: secret.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			var sent request
			spec, env := scripted(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				var b json.RawMessage
				_ = json.NewDecoder(r.Body).Decode(&b)
				sent = request{r.Method, r.URL.Path, r.URL.RawQuery, string(b)}
				if tc.status != 0 {
					w.WriteHeader(tc.status)
				}
				_, _ = w.Write([]byte(tc.answer))
			})
			if tc.change != nil {
				tc.change(spec)
			}
			out, err := Generator().Generate(t.Context(), spec, env)
			wantKind(t, err, tc.kind)
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the answer: %v", err)
			}
			if diff := cmp.Diff(tc.want, reveal(out)); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			if tc.sent != (request{}) && sent != tc.sent {
				t.Errorf("sent %+v, want %+v", sent, tc.sent)
			}
			if !out.Life.Expires.IsZero() || out.State != nil {
				t.Errorf("a life or a state of what has no lease")
			}
		})
	}
}

// hasty is an Env whose clock lets nobody wait.
type hasty struct {
	*providertest.Env
	waits []time.Duration
}

// Clock returns h.
func (h *hasty) Clock() provider.Clock { return h }

// Now is the time of the Env.
func (h *hasty) Now() time.Time { return h.Time.Now() }

// After remembers d.
func (h *hasty) After(d time.Duration) <-chan time.Time {
	h.waits = append(h.waits, d)
	return h.Time.After(0)
}

func TestRetries(t *testing.T) {
	settings := func(n int32) *esv1.SecretStoreRetrySettings {
		return &esv1.SecretStoreRetrySettings{MaxRetries: new(n), RetryInterval: new("5s")}
	}
	for name, tc := range map[string]struct {
		settings *esv1.SecretStoreRetrySettings
		status   int
		calls    int
		kind     secret.Kind
	}{
		"without settings none":         {nil, 503, 1, secret.Unavailable},
		"settings without a number":     {&esv1.SecretStoreRetrySettings{}, 503, 1, secret.Unavailable},
		"until it works":                {settings(5), 503, 3, ""},
		"as often as is said":           {settings(1), 503, 2, secret.Unavailable},
		"what was throttled":            {settings(5), 429, 3, ""},
		"what was refused is not tried": {settings(5), 400, 1, secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			spec, env := scripted(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				if n < 3 {
					w.WriteHeader(tc.status)
					_, _ = w.Write([]byte(`{"errors":["not now"]}`))
					return
				}
				_, _ = w.Write([]byte(`{"data":{"a":"b"}}`))
			})
			spec.RetrySettings = tc.settings
			clock := &hasty{Env: env}
			_, err := Generator().Generate(t.Context(), spec, clock)
			wantKind(t, err, tc.kind)
			if got := int(calls.Load()); got != tc.calls {
				t.Errorf("%d calls, want %d", got, tc.calls)
			}
			if want := slices.Repeat([]time.Duration{5 * time.Second}, tc.calls-1); !slices.Equal(clock.waits, want) {
				t.Errorf("waited %v, want %v", clock.waits, want)
			}
		})
	}
}

func TestALeaseThatCannotBeUsedIsEnded(t *testing.T) {
	var revoked atomic.Bool
	spec, env := scripted(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/sys/leases/revoke" {
			var v struct {
				LeaseID string `json:"lease_id"`
				Sync    bool
			}
			_ = json.NewDecoder(r.Body).Decode(&v)
			revoked.Store(v.LeaseID == "some/path/1" && v.Sync)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write([]byte(`{"lease_id":"some/path/1","lease_duration":60,"renewable":true,"data":{"a":"b"}}`))
	})
	spec.ResultType = auth
	_, err := Generator().Generate(t.Context(), spec, env)
	wantKind(t, err, secret.Invalid)
	if !revoked.Load() {
		t.Error("the lease was left behind")
	}
}

func TestStatesOfOthers(t *testing.T) {
	spec, env := scripted(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, state := range []string{`{}`, `[]`, `{"lease":"x"}`} {
		wantKind(t, Generator().Cleanup(t.Context(), spec, env, json.RawMessage(state)), secret.Invalid)
	}
	_, err := Generator().Renew(t.Context(), spec, env, nil)
	if !errors.Is(err, secret.Unsupported) {
		t.Error(err)
	}
}
