package externalsecret

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/reconcile"
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
	reconcile.Turns
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
	// warned is what the last warning about the manifest said.
	warned string
	// drifts counts repairs shortly after each other, the last at driftAt.
	drifts  int
	driftAt time.Time

	mu sync.Mutex
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

func (e *entry) succeeded(out outcome) {
	e.Succeeded()
	e.digest, e.known, e.initial = out.digest, true, false
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
