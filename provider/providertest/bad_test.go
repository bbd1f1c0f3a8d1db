package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

// Each of the stores below is a good one with one defect.

// tampered passes every Get through a function.
type tampered struct {
	*memory
	get func(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error)
}

func (s tampered) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	return s.get(ctx, ref, s.memory)
}

func tamper(get func(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error)) func(*memory) provider.Store {
	return func(s *memory) provider.Store { return tampered{s, get} }
}

// reshaped passes every failure of Get through a function.
func reshaped(shape func(s *memory, ref secret.Ref, err error) error) func(*memory) provider.Store {
	return tamper(func(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
		got, err := s.Get(ctx, ref)
		if err != nil {
			err = shape(s, ref, err)
		}
		return got, err
	})
}

func instead(of, by secret.Kind) func(*memory) provider.Store {
	return reshaped(func(s *memory, ref secret.Ref, err error) error {
		if secret.KindOf(err) == of {
			return s.fail(by, "read", ref, "something")
		}
		return err
	})
}

// verbose shows its value in one format only.
type verbose struct{ value string }

func (verbose) Error() string      { return "something" }
func (v verbose) GoString() string { return v.value }

func countingTexts() func(*memory) provider.Store {
	var n atomic.Int64
	return reshaped(func(s *memory, ref secret.Ref, err error) error {
		return s.fail(secret.KindOf(err), "read", ref, "request %d", n.Add(1))
	})
}

// mixedUp keeps the key of the last call between two steps of another. A call waits
// for a second one, so that they meet if there is one: time is that of a bubble.
func mixedUp(s *memory) provider.Store {
	mixUp := suite.MixUp[secret.Ref]()
	return tampered{s, func(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
		return s.Get(ctx, mixUp(ref))
	}}
}

// throughFloats decodes and encodes JSON as programs do that do not think of it.
func throughFloats(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	got, err := s.Get(ctx, ref)
	var doc any
	if err == nil && json.Unmarshal(got.Value.Reveal(), &doc) == nil {
		b, _ := json.Marshal(doc)
		got.Value = secret.New(b)
	}
	return got, err
}

func trimmed(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	got, err := s.Get(ctx, ref)
	got.Value = secret.New(bytes.TrimSpace(got.Value.Reveal()))
	return got, err
}

func loggedGet(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	got, err := s.Get(ctx, ref)
	slog.Debug("read", "body", string(got.Value.Reveal()))
	return got, err
}

func observedGet(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	got, err := s.Get(ctx, ref)
	s.env.Observe("read", errors.New(string(got.Value.Reveal())))
	return got, err
}

func undead(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	s.b.mu.Lock()
	if e := s.b.entries[ref.Key]; e != nil {
		e.deleted = false
	}
	s.b.mu.Unlock()
	return s.Get(ctx, ref)
}

func unversioned(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	ref.Version = ""
	return s.Get(ctx, ref)
}

func valueForMetadata(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	ref.Metadata = false
	return s.Get(ctx, ref)
}

func uncancelled(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	if s.situation != Hanging {
		ctx = context.WithoutCancel(ctx)
	}
	return s.Get(ctx, ref)
}

// stuck hangs until the backend goes away.
func stuck(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	if s.situation == Hanging {
		s.b.reached <- struct{}{}
		<-s.b.over
	}
	return s.Get(ctx, ref)
}

func panicking(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		panic("closed")
	}
	return (&memory{b: s.b, env: s.env, situation: s.situation}).Get(ctx, ref)
}

// unclosable goes on after Close.
type unclosable struct{ *memory }

func (unclosable) Close() error { return nil }

// joined closes all stores with one.
func joined() func(*memory) provider.Store {
	var all []*memory
	return func(s *memory) provider.Store {
		all = append(all, s)
		return together{s, func() {
			for _, other := range all {
				_ = other.Close()
			}
		}}
	}
}

type together struct {
	*memory
	close func()
}

func (s together) Close() error {
	s.close()
	return nil
}

// shared hands out the map that it keeps.
func shared() func(*memory) provider.Store {
	kept := map[string]map[string]secret.Value{}
	var mu sync.Mutex
	return tamper(func(ctx context.Context, ref secret.Ref, s *memory) (secret.Secret, error) {
		got, err := s.Get(ctx, ref)
		if err != nil {
			return got, err
		}
		mu.Lock()
		defer mu.Unlock()
		if kept[ref.Key] == nil {
			kept[ref.Key] = map[string]secret.Value{"v": got.Value}
		}
		return secret.Secret{Fields: kept[ref.Key], Version: got.Version}, nil
	})
}

// batches passes every batch through a function.
type batches struct {
	*memory
	batch func(ctx context.Context, refs []secret.Ref, s *memory) ([]secret.Result, error)
}

func (s batches) GetBatch(ctx context.Context, refs []secret.Ref) ([]secret.Result, error) {
	return s.batch(ctx, refs, s.memory)
}

func badBatch(f func(ctx context.Context, refs []secret.Ref, s *memory) ([]secret.Result, error)) func(*memory) provider.Store {
	return func(s *memory) provider.Store { return batches{s, f} }
}

func sortedBatch(ctx context.Context, refs []secret.Ref, s *memory) ([]secret.Result, error) {
	return s.GetBatch(ctx, byKey(refs))
}

func allOrNothing(ctx context.Context, refs []secret.Ref, s *memory) ([]secret.Result, error) {
	results, err := s.GetBatch(ctx, refs)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	return results, err
}

func smallBatch(ctx context.Context, refs []secret.Ref, s *memory) ([]secret.Result, error) {
	if len(refs) > memoryBatch {
		return nil, s.fail(secret.Invalid, "batch", secret.Ref{}, "too many")
	}
	return s.GetBatch(ctx, refs)
}

// lists passes every listing through a function.
type lists struct {
	*memory
	list func(ctx context.Context, q secret.Query, s *memory) iter.Seq2[secret.Item, error]
}

func (s lists) List(ctx context.Context, q secret.Query) iter.Seq2[secret.Item, error] {
	return s.list(ctx, q, s.memory)
}

func badList(f func(ctx context.Context, q secret.Query, s *memory) iter.Seq2[secret.Item, error]) func(*memory) provider.Store {
	return func(s *memory) provider.Store { return lists{s, f} }
}

func firstPage(ctx context.Context, q secret.Query, s *memory) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		n := 0
		for item, err := range s.List(ctx, q) {
			if n++; n > memoryPage || !yield(item, err) {
				return
			}
		}
	}
}

func unstoppable(ctx context.Context, q secret.Query, s *memory) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		for item, err := range s.List(ctx, q) {
			yield(item, err)
		}
	}
}

func twice(ctx context.Context, q secret.Query, s *memory) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		for item, err := range s.List(ctx, q) {
			for range 2 {
				if !yield(item, err) {
					return
				}
			}
		}
	}
}

func untagged(ctx context.Context, q secret.Query, s *memory) iter.Seq2[secret.Item, error] {
	q.Tags = nil
	return s.List(ctx, q)
}

func unrooted(ctx context.Context, q secret.Query, s *memory) iter.Seq2[secret.Item, error] {
	q.Path = ""
	return s.List(ctx, q)
}

func silentlyEmpty(ctx context.Context, q secret.Query, s *memory) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		for item, err := range s.List(ctx, q) {
			if err != nil || !yield(item, nil) {
				return
			}
		}
	}
}

func listStub(_ context.Context, _ secret.Query, s *memory) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		yield(secret.Item{}, s.fail(secret.Unsupported, "list", secret.Ref{}, "not implemented"))
	}
}

// wrongItems carries the value of another secret.
func wrongItems(ctx context.Context, q secret.Query, s *memory) iter.Seq2[secret.Item, error] {
	return func(yield func(secret.Item, error) bool) {
		for item, err := range s.List(ctx, q) {
			item.Secret = &secret.Secret{Value: secret.FromString(fmt.Sprint("not that of ", item.Ref.Key))}
			if !yield(item, err) {
				return
			}
		}
	}
}

// checks passes every check through a function.
type badChecker struct {
	*memory
	check func(ctx context.Context, s *memory) error
}

func (s badChecker) Check(ctx context.Context) error { return s.check(ctx, s.memory) }

func badCheck(f func(ctx context.Context, s *memory) error) func(*memory) provider.Store {
	return func(s *memory) provider.Store { return badChecker{s, f} }
}

// readOnly hides what a memory can do beside Get.
type readOnly struct {
	provider.Store
	provider.Reader
}
