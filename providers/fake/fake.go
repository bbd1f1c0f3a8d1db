package fake

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	name = "fake"
	root = "spec.provider.fake."
)

var (
	errClosed   = errors.New("the store is closed")
	errAbsent   = errors.New("spec.provider.fake.data has no such key, and none was written")
	errVersion  = errors.New("spec.provider.fake.data has the key, but not in this version")
	errMetadata = errors.New("a fake store keeps no metadata: remove metadataPolicy")
	errTags     = errors.New("a fake store keeps no tags: remove find.tags")
	errUnknown  = errors.New("spec.provider.fake.validationResult asks for an unknown result")
	errResult   = errors.New("spec.provider.fake.validationResult asks for an error")
	errOutdated = errors.New("it was written to since it was looked at")
)

// Provider returns the fake provider. Its stores are a provider.Batcher,
// provider.Lister, provider.Checker, provider.Writer and provider.Deleter. Of a key
// without a version in the manifest every read is current; of a key with versions
// alone, the last one is. What is written is current and has no version.
func Provider() provider.Provider {
	return provider.Define(provider.Definition[esv1.FakeProvider]{
		Name: name, Label: "Fake", Access: provider.ReadWrite, Validate: validate, Open: open,
	})
}

func validate(spec *esv1.FakeProvider) error {
	for i, d := range spec.Data {
		if d.Key == "" {
			return fail(secret.Invalid, "open", secret.Ref{}, fmt.Errorf("%sdata[%d].key is empty", root, i))
		}
	}
	if r := spec.ValidationResult; r != nil && *r > esv1.ValidationResultError {
		return fail(secret.Invalid, "open", secret.Ref{}, fmt.Errorf("%svalidationResult is %d: it must be 0, 1 or 2", root, *r))
	}
	return nil
}

type store struct {
	result esv1.ValidationResult
	closed atomic.Bool

	mu sync.RWMutex
	// entries are by key and version; current is by key.
	entries map[address]secret.Secret
	current map[string]secret.Secret
	// changes counts what was done to a key since the store was opened.
	changes map[string]int
}

type address struct{ key, version string }

var (
	_ provider.Reader  = (*store)(nil)
	_ provider.Batcher = (*store)(nil)
	_ provider.Lister  = (*store)(nil)
	_ provider.Checker = (*store)(nil)
	_ provider.Writer  = (*store)(nil)
	_ provider.Deleter = (*store)(nil)
)

func open(_ context.Context, spec *esv1.FakeProvider, _ provider.Env) (provider.Store, error) {
	s := &store{entries: map[address]secret.Secret{}, current: map[string]secret.Secret{}, changes: map[string]int{}}
	for _, d := range spec.Data {
		entry := secret.Secret{Value: secret.FromString(d.Value), Version: secret.Version(d.Version)}
		s.entries[address{d.Key, d.Version}] = entry
		s.current[d.Key] = entry
	}
	for key := range s.current {
		if entry, ok := s.entries[address{key, ""}]; ok {
			s.current[key] = entry
		}
	}
	if spec.ValidationResult != nil {
		s.result = *spec.ValidationResult
	}
	return s, nil
}

// Close ends the store; later calls fail with Unavailable.
func (s *store) Close() error {
	s.closed.Store(true)
	return nil
}

// enter is what every call begins with.
func (s *store) enter(ctx context.Context, op string, ref secret.Ref) error {
	if s.closed.Load() {
		return fail(secret.Unavailable, op, ref, errClosed)
	}
	if err := ctx.Err(); err != nil {
		return fail(secret.Unavailable, op, ref, err)
	}
	return nil
}

// Get implements provider.Reader.
func (s *store) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	if err := s.enter(ctx, "read", ref); err != nil {
		return secret.Secret{}, err
	}
	return s.get(ref)
}

func (s *store) get(ref secret.Ref) (secret.Secret, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	got, ok := s.current[ref.Key]
	switch {
	case ref.Metadata:
		return secret.Secret{}, fail(secret.Unsupported, "read", ref, errMetadata)
	case !ok:
		return secret.Secret{}, fail(secret.NotFound, "read", ref, errAbsent)
	case ref.Version == "":
		return got, nil
	}
	if got, ok = s.entries[address{ref.Key, ref.Version}]; !ok {
		return secret.Secret{}, fail(secret.NotFound, "read", ref, errVersion)
	}
	return got, nil
}

// GetBatch implements provider.Batcher.
func (s *store) GetBatch(ctx context.Context, refs []secret.Ref) ([]secret.Result, error) {
	if err := s.enter(ctx, "read", secret.Ref{}); err != nil {
		return nil, err
	}
	results := make([]secret.Result, len(refs))
	for i, ref := range refs {
		results[i].Secret, results[i].Err = s.get(ref)
	}
	return results, nil
}

// List implements provider.Lister. A path is a folder: "db" holds "db/user" and not
// "dbs/user". Keys come in order, with their current value.
func (s *store) List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		if len(q.Tags) > 0 {
			yield(secret.Item{}, fail(secret.Unsupported, "list", secret.Ref{}, errTags))
			return
		}
		folder := ""
		if path := strings.TrimSuffix(q.Path, "/"); path != "" {
			folder = path + "/"
		}
		if err := s.enter(ctx, "list", secret.Ref{}); err != nil {
			yield(secret.Item{}, err)
			return
		}
		s.mu.RLock()
		current := maps.Clone(s.current)
		s.mu.RUnlock()
		keys := slices.DeleteFunc(secret.Keys(current), func(key string) bool { return !strings.HasPrefix(key, folder) })
		for _, key := range keys {
			value := current[key]
			if !yield(secret.Item{Ref: secret.Ref{Key: key}, Secret: &value}, nil) {
				return
			}
		}
	}
}

// Check implements provider.Checker with the result that the manifest asks for:
// Unsupported for unknown, Invalid for an error.
func (s *store) Check(ctx context.Context) error {
	if err := s.enter(ctx, "check", secret.Ref{}); err != nil {
		return err
	}
	switch s.result {
	case esv1.ValidationResultUnknown:
		return fail(secret.Unsupported, "check", secret.Ref{}, errUnknown)
	case esv1.ValidationResultError:
		return fail(secret.Invalid, "check", secret.Ref{}, errResult)
	}
	return nil
}

func fail(kind secret.Kind, op string, ref secret.Ref, err error) error {
	return &secret.Error{Kind: kind, Op: op, Provider: name, Ref: ref, Err: err}
}
