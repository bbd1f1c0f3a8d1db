package secret_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/keyferry/keyferry/secret"
)

func TestErrorText(t *testing.T) {
	cause := errors.New("no such key")
	cases := map[string]struct {
		err  secret.Error
		want string
	}{
		"all of it":        {secret.Error{Kind: secret.NotFound, Provider: "vault", Op: "read", Ref: secret.Ref{Key: "db", Property: "user", Version: "3"}, Err: cause}, "NotFound: vault read db#user@3: no such key"},
		"a key alone":      {secret.Error{Kind: secret.Denied, Ref: secret.Ref{Key: "db"}}, "Denied: db"},
		"no cause":         {secret.Error{Kind: secret.Denied, Provider: "vault", Op: "read"}, "Denied: vault read"},
		"no provider":      {secret.Error{Kind: secret.Invalid, Op: "decode", Err: cause}, "Invalid: decode: no such key"},
		"a cause alone":    {secret.Error{Kind: secret.Internal, Err: cause}, "Internal: no such key"},
		"a kind alone":     {secret.Error{Kind: secret.Conflict}, "Conflict"},
		"one line":         {secret.Error{Kind: secret.Invalid, Ref: secret.Ref{Key: "a\nb"}, Err: errors.New("x\r\ny")}, "Invalid: a b: x  y"},
		"no retry-after":   {secret.Error{Kind: secret.RateLimited, RetryAfter: time.Minute}, "RateLimited"},
		"metadata is mute": {secret.Error{Kind: secret.NotFound, Ref: secret.Ref{Key: "k", Metadata: true, Namespace: "n"}}, "NotFound: k"},
	}
	for name, c := range cases {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestKindOf(t *testing.T) {
	denied := &secret.Error{Kind: secret.Denied, RetryAfter: time.Minute, Err: io.EOF}
	cases := map[string]struct {
		err  error
		want secret.Kind
		wait time.Duration
	}{
		"nil":                         {nil, "", 0},
		"an Error":                    {denied, secret.Denied, time.Minute},
		"wrapped":                     {fmt.Errorf("a: %w", fmt.Errorf("b: %w", denied)), secret.Denied, time.Minute},
		"a kind":                      {secret.Conflict, secret.Conflict, 0},
		"a wrapped kind":              {fmt.Errorf("a: %w", secret.Conflict), secret.Conflict, 0},
		"the outermost of two":        {&secret.Error{Kind: secret.Unauthenticated, Err: denied}, secret.Unauthenticated, 0},
		"an Error before a kind":      {fmt.Errorf("%w %w", secret.Conflict, denied), secret.Denied, time.Minute},
		"one of several":              {errors.Join(io.EOF, denied), secret.Denied, time.Minute},
		"a deadline":                  {fmt.Errorf("a: %w", context.DeadlineExceeded), secret.Unavailable, 0},
		"a context that was given up": {context.Canceled, secret.Unavailable, 0},
		"an Error about a context":    {&secret.Error{Kind: secret.Denied, Err: context.Canceled}, secret.Denied, 0},
		"anything else":               {io.EOF, secret.Internal, 0},
	}
	for name, c := range cases {
		if got := secret.KindOf(c.err); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if got := secret.RetryAfterOf(c.err); got != c.wait {
			t.Errorf("%s: wait %v, want %v", name, got, c.wait)
		}
	}
}

func TestErrorsAreTheirKindAndTheirCause(t *testing.T) {
	err := error(&secret.Error{Kind: secret.NotFound, Err: fmt.Errorf("a: %w", io.EOF)})
	wrapped := fmt.Errorf("b: %w", err)
	for target, want := range map[error]bool{secret.NotFound: true, io.EOF: true, secret.Denied: false, io.ErrUnexpectedEOF: false} {
		if errors.Is(wrapped, target) != want {
			t.Errorf("errors.Is(err, %v) = %v", target, !want)
		}
	}
	if bare := error(&secret.Error{Kind: secret.NotFound}); !errors.Is(bare, secret.NotFound) || errors.Is(bare, io.EOF) {
		t.Error("an Error without a cause is its kind")
	}
	if got := secret.RateLimited.Error(); got != "RateLimited" {
		t.Errorf("got %q", got)
	}
}
