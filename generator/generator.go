package generator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Output is what a generator made.
type Output struct {
	// Values are by the names that the kind documents. Never empty.
	Values map[string]secret.Value
	// State is what Cleanup and Renew need to find what was made: IDs, never a value.
	// Nil if nothing is left behind that has to be ended. It is a JSON object.
	State json.RawMessage
	// Life is how long the values are good for.
	Life Life
}

// Life is how long values are good for. The zero Life has no end that is known.
type Life struct {
	// Expires is when they end by themselves.
	Expires time.Time
	// Renewable is true if Renew may put that off.
	Renewable bool
}

// Definition describes the generators of one kind, whose manifest has an S.
type Definition[S any] struct {
	// Kind is the kind of the manifest, such as "Password".
	Kind string
	// Validate checks a spec without I/O; its errors are Invalid and name the field.
	// Nil accepts everything.
	Validate func(spec *S) error
	// Keys returns the names of the values that a valid spec leads to, each time the
	// same. Nil if a service decides about them.
	Keys func(spec *S) []string
	// Generate makes new values, each time others unless the kind is Fake. A call that
	// fails leaves nothing behind that it can end.
	Generate func(ctx context.Context, spec *S, env provider.Env) (Output, error)
	// Renew extends the life of what State names. It fails with NotFound if that has
	// ended. Nil if nothing of the kind can be extended.
	Renew func(ctx context.Context, spec *S, env provider.Env, state json.RawMessage) (Life, error)
	// Cleanup ends what State names. That it has ended is no error. Nil if nothing
	// is ever left behind.
	Cleanup func(ctx context.Context, spec *S, env provider.Env, state json.RawMessage) error
}

// Generator is a Definition with its type hidden.
type Generator struct {
	Kind     string
	validate func(spec any) error
	keys     func(spec any) []string
	generate func(ctx context.Context, spec any, env provider.Env) (Output, error)
	renew    func(ctx context.Context, spec any, env provider.Env, state json.RawMessage) (Life, error)
	cleanup  func(ctx context.Context, spec any, env provider.Env, state json.RawMessage) error
}

// Define returns the Generator of a Definition.
func Define[S any](d Definition[S]) Generator {
	check := func(spec any) (*S, error) {
		s, ok := spec.(*S)
		if !ok || s == nil {
			return nil, &secret.Error{Kind: secret.Internal, Op: "generate", Provider: d.Kind, Err: fmt.Errorf("spec is a %T", spec)}
		}
		if d.Validate == nil {
			return s, nil
		}
		return s, d.Validate(s)
	}
	g := Generator{Kind: d.Kind}
	g.validate = func(spec any) error { _, err := check(spec); return err }
	if d.Keys != nil {
		g.keys = func(spec any) []string {
			s, err := check(spec)
			if err != nil {
				return nil
			}
			return d.Keys(s)
		}
	}
	g.generate = func(ctx context.Context, spec any, env provider.Env) (Output, error) {
		s, err := check(spec)
		if err != nil {
			return Output{}, err
		}
		return d.Generate(ctx, s, env)
	}
	if d.Renew != nil {
		g.renew = func(ctx context.Context, spec any, env provider.Env, state json.RawMessage) (Life, error) {
			s, err := check(spec)
			if err != nil {
				return Life{}, err
			}
			return d.Renew(ctx, s, env, state)
		}
	}
	if d.Cleanup != nil {
		g.cleanup = func(ctx context.Context, spec any, env provider.Env, state json.RawMessage) error {
			s, err := check(spec)
			if err != nil {
				return err
			}
			return d.Cleanup(ctx, s, env, state)
		}
	}
	return g
}

// Validate checks a spec without I/O. Its errors are Invalid and name the field.
func (g Generator) Validate(spec any) error { return g.validate(spec) }

// Keys returns the names of the values that the spec leads to; nil if a service decides
// about them, or the spec is not valid.
func (g Generator) Keys(spec any) []string {
	if g.keys == nil {
		return nil
	}
	return g.keys(spec)
}

// Generate validates the spec and makes new values.
func (g Generator) Generate(ctx context.Context, spec any, env provider.Env) (Output, error) {
	return g.generate(ctx, spec, env)
}

// Renew extends the life of what an output left behind. It fails with Unsupported if
// the kind knows no renewal, and with NotFound if it is too late.
func (g Generator) Renew(ctx context.Context, spec any, env provider.Env, state json.RawMessage) (Life, error) {
	if g.renew == nil {
		return Life{}, &secret.Error{Kind: secret.Unsupported, Op: "renew", Provider: g.Kind, Err: errors.New("what it makes cannot be extended")}
	}
	return g.renew(ctx, spec, env, state)
}

// Cleanup ends what an output left behind; nothing happens if the kind leaves nothing.
func (g Generator) Cleanup(ctx context.Context, spec any, env provider.Env, state json.RawMessage) error {
	if g.cleanup == nil || len(state) == 0 {
		return nil
	}
	return g.cleanup(ctx, spec, env, state)
}

// Registry holds the generators of a build. It is a value: nothing registers itself.
type Registry struct{ byKind map[string]Generator }

// NewRegistry returns a registry of the generators. Two of one kind are an error.
func NewRegistry(generators ...Generator) (Registry, error) {
	r := Registry{byKind: make(map[string]Generator, len(generators))}
	for _, g := range generators {
		if _, dup := r.byKind[g.Kind]; dup {
			return Registry{}, fmt.Errorf("generator %q is registered twice", g.Kind)
		}
		r.byKind[g.Kind] = g
	}
	return r, nil
}

// Lookup returns the generator of that kind. It fails with Unsupported if this build
// has none, and the error lists those it has.
func (r Registry) Lookup(kind string) (Generator, error) {
	g, ok := r.byKind[kind]
	if !ok {
		return Generator{}, &secret.Error{Kind: secret.Unsupported, Op: "generate", Err: fmt.Errorf("generatorRef.kind %s is not a generator of this build; it has %v", kind, r.Kinds())}
	}
	return g, nil
}

// Kinds lists the kinds in order.
func (r Registry) Kinds() []string { return slices.Sorted(maps.Keys(r.byKind)) }
