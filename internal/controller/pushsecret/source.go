package pushsecret

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// errNoSource says that there is nothing to push.
var errNoSource = errors.New("nothing to push")

// sources reads what is to be pushed. It fails with NotFound, and errNoSource, if that
// is not there.
func (c *Controller) sources(ctx context.Context, ps *v1alpha1.PushSecret, now time.Time) ([]plan.PushSource, error) {
	from := ps.Spec.Selector.Secret
	if from == nil {
		return c.generated(ctx, ps, now)
	}
	if from.Name != "" {
		s, err := c.source(ctx, ps.Namespace, from.Name)
		if errors.Is(err, secret.NotFound) {
			return nil, noSource("spec.selector.secret.name: Secret %q does not exist", from.Name)
		}
		return []plan.PushSource{s}, err
	}
	list, err := c.selected(ctx, ps)
	if err != nil {
		return nil, err
	}
	var out []plan.PushSource
	for _, m := range list {
		s, err := c.source(ctx, ps.Namespace, m.Name)
		if errors.Is(err, secret.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, noSource("spec.selector.secret.selector: no Secret matches")
	}
	return out, nil
}

func noSource(format string, args ...any) error {
	return &secret.Error{Kind: secret.NotFound, Err: fmt.Errorf(format+": %w", append(args, errNoSource)...)}
}

func (c *Controller) source(ctx context.Context, namespace, name string) (plan.PushSource, error) {
	s, err := c.Surroundings.Load(ctx, "Secret", namespace, name)
	if err != nil {
		return plan.PushSource{}, fmt.Errorf("spec.selector: Secret %q: %w", name, err)
	}
	return plan.PushSource{Name: fmt.Sprintf("Secret %q", name), Data: s.Data, Type: s.Type, Labels: s.Labels, Annotations: s.Annotations}, nil
}

// sourceGone removes what was pushed, now that its source is deleted. It comes back
// when the source does.
func (c *Controller) sourceGone(ctx context.Context, ps *v1alpha1.PushSecret, out *outcome, cause error) error {
	if err := c.empty(ctx, ps, out.pushed, out); err != nil {
		return err
	}
	out.sourceDeleted = true
	return reconcile.Stop(fmt.Errorf("what was pushed is deleted at the stores: %w", cause))
}

// sourceIsGone reports whether an error says that what was pushed is to be removed, or
// was by an earlier pass.
func sourceIsGone(ps *v1alpha1.PushSecret, out *outcome, err error) bool {
	if !errors.Is(err, errNoSource) || !deletes(ps) {
		return false
	}
	cond, _ := conditions.Find(toConditions(ps.Status.Conditions), conditions.Ready)
	return len(out.pushed) > 0 || cond.Reason == v1alpha1.ReasonSourceDeleted
}
