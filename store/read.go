package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Answer is what a read came to.
type Answer struct {
	Secret secret.Secret
	// PropertyResolved is true if the backend resolved the property of the ref.
	PropertyResolved bool
	Err              error
}

// address is what two reads must have in common to be one: a ref, or a query.
type address struct {
	ref   secret.Ref
	query string
}

// read is one call for a value, running or done.
type read struct {
	began time.Time
	done  chan struct{} // closed when the fields below are set
	value secret.Secret
	items []secret.Item // of a query
	err   error
}

func (r *read) finished() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// lasting reports whether the outcome of a finished read is worth sharing: a value,
// or that there is none. Other failures may pass.
func (r *read) lasting() bool { return r.err == nil || secret.KindOf(r.err) == secret.NotFound }

// reads are the calls of one connection that others may share.
type reads struct {
	mu sync.Mutex
	m  map[address]*read
}

// join returns the read of an address that began at or after since. If there is
// none it returns a new one, and owned: the caller must make the call.
func (s *reads) join(a address, since, now time.Time) (r *read, owned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.m[a]; ok && !r.began.Before(since) && (!r.finished() || r.lasting()) {
		return r, false
	}
	r = &read{began: now, done: make(chan struct{})}
	s.m[a] = r
	return r, true
}

// forget removes a read, unless a newer one took its place.
func (s *reads) forget(a address, r *read) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[a] == r {
		delete(s.m, a)
	}
}

// Read returns one answer for each of refs, in their order. Equal addresses take
// one call; a call that began at or after since, for whomever, is shared. It blocks
// until all answers are there or ctx ends, and may be repeated.
func (p *Pool) Read(ctx context.Context, place Place, refs []secret.Ref, since time.Time) []Answer {
	answers := make([]Answer, len(refs))
	c, err := p.conn(place)
	if err != nil {
		for i := range answers {
			answers[i].Err = err
		}
		return answers
	}
	consumer := place.Tenant
	if consumer == "" {
		consumer = place.Namespace
	}
	waits := make([]*read, len(refs))
	var own []pending
	for i, ref := range refs {
		ref.Namespace = consumer
		a := address{ref: c.address(ref)}
		r, owned := c.reads.join(a, since, p.cfg.Clock.Now())
		p.cfg.Metrics.Read(c.env.label, !owned)
		waits[i] = r
		answers[i].PropertyResolved = ref.Property != "" && a.ref.Property != ""
		if owned {
			own = append(own, pending{a, r})
		}
	}
	c.fetch(ctx, own)
	for i, r := range waits {
		answers[i].Secret, answers[i].Err = r.wait(ctx)
	}
	return answers
}

func (r *read) wait(ctx context.Context) (secret.Secret, error) {
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		return secret.Secret{}, &secret.Error{Kind: secret.Unavailable, Op: "read", Err: ctx.Err()}
	}
}

// pending is a read that this caller has to make.
type pending struct {
	address
	*read
}

// fetch makes the calls for reads. They outlive the caller's context, because
// others may wait for them; their deadline is that of a call.
func (c *conn) fetch(ctx context.Context, own []pending) {
	ctx = context.WithoutCancel(ctx)
	if c.gathered.size > 1 && len(own) > 0 {
		c.gather(ctx, own)
		return
	}
	if len(own) > 1 && c.batches.Load() != batchesNot {
		go c.fetchMany(ctx, own)
		return
	}
	for _, p := range own {
		go c.fetchOne(ctx, p)
	}
}

// Whether the store of a connection is a Batcher is known once it was open.
const (
	batchesUnknown = iota
	batchesNot
	batchesYes
)

// fetchMany reads by batch. If the store turns out to know none, the first is read
// by itself, so that the call has an outcome, and the others beside each other.
func (c *conn) fetchMany(ctx context.Context, own []pending) {
	refs := make([]secret.Ref, len(own))
	for i, p := range own {
		refs[i] = p.ref
	}
	var results []secret.Result
	err := c.call(ctx, func(ctx context.Context, s provider.Store) error {
		batcher, ok := s.(provider.Batcher)
		if !ok {
			c.batches.Store(batchesNot)
			got, err := c.get(ctx, s, refs[0])
			results = []secret.Result{{Secret: got, Err: err}}
			return err
		}
		c.batches.Store(batchesYes)
		var err error
		results, err = batcher.GetBatch(ctx, refs)
		if err == nil && len(results) != len(refs) {
			err = fmt.Errorf("%d results for %d refs", len(results), len(refs))
		}
		return err
	})
	single := c.batches.Load() == batchesNot
	for i, p := range own {
		switch {
		case single && i > 0:
			go c.fetchOne(ctx, p)
		case err != nil:
			c.finish(p, secret.Secret{}, err)
		default:
			c.finish(p, results[i].Secret, c.classified(results[i].Err))
		}
	}
}

func (c *conn) get(ctx context.Context, s provider.Store, ref secret.Ref) (secret.Secret, error) {
	reader, ok := s.(provider.Reader)
	if !ok {
		return secret.Secret{}, &secret.Error{Kind: secret.Unsupported, Op: "read", Provider: c.place.Provider, Ref: ref, Err: errors.New("the provider cannot read")}
	}
	return reader.Get(ctx, ref)
}

func (c *conn) fetchOne(ctx context.Context, p pending) {
	var got secret.Secret
	err := c.call(ctx, func(ctx context.Context, s provider.Store) error {
		var err error
		got, err = c.get(ctx, s, p.ref)
		return err
	})
	c.finish(p, got, err)
}

// finish hands out the outcome and keeps it for a while.
func (c *conn) finish(p pending, got secret.Secret, err error) {
	p.value, p.err = got, err
	close(p.done)
	if !p.lasting() {
		c.reads.forget(p.address, p.read)
		return
	}
	c.pool.kept.add(keptRead{reads: &c.reads, pending: p, size: p.size(), until: c.pool.cfg.Clock.Now().Add(keptFor)})
}

// size estimates what a finished read holds in memory.
func (r *read) size() int {
	n := 256 + r.value.Value.Len()
	for k, v := range r.value.Fields {
		n += len(k) + v.Len()
	}
	for _, item := range r.items {
		n += 64 + len(item.Ref.Key)
		if item.Secret != nil {
			n += item.Secret.Whole().Len()
		}
	}
	return n
}
