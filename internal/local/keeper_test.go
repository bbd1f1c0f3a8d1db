package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/local"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
	"github.com/keyferry/keyferry/template"
)

// bubbleClock is the time of a synctest bubble.
type bubbleClock struct{}

func (bubbleClock) Now() time.Time                         { return time.Now() }
func (bubbleClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// backend answers with a value, or fails with a kind.
type backend struct {
	calls atomic.Int32
	value atomic.Value // string
	kind  atomic.Value // secret.Kind; empty succeeds
}

func (b *backend) Close() error { return nil }

func (b *backend) Get(_ context.Context, ref secret.Ref) (secret.Secret, error) {
	b.calls.Add(1)
	if kind, _ := b.kind.Load().(secret.Kind); kind != "" {
		return secret.Secret{}, &secret.Error{Kind: kind, Op: "read", Provider: "fake", Ref: ref}
	}
	v, _ := b.value.Load().(string)
	return secret.Secret{Value: secret.FromString(v)}, nil
}

// world is a Keeper at work in a bubble.
type world struct {
	t       *testing.T
	backend *backend
	dir     string
	text    string
	changed chan struct{}
	results []local.Result
	trouble []error
}

func (w *world) load() (*local.Manifests, error) {
	return local.Load(local.Input{Paths: []string{"-"}, Stdin: strings.NewReader(w.text)})
}

// run starts a Keeper on a manifest, calls f beside it, and stops it.
func run(t *testing.T, text string, f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, backend: &backend{}, dir: t.TempDir(), text: text, changed: make(chan struct{}, 1)}
		w.backend.value.Store("1")
		registry, err := provider.NewRegistry(provider.Define(provider.Definition[esv1.FakeProvider]{
			Name: "fake", Open: func(context.Context, *esv1.FakeProvider, provider.Env) (provider.Store, error) { return w.backend, nil },
		}))
		templates, terr := template.New(template.Options{})
		output, oerr := local.Open(local.Options{Dir: w.dir, Format: local.FormatFiles})
		surroundings := local.NewSurroundings(nil, nil)
		pool := store.New(store.Config{Registry: registry, Surroundings: surroundings, Clock: bubbleClock{}})
		m, merr := w.load()
		if err := errors.Join(err, terr, oerr, merr); err != nil {
			t.Fatal(err)
		}
		k := local.Keeper{
			Engine: local.NewEngine(local.Config{Pool: pool, Templates: templates, Surroundings: surroundings, Output: output, Clock: bubbleClock{}}),
			Load:   w.load, Wanted: func(*esv1.ExternalSecret) bool { return true }, Changed: w.changed,
			Report:  func(r local.Result) { w.results = append(w.results, r) },
			Trouble: func(err error) { w.trouble = append(w.trouble, err) },
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { k.Run(ctx, m); close(done) }()
		synctest.Wait()
		f(w)
		cancel()
		<-done
		if err := errors.Join(pool.Close(), output.Close()); err != nil {
			t.Error(err)
		}
	})
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *world) edit(old, new string) {
	w.text = strings.Replace(w.text, old, new, 1)
	w.changed <- struct{}{}
	w.pass(time.Second)
}

// holds fails unless the key holds a value; empty is no file.
func (w *world) holds(want string) {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "default", "x", "k"))
	if string(b) != want || err != nil && !os.IsNotExist(err) {
		w.t.Fatalf("the file holds %q, %v; want %q", b, err, want)
	}
}

func manifest(more string) string {
	return `apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: s}
spec: {provider: {fake: {data: []}}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: x}
spec:
  secretStoreRef: {name: s}
  data: [{secretKey: k, remoteRef: {key: a}}]
` + more
}

func TestKeeperRefreshesWhenItIsDue(t *testing.T) {
	tests := map[string]struct {
		more          string
		after10, last string // what the file holds after ten minutes, and after two days
	}{
		"Periodic at its interval":                   {"  refreshInterval: 5m", "2", "2"},
		"Periodic once an hour if it does not say":   {"", "1", "2"},
		"Periodic with an interval of zero not":      {"  refreshInterval: 0s", "1", "1"},
		"OnChange not by itself":                     {"  refreshPolicy: OnChange\n  refreshInterval: 5m", "1", "1"},
		"CreatedOnce not":                            {"  refreshPolicy: CreatedOnce\n  refreshInterval: 5m", "1", "1"},
		"not while a window denies":                  {"  refreshInterval: 5m\n  syncWindows: {kind: deny, windows: [{schedule: '@every 24h', duration: 12h}]}", "1", "2"},
		"not at an interval that has not yet passed": {"  refreshInterval: 11m", "1", "2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			run(t, manifest(test.more), func(w *world) {
				w.holds("1")
				w.backend.value.Store("2")
				w.pass(10 * time.Minute)
				w.holds(test.after10)
				w.pass(48 * time.Hour)
				w.holds(test.last)
			})
		})
	}
}

func TestKeeperBacksOffAndKeepsTheFiles(t *testing.T) {
	tests := map[string]struct {
		kind     secret.Kind
		calls    int32         // at most, in ten minutes
		recovers time.Duration // at the latest after the store does
	}{
		"a store that does not answer":      {secret.Unavailable, 100, 60 * time.Second},
		"a credential that is refused":      {secret.Unauthenticated, 10, 10 * time.Minute},
		"a secret that is gone":             {secret.NotFound, 20, 5 * time.Minute},
		"a request that can never succeed":  {secret.Invalid, 1, 61 * time.Minute},
		"a store that asks for fewer calls": {secret.RateLimited, 20, 6 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			run(t, manifest("  refreshInterval: 1h"), func(w *world) {
				w.backend.value.Store("2")
				w.backend.kind.Store(test.kind)
				w.pass(time.Hour - time.Second)
				before := w.backend.calls.Load()
				w.pass(10 * time.Minute)
				if n := w.backend.calls.Load() - before; n > test.calls || n == 0 {
					t.Errorf("%d calls in ten minutes, want 1 to %d", n, test.calls)
				}
				w.holds("1")
				if n := len(w.results); n != 2 || !errors.Is(w.results[1].Err, test.kind) {
					t.Errorf("%d reports, want one of the creation and one of the failure: %v", n, w.results)
				}
				w.backend.kind.Store(secret.Kind(""))
				w.pass(test.recovers)
				w.holds("2")
			})
		})
	}
}

func TestKeeperFollowsManifests(t *testing.T) {
	run(t, manifest("  refreshInterval: 0s"), func(w *world) {
		w.backend.value.Store("2")
		w.edit("metadata: {name: x}", "metadata: {name: x, annotations: {external-secrets.io/force-sync: now}}")
		w.holds("2")
		calls := w.backend.calls.Load()
		w.edit("", "# a comment\n")
		if n := w.backend.calls.Load(); n != calls {
			t.Errorf("%d calls although nothing changed", n-calls)
		}
		w.edit("kind: SecretStore", "kind: SecretStores")
		if err := w.results[len(w.results)-1].Err; !errors.Is(err, secret.Invalid) {
			t.Errorf("the store is gone: %v", err)
		}
		w.holds("2")
		w.backend.value.Store("3")
		w.edit("kind: SecretStores", "kind: SecretStore")
		w.holds("3")
		w.edit("remoteRef", "remoteRaf")
		w.edit("{name: x,", "{name: x ,")
		if len(w.trouble) != 1 || !errors.Is(w.trouble[0], secret.Invalid) {
			t.Errorf("trouble that stays is told once: %v", w.trouble)
		}
		w.holds("3")
		w.edit("remoteRaf", "remoteRef")
		w.edit("kind: ExternalSecret\n", "kind: Other\n")
		w.holds("")
	})
}
