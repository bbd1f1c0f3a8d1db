package reconcile

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"github.com/keyferry/keyferry/provider"
)

const (
	normalBurst = 60
	normalEvery = 500 * time.Millisecond
	// action is what the controllers were doing, in the terms of the events API.
	action = "Reconcile"
)

// Events records events. Normal ones are few per second: when thousands of objects
// are synced at once, what is worth a write to the API server is their status.
type Events struct {
	recorder events.EventRecorder
	clock    provider.Clock

	mu     sync.Mutex
	tokens int
	filled time.Time
}

// NewEvents returns Events on a recorder.
func NewEvents(recorder events.EventRecorder, clock provider.Clock) *Events {
	return &Events{recorder: recorder, clock: clock, tokens: normalBurst, filled: clock.Now()}
}

// Normal records that something was done. It may be left out under load.
func (e *Events) Normal(obj runtime.Object, reason, message string) {
	if e.take() {
		e.recorder.Eventf(obj, nil, corev1.EventTypeNormal, reason, action, "%s", message)
	}
}

// Warning records a failure. Callers report a failure once, not each attempt.
func (e *Events) Warning(obj runtime.Object, reason, message string) {
	e.recorder.Eventf(obj, nil, corev1.EventTypeWarning, reason, action, "%s", message)
}

func (e *Events) take() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	since := max(e.clock.Now().Sub(e.filled), 0)
	e.tokens = min(normalBurst, e.tokens+int(since/normalEvery))
	e.filled = e.filled.Add(since.Truncate(normalEvery))
	if e.tokens == 0 {
		return false
	}
	e.tokens--
	return true
}
