package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// breaker stops the calls to a store that refuses its credential, asks for fewer
// calls or does not answer. Until the first call has succeeded, and again after a
// failure, one call at a time goes through: the others wait for the first, or get
// the failure without a call.
type breaker struct {
	clock provider.Clock

	mu       sync.Mutex
	proven   bool
	failures int
	until    time.Time
	last     error
	probe    chan struct{} // closed when the running probe is over; nil if none runs
}

// pauses holds, for the kinds that concern the whole store, the first pause and the
// longest. An outage ends within half a minute of the backend's return.
func pauses(kind secret.Kind) (first, longest time.Duration) {
	switch kind {
	case secret.Unauthenticated:
		return time.Minute, 5 * time.Minute
	case secret.RateLimited:
		return 5 * time.Second, 5 * time.Minute
	case secret.Unavailable:
		return time.Second, 20 * time.Second
	}
	return 0, 0
}

// enter waits for leave to make a call and returns what to call with its outcome.
// It fails with the last failure while the store is left alone.
func (b *breaker) enter(ctx context.Context) (done func(error), err error) {
	for {
		b.mu.Lock()
		switch {
		case b.proven:
			b.mu.Unlock()
			return b.report, nil
		case b.probe == nil && !b.clock.Now().Before(b.until):
			probe := make(chan struct{})
			b.probe = probe
			b.mu.Unlock()
			return func(err error) { b.report(err); close(probe) }, nil
		case b.last != nil:
			err := b.refusal()
			b.mu.Unlock()
			return nil, err
		}
		probe := b.probe
		b.mu.Unlock()
		select {
		case <-probe:
		case <-ctx.Done():
			return nil, &secret.Error{Kind: secret.Unavailable, Op: "wait", Err: ctx.Err()}
		}
	}
}

// refusal repeats the last failure, and says when to come again.
func (b *breaker) refusal() error {
	wait := max(b.until.Sub(b.clock.Now()), time.Second)
	if e, ok := errors.AsType[*secret.Error](b.last); ok {
		again := *e
		again.RetryAfter = wait
		return &again
	}
	return &secret.Error{Kind: secret.KindOf(b.last), RetryAfter: wait, Err: b.last}
}

func (b *breaker) report(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probe = nil
	if errors.Is(err, context.Canceled) {
		return // whoever asked went away: it says nothing of the store
	}
	first, longest := pauses(secret.KindOf(err))
	if first == 0 {
		b.proven, b.failures, b.last, b.until = true, 0, nil, time.Time{}
		return
	}
	if b.last != nil && b.clock.Now().Before(b.until) {
		return // one of several that ran when the store failed
	}
	pause := min(first<<min(b.failures, 10), longest)
	pause += time.Duration(rand.Int64N(int64(pause)/5 + 1))
	pause = max(pause, secret.RetryAfterOf(err))
	b.proven, b.last = false, err
	b.failures++
	b.until = b.clock.Now().Add(pause)
}

// broken reports whether the last call failed.
func (b *breaker) broken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last != nil
}
