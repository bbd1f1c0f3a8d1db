package generatortest

import (
	"context"
	"errors"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func faultChecks() []check {
	return []check{
		{name: "kind/unauthenticated", remote: true, excusable: true, run: func(p *probe) { p.fault(providertest.BadCredential, secret.Unauthenticated) }},
		{name: "kind/denied", remote: true, excusable: true, run: func(p *probe) { p.fault(providertest.Underprivileged, secret.Denied) }},
		{name: "kind/throttled", remote: true, excusable: true, run: func(p *probe) { p.fault(providertest.Throttled, secret.RateLimited) }},
		{name: "kind/unavailable", remote: true, excusable: true, run: func(p *probe) { p.fault(providertest.Down, secret.Unavailable) }},
		{name: "credential/missing", run: func(p *probe) { p.refused(secret.Unauthenticated, errors.New("it is not there")) }},
		{name: "credential/denied", run: func(p *probe) { p.refused(secret.Denied, errors.New("not in this namespace")) }},
		{name: "credential/of a consumer", run: func(p *probe) { p.refused(secret.Unsupported, provider.ErrReferent) }},
		{name: "context/ended", remote: true, run: contextEnded},
		{name: "context/hanging", remote: true, excusable: true, run: contextHanging},
	}
}

// operation is one call of a generator, of which only the outcome matters.
type operation struct {
	name string
	call func(*call) error
}

// operations are the calls that the generator takes; those with a state get that of
// something that is alive.
func (p *probe) operations() []operation {
	ops := []operation{{"Generate", func(c *call) error { _, err := c.generate(); return err }}}
	if p.h.Live == nil {
		return ops
	}
	_, out := p.made()
	ops = append(ops, operation{"Cleanup", func(c *call) error { return c.cleanup(out.State) }})
	if p.h.Renews {
		ops = append(ops, operation{"Renew", func(c *call) error { _, err := c.renew(out.State); return err }})
	}
	return ops
}

// fault makes every call in a situation, twice, and wants one kind of error, one text,
// and nothing made or ended.
func (p *probe) fault(situation providertest.Situation, kind secret.Kind) {
	for _, op := range p.operations() {
		before := p.live()
		what := op.name + " while " + string(situation)
		err := op.call(p.prepare(situation))
		text := p.Failed(what, err, kind)
		if second := p.Failed(what+", again", op.call(p.prepare(situation)), kind); second != text {
			p.Errorf("%s: the text changes:\n%s\n%s", what, text, second)
		}
		if want := p.h.RetryAfter; situation == providertest.Throttled && secret.RetryAfterOf(err) != want {
			p.Errorf("%s: RetryAfter is %v, and the service asked for %v", what, secret.RetryAfterOf(err), want)
		}
		p.same(what, before)
	}
}

// refused fails every credential, for those calls that want one.
func (p *probe) refused(kind secret.Kind, cause error) {
	for _, op := range p.operations() {
		before := p.live()
		c := p.prepare(providertest.Good)
		c.env.refuse = &secret.Error{Kind: kind, Op: "open", Err: cause}
		err := op.call(c)
		if asked, _, _ := c.env.seen(); asked == 0 {
			continue
		}
		what := op.name + " without its credential"
		p.Failed(what, err, kind)
		if err != nil && !errors.Is(err, cause) {
			p.Errorf("%s: the error does not wrap that of Env: %v", what, err)
		}
		p.same(what, before)
	}
}

func contextEnded(p *probe) {
	for _, op := range p.operations() {
		before := p.live()
		c := p.prepare(providertest.Good)
		ctx, cancel := context.WithCancel(c.ctx)
		cancel()
		c.ctx = ctx
		p.Failed(op.name+" with an ended context", op.call(c), secret.Unavailable)
		p.same(op.name+" with an ended context", before)
	}
}

// contextHanging ends the context of each call once it hangs at the service.
func contextHanging(p *probe) {
	for _, op := range p.operations() {
		before := p.live()
		c := p.prepare(providertest.Hanging)
		p.Hang(c.ctx, op.name, p.h.Reached, func(ctx context.Context) error {
			c.ctx = ctx
			return op.call(c)
		})
		p.same(op.name+" that hangs", before)
	}
}
