package conditions

import (
	"slices"
	"time"
)

// Condition is a condition of any kind of object.
type Condition struct {
	Type, Status, Reason, Message string
	Since                         time.Time
}

// The types and statuses.
const (
	Ready       = "Ready"
	Reconciling = "Reconciling"
	Stalled     = "Stalled"

	True    = "True"
	False   = "False"
	Unknown = "Unknown"
)

// OK is Ready=True, and neither Reconciling nor Stalled.
func OK(reason, message string) []Condition {
	return []Condition{{Type: Ready, Status: True, Reason: reason, Message: message}}
}

// Failed is Ready=False, and Stalled if it stays so until somebody changes
// something, Reconciling if it is tried again.
func Failed(reason, message string, stuck bool) []Condition {
	beside := Reconciling
	if stuck {
		beside = Stalled
	}
	return []Condition{
		{Type: Ready, Status: False, Reason: reason, Message: message},
		{Type: beside, Status: True, Reason: reason, Message: message},
	}
}

// Set returns old with its Ready, Reconciling and Stalled replaced by those of
// wanted. Since is kept where the status stays, and is now where it changes.
func Set(old, wanted []Condition, now time.Time) []Condition {
	out := make([]Condition, 0, len(old)+len(wanted))
	for _, c := range wanted {
		c.Since = now
		if i := slices.IndexFunc(old, func(o Condition) bool { return o.Type == c.Type && o.Status == c.Status }); i >= 0 {
			c.Since = old[i].Since
		}
		out = append(out, c)
	}
	for _, o := range old {
		if !slices.Contains([]string{Ready, Reconciling, Stalled}, o.Type) {
			out = append(out, o)
		}
	}
	return out
}

// Find returns the condition of a type; ok is false if there is none.
func Find(list []Condition, conditionType string) (c Condition, ok bool) {
	if i := slices.IndexFunc(list, func(c Condition) bool { return c.Type == conditionType }); i >= 0 {
		return list[i], true
	}
	return Condition{}, false
}
