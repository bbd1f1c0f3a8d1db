package suite

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyferry/keyferry/secret"
)

// patience is how long a call may go on after its context has ended. It guards
// against a deadlock and is never waited for by those that pass.
const patience = 30 * time.Second

// shortest is the length from which a value is looked for in texts.
const shortest = 8

// T is what a suite needs of a test. *testing.T has it.
type T interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Judge is a test that knows what must not be seen in any text.
type Judge struct {
	T
	// Mark is in whatever comes from outside: wrong credentials, the bodies of answers.
	Mark string
	// Secrets returns the values and credentials that are in play.
	Secrets func() []secret.Value
}

// Failed asserts that err is an error of one of these kinds, of any if there are none,
// that keeps to the form of errors and holds no secret. It returns its text; "" if it is
// not to be repeated.
func (j Judge) Failed(what string, err error, kinds ...secret.Kind) string {
	j.Helper()
	if len(kinds) == 0 {
		kinds = allKinds()
	}
	if err == nil {
		j.Errorf("%s: no error, want one of %v", what, kinds)
		return ""
	}
	if leak := j.Leak(Texts(err)); leak != "" {
		j.Errorf("%s: the error holds %s", what, leak)
		return ""
	}
	e, ok := errors.AsType[*secret.Error](err)
	switch {
	case !ok:
		j.Errorf("%s: the error is a %T and no *secret.Error: %v", what, err, err)
	case !slices.Contains(kinds, e.Kind):
		j.Errorf("%s: the kind is %q, want one of %v: %v", what, e.Kind, kinds, err)
	case strings.ContainsAny(err.Error(), "\r\n"):
		j.Errorf("%s: the error has more than one line: %q", what, err)
	}
	return err.Error()
}

func allKinds() []secret.Kind {
	return []secret.Kind{
		secret.NotFound, secret.Unauthenticated, secret.Denied, secret.Invalid, secret.Unsupported,
		secret.Conflict, secret.RateLimited, secret.Unavailable, secret.Internal,
	}
}

// Clean asserts that a text holds no secret.
func (j Judge) Clean(what, text string) {
	j.Helper()
	if leak := j.Leak(text); leak != "" {
		j.Errorf("%s holds %s", what, leak)
	}
}

// Leak says what a text holds that it must not; empty if nothing.
func (j Judge) Leak(text string) string {
	for _, form := range forms([]byte(j.Mark)) {
		if strings.Contains(text, form) {
			return "the mark of a value, a wrong credential or an answer's body"
		}
	}
	for _, v := range j.Secrets() {
		if v.Len() >= shortest && strings.Contains(text, string(v.Reveal())) {
			return "a value or a credential that is in play"
		}
	}
	return ""
}

// forms are the ways in which a mark shows up in a text: as it is, in hex, and in
// Base64 at each of the three alignments, less the characters that its neighbours
// have a part in.
func forms(mark []byte) []string {
	out := []string{string(mark), hex.EncodeToString(mark)}
	for shift := range 3 {
		padded := append(make([]byte, shift), mark...)
		enc := base64.RawStdEncoding.EncodeToString(padded[:len(padded)-len(padded)%3])
		out = append(out, enc[(shift*4+2)/3:])
	}
	return out
}

// Texts is every way in which an error, or one in its chain, is printed; "" for none.
func Texts(err error) string {
	var b strings.Builder
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		fmt.Fprintf(&b, "%v\n%+v\n%#v\n", err, err, err)
		switch u := err.(type) { //nolint:errorlint // the links of the chain are looked at one by one
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		case interface{ Unwrap() []error }:
			for _, err := range u.Unwrap() {
				walk(err)
			}
		}
	}
	walk(err)
	return b.String()
}

// Hang ends the context of a call once reached says that it hangs, and asserts that the
// call then fails with Unavailable, soon.
func (j Judge) Hang(ctx context.Context, what string, reached <-chan struct{}, call func(context.Context) error) {
	j.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select { // of a call that was over before it was noticed
	case <-reached:
	default:
	}
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	guard := time.NewTimer(patience)
	defer guard.Stop()
	select {
	case <-reached:
	case err := <-done:
		j.Errorf("%s ended although its peer hangs: %v", what, err)
		return
	case <-guard.C:
		j.Errorf("%s did not reach its peer", what)
		return
	}
	cancel()
	select {
	case err := <-done:
		j.Failed(what+" whose context ended", err, secret.Unavailable)
	case <-guard.C:
		j.Errorf("%s goes on after the end of its context", what)
	}
}
