package externalsecret

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

const (
	// slack is how much older than the turn of an object a value may be that is read for
	// it, as far as that is a small part of its interval: objects that are due together
	// share reads.
	slack = 5 * time.Second
	// spreadOver is the part of the interval by which a refresh may come early, so
	// that objects which were synced together do not stay together.
	spreadOver = 0.1
	// driftCalm is how long a target must be left alone until a repair is prompt again.
	driftCalm = 10 * time.Minute
)

// reason says whether an object is due now, how fresh what is read for it must be,
// or else when it is due.
type reason struct {
	now   bool
	since time.Time
	next  time.Time
}

// due decides whether there is something to do for an object.
func (c *Controller) due(ctx context.Context, es *v1.ExternalSecret, e *entry, now time.Time) (reason, error) {
	if at := nudged(es, e); !at.IsZero() {
		return reason{now: true, since: at}, nil
	}
	if e.TouchedSinceFailure() {
		return reason{now: true, since: now}, nil
	}
	if failed, at, retry := e.FailedAs(plan.SyncedVersion(es)); failed {
		return c.retry(es, at, retry, now), nil
	}
	why := plan.Refresh(es, now)
	switch {
	case why.Forced:
		return reason{now: true, since: now}, nil
	case why.Now:
		return reason{now: true, since: c.since(es, e, now)}, nil
	}
	next := c.spread(es, why.Next)
	if !next.IsZero() && !next.After(now) {
		return reason{now: true, since: next.Add(-min(slack, next.Sub(es.Status.RefreshTime.Time)/20))}, nil
	}
	return c.between(ctx, es, e, next, now)
}

// between decides for an object whose next refresh is to come: what was made for it may
// end before, and its target may not be what was written.
func (c *Controller) between(ctx context.Context, es *v1.ExternalSecret, e *entry, next, now time.Time) (reason, error) {
	ends, err := c.ends(ctx, es, now)
	if err != nil {
		return reason{}, err
	}
	if !ends.IsZero() && !ends.After(now) {
		return reason{now: true, since: now}, nil
	}
	next = earliest(next, ends)
	drifted, err := c.drifted(ctx, es, e)
	if err != nil || !drifted {
		return reason{next: next}, err
	}
	return c.repair(e, now), nil
}

// nudged returns when something changed that the object depends on, zero if nothing
// did. What was synced under CreatedOnce stays as it was then.
func nudged(es *v1.ExternalSecret, e *entry) time.Time {
	at := e.TakeNudge()
	if es.Spec.RefreshPolicy == v1.RefreshPolicyCreatedOnce && es.Status.SyncedResourceVersion != "" && !e.Failing() {
		return time.Time{}
	}
	return at
}

// since is how old a value may be for an object that is new, has changed or is
// overdue: as old as the reason. What was there when the process started was due then.
func (c *Controller) since(es *v1.ExternalSecret, e *entry, now time.Time) time.Time {
	created, overdue := es.CreationTimestamp.Time, c.interval(es, es.Status.RefreshTime.Time)
	switch {
	case es.Status.RefreshTime.IsZero() && e.initial:
		return c.started
	case es.Status.RefreshTime.IsZero():
		if least := now.Add(-slack); created.Before(least) { // the API server's clock may be behind
			return least
		}
		return created
	case plan.SyncedVersion(es) == es.Status.SyncedResourceVersion && !overdue.IsZero() && overdue.Before(now):
		return overdue
	}
	return now
}

// retry is when a failed object is due again. Where waiting is no use, the interval
// still counts: what is wrong may lie in the store.
func (c *Controller) retry(es *v1.ExternalSecret, failed, at, now time.Time) reason {
	if at.IsZero() {
		at = c.interval(es, failed)
	}
	if at.IsZero() || at.After(now) {
		return reason{next: at}
	}
	return reason{now: true, since: now}
}

// interval is when the refresh interval that began at from is over; zero if there
// is none.
func (c *Controller) interval(es *v1.ExternalSecret, from time.Time) time.Time {
	if es.Spec.RefreshPolicy != "" && es.Spec.RefreshPolicy != v1.RefreshPolicyPeriodic {
		return time.Time{}
	}
	if d := es.Spec.RefreshInterval; d != nil {
		if d.Duration <= 0 {
			return time.Time{}
		}
		return from.Add(d.Duration)
	}
	return from.Add(time.Hour)
}

// spread brings a refresh forward by a part of the interval that is always the same
// for an object.
func (c *Controller) spread(es *v1.ExternalSecret, next time.Time) time.Time {
	last := es.Status.RefreshTime.Time
	if next.IsZero() || es.Spec.SyncWindows != nil || !next.After(last) {
		return next
	}
	return next.Add(-time.Duration(float64(next.Sub(last)) * spreadOver * reconcile.Fraction(es.UID)))
}

// next is when to come again after a pass that succeeded; zero is never. A pass can
// take longer than the interval, and a status counts whole seconds: half an interval
// is left alone whatever they say, and never the object.
func (c *Controller) next(es *v1.ExternalSecret, now time.Time) time.Time {
	why := plan.Refresh(es, now)
	at, full := c.spread(es, why.Next), c.interval(es, now)
	if half := now.Add(full.Sub(now) / 2); !full.IsZero() && (why.Now || !at.IsZero() && at.Before(half)) {
		return half
	}
	return at
}

// drifted reports whether the target is not what was last written. The cache may lag
// behind our own write: what it has from before does not count.
func (c *Controller) drifted(ctx context.Context, es *v1.ExternalSecret, e *entry) (bool, error) {
	target, err := c.cached(ctx, es)
	if err != nil {
		return false, err
	}
	written := es.Status.TargetResourceVersion
	if written != "" && e.wrote(written) {
		if target == nil {
			return plan.Drifted(es, nil) && e.isGone(written), nil
		}
		if newer(written, target.ResourceVersion) {
			return false, nil
		}
	}
	return plan.Drifted(es, target), nil
}

// asWritten reports whether a refresh that read what it read before has nothing to
// write. A target under Orphan is not kept in shape in between, but is made again
// with the next refresh.
func (c *Controller) asWritten(ctx context.Context, es *v1.ExternalSecret, e *entry) bool {
	if drifted, err := c.drifted(ctx, es, e); err != nil || drifted {
		return false
	}
	if es.Spec.Target.CreationPolicy != v1.CreatePolicyOrphan || es.Status.TargetResourceVersion == "" {
		return true
	}
	target, err := c.cached(ctx, es)
	return err == nil && target != nil && target.ResourceVersion == es.Status.TargetResourceVersion
}

// repair lets the first drift be repaired at once, and those that follow upon each
// other at growing distances: somebody else writes the same object.
func (c *Controller) repair(e *entry, now time.Time) reason {
	if now.Sub(e.driftAt) > driftCalm {
		e.drifts = 0
	}
	if e.drifts > 2 {
		if at := e.driftAt.Add(min(time.Second<<min(e.drifts-3, 10), time.Minute)); at.After(now) {
			return reason{next: at}
		}
	}
	e.drifts++
	e.driftAt = now
	return reason{now: true, since: now}
}

// cached returns what the cache knows of the target; nil if it is not there.
func (c *Controller) cached(ctx context.Context, es *v1.ExternalSecret) (*metav1.PartialObjectMetadata, error) {
	gvk := targetKind(es)
	if plan.IsGeneric(es) {
		if !c.AllowGeneric {
			return nil, nil
		}
		if err := c.watchTarget(gvk); err != nil {
			return nil, err
		}
	}
	meta := cluster.Metadata(gvk)
	err := c.cache.Get(ctx, client.ObjectKey{Namespace: es.Namespace, Name: plan.TargetName(es)}, meta)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case apimeta.IsNoMatchError(err):
		return nil, &secret.Error{Kind: secret.Unavailable, Err: fmt.Errorf("spec.target.manifest: the cluster has no kind %s in %s: define it, or correct the manifest", gvk.Kind, gvk.GroupVersion())}
	case err != nil:
		return nil, cluster.Error("read", err)
	}
	return meta, nil
}
