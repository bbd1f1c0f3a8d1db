package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// bubbleClock is the clock of a synctest bubble.
type bubbleClock struct{}

func (bubbleClock) Now() time.Time                         { return time.Now() }
func (bubbleClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// backend is a secret backend in memory that counts what is asked of it and fails,
// lingers and refuses on demand.
type backend struct {
	mu       sync.Mutex
	values   map[string]string
	password string // if set, the only credential that is accepted
	fault    error  // of every call
	openFail error
	faults   map[string]error // of single keys
	hold     chan struct{}    // calls wait until it is closed
	noCheck  bool
	inline   bool // listing carries the values
	short    bool // batches answer too little

	opens, closes, gets, batches, lists, checks int
	running, peak, afterClose, twice            int
}

// set changes the behaviour while calls may run.
func (b *backend) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// calls is how often the backend was asked for something.
func (b *backend) calls() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gets + b.batches + b.lists + b.checks
}

func (b *backend) counts(count *int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *count
}

// selector has the shape of the API's selectors.
type selector struct {
	Kind      string
	Name      string
	Namespace *string
}

type spec struct {
	Back  *backend
	Auth  *selector
	Key   string
	Label string
	Asks  []string // audiences, if Auth is a ServiceAccount
	Batch bool
	Bare  bool
}

func testProvider() provider.Provider {
	return provider.Define(provider.Definition[spec]{
		Name: "test", Label: "Test", Access: provider.ReadOnly, Open: open,
		Validate: func(s *spec) error {
			if s.Back == nil {
				return &secret.Error{Kind: secret.Invalid, Op: "open", Provider: "test", Err: errors.New("spec.provider.test.back is missing")}
			}
			return nil
		},
	})
}

func open(ctx context.Context, s *spec, env provider.Env) (provider.Store, error) {
	b := s.Back
	b.set(func() { b.opens++ })
	b.mu.Lock()
	hold, fail := b.hold, b.openFail
	b.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, problem(secret.Unavailable, "open", secret.Ref{}, ctx.Err())
		}
	}
	if fail != nil {
		return nil, fail
	}
	session := &session{b: b, env: env}
	if s.Auth != nil {
		var err error
		if session.credential, err = authenticate(ctx, s, env); err != nil {
			return nil, err
		}
	}
	switch {
	case s.Bare:
		return bare{session}, nil
	case s.Batch:
		return batching{session}, nil
	}
	return session, nil
}

func authenticate(ctx context.Context, s *spec, env provider.Env) (secret.Value, error) {
	if s.Auth.Kind == "ServiceAccount" {
		return env.Token(ctx, provider.TokenRequest{Namespace: s.Auth.Namespace, ServiceAccount: s.Auth.Name, Audiences: s.Asks, Field: "spec.provider.test.auth"})
	}
	return env.Credential(ctx, provider.CredentialRef{Kind: s.Auth.Kind, Namespace: s.Auth.Namespace, Name: s.Auth.Name, Key: s.Key, Field: "spec.provider.test.auth", Label: s.Label})
}

func problem(kind secret.Kind, op string, ref secret.Ref, cause error) error {
	return &secret.Error{Kind: kind, Op: op, Provider: "test", Ref: ref, Err: cause}
}

// session is an open store: Reader, Lister and Checker.
type session struct {
	b          *backend
	env        provider.Env
	credential secret.Value
	closed     bool
}

// bare can do nothing.
type bare struct{ s *session }

func (b bare) Close() error {
	if b.s == nil {
		return nil
	}
	return b.s.Close()
}

type batching struct{ *session }

func (s *session) Close() error {
	s.b.set(func() {
		s.b.closes++
		if s.closed {
			s.b.twice++
		}
		s.closed = true
	})
	return errors.New("nobody minds that a session cannot be ended")
}

// enter counts a call, and waits and fails as the backend is told to.
func (s *session) enter(ctx context.Context, count *int, op string, ref secret.Ref) (leave func(), err error) {
	b := s.b
	b.mu.Lock()
	*count++
	b.running++
	b.peak = max(b.peak, b.running)
	if s.closed {
		b.afterClose++
	}
	hold := b.hold
	b.mu.Unlock()
	leave = func() { b.set(func() { b.running-- }) }
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return leave, problem(secret.Unavailable, op, ref, ctx.Err())
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.fault != nil:
		err = b.fault
		if e, ok := errors.AsType[*secret.Error](err); ok { // as backends do, say of what
			e := *e
			e.Op, e.Ref = op, ref
			err = &e
		}
	case b.password != "" && string(s.credential.Reveal()) != b.password:
		err = problem(secret.Unauthenticated, op, ref, errors.New("wrong password"))
	}
	return leave, err
}

func (s *session) Get(ctx context.Context, ref secret.Ref) (got secret.Secret, err error) {
	defer func() { s.env.Observe("Get", err) }()
	leave, err := s.enter(ctx, &s.b.gets, "read", ref)
	defer leave()
	if err != nil {
		return secret.Secret{}, err
	}
	return s.look(ref)
}

func (s *session) look(ref secret.Ref) (secret.Secret, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if err := s.b.faults[ref.Key]; err != nil {
		return secret.Secret{}, err
	}
	if ref.Key == "credential" {
		return secret.Secret{Value: s.credential}, nil
	}
	v, ok := s.b.values[ref.Key]
	if !ok {
		return secret.Secret{}, problem(secret.NotFound, "read", ref, errors.New("no such key"))
	}
	if fields, ok := strings.CutPrefix(v, "fields:"); ok {
		return secret.Secret{Fields: map[string]secret.Value{"a": secret.FromString(fields)}}, nil
	}
	return secret.Secret{Value: secret.FromString(v)}, nil
}

func (s batching) GetBatch(ctx context.Context, refs []secret.Ref) ([]secret.Result, error) {
	leave, err := s.enter(ctx, &s.b.batches, "read", secret.Ref{})
	defer leave()
	if err != nil {
		return nil, err
	}
	out := make([]secret.Result, len(refs))
	for i, ref := range refs {
		out[i].Secret, out[i].Err = s.look(ref)
	}
	if s.b.short {
		out = out[1:]
	}
	return out, nil
}

func (s *session) List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		leave, err := s.enter(ctx, &s.b.lists, "list", secret.Ref{})
		defer leave()
		s.b.mu.Lock()
		keys := secret.Keys(s.b.values)
		inline := s.b.inline
		s.b.mu.Unlock()
		keys = slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, q.Path) })
		for _, key := range keys {
			item := secret.Item{Ref: secret.Ref{Key: strings.TrimSuffix(key, " (gone)")}}
			if inline {
				got, _ := s.look(secret.Ref{Key: key})
				item.Secret = &got
			}
			if !yield(item, nil) {
				return
			}
		}
		if err != nil {
			yield(secret.Item{}, err)
		}
	}
}

func (s *session) Check(ctx context.Context) error {
	if s.b.noCheck {
		return problem(secret.Unsupported, "check", secret.Ref{}, errors.New("cannot tell"))
	}
	leave, err := s.enter(ctx, &s.b.checks, "check", secret.Ref{})
	defer leave()
	return err
}

// cluster is the surroundings: objects and service account tokens, from memory.
type cluster struct {
	mu      sync.Mutex
	objects map[string]store.Loaded // by "Kind/namespace/name"
	fail    error                   // of Load and Token
	life    time.Duration
	hold    chan struct{}
	loads   int
	issued  []store.Account
	trusted []bool
}

func (c *cluster) put(kind, ns, name, version string, data map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.objects == nil {
		c.objects = map[string]store.Loaded{}
	}
	l := store.Loaded{Data: map[string]secret.Value{}, Version: version, Labels: map[string]string{"in": ns}}
	for k, v := range data {
		l.Data[k] = secret.FromString(v)
	}
	c.objects[kind+"/"+ns+"/"+name] = l
}

func (c *cluster) Load(_ context.Context, kind, ns, name string) (store.Loaded, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loads++
	if c.fail != nil {
		return store.Loaded{}, c.fail
	}
	obj, ok := c.objects[kind+"/"+ns+"/"+name]
	if !ok {
		return store.Loaded{}, &secret.Error{Kind: secret.NotFound, Op: "read"}
	}
	return obj, nil
}

func (c *cluster) Token(ctx context.Context, a store.Account) (store.Issued, error) {
	c.mu.Lock()
	c.issued = append(c.issued, a)
	n, hold, fail, life := len(c.issued), c.hold, c.fail, c.life
	c.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return store.Issued{}, &secret.Error{Kind: secret.Unavailable, Op: "token", Err: ctx.Err()}
		}
	}
	if fail != nil {
		return store.Issued{}, fail
	}
	return store.Issued{Token: secret.FromString(fmt.Sprintf("ServiceAccount/%s/%s #%d", a.Namespace, a.Name, n)), Expires: time.Now().Add(life)}, nil
}

func (c *cluster) HTTP(_ provider.TLS, trusted bool) (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trusted = append(c.trusted, trusted)
	return &http.Client{}, nil
}

func (c *cluster) tokens() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.issued)
}

// newPool returns a pool on the bubble's clock; configure may change its
// configuration. It is closed, and waited for, at the end of the test.
func newPool(t *testing.T, c *cluster, configure func(*store.Config)) *store.Pool {
	t.Helper()
	registry, err := provider.NewRegistry(testProvider())
	if err != nil {
		t.Fatal(err)
	}
	cfg := store.Config{Registry: registry, Surroundings: c, Clock: bubbleClock{}}
	if configure != nil {
		configure(&cfg)
	}
	p := store.New(cfg)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// namespaced is a SecretStore in the namespace own.
func namespaced(s *spec) store.Place {
	return store.Place{Kind: store.KindSecretStore, Namespace: "own", Name: "s", UID: "uid-s", Generation: 1, Provider: "test", Spec: s}
}

// clusterWide is a ClusterSecretStore, seen from the namespace tenant.
func clusterWide(s *spec, tenant string) store.Place {
	return store.Place{Kind: store.KindClusterSecretStore, Name: "c", UID: "uid-c", Generation: 1, Provider: "test", Spec: s, Tenant: tenant}
}

func keys(names ...string) []secret.Ref {
	refs := make([]secret.Ref, len(names))
	for i, name := range names {
		refs[i].Key = name
	}
	return refs
}

// text is what an answer comes to, for comparing.
func text(a store.Answer) string {
	if a.Err != nil {
		return string(secret.KindOf(a.Err))
	}
	return string(a.Secret.Whole().Reveal())
}

func texts(answers []store.Answer) []string {
	out := make([]string, len(answers))
	for i, a := range answers {
		out[i] = text(a)
	}
	return out
}
