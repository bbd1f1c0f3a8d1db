package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/internal/cli"
)

func TestWatchFollowsTheFiles(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	manifest := filepath.Join(in, "m", "a.yaml")
	key := filepath.Join(out, "default", "x", "a")
	put(t, manifest, fakeStore("a", "1")+external("x", data("a=a")))
	c := new(command)
	run := c.start(t, "sync", "-f", in, "--out", out, "--format", "files", "--watch")
	expect := func(line, want string) {
		t.Helper()
		run.await(line)
		if got := get(t, key); got != want {
			t.Fatalf("after %q the file holds %q, want %q", line, got, want)
		}
	}
	expect("created Secret default/x (added a)", "1")

	put(t, manifest, fakeStore("a", "2")+external("x", data("a=a")))
	expect("updated Secret default/x (changed a)", "2")

	put(t, manifest, fakeStore("a", "3")+external("x", "  dota: []"))
	expect(`what was read before stays in use: Invalid: `, "2")

	put(t, manifest, fakeStore("b", "3")+external("x", data("a=a")))
	expect("ExternalSecret default/x: NotFound: ", "2")

	put(t, manifest, fakeStore("a", "4")+external("x", data("a=a")))
	expect("updated Secret default/x (changed a)", "4")

	put(t, filepath.Join(in, "m", "new", "b.yaml"), external("y", data("a=a")+"  target: {creationPolicy: Orphan}"))
	run.await("created Secret default/y")

	if err := os.Remove(filepath.Join(in, "m", "new", "b.yaml")); err != nil {
		t.Fatal(err)
	}
	put(t, manifest, fakeStore("a", "4"))
	run.await("deleted Secret default/x (removed a)")
	if diff := cmp.Diff([]string{"default/y/a"}, files(t, out)); diff != "" {
		t.Errorf("an owned target goes with its ExternalSecret, another stays (-want +got):\n%s", diff)
	}
	if code := run.end(cli.Terminated); code != 0 {
		t.Errorf("terminated: exit code %d", code)
	}
}

func TestWatchFollowsCredentialsAndTemplates(t *testing.T) {
	in, out, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	token := filepath.Join(elsewhere, "token")
	key := filepath.Join(out, "default", "x", "k")
	config := func(text string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: '" + text + "'}\n"
	}
	put(t, token, "one\n")
	put(t, filepath.Join(in, "c.yaml"), config("{{ .a }}"))
	put(t, filepath.Join(in, "a.yaml"), webhookStore("SecretStore", "default", "      secrets: [{name: a, secretRef: {name: v, key: k}}]\n")+
		external("x", data("a=a")+"  target: {template: {templateFrom: [{configMap: {name: c, items: [{key: k}]}}]}}"))
	c := new(command)
	run := c.start(t, "sync", "-f", in, "--out", out, "--format", "files", "--watch", "--credential", "v/k=file:"+token)
	run.await("created Secret default/x")
	for _, change := range []struct {
		file, content, want string
	}{
		{token, "two\r\n", "two"},
		{filepath.Join(in, "c.yaml"), config("<{{ .a }}>"), "<two>"},
		{token, "three\n\n", "<three\n>"},
	} {
		put(t, change.file, change.content)
		run.await("updated Secret default/x (changed k)")
		if got := get(t, key); got != change.want {
			t.Fatalf("after a change of %s the file holds %q, want %q", change.file, got, change.want)
		}
	}
	if code := run.end(cli.Interrupted); code != 130 {
		t.Errorf("interrupted: exit code %d", code)
	}
	if opened, closed := c.backend.opened.Load(), c.backend.closed.Load(); opened != 3 || closed != opened {
		t.Errorf("%d stores were opened and %d closed; want one for each credential, all closed", opened, closed)
	}
}
