package reconcile

import (
	"errors"
	"strings"
	"time"

	"github.com/keyferry/keyferry/secret"
)

// Backoff returns how long to wait after the n-th failure in a row, n from 1. Again
// is false if waiting does not help: the object, or what it refers to, has to
// change first.
func Backoff(err error, n int) (wait time.Duration, again bool) {
	first, longest := limits(secret.KindOf(err))
	if _, stop := errors.AsType[stopped](err); stop || first == 0 {
		return 0, false
	}
	wait = min(first<<min(max(n-1, 0), 12), longest)
	return max(wait, secret.RetryAfterOf(err)), true
}

func limits(kind secret.Kind) (first, longest time.Duration) {
	switch kind {
	case secret.Invalid, secret.Unsupported:
		return 0, 0
	case secret.Unauthenticated, secret.Denied:
		return time.Minute, 10 * time.Minute
	case secret.Conflict:
		return 50 * time.Millisecond, time.Minute
	case secret.RateLimited, secret.Unavailable:
		return time.Second, 30 * time.Second
	case secret.NotFound:
		return 2 * time.Second, 5 * time.Minute
	}
	return time.Second, 5 * time.Minute
}

// Message returns what a condition says of an error: the kind first, then the
// cause, clipped, then what to do, all in one line. It is the same
// text on every attempt.
func Message(err error) string {
	kind := secret.KindOf(err)
	message := string(kind)
	if text := strings.ReplaceAll(err.Error(), message+": ", ""); text != message {
		message += ": " + text
	}
	advice := ""
	if hint := hint(kind); hint != "" {
		advice = " (" + hint + ")"
	}
	return clip(message, maxMessage-len(advice)) + advice
}

// maxMessage is how many bytes a condition message may have; the API allows 32 KiB,
// people read less.
const maxMessage = 1024

func clip(s string, longest int) string {
	const ellipsis = "…"
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest-len(ellipsis)], "") + ellipsis
}

func hint(kind secret.Kind) string {
	switch kind {
	case secret.NotFound:
		return "create it, or correct the reference"
	case secret.Unauthenticated:
		return "correct the credential of the store; a changed Secret is tried at once"
	case secret.Denied:
		return "grant the access, or refer to something that is allowed"
	case secret.RateLimited:
		return "the store asks for fewer calls; it is tried again"
	case secret.Unavailable:
		return "nothing was changed; it is tried again"
	}
	return ""
}

// Stuck reports whether an error stays until somebody changes something.
func Stuck(err error) bool {
	_, again := Backoff(err, 1)
	return err != nil && !again
}

// stopped is a failure that waiting does not help, whatever its kind.
type stopped struct{ error }

func (s stopped) Unwrap() error { return s.error }

// Stop marks an error as one that stays until somebody changes something.
func Stop(err error) error { return stopped{err} }
