package externalsecret

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/rotation"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// uses names, by index of dataFrom, what an object has of generators. The names do not
// change when other entries do.
func uses(spec *v1.ExternalSecretSpec) map[int]string {
	refs := plan.Generators(spec)
	out := make(map[int]string, len(refs))
	seen := map[string]int{}
	for _, i := range slices.Sorted(maps.Keys(refs)) {
		name := rotation.Key(refs[i])
		out[i] = rotation.UseOf(name, seen[name])
		seen[name]++
	}
	return out
}

// makers finds the generators that an object names. It fails with cluster.ErrSkip if one
// is another controller's, and with Invalid if one is missing.
func (c *Controller) makers(ctx context.Context, es *v1.ExternalSecret) (map[int]rotation.Found, error) {
	refs := plan.Generators(&es.Spec)
	out := make(map[int]rotation.Found, len(refs))
	for _, i := range slices.Sorted(maps.Keys(refs)) {
		found, err := c.generators.Get(ctx, es.Namespace, refs[i])
		if err != nil {
			return nil, fmt.Errorf("spec.dataFrom[%d].sourceRef.generatorRef: %w", i, err)
		}
		out[i] = found
	}
	return out, nil
}

// generate answers the sources that name a generator. If it is left, what the target
// holds cannot be told from what it was made into, and must not be replaced yet.
func (c *Controller) generate(ctx context.Context, es *v1.ExternalSecret, from map[int]rotation.Found, answers []plan.Answer, now time.Time) (left bool, err error) {
	requests := map[int]rotation.Request{}
	names := uses(&es.Spec)
	for i, f := range from {
		requests[i] = rotation.Request{Owner: es, Key: names[i], From: f, Keep: !plan.Rotates(es), At: now}
	}
	if left, err := c.recall(ctx, es, requests); left || err != nil {
		return left, err
	}
	forced := plan.Forced(es)
	for _, i := range slices.Sorted(maps.Keys(requests)) {
		r := requests[i]
		made, _, err := c.Rotation.Age(ctx, es, r.Key)
		if err != nil {
			return false, err
		}
		over, _ := c.over(es, made, now)
		r.Rotate = forced || over
		values, err := c.Rotation.Values(ctx, r)
		answers[i] = plan.Answer{Secret: secret.Secret{Fields: values}, Err: err}
	}
	return false, nil
}

// recall takes values that are not in memory back from the target, if that is there. It
// is left if that does not work, and the values are to be kept: because they are never
// replaced, or because all that is lost is the status.
func (c *Controller) recall(ctx context.Context, es *v1.ExternalSecret, requests map[int]rotation.Request) (left bool, err error) {
	missing := slices.DeleteFunc(slices.Sorted(maps.Keys(requests)), func(i int) bool {
		return c.Rotation.Holds(es.UID, requests[i].Key)
	})
	if len(missing) == 0 {
		return false, nil
	}
	t := plan.Target{Object: es}
	if seen, err := c.cached(ctx, es); err != nil || seen == nil {
		return false, err
	}
	if err := c.read(ctx, &t); err != nil {
		return false, err
	}
	hidden := false
	for _, i := range missing {
		taken, err := c.takeBack(ctx, t, i, requests[i])
		if err != nil {
			return false, err
		}
		hidden = hidden || taken == plan.Hidden
	}
	lost := es.Status.SyncedResourceVersion == "" || es.Status.RefreshTime.IsZero()
	return hidden && (lost || !plan.Rotates(es)), nil
}

// takeBack takes the values of one use back from the target, as it is.
func (c *Controller) takeBack(ctx context.Context, t plan.Target, i int, r rotation.Request) (plan.Recovery, error) {
	es := t.Object
	switch {
	case t.Live != nil && plan.Mine(es, t.Live):
		return plan.Hidden, nil
	case t.Existing == nil || !plan.Mine(es, t.Existing):
		return plan.Absent, nil
	}
	values, recovery := plan.TakeBack(ctx, c.Engine, es, i, plan.TakeFrom{
		Data: t.Existing.Data, Keys: c.Rotation.Keys(r.From), Intact: plan.Untouched(es, t.Existing),
	})
	if recovery != plan.Taken {
		return recovery, nil
	}
	made := es.Status.RefreshTime.Time
	if written := plan.WrittenAt(es, t.Existing); t.Existing.ResourceVersion != es.Status.TargetResourceVersion && written.After(made) {
		made = written // and then the status was lost, or not written
	}
	taken, err := c.Rotation.Adopt(ctx, r, values, made)
	if err == nil && !taken {
		return plan.Absent, nil
	}
	return plan.Taken, err
}

// leave is the outcome of a pass that leaves the target as it is.
func (c *Controller) leave(ctx context.Context, es *v1.ExternalSecret, e *entry, out outcome) (outcome, error) {
	seen, err := c.cached(ctx, es)
	if err != nil || seen == nil {
		return out, err
	}
	out.reason, out.version, out.binding = v1.ConditionReasonSecretSynced, seen.ResourceVersion, seen.Name
	if plan.IsGeneric(es) {
		out.reason = v1.ConditionReasonResourceSynced
	}
	out.message = "the target is left as it is: what was generated for it cannot be read back; delete it to have it made anew"
	e.wroteAs(out.version)
	return out, nil
}

// commit records that what was made is where it belongs, and what is not in use.
func (c *Controller) commit(ctx context.Context, es *v1.ExternalSecret) error {
	keys := slices.Sorted(maps.Values(uses(&es.Spec)))
	synced := es.Status.SyncedResourceVersion
	if len(keys) == 0 && (synced == "" || synced == plan.SyncedVersion(es)) {
		return nil
	}
	return c.Rotation.Commit(ctx, es, keys...)
}

// over reports whether the interval of what was made at that time has passed, and if
// not, when it will have.
func (c *Controller) over(es *v1.ExternalSecret, made, now time.Time) (over bool, next time.Time) {
	if made.IsZero() || !plan.Rotates(es) {
		return false, time.Time{}
	}
	if made.After(now) {
		made = now // the API server's clock is ahead
	}
	aged := plan.Aged(es, made)
	why := plan.Refresh(aged, now)
	next = c.spread(aged, why.Next)
	return why.Now || !next.IsZero() && !next.After(now), next
}

// ends is when something that was made for an object is to be extended or replaced; zero
// is never.
func (c *Controller) ends(ctx context.Context, es *v1.ExternalSecret, now time.Time) (time.Time, error) {
	var first time.Time
	if !plan.Rotates(es) {
		return first, nil
	}
	for _, key := range uses(&es.Spec) {
		made, end, err := c.Rotation.Age(ctx, es, key)
		if err != nil {
			return first, err
		}
		over, next := c.over(es, made, now)
		if over {
			return now, nil
		}
		first = earliest(first, earliest(next, end))
	}
	return first, nil
}

// earliest returns the earlier of two times, of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
