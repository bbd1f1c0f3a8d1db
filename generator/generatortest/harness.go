package generatortest

import (
	"net/http"
	"testing"
	"time"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/provider/providertest/suite"
)

// T is what the suite needs of a test. *testing.T has it.
type T = providertest.T

// Harness tells the suite about one generator and one service.
type Harness struct {
	// Env is what is behind the Env of each call; its clock is the clock. A service that
	// cannot be given that clock needs one here that shows the real time. Required.
	Env *providertest.Env
	// Generator is what is held to the contract. Required.
	Generator generator.Generator
	// Spec returns a new spec that leads into a situation: a pointer of the type that
	// Generator takes. A wrong credential and the body of a fault hold
	// providertest.Mark; providertest.Proxy has the latter. Required.
	Spec func(providertest.Situation) any
	// Transport changes the transport that calls get, for generators that choose the
	// address themselves: it may dial the service of the test, and trust it.
	Transport func(providertest.Situation, *http.Transport)
	// Secret are the keys whose values are secret: never empty, other ones with each
	// call, and not to be seen anywhere else. Public are all other keys.
	Secret, Public []string
	// Fits says what is wrong with an output that was made for spec; nil if nothing is, or
	// if that cannot be told. It is called concurrently.
	Fits func(spec any, out generator.Output) error
	// Invalid are specs that are refused, by the field that the error has to name.
	Invalid map[string]any
	// Local says that nobody is asked but the process and Env.Credential: there are no
	// faults, and no calls that hang.
	Local bool
	// Lasts is how long values are good for; zero if there is no end that is known.
	Lasts time.Duration
	// Renews says that Renew can put the end off.
	Renews bool
	// Live counts what was made at the service and has not ended. Nil says that nothing
	// is left behind, and that State is empty.
	Live func(T) int
	// Lose ends at the service all that was made, behind the generator's back.
	Lose func(T)
	// Reached gets a value whenever a call hangs at the service; see providertest.Proxy.
	Reached <-chan struct{}
	// RetryAfter is what the service asks for while Throttled; zero if nothing.
	RetryAfter time.Duration
	// Without says for checks that this generator cannot show why not. Naming a check
	// that does not exist, or that every generator can show, is an error.
	Without map[string]string
}

// Run holds a generator to its contract, one subtest for each check. It takes the place
// of the process's default slog logger meanwhile, to see what is logged.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if problem := h.problem(); problem != "" {
		t.Fatal(problem)
	}
	heard := suite.Listen(t)
	for _, c := range checks() {
		if !h.wants(c) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if reason, ok := h.Without[c.name]; ok {
				t.Logf("not shown: %s", reason)
				return
			}
			c.perform(t, h, heard)
		})
	}
}

func (h Harness) wants(c check) bool {
	return (!c.remote || !h.Local) && (!c.live || h.Live != nil) && (!c.renews || h.Renews)
}

// problem says what is wrong with the harness; empty if nothing is.
func (h Harness) problem() string {
	if h.Env == nil || h.Spec == nil || h.Generator.Kind == "" {
		return "Env, Generator and Spec are required"
	}
	if len(h.Secret)+len(h.Public) == 0 {
		return "name the keys that the kind documents, in Secret and Public"
	}
	if h.Renews && (h.Live == nil || h.Lasts <= 0) {
		return "what can be renewed is Live at the service and Lasts for a while"
	}
	excusable := map[string]bool{}
	for _, c := range checks() {
		excusable[c.name] = c.excusable && h.wants(c)
	}
	return suite.Problem(h.Without, h.has(), excusable)
}

// has says which checks that may be excused have what they need.
func (h Harness) has() map[string]bool {
	return map[string]bool{
		"spec/invalid": len(h.Invalid) > 0, "values/new": len(h.Secret) > 0, "context/hanging": h.Reached != nil || h.Local,
		"cleanup/gone": h.Lose != nil || h.Live == nil,
	}
}
