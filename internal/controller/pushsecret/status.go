package pushsecret

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
)

// quiet is how long a status that would only say "looked again" is held back.
const quiet = time.Minute

// maxNamed is how many places a message names.
const maxNamed = 5

// status is what the object's status should say after a pass. It is pure.
func status(ps *v1alpha1.PushSecret, out outcome, err error, now time.Time) v1alpha1.PushSecretStatus {
	next := *ps.Status.DeepCopy()
	next.ObservedGeneration = ps.Generation
	next.SyncedPushSecrets = nil
	if len(out.pushed) > 0 {
		next.SyncedPushSecrets = out.pushed
	}
	wanted := conditions.OK(v1alpha1.ReasonSynced, out.message(ps))
	if err != nil {
		reason := v1alpha1.ReasonErrored
		if out.sourceDeleted {
			reason = v1alpha1.ReasonSourceDeleted
		}
		wanted = conditions.Failed(reason, reconcile.Message(err), reconcile.Stuck(err))
	} else {
		next.RefreshTime = metav1.NewTime(out.began) // whole seconds once it is written
		next.SyncedResourceVersion = out.state
	}
	next.Conditions = fromConditions(conditions.Set(toConditions(ps.Status.Conditions), wanted, now))
	return next
}

// message is what Ready says of a pass that went well.
func (o outcome) message(ps *v1alpha1.PushSecret) string {
	text := "PushSecret synced successfully"
	if ps.Spec.UpdatePolicy == v1alpha1.PushSecretUpdatePolicyIfNotExists {
		text += ". Existing secrets in providers unchanged."
	}
	if len(o.replaced) > 0 {
		text += "; replaced what somebody else had written to " + someOf(o.replaced)
	}
	return text
}

func someOf(names []string) string {
	if len(names) > maxNamed {
		return strings.Join(names[:maxNamed], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// report writes the status if it says something new.
func (c *Controller) report(ctx context.Context, ps *v1alpha1.PushSecret, e *entry, next v1alpha1.PushSecretStatus) error {
	c.count(ps, next)
	before := ps.Status
	if next.RefreshTime.Sub(e.reported.RefreshTime.Time) < quiet {
		before.RefreshTime = next.RefreshTime
	}
	if equality.Semantic.DeepEqual(before, next) {
		e.status = &next
		return nil
	}
	return c.patch(ctx, ps, e, next)
}

// patch writes the status as one piece: a merge would keep what is gone from the metadata
// of an entry, and drop a null in it.
func (c *Controller) patch(ctx context.Context, ps *v1alpha1.PushSecret, e *entry, next v1alpha1.PushSecretStatus) error {
	patch, err := json.Marshal([]map[string]any{{"op": "add", "path": "/status", "value": next}})
	if err != nil {
		return err
	}
	obj := &v1alpha1.PushSecret{ObjectMeta: metav1.ObjectMeta{Namespace: ps.Namespace, Name: ps.Name}}
	if err := c.client.Status().Patch(ctx, obj, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return client.IgnoreNotFound(cluster.Error("status", err))
	}
	e.status, e.reported = &next, next
	return nil
}

// tell records what was done, and a failure when it is another than before.
func (c *Controller) tell(ps *v1alpha1.PushSecret, next v1alpha1.PushSecretStatus, out outcome, err error) {
	if err == nil {
		old, _ := conditions.Find(toConditions(ps.Status.Conditions), conditions.Ready)
		if len(out.replaced) > 0 {
			c.Events.Warning(ps, reasonReplaced, "replaced what somebody else had written to "+someOf(out.replaced))
		} else if out.changed || old.Status != conditions.True {
			c.Events.Normal(ps, v1alpha1.ReasonSynced, out.message(ps))
		}
		return
	}
	old, _ := conditions.Find(toConditions(ps.Status.Conditions), conditions.Ready)
	now, _ := conditions.Find(toConditions(next.Conditions), conditions.Ready)
	if old.Message != now.Message || old.Status != now.Status {
		c.Events.Warning(ps, now.Reason, now.Message)
	}
	if errors.Is(err, errNoSource) && out.sourceDeleted {
		c.claims.drop(keyOf(ps))
	}
}

// reasonReplaced is of the event that says that somebody else writes there too.
const reasonReplaced = "Replaced"

func (c *Controller) count(ps *v1alpha1.PushSecret, s v1alpha1.PushSecretStatus) {
	list := make([]metrics.Condition, 0, len(s.Conditions))
	for _, cond := range s.Conditions {
		list = append(list, metrics.Condition{Type: string(cond.Type), Status: string(cond.Status)})
	}
	c.Metrics.PushSecrets.Set(metrics.Key{Namespace: ps.Namespace, Name: ps.Name}, list, ps.Labels)
}

func toConditions(list []v1alpha1.PushSecretStatusCondition) []conditions.Condition {
	out := make([]conditions.Condition, 0, len(list))
	for _, c := range list {
		out = append(out, conditions.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time})
	}
	return out
}

func fromConditions(list []conditions.Condition) []v1alpha1.PushSecretStatusCondition {
	out := make([]v1alpha1.PushSecretStatusCondition, 0, len(list))
	for _, c := range list {
		out = append(out, v1alpha1.PushSecretStatusCondition{
			Type: v1alpha1.PushSecretConditionType(c.Type), Status: corev1.ConditionStatus(c.Status),
			Reason: c.Reason, Message: c.Message, LastTransitionTime: metav1.NewTime(c.Since.Truncate(time.Second)),
		})
	}
	return out
}
