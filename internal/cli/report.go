package cli

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"github.com/keyferry/keyferry/internal/local"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
)

// reporter tells people how a run goes: a line for each object that changed or failed,
// and on a terminal a last line that is written over.
type reporter struct {
	out, err io.Writer // notes, and failures
	quiet    bool      // failures only
	terminal bool
	dry      bool

	total, done, changed, failed int
	first                        error
}

// isTerminal reports whether a stream is looked at by a person.
func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // descriptors are small
}

// failure says something that must be seen.
func (r *reporter) failure(format string, args ...any) {
	r.clear()
	fmt.Fprintf(r.err, format+"\n", args...)
}

// clear removes the line that is written over.
func (r *reporter) clear() {
	if r.terminal {
		fmt.Fprint(r.err, "\r\x1b[K")
	}
}

// note says something that is no failure.
func (r *reporter) note(format string, args ...any) {
	if !r.quiet {
		r.clear()
		fmt.Fprintf(r.out, format+"\n", args...)
	}
}

// progress shows how far the run is, where it can be written over.
func (r *reporter) progress() {
	if r.terminal && !r.quiet && r.done < r.total {
		fmt.Fprintf(r.err, "\r\x1b[Ksyncing %d of %d", r.done+1, r.total)
	}
}

// result tells of one object.
func (r *reporter) result(res local.Result) {
	r.done++
	who := fmt.Sprintf("ExternalSecret %s/%s", res.Object.Namespace, res.Object.Name)
	for _, c := range res.Changes {
		r.note("%s: %s", who, r.describe(c))
	}
	switch {
	case res.Err != nil:
		r.failed++
		if r.first == nil {
			r.first = res.Err
		}
		r.failure("%s: %s", who, reconcile.Message(res.Err))
	case len(res.Changes) > 0:
		r.changed++
	default:
		r.note("%s: unchanged: %s", who, res.Message)
	}
	r.progress()
}

// summary is the last line of a run.
func (r *reporter) summary() {
	verb := "changed"
	if r.dry {
		verb = "to change"
	}
	r.note("%d %s, %d unchanged, %d failed", r.changed, verb, r.done-r.changed-r.failed, r.failed)
}

// describe names the keys of a change.
func (r *reporter) describe(c local.Change) string {
	verbs := map[plan.Verb]string{plan.Create: "created", plan.Update: "updated", plan.Delete: "deleted"}
	if r.dry {
		verbs = map[plan.Verb]string{plan.Create: "would create", plan.Update: "would update", plan.Delete: "would delete"}
	}
	var parts []string
	for _, p := range []struct {
		what string
		keys []string
	}{{"added", c.Added}, {"changed", c.Changed}, {"removed", c.Removed}} {
		if len(p.keys) > 0 {
			parts = append(parts, p.what+" "+strings.Join(p.keys, ", "))
		}
	}
	if len(parts) == 0 {
		parts = []string{"no key"}
	}
	return fmt.Sprintf("%s %s (%s)", verbs[c.Verb], c.ID, strings.Join(parts, "; "))
}
