package externalsecret

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/plan"
)

// quiet is how long a status that would only say "refreshed again" is held back.
const quiet = time.Minute

// status is what the object's status should say after a pass. It is pure.
func status(es *v1.ExternalSecret, out outcome, err error, now time.Time) v1.ExternalSecretStatus {
	next := *es.Status.DeepCopy()
	next.ObservedGeneration = es.Generation
	wanted := conditions.OK(out.reason, out.message)
	if err != nil {
		reason := v1.ConditionReasonSecretSyncedError
		if plan.IsGeneric(es) {
			reason = v1.ConditionReasonResourceSyncedError
		}
		wanted = conditions.Failed(reason, reconcile.Message(err), reconcile.Stuck(err))
	} else {
		next.RefreshTime = metav1.NewTime(out.began) // whole seconds once it is written
		next.SyncedResourceVersion = plan.SyncedVersion(es)
		next.TargetResourceVersion = out.version
		next.Binding = corev1.LocalObjectReference{Name: out.binding}
	}
	next.Conditions = fromConditions(conditions.Set(toConditions(es.Status.Conditions), wanted, now))
	return next
}

// report writes the status if it says something new.
func (c *Controller) report(ctx context.Context, es *v1.ExternalSecret, e *entry, next v1.ExternalSecretStatus) error {
	before := es.Status
	c.count(es, next)
	e.status = &next
	if !worthWriting(before, next, e.reported) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": whole(next)})
	if err != nil {
		return err
	}
	obj := &v1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: es.Namespace, Name: es.Name}}
	if err := c.client.Status().Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch)); err != nil {
		e.status = &before
		return client.IgnoreNotFound(cluster.Error("status", err))
	}
	e.reported = next
	return nil
}

// worthWriting reports whether next says more than that there was another refresh
// shortly after the last one that was reported.
func worthWriting(before, next, reported v1.ExternalSecretStatus) bool {
	if next.RefreshTime.Sub(reported.RefreshTime.Time) < quiet {
		before.RefreshTime, next.RefreshTime = metav1.Time{}, metav1.Time{}
	}
	return !equality.Semantic.DeepEqual(before, next)
}

// whole names every field, so that a merge patch removes those that are empty.
func whole(s v1.ExternalSecretStatus) map[string]any {
	out := map[string]any{
		"refreshTime": nil, "syncedResourceVersion": nil, "targetResourceVersion": nil, "binding": nil,
		"observedGeneration": s.ObservedGeneration, "conditions": s.Conditions,
	}
	if !s.RefreshTime.IsZero() {
		out["refreshTime"] = s.RefreshTime
	}
	if s.SyncedResourceVersion != "" {
		out["syncedResourceVersion"] = s.SyncedResourceVersion
	}
	if s.TargetResourceVersion != "" {
		out["targetResourceVersion"] = s.TargetResourceVersion
	}
	if s.Binding.Name != "" {
		out["binding"] = s.Binding
	}
	return out
}

// tell records what was done, and a failure when it is another than before.
func (c *Controller) tell(es *v1.ExternalSecret, next v1.ExternalSecretStatus, events []plan.Event) {
	for _, e := range events {
		c.Events.Normal(es, e.Reason, e.Message)
	}
	old, _ := conditions.Find(toConditions(es.Status.Conditions), conditions.Ready)
	now, _ := conditions.Find(toConditions(next.Conditions), conditions.Ready)
	if now.Status == conditions.False && (old.Message != now.Message || old.Status != now.Status) {
		c.Events.Warning(es, v1.ReasonUpdateFailed, now.Message)
	}
}

// reasonInvalidSyncWindow is of the event that names sync windows that cannot be read.
const reasonInvalidSyncWindow = "InvalidSyncWindow"

// warn records what of the manifest is passed over, each time it is something else.
func (c *Controller) warn(es *v1.ExternalSecret, e *entry, now time.Time) {
	text := strings.Join(plan.Refresh(es, now).Warnings, "; ")
	if text != "" && text != e.warned {
		c.Events.Warning(es, reasonInvalidSyncWindow, text)
	}
	e.warned = text
}

func (c *Controller) count(es *v1.ExternalSecret, s v1.ExternalSecretStatus) {
	list := make([]metrics.Condition, 0, len(s.Conditions))
	for _, cond := range s.Conditions {
		list = append(list, metrics.Condition{Type: string(cond.Type), Status: string(cond.Status)})
	}
	c.Metrics.ExternalSecrets.Set(metrics.Key{Namespace: es.Namespace, Name: es.Name}, list, es.Labels)
}

func toConditions(list []v1.ExternalSecretStatusCondition) []conditions.Condition {
	out := make([]conditions.Condition, 0, len(list))
	for _, c := range list {
		out = append(out, conditions.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time})
	}
	return out
}

func fromConditions(list []conditions.Condition) []v1.ExternalSecretStatusCondition {
	out := make([]v1.ExternalSecretStatusCondition, 0, len(list))
	for _, c := range list {
		out = append(out, v1.ExternalSecretStatusCondition{
			Type: v1.ExternalSecretConditionType(c.Type), Status: corev1.ConditionStatus(c.Status),
			Reason: c.Reason, Message: c.Message, LastTransitionTime: metav1.NewTime(c.Since.Truncate(time.Second)),
		})
	}
	return out
}
