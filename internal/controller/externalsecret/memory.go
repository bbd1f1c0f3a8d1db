package externalsecret

import (
	"hash/fnv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
)

// memory holds, for each object, what would otherwise have to be read again. All of
// it can be lost: then a pass reads more.
type memory struct {
	// key keeps the digests of this process to itself.
	key []byte

	mu sync.Mutex
	m  map[client.ObjectKey]*entry
	// initial are the objects that were there at the start and had no pass yet.
	initial map[client.ObjectKey]bool
}

// entry is what is known of one object. The queue runs one pass over an object at a
// time; what event handlers look at besides is guarded.
type entry struct {
	uid types.UID
	// initial is true for an object that was there at the start, until it is synced.
	initial bool
	// digest stands for everything the target was last made from.
	digest [32]byte
	known  bool
	// status is the last one that was decided; the API server, or the cache, may
	// not have it yet. reported is the last one that was written.
	status   *v1.ExternalSecretStatus
	reported v1.ExternalSecretStatus
	// What was tried last without success, when, and when to try again; retryAt is
	// zero if waiting is no use.
	failedVersion     string
	failedAt, retryAt time.Time
	// warned is what the last warning about the manifest said.
	warned string
	// drifts counts repairs shortly after each other, the last at driftAt.
	drifts  int
	driftAt time.Time

	mu sync.Mutex
	// failures in a row.
	failures int
	// tried is when the pass began that failed last, touched when something that the
	// object depends on was last seen to change.
	tried, touched time.Time
	// nudged is when something that the object depends on changed; zero if nothing did.
	nudged time.Time
	// written is the resourceVersion of the target that we wrote last, gone the one
	// at which it was last seen deleted.
	written, gone string
}

// entry returns what is known of an object, and shows it the status last written if
// that is newer than what the cache has.
func (m *memory) entry(key client.ObjectKey, es *v1.ExternalSecret) *entry {
	m.mu.Lock()
	e, ok := m.m[key]
	if !ok || e.uid != es.UID {
		e = &entry{uid: es.UID, initial: m.initial[key]}
		m.m[key] = e
		delete(m.initial, key)
	}
	m.mu.Unlock()
	if e.status != nil {
		es.Status = *e.status.DeepCopy()
	}
	return e
}

// startWith records that an object was there at the start.
func (m *memory) startWith(key client.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.initial[key] = true
}

func (m *memory) get(key client.ObjectKey) (*entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.m[key]
	return e, ok
}

func (m *memory) forget(key client.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, key)
	delete(m.initial, key)
}

// nudge records that something the object depends on has changed.
func (e *entry) nudge(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nudged = now
}

// touch records that something the object depends on was seen to change. It matters
// if the pass that ran then, or an earlier one, failed.
func (e *entry) touch(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.touched = now
}

// touchedSinceFailure reports whether something was seen to change after the pass began that
// failed last: it may have looked before.
func (e *entry) touchedSinceFailure() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failures > 0 && !e.touched.IsZero() && !e.touched.Before(e.tried)
}

// takeNudge returns when the object was last nudged, and forgets it.
func (e *entry) takeNudge() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.nudged
	e.nudged = time.Time{}
	return at
}

// lost records the version at which the target was deleted.
func (e *entry) lost(version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = version
}

// isGone reports whether the target was deleted after version.
func (e *entry) isGone(version string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone != "" && newer(e.gone, version)
}

// wrote reports whether version is that of our own last write.
func (e *entry) wrote(version string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.written != "" && e.written == version
}

// wroteAs records the version of the target that a pass left.
func (e *entry) wroteAs(version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.written = version
}

// isFailing reports whether the last pass failed.
func (e *entry) isFailing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failures > 0
}

func (e *entry) succeeded(out outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures, e.retryAt = 0, time.Time{}
	e.digest, e.known, e.initial = out.digest, true, false
}

func (e *entry) failed(es *v1.ExternalSecret, err error, began, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failures++
	e.tried = began
	e.known = false
	e.failedVersion, e.failedAt, e.retryAt = plan.SyncedVersion(es), now, time.Time{}
	if wait, again := reconcile.Backoff(err, e.failures); again {
		e.retryAt = now.Add(wait)
	}
}

// newer reports whether resourceVersion a is later than b. Versions that cannot be
// compared are taken as different, and so as later.
func newer(a, b string) bool {
	if b == "" {
		return true
	}
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil && a != b || order > 0
}

// fraction is a number in [0, 1) that is always the same for an object.
func fraction(uid types.UID) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(uid))
	return float64(h.Sum32()) / (1 << 32)
}
