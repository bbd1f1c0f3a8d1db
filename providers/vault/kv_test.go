package vault

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

func TestGet(t *testing.T) {
	f := ownFixture(t)
	f.put("get/plain", map[string]any{"a": "1", "n": 12, "nested": map[string]any{"b": true}})
	f.put("get/versions", map[string]string{"v": "1"})
	f.put("get/versions", map[string]string{"v": "2"})
	f.put("get/versions", map[string]string{"v": "3"})
	f.do(http.MethodPost, "secret/delete/get/versions", map[string]any{"versions": []int{2}})
	f.put("get/destroyed", map[string]string{"v": "1"})
	f.do(http.MethodPost, "secret/destroy/get/destroyed", map[string]any{"versions": []int{1}})
	f.put("get/deleted", map[string]string{"v": "1"})
	f.do(http.MethodDelete, "secret/data/get/deleted", nil)
	f.put("get/odd%20name/100%25%3F%23;+", map[string]string{"v": "odd"})
	f.put("get/data/deep", map[string]string{"v": "deep"})
	f.do(http.MethodPost, "kv1/get/plain", map[string]any{"a": "1", "n": 9007199254740993})
	f.do(http.MethodPost, "secret/metadata/get/meta", map[string]any{"custom_metadata": map[string]string{"owner": "<db>"}, "delete_version_after": "1h"})

	noPath := func(s *esv1.VaultProvider) { s.Path = nil }
	v1 := func(s *esv1.VaultProvider) { s.Path, s.Version = new("kv1"), esv1.VaultKVStoreV1 }
	mount := func(p string) func(*esv1.VaultProvider) { return func(s *esv1.VaultProvider) { s.Path = new(p) } }
	for name, tc := range map[string]struct {
		change  func(*esv1.VaultProvider)
		ref     secret.Ref
		want    string
		version secret.Version
		kind    secret.Kind
	}{
		"the whole secret, as it is kept":        {ref: secret.Ref{Key: "get/plain"}, want: `{"a":"1","n":12,"nested":{"b":true}}`, version: "1"},
		"a key that begins with the mount":       {ref: secret.Ref{Key: "secret/get/versions"}, want: `{"v":"3"}`, version: "3"},
		"a key that names the API's data":        {ref: secret.Ref{Key: "secret/data/get/versions"}, want: `{"v":"3"}`, version: "3"},
		"slashes too many":                       {ref: secret.Ref{Key: "/get//versions/"}, want: `{"v":"3"}`, version: "3"},
		"data inside a name is a name":           {ref: secret.Ref{Key: "get/data/deep"}, want: `{"v":"deep"}`, version: "1"},
		"without a path the key names the mount": {change: noPath, ref: secret.Ref{Key: "secret/get/versions"}, want: `{"v":"3"}`, version: "3"},
		"without a path, with the API's data":    {change: noPath, ref: secret.Ref{Key: "secret/data/get/versions"}, want: `{"v":"3"}`, version: "3"},
		"without a path and mount":               {change: noPath, ref: secret.Ref{Key: "plain"}, kind: secret.Invalid},
		"a name that has to be escaped":          {ref: secret.Ref{Key: "get/odd name/100%?#;+"}, want: `{"v":"odd"}`, version: "1"},
		"an older version":                       {ref: secret.Ref{Key: "get/versions", Version: "1"}, want: `{"v":"1"}`, version: "1"},
		"a version that is deleted":              {ref: secret.Ref{Key: "get/versions", Version: "2"}, kind: secret.NotFound},
		"a version that never was":               {ref: secret.Ref{Key: "get/versions", Version: "9"}, kind: secret.NotFound},
		"a version that is no number":            {ref: secret.Ref{Key: "get/versions", Version: "last"}, kind: secret.Invalid},
		"a destroyed secret":                     {ref: secret.Ref{Key: "get/destroyed"}, kind: secret.NotFound},
		"a deleted secret":                       {ref: secret.Ref{Key: "get/deleted"}, kind: secret.NotFound},
		"a secret that never was":                {ref: secret.Ref{Key: "get/nothing"}, kind: secret.NotFound},
		"metadata of a secret that never was":    {ref: secret.Ref{Key: "get/nothing", Metadata: true}, kind: secret.NotFound},
		"metadata without custom metadata": {
			ref: secret.Ref{Key: "get/versions", Metadata: true}, want: `{"created_time":"T","current_version":3,"delete_version_after":"0s"}`,
		},
		"metadata without a version": {
			ref: secret.Ref{Key: "get/meta", Metadata: true}, want: `{"created_time":"T","current_version":0,"delete_version_after":"1h0m0s","owner":"<db>"}`,
		},
		"an empty key":                     {ref: secret.Ref{Key: "/"}, kind: secret.Invalid},
		"a key that climbs out":            {ref: secret.Ref{Key: "../sys/policy"}, kind: secret.Invalid},
		"a key that climbs within":         {ref: secret.Ref{Key: "get/./plain"}, kind: secret.Invalid},
		"KV v1, numbers as they were sent": {change: v1, ref: secret.Ref{Key: "get/plain"}, want: `{"a":"1","n":9007199254740993}`},
		"KV v1, key with mount":            {change: v1, ref: secret.Ref{Key: "kv1/get/plain"}, want: `{"a":"1","n":9007199254740993}`},
		"KV v1, absent":                    {change: v1, ref: secret.Ref{Key: "get/nothing"}, kind: secret.NotFound},
		"KV v1 has no versions":            {change: v1, ref: secret.Ref{Key: "get/plain", Version: "1"}, kind: secret.Unsupported},
		"KV v1 has no metadata":            {change: v1, ref: secret.Ref{Key: "get/plain", Metadata: true}, kind: secret.Unsupported},
		"a mount that is not there":        {change: mount("nowhere"), ref: secret.Ref{Key: "get/plain"}, kind: secret.Invalid},
		"a namespace that is not there":    {change: func(s *esv1.VaultProvider) { s.Namespace = new("nowhere") }, ref: secret.Ref{Key: "get/plain"}, kind: secret.Invalid},
		"KV v1 asked of an engine of v2": {
			change: func(s *esv1.VaultProvider) { s.Version = esv1.VaultKVStoreV1 }, ref: secret.Ref{Key: "get/plain"}, kind: secret.Invalid,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.change == nil {
				tc.change = func(*esv1.VaultProvider) {}
			}
			got, err := f.open(f.spec(tc.change)).Get(t.Context(), tc.ref)
			if tc.kind != "" || err != nil {
				wantKind(t, err, tc.kind)
				return
			}
			text := regexp.MustCompile(`"created_time":"[^"]+"`).ReplaceAllString(string(got.Value.Reveal()), `"created_time":"T"`)
			if text != tc.want || got.Version != tc.version {
				t.Errorf("got %s version %q, want %s version %q", text, got.Version, tc.want, tc.version)
			}
		})
	}
}

func TestList(t *testing.T) {
	f := newFixture(t)
	for _, key := range []string{"list/a", "list/b/c", "list/b/d/e", "list/data/x", "secret/list/same", "data/list/z"} {
		f.put(key, map[string]string{"v": key})
	}
	tag := func(key string, tags map[string]string) {
		f.do(http.MethodPost, "secret/metadata/"+key, map[string]any{"custom_metadata": tags})
	}
	tag("list/a", map[string]string{"team": "red", "tier": "1"})
	tag("list/b/d/e", map[string]string{"team": "red"})
	f.do(http.MethodPost, "kv1/list/a", map[string]string{"v": "1"})
	f.do(http.MethodPost, "kv1/list/b/c", map[string]string{"v": "1"})

	noPath := func(s *esv1.VaultProvider) { s.Path = nil }
	v1 := func(s *esv1.VaultProvider) { s.Path, s.Version = new("kv1"), esv1.VaultKVStoreV1 }
	for name, tc := range map[string]struct {
		change func(*esv1.VaultProvider)
		query  secret.Query
		want   []string
		kind   secret.Kind
	}{
		"everything below a path":            {query: secret.Query{Path: "list"}, want: []string{"list/a", "list/b/c", "list/data/x", "list/b/d/e"}},
		"by name, of the whole key":          {query: secret.Query{Path: "list/", Name: regexp.MustCompile("^list/b/.*e$")}, want: []string{"list/b/d/e"}},
		"by tag":                             {query: secret.Query{Path: "list", Tags: map[string]string{"team": "red"}}, want: []string{"list/a", "list/b/d/e"}},
		"by all tags":                        {query: secret.Query{Path: "list", Tags: map[string]string{"team": "red", "tier": "1"}}, want: []string{"list/a"}},
		"by name and tag":                    {query: secret.Query{Name: regexp.MustCompile("/e$"), Tags: map[string]string{"team": "red"}}, want: []string{"list/b/d/e"}},
		"a folder that is not there":         {query: secret.Query{Path: "list/nothing"}},
		"without a path the query has it":    {change: noPath, query: secret.Query{Path: "secret/list/b"}, want: []string{"secret/list/b/c", "secret/list/b/d/e"}},
		"a name that begins like the mount":  {query: secret.Query{Path: "secret/list"}, want: []string{"secret/secret/list/same"}},
		"a name that begins with data":       {change: noPath, query: secret.Query{Path: "secret", Name: regexp.MustCompile("/z$")}, want: []string{"secret/data/data/list/z"}},
		"a folder called data":               {query: secret.Query{Path: "data/list"}, want: []string{"data/list/z"}},
		"without a path and mount":           {change: noPath, kind: secret.Invalid},
		"KV v1":                              {change: v1, query: secret.Query{Path: "list"}, want: []string{"list/a", "list/b/c"}},
		"KV v1 has no tags":                  {change: v1, query: secret.Query{Tags: map[string]string{"a": "b"}}, kind: secret.Unsupported},
		"a path that climbs out":             {query: secret.Query{Path: "../sys"}, kind: secret.Invalid},
		"of a mount that is not there":       {change: func(s *esv1.VaultProvider) { s.Path = new("nowhere") }, kind: secret.Invalid},
		"whose caller has enough":            {query: secret.Query{Path: "list"}, want: []string{"list/a"}},
		"of an engine of another KV version": {change: func(s *esv1.VaultProvider) { s.Version = esv1.VaultKVStoreV1 }, query: secret.Query{Path: "list"}, kind: secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.change == nil {
				tc.change = func(*esv1.VaultProvider) {}
			}
			s := f.open(f.spec(tc.change))
			var got []string
			var failed error
			for item, err := range s.List(t.Context(), tc.query) {
				if err != nil {
					failed = err
					break
				}
				got = append(got, item.Ref.Key)
				if _, err := s.Get(t.Context(), item.Ref); err != nil {
					t.Errorf("what was listed cannot be read: %v", err)
				}
				if name == "whose caller has enough" {
					break
				}
			}
			wantKind(t, failed, tc.kind)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}
