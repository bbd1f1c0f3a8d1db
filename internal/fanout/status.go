package fanout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
)

// The reasons of the conditions and events. Progressing is while children are
// being written.
const (
	ReasonSynced      = "Synced"
	ReasonErrored     = "Errored"
	ReasonProgressing = "Progressing"
)

// namespacesFailed is what ESO's condition says.
const namespacesFailed = "one or more namespaces failed"

func (s Status) equal(o Status) bool {
	return s.Child == o.Child && s.Generation == o.Generation &&
		slices.Equal(s.Provisioned, o.Provisioned) && slices.Equal(s.Failed, o.Failed) &&
		slices.EqualFunc(s.Conditions, o.Conditions, func(a, b conditions.Condition) bool {
			since := a.Since.Equal(b.Since)
			a.Since, b.Since = time.Time{}, time.Time{}
			return since && a == b
		})
}

// Encode returns a status for a merge patch. It names every field, so that those that are
// empty are removed. Failures and conditions have one JSON form in all kinds.
func (k Kind[P, C]) Encode(s Status) any {
	failed := make([]v1.ClusterExternalSecretNamespaceFailure, 0, len(s.Failed))
	for _, f := range s.Failed {
		failed = append(failed, v1.ClusterExternalSecretNamespaceFailure(f))
	}
	list := make([]v1.ClusterExternalSecretStatusCondition, 0, len(s.Conditions))
	for _, c := range s.Conditions {
		list = append(list, v1.ClusterExternalSecretStatusCondition{
			Type: v1.ClusterExternalSecretConditionType(c.Type), Status: corev1.ConditionStatus(c.Status),
			Reason: c.Reason, Message: c.Message, LastTransitionTime: metav1.NewTime(c.Since.Truncate(time.Second)),
		})
	}
	return map[string]any{
		k.ChildField: s.Child, "provisionedNamespaces": s.Provisioned, "failedNamespaces": failed,
		"conditions": list, "observedGeneration": s.Generation,
	}
}

// tally is how an object stands.
type tally struct {
	target  *target // nil if it was refused
	refused error
	pages   map[string]page
	// generation is of the object that this is about.
	generation int64
}

// status returns what the object's status should say.
func (y tally) status(old Status, now time.Time) Status {
	next := old
	next.Generation = y.generation
	if y.target == nil {
		next.Conditions = conditions.Set(old.Conditions, conditions.Failed(ReasonErrored, reconcile.Message(y.refused), reconcile.Stuck(y.refused)), now)
		return next
	}
	next.Child, next.Provisioned, next.Failed = y.target.child.GetName(), nil, nil
	pending, worst := 0, page{}
	for _, ns := range slices.Sorted(maps.Keys(y.pages)) {
		p := y.pages[ns]
		if p.pending {
			pending++
		}
		switch {
		case p.reason != "":
			next.Failed = append(next.Failed, Failure{Namespace: ns, Reason: p.reason})
			if worst.reason == "" || worst.stuck && !p.stuck {
				worst = p
			}
		case p.there:
			next.Provisioned = append(next.Provisioned, ns)
		}
	}
	next.Conditions = conditions.Set(old.Conditions, judge(worst, pending, len(y.pages)), now)
	return next
}

// judge returns the conditions: worst is a failure that may pass, if there is one.
func judge(worst page, pending, all int) []conditions.Condition {
	switch {
	case worst.reason != "":
		return conditions.Failed(ReasonErrored, string(worst.kind)+": "+namespacesFailed+": see status.failedNamespaces", worst.stuck && pending == 0)
	case pending > 0:
		message := fmt.Sprintf("%d of %d namespaces are in step", all-pending, all)
		return []conditions.Condition{
			{Type: conditions.Ready, Status: conditions.Unknown, Reason: ReasonProgressing, Message: message},
			{Type: conditions.Reconciling, Status: conditions.True, Reason: ReasonProgressing, Message: message},
		}
	}
	return conditions.OK(ReasonSynced, "all selected namespaces are in step")
}

// named is how many namespaces an event names.
const named = 5

// warning returns what an event says of failures: why, or where.
func warning(s Status) string {
	ready, _ := conditions.Find(s.Conditions, conditions.Ready)
	if len(s.Failed) == 0 {
		return ready.Message
	}
	var where []string
	for _, f := range s.Failed[:min(named, len(s.Failed))] {
		where = append(where, f.Namespace+": "+f.Reason)
	}
	text := namespacesFailed + ": " + strings.Join(where, "; ")
	if more := len(s.Failed) - len(where); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
