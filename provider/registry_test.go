package provider_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

type spec struct{ URL string }

type nothing struct{}

func (nothing) Close() error { return nil }

func validate(s *spec) error {
	if s.URL == "" {
		return &secret.Error{Kind: secret.Invalid, Op: "open", Err: errors.New("spec.provider.test.url is empty")}
	}
	return nil
}

// define returns a provider that counts how often it is opened.
func define(opened *int, change func(*provider.Definition[spec])) provider.Provider {
	d := provider.Definition[spec]{Name: "test", Label: "Test", Access: provider.ReadWrite, Open: func(context.Context, *spec, provider.Env) (provider.Store, error) {
		*opened++
		return nothing{}, nil
	}}
	if change != nil {
		change(&d)
	}
	return provider.Define(d)
}

func TestOpenValidatesFirst(t *testing.T) {
	cases := map[string]struct {
		spec     any
		validate func(*spec) error
		want     secret.Kind
	}{
		"good":                     {&spec{URL: "u"}, validate, ""},
		"wrong":                    {&spec{}, validate, secret.Invalid},
		"anything, if all is good": {&spec{}, nil, ""},
		"of another provider":      {&struct{}{}, validate, secret.Internal},
		"no pointer":               {spec{URL: "u"}, nil, secret.Internal},
		"a nil pointer":            {(*spec)(nil), nil, secret.Internal},
		"nil":                      {nil, nil, secret.Internal},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			opened := 0
			p := define(&opened, func(d *provider.Definition[spec]) { d.Validate = c.validate })
			if err := p.Validate(c.spec); secret.KindOf(err) != c.want || opened != 0 {
				t.Errorf("validate: %v, opened %d times", err, opened)
			}
			s, err := p.Open(t.Context(), c.spec, nil)
			if good := c.want == ""; secret.KindOf(err) != c.want || (s != nil) != good || (opened == 1) != good {
				t.Errorf("open: %v, %v, opened %d times", s, err, opened)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	ref := secret.Ref{Key: "k", Property: "p", Version: "v", Metadata: true, Namespace: "n"}
	whole := secret.Ref{Key: "k", Version: "v", Metadata: true}
	own := func(s *spec, r secret.Ref) secret.Ref { r.Key = s.URL + r.Key; return r }
	cases := map[string]struct {
		address func(*spec, secret.Ref) secret.Ref
		spec    any
		want    secret.Ref
	}{
		"by default whole secrets, for whomever": {nil, &spec{}, whole},
		"as the provider has it":                 {own, &spec{URL: "u/"}, secret.Ref{Key: "u/k", Property: "p", Version: "v", Metadata: true, Namespace: "n"}},
		"spec of another provider":               {own, &struct{}{}, whole},
	}
	for name, c := range cases {
		p := define(new(int), func(d *provider.Definition[spec]) { d.Address = c.address })
		if got := p.Address(c.spec, ref); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestRegistry(t *testing.T) {
	one := define(new(int), nil)
	two := define(new(int), func(d *provider.Definition[spec]) {
		d.Name, d.Label, d.Access = "another", "Another", provider.ReadOnly
	})
	r, err := provider.NewRegistry(one, two)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Names(); !slices.Equal(got, []string{"another", "test"}) {
		t.Errorf("names %v", got)
	}
	if got, err := r.Lookup("test"); err != nil || got.Label(nil) != "Test" || got.Access != provider.ReadWrite {
		t.Errorf("got %q %q, %v", got.Label(nil), got.Access, err)
	}
	if _, err := r.Lookup("none"); secret.KindOf(err) != secret.Unsupported || !strings.Contains(err.Error(), "[another test]") {
		t.Errorf("none: %v", err)
	}
	if _, err := provider.NewRegistry(one, one); err == nil {
		t.Error("two of one name")
	}
	var empty provider.Registry
	if _, err := empty.Lookup("test"); secret.KindOf(err) != secret.Unsupported || len(empty.Names()) != 0 {
		t.Errorf("the zero registry: %v", err)
	}
}

func TestErrReferentSaysWhatIsMissing(t *testing.T) {
	if text := provider.ErrReferent.Error(); !strings.Contains(text, "namespace") || strings.Contains(text, "\n") {
		t.Errorf("got %q", text)
	}
}
