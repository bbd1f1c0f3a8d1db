package plan

import (
	"fmt"
	"strings"

	"github.com/keyferry/keyferry/secret"
)

// refuse returns an error of the kind that names the field.
func refuse(kind secret.Kind, field, format string, args ...any) error {
	return &secret.Error{Kind: kind, Err: fmt.Errorf("%s: "+format, append([]any{field}, args...)...)}
}

// invalid returns an Invalid error that names the field.
func invalid(field, format string, args ...any) error {
	return refuse(secret.Invalid, field, format, args...)
}

// fieldError adds to a cause where it happened, behind the kind: a message
// begins with the kind, whoever wrapped it.
type fieldError struct {
	where string
	err   error
	// more is how many other sources failed.
	more int
}

// within returns err as happened at a field of the spec.
func within(where string, err error) error { return &fieldError{where: where, err: err} }

// Error returns "Kind: where: cause", and how many more failed.
func (e *fieldError) Error() string {
	kind := string(secret.KindOf(e.err))
	text := kind + ": " + e.where + ": " + strings.TrimPrefix(e.err.Error(), kind+": ")
	if e.more > 0 {
		text += fmt.Sprintf(" (and %d more)", e.more)
	}
	return text
}

// Unwrap returns the cause.
func (e *fieldError) Unwrap() error { return e.err }
