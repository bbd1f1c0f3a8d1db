package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/secret"
)

const esText = "apiVersion: external-secrets.io/v1beta1\nkind: ExternalSecret\nmetadata: {name: %}\nspec: {secretStoreRef: {name: s}, data: [{secretKey: a, remoteRef: {key: a}}]}\n"

func es(name string) string { return strings.Replace(esText, "%", name, 1) }

func TestLoadFolders(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{
		"b.yaml":            es("b1") + "--- # comment\n" + es("b2") + "---\n# nothing\n---\n",
		"a/z.yml":           es("z1"),
		"a/list.json":       `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Secret","metadata":{"name":"in-list"}}]}`,
		"inline.yaml":       "--- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n",
		"values.yaml":       "image: {tag: 1}\n",
		"README.md":         "no manifest",
		".hidden.yaml":      "{",
		".git/x.yaml":       "{",
		"crds/deploy.yaml":  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n",
		"crds/deploy2.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: e}\n",
	} {
		path := filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Load(Input{Paths: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, es := range m.ExternalSecrets {
		names = append(names, es.Namespace+"/"+es.Name)
	}
	if diff := cmp.Diff([]string{"default/z1", "default/b1", "default/b2"}, names); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{dir + "/values.yaml (no apiVersion and kind)", "Deployment (apps/v1)"}, m.Ignored); diff != "" {
		t.Errorf("ignored (-want +got):\n%s", diff)
	}
	for _, key := range []name{{kindSecret, "default", "in-list"}, {kindConfigMap, "default", "c"}} {
		if _, ok := m.seen[key]; !ok {
			t.Errorf("%v was not read", key)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := map[string]struct{ text, says string }{
		"a field in another letter case":  {strings.Replace(es("a"), "secretStoreRef", "secretstoreref", 1), `stdin:1: ExternalSecret a: unknown field "spec.secretstoreref"`},
		"a deep unknown field":            {strings.Replace(es("a"), "remoteRef: {", "remoteRef: {x: 1, ", 1), `unknown field "spec.data[0].remoteRef.x"`},
		"a field twice":                   {es("a") + "kind: x\n", `key "kind" already set in map`},
		"a wrong type":                    {strings.Replace(es("a"), "data: [", "data: {a: [", 1) + "", "not YAML"},
		"a number for a text":             {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {k: 1}\n", "stringData: a number where a text belongs"},
		"a text for an object":            {"apiVersion: v1\nkind: Secret\nmetadata: x\n", "metadata: a string where an object belongs"},
		"no name":                         {"apiVersion: v1\nkind: Secret\nmetadata: {}\n", "metadata.name is missing"},
		"a namespace that is a path":      {"apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: ../b}\n", "metadata.namespace"},
		"the line of the second document": {es("a") + "---\n" + es("b") + "x: [\n", "stdin:5: not YAML at line"},
		"no kind in a file that is named": {"a: b\n", "has no apiVersion or no kind"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Input{Paths: []string{"-"}, Stdin: strings.NewReader(test.text)})
			if err == nil {
				t.Fatal("it was accepted")
			}
			text := strings.ReplaceAll(err.Error(), "standard input", "stdin")
			if !errors.Is(err, secret.Invalid) || !strings.Contains(text, test.says) || strings.Contains(text, "\n") {
				t.Errorf("got %s\nwant %s", text, test.says)
			}
		})
	}
}

func TestParseCredential(t *testing.T) {
	tests := map[string]struct {
		text, want string // empty is refused
	}{
		"a variable":           {"vault/token=env:VAULT_TOKEN", "default/vault/token"},
		"a namespace":          {"a/vault/ca.crt=file:/x=y:z", "a/vault/ca.crt"},
		"no source":            {"vault/token=VAULT_TOKEN", ""},
		"an empty source":      {"vault/token=env:", ""},
		"no key":               {"token=env:A", ""},
		"too many parts":       {"a/b/c/d=env:A", ""},
		"a key that is a path": {"a/..=env:A", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := ParseCredential(test.text)
			if test.want == "" {
				if !errors.Is(err, secret.Invalid) || strings.Contains(err.Error(), "VAULT_TOKEN") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || c.String() != test.want {
				t.Errorf("got %v, %v; want %s", c, err, test.want)
			}
		})
	}
}

func TestFoldersAreThoseInWhichAChangeShows(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	for _, file := range []string{"m/a.yaml", "m/sub/b.yaml", "m/.git/c.yaml"} {
		path := filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(elsewhere, "l.yaml"), nil, 0o600),
		os.Symlink(filepath.Join(elsewhere, "l.yaml"), filepath.Join(dir, "m", "l.yaml"))); err != nil {
		t.Fatal(err)
	}
	credential, err := ParseCredential("a/b=file:" + filepath.Join(dir, "none", "token"))
	if err != nil {
		t.Fatal(err)
	}
	got := Folders([]string{filepath.Join(dir, "m"), "-"}, []Credential{credential})
	want := map[string]bool{dir: true, dir + "/m": true, dir + "/m/sub": true, dir + "/none": true, elsewhere: true}
	if diff := cmp.Diff(secret.Keys(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
