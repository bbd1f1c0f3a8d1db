package check

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/secret"
)

// Conditions fails the test, once for each rule that the list breaks: every type at
// most once; Ready is there; statuses are True, False or Unknown; never Reconciling
// and Stalled together, and neither beside Ready=True; reasons in CamelCase; messages
// of one line, which begin with a kind of error where Ready is False.
func Conditions(tb testing.TB, list []conditions.Condition) {
	tb.Helper()
	for _, p := range problems(list) {
		tb.Error(p)
	}
}

func problems(list []conditions.Condition) []string {
	var out []string
	byType := map[string]conditions.Condition{}
	for _, c := range list {
		if _, twice := byType[c.Type]; twice {
			out = append(out, fmt.Sprintf("condition %s is there twice", c.Type))
		}
		byType[c.Type] = c
		out = append(out, form(c)...)
	}
	ready, ok := byType[conditions.Ready]
	if !ok {
		out = append(out, "there is no condition Ready")
	}
	reconciling := byType[conditions.Reconciling].Status == conditions.True
	stalled := byType[conditions.Stalled].Status == conditions.True
	if reconciling && stalled {
		out = append(out, "both Reconciling and Stalled are True")
	}
	if ready.Status == conditions.True && (reconciling || stalled) {
		out = append(out, "Ready is True, and so is Reconciling or Stalled")
	}
	if ready.Status == conditions.False && !beginsWithKind(ready.Message) {
		out = append(out, fmt.Sprintf("Ready is False, and its message begins with no kind: %q", ready.Message))
	}
	return out
}

// form checks one condition by itself.
func form(c conditions.Condition) []string {
	var out []string
	switch c.Status {
	case conditions.True, conditions.False, conditions.Unknown:
	default:
		out = append(out, fmt.Sprintf("condition %s has the status %q", c.Type, c.Status))
	}
	if !camelCase(c.Type) {
		out = append(out, fmt.Sprintf("condition type %q is not CamelCase", c.Type))
	}
	if !camelCase(c.Reason) {
		out = append(out, fmt.Sprintf("condition %s has the reason %q, which is not CamelCase", c.Type, c.Reason))
	}
	if strings.ContainsAny(c.Message, "\r\n") {
		out = append(out, fmt.Sprintf("condition %s has a message of several lines: %q", c.Type, c.Message))
	}
	if c.Since.IsZero() {
		out = append(out, fmt.Sprintf("condition %s does not say since when", c.Type))
	}
	return out
}

func camelCase(s string) bool { return regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`).MatchString(s) }

func beginsWithKind(message string) bool {
	kinds := []secret.Kind{
		secret.NotFound, secret.Unauthenticated, secret.Denied, secret.Invalid, secret.Unsupported,
		secret.Conflict, secret.RateLimited, secret.Unavailable, secret.Internal,
	}
	for _, kind := range kinds {
		rest, ok := strings.CutPrefix(message, string(kind))
		if ok && (rest == "" || strings.HasPrefix(rest, ": ") || strings.HasPrefix(rest, " (")) {
			return true
		}
	}
	return false
}
