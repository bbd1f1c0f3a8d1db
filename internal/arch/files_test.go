package arch_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// read returns the lines of a file of the checkout.
func read(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// documented are the files that must tell the truth about the repository.
func documented() []string {
	return []string{"AGENTS.md", "README.md", "SECURITY.md", "docs/guide/development.md"}
}

func TestDocumentedPathsExist(t *testing.T) {
	quoted := regexp.MustCompile("`([A-Za-z0-9._*-]*/[A-Za-z0-9._*/-]*|[A-Za-z0-9-]+\\.(?:md|yml)|Makefile)`")
	for _, file := range documented() {
		for _, match := range quoted.FindAllStringSubmatch(strings.Join(read(t, file), "\n"), -1) {
			path := match[1]
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") && !strings.HasPrefix(first, ".") && strings.Contains(path, "/") {
				continue // an API group, not a path
			}
			found, err := filepath.Glob(filepath.Join(root, path))
			if err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", file, path)
			}
		}
	}
}

func TestDocumentedTargetsExist(t *testing.T) {
	targets := map[string]bool{}
	target := regexp.MustCompile(`^([a-z]+):`)
	for _, line := range read(t, "Makefile") {
		if match := target.FindStringSubmatch(line); match != nil {
			targets[match[1]] = true
		}
	}
	command := regexp.MustCompile("(?m)(?:`|^|\\$ )make ([a-z]+)")
	for _, file := range documented() {
		for _, match := range command.FindAllStringSubmatch(strings.Join(read(t, file), "\n"), -1) {
			if !targets[match[1]] {
				t.Errorf("%s says make %s, which the Makefile does not have", file, match[1])
			}
		}
	}
}

func TestAgentsFileIsShort(t *testing.T) {
	if n := len(read(t, "AGENTS.md")); n > 60 {
		t.Errorf("AGENTS.md has %d lines, more than 60: nobody reads it to its end", n)
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t) {
		if !p.ours() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(p.Dir, "doc.go"))
		if err != nil {
			t.Errorf("%s has no doc.go: say what it is for, what it must not do, and give an example", p.name())
			continue
		}
		comment, _, _ := bytes.Cut(b, []byte("\npackage "))
		if n := bytes.Count(comment, []byte("\n//")) + 1; n < 5 || n > 30 {
			t.Errorf("%s/doc.go has a comment of %d lines, want 5 to 30", p.name(), n)
		}
	}
}

func TestTestFilesFitInAThousandLines(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if n := bytes.Count(b, []byte("\n")); n > 1000 {
			t.Errorf("%s has %d lines, more than 1000", path, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
