package pushsecret

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/rotation"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// use is what an object has of its generator.
const use = "__pushsecret"

const fieldGenerator = "spec.selector.generatorRef"

// shortest is how long what was made is in use at least, however soon it ends.
const shortest = 10 * time.Second

// maker finds the generator that an object names. It fails with Invalid if there is none,
// and with cluster.ErrSkip if it is another controller's.
func (c *Controller) maker(ctx context.Context, ps *v1alpha1.PushSecret) (rotation.Found, error) {
	ref := ps.Spec.Selector.GeneratorRef
	if ref == nil {
		return rotation.Found{}, invalid("spec.selector", "is empty: set secret or generatorRef")
	}
	if err := plan.CheckGenerator(fieldGenerator, ref); err != nil {
		return rotation.Found{}, err
	}
	found, err := c.generators.Get(ctx, ps.Namespace, ref)
	if err != nil && !errors.Is(err, cluster.ErrSkip) {
		err = fmt.Errorf("%s: %w", fieldGenerator, err)
	}
	return found, err
}

// generated returns what the generator of an object has made, new or not.
func (c *Controller) generated(ctx context.Context, ps *v1alpha1.PushSecret, now time.Time) ([]plan.PushSource, error) {
	from, err := c.maker(ctx, ps)
	if err != nil {
		return nil, err
	}
	made, _, err := c.Rotation.Age(ctx, ps, use)
	if err != nil {
		return nil, err
	}
	over := c.over(ps, made)
	values, err := c.Rotation.Values(ctx, rotation.Request{
		Owner: ps, Key: use, From: from, At: now,
		Rotate: forced(ps) || !over.IsZero() && !over.After(now), Keep: c.interval(ps, now).IsZero(),
	})
	if err != nil {
		return nil, fmt.Errorf("%s (%s): %w", fieldGenerator, from.Name, err)
	}
	return []plan.PushSource{{Name: from.Name, Data: values}}, nil
}

// forced reports whether the force-sync annotation changed since the last push.
func forced(ps *v1alpha1.PushSecret) bool {
	last := strings.Split(ps.Status.SyncedResourceVersion, "-") // generation, digest, force-sync if it is set, state
	if len(last) < 3 {
		return false
	}
	now := strings.Split(plan.SyncedVersion(ps), "-")
	return strings.Join(last[2:len(last)-1], "") != strings.Join(now[2:], "")
}

// over is when what was made at that time is to be replaced; zero is never.
func (c *Controller) over(ps *v1alpha1.PushSecret, made time.Time) time.Time {
	if made.IsZero() {
		return made
	}
	return c.interval(ps, made)
}

// ends is when what was made for an object is to be extended or replaced; zero is never.
func (c *Controller) ends(ctx context.Context, ps *v1alpha1.PushSecret, now time.Time) (time.Time, error) {
	if ps.Spec.Selector.GeneratorRef == nil || c.interval(ps, now).IsZero() {
		return time.Time{}, nil
	}
	made, end, err := c.Rotation.Age(ctx, ps, use)
	return earliest(end, c.over(ps, made)), err
}

// commit records that what was made is at the stores, and what is not in use.
func (c *Controller) commit(ctx context.Context, ps *v1alpha1.PushSecret) error {
	if ps.Spec.Selector.GeneratorRef != nil {
		return c.Rotation.Commit(ctx, ps, use)
	}
	generation, _, _ := strings.Cut(ps.Status.SyncedResourceVersion, "-")
	if generation == "" || generation == fmt.Sprint(ps.Generation) {
		return nil
	}
	return c.Rotation.Commit(ctx, ps)
}

// noteGenerator adds the generator of an object to its state.
func (c *Controller) noteGenerator(ctx context.Context, h hash.Hash, ps *v1alpha1.PushSecret) error {
	if ps.Spec.Selector.GeneratorRef == nil {
		return nil
	}
	from, err := c.maker(ctx, ps)
	switch secret.KindOf(err) {
	case secret.Invalid, secret.Unsupported:
		return nil // reported when it is asked
	}
	if err != nil {
		return err
	}
	note(h, "generator", from.Name, from.Version)
	return nil
}

// earliest returns the earlier of two times, of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
