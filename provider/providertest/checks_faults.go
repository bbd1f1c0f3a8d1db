package providertest

import (
	"context"

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
	return append(ops, p.writing(secret.Ref{Key: p.key(group, "put")})...)
}

// writing are the calls that write, to a key that nobody else has.
func (p *probe) writing(ref secret.Ref) []operation {
	var ops []operation
	if p.h.can(Writer) {
		ops = append(ops, operation{"Inspect", func(ctx context.Context, s provider.Store) error {
			_, err := s.(provider.Writer).Inspect(ctx, ref, provider.PutOptions{})
			return err
		}}, operation{"Put", func(ctx context.Context, s provider.Store) error {
			_, err := s.(provider.Writer).Put(ctx, ref, p.content(plain("put")), provider.PutOptions{Owner: provider.ManagedBy})
			return err
		}})
	}
	if p.h.can(Deleter) {
		ops = append(ops, operation{"Delete", func(ctx context.Context, s provider.Store) error {
			return s.(provider.Deleter).Delete(ctx, ref, provider.DeleteOptions{Owner: provider.ManagedBy})
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
		p.Failed("check", err, secret.Unsupported)
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
		text := p.Failed(what, err, kinds...)
		again := p.attempt(p.Context(), situation, op)
		if second := p.Failed(what+", again", again, kinds...); second != text {
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
		p.Failed(op.name+" with an ended context", err, secret.Unavailable)
	}
}

// contextHanging ends the context of each call once it hangs in the backend.
func contextHanging(p *probe) {
	key, _ := p.seed("hanging", "a")
	for _, op := range p.operations("hanging", key) {
		if op.name == "Check" && secret.KindOf(p.attempt(p.Context(), Good, op)) == secret.Unsupported {
			continue
		}
		p.Hang(p.Context(), op.name, p.h.Reached, func(ctx context.Context) error { return p.attempt(ctx, Hanging, op) })
	}
}
