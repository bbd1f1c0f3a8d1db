package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/keyferry/keyferry/secret"
)

// Definition describes a provider whose part of a store's manifest is an S.
type Definition[S any] struct {
	// Name is the key under spec.provider.
	Name string
	// Label is the provider label of ESO's metrics, such as "HashiCorp/Vault".
	Label string
	// Service, if not nil, names the part of the backend that a spec is for: the label
	// is "Label/Service" then.
	Service func(spec *S) string
	// Access is what its stores can do.
	Access Access
	// Validate checks a spec without I/O; its errors are Invalid and name the
	// field. Nil accepts everything.
	Validate func(spec *S) error
	// Address returns the ref that serves ref at the backend; refs with equal
	// addresses share one read. A property that stays in the address is resolved by
	// the backend, and not again above it. Nil drops Property and Namespace, which
	// is right for every backend that stores whole secrets.
	Address func(spec *S, ref secret.Ref) secret.Ref
	// Batch is how many secrets one call of the backend reads, for a provider whose
	// stores are a Batcher: reads are gathered for a moment to fill a call. Nil or 0
	// says that nothing is won by waiting.
	Batch func(spec *S) int
	// Flat is true if the properties of a secret are the names of its fields, never
	// paths: "a.b" is written as one field of that name.
	Flat bool
	// Open connects. It may log in, or leave that to the first call.
	Open func(ctx context.Context, spec *S, env Env) (Store, error)
}

// Provider is a Definition with its type hidden.
type Provider struct {
	Name     string
	label    func(spec any) string
	Access   Access
	Flat     bool
	batch    func(spec any) int
	validate func(spec any) error
	address  func(spec any, ref secret.Ref) secret.Ref
	open     func(ctx context.Context, spec any, env Env) (Store, error)
}

// Define returns the Provider of a Definition.
func Define[S any](d Definition[S]) Provider {
	cast := d.cast
	return Provider{
		Name: d.Name, Access: d.Access, Flat: d.Flat, label: d.label, batch: d.batch,
		validate: func(spec any) error {
			s, err := cast(spec)
			if err != nil || d.Validate == nil {
				return err
			}
			return d.Validate(s)
		},
		address: func(spec any, ref secret.Ref) secret.Ref {
			if s, err := cast(spec); err == nil && d.Address != nil {
				return d.Address(s, ref)
			}
			ref.Property, ref.Namespace = "", ""
			return ref
		},
		open: func(ctx context.Context, spec any, env Env) (Store, error) {
			s, err := cast(spec)
			if err != nil {
				return nil, err
			}
			return d.Open(ctx, s, env)
		},
	}
}

func (d Definition[S]) cast(spec any) (*S, error) {
	s, ok := spec.(*S)
	if !ok || s == nil {
		return nil, &secret.Error{Kind: secret.Internal, Op: "open", Provider: d.Name, Err: fmt.Errorf("spec is a %T", spec)}
	}
	return s, nil
}

func (d Definition[S]) label(spec any) string {
	if s, err := d.cast(spec); err == nil && d.Service != nil {
		return d.Label + "/" + d.Service(s)
	}
	return d.Label
}

func (d Definition[S]) batch(spec any) int {
	if s, err := d.cast(spec); err == nil && d.Batch != nil {
		return d.Batch(s)
	}
	return 0
}

// Label is the provider label of ESO's metrics for a spec.
func (p Provider) Label(spec any) string { return p.label(spec) }

// Validate checks a spec without I/O. Its errors are Invalid and name the field.
func (p Provider) Validate(spec any) error { return p.validate(spec) }

// Address returns the ref that serves ref at the backend. It does no I/O.
func (p Provider) Address(spec any, ref secret.Ref) secret.Ref { return p.address(spec, ref) }

// Batch is how many secrets one call of the backend reads; 0 if it is not worth
// waiting for more. It does no I/O.
func (p Provider) Batch(spec any) int { return p.batch(spec) }

// Open validates the spec and connects.
func (p Provider) Open(ctx context.Context, spec any, env Env) (Store, error) {
	if err := p.validate(spec); err != nil {
		return nil, err
	}
	return p.open(ctx, spec, env)
}

// Registry holds the providers of a build. It is a value: nothing registers itself.
type Registry struct{ byName map[string]Provider }

// NewRegistry returns a registry of the providers. Two of one name are an error.
func NewRegistry(providers ...Provider) (Registry, error) {
	r := Registry{byName: make(map[string]Provider, len(providers))}
	for _, p := range providers {
		if _, dup := r.byName[p.Name]; dup {
			return Registry{}, fmt.Errorf("provider %q is registered twice", p.Name)
		}
		r.byName[p.Name] = p
	}
	return r, nil
}

// Lookup returns the provider of that name. It fails with Unsupported if this
// build has none, and the error lists those it has.
func (r Registry) Lookup(name string) (Provider, error) {
	p, ok := r.byName[name]
	if !ok {
		return Provider{}, &secret.Error{Kind: secret.Unsupported, Op: "open", Err: fmt.Errorf("spec.provider.%s is not a provider of this build; it has %v", name, r.Names())}
	}
	return p, nil
}

// Names lists the providers in order.
func (r Registry) Names() []string { return slices.Sorted(maps.Keys(r.byName)) }
