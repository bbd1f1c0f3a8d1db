package webhook

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

const canary = "canary-7f3a"

// labelled puts a Secret there that a webhook may send.
func labelled(env *providertest.Env, name string, data map[string]string) {
	env.Put("Secret", providertest.Namespace, name, data)
	env.Label(providertest.Namespace, name, map[string]string{"external-secrets.io/type": "webhook"})
}

func secretRef(name, key string) esmeta.SecretKeySelector {
	return esmeta.SecretKeySelector{Name: name, Key: key}
}

func tokenSecret(secretName string) []esv1.WebhookSecret {
	return []esv1.WebhookSecret{{Name: "auth", SecretRef: secretRef(secretName, "token")}}
}

func TestConformance(t *testing.T) {
	backend := &secretServer{}
	s := httptest.NewServer(backend)
	t.Cleanup(s.Close)
	proxy := providertest.NewProxy(t, s.URL, nil, 7*time.Second)
	env := providertest.NewEnv(t)
	labelled(env, "good", map[string]string{"token": goodToken})
	labelled(env, "weak", map[string]string{"token": weakToken})
	labelled(env, "bad", map[string]string{"token": providertest.Mark})
	providertest.Run(t, providertest.Harness{
		Env: env,
		Open: func(ctx context.Context, situation providertest.Situation) (provider.Store, error) {
			credential := map[providertest.Situation]string{providertest.BadCredential: "bad", providertest.Underprivileged: "weak"}[situation]
			if credential == "" {
				credential = "good"
			}
			return Provider().Open(ctx, &esv1.WebhookProvider{
				URL:     proxy.URL(situation) + "/v1/raw/{{ .remoteRef.key }}",
				Headers: map[string]string{"Authorization": "Bearer {{ .auth.token }}"},
				Secrets: tokenSecret(credential),
			}, env)
		},
		Seed: func(_ providertest.T, entries ...providertest.Entry) {
			for _, e := range entries {
				backend.put(e.Key, e.Value)
			}
		},
		Delete:     func(_ providertest.T, key string) { backend.remove(key) },
		Held:       func(_ providertest.T, key string) ([]byte, int, bool) { return backend.get(key, "") },
		Abilities:  []providertest.Ability{providertest.Reader, providertest.Writer, providertest.Deleter},
		Reached:    proxy.Reached(),
		RetryAfter: 7 * time.Second,
	})
}

// seen is what a server was asked.
type seen struct {
	Method, URI, Body string
	Header            http.Header
}

// recorder answers every request with the same body, and remembers the last one.
type recorder struct {
	answer string
	mu     sync.Mutex
	last   seen
	calls  int
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, _ := io.ReadAll(req.Body)
	r.last = seen{req.Method, req.RequestURI, string(body), req.Header.Clone()}
	r.calls++
	_, _ = io.WriteString(w, r.answer)
}

// asked returns the last request, of its headers only those named.
func (r *recorder) asked(names http.Header) seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := seen{Method: r.last.Method, URI: r.last.URI, Body: r.last.Body}
	for name := range names {
		if out.Header == nil {
			out.Header = http.Header{}
		}
		out.Header[name] = r.last.Header[name]
	}
	return out
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// read opens a store and reads once. Errors must not show the canary.
func read(t *testing.T, env provider.Env, spec *esv1.WebhookProvider, ref secret.Ref) (string, error) {
	t.Helper()
	s, err := Provider().Open(t.Context(), spec, env)
	if err == nil {
		defer s.Close()
		var got secret.Secret
		got, err = s.(provider.Reader).Get(t.Context(), Provider().Address(spec, ref))
		if err == nil {
			return string(got.Value.Reveal()), nil
		}
	}
	if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error shows what it must not: %q", err)
	}
	return "", err
}

func wantKind(t *testing.T, err error, want secret.Kind) {
	t.Helper()
	if got := secret.KindOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

func TestRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		spec esv1.WebhookProvider
		ref  secret.Ref
		want seen
	}{
		"a GET without a body": {
			spec: esv1.WebhookProvider{URL: "/plain"},
			want: seen{Method: "GET", URI: "/plain"},
		},
		"the reference is escaped in the URL": {
			spec: esv1.WebhookProvider{URL: "/{{ .remoteRef.key }}?p={{ .remoteRef.property }}&v={{ .remoteRef.version }}"},
			ref:  secret.Ref{Key: "..a b/c?d", Property: "x&y=z+1", Version: "#2"},
			want: seen{Method: "GET", URI: "/..a%20b%2Fc%3Fd?p=x%26y%3Dz%2B1&v=%232"},
		},
		"and as it is elsewhere": {
			spec: esv1.WebhookProvider{
				URL: "/q", Method: "POST", Body: `{"key": {{ .remoteRef.key | toJson }}}`,
				Headers: map[string]string{"X-Version": "{{ .remoteRef.version }}"},
			},
			ref:  secret.Ref{Key: "a/b \"c\"", Version: "1/2"},
			want: seen{Method: "POST", URI: "/q", Body: `{"key": "a/b \"c\""}`, Header: http.Header{"X-Version": {"1/2"}}},
		},
		"a Secret's key alone": {
			spec: esv1.WebhookProvider{URL: "/q", Headers: map[string]string{"Authorization": "Bearer {{ .auth.token }}"}, Secrets: tokenSecret("creds")},
			want: seen{Method: "GET", URI: "/q", Header: http.Header{"Authorization": {"Bearer t0ken"}}},
		},
		"all keys of a Secret": {
			spec: esv1.WebhookProvider{
				URL: "/q?u={{ .all.user }}", Body: "{{ .all.token }}/{{ .all.user }}",
				Secrets: []esv1.WebhookSecret{{Name: "all", SecretRef: secretRef("creds", "")}},
			},
			want: seen{Method: "GET", URI: "/q?u=ada", Body: "t0ken/ada"},
		},
		"two keys under one name": {
			spec: esv1.WebhookProvider{
				URL: "/q", Body: "{{ .c.token }}/{{ .c.user }}",
				Secrets: []esv1.WebhookSecret{{Name: "c", SecretRef: secretRef("creds", "user")}, {Name: "c", SecretRef: secretRef("creds", "token")}},
			},
			want: seen{Method: "GET", URI: "/q", Body: "t0ken/ada"},
		},
		"the user of a URL": {
			spec: esv1.WebhookProvider{URL: "USER/q"},
			want: seen{Method: "GET", URI: "/q", Header: http.Header{"Authorization": {"Basic dTpw"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := providertest.NewEnv(t)
			labelled(env, "creds", map[string]string{"token": "t0ken", "user": "ada"})
			server := &recorder{answer: "value"}
			base := serve(t, server)
			if rest, ok := strings.CutPrefix(tc.spec.URL, "USER"); ok {
				base, tc.spec.URL = strings.Replace(base, "://", "://u:p@", 1), rest
			}
			tc.spec.URL = base + tc.spec.URL
			if tc.ref.Key == "" {
				tc.ref.Key = "k"
			}
			value, err := read(t, env, &tc.spec, tc.ref)
			if err != nil || value != "value" {
				t.Fatalf("got %q, %v", value, err)
			}
			if diff := cmp.Diff(tc.want, server.asked(tc.want.Header)); diff != "" {
				t.Error(diff)
			}
			if calls := env.Calls(); len(calls) != 1 || calls[0].Name != "HTTPRequest" || calls[0].Err != nil {
				t.Errorf("observed %v", calls)
			}
		})
	}
}

func TestRequestsThatAreNotSent(t *testing.T) {
	server := &recorder{}
	base := serve(t, server)
	withSecret := func(s esv1.WebhookProvider, name, key string) esv1.WebhookProvider {
		s.Secrets = []esv1.WebhookSecret{{Name: "auth", SecretRef: secretRef(name, key)}}
		return s
	}
	for name, tc := range map[string]struct {
		spec esv1.WebhookProvider
		ref  secret.Ref
		want secret.Kind
		in   string
	}{
		"no URL":                        {spec: esv1.WebhookProvider{URL: " "}, want: secret.Invalid, in: "webhook.url"},
		"a host from the reference":     {spec: esv1.WebhookProvider{URL: "https://{{ .remoteRef.key }}/x"}, want: secret.Invalid, in: ".remoteRef"},
		"a host through a variable":     {spec: esv1.WebhookProvider{URL: "{{ $h := .remoteRef.key }}https://{{ $h }}/x"}, want: secret.Invalid, in: ".remoteRef"},
		"a method that is none":         {spec: esv1.WebhookProvider{URL: base, Method: "GET /"}, want: secret.Invalid, in: "webhook.method"},
		"a header that is none":         {spec: esv1.WebhookProvider{URL: base, Headers: map[string]string{"a b": "c"}}, want: secret.Invalid, in: "webhook.headers"},
		"a negative timeout":            {spec: esv1.WebhookProvider{URL: base, Timeout: &metav1.Duration{Duration: -1}}, want: secret.Invalid, in: "webhook.timeout"},
		"a secret called remoteRef":     {spec: esv1.WebhookProvider{URL: base, Secrets: []esv1.WebhookSecret{{Name: "remoteRef", SecretRef: secretRef("creds", "")}}}, want: secret.Invalid, in: "secrets[0].name"},
		"a secret without a name":       {spec: withSecret(esv1.WebhookProvider{URL: base}, "", "x"), want: secret.Invalid, in: "secrets[0].secretRef.name"},
		"a login of no kind":            {spec: esv1.WebhookProvider{URL: base, Auth: &esv1.AuthorizationProtocol{}}, want: secret.Invalid, in: "webhook.auth"},
		"a login without a password":    {spec: esv1.WebhookProvider{URL: base, Auth: &esv1.AuthorizationProtocol{NTLM: &esv1.NTLMProtocol{UserName: secretRef("a", "b")}}}, want: secret.Invalid, in: "ntlm.passwordSecret"},
		"a CA without a key":            {spec: esv1.WebhookProvider{URL: base, CAProvider: &esv1.CAProvider{Type: "Secret", Name: "ca"}}, want: secret.Invalid, in: "webhook.caProvider"},
		"a path that is none":           {spec: esv1.WebhookProvider{URL: base, Result: esv1.WebhookResult{JSONPath: "$."}}, want: secret.Invalid, in: "result.jsonPath"},
		"a Secret without the label":    {spec: withSecret(esv1.WebhookProvider{URL: base}, "unlabelled", "token"), want: secret.Denied, in: "secrets[0].secretRef"},
		"all of one without the label":  {spec: withSecret(esv1.WebhookProvider{URL: base}, "unlabelled", ""), want: secret.Denied, in: "secrets[0].secretRef"},
		"a login without the label":     {spec: esv1.WebhookProvider{URL: base, Auth: &esv1.AuthorizationProtocol{NTLM: &esv1.NTLMProtocol{UserName: secretRef("unlabelled", "token"), Password: secretRef("unlabelled", "token")}}}, want: secret.Denied, in: "ntlm.usernameSecret"},
		"a CA that is no PEM":           {spec: esv1.WebhookProvider{URL: base, CABundle: []byte(canary)}, want: secret.Invalid, in: "CA"},
		"a scheme that is not HTTP":     {spec: esv1.WebhookProvider{URL: "file:///etc/passwd"}, want: secret.Invalid, in: "webhook.url"},
		"a URL that does not parse":     {spec: withSecret(esv1.WebhookProvider{URL: "http://h:{{ .auth.token }}/"}, "creds", "token"), want: secret.Invalid, in: "webhook.url"},
		"a member that is not there":    {spec: esv1.WebhookProvider{URL: base + "/{{ .remoteRef.nothing }}"}, want: secret.Invalid, in: "webhook.url"},
		"a secret that is not there":    {spec: esv1.WebhookProvider{URL: base, Headers: map[string]string{"A": "{{ .auth.token }}"}}, want: secret.Invalid, in: "webhook.headers"},
		"a namespace that is not known": {spec: esv1.WebhookProvider{URL: base + "/{{ .remoteRef.namespace }}"}, want: secret.Invalid, in: ".remoteRef.namespace"},
		"a function that fails on it":   {spec: withSecret(esv1.WebhookProvider{URL: base, Body: "{{ .auth.token | mustToDate \"2006\" }}{{ fail .auth.token }}"}, "creds", "token"), want: secret.Invalid, in: "webhook.body"},
		"a header with a line break":    {spec: withSecret(esv1.WebhookProvider{URL: base, Headers: map[string]string{"A": "{{ .auth.line }}"}}, "creds", "line"), want: secret.Invalid, in: "trim"},
		"a key that climbs":             {spec: esv1.WebhookProvider{URL: base + "/mine/{{ .remoteRef.key }}/{{ .remoteRef.property }}"}, ref: secret.Ref{Key: "..", Property: "theirs"}, want: secret.Invalid, in: "remoteRef"},
		"a key that climbs, escaped":    {spec: esv1.WebhookProvider{URL: base + "/mine/{{ .remoteRef.key }}"}, ref: secret.Ref{Key: `..\theirs/../x`}, want: secret.Invalid, in: "remoteRef"},
		"metadata":                      {spec: esv1.WebhookProvider{URL: base}, ref: secret.Ref{Key: "k", Metadata: true}, want: secret.Unsupported, in: "metadata"},
		"a version that goes nowhere":   {spec: esv1.WebhookProvider{URL: base}, ref: secret.Ref{Key: "k", Version: "1"}, want: secret.Unsupported, in: "version"},
	} {
		t.Run(name, func(t *testing.T) {
			env := providertest.NewEnv(t)
			labelled(env, "creds", map[string]string{"token": canary, "line": canary + "\n"})
			env.Put("Secret", providertest.Namespace, "unlabelled", map[string]string{"token": canary})
			if tc.ref.Key == "" {
				tc.ref.Key = "k"
			}
			_, err := read(t, env, &tc.spec, tc.ref)
			wantKind(t, err, tc.want)
			if !strings.Contains(err.Error(), tc.in) {
				t.Errorf("%q does not say %q", err, tc.in)
			}
			if server.calls != 0 {
				t.Error("the server was asked")
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		want   secret.Kind
	}{
		"200": {200, ""},
		"204": {204, ""},
		"302": {302, secret.Invalid},
		"304": {304, secret.Invalid},
		"400": {400, secret.Invalid},
		"401": {401, secret.Unauthenticated},
		"403": {403, secret.Denied},
		"404": {404, secret.NotFound},
		"429": {429, secret.RateLimited},
		"500": {500, secret.Unavailable},
		"503": {503, secret.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			env := providertest.NewEnv(t)
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "9")
				w.Header().Set("Location", "/"+canary)
				w.WriteHeader(tc.status)
				if tc.status != 204 && tc.status != 304 {
					_, _ = io.WriteString(w, canary)
				}
			}))
			_, err := read(t, env, &esv1.WebhookProvider{URL: url + "/" + canary + "?" + canary}, secret.Ref{Key: "team/db"})
			wantKind(t, err, tc.want)
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), "webhook read team/db") && tc.status != 302 {
				t.Errorf("%q does not say what failed", err)
			}
			if wait := secret.RetryAfterOf(err); (wait == 9*time.Second) != (tc.status == 429 || tc.status >= 500) {
				t.Errorf("retry after %v", wait)
			}
			if calls := env.Calls(); len(calls) != 1 || secret.KindOf(calls[0].Err) != tc.want {
				t.Errorf("observed %v", calls)
			}
		})
	}
}

// strict is an Env with the transport and the egress policy of tenants.
type strict struct{ *providertest.Env }

func (strict) HTTP(m provider.TLS) (*http.Client, error) {
	return httpx.New(httpx.Policy{}, httpx.Options{}).Client(m)
}

func TestEgressPolicy(t *testing.T) {
	server := &recorder{}
	base := serve(t, server)
	env := providertest.NewEnv(t)
	labelled(env, "creds", map[string]string{"host": strings.TrimPrefix(base, "http://")})
	for name, spec := range map[string]*esv1.WebhookProvider{
		"a host that is written out":    {URL: base + "/" + canary},
		"a host from a Secret":          {URL: "http://{{ .c.host }}/" + canary, Secrets: []esv1.WebhookSecret{{Name: "c", SecretRef: secretRef("creds", "host")}}},
		"a host that is asked by login": {URL: base, Auth: &esv1.AuthorizationProtocol{NTLM: &esv1.NTLMProtocol{UserName: secretRef("creds", "host"), Password: secretRef("creds", "host")}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, strict{env}, spec, secret.Ref{Key: "k"})
			wantKind(t, err, secret.Denied)
			if !strings.Contains(err.Error(), "--egress-allow") || server.calls != 0 {
				t.Errorf("%v after %d calls", err, server.calls)
			}
			if spec.Secrets != nil && strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%q shows a host that comes from a Secret", err)
			}
		})
	}
}

func TestNamespace(t *testing.T) {
	server := &recorder{}
	spec := &esv1.WebhookProvider{URL: serve(t, server) + "/{{ .remoteRef.namespace }}/{{ .remoteRef.key }}"}
	s, err := Provider().Open(t.Context(), spec, providertest.NewEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, namespace := range []string{"team-a", "team-b", "team-a"} { // one store serves them all
		ref := Provider().Address(spec, secret.Ref{Key: "k", Namespace: namespace})
		if _, err := s.(provider.Reader).Get(t.Context(), ref); err != nil || server.last.URI != "/"+namespace+"/k" {
			t.Errorf("%s asked for %q: %v", namespace, server.last.URI, err)
		}
	}
}

func TestAddress(t *testing.T) {
	full := secret.Ref{Key: "k", Property: "p", Version: "v", Namespace: "team-a"}
	none := secret.Ref{Key: "k", Version: "v"}
	property := secret.Ref{Key: "k", Property: "p", Version: "v"}
	namespace := secret.Ref{Key: "k", Version: "v", Namespace: "team-a"}
	for text, want := range map[string]secret.Ref{
		"$.data":     none,
		"$.property": none,
		"$.{{ .remoteRef.key }}.property.namespace":                     none,
		"$.{{ .auth.property }}":                                        none,
		"$.{{ .remoteRef.property }}":                                   property,
		"$.{{- $.remoteRef.property | quote -}}":                        property,
		"{{ .remoteRef.namespace }}":                                    namespace,
		"{{ .remoteRef.namespace }}/{{if .remoteRef.property}}x{{end}}": full,
		"{{ .remoteRef | toJson }}":                                     full,
		"{{ with .remoteRef }}{{ .property }}{{ end }}":                 full,
		"{{ range $k, $v := .remoteRef }}{{ $v }}{{ end }}":             full,
		"{{ index .remoteRef `namespace` }}":                            full,
		"{{ toJson . }}":                                                full,
		"{{toJson $}}":                                                  full,
		"{{ (.).remoteRef.key }}":                                       full,
	} {
		t.Run(text, func(t *testing.T) {
			got := Provider().Address(&esv1.WebhookProvider{URL: "http://h.example", Body: text}, full)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func caPEM(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestCA(t *testing.T) {
	s := httptest.NewUnstartedServer(&recorder{answer: "value"})
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	env := providertest.NewEnv(t)
	env.Put("ConfigMap", "trust", "ca", map[string]string{"ca.crt": string(caPEM(s))})
	env.Put("Secret", "trust", "ca", map[string]string{"ca.crt": string(caPEM(s))})
	for name, tc := range map[string]struct {
		spec esv1.WebhookProvider
		want secret.Kind
	}{
		"from a bundle":     {spec: esv1.WebhookProvider{CABundle: caPEM(s)}},
		"from a ConfigMap":  {spec: esv1.WebhookProvider{CAProvider: &esv1.CAProvider{Type: "ConfigMap", Name: "ca", Key: "ca.crt", Namespace: new("trust")}}},
		"from a Secret":     {spec: esv1.WebhookProvider{CAProvider: &esv1.CAProvider{Type: "Secret", Name: "ca", Key: "ca.crt", Namespace: new("trust")}}},
		"that is not given": {want: secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			tc.spec.URL = s.URL
			_, err := read(t, env, &tc.spec, secret.Ref{Key: "k"})
			wantKind(t, err, tc.want)
		})
	}
}

func TestNTLM(t *testing.T) {
	n, s := serveNTLM(t)
	env := providertest.NewEnv(t)
	labelled(env, "login", map[string]string{"user": `CORP\ada`, "good": n.password, "bad": canary})
	spec := func(password string) *esv1.WebhookProvider {
		return &esv1.WebhookProvider{
			URL: s.URL, Method: "POST", Body: "ask {{ .remoteRef.key }}", CABundle: caPEM(s),
			Auth: &esv1.AuthorizationProtocol{NTLM: &esv1.NTLMProtocol{UserName: secretRef("login", "user"), Password: secretRef("login", password)}},
		}
	}
	store, err := Provider().Open(t.Context(), spec("good"), env)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()

	t.Run("requests of one store at the same time", func(t *testing.T) {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				got, err := store.(provider.Reader).Get(t.Context(), secret.Ref{Key: "k"})
				if err != nil || string(got.Value.Reveal()) != "hello" {
					t.Errorf("got %d bytes, %v", got.Value.Len(), err)
				}
			})
		}
		group.Wait()
		if diff := cmp.Diff(slices.Repeat([]string{"ask k"}, 8), n.bodies); diff != "" {
			t.Errorf("the bodies: %s", diff)
		}
		if n.protos["HTTP/2.0"] {
			t.Error("spoke HTTP/2, which has no login of a connection")
		}
	})
	t.Run("a wrong password does not pass on the login of another store", func(t *testing.T) {
		_, err := read(t, env, spec("bad"), secret.Ref{Key: "k"})
		wantKind(t, err, secret.Unauthenticated)
	})
	t.Run("an ended context is not a wrong password", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := store.(provider.Reader).Get(ctx, secret.Ref{Key: "k"})
		wantKind(t, err, secret.Unavailable)
	})
}

// hanging is an Env whose requests end with their context.
type hanging struct{ *providertest.Env }

func (hanging) HTTP(provider.TLS) (*http.Client, error) { return &http.Client{Transport: hang{}}, nil }

type hang struct{}

func (hang) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		spec := &esv1.WebhookProvider{URL: "https://h.example/" + canary, Timeout: &metav1.Duration{Duration: 3 * time.Second}}
		_, err := read(t, hanging{providertest.NewEnv(t)}, spec, secret.Ref{Key: "k"})
		wantKind(t, err, secret.Unavailable)
		if took := time.Since(start); took != 3*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended after %v with %v", took, err)
		}
	})
}

func TestTooLarge(t *testing.T) {
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", httpx.DefaultBodyLimit+1))
	}))
	_, err := read(t, providertest.NewEnv(t), &esv1.WebhookProvider{URL: url}, secret.Ref{Key: "k"})
	wantKind(t, err, secret.Invalid)
	if !errors.Is(err, httpx.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}
