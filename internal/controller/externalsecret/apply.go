package externalsecret

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// outcome is what a pass came to.
type outcome struct {
	began           time.Time
	digest          [32]byte
	reason, message string
	// version is the resourceVersion of the target, and binding its name; empty if
	// there is none.
	version, binding string
	events           []plan.Event
}

// sync reads the stores and makes the target what it should be. Nothing is written,
// and nothing read from the API server, if all is as it was.
func (c *Controller) sync(ctx context.Context, es *v1.ExternalSecret, e *entry, since time.Time) (outcome, error) {
	out := outcome{began: c.Clock.Now()}
	data, left, err := c.gather(ctx, es, since, out.began)
	if err != nil {
		return out, err
	}
	if left {
		return c.leave(ctx, es, e, out)
	}
	out.digest = plan.Digest(c.memory.key, es, data, c.versions(ctx, es))
	if e.known && e.digest == out.digest && c.asWritten(ctx, es, e) {
		return out.unchanged(es), c.commit(ctx, es)
	}
	if err := c.apply(ctx, es, data, &out); err != nil {
		return out, err
	}
	e.wroteAs(out.version)
	if err := c.commit(ctx, es); err != nil {
		return out, err
	}
	return out, c.sweep(ctx, es)
}

// gather reads the stores, and has made what generators are asked for. If the target is to
// be left as it is there is no data.
func (c *Controller) gather(ctx context.Context, es *v1.ExternalSecret, since, now time.Time) (data plan.Data, left bool, err error) {
	if err := plan.Validate(&es.Spec); err != nil {
		return data, false, err
	}
	sources, err := plan.Sources(&es.Spec)
	if err != nil {
		return data, false, err
	}
	places, err := c.places(ctx, es)
	if err != nil {
		return data, false, err
	}
	from, err := c.makers(ctx, es)
	if err != nil {
		return data, false, err
	}
	answers := reconcile.Fetch(ctx, c.Pool, sources, places, since)
	if left, err = c.generate(ctx, es, from, answers, now); left || err != nil {
		return data, left, err
	}
	data, err = plan.Collect(ctx, c.Engine, &es.Spec, sources, answers)
	return data, false, err
}

// unchanged is the outcome of the last pass again.
func (o outcome) unchanged(es *v1.ExternalSecret) outcome {
	o.version, o.binding = es.Status.TargetResourceVersion, es.Status.Binding.Name
	for _, cond := range es.Status.Conditions {
		if cond.Type == v1.ExternalSecretReady {
			o.reason, o.message = cond.Reason, cond.Message
		}
	}
	return o
}

// attempts is how often a write is made again on what is there now, when somebody
// else wrote in between.
const attempts = 3

// apply makes the target from data, on what exists.
func (c *Controller) apply(ctx context.Context, es *v1.ExternalSecret, data plan.Data, out *outcome) error {
	templates, err := reconcile.Templates(ctx, c.Surroundings, es.Namespace, plan.TemplateSources(&es.Spec))
	if err != nil {
		return err
	}
	seen, err := c.cached(ctx, es)
	if err != nil {
		return err
	}
	exists := seen != nil
	for n := 1; ; n++ {
		t := plan.Target{Object: es, Data: data, Sources: templates, Engine: c.Engine, AllowGeneric: c.AllowGeneric}
		if exists {
			if err := c.read(ctx, &t); err != nil {
				return err
			}
		}
		action, err := decide(ctx, t)
		if err != nil {
			return err
		}
		err = c.write(ctx, t, action, out)
		if !errors.Is(err, secret.Conflict) || n == attempts {
			return err
		}
		exists = true
	}
}

// decide asks plan. That somebody else owns the target does not pass by waiting.
func decide(ctx context.Context, t plan.Target) (plan.Action, error) {
	apply := plan.Apply
	if plan.IsGeneric(t.Object) {
		apply = plan.ApplyGeneric
	}
	action, err := apply(ctx, t)
	if errors.Is(err, secret.Conflict) {
		err = reconcile.Stop(err)
	}
	return action, err
}

// read sets what exists of the target.
func (c *Controller) read(ctx context.Context, t *plan.Target) error {
	key := client.ObjectKey{Namespace: t.Object.Namespace, Name: plan.TargetName(t.Object)}
	if plan.IsGeneric(t.Object) {
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(targetKind(t.Object))
		err := c.client.Get(ctx, key, live)
		if err == nil {
			t.Live = live
		}
		return client.IgnoreNotFound(c.failure("read", t.Object, err))
	}
	existing := &corev1.Secret{}
	err := c.client.Get(ctx, key, existing)
	if err == nil {
		t.Existing = existing
	}
	return client.IgnoreNotFound(c.failure("read", t.Object, err))
}

// write does what was decided.
func (c *Controller) write(ctx context.Context, t plan.Target, action plan.Action, out *outcome) error {
	var obj client.Object = action.Secret
	if action.Object != nil {
		obj = action.Object
	}
	owner := client.FieldOwner(plan.FieldOwner(t.Object.Name))
	var err error
	switch action.Verb {
	case plan.Create:
		err = c.client.Create(ctx, obj, owner)
	case plan.Update:
		err = c.client.Update(ctx, obj, owner)
	case plan.Delete:
		uid, version := obj.GetUID(), obj.GetResourceVersion()
		err = client.IgnoreNotFound(c.client.Delete(ctx, obj, client.Preconditions{UID: &uid, ResourceVersion: &version}))
	}
	if err != nil {
		return c.failure("write", t.Object, err)
	}
	out.reason, out.message, out.events = action.Ready.Reason, action.Ready.Message, action.Events
	out.settle(t, action, obj)
	return nil
}

// settle records which state of the target is the right one now.
func (o *outcome) settle(t plan.Target, action plan.Action, written client.Object) {
	var now client.Object
	switch {
	case action.Verb == plan.Create || action.Verb == plan.Update:
		now = written
	case action.Verb == plan.Delete:
	case t.Existing != nil:
		now = t.Existing
	case t.Live != nil:
		now = t.Live
	}
	if now != nil {
		o.version, o.binding = now.GetResourceVersion(), now.GetName()
	}
}

// failure says what could not be done to the target. A namespace that is being
// deleted takes nothing new: that stays so.
func (c *Controller) failure(op string, es *v1.ExternalSecret, err error) error {
	if err == nil {
		return nil
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return reconcile.Stop(&secret.Error{Kind: secret.Denied, Op: op, Err: errors.New("the namespace is being deleted")})
	}
	if op == "read" && apierrors.IsNotFound(err) {
		return err
	}
	wrapped := cluster.Error(op, err)
	if errors.Is(wrapped, secret.Denied) {
		return fmt.Errorf("%w: grant the controller %s on %s in namespace %s", wrapped, op, targetKind(es).Kind, es.Namespace)
	}
	return wrapped
}

// sweep deletes the Secrets of this object that are not its target any more.
func (c *Controller) sweep(ctx context.Context, es *v1.ExternalSecret) error {
	mine := &metav1.PartialObjectMetadataList{}
	mine.SetGroupVersionKind(cluster.SecretKind().GroupVersion().WithKind("SecretList"))
	if err := c.cache.List(ctx, mine, client.InNamespace(es.Namespace), client.MatchingFields{byOwner: string(es.UID)}); err != nil {
		return cluster.Error("list", err)
	}
	var swept []string
	for _, orphan := range plan.Orphans(es, mine.Items) {
		uid := orphan.UID
		err := c.client.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: orphan.Namespace, Name: orphan.Name}}, client.Preconditions{UID: &uid})
		if err := client.IgnoreNotFound(err); err != nil {
			return c.failure("delete", es, err)
		}
		swept = append(swept, orphan.Name)
	}
	if len(swept) > 0 { // one event: of several like it only the first would be kept
		c.Events.Normal(es, v1.ReasonDeleted, "deleted because it was orphaned: "+strings.Join(swept, ", "))
	}
	return nil
}

func targetKind(es *v1.ExternalSecret) schema.GroupVersionKind {
	if !plan.IsGeneric(es) {
		return cluster.SecretKind()
	}
	return schema.FromAPIVersionAndKind(es.Spec.Target.Manifest.APIVersion, es.Spec.Target.Manifest.Kind)
}
