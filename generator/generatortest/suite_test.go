package generatortest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

// red returns the failures of one check.
func red(parent *testing.T, c check, d *generator.Definition[tokenSpec], change func(*Harness)) []string {
	return suite.Try(parent.Context(), func(t T) {
		h := newService(t).harness(t, d)
		if change != nil {
			change(&h)
		}
		if h.wants(c) {
			c.perform(t, h, suite.Listen(t))
		}
	})
}

func TestGoodGeneratorPasses(t *testing.T) {
	Run(t, newService(t).harness(t, good()))
}

type localSpec struct{ Length int }

func local(t *testing.T) Harness {
	t.Helper()
	return Harness{
		Env: providertest.NewEnv(t), Local: true, Secret: []string{"text"},
		Spec:    func(providertest.Situation) any { return &localSpec{} },
		Without: map[string]string{"spec/invalid": "everything goes"},
		Generator: generator.Define(generator.Definition[localSpec]{
			Kind: "Text",
			Generate: func(context.Context, *localSpec, provider.Env) (generator.Output, error) {
				return generator.Output{Values: map[string]secret.Value{"text": secret.FromString(rand.Text())}}, nil
			},
		}),
	}
}

func TestGoodLocalGeneratorPasses(t *testing.T) {
	Run(t, local(t))
}

func TestBadGeneratorsFail(t *testing.T) {
	for name, tc := range defects() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := good()
				if tc.spoil != nil {
					tc.spoil(d)
				}
				i := slices.IndexFunc(checks(), func(c check) bool { return c.name == tc.want })
				if len(red(t, checks()[i], d, tc.change)) == 0 {
					t.Errorf("%q holds", tc.want)
				}
			})
		})
	}
}

// Every promise is proven by a generator that breaks it.
func TestEveryCheckHasADefect(t *testing.T) {
	shown := map[string]bool{"spec/of another kind": true} // Define keeps it
	for _, d := range defects() {
		shown[d.want] = true
	}
	for _, c := range checks() {
		if !shown[c.name] {
			t.Errorf("no defect shows that %q can fail", c.name)
		}
	}
}

func TestGoodGeneratorIsNotRed(t *testing.T) {
	for _, c := range checks() {
		synctest.Test(t, func(t *testing.T) {
			if diff := cmp.Diff([]string(nil), red(t, c, good(), nil)); diff != "" {
				t.Errorf("%s: %s", c.name, diff)
			}
		})
	}
}

func TestHarnessProblems(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Harness)
		want   string
	}{
		"complete":                            {change: func(*Harness) {}},
		"no spec":                             {change: func(h *Harness) { h.Spec = nil }, want: "required"},
		"no keys":                             {change: func(h *Harness) { h.Secret, h.Public = nil, nil }, want: "keys"},
		"no secret key":                       {change: func(h *Harness) { h.Secret = nil }, want: "values/new"},
		"nothing that is refused":             {change: func(h *Harness) { h.Invalid = nil }, want: "spec/invalid"},
		"no sign of hanging":                  {change: func(h *Harness) { h.Reached = nil }, want: "context/hanging"},
		"no sign of hanging, with a reason":   {change: func(h *Harness) { h.Reached, h.Without = nil, map[string]string{"context/hanging": "no"} }},
		"no way to lose":                      {change: func(h *Harness) { h.Lose = nil }, want: "cleanup/gone"},
		"renewal of what has no end":          {change: func(h *Harness) { h.Lasts = 0 }, want: "Lasts"},
		"an excuse for no check":              {change: func(h *Harness) { h.Without = map[string]string{"kind/none": "no"} }, want: "kind/none"},
		"an excuse that is not allowed":       {change: func(h *Harness) { h.Without = map[string]string{"state": "no"} }, want: "state"},
		"an excuse without a reason":          {change: func(h *Harness) { h.Without = map[string]string{"kind/denied": ""} }, want: "kind/denied"},
		"an excuse for what is not asked for": {change: func(h *Harness) { h.Local, h.Without = true, map[string]string{"kind/denied": "no"} }, want: "kind/denied"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newService(t).harness(t, good())
			tc.change(&h)
			got := h.problem()
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("problem: %q, want one about %q", got, tc.want)
			}
		})
	}
}

func jsonState(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}
