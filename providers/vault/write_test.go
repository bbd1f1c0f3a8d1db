package vault

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var ours = provider.PutOptions{Owner: provider.ManagedBy}

func value(s string) secret.Secret { return secret.Secret{Value: secret.FromString(s)} }

// about is what KV v2 keeps of a secret beside its values.
type about struct {
	Version int               `json:"current_version"`
	Custom  map[string]string `json:"custom_metadata"`
	Cas     bool              `json:"cas_required"`
}

func (f fixture) about(key string) (a about, exists bool) {
	f.Helper()
	b, err := f.bao.Do(f.Context(), http.MethodGet, "secret/metadata/"+key, nil)
	if err != nil {
		return a, false
	}
	var v struct{ Data about }
	if err := json.Unmarshal(b, &v); err != nil {
		f.Fatal(err)
	}
	return v.Data, true
}

func TestPutMarksWhatItCreates(t *testing.T) {
	f := newFixture(t)
	mark := map[string]string{"managed-by": "external-secrets"}
	metadata := func(key string, fields map[string]any) { f.do(http.MethodPost, "secret/metadata/"+key, fields) }
	for name, tc := range map[string]struct {
		before func(key string)
		want   map[string]string
		kind   secret.Kind
	}{
		"nothing is there":        {func(string) {}, mark, ""},
		"a push broke off before": {func(key string) { metadata(key, map[string]any{"custom_metadata": mark}) }, mark, ""},
		"others have metadata there": {
			func(key string) { metadata(key, map[string]any{"custom_metadata": map[string]string{"team": "a"}}) },
			map[string]string{"managed-by": "external-secrets", "team": "a"},
			"",
		},
		"others have the name": {
			func(key string) {
				metadata(key, map[string]any{"custom_metadata": map[string]string{"managed-by": "somebody"}})
			},
			map[string]string{"managed-by": "somebody"},
			secret.Conflict,
		},
		"it is deleted, and was ours": {
			func(key string) {
				f.put(key, map[string]string{"old": "1"})
				metadata(key, map[string]any{"custom_metadata": mark})
				f.do(http.MethodDelete, "secret/data/"+key, nil)
			}, mark, "",
		},
		"it is deleted, and was nobody's": {
			func(key string) {
				f.put(key, map[string]string{"old": "1"})
				f.put(key, map[string]string{"old": "2"})
				f.do(http.MethodDelete, "secret/data/"+key, nil)
			}, mark, "",
		},
		"it is deleted, and was somebody's": {
			func(key string) {
				f.put(key, map[string]string{"old": "1"})
				metadata(key, map[string]any{"custom_metadata": map[string]string{"managed-by": "somebody"}})
				f.do(http.MethodDelete, "secret/data/"+key, nil)
			}, map[string]string{"managed-by": "somebody"}, secret.Conflict,
		},
		"it is destroyed": {
			func(key string) {
				f.put(key, map[string]string{"old": "1"})
				f.do(http.MethodPost, "secret/destroy/"+key, map[string]any{"versions": []int{1}})
			}, mark, "",
		},
		"the key insists on check-and-set":            {func(key string) { metadata(key, map[string]any{"cas_required": true}) }, mark, ""},
		"the key's metadata insists on check-and-set": {func(key string) { metadata(key, map[string]any{"metadata_cas_required": true}) }, mark, ""},
		"it is handed over": {
			func(key string) {
				f.put(key, map[string]string{"old": "1"})
				metadata(key, map[string]any{"custom_metadata": mark})
			}, mark, "",
		},
		"it is not handed over": {func(key string) { f.put(key, map[string]string{"old": "1"}) }, nil, secret.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			s := f.open(f.spec())
			key := "mark/" + strings.ReplaceAll(name, " ", "-")
			tc.before(key)
			for range 2 {
				held, err := s.Inspect(t.Context(), secret.Ref{Key: key}, ours)
				if err != nil {
					t.Fatal(err)
				}
				o := ours
				o.If = &held
				_, err = s.Put(t.Context(), secret.Ref{Key: key}, value(`{"a":"1"}`), o)
				wantKind(t, err, tc.kind)
				if err != nil && !strings.Contains(err.Error(), "managed-by=external-secrets") {
					t.Errorf("the error does not say how to hand it over: %v", err)
				}
			}
			got, exists := f.about(key)
			if diff := cmp.Diff(tc.want, got.Custom); diff != "" || !exists {
				t.Errorf("custom metadata (-want +got):\n%s", diff)
			}
			if read, err := s.Get(t.Context(), secret.Ref{Key: key}); tc.kind == "" && (err != nil || string(read.Value.Reveal()) != `{"a":"1"}`) {
				t.Errorf("what is there now differs: %v", err)
			}
		})
	}
}

func TestPutWritesNothingThatIsThere(t *testing.T) {
	f := newFixture(t)
	s := f.open(f.spec())
	for name, tc := range map[string]struct {
		first, again string
		written      bool
	}{
		"the same":                             {`{"a":"1"}`, `{"a":"1"}`, false},
		"members in other order":               {`{"a":"1","b":{"c":[1,"x",null]}}`, "{ \"b\": {\"c\": [1, \"x\", null]},\n\"a\": \"1\"}", false},
		"numbers in other forms":               {`{"n":1.0,"m":100}`, `{"n":1,"m":1e2}`, false},
		"a number that the engine cannot keep": {`{"n":12345678901234567890.125}`, `{"n":12345678901234567890.125}`, false},
		"another number":                       {`{"n":1}`, `{"n":2}`, true},
		"a text, not a number":                 {`{"n":1}`, `{"n":"1"}`, true},
		"one member less":                      {`{"a":"1","b":"2"}`, `{"a":"1"}`, true},
		"another order in a list":              {`{"a":[1,2]}`, `{"a":[2,1]}`, true},
		"nothing in it":                        {`{}`, `{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			ref := secret.Ref{Key: "same/" + strings.ReplaceAll(name, " ", "-")}
			first, err := s.Put(t.Context(), ref, value(tc.first), ours)
			if err != nil || !first.Written || first.Version != "1" {
				t.Fatalf("the first put: %+v, %v", first, err)
			}
			again, err := s.Put(t.Context(), ref, value(tc.again), ours)
			if err != nil || again.Written != tc.written {
				t.Errorf("written again: %v, want %v, error %v", again.Written, tc.written, err)
			}
			if got, _ := f.about(ref.Key); (got.Version == 2) != tc.written || string(again.Version) != map[bool]string{false: "1", true: "2"}[tc.written] {
				t.Errorf("version %d at the server, %q in the receipt", got.Version, again.Version)
			}
		})
	}
}

func TestPutRefusesWhatTheEngineDoesNotKeep(t *testing.T) {
	f := newFixture(t)
	v1 := func(s *esv1.VaultProvider) { s.Path, s.Version = new("kv1"), esv1.VaultKVStoreV1 }
	both := []func(*esv1.VaultProvider){func(*esv1.VaultProvider) {}, v1}
	for name, tc := range map[string]struct {
		put     secret.Secret
		want    string
		engines []func(*esv1.VaultProvider)
	}{
		"a text":                       {value("canary"), "remoteRef.property", both},
		"a list":                       {value(`["canary"]`), "remoteRef.property", both},
		"null":                         {value("null"), "remoteRef.property", both},
		"nothing":                      {value(""), "remoteRef.property", both},
		"bytes in an object":           {value("{\"canary\":\"\xff\"}"), "UTF-8", both},
		"bytes in a field":             {secret.Secret{Fields: map[string]secret.Value{"field": secret.FromString("canary\xff")}}, `"field"`, both},
		"a number that is never read":  {value(`{"canary":1e400}`), "number", both[:1]},
		"an object without members":    {value(`{}`), "members", both[1:]},
		"fields of a Secret are fine":  {secret.Secret{Fields: map[string]secret.Value{"field": secret.FromString("canary")}}, "", both},
		"a large number, where it can": {value(`{"canary":1e400}`), "", both[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			for _, engine := range tc.engines {
				_, err := f.open(f.spec(engine)).Put(t.Context(), secret.Ref{Key: "refused/" + strings.ReplaceAll(name, " ", "-")}, tc.put, ours)
				if tc.want == "" {
					wantKind(t, err, "")
					continue
				}
				wantKind(t, err, secret.Invalid)
				if err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary")) {
					t.Errorf("the error does not name %s, or shows the value: %v", tc.want, err)
				}
			}
		})
	}
}

func TestEveryWriteIsCheckAndSet(t *testing.T) {
	f := ownFixture(t)
	f.do(http.MethodPost, "secret/config", map[string]any{"cas_required": true, "metadata_cas_required": true})
	s := f.open(f.spec(func(s *esv1.VaultProvider) { s.CheckAndSet = &esv1.VaultCheckAndSet{Required: true} }))
	for _, v := range []string{`{"a":"1"}`, `{"a":"2"}`} {
		if _, err := s.Put(t.Context(), secret.Ref{Key: "cas"}, value(v), ours); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), secret.Ref{Key: "cas"}, provider.DeleteOptions{Owner: provider.ManagedBy}); err != nil {
		t.Error(err)
	}
}

func TestDelete(t *testing.T) {
	f := newFixture(t)
	s := f.open(f.spec())
	mark := map[string]any{"custom_metadata": map[string]string{"managed-by": "external-secrets"}}
	for name, tc := range map[string]struct {
		before func(key string)
		kind   secret.Kind
		left   bool
	}{
		"all versions go": {func(key string) {
			f.put(key, map[string]string{"v": "1"})
			f.put(key, map[string]string{"v": "2"})
			f.do(http.MethodPost, "secret/metadata/"+key, mark)
		}, "", false},
		"a mark alone goes": {func(key string) { f.do(http.MethodPost, "secret/metadata/"+key, mark) }, "", false},
		"deleted versions of ours go": {func(key string) {
			f.put(key, map[string]string{"v": "1"})
			f.do(http.MethodPost, "secret/metadata/"+key, mark)
			f.do(http.MethodDelete, "secret/data/"+key, nil)
		}, "", false},
		"deleted versions of others stay": {func(key string) {
			f.put(key, map[string]string{"v": "1"})
			f.do(http.MethodDelete, "secret/data/"+key, nil)
		}, "", true},
		"metadata of others stays": {func(key string) {
			f.do(http.MethodPost, "secret/metadata/"+key, map[string]any{"custom_metadata": map[string]string{"team": "a"}})
		}, "", true},
		"what has no mark stays": {func(key string) { f.put(key, map[string]string{"v": "1"}) }, secret.Conflict, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			key := "delete/" + strings.ReplaceAll(name, " ", "-")
			tc.before(key)
			for range 2 {
				wantKind(t, s.Delete(t.Context(), secret.Ref{Key: key}, provider.DeleteOptions{Owner: provider.ManagedBy}), tc.kind)
			}
			if _, exists := f.about(key); exists != tc.left {
				t.Errorf("something is left: %v", exists)
			}
		})
	}
}

func TestAnEngineOfV1IsNotWrittenToAsV2(t *testing.T) {
	f := newFixture(t)
	s := f.open(f.spec(func(s *esv1.VaultProvider) { s.Path = new("kv1") }))
	_, err := s.Put(t.Context(), secret.Ref{Key: "wrong/engine"}, value(`{"a":"1"}`), ours)
	wantKind(t, err, secret.Invalid)
	for _, path := range []string{"kv1/data/wrong/engine", "kv1/metadata/wrong/engine"} {
		if _, err := f.bao.Do(t.Context(), http.MethodGet, path, nil); err == nil {
			t.Errorf("%s was written", path)
		}
	}
	s = f.open(f.spec(func(s *esv1.VaultProvider) { s.Version = esv1.VaultKVStoreV1 }))
	_, err = s.Put(t.Context(), secret.Ref{Key: "wrong/engine"}, value(`{"a":"1"}`), ours)
	wantKind(t, err, secret.Invalid)
}

// The numbers of calls are what a PushSecret costs.
func TestWhatAPutCosts(t *testing.T) {
	f := newFixture(t)
	s := f.open(f.spec())
	calls := func(do func()) int {
		before := len(f.env.Calls())
		do()
		return len(f.env.Calls()) - before
	}
	put := func(key, v string) func() {
		return func() {
			if _, err := s.Put(t.Context(), secret.Ref{Key: key}, value(v), ours); err != nil {
				t.Error(err)
			}
		}
	}
	for _, step := range []struct {
		what string
		do   func()
		want int
	}{
		{"the first of a store", put("cost/a", `{"a":"1"}`), 5},
		{"another", put("cost/b", `{"a":"1"}`), 4},
		{"unchanged", put("cost/a", `{"a":"1"}`), 1},
		{"changed", put("cost/a", `{"a":"2"}`), 2},
	} {
		if got := calls(step.do); got != step.want {
			t.Errorf("%s: %d calls, want %d", step.what, got, step.want)
		}
	}
}

// The policy is that of the documentation.
func TestThePolicyToWriteIsEnough(t *testing.T) {
	f := newFixture(t)
	f.do(http.MethodPut, "sys/policies/acl/write", map[string]any{"policy": `
path "secret/data/push/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/metadata/push/*" {
  capabilities = ["create", "read", "update", "delete"]
}`})
	f.token("writer", map[string]any{"policies": []string{"write"}})
	s := f.open(f.spec(withToken("writer")))
	for _, v := range []string{`{"a":"1"}`, `{"a":"2"}`} {
		if _, err := s.Put(t.Context(), secret.Ref{Key: "push/a"}, value(v), ours); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.Delete(t.Context(), secret.Ref{Key: "push/a"}, provider.DeleteOptions{Owner: provider.ManagedBy}); err != nil {
			t.Error(err)
		}
	}
}
