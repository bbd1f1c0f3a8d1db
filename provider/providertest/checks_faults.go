package providertest

import (
	"context"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

func faultChecks() []check {
	return []check{
		{name: "check/good", needs: []Ability{Checker}, run: checkGood},
		{name: "kind/unauthenticated", excusable: true, run: func(p *probe) { p.fault(BadCredential, secret.Unauthenticated) }},
		{name: "kind/denied", excusable: true, run: func(p *probe) { p.fault(Underprivileged, secret.Denied) }},
		{name: "kind/throttled", excusable: true, run: func(p *probe) { p.fault(Throttled, secret.RateLimited) }},
		{name: "kind/unavailable", excusable: true, run: func(p *probe) { p.fault(Down, secret.Unavailable) }},
		{name: "context/ended", run: contextEnded},
		{name: "context/hanging", excusable: true, run: contextHanging},
	}
}

// operation is one call of a store, of which only the outcome matters.
type operation struct {
	name string
	call func(ctx context.Context, s provider.Store) error
}

// operations are the calls that the backend's stores take.
func (p *probe) operations(group, key string) []operation {
	var ops []operation
	if p.h.can(Reader) {
		ops = append(ops, operation{"Get", func(ctx context.Context, s provider.Store) error {
			_, err := s.(provider.Reader).Get(ctx, secret.Ref{Key: key})
			return err
		}})
	}
	if p.h.can(Batcher) {
		ops = append(ops, operation{"GetBatch", func(ctx context.Context, s provider.Store) error {
			results, err := s.(provider.Batcher).GetBatch(ctx, []secret.Ref{{Key: key}, {Key: key}})
			for _, r := range results {
				if err == nil {
					err = r.Err
				}
			}
			return err
		}})
	}
	if p.h.can(Lister) {
		ops = append(ops, operation{"List", func(ctx context.Context, s provider.Store) error {
			for _, err := range s.(provider.Lister).List(ctx, p.query(group)) {
				if err != nil {
					return err
				}
			}
			return nil
		}})
	}
	if p.h.can(Checker) {
		ops = append(ops, operation{"Check", func(ctx context.Context, s provider.Store) error {
			return s.(provider.Checker).Check(ctx)
		}})
	}
	return ops
}

// attempt opens a store and makes one call; either may be what fails.
func (p *probe) attempt(ctx context.Context, situation Situation, op operation) error {
	s, err := p.h.Open(ctx, situation)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return op.call(ctx, s)
}

func checkGood(p *probe) {
	if err := p.open().(provider.Checker).Check(p.Context()); err != nil {
		p.failed("check", err, secret.Unsupported)
	}
}

// fault makes every call in a situation, twice, and wants one kind of error and one
// text.
func (p *probe) fault(situation Situation, kind secret.Kind) {
	key, _ := p.seed("fault", "a")
	for _, op := range p.operations("fault", key) {
		kinds := []secret.Kind{kind}
		if op.name == "Check" {
			kinds = append(kinds, secret.Unsupported)
		}
		err := p.attempt(p.Context(), situation, op)
		if op.name == "Check" && situation == Underprivileged && err == nil {
			continue // the credentials do work
		}
		what := op.name + " while " + string(situation)
		text := p.failed(what, err, kinds...)
		again := p.attempt(p.Context(), situation, op)
		if second := p.failed(what+", again", again, kinds...); second != text {
			p.Errorf("%s: the text changes:\n%s\n%s", what, text, second)
		}
		if want := p.h.RetryAfter; situation == Throttled && op.name != "Check" && secret.RetryAfterOf(err) != want {
			p.Errorf("%s: RetryAfter is %v, and the backend asked for %v", what, secret.RetryAfterOf(err), want)
		}
	}
}

func contextEnded(p *probe) {
	key, _ := p.seed("ended", "a")
	ctx, cancel := context.WithCancel(p.Context())
	cancel()
	for _, op := range p.operations("ended", key) {
		s := p.open()
		err := op.call(ctx, s)
		if op.name == "Check" && secret.KindOf(err) == secret.Unsupported {
			continue
		}
		p.failed(op.name+" with an ended context", err, secret.Unavailable)
	}
}

// contextHanging ends the context of each call once it hangs in the backend.
func contextHanging(p *probe) {
	key, _ := p.seed("hanging", "a")
	for _, op := range p.operations("hanging", key) {
		if op.name == "Check" && secret.KindOf(p.attempt(p.Context(), Good, op)) == secret.Unsupported {
			continue
		}
		p.hang(op)
	}
}

func (p *probe) hang(op operation) {
	ctx, cancel := context.WithCancel(p.Context())
	defer cancel()
	select { // of a call that was over before it was noticed
	case <-p.h.Reached:
	default:
	}
	done := make(chan error, 1)
	go func() { done <- p.attempt(ctx, Hanging, op) }()
	guard := time.NewTimer(patience)
	defer guard.Stop()
	select {
	case <-p.h.Reached:
	case err := <-done:
		p.Errorf("%s ended although the backend hangs: %v", op.name, err)
		return
	case <-guard.C:
		p.Errorf("%s did not reach the backend", op.name)
		return
	}
	cancel()
	select {
	case err := <-done:
		p.failed(op.name+" whose context ended", err, secret.Unavailable)
	case <-guard.C:
		p.Errorf("%s goes on after the end of its context", op.name)
	}
}
