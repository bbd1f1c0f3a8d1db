package providertest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	memoryPage  = 7
	memoryBatch = 5
)

// backend is a secret store in memory that can do everything.
type backend struct {
	reached chan struct{}
	over    chan struct{}

	mu      sync.Mutex
	entries map[string]*entry
}

type entry struct {
	versions [][]byte
	tags     map[string]string
	deleted  bool
}

func newBackend(t T) *backend {
	b := &backend{reached: make(chan struct{}, 1), over: make(chan struct{}), entries: map[string]*entry{}}
	t.Cleanup(func() { close(b.over) })
	return b
}

func (b *backend) seed(_ T, entries ...Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		have := b.entries[e.Key]
		if have == nil {
			have = &entry{}
			b.entries[e.Key] = have
		}
		have.versions, have.tags = append(have.versions, bytes.Clone(e.Value)), maps.Clone(e.Tags)
	}
}

func (b *backend) remove(_ T, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries[key].deleted = true
}

func (b *backend) foreign(t T, key string, value []byte) {
	b.seed(t, Entry{Key: key, Value: value, Tags: map[string]string{provider.Mark: "somebody"}})
}

func (b *backend) held(_ T, key string) (value []byte, writes int, exists bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[key]
	if !e.there() {
		return nil, 0, false
	}
	return e.versions[len(e.versions)-1], len(e.versions), true
}

func (e *entry) there() bool { return e != nil && !e.deleted && len(e.versions) > 0 }

// memory is a store on a backend, as good as they get.
type memory struct {
	b         *backend
	env       provider.Env
	situation Situation

	mu     sync.Mutex
	closed bool
}

func (s *memory) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *memory) fail(kind secret.Kind, op string, ref secret.Ref, format string, args ...any) error {
	return &secret.Error{Kind: kind, Op: op, Provider: "memory", Ref: ref, Err: fmt.Errorf(format, args...)}
}

// enter is what every call begins with.
func (s *memory) enter(ctx context.Context, op string, ref secret.Ref) (err error) {
	defer func() { s.env.Observe(op, err) }()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return s.fail(secret.Internal, op, ref, "the store is closed")
	}
	if s.situation == Hanging {
		select {
		case s.b.reached <- struct{}{}:
		default:
		}
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return s.fail(secret.Unavailable, op, ref, "%w", err)
	}
	if _, err := s.env.Credential(ctx, provider.CredentialRef{Name: "login", Key: "password", Field: "spec.login"}); err != nil {
		return err
	}
	switch s.situation {
	case BadCredential:
		return s.fail(secret.Unauthenticated, op, ref, "the password is wrong")
	case Underprivileged:
		return s.fail(secret.Denied, op, ref, "you may not")
	case Throttled:
		return &secret.Error{Kind: secret.RateLimited, Op: op, Provider: "memory", Ref: ref, RetryAfter: 7 * time.Second, Err: errors.New("slow down")}
	case Down:
		return s.fail(secret.Unavailable, op, ref, "out of order")
	}
	return nil
}

func (s *memory) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	if err := s.enter(ctx, "read", ref); err != nil {
		return secret.Secret{}, err
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	e := s.b.entries[ref.Key]
	if e == nil || e.deleted {
		return secret.Secret{}, s.fail(secret.NotFound, "read", ref, "nothing is there")
	}
	if ref.Metadata {
		doc, err := json.Marshal(e.tags)
		return secret.Secret{Value: secret.New(doc)}, err
	}
	n := len(e.versions)
	if ref.Version != "" {
		n, _ = strconv.Atoi(ref.Version)
	}
	if n < 1 || n > len(e.versions) {
		return secret.Secret{}, s.fail(secret.NotFound, "read", ref, "no such version")
	}
	return secret.Secret{Value: secret.New(e.versions[n-1]), Version: secret.Version(strconv.Itoa(n))}, nil
}

func (s *memory) GetBatch(ctx context.Context, refs []secret.Ref) ([]secret.Result, error) {
	if err := s.enter(ctx, "batch", secret.Ref{}); err != nil {
		return nil, err
	}
	results := make([]secret.Result, len(refs))
	for i, ref := range refs {
		results[i].Secret, results[i].Err = s.Get(ctx, ref)
	}
	return results, nil
}

func (s *memory) Check(ctx context.Context) error {
	if err := s.enter(ctx, "check", secret.Ref{}); secret.KindOf(err) != secret.Denied {
		return err
	}
	return nil
}

func (s *memory) List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		for page := 0; ; page++ {
			keys, more, err := s.page(ctx, q, page)
			if err != nil {
				yield(secret.Item{}, err)
				return
			}
			for _, key := range keys {
				if !yield(secret.Item{Ref: secret.Ref{Key: key}}, nil) {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

func (s *memory) page(ctx context.Context, q secret.Query, page int) (keys []string, more bool, err error) {
	if err := s.enter(ctx, "list", secret.Ref{Key: q.Path}); err != nil {
		return nil, false, err
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for key, e := range s.b.entries {
		if !e.deleted && (q.Path == "" || strings.HasPrefix(key, strings.TrimSuffix(q.Path, "/")+"/")) && contains(e.tags, q.Tags) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	keys = keys[min(page*memoryPage, len(keys)):]
	return keys[:min(memoryPage, len(keys))], len(keys) > memoryPage, nil
}

// note is the metadata that a memory knows.
type note struct{ Note string }

// moment is what tells two states of a key apart.
type moment struct {
	versions int
	there    bool
}

func (e *entry) moment() moment {
	if e == nil {
		return moment{}
	}
	return moment{len(e.versions), e.there()}
}

func (e *entry) version() secret.Version { return secret.Version(strconv.Itoa(len(e.versions))) }

func (s *memory) Inspect(ctx context.Context, ref secret.Ref, _ provider.PutOptions) (provider.Holding, error) {
	if err := s.enter(ctx, "inspect", ref); err != nil {
		return provider.Holding{}, err
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	e := s.b.entries[ref.Key]
	held := provider.Holding{Exists: e.there(), State: e.moment()}
	if held.Exists {
		held.Secret = secret.Secret{Value: secret.New(e.versions[len(e.versions)-1]), Version: e.version()}
	}
	return held, nil
}

// mayChange is called with the backend locked.
func (s *memory) mayChange(op string, ref secret.Ref, owner string, held *provider.Holding) error {
	e := s.b.entries[ref.Key]
	switch {
	case e.there() && e.tags[provider.Mark] != owner:
		return s.fail(secret.Conflict, op, ref, "it belongs to somebody else")
	case held != nil && held.State != e.moment():
		return s.fail(secret.Conflict, op, ref, "somebody else wrote first")
	}
	return nil
}

func (s *memory) Put(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	if err := s.enter(ctx, "write", ref); err != nil {
		return provider.Receipt{}, err
	}
	if _, err := provider.DecodeMetadata[note](o.Metadata); err != nil {
		return provider.Receipt{}, err
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if err := s.mayChange("write", ref, o.Owner, o.If); err != nil {
		return provider.Receipt{}, err
	}
	e := s.b.entries[ref.Key]
	if e.there() && secret.New(e.versions[len(e.versions)-1]).Same(content.Whole()) {
		return provider.Receipt{Version: e.version()}, nil
	}
	if e == nil {
		e = &entry{}
		s.b.entries[ref.Key] = e
	}
	if !e.there() {
		e.tags = map[string]string{provider.Mark: o.Owner}
	}
	e.versions, e.deleted = append(e.versions, content.Whole().Reveal()), false
	return provider.Receipt{Version: e.version(), Written: true}, nil
}

func (s *memory) Delete(ctx context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	if err := s.enter(ctx, "delete", ref); err != nil {
		return err
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	e := s.b.entries[ref.Key]
	if !e.there() {
		return nil
	}
	if err := s.mayChange("delete", ref, o.Owner, o.If); err != nil {
		return err
	}
	e.deleted = true
	return nil
}

func contains(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// harness is that of a backend whose stores pass through wrap.
func (b *backend) harness(t T, wrap func(*memory) provider.Store) Harness {
	env := NewEnv(t)
	env.Put("Secret", Namespace, "login", map[string]string{"password": "open sesame 4711"})
	return Harness{
		Env: env,
		Open: func(_ context.Context, s Situation) (provider.Store, error) {
			return wrap(&memory{b: b, env: env, situation: s}), nil
		},
		Seed: b.seed, Delete: b.remove, Foreign: b.foreign, Held: b.held,
		Abilities: []Ability{
			Reader, Batcher, Lister, Checker, Versions, Metadata, Paths, Tags,
			Writer, Deleter, CompareAndSet, Marks, MarksRequired,
		},
		Page:       memoryPage,
		Batch:      memoryBatch,
		Reached:    b.reached,
		RetryAfter: 7 * time.Second,
	}
}

func asIs(s *memory) provider.Store { return s }

// byKey sorts results by the key of their refs: a defect.
func byKey(refs []secret.Ref) []secret.Ref {
	return slices.SortedFunc(slices.Values(refs), func(a, b secret.Ref) int { return cmp.Compare(a.Key, b.Key) })
}
