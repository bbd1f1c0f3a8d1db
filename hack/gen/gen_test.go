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
	for _, page := range []string{"externalsecret", "secretstore"} {
		b, err := os.ReadFile(filepath.Join("../../docs/spec", page+".md"))
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for line := range strings.Lines(string(b)) {
			if !strings.HasPrefix(line, "| `spec.") && !strings.HasPrefix(line, "| `status.") {
				continue
			}
			rows++
			if strings.HasSuffix(strings.TrimSpace(line), "|  |") {
				t.Errorf("%s: the field has no comment in api/: %s", page, line)
			}
		}
		if rows < 50 {
			t.Errorf("%s: %d fields", page, rows)
		}
	}
}
