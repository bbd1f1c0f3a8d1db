package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestGeneratedFilesAreFresh(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have, err := os.ReadFile(filepath.Join(root, name)); err != nil || !bytes.Equal(have, want[name]) {
			t.Errorf("%s is stale (%v): go run ./hack/gen", name, err)
		}
	}
	for _, pattern := range []string{"config/crds/*.yaml", "api/*/v*/zz_generated.*"} {
		for _, name := range files(t, root, pattern) {
			if _, ok := want[name]; !ok {
				t.Errorf("%s is no longer generated: delete it", name)
			}
		}
	}
}

// files returns what matches, by the path from root.
func files(t *testing.T, root, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s matches nothing (%v)", pattern, err)
	}
	for i, path := range found {
		if found[i], err = filepath.Rel(root, path); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func TestEveryFieldHasAMeaning(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := 0
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(b), tableBegin)
		if !ok {
			continue
		}
		tables++
		table, _, _ := strings.Cut(rest, tableEnd)
		for line := range strings.Lines(table) {
			if strings.HasSuffix(strings.TrimSpace(line), "|  |") {
				t.Errorf("%s: the field has no comment in api/: %s", page, line)
			}
		}
	}
	if tables < len(specPages()) {
		t.Errorf("%d tables, and %d pages of kinds", tables, len(specPages()))
	}
}

// pages makes a root that has one page, of that text, and returns what fills it.
func pages(t *testing.T, page, text string) (string, error) {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(page)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, page), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, name := range files(t, "../..", "config/crds/*.yaml") {
		b, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = b
	}
	err := fillAsked(root, "docs/provider", out, providerTable)
	if err == nil {
		err = fillAsked(root, "docs/generator", out, generatorTable)
	}
	return string(out[page]), err
}

func TestPagesGetTheTableThatTheyAskFor(t *testing.T) {
	const marks = "# a\n" + tableBegin + "old\n" + tableEnd + "b\n"
	for name, test := range map[string]struct{ page, text, row string }{
		"a provider":                         {"docs/provider/aws.md", marks, "| `auth.jwt.serviceAccountRef` | [service account](../spec/secretstore.md#selectors) |"},
		"a provider in other letters":        {"docs/provider/openbao.md", marks, "| `server` | string, required |"},
		"a generator":                        {"docs/generator/password.md", marks, "| `spec.length` | integer | `24` |"},
		"a generator by how its kind begins": {"docs/generator/ecr.md", marks, "| `spec.region` | string, required |"},
		"a map of lists":                     {"docs/generator/vaultdynamicsecret.md", marks, "| `spec.getParameters` | map of lists |"},
		"anything":                           {"docs/generator/vaultdynamicsecret.md", marks, "| `spec.parameters` | any |"},
		"a key of a Secret and no namespace": {"docs/generator/webhook.md", marks, "| `spec.secrets[].secretRef` | [secret key](../spec/secretstore.md#selectors), required |"},
		"a key of a ConfigMap":               {"docs/generator/gcr.md", marks, "| `spec.auth.workloadIdentityFederation.credConfig.key` | string, required |"},
		"a page that asks for none":          {"docs/generator/README.md", "# a\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pages(t, test.page, test.text)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got, test.row) || strings.Contains(got, "old") {
				t.Errorf("want a row %s in\n%s", test.row, got)
			}
			if test.row != "" && (!strings.HasPrefix(got, "# a\n") || !strings.HasSuffix(got, "b\n")) {
				t.Errorf("what is around the table has changed:\n%s", got)
			}
		})
	}
	for name, page := range map[string]string{
		"no such provider":       "docs/provider/dice.md",
		"no such generator":      "docs/generator/dice.md",
		"more than one of those": "docs/generator/g.md",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := pages(t, page, marks); err == nil {
				t.Errorf("the page has got\n%s", got)
			}
		})
	}
	if _, err := pages(t, "docs/generator/uuid.md", tableBegin); err == nil {
		t.Error("a table without an end was filled")
	}
}
