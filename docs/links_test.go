package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// anchors are the names by which the headings of a page are linked to.
func anchors(t *testing.T, path string) map[string]bool {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{"": true}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(page), -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out[strings.ReplaceAll(name, " ", "-")] = true
	}
	return out
}

// checkLink fails if what a page links to is not there.
func checkLink(t *testing.T, page, path, anchor string) {
	t.Helper()
	target := page
	if path != "" {
		target = filepath.Join(filepath.Dir(page), path)
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("%s links to %s, which is not there", page, path)
	} else if anchor != "" && !anchors(t, target)[anchor] {
		t.Errorf("%s links to %s#%s, which has no such heading", page, path, anchor)
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s#]*)(?:#([^)\s]*))?\)`)
	found := 0
	check := func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		page, err := os.ReadFile(path)
		for _, m := range link.FindAllStringSubmatch(string(page), -1) {
			if !strings.Contains(m[1], "://") {
				found++
				checkLink(t, path, m[1], m[2])
			}
		}
		return err
	}
	for _, root := range []string{".", "../README.md", "../SECURITY.md", "../examples"} {
		if err := filepath.WalkDir(root, check); err != nil {
			t.Fatal(err)
		}
	}
	if found < 20 {
		t.Errorf("%d links were found", found)
	}
}
