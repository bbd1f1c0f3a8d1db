package pushsecret

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// finalize sets or removes the finalizer, as the deletion policy has it. It fails with
// cluster.ErrSkip if the object is gone before it has one: nobody would delete what it
// pushes.
func (c *Controller) finalize(ctx context.Context, ps *v1alpha1.PushSecret) error {
	if deletes(ps) == controllerutil.ContainsFinalizer(ps, v1alpha1.PushSecretFinalizer) {
		return nil
	}
	return patchFinalizer(ctx, c.client, ps, v1alpha1.PushSecretFinalizer, deletes(ps))
}

// patchFinalizer adds or removes a finalizer. Somebody else's change in between is a
// Conflict. That the object is gone is no error, but cluster.ErrSkip if it was to get one.
func patchFinalizer(ctx context.Context, w client.Writer, obj client.Object, finalizer string, wanted bool) error {
	list := slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), func(f string) bool { return f == finalizer })
	if wanted {
		list = append(list, finalizer)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": list, "resourceVersion": obj.GetResourceVersion()}})
	if err != nil {
		return err
	}
	// The answer overwrites the object that it is given: not the caller's.
	answer, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return &secret.Error{Kind: secret.Internal, Op: "finalizers"}
	}
	err = w.Patch(ctx, answer, client.RawPatch(types.MergePatchType, patch))
	if client.IgnoreNotFound(err) != nil {
		return cluster.Error("finalizers", err)
	}
	if err != nil && wanted {
		return cluster.ErrSkip
	}
	obj.SetFinalizers(list)
	obj.SetResourceVersion(answer.GetResourceVersion())
	return nil
}

// release deletes what was pushed, and then lets the object go. After an error that
// may pass, and of a store that may come back, the object stays and says so.
func (c *Controller) release(ctx context.Context, ps *v1alpha1.PushSecret, e *entry, now time.Time) (ctrl.Result, error) {
	if !deletes(ps) || !controllerutil.ContainsFinalizer(ps, v1alpha1.PushSecretFinalizer) {
		return ctrl.Result{}, c.letGo(ctx, ps)
	}
	if _, err := c.named(ctx, ps); errors.Is(err, cluster.ErrSkip) {
		return ctrl.Result{}, nil
	}
	version := plan.SyncedVersion(ps)
	if next := e.rests(version); next.After(now) {
		return again(next, now), nil
	}
	out := outcome{began: now, state: version, pushed: plan.Pushed{}.With(ps.Status.SyncedPushSecrets)}
	err := c.empty(ctx, ps, out.pushed.With(nil), &out)
	if err == nil {
		return ctrl.Result{}, c.letGo(ctx, ps)
	}
	result, finishErr := c.finish(ctx, ps, e, out, err)
	if result.RequeueAfter == 0 || result.RequeueAfter > letGoEvery {
		result.RequeueAfter = letGoEvery
	}
	return result, finishErr
}

// rests is when an object that could not go tries again; zero is now.
func (e *entry) rests(version string) time.Time {
	failed, at, retry := e.FailedAs(version)
	switch {
	case !failed, !e.TakeNudge().IsZero(), e.TouchedSinceFailure():
		return time.Time{}
	case retry.IsZero():
		return at.Add(letGoEvery)
	}
	return retry
}

// letGo removes the finalizer, and what is remembered of the object.
func (c *Controller) letGo(ctx context.Context, ps *v1alpha1.PushSecret) error {
	if controllerutil.ContainsFinalizer(ps, v1alpha1.PushSecretFinalizer) {
		if err := patchFinalizer(ctx, c.client, ps, v1alpha1.PushSecretFinalizer, false); err != nil {
			return err
		}
	}
	c.forget(keyOf(ps))
	return nil
}

const (
	// letGoEvery is how often an object that cannot go looks whether it can.
	letGoEvery = time.Minute
	// patience is how long a namespace that is being deleted waits for a store of its own
	// that does not answer: it may have been one of the first things that went.
	patience = 10 * time.Minute
)

// letsGo reports whether what is at a store is left there: the annotation says so, or
// the namespace is being deleted, in which neither its stores nor their credentials can
// be made again.
func (c *Controller) letsGo(ps *v1alpha1.PushSecret, t target, err error, ends func() time.Time) bool {
	if ps.Annotations[v1alpha1.AnnotationForgetStores] == "true" {
		return true
	}
	own := t.Ref.Kind == v1.SecretStoreKind || t.place.Referent()
	if ps.DeletionTimestamp == nil || !own || ends().IsZero() {
		return false
	}
	switch secret.KindOf(err) {
	case secret.Invalid, secret.Unauthenticated:
		return true
	case secret.Denied:
		return !ofKey(err) || c.Clock.Now().Sub(ends()) > patience
	}
	return c.Clock.Now().Sub(ends()) > patience
}

// namespaceEnds is when the namespace of an object began to be deleted; zero if it is not.
func (c *Controller) namespaceEnds(ctx context.Context, ps *v1alpha1.PushSecret) time.Time {
	var ns corev1.Namespace
	if err := c.client.Get(ctx, client.ObjectKey{Name: ps.Namespace}, &ns); err != nil || ns.DeletionTimestamp == nil {
		return time.Time{}
	}
	return ns.DeletionTimestamp.Time
}
