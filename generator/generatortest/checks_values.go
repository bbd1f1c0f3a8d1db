package generatortest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

func checks() []check {
	return slices.Concat(valueChecks(), lifeChecks(), faultChecks())
}

func valueChecks() []check {
	return []check{
		{name: "values/keys", run: keys},
		{name: "values/new", excusable: true, run: fresh},
		{name: "values/are the caller's", run: owned},
		{name: "spec/unchanged", run: unchanged},
		{name: "spec/of another kind", run: otherKind},
		{name: "spec/invalid", excusable: true, run: invalid},
		{name: "state", run: state},
		{name: "concurrent calls", run: concurrent},
	}
}

// keys wants the documented keys, with something in those that are secret.
func keys(p *probe) {
	c, out := p.made()
	want := slices.Sorted(slices.Values(slices.Concat(p.h.Secret, p.h.Public)))
	if got := secret.Keys(out.Values); !slices.Equal(got, want) {
		p.Errorf("the keys are %q, and documented are %q", got, want)
	}
	if told := slices.Sorted(slices.Values(p.h.Generator.Keys(c.spec))); len(told) > 0 && !slices.Equal(told, want) {
		p.Errorf("Keys returns %q, and documented are %q", told, want)
	}
	for _, key := range p.h.Secret {
		if out.Values[key].Len() == 0 {
			p.Errorf("the value of %s is empty", key)
		}
	}
	p.fits(c.spec, out)
	if _, requests, _ := c.env.seen(); requests == 0 && !p.h.Local {
		p.Errorf("no request went through Env.HTTP")
	}
}

func (p *probe) fits(spec any, out generator.Output) {
	p.Helper()
	if p.h.Fits == nil {
		return
	}
	if err := p.h.Fits(spec, out); err != nil {
		p.Errorf("the output does not fit the spec: %v", err)
	}
}

func fresh(p *probe) {
	_, one := p.made()
	_, two := p.made()
	for _, key := range p.h.Secret {
		if one.Values[key].Equal(two.Values[key]) {
			p.Errorf("two calls have the same %s", key)
		}
	}
}

// owned spoils an output and wants no other to notice.
func owned(p *probe) {
	_, one := p.made()
	_, two := p.made()
	before, values := bytes.Clone(two.State), maps.Clone(two.Values)
	for i := range one.State {
		one.State[i] = '!'
	}
	clear(one.Values)
	if !bytes.Equal(before, two.State) || len(values) != len(two.Values) {
		p.Errorf("what one call returned is shared with another")
	}
	if _, three := p.made(); len(values) != len(three.Values) {
		p.Errorf("what one call returned is kept for the next")
	}
}

// unchanged makes every call and compares spec and state with what they were.
func unchanged(p *probe) {
	c := p.prepare(providertest.Good)
	spec := encode(c.spec)
	out, err := c.generate()
	if err != nil {
		p.Fatalf("generate: %v", err)
	}
	before := bytes.Clone(out.State)
	if p.h.Renews {
		if _, err := c.renew(out.State); err != nil {
			p.Errorf("renew: %v", err)
		}
	}
	if err := c.cleanup(out.State); err != nil {
		p.Errorf("cleanup: %v", err)
	}
	if !bytes.Equal(before, out.State) {
		p.Errorf("a call changes the state")
	}
	if encode(c.spec) != spec {
		p.Errorf("a call changes the spec")
	}
}

func encode(spec any) string {
	b, err := json.Marshal(spec)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func otherKind(p *probe) {
	for _, spec := range []any{nil, &struct{}{}} {
		c := p.prepare(providertest.Good)
		c.spec = spec
		what := fmt.Sprintf("with a %T", spec)
		p.Failed("validate "+what, p.h.Generator.Validate(spec), secret.Internal)
		_, err := c.generate()
		p.Failed("generate "+what, err, secret.Internal)
	}
}

// invalid wants specs refused before anything is asked or made.
func invalid(p *probe) {
	if err := p.h.Generator.Validate(p.h.Spec(providertest.Good)); err != nil {
		p.Errorf("validate the good spec: %v", err)
	}
	for _, field := range secret.Keys(p.h.Invalid) {
		before := p.live()
		c := p.prepare(providertest.Good)
		c.spec = p.h.Invalid[field]
		what := "a wrong " + field
		text := p.Failed(what, p.h.Generator.Validate(c.spec), secret.Invalid)
		if !strings.Contains(text, field) {
			p.Errorf("%s: the error does not name the field: %s", what, text)
		}
		_, err := c.generate()
		if again := p.Failed(what+", generated", err, secret.Invalid); again != text {
			p.Errorf("%s: the text changes:\n%s\n%s", what, text, again)
		}
		if asked, requests, _ := c.env.seen(); asked+requests > 0 {
			p.Errorf("%s: something was asked before it was refused", what)
		}
		p.same(what, before)
	}
}

// state wants a JSON object without any value, or nothing if nothing is left behind.
func state(p *probe) {
	_, out := p.made()
	if p.h.Live == nil {
		if len(out.State) > 0 {
			p.Errorf("there is a state, and the harness says that nothing is left behind")
		}
		return
	}
	var object map[string]any
	if err := json.Unmarshal(out.State, &object); err != nil || object == nil {
		p.Errorf("the state is no JSON object")
	}
	p.Clean("the state", string(out.State)+fmt.Sprint(object))
}

// concurrent makes many calls at the same time, half of them with a spec that they
// share, and wants nothing of one in another.
func concurrent(p *probe) {
	const callers, rounds = 8, 2
	before := p.live()
	shared := p.h.Spec(providertest.Good)
	var mu sync.Mutex
	owners := map[string]int{}
	var group sync.WaitGroup
	for i := range callers * rounds {
		group.Go(func() {
			c := p.prepare(providertest.Good)
			if i%2 == 0 {
				c.spec = shared
			}
			out, err := c.generate()
			if err != nil {
				p.Errorf("a concurrent Generate: %v", err)
				return
			}
			p.fits(c.spec, out)
			mu.Lock()
			for _, key := range p.h.Secret {
				owners[key+"/"+string(out.Values[key].Reveal())]++
			}
			mu.Unlock()
			if err := c.cleanup(out.State); err != nil {
				p.Errorf("a concurrent Cleanup: %v", err)
			}
		})
	}
	group.Wait()
	p.same("concurrent calls", before)
	if _, excused := p.h.Without["values/new"]; excused {
		return
	}
	for key, n := range owners {
		if n > 1 {
			name, _, _ := strings.Cut(key, "/")
			p.Errorf("%d concurrent calls have the same %s", n, name)
		}
	}
}
