package secretstore

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
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
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

var errInterval = errors.New("spec.refreshInterval: write a duration such as 5m, or a number of seconds, not below 0")

// checks remembers when each store was checked and how that went.
type checks struct {
	mu sync.Mutex
	m  map[client.ObjectKey]check
}

type check struct {
	uid        string
	generation int64
	until      time.Time // the check stands until then
	failures   int
}

// isOf reports whether the check was of the manifest as it is.
func (c check) isOf(s v1.GenericStore) bool {
	return c.uid == string(s.GetUID()) && c.generation == s.GetGeneration()
}

func (c *checks) get(k client.ObjectKey) check {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[k]
}

func (c *checks) set(k client.ObjectKey, v check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m[k] = v
}

func (c *checks) forget(k client.ObjectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, k)
}

// verdict is what a check came to.
type verdict struct {
	reason     string
	conditions []conditions.Condition
}

func (v verdict) failed() bool { return v.conditions[0].Status != conditions.True }

// judge turns the outcome of a check into conditions. A credential that cannot be
// checked, because it is each consumer's or the backend has no call for it, is no
// reason to call the store unusable.
func judge(err error) verdict {
	switch {
	case err == nil:
		return verdict{v1.ReasonStoreValid, conditions.OK(v1.ReasonStoreValid, "store validated")}
	case unchecked(err):
		return verdict{v1.ReasonStoreValid, conditions.OK(v1.ReasonStoreValid, "store validated: the manifest is valid; the credential is checked at the first read")}
	}
	return verdict{v1.ReasonInvalidProviderConfig, conditions.Failed(v1.ReasonInvalidProviderConfig, reconcile.Message(err), reconcile.Stuck(err))}
}

// unchecked reports whether a check found that it cannot tell. A provider that this
// build does not have is another matter: that has no operation named check.
func unchecked(err error) bool {
	e, ok := errors.AsType[*secret.Error](err)
	return errors.Is(err, provider.ErrReferent) || ok && e.Kind == secret.Unsupported && e.Op == "check"
}

// report writes the status if it says something new, and an event if the verdict is
// another than before.
func (c *Controller) report(ctx context.Context, s v1.GenericStore, v verdict) error {
	old := s.GetStatus()
	wanted := v1.SecretStoreStatus{
		Conditions:         fromConditions(conditions.Set(toConditions(old.Conditions), v.conditions, c.Clock.Now())),
		ObservedGeneration: s.GetGeneration(),
		Capabilities:       c.capabilities(s),
	}
	c.count(s, wanted)
	if equality.Semantic.DeepEqual(*old, wanted) {
		return nil
	}
	before, _ := conditions.Find(toConditions(old.Conditions), conditions.Ready)
	patch, err := json.Marshal(map[string]any{"status": whole(wanted)})
	if err != nil {
		return err
	}
	if err := c.client.Status().Patch(ctx, s, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return client.IgnoreNotFound(cluster.Error("status", err))
	}
	if before.Reason == v.reason && before.Message == v.conditions[0].Message {
		return nil
	}
	if v.failed() {
		c.Events.Warning(s, v.reason, v.conditions[0].Message)
		return nil
	}
	c.Events.Normal(s, v.reason, v.conditions[0].Message)
	return nil
}

// whole names every field, so that a merge patch removes those that are empty.
func whole(s v1.SecretStoreStatus) map[string]any {
	out := map[string]any{"conditions": s.Conditions, "observedGeneration": s.ObservedGeneration, "capabilities": nil}
	if s.Capabilities != "" {
		out["capabilities"] = s.Capabilities
	}
	return out
}

func (c *Controller) count(s v1.GenericStore, status v1.SecretStoreStatus) {
	list := make([]metrics.Condition, 0, len(status.Conditions))
	for _, cond := range status.Conditions {
		list = append(list, metrics.Condition{Type: string(cond.Type), Status: string(cond.Status)})
	}
	c.series.Set(metrics.Key{Namespace: s.GetNamespace(), Name: s.GetName()}, list, nil)
}

func (c *Controller) capabilities(s v1.GenericStore) v1.SecretStoreCapabilities {
	name, _ := s.GetSpec().Provider.Selected()
	p, err := c.Registry.Lookup(name)
	if err != nil {
		return ""
	}
	return v1.SecretStoreCapabilities(p.Access)
}

func toConditions(list []v1.SecretStoreStatusCondition) []conditions.Condition {
	out := make([]conditions.Condition, 0, len(list))
	for _, c := range list {
		out = append(out, conditions.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time})
	}
	return out
}

func fromConditions(list []conditions.Condition) []v1.SecretStoreStatusCondition {
	out := make([]v1.SecretStoreStatusCondition, 0, len(list))
	for _, c := range list {
		out = append(out, v1.SecretStoreStatusCondition{
			Type: v1.SecretStoreConditionType(c.Type), Status: corev1.ConditionStatus(c.Status),
			Reason: c.Reason, Message: c.Message, LastTransitionTime: metav1.NewTime(c.Since.Truncate(time.Second)),
		})
	}
	return out
}
