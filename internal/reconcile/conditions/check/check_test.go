package check

import (
	"strings"
	"testing"
	"time"

	"github.com/keyferry/keyferry/internal/reconcile/conditions"
)

func TestProblems(t *testing.T) {
	since := time.Unix(1, 0)
	ready := conditions.Condition{Type: "Ready", Status: "True", Reason: "SecretSynced", Message: "synced", Since: since}
	failed := conditions.Condition{Type: "Ready", Status: "False", Reason: "SecretSyncedError", Message: "NotFound: vault read db (create it)", Since: since}
	beside := func(typ, status string) conditions.Condition {
		return conditions.Condition{Type: typ, Status: status, Reason: "Retrying", Since: since}
	}
	with := func(c conditions.Condition, change func(*conditions.Condition)) conditions.Condition {
		change(&c)
		return c
	}
	cases := map[string]struct {
		list []conditions.Condition
		want string // part of the one problem; none if empty
	}{
		"ready":                           {[]conditions.Condition{ready}, ""},
		"ready, others False":             {[]conditions.Condition{ready, beside("Stalled", "False"), beside("Reconciling", "False")}, ""},
		"ready beside what is not ours":   {[]conditions.Condition{ready, beside("Deleted", "True")}, ""},
		"failed, tried again":             {[]conditions.Condition{failed, beside("Reconciling", "True")}, ""},
		"failed, stuck":                   {[]conditions.Condition{failed, beside("Stalled", "True")}, ""},
		"a kind alone":                    {[]conditions.Condition{with(failed, func(c *conditions.Condition) { c.Message = "Denied" })}, ""},
		"a kind and what to do":           {[]conditions.Condition{with(failed, func(c *conditions.Condition) { c.Message = "Denied (grant it)" })}, ""},
		"unknown, any message":            {[]conditions.Condition{with(ready, func(c *conditions.Condition) { c.Status = "Unknown" }), beside("Reconciling", "True")}, ""},
		"nothing":                         {nil, "no condition Ready"},
		"no Ready":                        {[]conditions.Condition{beside("Stalled", "True")}, "no condition Ready"},
		"twice the same":                  {[]conditions.Condition{ready, ready}, "twice"},
		"reconciling and stalled":         {[]conditions.Condition{failed, beside("Reconciling", "True"), beside("Stalled", "True")}, "both"},
		"ready and reconciling":           {[]conditions.Condition{ready, beside("Reconciling", "True")}, "Ready is True"},
		"ready and stalled":               {[]conditions.Condition{ready, beside("Stalled", "True")}, "Ready is True"},
		"failed without a kind":           {[]conditions.Condition{with(failed, func(c *conditions.Condition) { c.Message = "could not read" })}, "no kind"},
		"failed with a word like a kind":  {[]conditions.Condition{with(failed, func(c *conditions.Condition) { c.Message = "NotFoundHere: x" })}, "no kind"},
		"failed without a message":        {[]conditions.Condition{with(failed, func(c *conditions.Condition) { c.Message = "" })}, "no kind"},
		"a status of another kind":        {[]conditions.Condition{ready, beside("Stalled", "true")}, "status"},
		"a reason of several words":       {[]conditions.Condition{with(ready, func(c *conditions.Condition) { c.Reason = "Secret synced" })}, "CamelCase"},
		"a reason in lower case":          {[]conditions.Condition{with(ready, func(c *conditions.Condition) { c.Reason = "synced" })}, "CamelCase"},
		"no reason":                       {[]conditions.Condition{with(ready, func(c *conditions.Condition) { c.Reason = "" })}, "CamelCase"},
		"a type in lower case":            {[]conditions.Condition{ready, beside("stalled", "False")}, "CamelCase"},
		"a message of several lines":      {[]conditions.Condition{with(ready, func(c *conditions.Condition) { c.Message = "a\nb" })}, "several lines"},
		"a condition since the beginning": {[]conditions.Condition{with(ready, func(c *conditions.Condition) { c.Since = time.Time{} })}, "since when"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := problems(c.list)
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("got %v", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("got %v, want one about %q", got, c.want)
			}
		})
	}
}

// quiet is a test that fails without failing this one.
type quiet struct {
	testing.TB
	errors int
}

func (q *quiet) Helper()      {}
func (q *quiet) Error(...any) { q.errors++ }

func TestConditionsFailsTheTest(t *testing.T) {
	var q quiet
	Conditions(&q, nil)
	if q.errors != 1 {
		t.Errorf("%d errors, want 1", q.errors)
	}
}
