package cli_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/internal/cli"
)

func TestQuickstart(t *testing.T) {
	got := keyferry(t, "", "sync", "-f", "../../examples/quickstart", "--stdout", "--format", "dotenv")
	want := result{stdout: "DATABASE_URL=postgres://shop:horse%26battery%3Dstaple@db.example.com:5432/shop\nSESSION_KEY=3f8d0c6b5a914e7d8c2f\n"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFormats(t *testing.T) {
	manifests := fakeStore("a", "1", "b", "it's $5") + external("app", data("A=a", "B=b"))
	tests := map[string]struct {
		format string
		want   map[string]string
	}{
		"secret is a manifest with its keys in order": {"secret", map[string]string{"default.app.yaml": `apiVersion: v1
data:
  A: MQ==
  B: aXQncyAkNQ==
kind: Secret
metadata:
  labels:
    reconcile.external-secrets.io/created-by: 6d9b2ad6e4b5a6e6c1a7b4b2a1b4
    reconcile.external-secrets.io/managed: "true"
  name: app
  namespace: default
type: Opaque
`}},
		"files is one file for each key": {"files", map[string]string{"default/app/A": "1", "default/app/B": "it's $5"}},
		"dotenv is quoted for the shell": {"dotenv", map[string]string{"default/app.env": "A=1\nB=\"it's \\$5\"\n"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if got := keyferry(t, manifests, "sync", "-f", "-", "--out", dir, "--format", test.format); got.code != 0 {
				t.Fatalf("%+v", got)
			}
			got := map[string]string{}
			for _, f := range files(t, dir) {
				got[f] = get(t, filepath.Join(dir, f))
				info, err := os.Lstat(filepath.Join(dir, f))
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: mode %v, %v", f, info.Mode(), err)
				}
				folder, err := os.Lstat(filepath.Dir(filepath.Join(dir, f)))
				if err != nil || filepath.Dir(f) != "." && folder.Mode().Perm() != 0o700 {
					t.Errorf("%s: its folder has mode %v, %v", f, folder.Mode(), err)
				}
			}
			for f := range got { // the digest of the owner is plan's
				got[f] = replaceAfter(got[f], "created-by: ", test.want[f])
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// replaceAfter makes the word after a marker in s what it is in like.
func replaceAfter(s, marker, like string) string {
	_, after, ok := strings.Cut(s, marker)
	_, wanted, both := strings.Cut(like, marker)
	if !ok || !both {
		return s
	}
	word, _, _ := strings.Cut(after, "\n")
	want, _, _ := strings.Cut(wanted, "\n")
	return strings.Replace(s, word, want, 1)
}

// steps run one after the other on one folder, each with its own manifests.
type step struct {
	manifests string
	args      []string
	code      int
	want      map[string]string // files; nil is not looked at
	says      string
}

func TestPolicies(t *testing.T) {
	one, two := fakeStore("a", "1"), fakeStore("a", "1", "b", "2")
	find := "  dataFrom: [{find: {name: {regexp: .}}}]\n"
	tests := map[string]struct {
		before map[string]string // files that are there
		steps  []step
	}{
		"a key that is no longer wanted goes, and a file of somebody else stays": {
			before: map[string]string{"default/x/theirs": "t"},
			steps: []step{
				{manifests: two + external("x", data("a=a", "b=b")), want: map[string]string{"default/x/a": "1", "default/x/b": "2", "default/x/theirs": "t"}},
				{manifests: two + external("x", data("b=b")), want: map[string]string{"default/x/b": "2", "default/x/theirs": "t"}, says: "removed a"},
			},
		},
		"deletionPolicy Delete removes the files": {steps: []step{
			{manifests: one + external("x", find+"  target: {deletionPolicy: Delete}"), want: map[string]string{"default/x/a": "1"}},
			{manifests: fakeStore() + external("x", find+"  target: {deletionPolicy: Delete}"), want: map[string]string{}, says: "deleted Secret default/x (removed a)"},
		}},
		"deletionPolicy Retain keeps the files": {steps: []step{
			{manifests: one + external("x", find), want: map[string]string{"default/x/a": "1"}},
			{manifests: fakeStore() + external("x", find), want: map[string]string{"default/x/a": "1"}, says: "retained"},
		}},
		"deletionPolicy Merge removes the keys": {steps: []step{
			{manifests: two + external("x", find+"  target: {deletionPolicy: Merge}")},
			{manifests: one + external("x", find+"  target: {deletionPolicy: Merge}"), want: map[string]string{"default/x/a": "1"}},
		}},
		"creationPolicy Merge does not create": {steps: []step{
			{manifests: one + external("x", find+"  target: {creationPolicy: Merge}"), want: map[string]string{}, says: "will not be created"},
		}},
		"creationPolicy Merge keeps what others have, and removes what was its own": {
			before: map[string]string{"default/x/theirs": "t"},
			steps: []step{
				{manifests: two + external("x", find+"  target: {creationPolicy: Merge}"), want: map[string]string{"default/x/a": "1", "default/x/b": "2", "default/x/theirs": "t"}},
				{manifests: one + external("x", find+"  target: {creationPolicy: Merge}"), want: map[string]string{"default/x/a": "1", "default/x/theirs": "t"}},
			},
		},
		"creationPolicy CreateOrMerge creates": {steps: []step{
			{manifests: one + external("x", find+"  target: {creationPolicy: CreateOrMerge}"), want: map[string]string{"default/x/a": "1"}},
		}},
		"creationPolicy Merge begins with the Secret of the manifests": {steps: []step{
			{
				manifests: one + external("x", find+"  target: {creationPolicy: Merge}") + "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {base: c}\n",
				want:      map[string]string{"default/x/a": "1", "default/x/base": "c"},
			},
		}},
		"creationPolicy None writes nothing": {steps: []step{
			{manifests: one + external("x", find+"  target: {creationPolicy: None}"), want: map[string]string{}},
		}},
		"two that merge into one target share it": {steps: []step{
			{
				manifests: two + external("x", data("a=a")+"  target: {name: t, creationPolicy: CreateOrMerge}") + external("y", data("b=b")+"  target: {name: t, creationPolicy: CreateOrMerge}"),
				want:      map[string]string{"default/t/a": "1", "default/t/b": "2"},
			},
			{
				manifests: two + external("x", data("c=a")+"  target: {name: t, creationPolicy: CreateOrMerge}") + external("y", data("b=b")+"  target: {name: t, creationPolicy: CreateOrMerge}"),
				want:      map[string]string{"default/t/b": "2", "default/t/c": "1"},
			},
		}},
		"two that own one target conflict": {steps: []step{
			{
				manifests: two + external("x", data("a=a")+"  target: {name: t}") + external("y", data("b=b")+"  target: {name: t}"),
				code:      6, want: map[string]string{"default/t/a": "1"}, says: "is owned by another ExternalSecret, x",
			},
		}},
		"a target that is renamed takes its files along": {steps: []step{
			{manifests: one + external("x", data("a=a")), want: map[string]string{"default/x/a": "1"}},
			{manifests: one + external("x", data("a=a")+"  target: {name: 'y'}"), want: map[string]string{"default/y/a": "1"}, says: "deleted Secret default/x"},
		}},
		"an orphan that is renamed leaves its files": {steps: []step{
			{manifests: one + external("x", data("a=a")+"  target: {creationPolicy: Orphan}")},
			{manifests: one + external("x", data("a=a")+"  target: {name: 'y', creationPolicy: Orphan}"), want: map[string]string{"default/x/a": "1", "default/y/a": "1"}},
		}},
		"an immutable target stays what it was": {steps: []step{
			{manifests: one + external("x", data("a=a")+"  target: {immutable: true}")},
			{manifests: fakeStore("a", "9") + external("x", data("a=a")+"  target: {immutable: true}"), want: map[string]string{"default/x/a": "1"}},
			{manifests: fakeStore("a", "9") + external("x", data("a=a")), code: 2, want: map[string]string{"default/x/a": "1"}, says: "is immutable"},
		}},
		"refreshPolicy CreatedOnce keeps what it created": {steps: []step{
			{manifests: one + external("x", data("a=a")+"  refreshPolicy: CreatedOnce")},
			{manifests: fakeStore("a", "9") + external("x", data("a=a")+"  refreshPolicy: CreatedOnce"), want: map[string]string{"default/x/a": "1"}, says: "kept"},
		}},
		"a failure keeps the files": {steps: []step{
			{manifests: one + external("x", data("a=a"))},
			{manifests: fakeStore() + external("x", data("a=a")), code: 4, want: map[string]string{"default/x/a": "1"}, says: "NotFound: "},
		}},
		"templates come from the manifests": {steps: []step{
			{manifests: one + external("x", data("a=a")+"  target: {template: {templateFrom: [{configMap: {name: c, items: [{key: k}]}}]}}") +
				"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: 'v={{ .a }}'}\n", want: map[string]string{"default/x/k": "v=1"}},
		}},
		"privileged types are refused": {steps: []step{
			{manifests: one + external("x", data("a=a")+"  target: {template: {type: bootstrap.kubernetes.io/token}}"), code: 5, want: map[string]string{}},
		}},
		"a target that is no Secret has no files": {steps: []step{
			{manifests: one + external("x", data("a=a")+"  target: {manifest: {apiVersion: v1, kind: ConfigMap}}"), code: 2, want: map[string]string{}, says: "use --format secret"},
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, content := range test.before {
				put(t, filepath.Join(dir, f), content)
			}
			for i, s := range test.steps {
				got := keyferry(t, s.manifests, append([]string{"sync", "-f", "-", "--out", dir, "--format", "files"}, s.args...)...)
				if got.code != s.code || !strings.Contains(got.stderr, s.says) || got.stdout != "" {
					t.Fatalf("step %d: %+v", i, got)
				}
				if s.want == nil {
					continue
				}
				held := map[string]string{}
				for _, f := range files(t, dir) {
					held[f] = get(t, filepath.Join(dir, f))
				}
				if diff := cmp.Diff(s.want, held); diff != "" {
					t.Fatalf("step %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestGenericTargets(t *testing.T) {
	manifests := fakeStore("a", "1", "b", "2") + external("x", data("a=a")+"  target: {manifest: {apiVersion: v1, kind: ConfigMap}}")
	dir := t.TempDir()
	for i, m := range []string{manifests, manifests, strings.Replace(manifests, "secretKey: a", "secretKey: z", 1)} {
		if got := keyferry(t, m, "sync", "-f", "-", "--out", dir); got.code != 0 {
			t.Fatalf("%d: %+v", i, got)
		}
	}
	got := get(t, filepath.Join(dir, "default.x_configmap.yaml"))
	if !strings.Contains(got, "kind: ConfigMap") || !strings.Contains(got, "  z: \"1\"") || strings.Contains(got, "  a: ") {
		t.Errorf("got:\n%s", got)
	}
}

func TestUnchangedFilesAreNotTouched(t *testing.T) {
	for _, format := range []string{"secret", "files", "dotenv"} {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			manifests := fakeStore("a", "1", "b", "2") + external("x", data("A=a", "B=b"))
			stamp := func() map[string]os.FileInfo {
				out := map[string]os.FileInfo{}
				_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, _ error) error {
					info, err := os.Lstat(path)
					if err != nil {
						t.Fatal(err)
					}
					if !e.IsDir() {
						out[path] = info
					}
					return nil
				})
				return out
			}
			same := cmp.Comparer(func(a, b os.FileInfo) bool { return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) })
			keyferry(t, manifests, "sync", "-f", "-", "--out", dir, "--format", format)
			before := stamp()
			got := keyferry(t, manifests, "sync", "-f", "-", "--out", dir, "--format", format)
			if got.code != 0 || !strings.Contains(got.stderr, "unchanged: secret synced") {
				t.Errorf("%+v", got)
			}
			if len(before) < 2 { // a file and its index
				t.Fatalf("only %v", before)
			}
			if diff := cmp.Diff(before, stamp(), same); diff != "" {
				t.Errorf("(-before +after):\n%s", diff)
			}
		})
	}
}

func TestDryRun(t *testing.T) {
	dir := t.TempDir()
	args := []string{"sync", "-f", "-", "--out", dir, "--format", "files"}
	keyferry(t, fakeStore("a", "1", "b", "2")+external("x", data("a=a", "b=b")), args...)
	next := fakeStore("a", "9", "b", "2", "c", "3") +
		external("x", data("a=a", "c=c")) +
		external("y", data("c=c")+"  target: {creationPolicy: CreateOrMerge}") +
		external("z", data("a=a")+"  target: {name: 'y', creationPolicy: CreateOrMerge}")
	got := keyferry(t, next, append(args, "--dry-run")...)
	want := result{stdout: `ExternalSecret default/x: would update Secret default/x (added c; changed a; removed b)
ExternalSecret default/y: would create Secret default/y (added c)
ExternalSecret default/z: would update Secret default/y (added a)
3 to change, 0 unchanged, 0 failed
`}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"default/x/a", "default/x/b"}, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	fresh := filepath.Join(dir, "none")
	if got := keyferry(t, next, "sync", "-f", "-", "--out", fresh, "--dry-run"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if _, err := os.Lstat(fresh); !os.IsNotExist(err) {
		t.Errorf("the folder was made: %v", err)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	manifests := fakeStore("a", "1") + external("x", data("a=a"))
	tests := map[string]struct {
		link, format string
	}{
		"a key":      {"default/x/a", "files"},
		"a folder":   {"default/x", "files"},
		"a manifest": {"default.x.yaml", "secret"},
		"the index":  {".keyferry", "secret"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir, elsewhere := t.TempDir(), t.TempDir()
			put(t, filepath.Join(elsewhere, "f"), "theirs")
			link := filepath.Join(dir, test.link)
			if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
				t.Fatal(err)
			}
			target := elsewhere
			if test.link == "default/x/a" || test.link == "default.x.yaml" {
				target = filepath.Join(elsewhere, "f")
			}
			if err := os.Symlink(target, link); err != nil {
				t.Fatal(err)
			}
			got := keyferry(t, manifests, "sync", "-f", "-", "--out", dir, "--format", test.format)
			if got.code != 6 || !strings.Contains(got.stderr, "links are not followed") {
				t.Errorf("%+v", got)
			}
			if diff := cmp.Diff([]string{"f"}, files(t, elsewhere)); diff != "" || get(t, filepath.Join(elsewhere, "f")) != "theirs" {
				t.Errorf("a link was followed: %s", diff)
			}
		})
	}
}

func TestKeysThatAFormatCannotWrite(t *testing.T) {
	tests := map[string]struct{ format, key, value string }{
		"a name of no variable":             {"dotenv", "a.b", "1"},
		"a value that no variable can hold": {"dotenv", "a", "x\x00y"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			value := base64.StdEncoding.EncodeToString([]byte(test.value))
			manifests := fakeStore("k", value) + external("x", "  data: [{secretKey: "+test.key+", remoteRef: {key: k, decodingStrategy: Base64}}]")
			got := keyferry(t, manifests, "sync", "-f", "-", "--out", t.TempDir(), "--format", test.format)
			if got.code != 2 || !strings.Contains(got.stderr, `"`+test.key+`"`) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	store := webhookStore("SecretStore", "default", "")
	kinds := map[string]int{
		"NotFound": 4, "Unauthenticated": 5, "Denied": 5, "Invalid": 2, "Unsupported": 2,
		"Conflict": 6, "RateLimited": 7, "Unavailable": 7, "Internal": 1,
	}
	for kind, code := range kinds {
		t.Run(kind, func(t *testing.T) {
			got := keyferry(t, store+external("x", data("a=fail/"+kind)), "sync", "-f", "-", "--stdout")
			if got.code != code || !strings.HasPrefix(got.stderr, "ExternalSecret default/x: "+kind+": ") || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("want %d: %+v", code, got)
			}
		})
	}
	t.Run("the first that fails counts, and all are tried", func(t *testing.T) {
		manifests := fakeStore("a", "1") + external("w", data("a=a")) + external("x", data("a=none")) +
			external("y", data("a=a")+"  target: {template: {type: bootstrap.kubernetes.io/token}}") + external("z", data("a=a"))
		dir := t.TempDir()
		got := keyferry(t, manifests, "sync", "-f", "-", "--out", dir, "--format", "files", "--quiet")
		if got.code != 4 || strings.Count(got.stderr, "\n") != 2 {
			t.Errorf("%+v", got)
		}
		if diff := cmp.Diff([]string{"default/w/a", "default/z/a"}, files(t, dir)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	for cause, code := range map[cli.Signal]int{cli.Interrupted: 130, cli.Terminated: 143} {
		t.Run(string(cause), func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			var out bytes.Buffer
			got := new(command).execute(ctx, t, streams{fakeStore("a", "1") + external("x", data("a=a")), &out, &out}, "sync", "-f", "-", "--out", t.TempDir())
			if got != code || !strings.Contains(out.String(), string(cause)+" after 0 of 1") {
				t.Errorf("code %d, output %q", got, out.String())
			}
		})
	}
}

func TestMisuse(t *testing.T) {
	dir := t.TempDir()
	ok := fakeStore("a", "1") + external("x", data("a=a"))
	tests := map[string]struct {
		args  []string
		stdin string
		says  string
	}{
		"a command that is not there":      {[]string{"sing"}, "", `no command "sing": did you mean sync?`},
		"no manifests":                     {[]string{"sync", "--stdout"}, "", "-f PATH"},
		"nowhere to write":                 {[]string{"sync", "-f", "-"}, ok, "--out DIR for files, or --stdout"},
		"an argument":                      {[]string{"sync", "x.yaml"}, "", "-f x.yaml"},
		"an unknown flag":                  {[]string{"sync", "--outt"}, "", "keyferry sync --help"},
		"both places":                      {[]string{"sync", "-f", "-", "--stdout", "--out", dir}, ok, "leave one out"},
		"--stdout with --watch":            {[]string{"sync", "-f", "x", "--stdout", "--watch"}, "", "--out DIR with --watch"},
		"--stdout with --format files":     {[]string{"sync", "-f", "-", "--stdout", "--format", "files"}, ok, "one file for each key"},
		"--watch of standard input":        {[]string{"sync", "-f", "-", "--out", dir, "--watch"}, ok, "cannot be watched"},
		"--watch with --dry-run":           {[]string{"sync", "-f", "x", "--out", dir, "--watch", "--dry-run"}, "", "leave out --watch"},
		"a format that is not there":       {[]string{"sync", "-f", "-", "--stdout", "--format", "json"}, ok, "secret, files or dotenv"},
		"--only of nothing":                {[]string{"sync", "-f", "-", "--stdout", "--only", "y"}, ok, "there are default/x"},
		"no ExternalSecret":                {[]string{"sync", "-f", "-", "--stdout"}, fakeStore(), "no ExternalSecret"},
		"a file that is not there":         {[]string{"sync", "-f", "nope.yaml", "--stdout"}, "", "nope.yaml: no such file"},
		"a credential on the command line": {[]string{"sync", "-f", "-", "--stdout", "--credential", "n/k=v"}, ok, "not from the command line"},
		"a credential without a key":       {[]string{"sync", "-f", "-", "--stdout", "--credential", "n=env:V"}, ok, "NAME/KEY=env:VARIABLE"},
		"a variable that is not set":       {[]string{"sync", "-f", "-", "--stdout", "--credential", "n/k=env:KEYFERRY_NOT_SET"}, ok, "KEYFERRY_NOT_SET is not set"},
		"an output among the input":        {[]string{"sync", "-f", dir, "--out", filepath.Join(dir, "a", "b")}, "", "name a folder elsewhere"},
		"an unknown field":                 {[]string{"sync", "-f", "-", "--stdout"}, fakeStore() + external("x", "  dat: []"), `standard input:9: ExternalSecret x: unknown field "spec.dat"`},
		"an unknown field of a provider":   {[]string{"sync", "-f", "-", "--stdout"}, strings.Replace(ok, "fake:\n      data:", "fake:\n      dota:", 1), `SecretStore s: spec.provider.fake: unknown field "dota"`},
		"an object that is there twice":    {[]string{"sync", "-f", "-", "--stdout"}, ok + external("x", data("a=a")), "already defined at standard input:"},
		"a store that is not there":        {[]string{"sync", "-f", "-", "--stdout"}, external("x", data("a=a")), `SecretStore "s" is not in the manifests`},
		"a provider that is not there":     {[]string{"sync", "-f", "-", "--stdout"}, strings.Replace(ok, "fake:", "gcpsm:", 1), "spec.provider.gcpsm is not a provider of this build"},
		"a name that is a path":            {[]string{"sync", "-f", "-", "--stdout"}, fakeStore() + external("../x", data("a=a")), "metadata.name"},
		"a target that is a path":          {[]string{"sync", "-f", "-", "--stdout"}, ok + external("y", data("a=a")+"  target: {name: ../../y}"), "spec.target.name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := keyferry(t, test.stdin, test.args...)
			if got.code != 2 || !strings.Contains(got.stderr, test.says) || strings.Count(got.stderr, "\n") != 1 || got.stdout != "" {
				t.Errorf("want %q: %+v", test.says, got)
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	if got := keyferry(t, "", "version"); got.stdout != "keyferry 1.2.3\n" || got.code != 0 {
		t.Errorf("%+v", got)
	}
	if got := keyferry(t, ""); !strings.Contains(got.stdout, "sync") || got.code != 0 {
		t.Errorf("%+v", got)
	}
}

func TestIgnoredKindsAreNamedOnce(t *testing.T) {
	other := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\n"
	got := keyferry(t, other+other+fakeStore("a", "1")+external("x", data("a=a")), "sync", "-f", "-", "--out", t.TempDir())
	if got.code != 0 || strings.Count(got.stderr, "ignored: Deployment (apps/v1)") != 1 {
		t.Errorf("%+v", got)
	}
}

func TestOnly(t *testing.T) {
	in := func(ns string) string {
		return strings.ReplaceAll(fakeStore("a", "1")+external("x", data("a=a"))+external("y", data("a=a")), "metadata: {", "metadata: {namespace: "+ns+", ")
	}
	tests := map[string]struct {
		only, want []string
	}{
		"a name is that of every namespace": {[]string{"x"}, []string{"one/x/a", "two/x/a"}},
		"a namespace and a name is one":     {[]string{"two/x"}, []string{"two/x/a"}},
		"several add up":                    {[]string{"two/x", "y"}, []string{"one/y/a", "two/x/a", "two/y/a"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			args := []string{"sync", "-f", "-", "--out", dir, "--format", "files"}
			for _, o := range test.only {
				args = append(args, "--only", o)
			}
			if got := keyferry(t, in("one")+in("two"), args...); got.code != 0 {
				t.Fatalf("%+v", got)
			}
			if diff := cmp.Diff(test.want, files(t, dir)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
