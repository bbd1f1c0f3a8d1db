package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// machine makes values for tests.
type machine struct {
	err  error
	wait time.Duration
	// logsIn is true if it asks for a token of service account sa.
	logsIn    bool
	runs      int
	namespace string
}

func (m *machine) run(ctx context.Context, env provider.Env) error {
	m.runs++
	m.namespace = provider.ConsumerOf(env).Namespace
	if m.logsIn {
		if _, err := env.Token(ctx, provider.TokenRequest{ServiceAccount: "sa", Audiences: []string{"a"}, Field: "spec.auth"}); err != nil {
			return err
		}
	}
	select {
	case <-time.After(m.wait):
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func machines(t *testing.T) generator.Registry {
	t.Helper()
	r, err := generator.NewRegistry(generator.Define(generator.Definition[machine]{
		Kind: "Machine",
		Generate: func(ctx context.Context, m *machine, env provider.Env) (generator.Output, error) {
			return generator.Output{Values: map[string]secret.Value{"v": secret.FromString("x")}}, m.run(ctx, env)
		},
		Renew: func(ctx context.Context, m *machine, env provider.Env, _ json.RawMessage) (generator.Life, error) {
			return generator.Life{Renewable: true}, m.run(ctx, env)
		},
		Cleanup: func(ctx context.Context, m *machine, env provider.Env, _ json.RawMessage) error {
			return m.run(ctx, env)
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// runGenerator makes each call of a generator once.
func runGenerator(t *testing.T, g store.Generator, want secret.Kind) {
	t.Helper()
	p := newPool(t, &cluster{}, func(cfg *store.Config) { cfg.Generators = machines(t) })
	out, err := p.Generate(t.Context(), g)
	if secret.KindOf(err) != want || err == nil && len(out.Values) != 1 {
		t.Errorf("generate: %v, %v", secret.Keys(out.Values), err)
	}
	if life, err := p.Renew(t.Context(), g, nil); secret.KindOf(err) != want || err == nil && !life.Renewable {
		t.Errorf("renew: %v, %v", life, err)
	}
	if err := p.Cleanup(t.Context(), g, json.RawMessage(`{"id":"1"}`)); secret.KindOf(err) != want {
		t.Errorf("cleanup: %v", err)
	}
}

func TestGenerators(t *testing.T) {
	cases := map[string]struct {
		spec machine
		kind string
		want secret.Kind
	}{
		"works":              {machine{}, "Machine", ""},
		"is unknown":         {machine{}, "Other", secret.Unsupported},
		"fails as it says":   {machine{err: problem(secret.Denied, "make", secret.Ref{}, errors.New("no"))}, "Machine", secret.Denied},
		"fails anyhow":       {machine{err: errors.New("defect")}, "Machine", secret.Internal},
		"does not end":       {machine{wait: time.Hour}, "Machine", secret.Unavailable},
		"is refused":         {machine{logsIn: true, err: secret.Unauthenticated}, "Machine", secret.Unauthenticated},
		"logs in, and works": {machine{logsIn: true}, "Machine", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				runGenerator(t, store.Generator{Kind: c.kind, Spec: &c.spec, Namespace: "own", Name: "g"}, c.want)
				if c.kind == "Machine" && (c.spec.runs != 3 || c.spec.namespace != "own") {
					t.Errorf("%d runs, for namespace %q", c.spec.runs, c.spec.namespace)
				}
			})
		})
	}
}

func TestAGeneratorThatIsRefusedAsksForANewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		p := newPool(t, c, func(cfg *store.Config) { cfg.Generators = machines(t) })
		g := store.Generator{Kind: "Machine", Spec: &machine{logsIn: true, err: secret.Unauthenticated}, Namespace: "own"}
		for range 2 {
			if _, err := p.Generate(t.Context(), g); !errors.Is(err, secret.Unauthenticated) {
				t.Error(err)
			}
		}
		if got := c.tokens(); got != 2 {
			t.Errorf("%d tokens", got)
		}
	})
}

func TestGeneratorsWaitForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, &cluster{}, func(cfg *store.Config) { cfg.Generators, cfg.Concurrency = machines(t), 1 })
		go func() {
			_, _ = p.Generate(context.WithoutCancel(t.Context()), store.Generator{Kind: "Machine", Spec: &machine{wait: 10 * time.Second}})
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Generate(ctx, store.Generator{Kind: "Machine", Spec: &machine{}}); !errors.Is(err, secret.Unavailable) {
			t.Errorf("who gave up waiting got %v", err)
		}
		if _, err := p.Generate(t.Context(), store.Generator{Kind: "Machine", Spec: &machine{}}); err != nil {
			t.Error(err)
		}
	})
}

// consuming is what a store of a spec that is open for each consumer learns.
type consuming struct{ got *[]provider.Consumer }

func (consuming) PerConsumer() bool { return true }

func TestAStorePerConsumerKnowsItsConsumer(t *testing.T) {
	registry, err := provider.NewRegistry(provider.Define(provider.Definition[consuming]{
		Name: "x",
		Open: func(_ context.Context, s *consuming, env provider.Env) (provider.Store, error) {
			*s.got = append(*s.got, provider.ConsumerOf(env))
			return &pointed{}, nil
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(t, &cluster{}, func(cfg *store.Config) { cfg.Registry = registry })
	var got []provider.Consumer
	place := store.Place{Kind: store.KindClusterSecretStore, Name: "c", UID: "1", Provider: "x", Spec: &consuming{&got}}
	for _, tenant := range []string{"one", "two", "one"} {
		place.Tenant = tenant
		p.Read(t.Context(), place, keys("a"), time.Now())
	}
	want := []provider.Consumer{{Namespace: "one", StoreKind: "ClusterSecretStore", StoreName: "c"}, {Namespace: "two", StoreKind: "ClusterSecretStore", StoreName: "c"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAGeneratorEndsWithThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, &cluster{}, func(cfg *store.Config) { cfg.Generators = machines(t) })
		ended := make(chan error)
		go func() {
			_, err := p.Generate(context.WithoutCancel(t.Context()), store.Generator{Kind: "Machine", Spec: &machine{wait: time.Hour}})
			ended <- err
		}()
		synctest.Wait()
		began := time.Now()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; secret.KindOf(err) != secret.Unavailable || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
