package suite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMembers(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"all/all.go":           "package all\nimport _ \"example.com/good\"\nimport _ \"example.com/untested\"",
		"good/x_test.go":       "package good\nfunc f() { if true { somesuite.Run(1) } }",
		"unlisted/x_test.go":   "package unlisted\nfunc f() { somesuite.Run(1) }",
		"untested/x_test.go":   "package untested\nvar _ = somesuite.Run\nfunc f() { other.Run(1) }",
		"untested/untested.go": "package untested\nfunc f() { somesuite.Run(1) }",
	} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "all"))
	var members []string
	problems := Try(t.Context(), func(t T) { members = Members(t, "somesuite") })
	if diff := cmp.Diff([]string{"good", "unlisted", "untested"}, members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	want := []string{"unlisted is not in the list of Registry", "untested has no test that calls somesuite.Run"}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
