package vaultapi

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// engine answers the calls that write, by method and path, and keeps what was sent.
type engine struct {
	answers map[string]reaction
	sent    []string
}

func (e *engine) fault(w http.ResponseWriter, r *http.Request) bool {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if strings.HasPrefix(path, "auth/") {
		return false
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	what := r.Method + " " + path
	e.sent = append(e.sent, strings.TrimSpace(what+" "+string(body)))
	answer, ok := e.answers[what]
	if !ok {
		answer = reaction{404, `{"errors":[]}`}
	}
	w.Header().Set("X-Vault-Index", "index-of-"+r.Method)
	return raw(w, answer.status, answer.body)
}

func TestPutOnTheWire(t *testing.T) {
	const (
		mounts, data, about = "GET sys/internal/ui/mounts/kv", "POST kv/data/a", "POST kv/metadata/a"
		value               = `{"n":1.10,"b":{"x":[1]}}`
		mark                = `{"managed-by":"external-secrets"`
		first               = `POST kv/data/a {"data":` + value + `,"options":{"cas":0}}`
	)
	v2 := reaction{200, `{"data":{"type":"kv","options":{"version":"2"}}}`}
	done, written := reaction{204, ""}, reaction{200, `{"data":{"version":1}}`}
	torn := reaction{500, `{"errors":["1 error occurred:\n\t* could not find version data\n\n"]}`}
	for name, tc := range map[string]struct {
		answers map[string]reaction
		sent    []string
		kind    secret.Kind
	}{
		"nothing is there": {
			map[string]reaction{mounts: v2, about: done, data: written},
			[]string{"GET kv/data/a", mounts, "GET kv/metadata/a", `POST kv/metadata/a {"custom_metadata":` + mark + `},"metadata_cas":0}`, first},
			"",
		},
		"metadata of a server that counts its versions": {
			map[string]reaction{mounts: v2, about: done, data: written, "GET kv/metadata/a": {200, `{"data":{"current_version":0,"current_metadata_version":3,"custom_metadata":{"team":"a"}}}`}},
			[]string{"GET kv/data/a", mounts, "GET kv/metadata/a", `POST kv/metadata/a {"custom_metadata":` + mark + `,"team":"a"},"metadata_cas":3}`, first},
			"",
		},
		"metadata of a server that does not": {
			map[string]reaction{mounts: v2, about: done, data: written, "GET kv/metadata/a": {200, `{"data":{"current_version":0,"custom_metadata":null}}`}},
			[]string{"GET kv/data/a", mounts, "GET kv/metadata/a", `POST kv/metadata/a {"custom_metadata":` + mark + `}}`, first},
			"",
		},
		"the mount cannot be asked about": {
			map[string]reaction{mounts: {403, `{"errors":["preflight capability check returned 403"]}`}, about: done, data: written},
			[]string{"GET kv/data/a", mounts, "GET kv/metadata/a", `POST kv/metadata/a {"custom_metadata":` + mark + `},"metadata_cas":0}`, first},
			"",
		},
		"the mount is another engine": {
			map[string]reaction{mounts: {200, `{"data":{"type":"kv","options":null}}`}},
			[]string{"GET kv/data/a", mounts},
			secret.Invalid,
		},
		"somebody was faster with it": {
			map[string]reaction{mounts: v2, "GET kv/metadata/a": {200, `{"data":{"current_version":1,"custom_metadata":null}}`}},
			[]string{"GET kv/data/a", mounts, "GET kv/metadata/a"},
			secret.Conflict,
		},
		"somebody was faster with the metadata": {
			map[string]reaction{mounts: v2, about: {400, `{"errors":["metadata_cas must be 0 when creating new metadata"]}`}},
			[]string{"GET kv/data/a", mounts, "GET kv/metadata/a", `POST kv/metadata/a {"custom_metadata":` + mark + `},"metadata_cas":0}`},
			secret.Conflict,
		},
		"somebody was faster at the last moment": {
			map[string]reaction{mounts: v2, about: done, data: {400, `{"errors":["check-and-set parameter did not match the current version"]}`}},
			[]string{"GET kv/data/a", mounts, "GET kv/metadata/a", `POST kv/metadata/a {"custom_metadata":` + mark + `},"metadata_cas":0}`, first},
			secret.Conflict,
		},
		"a deleted version of ours": {
			map[string]reaction{data: written, "GET kv/data/a": {404, `{"data":{"data":null,"metadata":{"version":7,"custom_metadata":{"managed-by":"external-secrets"}}}}`}},
			[]string{"GET kv/data/a", strings.Replace(first, `"cas":0`, `"cas":7`, 1)},
			"",
		},
		"one of ours whose deletion was cut short": {
			map[string]reaction{data: written, "GET kv/data/a": torn, "GET kv/metadata/a": {200, `{"data":{"current_version":7,"custom_metadata":{"managed-by":"external-secrets"}}}`}},
			[]string{"GET kv/data/a", "GET kv/metadata/a", strings.Replace(first, `"cas":0`, `"cas":7`, 1)},
			"",
		},
		"somebody's whose deletion was cut short": {
			map[string]reaction{"GET kv/data/a": torn, "GET kv/metadata/a": {200, `{"data":{"current_version":7,"custom_metadata":null}}`}},
			[]string{"GET kv/data/a", "GET kv/metadata/a"},
			secret.Unavailable,
		},
		"a server that refuses": {
			map[string]reaction{mounts: v2, about: {400, `{"errors":["canary"]}`}},
			[]string{"GET kv/data/a", mounts, "GET kv/metadata/a", `POST kv/metadata/a {"custom_metadata":` + mark + `},"metadata_cas":0}`},
			secret.Invalid,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := &engine{answers: tc.answers}
			f := newFake()
			f.fault = e.fault
			c, _ := openFake(t, f, "", given)
			_, err := c.Put(t.Context(), secret.Ref{Key: "a"}, secret.Secret{Value: secret.FromString(value)}, provider.PutOptions{Owner: provider.ManagedBy})
			wantKind(t, err, tc.kind)
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the answer: %v", err)
			}
			if diff := cmp.Diff(tc.sent, e.sent); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewKeysAreNotLookedAtWhereTheServerHeedsMetadataCAS(t *testing.T) {
	for name, tc := range map[string]struct {
		about string
		reads []string // of metadata, for three new keys
	}{
		"it does":     {`{"data":{"current_version":1,"current_metadata_version":1}}`, []string{"GET kv/metadata/a", "GET kv/metadata/a"}},
		"it does not": {`{"data":{"current_version":1}}`, []string{"GET kv/metadata/a", "GET kv/metadata/a", "GET kv/metadata/b", "GET kv/metadata/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := &engine{answers: map[string]reaction{}}
			for _, key := range []string{"a", "b", "c"} {
				e.answers["POST kv/data/"+key], e.answers["POST kv/metadata/"+key] = reaction{200, `{"data":{"version":1}}`}, reaction{204, ""}
			}
			f := newFake()
			f.fault = e.fault
			c, _ := openFake(t, f, "", given)
			for _, key := range []string{"a", "b", "c"} {
				if _, err := c.Put(t.Context(), secret.Ref{Key: key}, secret.Secret{Value: secret.FromString(`{"a":"1"}`)}, provider.PutOptions{Owner: provider.ManagedBy}); err != nil {
					t.Fatal(err)
				}
				e.answers["GET kv/metadata/a"] = reaction{200, tc.about}
			}
			got := slices.DeleteFunc(e.sent, func(line string) bool { return !strings.HasPrefix(line, "GET kv/metadata/") })
			if diff := cmp.Diff(tc.reads, got); diff != "" {
				t.Errorf("reads of metadata (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadsSeeTheWritesBefore(t *testing.T) {
	e := &engine{answers: map[string]reaction{"POST kv/a": {204, ""}}}
	f := newFake()
	f.fault = e.fault
	c, _ := openFake(t, f, "", given, func(c *Config) { c.KV, c.ReadYourWrites = 1, true })
	if _, err := c.Put(t.Context(), secret.Ref{Key: "a"}, secret.Secret{Value: secret.FromString(`{"a":"1"}`)}, provider.PutOptions{Owner: provider.ManagedBy}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Get(t.Context(), secret.Ref{Key: "a"})
	wantKind(t, err, secret.NotFound)
	if got := f.last("/kv/a").Get("X-Vault-Index"); got != "index-of-POST" {
		t.Errorf("the read names the state %q", got)
	}
}
