package generatortest

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"github.com/go-logr/logr"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

// check is one promise. It reports through the probe.
type check struct {
	name string
	// remote checks are for generators that ask a service, live for those that leave
	// something behind there, renews for those that can put its end off.
	remote, live, renews bool
	// excusable is true if there are generators that cannot show it.
	excusable bool
	run       func(*probe)
}

// perform runs the check and then looks at what it left in logs and observations.
func (c check) perform(t T, h Harness, heard *suite.Log) {
	t.Helper()
	p := &probe{h: h, logger: heard.Logger()}
	p.Judge = suite.Judge{T: t, Mark: providertest.Mark, Secrets: p.inPlay}
	seen := len(h.Env.Calls())
	defer func() {
		p.Clean("the log", heard.Take())
		for _, call := range h.Env.Calls()[seen:] {
			p.Clean("what was observed of "+call.Name, suite.Texts(call.Err))
		}
	}()
	c.run(p)
}

// probe is one check at work on a harness.
type probe struct {
	suite.Judge
	h      Harness
	logger *slog.Logger

	mu      sync.Mutex
	secrets []secret.Value
}

// call is one call of the generator, with what belongs to it.
type call struct {
	p    *probe
	ctx  context.Context //nolint:containedctx // it is that of this one call, which the checks change before they make it
	env  *caller
	spec any
}

// prepare returns a call in a situation; its context has a logger that is listened to.
func (p *probe) prepare(s providertest.Situation) *call {
	env := &caller{Env: p.h.Env, errorf: p.Errorf}
	if p.h.Transport != nil {
		env.transport = func(t *http.Transport) { p.h.Transport(s, t) }
	}
	ctx := context.WithValue(p.Context(), callerKey{}, env)
	return &call{p: p, ctx: logr.NewContextWithSlogLogger(ctx, p.logger), env: env, spec: p.h.Spec(s)}
}

// generate calls Generate. What comes of it ends with the check.
func (c *call) generate() (generator.Output, error) {
	out, err := c.p.h.Generator.Generate(c.ctx, c.spec, c.env)
	c.p.remember(c.env)
	if err != nil {
		if len(out.Values) > 0 || len(out.State) > 0 {
			c.p.Errorf("Generate returns an error and an output too")
		}
		return out, err
	}
	for _, key := range c.p.h.Secret {
		c.p.remember(nil, out.Values[key])
	}
	if state := bytes.Clone(out.State); len(state) > 0 {
		last := c.p.prepare(providertest.Good)
		c.p.Cleanup(func() { _ = c.p.h.Generator.Cleanup(context.WithoutCancel(last.ctx), last.spec, last.env, state) })
	}
	return out, nil
}

func (c *call) renew(state json.RawMessage) (generator.Life, error) {
	defer c.p.remember(c.env)
	return c.p.h.Generator.Renew(c.ctx, c.spec, c.env, state)
}

func (c *call) cleanup(state json.RawMessage) error {
	defer c.p.remember(c.env)
	return c.p.h.Generator.Cleanup(c.ctx, c.spec, c.env, state)
}

// made is what a good call makes.
func (p *probe) made() (*call, generator.Output) {
	p.Helper()
	c := p.prepare(providertest.Good)
	out, err := c.generate()
	if err != nil {
		p.Fatalf("generate while all is good: %v", err)
	}
	return c, out
}

// remember keeps values that must not be seen anywhere.
func (p *probe) remember(env *caller, values ...secret.Value) {
	if env != nil {
		_, _, handed := env.seen()
		values = append(values, handed...)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets = append(p.secrets, values...)
}

// inPlay returns the values that must not be seen anywhere.
func (p *probe) inPlay() []secret.Value {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.secrets)
}

// live is how much is at the service; 0 if nothing is ever left there.
func (p *probe) live() int {
	if p.h.Live == nil {
		return 0
	}
	return p.h.Live(p.T)
}

// same wants as much at the service as before.
func (p *probe) same(what string, before int) {
	p.Helper()
	if n := p.live(); n != before {
		p.Errorf("%s: %d are alive at the service, want %d", what, n, before)
	}
}
