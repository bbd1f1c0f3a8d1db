package integration

import (
	"context"
	"errors"
	"strconv"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var (
	_ provider.Writer  = (*session)(nil)
	_ provider.Deleter = (*session)(nil)
)

// versionsOf is how often a key was written.
func (b *backend) versionsOf(key string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.versions[key]
}

// writes is how often anything was written.
func (b *backend) writes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, v := range b.versions {
		n += v
	}
	return n
}

// value returns what a key holds; false if it is not there.
func (b *backend) value(key string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.data[key]
	return v, ok
}

// give makes a key another owner's.
func (b *backend) give(key, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data[key], b.foreign[key] = value, true
}

func (s *session) Inspect(_ context.Context, ref secret.Ref, _ provider.PutOptions) (provider.Holding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.prefix + ref.Key
	s.reads[key]++
	if err := s.enter(); err != nil {
		return provider.Holding{}, err
	}
	value, ok := s.data[key]
	return provider.Holding{Exists: ok, Secret: secret.Secret{Value: secret.FromString(value), Version: secret.Version(strconv.Itoa(s.versions[key]))}}, nil
}

// change is what every write begins with.
func (s *session) change(ref secret.Ref, seen *provider.Holding) (key string, err error) {
	key = s.prefix + ref.Key
	if err := s.enter(); err != nil {
		return key, err
	}
	switch {
	case s.faults[key] != nil:
		return key, s.faults[key]
	case s.foreign[key]:
		return key, &secret.Error{Kind: secret.Conflict, Op: "write", Provider: "vault", Ref: ref, Err: errors.New("it has another owner")}
	case seen != nil && string(seen.Secret.Version) != strconv.Itoa(s.versions[key]):
		return key, &secret.Error{Kind: secret.Conflict, Op: "write", Provider: "vault", Ref: ref, Err: errors.New("it has another version")}
	}
	return key, nil
}

func (s *session) Put(_ context.Context, ref secret.Ref, value secret.Secret, o provider.PutOptions) (provider.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := s.change(ref, o.If)
	if err != nil {
		return provider.Receipt{}, err
	}
	text, err := value.Text()
	if err != nil {
		return provider.Receipt{}, err
	}
	held, ok := s.data[key]
	if ok && secret.FromString(held).Same(text) {
		return provider.Receipt{}, nil
	}
	s.data[key] = string(text.Reveal())
	s.versions[key]++
	return provider.Receipt{Written: true}, nil
}

func (s *session) Delete(_ context.Context, ref secret.Ref, o provider.DeleteOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := s.change(ref, o.If)
	if err != nil {
		return err
	}
	delete(s.data, key)
	return nil
}

// keys lists what is there.
func (b *backend) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return secret.Keys(b.data)
}

// appReads is how often key app was read.
func (b *backend) appReads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads["app"]
}
