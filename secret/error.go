package secret

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Kind says what an error means for whoever has to act on it. Kinds are errors
// themselves: errors.Is(err, secret.NotFound) works through any wrapping.
type Kind string

// The kinds. Every backend error becomes exactly one of them.
const (
	// NotFound: the secret, version or property is not there.
	NotFound Kind = "NotFound"
	// Unauthenticated: the credential is missing, wrong or expired.
	Unauthenticated Kind = "Unauthenticated"
	// Denied: the credential is good and may not do this.
	Denied Kind = "Denied"
	// Invalid: the request cannot succeed until somebody changes it.
	Invalid Kind = "Invalid"
	// Unsupported: the backend cannot do this at all.
	Unsupported Kind = "Unsupported"
	// Conflict: somebody else wrote first, or owns it.
	Conflict Kind = "Conflict"
	// RateLimited: too many calls; RetryAfter may say how long to wait.
	RateLimited Kind = "RateLimited"
	// Unavailable: the backend did not answer, or says that it cannot now.
	Unavailable Kind = "Unavailable"
	// Internal: a defect, ours or the backend's.
	Internal Kind = "Internal"
)

// Error returns the name of the kind.
func (k Kind) Error() string { return string(k) }

var errNotObject = errors.New("the value is not a JSON object")

// Error is what every operation on a backend fails with. Its text is one line,
// the same on every attempt, and never holds a value.
type Error struct {
	Kind Kind
	// Op is what was attempted, in the backend's terms ("read", "login").
	Op string
	// Provider is the provider's name ("vault").
	Provider string
	// Ref is the secret concerned; zero when the error concerns the whole store.
	Ref Ref
	// RetryAfter is how long the backend asks to be left alone; zero if it did not say.
	RetryAfter time.Duration
	// Err is the cause. Its text is shown, so it must not hold what a backend
	// sent back: bodies can carry values.
	Err error
}

// Error returns "Kind: provider op key: cause", less what is not set.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Kind))
	sep := ": "
	for _, part := range []string{e.Provider, e.Op, e.Ref.String()} {
		if part != "" {
			b.WriteString(sep)
			b.WriteString(part)
			sep = " "
		}
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return strings.Map(oneLine, b.String())
}

func oneLine(r rune) rune {
	if r == '\n' || r == '\r' {
		return ' '
	}
	return r
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf returns the kind of err: that of the outermost Error or Kind in its
// chain, Unavailable for a context that ended, Internal for anything else, and
// "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unavailable
	}
	return Internal
}

// RetryAfterOf returns how long the backend asked to be left alone; zero if it
// did not say.
func RetryAfterOf(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
