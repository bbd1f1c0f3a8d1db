package generator_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

type spec struct{ Size int }

// keeper is a service that remembers what it was asked.
type keeper struct{ calls []string }

func validate(s *spec) error {
	if s.Size < 0 {
		return &secret.Error{Kind: secret.Invalid, Op: "generate", Err: errors.New("spec.size is negative")}
	}
	return nil
}

// definition describes a generator that can do everything.
func (k *keeper) definition() generator.Definition[spec] {
	return generator.Definition[spec]{
		Kind:     "Test",
		Validate: validate,
		Generate: func(_ context.Context, _ *spec, env provider.Env) (generator.Output, error) {
			k.calls = append(k.calls, "generate")
			return generator.Output{Values: map[string]secret.Value{"v": secret.FromString("x")}, State: json.RawMessage(`{"id":1}`)}, nil
		},
		Renew: func(_ context.Context, _ *spec, _ provider.Env, state json.RawMessage) (generator.Life, error) {
			k.calls = append(k.calls, "renew "+string(state))
			return generator.Life{Expires: time.Unix(7, 0)}, nil
		},
		Cleanup: func(_ context.Context, _ *spec, _ provider.Env, state json.RawMessage) error {
			k.calls = append(k.calls, "cleanup "+string(state))
			return nil
		},
	}
}

func TestEveryCallValidatesFirst(t *testing.T) {
	calls := map[string]func(generator.Generator, any) error{
		"validate": func(g generator.Generator, s any) error { return g.Validate(s) },
		"generate": func(g generator.Generator, s any) error {
			out, err := g.Generate(t.Context(), s, nil)
			if (err == nil) != (len(out.Values) == 1) {
				t.Errorf("%d values with error %v", len(out.Values), err)
			}
			return err
		},
		"renew": func(g generator.Generator, s any) error {
			_, err := g.Renew(t.Context(), s, nil, json.RawMessage(`{}`))
			return err
		},
		"cleanup": func(g generator.Generator, s any) error {
			return g.Cleanup(t.Context(), s, nil, json.RawMessage(`{}`))
		},
	}
	cases := map[string]struct {
		spec     any
		validate func(*spec) error
		want     secret.Kind
	}{
		"good":                     {&spec{}, validate, ""},
		"wrong":                    {&spec{Size: -1}, validate, secret.Invalid},
		"anything, if all is good": {&spec{Size: -1}, nil, ""},
		"of another generator":     {&struct{}{}, validate, secret.Internal},
		"no pointer":               {spec{}, nil, secret.Internal},
		"a nil pointer":            {(*spec)(nil), nil, secret.Internal},
		"nil":                      {nil, nil, secret.Internal},
	}
	for name, c := range cases {
		for op, call := range calls {
			t.Run(op+" "+name, func(t *testing.T) {
				k := &keeper{}
				d := k.definition()
				d.Validate = c.validate
				if err := call(generator.Define(d), c.spec); secret.KindOf(err) != c.want {
					t.Errorf("error %v, want kind %q", err, c.want)
				}
				if reached := len(k.calls) == 1; reached != (c.want == "" && op != "validate") {
					t.Errorf("calls that got through: %v", k.calls)
				}
			})
		}
	}
}

func TestEachCallGetsWhatItWasGiven(t *testing.T) {
	k := &keeper{}
	g := generator.Define(k.definition())
	out, err := g.Generate(t.Context(), &spec{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	life, err := g.Renew(t.Context(), &spec{}, nil, out.State)
	if err != nil || !life.Expires.Equal(time.Unix(7, 0)) {
		t.Errorf("life %v, error %v", life, err)
	}
	if err := g.Cleanup(t.Context(), &spec{}, nil, out.State); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"generate", `renew {"id":1}`, `cleanup {"id":1}`}, k.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestWhatAKindLacks(t *testing.T) {
	k := &keeper{}
	d := k.definition()
	d.Renew, d.Cleanup = nil, nil
	g := generator.Define(d)
	if _, err := g.Renew(t.Context(), &spec{}, nil, json.RawMessage(`{}`)); !errors.Is(err, secret.Unsupported) {
		t.Errorf("renew: %v, want Unsupported", err)
	}
	if err := g.Cleanup(t.Context(), &spec{}, nil, json.RawMessage(`{"id":1}`)); err != nil {
		t.Errorf("cleanup where nothing is left behind: %v", err)
	}
}

func TestCleanupOfNothingIsNotAsked(t *testing.T) {
	for name, state := range map[string]json.RawMessage{"nil": nil, "empty": {}} {
		k := &keeper{}
		if err := generator.Define(k.definition()).Cleanup(t.Context(), &spec{}, nil, state); err != nil || len(k.calls) > 0 {
			t.Errorf("%s: error %v, calls %v", name, err, k.calls)
		}
	}
}

func TestRegistry(t *testing.T) {
	one := generator.Define((&keeper{}).definition())
	d := (&keeper{}).definition()
	d.Kind = "Another"
	two := generator.Define(d)
	r, err := generator.NewRegistry(one, two)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Kinds(); !slices.Equal(got, []string{"Another", "Test"}) {
		t.Errorf("kinds %v", got)
	}
	if got, err := r.Lookup("Test"); err != nil || got.Kind != "Test" || got.Validate(&spec{}) != nil {
		t.Errorf("got %q, %v", got.Kind, err)
	}
	_, err = r.Lookup("None")
	if !errors.Is(err, secret.Unsupported) || !strings.Contains(err.Error(), "generatorRef.kind") || !strings.Contains(err.Error(), "[Another Test]") {
		t.Errorf("a kind that is not there: %v", err)
	}
	if _, err := generator.NewRegistry(one, two, one); err == nil {
		t.Error("two of one kind are taken")
	}
}

func TestTheZeroRegistryHasNothing(t *testing.T) {
	var empty generator.Registry
	if _, err := empty.Lookup("Test"); !errors.Is(err, secret.Unsupported) || len(empty.Kinds()) != 0 {
		t.Errorf("error %v, kinds %v", err, empty.Kinds())
	}
}
