package generatortest

import (
	"context"
	"encoding/json"
	"net"
	"syscall"

	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func lifeChecks() []check {
	return []check{
		{name: "life", run: life},
		{name: "renew/unsupported", run: unrenewed},
		{name: "renew/puts the end off", renews: true, run: renewed},
		{name: "renew/gone", renews: true, run: renewGone},
		{name: "cleanup/ends it", live: true, run: ended},
		{name: "cleanup/again", live: true, run: endedAgain},
		{name: "cleanup/gone", live: true, excusable: true, run: endedGone},
		{name: "cleanup/foreign state", live: true, run: foreignState},
		{name: "half-way/fault", live: true, remote: true, run: faultHalfway},
		{name: "half-way/context", live: true, remote: true, run: contextHalfway},
	}
}

// life wants the end that the harness says, by the clock of Env.
func life(p *probe) {
	_, out := p.made()
	lasts := out.Life.Expires.Sub(p.h.Env.Time.Now())
	switch {
	case p.h.Lasts == 0 && !out.Life.Expires.IsZero():
		p.Errorf("the values expire at %v, and the harness knows no end", out.Life.Expires)
	case p.h.Lasts > 0 && (lasts-p.h.Lasts).Abs() > p.h.Lasts/10:
		p.Errorf("the values last %v, want %v by the clock of Env", lasts, p.h.Lasts)
	}
	if out.Life.Renewable != p.h.Renews {
		p.Errorf("Renewable is %v, and the harness says %v", out.Life.Renewable, p.h.Renews)
	}
}

func unrenewed(p *probe) {
	if p.h.Renews {
		return
	}
	c, out := p.made()
	_, err := c.renew(out.State)
	p.Failed("renew what cannot be renewed", err, secret.Unsupported)
}

// renewed lets half the life pass.
func renewed(p *probe) {
	c, out := p.made()
	before := p.live()
	p.h.Env.Time.Advance(p.h.Lasts / 2)
	got, err := c.renew(out.State)
	if err != nil {
		p.Fatalf("renew: %v", err)
	}
	now := p.h.Env.Time.Now()
	if !got.Expires.After(out.Life.Expires) || got.Expires.Sub(now) > p.h.Lasts+p.h.Lasts/10 {
		p.Errorf("renewed at %v, the end moves from %v to %v", now, out.Life.Expires, got.Expires)
	}
	p.same("renew", before)
}

func renewGone(p *probe) {
	c, out := p.made()
	if err := c.cleanup(out.State); err != nil {
		p.Errorf("cleanup: %v", err)
	}
	_, err := c.renew(out.State)
	p.Failed("renew what was ended", err, secret.NotFound)
	if p.h.Lose == nil {
		return
	}
	c, out = p.made()
	p.h.Lose(p.T)
	_, err = c.renew(out.State)
	p.Failed("renew what is gone", err, secret.NotFound)
}

// ended makes two and ends the first, then the other.
func ended(p *probe) {
	before := p.live()
	c, one := p.made()
	first := p.live()
	other, two := p.made()
	both := p.live()
	if first <= before || both <= first {
		p.Fatalf("alive at the service are %d, then %d, then %d", before, first, both)
	}
	if err := c.cleanup(one.State); err != nil {
		p.Errorf("cleanup: %v", err)
	}
	if left := p.live(); left <= before || left >= both {
		p.Errorf("the end of one of two leaves %d of %d alive", left-before, both-before)
	}
	if err := other.cleanup(two.State); err != nil {
		p.Errorf("cleanup of the other: %v", err)
	}
	p.same("the end of both", before)
}

func endedAgain(p *probe) {
	before := p.live()
	c, out := p.made()
	for range 2 {
		if err := c.cleanup(out.State); err != nil {
			p.Errorf("cleanup: %v", err)
		}
		p.same("cleanup", before)
	}
}

func endedGone(p *probe) {
	c, out := p.made()
	p.h.Lose(p.T)
	if err := c.cleanup(out.State); err != nil {
		p.Errorf("cleanup of what is gone: %v", err)
	}
}

// foreignState hands over states that the generator has not written: whoever may change
// a GeneratorState can. Nothing must end but what is named.
func foreignState(p *probe) {
	c, _ := p.made()
	before := p.live()
	for _, state := range []string{`{}`, `{"other":[1]}`, `[]`, `"text"`, `7`, `{`} {
		if err := c.cleanup(json.RawMessage(state)); err != nil {
			p.Failed("cleanup of the state "+state, err)
		}
		if p.h.Renews {
			_, err := c.renew(json.RawMessage(state))
			p.Failed("renew of the state "+state, err)
		}
		p.same("the state "+state, before)
	}
}

// faultHalfway lets one request after the other fail.
func faultHalfway(p *probe) {
	p.halfway(func(context.CancelFunc) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	})
}

// contextHalfway ends the context of the call before one request after the other. What
// was made by then has to be ended with a context that goes on.
func contextHalfway(p *probe) {
	p.halfway(func(cancel context.CancelFunc) error {
		cancel()
		return context.Canceled
	})
}

func (p *probe) halfway(fail func(context.CancelFunc) error) {
	p.Helper()
	c, out := p.made()
	_, steps, _ := c.env.seen()
	if err := c.cleanup(out.State); err != nil {
		p.Errorf("cleanup: %v", err)
	}
	for i := range steps {
		before := p.live()
		c := p.prepare(providertest.Good)
		ctx, cancel := context.WithCancel(c.ctx)
		c.ctx = ctx
		c.env.before = func(n int) error {
			if n == i+1 {
				return fail(cancel)
			}
			return nil
		}
		out, err := c.generate()
		if err == nil { // it tried again
			err = c.cleanup(out.State)
		} else {
			p.Failed("a call whose request fails", err, secret.Unavailable)
			err = nil
		}
		cancel()
		if err != nil {
			p.Errorf("cleanup: %v", err)
		}
		if n := p.live(); n != before {
			p.Errorf("request %d of %d fails, and %d are left at the service", i+1, steps, n-before)
		}
	}
}
