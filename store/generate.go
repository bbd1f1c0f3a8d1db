package store

import (
	"context"
	"encoding/json"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/secret"
)

// Generator is a generator as its manifest describes it, seen by one consumer.
type Generator struct {
	// Kind is the kind of the registry, such as "Password", and Spec what the
	// manifest has for it.
	Kind string
	Spec any
	// Name is that of the manifest, Namespace that of the consumer: what the spec
	// refers to is there, whatever kind the manifest is.
	Namespace, Name string
	// Cluster is true for a ClusterGenerator: an administrator names its endpoints.
	Cluster bool
}

// Generate makes new values. It makes one attempt: whoever repeats it gets others.
// The error is the generator's; nothing is left behind then that can be ended.
func (p *Pool) Generate(ctx context.Context, g Generator) (out generator.Output, err error) {
	err = p.generate(ctx, g, func(ctx context.Context, of generator.Generator, e *env) error {
		out, err = of.Generate(ctx, g.Spec, e)
		return err
	})
	return out, err
}

// Renew extends the life of what an output left behind. It fails with Unsupported if
// the kind knows no renewal, and with NotFound if it is too late.
func (p *Pool) Renew(ctx context.Context, g Generator, state json.RawMessage) (life generator.Life, err error) {
	err = p.generate(ctx, g, func(ctx context.Context, of generator.Generator, e *env) error {
		life, err = of.Renew(ctx, g.Spec, e, state)
		return err
	})
	return life, err
}

// Cleanup ends what an output left behind. It may be repeated.
func (p *Pool) Cleanup(ctx context.Context, g Generator, state json.RawMessage) error {
	return p.generate(ctx, g, func(ctx context.Context, of generator.Generator, e *env) error {
		return of.Cleanup(ctx, g.Spec, e, state)
	})
}

// generate runs one call of a generator: slot, deadline, kind of the error.
func (p *Pool) generate(ctx context.Context, g Generator, f func(context.Context, generator.Generator, *env) error) error {
	of, err := p.cfg.Generators.Lookup(g.Kind)
	if err != nil {
		return err
	}
	select {
	case p.making <- struct{}{}:
		defer func() { <-p.making }()
	case <-ctx.Done():
		return &secret.Error{Kind: secret.Unavailable, Op: "wait", Provider: g.Kind, Err: ctx.Err()}
	}
	ctx, cancel := p.deadline(ctx)
	defer cancel()
	place := Place{Kind: g.Kind, Namespace: g.Namespace, Name: g.Name, Provider: g.Kind, Spec: g.Spec}
	e := &env{place: place, pool: p, label: "Generator/" + g.Kind, trusted: g.Cluster, deps: map[Dependency]string{}, accounts: map[string]bool{}}
	err = f(ctx, of, e)
	if secret.KindOf(err) == secret.Unauthenticated {
		e.refused()
	}
	if secret.KindOf(err) == secret.Internal {
		err = &secret.Error{Kind: secret.Internal, Provider: g.Kind, Err: err}
	}
	return err
}

// deadline ends a call after its time, and when the pool is closed.
func (p *Pool) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.CallTimeout)
	go func() {
		select {
		case <-p.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
