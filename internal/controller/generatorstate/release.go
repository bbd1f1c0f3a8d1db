package generatorstate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	esv1alpha1 "github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/rotation"
	"github.com/keyferry/keyferry/secret"
)

// release ends what a state names, and then lets the state go.
func (c *Controller) release(ctx context.Context, state *v1alpha1.GeneratorState, now time.Time) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(state, v1alpha1.GeneratorStateFinalizer) {
		c.forget(state.UID)
		return ctrl.Result{}, nil
	}
	turns, version := c.turns(state.UID), versionOf(state)
	if failed, at, retry := turns.FailedAs(version); failed {
		if retry.IsZero() {
			retry = at.Add(letGoEvery)
		}
		if retry.After(now) {
			return ctrl.Result{RequeueAfter: retry.Sub(now)}, nil
		}
	}
	defer func() { c.Metrics.Took("generatorstate", c.Clock.Now().Sub(now)) }()
	err := c.end(ctx, state)
	if err != nil && c.letsGo(ctx, state, err) {
		c.Events.Warning(state, v1alpha1.ConditionReasonError, "let go of, and not ended: "+reconcile.Message(err))
		err = nil
	}
	if err == nil {
		if err := c.finalizer(ctx, state, false); err != nil {
			return ctrl.Result{}, err
		}
		c.forget(state.UID)
		return ctrl.Result{}, nil
	}
	after := c.Clock.Now()
	retry := turns.Failed(version, err, now, after)
	if at := after.Add(letGoEvery); retry.IsZero() || retry.After(at) {
		retry = at
	}
	return ctrl.Result{RequeueAfter: retry.Sub(after)}, c.report(ctx, state, err, after)
}

// versionOf is another when there may be more to it than before.
func versionOf(state *v1alpha1.GeneratorState) string {
	return fmt.Sprintf("%d %s", state.Generation, state.Annotations[esv1alpha1.AnnotationForgetStores])
}

// end has the generator end what a state names.
func (c *Controller) end(ctx context.Context, state *v1alpha1.GeneratorState) error {
	g, left, err := rotation.Restore(ctx, c.cache, state)
	if err != nil || left == nil {
		return err
	}
	return c.Pool.Cleanup(ctx, g, left)
}

// letsGo reports whether what a state names is left there: the annotation says so, or the
// credential is gone with the namespace, in which nothing can be made again.
func (c *Controller) letsGo(ctx context.Context, state *v1alpha1.GeneratorState, err error) bool {
	if state.Annotations[esv1alpha1.AnnotationForgetStores] == "true" {
		return true
	}
	switch secret.KindOf(err) {
	case secret.Invalid, secret.Unsupported, secret.Unauthenticated, secret.Denied, secret.NotFound:
	default:
		return false
	}
	var ns corev1.Namespace
	return c.client.Get(ctx, client.ObjectKey{Name: state.Namespace}, &ns) == nil && ns.DeletionTimestamp != nil
}

// report says in the status why a state cannot go, once.
func (c *Controller) report(ctx context.Context, state *v1alpha1.GeneratorState, err error, now time.Time) error {
	ready := v1alpha1.GeneratorStateStatusCondition{
		Type: v1alpha1.GeneratorStateReady, Status: corev1.ConditionFalse, Reason: v1alpha1.ConditionReasonError,
		Message:            fmt.Sprintf("%s; set the annotation %s=true to leave it there", reconcile.Message(err), esv1alpha1.AnnotationForgetStores),
		LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
	}
	for _, old := range state.Status.Conditions {
		if old.Type != ready.Type {
			continue
		}
		if old.Status == ready.Status {
			ready.LastTransitionTime = old.LastTransitionTime
		}
		if old.Status == ready.Status && old.Message == ready.Message {
			return nil
		}
	}
	c.Events.Warning(state, ready.Reason, ready.Message)
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []v1alpha1.GeneratorStateStatusCondition{ready}}})
	if err != nil {
		return err
	}
	obj := &v1alpha1.GeneratorState{ObjectMeta: metav1.ObjectMeta{Namespace: state.Namespace, Name: state.Name}}
	err = c.client.Status().Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch))
	return cluster.Error("status", client.IgnoreNotFound(err))
}
