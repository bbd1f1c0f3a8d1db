package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

// red returns the failures of the checks that do not hold for a store.
func red(parent *testing.T, wrap func(*memory) provider.Store, change func(*Harness)) map[string][]string {
	out := map[string][]string{}
	for _, c := range checks() {
		failures := suite.Try(parent.Context(), func(t T) {
			h := newBackend(t).harness(t, wrap)
			if change != nil {
				change(&h)
			}
			if h.wants(c) {
				c.perform(t, h, suite.Listen(t))
			}
		})
		if len(failures) > 0 {
			out[c.name] = failures
		}
		if len(failures) > 0 && c.name == abilitiesName {
			break
		}
	}
	return out
}

func TestGoodStorePasses(t *testing.T) {
	Run(t, newBackend(t).harness(t, asIs))
}

func TestGoodStoreWithFewAbilitiesPasses(t *testing.T) {
	h := newBackend(t).harness(t, func(s *memory) provider.Store {
		return tampered{get: func(ctx context.Context, ref secret.Ref, _ *memory) (secret.Secret, error) {
			switch {
			case ref.Version != "":
				return secret.Secret{}, s.fail(secret.Unsupported, "read", ref, "remoteRef.version: there are no versions")
			case ref.Metadata:
				return secret.Secret{}, s.fail(secret.Unsupported, "read", ref, "remoteRef.metadataPolicy: there is no metadata")
			}
			return s.Get(ctx, ref)
		}}.only(s)
	})
	h.Abilities = []Ability{Reader}
	Run(t, h)
}

// only leaves Get and Close.
func (s tampered) only(m *memory) provider.Store {
	s.memory = m
	return readOnly{m, s}
}

func TestBadStoresFail(t *testing.T) {
	for name, tc := range map[string]struct {
		wrap   func(*memory) provider.Store
		change func(*Harness)
		want   string
	}{
		"absent is called unavailable":         {wrap: instead(secret.NotFound, secret.Unavailable), want: "get/absent"},
		"absent is called denied":              {wrap: instead(secret.NotFound, secret.Denied), want: "get/deleted"},
		"a wrong credential is called denied":  {wrap: instead(secret.Unauthenticated, secret.Denied), want: "kind/unauthenticated"},
		"denied is called unauthenticated":     {wrap: instead(secret.Denied, secret.Unauthenticated), want: "kind/denied"},
		"denied is called absent":              {wrap: instead(secret.Denied, secret.NotFound), want: "kind/denied"},
		"throttled is called unavailable":      {wrap: instead(secret.RateLimited, secret.Unavailable), want: "kind/throttled"},
		"the wait of a throttled call is lost": {wrap: instead(secret.RateLimited, secret.RateLimited), want: "kind/throttled"},
		"an outage is called absence":          {wrap: instead(secret.Unavailable, secret.NotFound), want: "kind/unavailable"},
		"an error without a kind": {
			wrap: reshaped(func(*memory, secret.Ref, error) error { return errors.New("no") }), want: "get/absent",
		},
		"an error of two lines": {
			wrap: reshaped(func(s *memory, ref secret.Ref, err error) error {
				return fmt.Errorf("one\ntwo: %w", s.fail(secret.KindOf(err), "read", ref, "no"))
			}), want: "kind/denied",
		},
		"an error without the key": {
			wrap: reshaped(func(s *memory, _ secret.Ref, err error) error {
				return s.fail(secret.KindOf(err), "read", secret.Ref{}, "nothing")
			}), want: "get/absent",
		},
		"an error with another text each time": {wrap: countingTexts(), want: "kind/denied"},
		"a value in an error": {
			wrap: reshaped(func(s *memory, ref secret.Ref, err error) error {
				return s.fail(secret.KindOf(err), "read", ref, "expected %s", plain("x"))
			}), want: "kind/denied",
		},
		"a value in the chain of an error, in one format": {
			wrap: reshaped(func(s *memory, ref secret.Ref, err error) error {
				return s.fail(secret.KindOf(err), "read", ref, "%w", verbose{Mark})
			}), want: "kind/unavailable",
		},
		"a credential in an error": {
			wrap: reshaped(func(s *memory, ref secret.Ref, err error) error {
				return s.fail(secret.KindOf(err), "read", ref, "open sesame 4711 is wrong")
			}), want: "kind/unauthenticated",
		},
		"a value in the log":                {wrap: tamper(loggedGet), want: "get/exact value"},
		"a value in an observation":         {wrap: tamper(observedGet), want: "get/exact value"},
		"numbers go through floats":         {wrap: tamper(throughFloats), want: "get/exact value"},
		"values are trimmed":                {wrap: tamper(trimmed), want: "get/exact value"},
		"the deleted is still there":        {wrap: tamper(undead), want: "get/deleted"},
		"versions are ignored":              {wrap: tamper(unversioned), want: "get/version"},
		"the value for the metadata":        {wrap: tamper(valueForMetadata), want: "get/metadata"},
		"results are shared":                {wrap: shared(), change: fieldV, want: "get/results are the caller's"},
		"batch in the order of the backend": {wrap: badBatch(sortedBatch), want: "batch/order"},
		"batch fails as a whole":            {wrap: badBatch(allOrNothing), want: "batch/partial failure"},
		"batch is not split":                {wrap: badBatch(smallBatch), want: "batch/large"},
		"no paging":                         {wrap: badList(firstPage), want: "list/pages"},
		"a listing that cannot be stopped":  {wrap: badList(unstoppable), want: "list/caller stops"},
		"a listing that repeats itself":     {wrap: badList(twice), want: "list/group"},
		"a listing with wrong values":       {wrap: badList(wrongItems), want: "list/values"},
		"a listing that ignores tags":       {wrap: badList(untagged), want: "list/tags"},
		"a listing that ignores the path":   {wrap: badList(unrooted), want: "list/path"},
		"a listing that swallows errors":    {wrap: badList(silentlyEmpty), want: "kind/denied"},
		"a stub of List":                    {wrap: badList(listStub), want: "list/group"},
		"an ability that is not named":      {wrap: asIs, change: without(Lister), want: abilitiesName},
		"a named ability that is missing": {
			wrap: func(s *memory) provider.Store { return readOnly{s, s} }, want: abilitiesName,
		},
		"versions are ignored where there are none": {wrap: tamper(unversioned), change: without(Versions), want: "get/version"},
		"a check that always succeeds": {
			wrap: badCheck(func(context.Context, *memory) error { return nil }), want: "kind/unauthenticated",
		},
		"a check that always fails": {
			wrap: badCheck(func(_ context.Context, s *memory) error {
				return s.fail(secret.Denied, "check", secret.Ref{}, "no")
			}), want: "check/good",
		},
		"an ended context is ignored":      {wrap: tamper(uncancelled), want: "context/ended"},
		"a context that ends is ignored":   {wrap: tamper(stuck), want: "context/hanging"},
		"concurrent calls are mixed up":    {wrap: mixedUp, want: "concurrent calls"},
		"a panic after Close":              {wrap: tamper(panicking), want: "close"},
		"a store that goes on after Close": {wrap: func(s *memory) provider.Store { return unclosable{s} }, want: "close"},
		"stores that close together":       {wrap: joined(), want: "stores are independent"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := red(t, tc.wrap, tc.change)
				if len(got[tc.want]) == 0 {
					t.Errorf("%q holds; those that do not: %v", tc.want, secret.Keys(got))
				}
			})
		})
	}
}

func without(a Ability) func(*Harness) {
	return func(h *Harness) {
		h.Abilities = slices.DeleteFunc(h.Abilities, func(b Ability) bool { return a == b })
	}
}

func fieldV(h *Harness) {
	h.Value = func(s secret.Secret) secret.Value {
		if s.Fields == nil {
			return s.Value
		}
		return s.Fields["v"]
	}
}

func TestHarnessProblems(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Harness)
		want   string
	}{
		"complete":                      {change: func(*Harness) {}},
		"no way to open":                {change: func(h *Harness) { h.Open = nil }, want: "required"},
		"no page size":                  {change: func(h *Harness) { h.Page = 0 }, want: "list/pages"},
		"no page size, with a reason":   {change: func(h *Harness) { h.Page, h.Without = 0, map[string]string{"list/pages": "one page"} }},
		"no look at what is held":       {change: func(h *Harness) { h.Held = nil }, want: "write/create"},
		"nothing of another owner's":    {change: func(h *Harness) { h.Foreign = nil }, want: "write/foreign owner"},
		"no sign of hanging":            {change: func(h *Harness) { h.Reached = nil }, want: "context/hanging"},
		"an excuse for no check":        {change: func(h *Harness) { h.Without = map[string]string{"get/nothing": "no"} }, want: "get/nothing"},
		"an excuse that is not allowed": {change: func(h *Harness) { h.Without = map[string]string{"get/absent": "no"} }, want: "get/absent"},
		"an excuse without a reason":    {change: func(h *Harness) { h.Without = map[string]string{"list/pages": ""} }, want: "list/pages"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newBackend(t).harness(t, asIs)
			tc.change(&h)
			got := h.problem()
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("problem: %q, want one about %q", got, tc.want)
			}
		})
	}
}
