package reconcile_test

import (
	"testing"
	"time"

	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/secret"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestAChangeDuringAFailingPassIsNotMissed(t *testing.T) {
	for name, tc := range map[string]struct {
		touched time.Duration // after the pass began that failed
		want    bool
	}{
		"before the pass": {-time.Second, false},
		"during the pass": {time.Second, true},
		"after the pass":  {time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := &reconcile.Turns{}
			e.Touch(epoch.Add(tc.touched))
			e.Failed("1", &secret.Error{Kind: secret.Invalid}, epoch, epoch.Add(2*time.Second))
			if got := e.TouchedSinceFailure(); got != tc.want {
				t.Errorf("touched since the failure: %v", got)
			}
		})
	}
}

func TestNudgeIsTakenOnce(t *testing.T) {
	e := &reconcile.Turns{}
	e.Nudge(epoch)
	if at := e.TakeNudge(); !at.Equal(epoch) {
		t.Errorf("nudged at %s", at)
	}
	if at := e.TakeNudge(); !at.IsZero() {
		t.Errorf("nudged again at %s", at)
	}
}
