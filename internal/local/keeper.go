package local

import (
	"context"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/store"
)

// calm is how long a change of files is given to become complete.
const calm = 200 * time.Millisecond

// Keeper keeps the targets of ExternalSecrets in step. All fields are required.
type Keeper struct {
	Engine *Engine
	// Load reads the manifests again.
	Load func() (*Manifests, error)
	// Wanted selects ExternalSecrets.
	Wanted func(*esv1.ExternalSecret) bool
	// Changed receives when files have changed.
	Changed <-chan struct{}
	// Report is told of passes that changed something, failed otherwise than the one
	// before, or succeeded after a failure.
	Report func(Result)
	// Trouble is told what keeps new files from being used; what was read before stays
	// in use.
	Trouble func(error)

	manifests *Manifests
	tracked   map[types.UID]*tracked
	trouble   string
}

// tracked is what is known of one ExternalSecret: what its status would say.
type tracked struct {
	status esv1.ExternalSecretStatus
	// nudged: something that it depends on has changed.
	nudged bool
	// failures in a row, of which version, and when to try again; zero is not before
	// something changes.
	failures      int
	failedVersion string
	retryAt       time.Time
	said          string
}

// Run keeps the targets of m in step until ctx ends, and follows its files.
func (k *Keeper) Run(ctx context.Context, m *Manifests) {
	k.manifests, k.tracked = m, map[types.UID]*tracked{}
	clock := k.Engine.Clock
	for ctx.Err() == nil {
		now := clock.Now()
		due, next := k.due(now)
		if len(due) > 0 {
			k.Engine.Sync(ctx, k.manifests, due, now, k.finish)
			continue
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = clock.After(next.Sub(now))
		}
		select {
		case <-timer:
		case <-k.Changed:
			k.reload(ctx)
		case <-ctx.Done():
		}
	}
}

func (k *Keeper) wanted() []*esv1.ExternalSecret {
	return slices.DeleteFunc(slices.Clone(k.manifests.ExternalSecrets), func(es *esv1.ExternalSecret) bool { return !k.Wanted(es) })
}

// due returns what is to be done now, and else when to look again; zero if nothing
// will be due by itself.
func (k *Keeper) due(now time.Time) ([]*esv1.ExternalSecret, time.Time) {
	var due []*esv1.ExternalSecret
	var next time.Time
	for _, es := range k.wanted() {
		t := k.of(es)
		es.Status = t.status
		at := now
		switch {
		case t.nudged:
		case t.failures > 0 && t.failedVersion == plan.SyncedVersion(es):
			at = t.retryAt
		default:
			if r := plan.Refresh(es, now); !r.Now {
				at = r.Next
			}
		}
		switch {
		case at.IsZero():
		case !at.After(now):
			due = append(due, es)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return due, next
}

func (k *Keeper) of(es *esv1.ExternalSecret) *tracked {
	t, ok := k.tracked[es.UID]
	if !ok {
		t = &tracked{}
		k.tracked[es.UID] = t
	}
	return t
}

// finish remembers how a pass went.
func (k *Keeper) finish(r Result) {
	now := k.Engine.Clock.Now()
	t := k.of(r.Object)
	t.nudged = false
	synced := esv1.ExternalSecretStatus{RefreshTime: metav1.NewTime(now), SyncedResourceVersion: plan.SyncedVersion(r.Object)}
	said := t.said
	if r.Err == nil {
		*t = tracked{status: synced}
	} else {
		t.failures++
		t.failedVersion, t.said = synced.SyncedResourceVersion, reconcile.Message(r.Err)
		if wait, again := reconcile.Backoff(r.Err, t.failures); again {
			t.retryAt = now.Add(wait)
		} else {
			later := r.Object.DeepCopy()
			later.Status = synced
			t.retryAt = plan.Refresh(later, now).Next
		}
	}
	if len(r.Changes) > 0 || t.said != said {
		k.Report(r)
	}
}

// reload reads the files again, and makes due what depends on what has changed. What
// cannot be read changes nothing.
func (k *Keeper) reload(ctx context.Context) {
	select {
	case <-k.Engine.Clock.After(calm):
	case <-ctx.Done():
		return
	}
	select {
	case <-k.Changed:
	default:
	}
	next, changed, err := k.read()
	switch {
	case err == nil:
		k.trouble = ""
		k.use(next, changed)
	case err.Error() != k.trouble:
		k.trouble = err.Error()
		k.Trouble(err)
	}
}

// read returns what the files are now, and which Secrets and ConfigMaps are other
// than before.
func (k *Keeper) read() (*Manifests, []store.Dependency, error) {
	next, err := k.Load()
	if err != nil {
		return nil, nil, err
	}
	next.follow(k.manifests)
	changed, err := k.Engine.Surroundings.Set(next)
	return next, changed, err
}

// use goes on with other manifests.
func (k *Keeper) use(next *Manifests, changed []store.Dependency) {
	before := k.manifests
	k.manifests = next
	k.release(before)
	stores := k.changedStores(before)
	for _, d := range changed {
		for _, p := range k.Engine.Pool.Changed(d) {
			stores = append(stores, name{p.Kind, p.Namespace, p.Name})
		}
	}
	for _, es := range k.wanted() {
		if dependsOn(es, stores, changed) || k.of(es).failures > 0 && len(plan.Generators(&es.Spec)) > 0 || usesCluster(es) && !maps.Equal(before.labels(es.Namespace), next.labels(es.Namespace)) {
			k.of(es).nudged = true
		}
	}
}

// release lets go of the ExternalSecrets that are no more.
func (k *Keeper) release(before *Manifests) {
	for _, es := range before.ExternalSecrets {
		gone := !slices.ContainsFunc(k.manifests.ExternalSecrets, func(now *esv1.ExternalSecret) bool { return now.UID == es.UID })
		if !gone || !k.Wanted(es) {
			continue
		}
		delete(k.tracked, es.UID)
		k.Report(k.Engine.Release(es))
	}
}

// changedStores returns the stores that are new, other than before, or gone; the
// last are closed.
func (k *Keeper) changedStores(before *Manifests) []name {
	var out []name
	for key, s := range k.manifests.stores {
		if was, ok := before.stores[key]; !ok || was.GetGeneration() != s.GetGeneration() {
			out = append(out, key)
		}
	}
	for key, s := range before.stores {
		if _, ok := k.manifests.stores[key]; !ok {
			k.Engine.Pool.Forget(string(s.GetUID()))
			out = append(out, key)
		}
	}
	return out
}

// dependsOn reports whether an ExternalSecret uses one of the stores or takes
// templates from one of the objects.
func dependsOn(es *esv1.ExternalSecret, stores []name, objects []store.Dependency) bool {
	for _, ref := range plan.Stores(&es.Spec) {
		key := name{ref.Kind, es.Namespace, ref.Name}
		if ref.Kind == esv1.ClusterSecretStoreKind {
			key.Namespace = ""
		}
		if slices.Contains(stores, key) {
			return true
		}
	}
	for _, s := range plan.TemplateSources(&es.Spec) {
		if slices.ContainsFunc(objects, func(d store.Dependency) bool {
			return d.Kind == s.Kind && d.Namespace == es.Namespace && d.Name == s.Name
		}) {
			return true
		}
	}
	return false
}

func usesCluster(es *esv1.ExternalSecret) bool {
	return slices.ContainsFunc(plan.Stores(&es.Spec), func(r plan.StoreRef) bool { return r.Kind == esv1.ClusterSecretStoreKind })
}
