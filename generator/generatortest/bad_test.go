package generatortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

type definition = generator.Definition[tokenSpec]

// defect spoils a good generator, or what the harness says of it.
type defect struct {
	spoil  func(*definition)
	change func(*Harness)
	want   string
}

// output passes every output through a function.
func output(f func(s *tokenSpec, env provider.Env, out *generator.Output)) func(*definition) {
	return func(d *definition) {
		d.Generate = after(d.Generate, func(s *tokenSpec, env provider.Env, out *generator.Output, err error) error {
			if err == nil {
				f(s, env, out)
			}
			return err
		})
	}
}

type generate = func(context.Context, *tokenSpec, provider.Env) (generator.Output, error)

func after(g generate, f func(*tokenSpec, provider.Env, *generator.Output, error) error) generate {
	return func(ctx context.Context, s *tokenSpec, env provider.Env) (generator.Output, error) {
		out, err := g(ctx, s, env)
		err = f(s, env, &out, err)
		return out, err
	}
}

// failure passes every error of Generate through a function.
func failure(f func(s *tokenSpec, err error) error) func(*definition) {
	return func(d *definition) {
		d.Generate = after(d.Generate, func(s *tokenSpec, _ provider.Env, _ *generator.Output, err error) error {
			if err != nil {
				err = f(s, err)
			}
			return err
		})
	}
}

func instead(of, by secret.Kind) func(*definition) {
	return failure(func(s *tokenSpec, err error) error {
		if secret.KindOf(err) == of {
			return s.fail(by, "ask", "something")
		}
		return err
	})
}

// kept makes everything with the Env of whoever came last, as a generator does that
// keeps it in a field. Two calls meet if there are two.
func kept(d *definition) {
	mixUp := suite.MixUp[provider.Env]()
	inner := d.Generate
	d.Generate = func(ctx context.Context, s *tokenSpec, env provider.Env) (generator.Output, error) {
		return inner(ctx, s, mixUp(env))
	}
}

// cached makes one token and hands it to everybody.
func cached(d *definition) {
	var mu sync.Mutex
	var have secret.Value
	output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) {
		mu.Lock()
		defer mu.Unlock()
		if have.Len() == 0 {
			have = out.Values["token"]
		}
		out.Values["token"] = have
	})(d)
}

// sharedMap hands out the map that it keeps.
func sharedMap(d *definition) {
	var mu sync.Mutex
	values := map[string]secret.Value{}
	output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) {
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(values, out.Values)
		out.Values = values
	})(d)
}

// around uses a client of its own.
type around struct{ provider.Env }

func (a around) HTTP(t provider.TLS) (*http.Client, error) {
	c := a.Env.(*caller)
	client, err := c.Env.HTTP(t)
	if err == nil {
		c.transport(client.Transport.(*http.Transport))
	}
	return client, err
}

// leftover does not end what a call that fails has made.
func leftover(d *definition) {
	whole := d.Generate
	d.Generate = func(ctx context.Context, s *tokenSpec, env provider.Env) (generator.Output, error) {
		return whole(ctx, s, undeleted{env, new(int)})
	}
}

// undeleted lets no third request out.
type undeleted struct {
	provider.Env
	n *int
}

func (u undeleted) HTTP(t provider.TLS) (*http.Client, error) {
	if *u.n++; *u.n > 2 {
		return nil, errors.New("no")
	}
	return u.Env.HTTP(t)
}

// sameContext ends what it made with the context of the call.
func sameContext(d *definition) {
	whole := d.Generate
	d.Generate = func(ctx context.Context, s *tokenSpec, env provider.Env) (generator.Output, error) {
		return whole(ctx, s, bound{env, ctx})
	}
}

type bound struct {
	provider.Env
	ctx context.Context //nolint:containedctx // that is the defect
}

func (b bound) HTTP(t provider.TLS) (*http.Client, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, &secret.Error{Kind: secret.Unavailable, Op: "ask", Err: err}
	}
	return b.Env.HTTP(t)
}

func uncancelled(d *definition) {
	inner := d.Generate
	d.Generate = func(ctx context.Context, s *tokenSpec, env provider.Env) (generator.Output, error) {
		return inner(context.WithoutCancel(ctx), s, env)
	}
}

func cleanup(f func(ctx context.Context, s *tokenSpec, env provider.Env, state json.RawMessage, err error) error) func(*definition) {
	return func(d *definition) {
		inner := d.Cleanup
		d.Cleanup = func(ctx context.Context, s *tokenSpec, env provider.Env, state json.RawMessage) error {
			return f(ctx, s, env, state, inner(ctx, s, env, state))
		}
	}
}

// strict makes an error of what has ended.
func strict(ctx context.Context, s *tokenSpec, env provider.Env, state json.RawMessage, err error) error {
	if err != nil {
		return err
	}
	if id, _ := s.named(state); id != "" {
		_, err = s.ask(ctx, env, http.MethodPut, "/"+id)
	}
	return err
}

func onlyOnce(d *definition) {
	inner := d.Cleanup
	d.Cleanup = func(ctx context.Context, s *tokenSpec, env provider.Env, state json.RawMessage) error {
		id, err := s.named(state)
		if err != nil {
			return err
		}
		if _, err := s.ask(ctx, env, http.MethodPut, "/"+id); err != nil {
			return err
		}
		return inner(ctx, s, env, state)
	}
}

// greedy takes a state that it cannot read for all accounts.
func greedy(d *definition) {
	inner := d.Cleanup
	d.Cleanup = func(ctx context.Context, s *tokenSpec, env provider.Env, state json.RawMessage) error {
		if _, err := s.named(state); err == nil {
			return inner(ctx, s, env, state)
		}
		for i := range 100 {
			if _, err := s.ask(ctx, env, http.MethodDelete, fmt.Sprint("/account-", i)); err != nil && !errors.Is(err, secret.NotFound) {
				return err
			}
		}
		return nil
	}
}

func renew(f func(s *tokenSpec, env provider.Env, state json.RawMessage, life generator.Life, err error) (generator.Life, error)) func(*definition) {
	return func(d *definition) {
		inner := d.Renew
		d.Renew = func(ctx context.Context, s *tokenSpec, env provider.Env, state json.RawMessage) (generator.Life, error) {
			life, err := inner(ctx, s, env, state)
			return f(s, env, state, life, err)
		}
	}
}

func defects() map[string]defect {
	return map[string]defect{
		"a key that is not documented": {want: "values/keys", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) {
			out.Values["more"] = secret.FromString("x")
		})},
		"a value that is empty": {want: "values/keys", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) {
			out.Values["token"] = secret.Value{}
		})},
		"an output for another spec": {want: "values/keys", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) {
			out.Values["account"] = secret.FromString("account-0")
		})},
		"requests around Env":         {want: "values/keys", spoil: goAround},
		"the same values for all":     {want: "values/new", spoil: cached},
		"the same values at one time": {want: "concurrent calls", spoil: cached},
		"a map that is shared":        {want: "values/are the caller's", spoil: sharedMap},
		"the Env of another call":     {want: "concurrent calls", spoil: kept},
		"a spec that is changed": {want: "spec/unchanged", spoil: output(func(s *tokenSpec, _ provider.Env, _ *generator.Output) {
			s.Secret += "x"
		})},
		"a state that is changed": {want: "spec/unchanged", spoil: renew(func(_ *tokenSpec, _ provider.Env, state json.RawMessage, life generator.Life, err error) (generator.Life, error) {
			copy(state, bytes.ToUpper(state))
			return life, err
		})},
		"a spec that is not checked": {want: "spec/invalid", spoil: func(d *definition) { d.Validate = nil }},
		"a field that is not named":  {want: "spec/invalid", change: func(h *Harness) { h.Invalid = map[string]any{"spec.other": &tokenSpec{}} }},
		"a good spec that is refused": {want: "spec/invalid", spoil: func(d *definition) {
			d.Validate = func(s *tokenSpec) error { return s.fail(secret.Invalid, "validate", "spec.url") }
		}},
		"a value in the state": {want: "state", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) {
			out.State = jsonState(map[string]string{"token": string(out.Values["token"].Reveal())})
		})},
		"a credential in the state": {want: "state", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) {
			out.State = jsonState(map[string]string{"by": password})
		})},
		"a state that is no object":      {want: "state", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) { out.State = jsonState("account") })},
		"a state of what leaves nothing": {want: "state", change: func(h *Harness) { h.Live, h.Renews = nil, false }},
		"an end by another clock":        {want: "life", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) { out.Life.Expires = time.Now().Add(lasts) })},
		"an end that is not told":        {want: "life", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) { out.Life.Expires = time.Time{} })},
		"a renewal that is not told":     {want: "life", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) { out.Life.Renewable = false })},
		"a renewal that is not known":    {want: "renew/unsupported", change: func(h *Harness) { h.Renews = false }},
		"a renewal that fails":           {want: "renew/puts the end off", spoil: func(d *definition) { d.Renew = nil }},
		"a renewal that ends it":         {want: "renew/puts the end off", spoil: func(d *definition) { d.Renew = ending(d.Cleanup) }},
		"a renewal of what is gone succeeds": {want: "renew/gone", spoil: renew(func(_ *tokenSpec, _ provider.Env, _ json.RawMessage, life generator.Life, _ error) (generator.Life, error) {
			return life, nil
		})},
		"a renewal that changes nothing": {want: "renew/puts the end off", spoil: renew(func(_ *tokenSpec, env provider.Env, _ json.RawMessage, life generator.Life, err error) (generator.Life, error) {
			return generator.Life{Expires: env.Clock().Now(), Renewable: life.Renewable}, err
		})},
		"a cleanup that is missing":            {want: "cleanup/ends it", spoil: func(d *definition) { d.Cleanup = nil }},
		"a cleanup that ends all":              {want: "cleanup/ends it", spoil: func(d *definition) { greedy(d); everything(d) }},
		"a cleanup that works once":            {want: "cleanup/again", spoil: onlyOnce},
		"a cleanup that wants to find it":      {want: "cleanup/gone", spoil: onlyOnce},
		"a cleanup that looks again":           {want: "cleanup/again", spoil: cleanup(strict)},
		"a state that means everything":        {want: "cleanup/foreign state", spoil: greedy},
		"a leftover after a fault":             {want: "half-way/fault", spoil: leftover},
		"a leftover after the end of a call":   {want: "half-way/context", spoil: sameContext},
		"a wrong credential is called denied":  {want: "kind/unauthenticated", spoil: instead(secret.Unauthenticated, secret.Denied)},
		"denied is called unauthenticated":     {want: "kind/denied", spoil: instead(secret.Denied, secret.Unauthenticated)},
		"throttled is called unavailable":      {want: "kind/throttled", spoil: instead(secret.RateLimited, secret.Unavailable)},
		"the wait of a throttled call is lost": {want: "kind/throttled", spoil: instead(secret.RateLimited, secret.RateLimited)},
		"an outage is called a defect":         {want: "kind/unavailable", spoil: instead(secret.Unavailable, secret.Internal)},
		"an outage of the cleanup is ignored": {want: "kind/unavailable", spoil: cleanup(func(context.Context, *tokenSpec, provider.Env, json.RawMessage, error) error {
			return nil
		})},
		"an error without a kind":             {want: "kind/denied", spoil: failure(func(*tokenSpec, error) error { return errors.New("no") })},
		"an error with a value":               {want: "kind/denied", spoil: failure(func(s *tokenSpec, err error) error { return s.fail(secret.KindOf(err), "ask", "%s", password) })},
		"an error with an answer":             {want: "kind/denied", spoil: failure(func(s *tokenSpec, err error) error { return s.fail(secret.KindOf(err), "ask", providertest.Mark) })},
		"an error with another text":          {want: "kind/denied", spoil: counting},
		"an error and an output":              {want: "kind/denied", spoil: half},
		"a missing credential is called dark": {want: "credential/missing", spoil: instead(secret.Unauthenticated, secret.Unavailable)},
		"a denied credential is called wrong": {want: "credential/denied", spoil: instead(secret.Denied, secret.Unauthenticated)},
		"the reason of Env is lost":           {want: "credential/of a consumer", spoil: instead(secret.Unsupported, secret.Unsupported)},
		"an ended context is ignored":         {want: "context/ended", spoil: uncancelled},
		"a context that ends is ignored":      {want: "context/hanging", spoil: uncancelled},
		"a value in the log": {want: "values/keys", spoil: output(func(_ *tokenSpec, _ provider.Env, out *generator.Output) {
			slog.Debug("made", "values", string(out.Values["token"].Reveal()))
		})},
		"a value in an observation": {want: "values/keys", spoil: output(func(_ *tokenSpec, env provider.Env, out *generator.Output) {
			env.Observe("make", errors.New(string(out.Values["token"].Reveal())))
		})},
	}
}

func goAround(d *definition) {
	inner := d.Generate
	d.Generate = func(ctx context.Context, s *tokenSpec, env provider.Env) (generator.Output, error) {
		return inner(ctx, s, around{env})
	}
}

// everything ends all whatever the state says.
func everything(d *definition) {
	inner := d.Cleanup
	d.Cleanup = func(ctx context.Context, s *tokenSpec, env provider.Env, _ json.RawMessage) error {
		return inner(ctx, s, env, nil)
	}
}

// ending renews by ending.
func ending(end func(context.Context, *tokenSpec, provider.Env, json.RawMessage) error) func(context.Context, *tokenSpec, provider.Env, json.RawMessage) (generator.Life, error) {
	return func(ctx context.Context, s *tokenSpec, env provider.Env, state json.RawMessage) (generator.Life, error) {
		return generator.Life{Expires: env.Clock().Now().Add(lasts)}, end(ctx, s, env, state)
	}
}

func counting(d *definition) {
	var mu sync.Mutex
	n := 0
	failure(func(s *tokenSpec, err error) error {
		mu.Lock()
		defer mu.Unlock()
		n++
		return s.fail(secret.KindOf(err), "ask", "request %d", n)
	})(d)
}

// half returns what it has beside its error.
func half(d *definition) {
	d.Generate = after(d.Generate, func(_ *tokenSpec, _ provider.Env, out *generator.Output, err error) error {
		if err != nil {
			out.State = jsonState(map[string]string{"id": "account-0"})
		}
		return err
	})
}
