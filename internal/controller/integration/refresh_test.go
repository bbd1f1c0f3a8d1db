package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

// later lets time pass, has the controller look at app, and waits until it has
// dealt with what came after that.
func (k *kit) later(d time.Duration) {
	k.Helper()
	k.clock.jump(d)
	k.knock("app")
	k.force("witness")
}

// withWitness is a kit that works in order, with the store main and a witness.
func withWitness(t *testing.T) *kit {
	t.Helper()
	k := start(t, oneByOne)
	k.backend.set("db", "1")
	k.backend.set("witness", "w")
	k.store("main", steered)
	k.externalSecret("witness", `{secretStoreRef: {name: main}, refreshInterval: "0", data: [{secretKey: w, remoteRef: {key: witness}}]}`)
	k.awaitSynced("witness")
	return k
}

func TestRefresh(t *testing.T) {
	const hours = 3 * time.Hour
	for name, test := range map[string]struct {
		more string
		// Does it read again when the time has passed, and when the spec changes?
		byTime, bySpec bool
	}{
		"Periodic reads again when its time has come":        {"", true, true},
		"Periodic with an interval of zero reads on change":  {`, refreshInterval: "0"`, false, true},
		"Periodic with a longer interval waits":              {`, refreshInterval: 24h`, false, true},
		"OnChange reads when the object changes":             {`, refreshPolicy: OnChange`, false, true},
		"CreatedOnce never reads again":                      {`, refreshPolicy: CreatedOnce`, false, false},
		"Periodic within a window reads":                     {`, syncWindows: {kind: allow, windows: [{schedule: "* * * * *", duration: 1h}]}`, true, true},
		"Periodic outside of windows waits":                  {`, syncWindows: {kind: allow, windows: [{schedule: "0 0 30 2 *", duration: 1h}]}`, false, true},
		"Periodic within a window of denial waits":           {`, syncWindows: {kind: deny, windows: [{schedule: "* * * * *", duration: 1h}]}`, false, true},
		"Periodic with a window that cannot be read waits":   {`, syncWindows: {kind: allow, windows: [{schedule: "99 * * * *", duration: 1h}]}`, false, true},
		"Periodic with a denial that cannot be read goes on": {`, syncWindows: {kind: deny, windows: [{schedule: "99 * * * *", duration: 1h}]}`, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := withWitness(t)
			k.externalSecret("app", oneKey(test.more))
			k.awaitData("app", held{"p": "1"})
			k.awaitSynced("app")

			k.backend.set("db", "2")
			k.later(hours)
			want := "1"
			if test.byTime {
				want = "2"
			}
			k.awaitData("app", held{"p": want})
			if got := k.passes(); !test.byTime && got != 1 {
				t.Errorf("synced %d times, want once", got)
			}

			k.backend.set("db", "3")
			k.edit(&esv1.ExternalSecret{}, "app", `{metadata: {labels: {changed: "yes"}}, spec: {data: [{secretKey: p, remoteRef: {key: db, version: ""}}]}}`)
			k.clock.jump(6 * time.Second) // a change may be answered by what was read just before it
			k.edit(&esv1.ExternalSecret{}, "app", `{metadata: {labels: {changed: again}}}`)
			k.force("witness")
			if test.bySpec {
				want = "3"
			}
			k.awaitData("app", held{"p": want})
		})
	}
}

func TestRefreshComesByItself(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, refreshInterval: 1s`))
	k.awaitData("app", held{"p": "1"})
	for _, value := range []string{"2", "3"} {
		k.backend.set("db", value)
		k.awaitData("app", held{"p": value})
	}
}

func TestForcedSyncIsNotAnsweredByWhatWasReadBefore(t *testing.T) {
	for name, more := range map[string]string{
		"with an interval":          ``,
		"with an interval of zero":  `, refreshInterval: "0"`,
		"under OnChange":            `, refreshPolicy: OnChange`,
		"in a window of denial":     `, syncWindows: {kind: deny, windows: [{schedule: "* * * * *", duration: 1h}]}`,
		"with an immutable target ": `, target: {immutable: true}`,
	} {
		t.Run(name, func(t *testing.T) {
			k := withDB(t, "1")
			k.externalSecret("app", oneKey(more))
			k.awaitSynced("app")
			for i := range 3 {
				before := k.backend.dbReads()
				k.backend.set("db", fmt.Sprint(i))
				k.force("app")
				if got := k.backend.dbReads() - before; got != 1 {
					t.Errorf("read %d times, want once", got)
				}
				if !strings.Contains(more, "immutable") {
					k.awaitData("app", held{"p": fmt.Sprint(i)})
				}
			}
		})
	}
}

func TestUnreadableWindowIsWarnedOfOnce(t *testing.T) {
	k := withWitness(t)
	k.externalSecret("app", oneKey(`, refreshInterval: 1h, syncWindows: {kind: deny, windows: [{schedule: "99 * * * *", duration: 1h}]}`))
	const warning = "Warning InvalidSyncWindow: spec.syncWindows.windows[0].schedule cannot be read"
	k.awaitEvent(warning)
	k.later(2 * time.Hour)
	k.force("app")
	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {syncWindows: {windows: [{schedule: "@daily", duration: 1h}, {schedule: "98 * * * *", duration: 1h}]}}}`)
	k.awaitEvent("Warning InvalidSyncWindow: spec.syncWindows.windows[1].schedule cannot be read")
	if got := k.eventsOf("InvalidSyncWindow"); len(got) != 2 {
		t.Errorf("two different warnings are %d events: %q", len(got), got)
	}
}

func TestFailedRefreshIsTriedAgainWithinItsInterval(t *testing.T) {
	k := withWitness(t)
	k.externalSecret("app", oneKey(""))
	k.awaitSynced("app")
	k.backend.fail("db", secret.Denied)
	k.ask("app")
	k.awaitFailed("app", secret.Denied)
	k.backend.fail("db", "")
	k.backend.set("db", "2")
	k.later(2 * time.Minute)
	k.awaitData("app", held{"p": "2"})
	k.awaitSynced("app")
}

func TestRefreshWaitsForItsWindow(t *testing.T) {
	for name, test := range map[string]struct {
		kind         string
		opens, lasts time.Duration // from now
		before, in   string
	}{
		"that allows":                    {"allow", 4 * time.Hour, 2 * time.Hour, "1", "2"},
		"and goes on until it is denied": {"deny", 4 * time.Hour, 2 * time.Hour, "2", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			k := withWitness(t)
			at := k.clock.Now().UTC().Add(test.opens)
			k.externalSecret("app", oneKey(fmt.Sprintf(`, refreshInterval: 1h, syncWindows: {kind: %s, windows: [{schedule: "%d %d * * *", duration: %s}]}`,
				test.kind, at.Minute(), at.Hour(), test.lasts)))
			k.awaitSynced("app")
			k.backend.set("db", "2")
			k.later(2 * time.Hour)
			k.awaitData("app", held{"p": test.before})
			k.backend.set("db", test.in+"+")
			k.later(3 * time.Hour)
			want := "2+"
			if test.kind == "deny" {
				want = "2"
			}
			k.awaitData("app", held{"p": want})
		})
	}
}
