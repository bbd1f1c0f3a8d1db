package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cli"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/providers/fake"
	"github.com/keyferry/keyferry/secret"
)

// clock stands still: waits of up to a second are over at once, others never.
type clock struct{}

func (clock) Now() time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC) }

func (c clock) After(d time.Duration) <-chan time.Time {
	after := make(chan time.Time, 1)
	if d <= time.Second {
		after <- c.Now()
	}
	return after
}

// backend is a store whose secrets are the credential that opens it, and failures.
// Its manifest is that of a webhook: the key of the first secret is the credential.
type backend struct {
	opened, closed atomic.Int32
}

func (b *backend) provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.WebhookProvider]{
		Name: "webhook", Label: "test", Access: provider.ReadOnly,
		Open: func(ctx context.Context, spec *esv1.WebhookProvider, env provider.Env) (provider.Store, error) {
			s := &session{backend: b, values: map[string]secret.Value{}}
			for i, ref := range spec.Secrets {
				v, err := env.Credential(ctx, provider.CredentialRef{
					Name: ref.SecretRef.Name, Namespace: ref.SecretRef.Namespace, Key: ref.SecretRef.Key,
					Field: fmt.Sprintf("spec.provider.webhook.secrets[%d].secretRef", i),
				})
				if err != nil {
					return nil, err
				}
				s.values[ref.Name] = v
			}
			if ca := spec.CAProvider; ca != nil {
				v, err := env.Credential(ctx, provider.CredentialRef{
					Kind: string(ca.Type), Name: ca.Name, Namespace: ca.Namespace, Key: ca.Key, Field: "spec.provider.webhook.caProvider",
				})
				if err != nil {
					return nil, err
				}
				s.values["ca"] = v
			}
			if spec.Method == "TOKEN" {
				_, err := env.Token(ctx, provider.TokenRequest{ServiceAccount: "a", Audiences: []string{"b"}, Field: "spec.provider.webhook.auth"})
				return nil, err
			}
			b.opened.Add(1)
			return s, nil
		},
	})
}

type session struct {
	backend *backend
	values  map[string]secret.Value
}

func (s *session) Close() error {
	s.backend.closed.Add(1)
	return nil
}

func (s *session) Get(_ context.Context, ref secret.Ref) (secret.Secret, error) {
	if v, ok := s.values[ref.Key]; ok {
		return secret.Secret{Value: v}, nil
	}
	kind := secret.NotFound
	if name, ok := strings.CutPrefix(ref.Key, "fail/"); ok {
		kind = secret.Kind(name)
	}
	return secret.Secret{}, &secret.Error{Kind: kind, Op: "read", Provider: "webhook", Ref: ref}
}

// streams are what a command reads and writes.
type streams struct {
	stdin          string
	stdout, stderr io.Writer
}

// command runs keyferry with a backend of its own.
type command struct {
	backend backend
}

func (c *command) execute(ctx context.Context, t *testing.T, s streams, args ...string) int {
	t.Helper()
	registry, err := provider.NewRegistry(fake.Provider(), c.backend.provider())
	if err != nil {
		t.Fatal(err)
	}
	root := cli.New(cli.Build{Version: "1.2.3", Registry: registry, Clock: clock{}})
	root.SetArgs(args)
	root.SetIn(strings.NewReader(s.stdin))
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	return cli.Run(ctx, root)
}

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

func keyferry(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := new(command).execute(t.Context(), t, streams{stdin, &stdout, &stderr}, args...)
	return result{stdout.String(), stderr.String(), code}
}

// background runs a command until it is stopped, and hands out its lines.
type background struct {
	t     *testing.T
	lines chan string
	stop  context.CancelCauseFunc
	code  chan int
}

func (c *command) start(t *testing.T, args ...string) *background {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	b := &background{t: t, lines: make(chan string, 100), stop: stop, code: make(chan int, 1)}
	r, w := io.Pipe()
	go func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			b.lines <- s.Text()
		}
		close(b.lines)
	}()
	go func() {
		b.code <- c.execute(ctx, t, streams{"", w, w}, args...)
		w.Close()
	}()
	t.Cleanup(func() { stop(errors.New("the test is over")) })
	return b
}

// await returns the next line that holds text.
func (b *background) await(text string) string {
	b.t.Helper()
	var seen []string
	for line := range b.lines {
		if strings.Contains(line, text) {
			return line
		}
		seen = append(seen, line)
	}
	b.t.Fatalf("ended without a line that holds %q; it said:\n%s", text, strings.Join(seen, "\n"))
	return ""
}

// end stops the command and returns its exit code.
func (b *background) end(cause error) int {
	b.stop(cause)
	return <-b.code
}

// put writes a file as editors do: beside, then renamed.
func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"~", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// files returns the paths of the files below a folder, but for the index.
func files(t *testing.T, dir string) []string {
	t.Helper()
	out := []string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Name() == ".keyferry" {
			return filepath.SkipDir
		}
		if !e.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fakeStore is a manifest of a fake store "s" with keys and values.
func fakeStore(keysAndValues ...string) string {
	var b strings.Builder
	b.WriteString("apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: s}\nspec:\n  provider:\n    fake:\n      data:\n")
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		fmt.Fprintf(&b, "      - {key: %q, value: %q}\n", keysAndValues[i], keysAndValues[i+1])
	}
	if len(keysAndValues) == 0 {
		b.WriteString("        []\n")
	}
	return b.String() + "---\n"
}

// external is a manifest of an ExternalSecret; more is the rest of its spec.
func external(name, more string) string {
	return "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: '" + name + "'}\nspec:\n" +
		"  secretStoreRef: {name: s}\n" + strings.TrimPrefix(more, "\n") + "\n---\n"
}

// data is the data of a spec: "target=remote" pairs.
func data(pairs ...string) string {
	var b strings.Builder
	b.WriteString("  data:\n")
	for _, p := range pairs {
		to, from, _ := strings.Cut(p, "=")
		fmt.Fprintf(&b, "  - {secretKey: %s, remoteRef: {key: %s}}\n", to, from)
	}
	return b.String()
}
