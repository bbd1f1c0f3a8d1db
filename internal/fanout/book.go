package fanout

import (
	"maps"
	"sync"
	"time"
)

// book is what a controller remembers of its objects. It is all that a process
// knows beside its caches: after a restart it is made again from them.
type book struct {
	mu sync.Mutex
	m  map[string]*chapter
}

// chapter is of one object.
type chapter struct {
	tally
	reporting bool // a report is queued
	reported  time.Time
}

// open makes a target the one of its object, and returns it, with a version: the one
// that its child had if it is the same.
func (b *book) open(t *target) *target {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.m[t.name]
	switch {
	case c == nil || c.target != nil && c.target.uid != t.uid:
		t.version = 1
		b.m[t.name] = &chapter{tally: tally{target: t, generation: t.generation, pages: map[string]page{}}}
		return t
	case c.target == nil:
		t.version = 1
		clear(c.pages)
	case t.alike(c.target.child, t.child):
		t.version = c.target.version
	default:
		t.version = c.target.version + 1
	}
	c.target, c.refused, c.generation = t, nil, t.generation
	return t
}

// refuse notes that an object cannot be acted on.
func (b *book) refuse(name string, generation int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.m[name]
	if c == nil {
		c = &chapter{tally: tally{pages: map[string]page{}}}
		b.m[name] = c
	}
	c.target, c.refused, c.generation = nil, err, generation
}

// forget drops an object. It may be repeated.
func (b *book) forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.m, name)
}

// target returns what an object wants, and what is remembered of one namespace; nil
// if nothing is to be done for it.
func (b *book) target(name, namespace string) (*target, page) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.m[name]
	if c == nil || c.target == nil {
		return nil, page{}
	}
	return c.target, c.pages[namespace]
}

// targets returns what all objects want.
func (b *book) targets() []*target {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*target, 0, len(b.m))
	for _, c := range b.m {
		if c.target != nil {
			out = append(out, c.target)
		}
	}
	return out
}

// note replaces what is remembered of a namespace, nil for nothing. It is passed over
// if the object is another by now.
func (b *book) note(t *target, namespace string, p *page) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.m[t.name]
	switch {
	case c == nil || c.target == nil || c.target.uid != t.uid:
	case p == nil:
		delete(c.pages, namespace)
	default:
		c.pages[namespace] = *p
	}
}

// namespaces returns those of which something is remembered.
func (b *book) namespaces(name string) map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]bool{}
	if c := b.m[name]; c != nil {
		for ns := range c.pages {
			out[ns] = true
		}
	}
	return out
}

const (
	// gather is how long a change waits for others to be reported with.
	gather = 100 * time.Millisecond
	// reportEvery is the least time between two reports of one object.
	reportEvery = time.Second
)

// ask returns how long to wait until the object is to be reported; ok is false if
// that is under way already.
func (b *book) ask(name string, now time.Time) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.m[name]
	if c == nil || c.reporting {
		return 0, false
	}
	c.reporting = true
	return max(gather, c.reported.Add(reportEvery).Sub(now)), true
}

// take returns how an object stands, to be reported now; ok is false if it is gone.
func (b *book) take(name string, now time.Time) (y tally, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.m[name]
	if c == nil {
		return tally{}, false
	}
	c.reporting, c.reported = false, now
	y = c.tally
	y.pages = maps.Clone(c.pages)
	return y, true
}
