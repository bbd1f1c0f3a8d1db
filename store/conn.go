package store

import (
	"context"
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

	mu       sync.Mutex
	session  *session // nil while the store is not open
	retired  bool
	lastUsed time.Time
}

// session is one opening of a store. It is closed when it was dropped and the last
// call that uses it is over.
type session struct {
	store   provider.Store
	users   int
	dropped bool
}

func newConn(p *Pool, place Place) *conn {
	label, addr := place.Provider, func(ref secret.Ref) secret.Ref { return ref }
	if d, err := p.cfg.Registry.Lookup(place.Provider); err == nil {
		label, addr = d.Label, func(ref secret.Ref) secret.Ref { return d.Address(place.Spec, ref) }
	}
	c := &conn{
		id: place.identity(), place: place, pool: p,
		breaker: breaker{clock: p.cfg.Clock},
		slots:   make(chan struct{}, p.cfg.Concurrency),
		reads:   reads{m: map[address]*read{}},
		address: addr,
		env:     &env{place: place, pool: p, label: label, deps: map[Dependency]string{}},
	}
	c.lastUsed = p.cfg.Clock.Now()
	return c
}

// call runs one call against the store: breaker, slot, open, deadline, retry.
func (c *conn) call(ctx context.Context, f func(context.Context, provider.Store) error) error {
	done, err := c.breaker.enter(ctx)
	if err != nil {
		return err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		done(context.Canceled)
		return &secret.Error{Kind: secret.Unavailable, Op: "wait", Provider: c.place.Provider, Err: ctx.Err()}
	}
	wasBroken := c.breaker.broken()
	err = c.attempts(ctx, f)
	if ctx.Err() != nil {
		done(context.Canceled)
		return err
	}
	done(err)
	switch {
	case secret.KindOf(err) == secret.Unauthenticated:
		c.drop()
	case wasBroken && !c.breaker.broken():
		c.pool.cfg.Recovered(c.place)
	}
	return err
}

// attempts repeats a call that found the backend unavailable, as often and as fast
// as spec.retrySettings has it.
func (c *conn) attempts(ctx context.Context, f func(context.Context, provider.Store) error) error {
	retries, interval := 1, 200*time.Millisecond
	if c.place.Retries != nil {
		retries = *c.place.Retries
	}
	if c.place.RetryInterval > 0 {
		interval = c.place.RetryInterval
	}
	for {
		err := c.attempt(ctx, f)
		if retries <= 0 || secret.KindOf(err) != secret.Unavailable || ctx.Err() != nil {
			return err
		}
		retries--
		select {
		case <-c.pool.cfg.Clock.After(interval):
		case <-ctx.Done():
			return err
		}
	}
}

func (c *conn) attempt(ctx context.Context, f func(context.Context, provider.Store) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.pool.cfg.CallTimeout)
	defer cancel()
	s, release, err := c.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return c.classified(f(ctx, s))
}

// classified makes sure that a failure has a kind and says whose it is.
func (c *conn) classified(err error) error {
	if err == nil || secret.KindOf(err) != secret.Internal {
		return err
	}
	return &secret.Error{Kind: secret.Internal, Provider: c.place.Provider, Err: err}
}

// acquire returns the open store, opened if need be, and what to call after use.
func (c *conn) acquire(ctx context.Context) (provider.Store, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return nil, nil, &secret.Error{Kind: secret.Conflict, Op: "open", Provider: c.place.Provider, Err: errRetired}
	}
	if c.session == nil {
		p, err := c.pool.cfg.Registry.Lookup(c.place.Provider)
		if err != nil {
			return nil, nil, err
		}
		opened, err := p.Open(ctx, c.place.Spec, c.env)
		if err != nil {
			return nil, nil, c.classified(err)
		}
		c.session = &session{store: opened}
	}
	s := c.session
	s.users++
	c.lastUsed = c.pool.cfg.Clock.Now()
	return s.store, func() { c.release(s) }, nil
}

func (c *conn) release(s *session) {
	c.mu.Lock()
	s.users--
	over := s.dropped && s.users == 0
	c.mu.Unlock()
	if over {
		c.pool.closeStore(s.store)
	}
}

// drop lets go of the open store; the next call opens a new one.
func (c *conn) drop() {
	c.mu.Lock()
	s := c.session
	c.session = nil
	over := false
	if s != nil {
		s.dropped = true
		over = s.users == 0
	}
	c.mu.Unlock()
	if over {
		c.pool.closeStore(s.store)
	}
}

// retire drops the store for good.
func (c *conn) retire() {
	c.mu.Lock()
	c.retired = true
	c.mu.Unlock()
	c.drop()
}

// idleSince reports whether nobody has used the store since t.
func (c *conn) idleSince(t time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return (c.session == nil || c.session.users == 0) && c.lastUsed.Before(t)
}
