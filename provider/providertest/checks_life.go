package providertest

import (
	"fmt"
	"sync"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// abilitiesName is the check without which the others make no sense.
const abilitiesName = "abilities"

func lifeChecks() []check {
	return []check{
		{name: "concurrent calls", run: concurrent},
		{name: "stores are independent", needs: []Ability{Reader}, run: independent},
		{name: "close", run: closed},
	}
}

// abilities compares the interfaces that a store implements with those that it
// should. What is implemented is held to work by the other checks.
func abilities(p *probe) {
	s := p.open()
	_, reads := s.(provider.Reader)
	_, batches := s.(provider.Batcher)
	_, lists := s.(provider.Lister)
	_, checks := s.(provider.Checker)
	_, writes := s.(provider.Writer)
	_, deletes := s.(provider.Deleter)
	for ability, has := range map[Ability]bool{
		Reader: reads, Batcher: batches, Lister: lists, Checker: checks, Writer: writes, Deleter: deletes,
	} {
		if has != p.h.can(ability) {
			p.Errorf("the store implements %s: %v, and the harness says %v", ability, has, !has)
		}
	}
	if batches && !reads {
		p.Errorf("a Batcher must be a Reader too")
	}
}

// concurrent makes every call at the same time, each for another key, and wants
// everybody to get their own answer.
func concurrent(p *probe) {
	const callers, rounds = 8, 4
	want := map[string][]byte{}
	var entries []Entry
	for i := range callers {
		key, value := p.key("concurrent", fmt.Sprint(i)), plain(fmt.Sprint("concurrent ", i))
		entries, want[key] = append(entries, Entry{Key: key, Value: value}), value
	}
	p.h.Seed(p.T, entries...)
	s := p.open()
	var group sync.WaitGroup
	for i := range callers {
		mine, next := entries[i], entries[(i+1)%callers]
		group.Go(func() {
			for range rounds {
				p.callAll(s, mine, next)
			}
		})
	}
	group.Wait()
}

func (p *probe) callAll(s provider.Store, mine, next Entry) {
	if r, ok := s.(provider.Reader); ok {
		got, err := r.Get(p.Context(), secret.Ref{Key: mine.Key})
		p.sameOrFailed("a concurrent Get", got, err, mine.Value)
	}
	if b, ok := s.(provider.Batcher); ok {
		results, err := b.GetBatch(p.Context(), []secret.Ref{{Key: next.Key}, {Key: mine.Key}})
		if err != nil || len(results) != 2 {
			p.Errorf("a concurrent GetBatch: %d results, error %v", len(results), err)
			return
		}
		p.sameOrFailed("a concurrent GetBatch", results[0].Secret, results[0].Err, next.Value)
		p.sameOrFailed("a concurrent GetBatch", results[1].Secret, results[1].Err, mine.Value)
	}
	if l, ok := s.(provider.Lister); ok {
		p.listOnce(l, mine.Key)
	}
	if c, ok := s.(provider.Checker); ok {
		if err := c.Check(p.Context()); err != nil {
			p.Failed("a concurrent Check", err, secret.Unsupported)
		}
	}
}

// listOnce wants a listing with this key in it once.
func (p *probe) listOnce(l provider.Lister, key string) {
	n := 0
	for item, err := range l.List(p.Context(), p.query("concurrent")) {
		if err != nil {
			p.Errorf("a concurrent List: %v", err)
			return
		}
		if item.Ref.Key == key {
			n++
		}
	}
	if n != 1 {
		p.Errorf("a concurrent List yields %s %d times", key, n)
	}
}

func (p *probe) sameOrFailed(what string, got secret.Secret, err error, want []byte) {
	if err != nil {
		p.Errorf("%s: %v", what, err)
		return
	}
	p.same(what, got, want)
}

// independent closes one of two stores; the other goes on.
func independent(p *probe) {
	key, value := p.seed("independent", "a")
	one, err := p.h.Open(p.Context(), Good)
	if err != nil {
		p.Fatalf("open: %v", err)
	}
	other := p.reader()
	if err := one.Close(); err != nil {
		p.Errorf("close: %v", err)
	}
	got, err := other.Get(p.Context(), secret.Ref{Key: key})
	p.sameOrFailed("get from another store of the same backend", got, err, value)
}

// closed makes every call on a store that was closed.
func closed(p *probe) {
	key, _ := p.seed("closed", "a")
	for _, op := range p.operations("closed", key) {
		s, err := p.h.Open(p.Context(), Good)
		if err != nil {
			p.Fatalf("open: %v", err)
		}
		if err := op.call(p.Context(), s); err != nil {
			p.Failed(op.name+" before Close", err, secret.Unsupported)
		}
		if err := s.Close(); err != nil {
			p.Errorf("close: %v", err)
		}
		p.Failed(op.name+" after Close", op.call(p.Context(), s))
	}
}
