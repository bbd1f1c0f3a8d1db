package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// ErrRetired is why a call was not made: the store is another one by now. It comes as a
// Conflict; who reads the manifest of the store again finds the new one.
var ErrRetired = errors.New("the store changed or was deleted meanwhile")

const (
	defaultConcurrency = 32
	defaultTimeout     = 30 * time.Second
	idleLimit          = 90 * time.Minute
)

// Metrics counts what the funnel does. Implementations must not block.
type Metrics interface {
	// Call counts one call to a backend, under ESO's provider and call labels.
	Call(provider, call string, err error)
	// Read counts one wanted value; shared is true if it took no call.
	Read(provider string, shared bool)
}

// Config is what a Pool works with. Registry, Surroundings and Clock are required.
type Config struct {
	Registry provider.Registry
	// Generators may be empty.
	Generators   generator.Registry
	Surroundings Surroundings
	Clock        provider.Clock
	// Metrics may be nil.
	Metrics Metrics
	// Recovered is told, once, that a store answers again after a failure. It must
	// not block and may be nil.
	Recovered func(Place)
	// Concurrency is how many calls one store gets at once; 0 is 32.
	Concurrency int
	// CallTimeout ends a single call; 0 is 30 seconds.
	CallTimeout time.Duration
}

// Pool keeps the open stores of a process. It is safe for concurrent use.
type Pool struct {
	cfg    Config
	tokens tokens
	kept   kept

	stop     chan struct{}  // closed by Close
	making   chan struct{}  // slots for generators
	sessions sync.WaitGroup // the open stores

	mu     sync.Mutex
	conns  map[identity]*conn
	locks  map[keyID]*keyLock // of the keys that are written to
	sweep  time.Time
	closed bool
}

// New returns an empty pool.
func New(cfg Config) *Pool {
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = defaultTimeout
	}
	if cfg.Metrics == nil {
		cfg.Metrics = uncounted{}
	}
	if cfg.Recovered == nil {
		cfg.Recovered = func(Place) {}
	}
	p := &Pool{cfg: cfg, stop: make(chan struct{}), making: make(chan struct{}, cfg.Concurrency), conns: map[identity]*conn{}, locks: map[keyID]*keyLock{}, sweep: cfg.Clock.Now()}
	p.tokens = tokens{issue: cfg.Surroundings.Token, clock: cfg.Clock, timeout: cfg.CallTimeout, held: map[string]heldToken{}}
	p.kept = kept{clock: cfg.Clock, stop: p.stop}
	return p
}

// stopped reports whether the pool is closing.
func (p *Pool) stopped() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

type uncounted struct{}

func (uncounted) Call(string, string, error) {}
func (uncounted) Read(string, bool)          {}

// conn returns the connection of a place. A newer generation of a store retires the
// connections of older ones, and an older one has none beside it; connections that
// nobody used for long are retired.
func (p *Pool) conn(place Place) (*conn, error) {
	id := place.identity()
	now := p.cfg.Clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, &secret.Error{Kind: secret.Unavailable, Op: "open", Provider: place.Provider, Err: errors.New("shutting down")}
	}
	if now.Sub(p.sweep) > idleLimit/10 {
		p.sweep = now
		p.retireLocked(func(old *conn) bool { return old.id != id && old.lastUsed.Before(now.Add(-idleLimit)) })
	}
	c, ok := p.conns[id]
	if !ok {
		p.retireLocked(func(old *conn) bool { return old.id.uid == id.uid && old.id.generation < id.generation })
		for other := range p.conns {
			if other.uid == id.uid && other.generation > id.generation {
				return nil, &secret.Error{Kind: secret.Conflict, Op: "open", Provider: place.Provider, Err: ErrRetired}
			}
		}
		c = newConn(p, place)
		p.conns[id] = c
	}
	c.lastUsed = now
	return c, nil
}

// retireLocked retires the connections that match, and returns them.
func (p *Pool) retireLocked(match func(*conn) bool) []*conn {
	var out []*conn
	for id, c := range p.conns {
		if match(c) {
			delete(p.conns, id)
			c.retire()
			out = append(out, c)
		}
	}
	return out
}

// Forget closes everything that was opened for the store with that UID.
func (p *Pool) Forget(uid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retireLocked(func(c *conn) bool { return c.id.uid == uid })
}

// Changed tells the pool the version that a Secret, ConfigMap or namespace object
// has now; empty if it is gone. It closes the stores that read another version of
// it and returns their places, so that whoever uses them can come again at once.
func (p *Pool) Changed(d Dependency) []Place {
	version := d.Version
	d.Version = ""
	p.mu.Lock()
	defer p.mu.Unlock()
	var places []Place
	for _, c := range p.retireLocked(func(c *conn) bool { return c.env.sawOther(d, version) }) {
		places = append(places, c.place)
	}
	return places
}

// Dependencies lists what the open stores with that UID read of their surroundings.
func (p *Pool) Dependencies(uid string) []Dependency {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Dependency
	for id, c := range p.conns {
		if id.uid == uid {
			out = append(out, c.env.dependencies()...)
		}
	}
	return out
}

// Check tells whether the credentials of a store work, by a call that reads no
// value. It fails as the store does, and with Unsupported if it cannot be told:
// because the backend has no such call, or the credentials are the consumers'.
func (p *Pool) Check(ctx context.Context, place Place) error {
	if place.Referent() && place.Tenant == "" {
		return p.checkReferent(place)
	}
	c, err := p.conn(place)
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, s provider.Store) error {
		if checker, ok := s.(provider.Checker); ok {
			return checker.Check(ctx)
		}
		return &secret.Error{Kind: secret.Unsupported, Op: "check", Provider: place.Provider, Err: errors.New("the provider has no call that checks a credential without reading a value")}
	})
}

func (p *Pool) checkReferent(place Place) error {
	d, err := p.cfg.Registry.Lookup(place.Provider)
	if err != nil {
		return err
	}
	if err := d.Validate(place.Spec); err != nil {
		return err
	}
	return &secret.Error{Kind: secret.Unsupported, Op: "check", Provider: place.Provider, Err: provider.ErrReferent}
}

// Close ends the calls that are under way, closes every store and waits for that.
// Calls that come later fail with Unavailable. It may be repeated; its error is nil.
func (p *Pool) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.stop)
	}
	p.retireLocked(func(*conn) bool { return true })
	p.mu.Unlock()
	p.sessions.Wait()
	return nil
}
