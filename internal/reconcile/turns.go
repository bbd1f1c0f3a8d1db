package reconcile

import (
	"hash/fnv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Turns remembers, for one object, how its passes went and what happened since. The
// queue runs one pass over an object at a time; event handlers look at it besides.
// The zero Turns has seen nothing. All of it can be lost: then a pass more is made.
type Turns struct {
	mu sync.Mutex
	// failures in a row.
	failures int
	// tried is when the pass began that failed last, touched when something that the
	// object depends on was last seen to change.
	tried, touched time.Time
	// nudged is when something that the object depends on changed; zero if nothing did.
	nudged time.Time
	// version of the object that failed last, when, and when to try again; retryAt is
	// zero if waiting is no use.
	version           string
	failedAt, retryAt time.Time
}

// Nudge records that something the object depends on has changed: it is due.
func (t *Turns) Nudge(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nudged = now
}

// TakeNudge returns when the object was last nudged, and forgets it; zero if it was not.
func (t *Turns) TakeNudge() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.nudged
	t.nudged = time.Time{}
	return at
}

// Touch records that something the object depends on was seen to change. It matters
// if the pass that ran then, or an earlier one, failed.
func (t *Turns) Touch(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touched = now
}

// TouchedSinceFailure reports whether something was seen to change after the pass
// began that failed last: it may have looked before.
func (t *Turns) TouchedSinceFailure() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures > 0 && !t.touched.IsZero() && !t.touched.Before(t.tried)
}

// Failing reports whether the last pass failed.
func (t *Turns) Failing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures > 0
}

// FailedAs reports whether the last pass failed, over an object of this version. Then
// it says when that was and when to try again, which is zero if waiting is no use.
func (t *Turns) FailedAs(version string) (failed bool, at, retry time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures > 0 && t.version == version, t.failedAt, t.retryAt
}

// Succeeded records a pass that went well.
func (t *Turns) Succeeded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures, t.retryAt = 0, time.Time{}
}

// Failed records a pass over this version of the object that began and ended then,
// and returns when to try again; zero if waiting is no use.
func (t *Turns) Failed(version string, err error, began, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures++
	t.tried, t.version, t.failedAt, t.retryAt = began, version, now, time.Time{}
	if wait, again := Backoff(err, t.failures); again {
		t.retryAt = now.Add(wait)
	}
	return t.retryAt
}

// Fraction is a number in [0, 1) that is always the same for an object: what is due
// periodically is spread by it.
func Fraction(uid types.UID) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(uid))
	return float64(h.Sum32()) / (1 << 32)
}
