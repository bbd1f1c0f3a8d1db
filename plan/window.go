package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// window is open from each start of its schedule for its duration, the end included.
type window struct {
	starts cron.Schedule
	length time.Duration
}

// windows hold back periodic refreshes.
type windows struct {
	kind esv1.SyncWindowKind
	list []window
}

// maxSteps bounds how many windows in a row permit follows.
const maxSteps = 1000

// parseWindows reads sync windows. A window that cannot be read is never open,
// and named in the warnings.
func parseWindows(spec *esv1.SyncWindows) (windows, []string) {
	if spec == nil || len(spec.Windows) == 0 {
		return windows{}, nil
	}
	w := windows{kind: spec.Kind}
	var warnings []string
	for i, entry := range spec.Windows {
		starts, err := parseSchedule(entry.Schedule)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("spec.syncWindows.windows[%d].schedule cannot be read, this window is never open: use five cron fields, @daily or @every 6h", i))
			continue
		}
		w.list = append(w.list, window{starts: starts, length: entry.Duration.Duration})
	}
	return w, warnings
}

func parseSchedule(s string) (cron.Schedule, error) {
	if strings.Contains(s, "TZ=") { // windows are in UTC, and the parser panics on half a zone
		return nil, fmt.Errorf("time zones are not supported")
	}
	starts, err := cron.ParseStandard(s)
	if every, ok := starts.(cron.ConstantDelaySchedule); ok {
		return sinceEpoch{every.Delay}, nil
	}
	return starts, err
}

// sinceEpoch fires at multiples of its delay since the epoch: "every 6h" has to
// mean the same instants on every pass.
type sinceEpoch struct{ delay time.Duration }

// Next returns the first multiple after t.
func (s sinceEpoch) Next(t time.Time) time.Time {
	return time.Unix(0, 0).UTC().Add(t.Sub(time.Unix(0, 0)).Truncate(s.delay) + s.delay)
}

// permit returns the first time at or after t at which the windows let a refresh
// pass; zero if there is none.
func (w windows) permit(t time.Time) time.Time {
	switch w.kind {
	case esv1.SyncWindowAllow:
		return w.opening(t.UTC(), t)
	case esv1.SyncWindowDeny:
		return w.closing(t)
	}
	return t
}

// opening returns t if a window is open, or else when the next one opens.
func (w windows) opening(utc, t time.Time) time.Time {
	var first time.Time
	for _, win := range w.list {
		if !win.end(utc).IsZero() {
			return t
		}
		if start := win.starts.Next(utc); win.length >= 0 && !start.IsZero() && (first.IsZero() || start.Before(first)) {
			first = start
		}
	}
	return first
}

// closing returns the first instant from t on that no window covers, or the last
// one looked at: by then the caller asks again.
func (w windows) closing(t time.Time) time.Time {
	for range maxSteps {
		var end time.Time
		for _, win := range w.list {
			if e := win.end(t.UTC()); e.After(end) {
				end = e
			}
		}
		if end.IsZero() {
			return t
		}
		t = end.Add(time.Second) // the end belongs to the window
	}
	return t
}

// end returns when the window that is open at t ends, the end being part of it;
// zero if none is open.
func (w window) end(t time.Time) time.Time {
	if w.length < 0 {
		return time.Time{}
	}
	start := w.starts.Next(t.Add(-w.length).Add(-time.Nanosecond))
	if start.IsZero() || start.After(t) {
		return time.Time{}
	}
	return start.Add(w.length)
}
