package integration

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// steered is the provider part of a store that reads from the test's backend.
const steered = `{vault: {server: "https://backend.test"}}`

// backend is what the stores of a test read from. It stands where vault would; a
// store's path is put before its keys.
type backend struct {
	mu     sync.Mutex
	data   map[string]string
	faults map[string]error // by key; "" is every call
	token  string           // the one it takes; empty takes any

	opened, checked int
	reads           map[string]int
	// versions counts the writes of a key, foreign are those of another owner.
	versions map[string]int
	foreign  map[string]bool
}

func newBackend() *backend {
	return &backend{data: map[string]string{}, faults: map[string]error{}, reads: map[string]int{}, versions: map[string]int{}, foreign: map[string]bool{}}
}

func (b *backend) set(key, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data[key] = value
}

func (b *backend) remove(keys ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range keys {
		delete(b.data, k)
	}
}

// fail makes every read of key fail with kind, or succeed again if kind is empty. An
// empty key is every call.
func (b *backend) fail(key string, kind secret.Kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if kind == "" {
		delete(b.faults, key)
		return
	}
	b.faults[key] = &secret.Error{Kind: kind, Op: "read", Provider: "vault", Err: errors.New("as the test wants it")}
}

// accept makes token the only one that is taken.
func (b *backend) accept(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.token = token
}

// dbReads is how often key db was read.
func (b *backend) dbReads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads["db"]
}

func (b *backend) checks() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.checked
}

func (b *backend) opens() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

func (b *backend) provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.VaultProvider]{
		Name: "vault", Label: "Test", Access: provider.ReadWrite, Validate: validateSteered,
		Open: func(ctx context.Context, spec *esv1.VaultProvider, env provider.Env) (provider.Store, error) {
			b.mu.Lock()
			b.opened++
			b.mu.Unlock()
			s := &session{backend: b}
			if spec.Path != nil {
				s.prefix = *spec.Path + "/"
			}
			if spec.Auth == nil || spec.Auth.TokenSecretRef == nil {
				return s, nil
			}
			ref := spec.Auth.TokenSecretRef
			token, err := env.Credential(ctx, provider.CredentialRef{
				Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: "spec.provider.vault.auth.tokenSecretRef",
			})
			s.token = string(token.Reveal())
			return s, err
		},
	})
}

func validateSteered(spec *esv1.VaultProvider) error {
	if !strings.HasPrefix(spec.Server, "https://") {
		return &secret.Error{Kind: secret.Invalid, Op: "open", Provider: "vault", Err: errors.New("spec.provider.vault.server: must begin with https://")}
	}
	return nil
}

// session is an open store of a backend.
type session struct {
	*backend
	prefix, token string
}

var (
	_ provider.Reader  = (*session)(nil)
	_ provider.Lister  = (*session)(nil)
	_ provider.Checker = (*session)(nil)
)

func (s *session) Close() error { return nil }

// enter is what every call begins with.
func (s *session) enter() error {
	if err := s.faults[""]; err != nil {
		return err
	}
	if s.backend.token != "" && s.backend.token != s.token {
		return &secret.Error{Kind: secret.Unauthenticated, Op: "login", Provider: "vault", Err: errors.New("the token is not the one")}
	}
	return nil
}

func (s *session) Get(_ context.Context, ref secret.Ref) (secret.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.prefix + ref.Key
	s.reads[key]++
	if err := s.enter(); err != nil {
		return secret.Secret{}, err
	}
	if err := s.faults[key]; err != nil {
		return secret.Secret{}, err
	}
	value, ok := s.data[key]
	if !ok {
		return secret.Secret{}, &secret.Error{Kind: secret.NotFound, Op: "read", Provider: "vault", Ref: ref, Err: errors.New("no such key")}
	}
	return secret.Secret{Value: secret.FromString(value)}, nil
}

func (s *session) List(_ context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		s.mu.Lock()
		err, data := s.enter(), maps.Clone(s.data)
		s.mu.Unlock()
		if err != nil {
			yield(secret.Item{}, err)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(data)) {
			found := secret.Secret{Value: secret.FromString(data[key])}
			name, mine := strings.CutPrefix(key, s.prefix)
			if mine && strings.HasPrefix(name, q.Path) && !yield(secret.Item{Ref: secret.Ref{Key: name}, Secret: &found}, nil) {
				return
			}
		}
	}
}

func (s *session) Check(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked++
	return s.enter()
}
