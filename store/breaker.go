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
// calls, does not answer or cannot be opened. Until the first call has shown that it
// works, and again after a failure, one call at a time goes through: the others wait
// for the first, or get the failure without a call.
type breaker struct {
	clock provider.Clock

	mu       sync.Mutex
	proven   bool
	failures int
	until    time.Time
	last     error         // a *secret.Error of the whole store; nil if the store works
	probe    chan struct{} // closed when the running probe is over; nil if none runs
}

// outcome is how a call ended. A failure of a store that could not be opened
// concerns every call.
type outcome struct {
	err    error
	opened bool
}

// says is what an outcome tells about the store as a whole.
type says int

const (
	nothing says = iota
	works
	fails
)

func (o outcome) says() says {
	kind := secret.KindOf(o.err)
	switch {
	case errors.Is(o.err, context.Canceled), errors.Is(o.err, ErrRetired):
		return nothing
	case !o.opened, kind == secret.Unauthenticated, kind == secret.RateLimited, kind == secret.Unavailable:
		return fails
	case kind == "", kind == secret.NotFound, kind == secret.Denied, kind == secret.Conflict:
		return works
	}
	// Invalid, Unsupported and Internal may come about without a call.
	return nothing
}

// pauses returns how long to leave a store alone that fails: at first, and at the
// longest. An outage ends within half a minute of the backend's return.
func pauses(kind secret.Kind) (first, longest time.Duration) {
	switch kind {
	case secret.RateLimited:
		return 5 * time.Second, 5 * time.Minute
	case secret.Unavailable:
		return time.Second, 20 * time.Second
	}
	return time.Minute, 5 * time.Minute
}

// enter waits for leave to make a call and returns what to call with its outcome,
// which tells whether the store has recovered by that call. Enter fails with the
// last failure while the store is left alone.
func (b *breaker) enter(ctx context.Context) (done func(outcome) (recovered bool), err error) {
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
			return func(o outcome) bool { return b.reportProbe(o, probe) }, nil
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
	again := secret.Error{Kind: secret.KindOf(b.last), Err: b.last}
	if e, ok := errors.AsType[*secret.Error](b.last); ok {
		again = *e
	}
	again.RetryAfter = max(b.until.Sub(b.clock.Now()), time.Second)
	return &again
}

func (b *breaker) reportProbe(o outcome, probe chan struct{}) bool {
	recovered := b.report(o)
	b.mu.Lock()
	b.probe = nil
	b.mu.Unlock()
	close(probe)
	return recovered
}

func (b *breaker) report(o outcome) (recovered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	switch o.says() {
	case works:
		recovered = b.last != nil
		b.proven, b.failures, b.last, b.until = true, 0, nil, time.Time{}
		return recovered
	case nothing:
		return false
	}
	asked := now.Add(secret.RetryAfterOf(o.err))
	if b.last != nil && now.Before(b.until) { // one of several that ran when the store failed
		if asked.After(b.until) {
			b.until = asked
		}
		return false
	}
	first, longest := pauses(secret.KindOf(o.err))
	pause := min(first<<min(b.failures, 10), longest)
	pause += time.Duration(rand.Int64N(int64(pause)/5 + 1))
	b.proven, b.last = false, o.err
	b.failures++
	b.until = now.Add(pause)
	if asked.After(b.until) {
		b.until = asked
	}
	return false
}
