package conditions_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/internal/reconcile/conditions/check"
)

// TestTransitions goes through the states of an object, an hour for each, and says
// since which hour each condition holds.
func TestTransitions(t *testing.T) {
	ok := conditions.OK("SecretSynced", "synced")
	again := conditions.Failed("SecretSyncedError", "Unavailable: vault", false)
	stuck := conditions.Failed("SecretSyncedError", "Invalid: spec.data", true)
	deleted := conditions.OK("SecretDeleted", "deleted")
	steps := []struct {
		name   string
		wanted []conditions.Condition
		want   map[string]int // "Type=Status reason" → hour
	}{
		{"new and ready", ok, map[string]int{"Ready=True SecretSynced": 0}},
		{"still ready", ok, map[string]int{"Ready=True SecretSynced": 0}},
		{"ready for another reason", deleted, map[string]int{"Ready=True SecretDeleted": 0}},
		{"fails, is tried again", again, map[string]int{"Ready=False SecretSyncedError": 3, "Reconciling=True SecretSyncedError": 3}},
		{"fails again", again, map[string]int{"Ready=False SecretSyncedError": 3, "Reconciling=True SecretSyncedError": 3}},
		{"is stuck", stuck, map[string]int{"Ready=False SecretSyncedError": 3, "Stalled=True SecretSyncedError": 5}},
		{"is tried again", again, map[string]int{"Ready=False SecretSyncedError": 3, "Reconciling=True SecretSyncedError": 6}},
		{"is ready again", ok, map[string]int{"Ready=True SecretSynced": 7}},
	}
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	foreign := conditions.Condition{Type: "Deleted", Status: conditions.False, Reason: "Other", Since: start.Add(-time.Hour)}
	list := []conditions.Condition{foreign}
	for hour, step := range steps {
		list = conditions.Set(list, step.wanted, start.Add(time.Duration(hour)*time.Hour))
		check.Conditions(t, list)
		got := map[string]int{}
		for _, c := range list {
			got[c.Type+"="+c.Status+" "+c.Reason] = int(c.Since.Sub(start) / time.Hour)
		}
		step.want["Deleted=False Other"] = -1
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
}

func TestSetKeepsWhatItIsGiven(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	old := conditions.Set(nil, conditions.Failed("R", "Denied", true), now)
	wanted := conditions.OK("S", "m")
	conditions.Set(old, wanted, now.Add(1))
	if old[0].Status != conditions.False || !wanted[0].Since.IsZero() {
		t.Error("an argument was changed")
	}
}

func TestFind(t *testing.T) {
	list := conditions.Failed("R", "Denied", true)
	if c, ok := conditions.Find(list, conditions.Stalled); !ok || c.Status != conditions.True || c.Message != "Denied" {
		t.Errorf("got %+v, %v", c, ok)
	}
	if c, ok := conditions.Find(list, conditions.Reconciling); ok || c != (conditions.Condition{}) {
		t.Errorf("found %+v", c)
	}
}
