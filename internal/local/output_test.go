package local

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

func open(t *testing.T, dir string, f Format) *Output {
	t.Helper()
	o, err := Open(Options{Dir: dir, Format: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// write saves a Secret "default/x" with this data, for the ExternalSecret x.
func write(t *testing.T, o *Output, data map[string][]byte) error {
	t.Helper()
	id := ID{APIVersion: "v1", Kind: kindSecret, Namespace: "default", Name: "x"}
	before, err := o.existing(&Manifests{}, id)
	if err != nil {
		return err
	}
	es := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "x"}}
	s := bare(id, data)
	s.Type = corev1.SecretTypeOpaque
	_, err = o.save(es, id, before, state{secret: s})
	return err
}

func TestAWriteThatFailsLeavesTheOldContent(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, FormatFiles)
	if err := write(t, o, map[string][]byte{"a": []byte("1"), "b": []byte("1"), "c": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	// A folder in the place of b makes the second of three writes fail.
	b := filepath.Join(dir, "default", "x", "b")
	if err := errors.Join(os.Remove(b), os.MkdirAll(filepath.Join(b, "z"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := write(t, o, map[string][]byte{"a": []byte("2"), "b": []byte("2"), "d": []byte("2")}); !errors.Is(err, secret.Conflict) {
		t.Fatalf("got %v", err)
	}
	for file, want := range map[string]string{"a": "2", "c": "1"} {
		if got, err := os.ReadFile(filepath.Join(dir, "default", "x", file)); string(got) != want || err != nil {
			t.Errorf("%s holds %q, %v; want %q", file, got, err, want)
		}
	}
	if err := os.RemoveAll(b); err != nil {
		t.Fatal(err)
	}
	// Another run goes on where this one was interrupted: it knows what was stale.
	if err := write(t, open(t, dir, FormatFiles), map[string][]byte{"a": []byte("2"), "d": []byte("2")}); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "default", "x", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "default/x/a"), filepath.Join(dir, "default/x/d")}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatAnInterruptedWriteLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, indexFolder, "tmp-X")
	if err := errors.Join(os.MkdirAll(filepath.Dir(left), 0o700), os.WriteFile(left, []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	open(t, dir, FormatSecret)
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestAnIndexThatCannotBeTrustedIsRefused(t *testing.T) {
	tests := map[string]string{
		"no JSON":                   "x",
		"of another target":         `{"apiVersion":"v1","kind":"Secret","namespace":"default","name":"y","format":"files","files":[]}`,
		"with a file elsewhere":     `{"apiVersion":"v1","kind":"Secret","namespace":"default","name":"x","format":"files","files":["../../etc/passwd"]}`,
		"with a path that is not":   `{"apiVersion":"v1","kind":"Secret","namespace":"default","name":"x","format":"files","files":["default//x"]}`,
		"with an absolute path":     `{"apiVersion":"v1","kind":"Secret","namespace":"default","name":"x","format":"files","files":["/etc/passwd"]}`,
		"with the index for a file": `{"apiVersion":"v1","kind":"Secret","namespace":"default","name":"x","format":"files","files":[".keyferry/default.x.json"]}`,
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, indexFolder, "default.x.json")
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(Options{Dir: dir, Format: FormatFiles}); !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), "default.x.json") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAFolderKeepsItsFormat(t *testing.T) {
	dir := t.TempDir()
	if err := write(t, open(t, dir, FormatSecret), map[string][]byte{"a": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if err := write(t, open(t, dir, FormatDotenv), map[string][]byte{"a": []byte("1")}); !errors.Is(err, secret.Conflict) {
		t.Errorf("got %v", err)
	}
}

func TestForeignFilesInTheWay(t *testing.T) {
	tests := map[string]struct {
		format        Format
		file, content string
	}{
		"a manifest of something else": {FormatSecret, "default.x.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: other, namespace: default}\n"},
		"no manifest":                  {FormatSecret, "default.x.yaml", "{CANARY"},
		"a Secret that is none":        {FormatSecret, "default.x.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: default}\ndata: [CANARY]\n"},
		"no KEY=value lines":           {FormatDotenv, "default/x.env", "CANARY CANARY"},
		"a file for the folder":        {FormatFiles, "default/x", "CANARY"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, test.file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(test.content), 0o600)); err != nil {
				t.Fatal(err)
			}
			err := write(t, open(t, dir, test.format), map[string][]byte{"a": []byte("1")})
			if !errors.Is(err, secret.Conflict) || !strings.Contains(err.Error(), test.file) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("got %v", err)
			}
			if got, err := os.ReadFile(file); string(got) != test.content || err != nil {
				t.Errorf("it was changed: %q, %v", got, err)
			}
		})
	}
}

func TestNoTwoTargetsShareAFile(t *testing.T) {
	ids := []ID{
		{"v1", "Secret", "a", "b"},
		{"v1", "ConfigMap", "a", "b"},
		{"v1", "Secret", "a", "b.configmap"},
		{"v1", "Secret", "a", "b.c"},
		{"x.io/v1", "ConfigMap", "a", "b"},
		{"x.io/v1", "Secret", "a", "b"},
		{"v1", "Secret", "b", "c"},
		{"v1", "Secret", "b", "a"},
	}
	for _, f := range []Format{FormatSecret, FormatFiles, FormatDotenv} {
		seen := map[string]ID{}
		for _, id := range ids {
			if f.takes(id) != nil {
				continue
			}
			if other, dup := seen[f.place(id)]; dup {
				t.Errorf("%s: %v and %v are both %s", f, id, other, f.place(id))
			}
			seen[f.place(id)] = id
		}
	}
}

func TestAKeyThatIsAPathIsRefused(t *testing.T) {
	for _, key := range []string{"a/b", "..", ".", `a\b`, "../x", ""} {
		dir := t.TempDir()
		if err := write(t, open(t, dir, FormatFiles), map[string][]byte{key: []byte("1")}); !errors.Is(err, secret.Invalid) {
			t.Errorf("%q: %v", key, err)
		}
		if names, err := os.ReadDir(dir); err != nil || slices.ContainsFunc(names, func(e os.DirEntry) bool { return e.Name() != indexFolder }) {
			t.Errorf("%q: something was written: %v, %v", key, names, err)
		}
	}
}

func TestFileErrors(t *testing.T) {
	tests := map[string]struct {
		err  error
		want secret.Kind
	}{
		"not permitted":            {&os.PathError{Err: os.ErrPermission}, secret.Denied},
		"not there":                {&os.PathError{Err: os.ErrNotExist}, secret.Invalid},
		"a link that cannot be":    {&os.LinkError{Err: os.ErrPermission}, secret.Denied},
		"no space":                 {&os.PathError{Err: errors.New("no space left on device")}, secret.Unavailable},
		"what has a kind keeps it": {refuse(secret.Conflict, "x"), secret.Conflict},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fileError("f", test.err); !errors.Is(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
