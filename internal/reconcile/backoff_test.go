package reconcile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/internal/reconcile/conditions/check"
	"github.com/keyferry/keyferry/secret"
)

const (
	ms     = time.Millisecond
	second = time.Second
	minute = time.Minute
)

func TestBackoff(t *testing.T) {
	cases := map[string]struct {
		err  error
		want []time.Duration // after the first, second, third, tenth and hundredth failure
	}{
		"NotFound":            {secret.NotFound, []time.Duration{2 * second, 4 * second, 8 * second, 5 * minute, 5 * minute}},
		"Unauthenticated":     {secret.Unauthenticated, []time.Duration{minute, 2 * minute, 4 * minute, 10 * minute, 10 * minute}},
		"Denied":              {secret.Denied, []time.Duration{minute, 2 * minute, 4 * minute, 10 * minute, 10 * minute}},
		"Conflict":            {secret.Conflict, []time.Duration{50 * ms, 100 * ms, 200 * ms, 25600 * ms, minute}},
		"RateLimited":         {secret.RateLimited, []time.Duration{second, 2 * second, 4 * second, 30 * second, 30 * second}},
		"Unavailable":         {secret.Unavailable, []time.Duration{second, 2 * second, 4 * second, 30 * second, 30 * second}},
		"Internal":            {secret.Internal, []time.Duration{second, 2 * second, 4 * second, 5 * minute, 5 * minute}},
		"no kind":             {errors.New("odd"), []time.Duration{second, 2 * second, 4 * second, 5 * minute, 5 * minute}},
		"as the store asks":   {&secret.Error{Kind: secret.RateLimited, RetryAfter: 3 * second}, []time.Duration{3 * second, 3 * second, 4 * second, 30 * second, 30 * second}},
		"longer than all":     {fmt.Errorf("a: %w", &secret.Error{Kind: secret.Unavailable, RetryAfter: time.Hour}), []time.Duration{time.Hour, time.Hour, time.Hour, time.Hour, time.Hour}},
		"Invalid":             {secret.Invalid, nil},
		"Unsupported":         {secret.Unsupported, nil},
		"stopped":             {reconcile.Stop(secret.Conflict), nil},
		"stopped and wrapped": {fmt.Errorf("a: %w", reconcile.Stop(&secret.Error{Kind: secret.Unavailable, RetryAfter: minute})), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []time.Duration
			for _, n := range []int{1, 2, 3, 10, 100} {
				if wait, again := reconcile.Backoff(c.err, n); again {
					got = append(got, wait)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if first, _ := reconcile.Backoff(c.err, 0); len(got) > 0 && first != got[0] {
				t.Errorf("before the first failure: %v", first)
			}
			if reconcile.Stuck(c.err) != (c.want == nil) {
				t.Errorf("stuck: %v", c.want != nil)
			}
		})
	}
	if reconcile.Stuck(nil) {
		t.Error("what went well is not stuck")
	}
}

func TestStopKeepsTheError(t *testing.T) {
	inner := &secret.Error{Kind: secret.Conflict, Op: "write"}
	err := reconcile.Stop(inner)
	if secret.KindOf(err) != secret.Conflict || !errors.Is(err, secret.Conflict) || err.Error() != inner.Error() {
		t.Errorf("got %v", err)
	}
}

func TestMessage(t *testing.T) {
	cases := map[string]struct {
		err  error
		want string
	}{
		"kind, cause, advice":         {&secret.Error{Kind: secret.NotFound, Provider: "vault", Op: "read", Ref: secret.Ref{Key: "db"}, Err: errors.New("no such key")}, "NotFound: vault read db: no such key (create it, or correct the reference)"},
		"the kind comes first, once":  {fmt.Errorf("SecretStore a/b: %w", &secret.Error{Kind: secret.Denied, Op: "read"}), "Denied: SecretStore a/b: read (grant the access, or refer to something that is allowed)"},
		"no advice":                   {&secret.Error{Kind: secret.Invalid, Err: errors.New("spec.data is empty")}, "Invalid: spec.data is empty"},
		"a kind alone":                {secret.Unavailable, "Unavailable (nothing was changed; it is tried again)"},
		"an Error of a kind alone":    {&secret.Error{Kind: secret.Conflict}, "Conflict"},
		"no kind":                     {errors.New("odd"), "Internal: odd"},
		"a kind inside another":       {&secret.Error{Kind: secret.Unauthenticated, Err: &secret.Error{Kind: secret.Invalid, Err: errors.New("x")}}, "Unauthenticated: Invalid: x (correct the credential of the store; a changed Secret is tried at once)"},
		"one line":                    {&secret.Error{Kind: secret.Invalid, Err: errors.New("line 1:\n\tbad\r\n  line 2")}, "Invalid: line 1: bad line 2"},
		"several errors":              {errors.Join(&secret.Error{Kind: secret.RateLimited, Op: "a"}, errors.New("b")), "RateLimited: a b (the store asks for fewer calls; it is tried again)"},
		"what is no text is left out": {errors.New("key \xff\xfe here"), "Internal: key here"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := reconcile.Message(c.err); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if again := reconcile.Message(c.err); again != c.want {
				t.Errorf("the second time %q", again)
			}
			check.Conditions(t, conditions.Set(nil, conditions.Failed("SomeReason", reconcile.Message(c.err), reconcile.Stuck(c.err)), time.Unix(1, 0)))
		})
	}
}

func TestALongMessageIsClippedAndKeepsItsAdvice(t *testing.T) {
	for n := range 4 { // wherever the cut falls
		got := reconcile.Message(&secret.Error{Kind: secret.NotFound, Err: errors.New(strings.Repeat("x", n) + strings.Repeat("é", 2000))})
		if len(got) > 1024 || len(got) < 1020 || !utf8.ValidString(got) {
			t.Errorf("%d bytes, valid: %v", len(got), utf8.ValidString(got))
		}
		if !strings.HasPrefix(got, "NotFound: ") || !strings.HasSuffix(got, "é… (create it, or correct the reference)") {
			t.Errorf("got %q", got)
		}
	}
}
