package fake

import (
	"context"
	"errors"
	"maps"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Inspect implements provider.Writer.
func (s *store) Inspect(ctx context.Context, ref secret.Ref, _ provider.PutOptions) (provider.Holding, error) {
	if err := s.enter(ctx, "write", ref); err != nil {
		return provider.Holding{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	current, ok := s.current[ref.Key]
	return provider.Holding{Exists: ok, Secret: current, State: s.changes[ref.Key]}, nil
}

// Put implements provider.Writer. There are no owners and no metadata.
func (s *store) Put(ctx context.Context, ref secret.Ref, content secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	if err := s.enter(ctx, "write", ref); err != nil {
		return provider.Receipt{}, err
	}
	if _, err := provider.DecodeMetadata[struct{}](o.Metadata); err != nil {
		if e, ok := errors.AsType[*secret.Error](err); ok {
			e.Provider, e.Ref = name, ref
		}
		return provider.Receipt{}, err
	}
	value, err := content.Text()
	if err != nil {
		return provider.Receipt{}, fail(secret.Invalid, "write", ref, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outdated(ref.Key, o.If) {
		return provider.Receipt{}, fail(secret.Conflict, "write", ref, errOutdated)
	}
	if current, ok := s.current[ref.Key]; ok && current.Value.Same(value) {
		return provider.Receipt{Version: current.Version}, nil
	}
	s.changes[ref.Key]++
	s.current[ref.Key] = secret.Secret{Value: value}
	s.entries[address{key: ref.Key}] = s.current[ref.Key]
	return provider.Receipt{Written: true}, nil
}

// Delete implements provider.Deleter. It removes every version, and what the manifest
// has of the key too.
func (s *store) Delete(ctx context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	if err := s.enter(ctx, "delete", ref); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.current[ref.Key]; !ok {
		return nil
	}
	if s.outdated(ref.Key, o.If) {
		return fail(secret.Conflict, "delete", ref, errOutdated)
	}
	s.changes[ref.Key]++
	delete(s.current, ref.Key)
	maps.DeleteFunc(s.entries, func(a address, _ secret.Secret) bool { return a.key == ref.Key })
	return nil
}

func (s *store) outdated(key string, held *provider.Holding) bool {
	return held != nil && held.State != s.changes[key]
}
