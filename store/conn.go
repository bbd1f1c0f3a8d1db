package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// conn is what the pool keeps for one identity: the open store, if it is open, the
// breaker, the slots for calls, and the reads that others may share.
type conn struct {
	id      identity
	place   Place
	pool    *Pool
	breaker breaker
	slots   chan struct{}
	env     *env
	reads   reads
	address func(secret.Ref) secret.Ref
	batches atomic.Int32
	// flat is true if a property is the name of a field, never a path.
	flat     bool
	gathered gatherer

	lastUsed time.Time // guarded by the pool

	mu      sync.Mutex
	session *session // nil while the store is not open
	retired bool
}

// session is one opening of a store. It is closed when it was dropped and the last
// call that uses it is over.
type session struct {
	opened  chan struct{} // closed when store or err is set
	store   provider.Store
	err     error
	users   int
	dropped bool
}

func newConn(p *Pool, place Place) *conn {
	label, addr := place.Provider, func(ref secret.Ref) secret.Ref { return ref }
	flat, batch := false, 0
	if d, err := p.cfg.Registry.Lookup(place.Provider); err == nil {
		label, addr = d.Label(place.Spec), func(ref secret.Ref) secret.Ref { return d.Address(place.Spec, ref) }
		flat, batch = d.Flat, d.Batch(place.Spec)
	}
	// What is shared by all tenants must not know the one that came first.
	place.Tenant = place.identity().tenant
	return &conn{
		id: place.identity(), place: place, pool: p,
		breaker: breaker{clock: p.cfg.Clock},
		slots:   make(chan struct{}, p.cfg.Concurrency),
		reads:   reads{m: map[address]*read{}},
		address: addr, flat: flat, gathered: gatherer{size: batch, patience: patience{gatherFirst, gatherFirst}},
		env: &env{place: place, pool: p, label: label, trusted: place.Kind == KindClusterSecretStore, deps: map[Dependency]string{}, accounts: map[string]bool{}},
	}
}

// call runs one call against the store: slot, breaker, open, deadline, retry. The
// breaker is asked last, so that nobody who waited calls a store that failed meanwhile.
func (c *conn) call(ctx context.Context, f func(context.Context, provider.Store) error) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return &secret.Error{Kind: secret.Unavailable, Op: "wait", Provider: c.place.Provider, Err: ctx.Err()}
	}
	done, err := c.breaker.enter(ctx)
	if err != nil {
		return err
	}
	o := c.attempts(ctx, f)
	if ctx.Err() != nil { // whoever asked went away: it says nothing of the store
		done(outcome{err: context.Canceled})
		return o.err
	}
	if o.says() == fails {
		o.err = c.whole(o.err)
	}
	if done(o) {
		c.pool.cfg.Recovered(c.place)
	}
	return o.err
}

// whole says of a failure that it is the store's, in the same words whichever call
// met it: all who are refused because of it repeat them.
func (c *conn) whole(err error) error {
	out := &secret.Error{Kind: secret.KindOf(err), Provider: c.place.Provider, Err: err}
	if e, ok := errors.AsType[*secret.Error](err); ok {
		out.RetryAfter, out.Err = e.RetryAfter, e.Err
	}
	return out
}

// attempts repeats a call that found the backend unavailable, as often and as fast
// as spec.retrySettings has it.
func (c *conn) attempts(ctx context.Context, f func(context.Context, provider.Store) error) outcome {
	retries, interval := 1, 200*time.Millisecond
	if c.place.Retries != nil {
		retries = *c.place.Retries
	}
	if c.place.RetryInterval > 0 {
		interval = c.place.RetryInterval
	}
	for {
		o := c.attempt(ctx, f)
		if retries <= 0 || secret.KindOf(o.err) != secret.Unavailable {
			return o
		}
		retries--
		select {
		case <-c.pool.cfg.Clock.After(interval):
		case <-c.pool.stop:
			return o
		case <-ctx.Done():
			return o
		}
	}
}

func (c *conn) attempt(ctx context.Context, f func(context.Context, provider.Store) error) outcome {
	ctx, cancel := c.pool.deadline(ctx)
	defer cancel()
	s, err := c.acquire(ctx)
	if err != nil {
		return outcome{err: c.classified(err)}
	}
	defer c.release(s)
	err = c.classified(f(ctx, s.store))
	if secret.KindOf(err) == secret.Unauthenticated {
		c.env.refused()
		c.drop(s)
	}
	return outcome{err: err, opened: true}
}

// classified makes sure that a failure has a kind and says whose it is.
func (c *conn) classified(err error) error {
	if err == nil || secret.KindOf(err) != secret.Internal {
		return err
	}
	return &secret.Error{Kind: secret.Internal, Provider: c.place.Provider, Err: err}
}

// acquire returns the open store, opened if need be, to be released after use.
func (c *conn) acquire(ctx context.Context) (*session, error) {
	c.mu.Lock()
	if c.retired {
		c.mu.Unlock()
		return nil, &secret.Error{Kind: secret.Conflict, Op: "open", Provider: c.place.Provider, Err: ErrRetired}
	}
	s, opener := c.session, c.session == nil
	if opener {
		s = &session{opened: make(chan struct{})}
		c.session = s
		c.pool.sessions.Add(1)
	}
	s.users++
	c.mu.Unlock()
	if opener {
		s.store, s.err = c.open(ctx)
		close(s.opened)
	}
	select {
	case <-s.opened:
	case <-ctx.Done():
		c.release(s)
		return nil, &secret.Error{Kind: secret.Unavailable, Op: "open", Provider: c.place.Provider, Err: ctx.Err()}
	}
	if s.err != nil {
		c.drop(s)
		c.release(s)
		return nil, s.err
	}
	return s, nil
}

func (c *conn) open(ctx context.Context) (provider.Store, error) {
	p, err := c.pool.cfg.Registry.Lookup(c.place.Provider)
	if err != nil {
		return nil, err
	}
	return p.Open(ctx, c.place.Spec, c.env)
}

func (c *conn) release(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.users--
	c.closeIfOver(s)
}

// drop lets go of an opening of the store; the next call opens a new one. It may be
// repeated.
func (c *conn) drop(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(s)
}

func (c *conn) dropLocked(s *session) {
	if s == nil || s.dropped {
		return
	}
	if c.session == s {
		c.session = nil
	}
	s.dropped = true
	c.closeIfOver(s)
}

// closeIfOver ends a session that nobody uses any more, aside: that may take a call.
// That it failed concerns nobody: the session ends by itself.
func (c *conn) closeIfOver(s *session) {
	if !s.dropped || s.users > 0 {
		return
	}
	go func() {
		defer c.pool.sessions.Done()
		if s.err == nil { // beside an error a store means nothing, and can be a nil of some type
			_ = s.store.Close()
		}
	}()
}

// retire drops the store for good. It does not block.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	c.dropLocked(c.session)
}
