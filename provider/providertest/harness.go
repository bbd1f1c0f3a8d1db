package providertest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

// T is what the suite needs of a test. *testing.T has it.
type T = suite.T

// Situation is what a store is opened into.
type Situation string

// The situations. A harness that cannot bring one about says so in Without, under
// the name of the check.
const (
	// Good: the credentials may do everything, and the backend is well.
	Good Situation = "good"
	// BadCredential: the backend does not know the credential.
	BadCredential Situation = "bad credential"
	// Underprivileged: the credential is good and may neither read nor write a secret.
	Underprivileged Situation = "underprivileged"
	// Throttled: the backend refuses every call because there were too many.
	Throttled Situation = "throttled"
	// Down: the backend fails, or is not there.
	Down Situation = "down"
	// Hanging: the backend takes calls and never answers.
	Hanging Situation = "hanging"
)

// Ability is something that a store can do.
type Ability string

// The abilities. Those that are interfaces are implemented if and only if they are
// named in the harness; the others, if not named, are refused with Unsupported or
// Invalid by an error that names the field.
const (
	Reader  Ability = "Reader"
	Batcher Ability = "Batcher"
	Lister  Ability = "Lister"
	Checker Ability = "Checker"
	// Versions: Get takes a version, and what Get returned as Version is one.
	Versions Ability = "Versions"
	// Metadata: Get returns what is kept beside the value.
	Metadata Ability = "Metadata"
	// Paths: List takes a path; keys have the form folder/name.
	Paths Ability = "Paths"
	// Tags: List takes tags.
	Tags Ability = "Tags"
	// Writer and Deleter are interfaces. Those who write read as well.
	Writer  Ability = "Writer"
	Deleter Ability = "Deleter"
	// CompareAndSet: Put and Delete notice that the key holds something else than If.
	CompareAndSet Ability = "CompareAndSet"
	// Marks: the backend keeps the mark of an owner. What has none is not deleted.
	Marks Ability = "Marks"
	// MarksRequired: what has no mark is not overwritten either. It goes with Marks.
	MarksRequired Ability = "MarksRequired"
)

// Payload is what values a backend can hold.
type Payload string

// The payloads.
const (
	// Bytes: any bytes. It is the zero value.
	Bytes Payload = ""
	// Text: valid UTF-8 without NUL.
	Text Payload = "text"
	// Objects: JSON objects only. They are compared as JSON, with exact numbers.
	Objects Payload = "objects"
)

// Entry is one secret that the suite puts into the backend.
type Entry struct {
	Key   string
	Value []byte
	// Tags are set only if the harness names Tags or Metadata.
	Tags map[string]string
}

// Harness tells the suite about one provider and one backend. The backend must be
// empty of what earlier runs left: the suite uses fixed keys and removes nothing.
type Harness struct {
	// Env is what Open hands to stores. The suite looks for the credentials that it
	// has handed out in every error. Required.
	Env *Env
	// Open opens a new store that sees all that was seeded. It must end soon after
	// ctx, and may log in or leave that to the first call. Required.
	Open func(ctx context.Context, s Situation) (provider.Store, error)
	// Seed puts secrets there, each as a new version of its key, new ones without the
	// mark of an owner. Required.
	Seed func(t T, entries ...Entry)
	// Delete removes a secret; nil if a backend has no deletion.
	Delete func(t T, key string)
	// Value takes out of what Get returned what Seed was given; nil takes its Value.
	Value func(secret.Secret) secret.Value
	// Content makes of what Seed would be given what a store is given to Put; nil
	// makes a secret with this Value. It is the other way round of Value.
	Content func(value []byte) secret.Secret
	// Foreign puts a secret there that carries the mark of another owner. Required
	// of those that name Marks.
	Foreign func(t T, key string, value []byte)
	// Held looks at a key in the backend, past the stores: the value in the form that
	// Seed takes, and a number that grows with each write to the key, or -1 if
	// the backend has none. Required of those that name Writer.
	Held func(t T, key string) (value []byte, writes int, exists bool)
	// Alone is true if what a store writes is seen by itself alone.
	Alone bool
	// Payload is what values the backend holds.
	Payload Payload
	// Largest is the size of the largest value that the backend holds; zero if it
	// holds 64 KiB.
	Largest int
	// Abilities are what the stores can do.
	Abilities []Ability
	// Page is the number of secrets that a listing has on one page, and Batch of
	// those that one call reads; zero if there is no limit.
	Page, Batch int
	// Reached gets a value whenever a call hangs in the backend.
	Reached <-chan struct{}
	// RetryAfter is what the backend asks for while Throttled; zero if nothing.
	RetryAfter time.Duration
	// Without says for checks that this backend cannot show why not. Naming a check
	// that does not exist, or that needs nothing special, is an error.
	Without map[string]string
}

// Run holds a provider to its contract, one subtest for each check. It takes the
// place of the process's default slog logger meanwhile, to see what is logged.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if problem := h.problem(); problem != "" {
		t.Fatal(problem)
	}
	heard := suite.Listen(t)
	for _, c := range checks() {
		passed := t.Run(c.name, func(t *testing.T) {
			if reason, ok := h.Without[c.name]; ok {
				t.Logf("not shown: %s", reason)
				return
			}
			if h.wants(c) {
				c.perform(t, h, heard)
			}
		})
		if !passed && c.name == abilitiesName {
			return
		}
	}
}

func (h Harness) wants(c check) bool {
	for _, a := range c.needs {
		if !slices.Contains(h.Abilities, a) {
			return false
		}
	}
	return true
}

func (h Harness) can(a Ability) bool { return slices.Contains(h.Abilities, a) }

// problem says what is wrong with the harness; empty if nothing is.
func (h Harness) problem() string {
	if h.Env == nil || h.Open == nil || h.Seed == nil {
		return "Env, Open and Seed are required"
	}
	has := map[string]bool{
		"get/deleted": h.Delete != nil, "list/pages": h.Page > 0 || !h.can(Lister), "batch/large": h.Batch > 0 || !h.can(Batcher),
		"context/hanging": h.Reached != nil,
		"write/create":    h.Held != nil || !h.can(Writer), "write/foreign owner": h.Foreign != nil || !h.can(Marks),
	}
	excusable := map[string]bool{}
	for _, c := range checks() {
		excusable[c.name] = c.excusable
	}
	return suite.Problem(h.Without, has, excusable)
}
