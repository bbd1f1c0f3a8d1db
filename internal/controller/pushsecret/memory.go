package pushsecret

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// memory holds, for each object, what would otherwise have to be read again. All of
// it can be lost: then a pass reads more.
type memory struct {
	mu sync.Mutex
	m  map[client.ObjectKey]*entry
}

// lost records that an object must not push something because of another one.
func (m *memory) lost(key, rival client.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.m[key]; ok && !slices.Contains(e.rivals, rival) {
		e.rivals = append(e.rivals, rival)
	}
}

// losers returns the objects that must not push something because of that one, and
// forgets it.
func (m *memory) losers(rival client.ObjectKey) []client.ObjectKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []client.ObjectKey
	for key, e := range m.m {
		if slices.Contains(e.rivals, rival) {
			e.rivals = nil
			out = append(out, key)
		}
	}
	return out
}

// offer replaces what an object offers, and reports whether that is more or something
// else than before.
func (m *memory) offer(key client.ObjectKey, offers plan.Pushed) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.m[key]
	if !ok {
		return false
	}
	before := e.offers
	e.offers = offers
	return len(offers.Less(before)) > 0
}

// offered reports whether an object offers all that it has at a place.
func (m *memory) offered(ps *v1alpha1.PushSecret, store plan.StoreRef, d v1alpha1.PushSecretData) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.m[keyOf(ps)]
	return ok && e.uid == ps.UID && len(e.offers) > 0 && !plan.Pushed(ps.Status.SyncedPushSecrets).Less(e.offers).Covers(store, d)
}

// entry is what is known of one object.
type entry struct {
	reconcile.Turns
	uid types.UID
	// status is the last one that was decided; the API server, or the cache, may not
	// have it yet. reported is the last one that was written.
	status   *v1alpha1.PushSecretStatus
	reported v1alpha1.PushSecretStatus
	// collided is when passes began to meet somebody else's changes; zero if the last one
	// did not.
	collided time.Time
	// rivals have the better right to something that the object wants to push. The
	// memory guards it.
	rivals []client.ObjectKey
	// offers is what the object pushed and does not want any more, and cannot delete yet
	// because it lost to a rival: whoever wants it may have it. The memory guards it.
	offers plan.Pushed
}

// entry returns what is known of an object, and shows it the status last written if
// that is newer than what the cache has.
func (m *memory) entry(key client.ObjectKey, ps *v1alpha1.PushSecret) *entry {
	m.mu.Lock()
	e, ok := m.m[key]
	if !ok || e.uid != ps.UID {
		e = &entry{uid: ps.UID}
		m.m[key] = e
	}
	m.mu.Unlock()
	if e.status != nil {
		ps.Status = *e.status.DeepCopy()
	}
	return e
}

// quietFor is how long passes that meet somebody else's changes are begun again without
// a word.
const quietFor = 10 * time.Second

// collides reports whether a failure is that somebody else changed the object, or its
// store, at the same time, which is nothing to report yet.
func (e *entry) collides(err error, now time.Time) bool {
	if secret.KindOf(err) != secret.Conflict || reconcile.Stuck(err) {
		e.collided = time.Time{}
		return false
	}
	if e.collided.IsZero() {
		e.collided = now
	}
	return now.Sub(e.collided) < quietFor
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
}

// place is a secret of a store: tenant is the namespace whose store it is, where each
// has its own, and namespace the one that metadata names there.
type place struct{ uid, tenant, namespace, key string }

func placeOf(t target, d v1alpha1.PushSecretData) place {
	at := place{uid: t.place.UID, namespace: plan.RemoteNamespace(d), key: d.Match.RemoteRef.RemoteKey}
	if t.place.Referent() {
		at.tenant = t.place.Tenant
	}
	return at
}

// claims settles, within the process, who writes to a secret when several objects
// want to and nobody has yet. What was written is in the objects' status.
type claims struct {
	mu sync.Mutex
	// at holds who has taken what of a secret: some of its properties, or all of it.
	at map[place]map[client.ObjectKey][]v1alpha1.PushSecretData
	// of holds the places of which an object has taken something.
	of map[client.ObjectKey]map[place]bool
}

// take claims what an entry is for, unless another object has it: then it returns that
// one's name.
func (c *claims) take(t target, d v1alpha1.PushSecretData, key client.ObjectKey) (rival client.ObjectKey, taken bool) {
	at := placeOf(t, d)
	c.mu.Lock()
	defer c.mu.Unlock()
	for other, held := range c.at[at] {
		if other != key && slices.ContainsFunc(held, func(h v1alpha1.PushSecretData) bool { return plan.Meet(h, d) }) {
			return other, false
		}
	}
	if c.at[at] == nil {
		c.at[at] = map[client.ObjectKey][]v1alpha1.PushSecretData{}
	}
	if c.of[key] == nil {
		c.of[key] = map[place]bool{}
	}
	c.at[at][key] = append(c.at[at][key], d)
	c.of[key][at] = true
	return key, true
}

// give gives up a claim on an entry.
func (c *claims) give(t target, d v1alpha1.PushSecretData, key client.ObjectKey) {
	at := placeOf(t, d)
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.at[at][key]
	i := slices.IndexFunc(held, func(h v1alpha1.PushSecretData) bool { return h.Match.RemoteRef == d.Match.RemoteRef })
	if i < 0 {
		return
	}
	c.at[at][key] = slices.Delete(held, i, i+1)
}

// drop gives up all claims of an object.
func (c *claims) drop(key client.ObjectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := range c.of[key] {
		delete(c.at[at], key)
		if len(c.at[at]) == 0 {
			delete(c.at, at)
		}
	}
	delete(c.of, key)
}
