package providertest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

func TestEnvCredential(t *testing.T) {
	other := "other"
	for name, tc := range map[string]struct {
		ref      provider.CredentialRef
		referent bool
		want     string
		kind     secret.Kind
	}{
		"a key of a Secret":                 {ref: provider.CredentialRef{Name: "a", Key: "k", Field: "f"}, want: "v"},
		"the kind may be named":             {ref: provider.CredentialRef{Kind: "Secret", Name: "a", Key: "k", Field: "f"}, want: "v"},
		"all keys as JSON":                  {ref: provider.CredentialRef{Name: "a", Field: "f"}, want: `{"j":"1","k":"v"}`},
		"a key of a ConfigMap":              {ref: provider.CredentialRef{Kind: "ConfigMap", Name: "a", Key: "k", Field: "f"}, want: "c"},
		"another namespace":                 {ref: provider.CredentialRef{Namespace: &other, Name: "a", Key: "k", Field: "f"}, want: "o"},
		"an absent Secret":                  {ref: provider.CredentialRef{Name: "b", Key: "k", Field: "f"}, kind: secret.Unauthenticated},
		"an absent key":                     {ref: provider.CredentialRef{Name: "a", Key: "x", Field: "f"}, kind: secret.Unauthenticated},
		"a label that is there":             {ref: provider.CredentialRef{Name: "a", Key: "k", Field: "f", Label: "type=webhook"}, want: "v"},
		"a label that is not there":         {ref: provider.CredentialRef{Namespace: &other, Name: "a", Key: "k", Field: "f", Label: "type=webhook"}, kind: secret.Denied},
		"a namespace for each consumer":     {ref: provider.CredentialRef{Name: "a", Key: "k", Field: "f"}, referent: true, kind: secret.Unsupported},
		"a reference that lacks its field":  {ref: provider.CredentialRef{Name: "a", Key: "k"}, kind: secret.Internal},
		"a named namespace of a referent's": {ref: provider.CredentialRef{Namespace: &other, Name: "a", Key: "k", Field: "f"}, referent: true, want: "o"},
	} {
		t.Run(name, func(t *testing.T) {
			e := NewEnv(t)
			e.Referent = tc.referent
			e.Put("", Namespace, "a", map[string]string{"k": "v", "j": "1"})
			e.Label(Namespace, "a", map[string]string{"type": "webhook"})
			e.Put("Secret", "other", "a", map[string]string{"k": "o"})
			e.Put("ConfigMap", Namespace, "a", map[string]string{"k": "c"})
			got, err := e.Credential(t.Context(), tc.ref)
			if tc.kind != "" && !errors.Is(err, tc.kind) || tc.kind == "" && err != nil {
				t.Fatalf("error %v, want kind %q", err, tc.kind)
			}
			if tc.kind == secret.Unsupported && !errors.Is(err, provider.ErrReferent) {
				t.Errorf("error %v, want provider.ErrReferent", err)
			}
			if diff := cmp.Diff(tc.want, string(got.Reveal())); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnvCredentialRemoved(t *testing.T) {
	e := NewEnv(t)
	e.Put("", Namespace, "a", map[string]string{"k": "v"})
	e.Put("", Namespace, "a", nil)
	if _, err := e.Credential(t.Context(), provider.CredentialRef{Name: "a", Key: "k", Field: "f"}); !errors.Is(err, secret.Unauthenticated) {
		t.Errorf("error %v, want Unauthenticated", err)
	}
}

func TestEnvToken(t *testing.T) {
	e := NewEnv(t)
	req := provider.TokenRequest{ServiceAccount: "sa", Audiences: []string{"a"}, Field: "f"}
	if _, err := e.Token(t.Context(), req); !errors.Is(err, secret.Unsupported) {
		t.Errorf("without an issuer: %v, want Unsupported", err)
	}
	e.Issue = func(_ context.Context, req provider.TokenRequest) (string, error) {
		return *req.Namespace + "/" + req.ServiceAccount, nil
	}
	got, err := e.Token(t.Context(), req)
	if err != nil || string(got.Reveal()) != Namespace+"/sa" {
		t.Errorf("token %q, error %v", got.Reveal(), err)
	}
	req.Audiences = nil
	if _, err := e.Token(t.Context(), req); !errors.Is(err, secret.Invalid) {
		t.Errorf("without an audience: %v, want Invalid", err)
	}
}

func TestEnvHTTP(t *testing.T) {
	e := NewEnv(t)
	if _, err := e.HTTP(provider.TLS{CA: []byte("nonsense")}); !errors.Is(err, secret.Invalid) {
		t.Errorf("a CA that is no PEM: %v, want Invalid", err)
	}
	if _, err := e.HTTP(provider.TLS{Cert: []byte("nonsense")}); !errors.Is(err, secret.Invalid) {
		t.Errorf("a certificate that is no PEM: %v, want Invalid", err)
	}
	s := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	t.Cleanup(s.Close)
	c, err := e.HTTP(provider.TLS{})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Get(s.URL)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, secret.Invalid) {
		t.Errorf("a redirect: %v, want Invalid", err)
	}
}

func TestEnvObserve(t *testing.T) {
	e := NewEnv(t)
	e.Observe("Login", nil)
	e.Observe("Read", secret.NotFound)
	var names []string
	for _, c := range e.Calls() {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"Login", "Read"}, names); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestClock(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := NewClock(start)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	now, soon, late := c.After(0), c.After(time.Second), c.After(time.Hour)
	if got := <-now; !got.Equal(start) {
		t.Errorf("a timer of zero fired at %v", got)
	}
	c.Advance(time.Minute)
	if got := <-soon; !got.Equal(at(time.Minute)) {
		t.Errorf("the timer fired at %v", got)
	}
	select {
	case got := <-late:
		t.Errorf("a timer that is not due fired at %v", got)
	default:
	}
	if !c.Now().Equal(at(time.Minute)) {
		t.Errorf("now is %v", c.Now())
	}
}

func TestProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "answer to "+r.URL.Path)
	}))
	t.Cleanup(backend.Close)
	p := NewProxy(t, backend.URL, nil, 7*time.Second)
	const fault = `{"errors":["` + Mark + `"],"message":"` + Mark + `","error_description":"` + Mark + `"}`
	for name, tc := range map[string]struct {
		situation Situation
		status    int
		body      string
		wait      string
	}{
		"good passes":                        {situation: Good, status: 200, body: "answer to /x"},
		"a wrong credential is not its part": {situation: BadCredential, status: 200, body: "answer to /x"},
		"throttled asks to wait":             {situation: Throttled, status: 429, wait: "7", body: fault},
		"down":                               {situation: Down, status: 503, body: fault},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := http.Get(p.URL(tc.situation) + "/x")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tc.status || string(body) != tc.body || resp.Header.Get("Retry-After") != tc.wait {
				t.Errorf("status %d, body %q, Retry-After %q, error %v", resp.StatusCode, body, resp.Header.Get("Retry-After"), err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL(Hanging), nil)
		if err != nil {
			done <- err
			return
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	<-p.Reached()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a hanging request: %v", err)
	}
}
