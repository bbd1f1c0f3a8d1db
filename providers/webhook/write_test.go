package webhook

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

// scripted answers with a status for each method, and remembers what it was asked.
type scripted struct {
	status map[string]int
	answer string
	mu     sync.Mutex
	asked  []string
	header http.Header
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(body)))
	s.header = r.Header.Clone()
	if status := s.status[r.Method]; status != 0 {
		w.WriteHeader(status)
	}
	_, _ = io.WriteString(w, s.answer)
}

// opened is a store on a service.
func opened(t *testing.T, service http.Handler, spec esv1.WebhookProvider) (provider.Store, *providertest.Env) {
	t.Helper()
	env := providertest.NewEnv(t)
	labelled(env, "creds", map[string]string{"token": "t0ken"})
	spec.URL = serve(t, service) + spec.URL
	s, err := Provider().Open(t.Context(), &spec, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, env
}

func pushed(value string) secret.Secret { return secret.Secret{Value: secret.FromString(value)} }

func TestPush(t *testing.T) {
	for name, tc := range map[string]struct {
		spec    esv1.WebhookProvider
		ref     secret.Ref
		content secret.Secret
		answer  string
		want    []string
		header  string // of X-Key
	}{
		"the value is the body": {
			spec:    esv1.WebhookProvider{URL: "/{{ .remoteRef.key }}"},
			ref:     secret.Ref{Key: "a/b-c"},
			content: pushed("v\x00\xff"),
			want:    []string{"GET /a%2Fb-c", "POST /a%2Fb-c v\x00\xff"},
		},
		"fields are a JSON object": {
			spec:    esv1.WebhookProvider{URL: "/{{ .remoteRef.remoteKey }}"},
			ref:     secret.Ref{Key: "k"},
			content: secret.Secret{Fields: map[string]secret.Value{"b": secret.FromString("2"), "a": secret.FromString("<1>")}},
			want:    []string{"GET /k", `POST /k {"a":"<1>","b":"2"}`},
		},
		"a body that names the key": {
			spec:    esv1.WebhookProvider{URL: "/q", Body: `{"value": {{ .remoteRef.password | toJson }}}`},
			ref:     secret.Ref{Key: "password"},
			content: pushed("v\n"),
			want:    []string{"GET /q", `POST /q {"value": "v\n"}`},
		},
		"a body for any key": {
			spec: esv1.WebhookProvider{
				URL: "/{{ .remoteRef.namespace }}", Body: `{{ .remoteRef.namespace }}/{{ .remoteRef.remoteKey }}={{ index .remoteRef .remoteRef.remoteKey }} {{ .auth.token }}`,
				Headers: map[string]string{"X-Key": "{{ .remoteRef.remoteKey }}"}, Secrets: tokenSecret("creds"),
			},
			ref:     secret.Ref{Key: "my-key", Namespace: "team-a"},
			content: pushed("v"),
			want:    []string{"GET /team-a", `POST /team-a team-a/my-key=v t0ken`},
			header:  "my-key",
		},
		"a method of its own": {
			spec:    esv1.WebhookProvider{URL: "/q", Method: "PUT"},
			ref:     secret.Ref{Key: "k"},
			content: pushed("v"),
			want:    []string{"GET /q", "PUT /q v"},
		},
		"a method that reads": {
			spec:    esv1.WebhookProvider{URL: "/q", Method: "GET"},
			ref:     secret.Ref{Key: "k"},
			content: pushed("v"),
			want:    []string{"GET /q", "POST /q v"},
		},
		"what a path in the answer finds already": {
			spec:    esv1.WebhookProvider{URL: "/q", Body: "{{ .remoteRef.k }}", Result: esv1.WebhookResult{JSONPath: "$.data.{{ .remoteRef.key }}"}},
			ref:     secret.Ref{Key: "k"},
			content: pushed(`{"x": 1}`),
			answer:  `{"data":{"k":{"x":1.0}}}`,
			want:    []string{"GET /q"},
		},
		"what only a property finds": {
			spec:    esv1.WebhookProvider{URL: "/q", Result: esv1.WebhookResult{JSONPath: "$.data.{{ .remoteRef.property }}"}},
			ref:     secret.Ref{Key: "k"},
			content: pushed("v"),
			answer:  `{"data":{}}`,
			want:    []string{"GET /q", "POST /q v"},
		},
		"the key namespace without a body": {
			spec:    esv1.WebhookProvider{URL: "/{{ .remoteRef.namespace }}", Headers: map[string]string{"X-Key": "{{ .remoteRef.namespace }}"}},
			ref:     secret.Ref{Key: "namespace", Namespace: "team-a"},
			content: pushed("team-b"),
			want:    []string{"GET /team-a", "POST /team-a team-b"},
			header:  "team-a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			service := &scripted{answer: tc.answer}
			s, env := opened(t, service, tc.spec)
			receipt, err := s.(provider.Writer).Put(t.Context(), tc.ref, tc.content, provider.PutOptions{})
			if err != nil || receipt.Written != (len(tc.want) == 2) {
				t.Fatalf("written %v, error %v", receipt.Written, err)
			}
			if diff := cmp.Diff(tc.want, service.asked); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if got := service.header.Get("X-Key"); got != tc.header {
				t.Errorf("header %q, want %q", got, tc.header)
			}
			if calls := env.Calls(); len(calls) != len(tc.want) {
				t.Errorf("%d calls observed, want %d", len(calls), len(tc.want))
			}
		})
	}
}

func TestPushesThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		spec     esv1.WebhookProvider
		ref      secret.Ref
		metadata string
		want     secret.Kind
		in       string
	}{
		"a property in the URL":       {spec: esv1.WebhookProvider{URL: "/{{ .remoteRef.key }}/{{ .remoteRef.property }}"}, ref: secret.Ref{Key: "k"}, want: secret.Unsupported, in: "webhook.url"},
		"the value in the URL":        {spec: esv1.WebhookProvider{URL: "/{{ .remoteRef.k }}"}, ref: secret.Ref{Key: "k"}, want: secret.Invalid, in: "webhook.url"},
		"a body for another key":      {spec: esv1.WebhookProvider{URL: "/q", Body: "{{ .remoteRef.other }}"}, ref: secret.Ref{Key: "k"}, want: secret.Invalid, in: "webhook.body"},
		"a value as the namespace":    {spec: esv1.WebhookProvider{URL: "/q", Body: "{{ .remoteRef.namespace }}"}, ref: secret.Ref{Key: "namespace", Namespace: "team-a"}, want: secret.Invalid, in: "another remoteKey"},
		"a namespace that is unknown": {spec: esv1.WebhookProvider{URL: "/{{ .remoteRef.namespace }}"}, ref: secret.Ref{Key: "k"}, want: secret.Invalid, in: "webhook.url"},
		"a key that climbs":           {spec: esv1.WebhookProvider{URL: "/mine/{{ .remoteRef.key }}"}, ref: secret.Ref{Key: "../theirs"}, want: secret.Invalid, in: "remoteRef"},
		"metadata":                    {spec: esv1.WebhookProvider{URL: "/q"}, ref: secret.Ref{Key: "k"}, metadata: `{"colour":"red"}`, want: secret.Invalid, in: "colour"},
	} {
		t.Run(name, func(t *testing.T) {
			service := &scripted{status: map[string]int{"GET": 404}}
			s, _ := opened(t, service, tc.spec)
			_, err := s.(provider.Writer).Put(t.Context(), tc.ref, pushed(canary), provider.PutOptions{Metadata: []byte(tc.metadata)})
			wantKind(t, err, tc.want)
			if !strings.Contains(err.Error(), tc.in) || strings.Contains(err.Error(), canary) {
				t.Errorf("%q does not say %q, or too much", err, tc.in)
			}
			for _, asked := range service.asked {
				if !strings.HasPrefix(asked, "GET ") {
					t.Errorf("the service was asked %s", asked)
				}
			}
		})
	}
}

func TestStatusOfWrites(t *testing.T) {
	for name, tc := range map[string]struct {
		status              int
		inspect, put, erase secret.Kind
	}{
		"200": {status: 200},
		"204": {status: 204},
		"302": {302, secret.Invalid, secret.Invalid, secret.Invalid},
		"400": {400, secret.Invalid, secret.Invalid, secret.Invalid},
		"401": {401, secret.Unauthenticated, secret.Unauthenticated, secret.Unauthenticated},
		"403": {403, secret.Denied, secret.Denied, secret.Denied},
		"404": {404, "", secret.Invalid, ""},
		"405": {405, "", secret.Invalid, secret.Invalid},
		"409": {409, secret.Conflict, secret.Conflict, secret.Conflict},
		"410": {410, "", secret.Invalid, ""},
		"429": {429, secret.RateLimited, secret.RateLimited, secret.RateLimited},
		"503": {503, secret.Unavailable, secret.Unavailable, secret.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			service := &scripted{status: map[string]int{"GET": tc.status, "POST": tc.status, "DELETE": tc.status}}
			s, _ := opened(t, service, esv1.WebhookProvider{URL: "/" + canary})
			ref := secret.Ref{Key: "team/db"}
			_, inspect := s.(provider.Writer).Inspect(t.Context(), ref, provider.PutOptions{})
			_, put := s.(provider.Writer).Put(t.Context(), ref, pushed(canary), provider.PutOptions{If: &provider.Holding{}})
			erase := s.(provider.Deleter).Delete(t.Context(), ref, provider.DeleteOptions{})
			for what, c := range map[string]struct {
				err  error
				want secret.Kind
			}{"write (Inspect)": {inspect, tc.inspect}, "write": {put, tc.put}, "delete": {erase, tc.erase}} {
				wantKind(t, c.err, c.want)
				op, _, _ := strings.Cut(what, " ")
				if c.err != nil && (strings.Contains(c.err.Error(), canary) || tc.status != 302 && !strings.Contains(c.err.Error(), "webhook "+op+" team/db")) {
					t.Errorf("%s: %q does not say what failed, or too much", what, c.err)
				}
			}
		})
	}
}

func TestServicesThatDoNotShow(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		path   string
		want   provider.Holding
	}{
		"GET is not taken":                   {status: 405, want: provider.Holding{Exists: true, Opaque: true}},
		"only a property could be found":     {status: 200, path: "$.{{ .remoteRef.property }}", want: provider.Holding{Exists: true, Opaque: true}},
		"and it is not there":                {status: 404, path: "$.{{ .remoteRef.property }}"},
		"the answer is not what is expected": {status: 200, path: "$.x", want: provider.Holding{}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := opened(t, &scripted{status: map[string]int{"GET": tc.status}, answer: `{"y":1}`}, esv1.WebhookProvider{URL: "/q", Result: esv1.WebhookResult{JSONPath: tc.path}})
			held, err := s.(provider.Writer).Inspect(t.Context(), secret.Ref{Key: "k"}, provider.PutOptions{})
			if wrong := tc.path == "$.x"; wrong != (secret.KindOf(err) == secret.Invalid) {
				t.Errorf("error %v", err)
			}
			if held.Exists != tc.want.Exists || held.Opaque != tc.want.Opaque {
				t.Errorf("exists %v, opaque %v", held.Exists, held.Opaque)
			}
		})
	}
}

func TestDeleteSendsNoBody(t *testing.T) {
	service := &scripted{}
	s, _ := opened(t, service, esv1.WebhookProvider{URL: "/{{ .remoteRef.remoteKey }}", Method: "PUT", Body: "{{ .remoteRef.k }}"})
	if err := s.(provider.Deleter).Delete(t.Context(), secret.Ref{Key: "k"}, provider.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DELETE /k"}, service.asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
