package pushsecret

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// spreadOver is the part of the interval by which a refresh may come early.
const spreadOver = 0.1

// due decides whether there is something to do for an object; if not, next is when
// there will be.
func (c *Controller) due(ps *v1alpha1.PushSecret, e *entry, state string, now time.Time) (due bool, next time.Time) {
	if !e.TakeNudge().IsZero() || e.TouchedSinceFailure() {
		return true, time.Time{}
	}
	if failed, at, retry := e.FailedAs(state); failed {
		if retry.IsZero() {
			retry = c.interval(ps, at)
		}
		return !retry.IsZero() && !retry.After(now), retry
	}
	last := ps.Status.RefreshTime.Time
	if last.IsZero() || ps.Status.SyncedResourceVersion != state || last.After(now) || !isReady(ps) {
		return true, time.Time{}
	}
	next = c.interval(ps, last)
	return !next.IsZero() && !next.After(now), next
}

// isReady reports whether the last pass went well, which a process before this one may
// have made.
func isReady(ps *v1alpha1.PushSecret) bool {
	cond, _ := conditions.Find(toConditions(ps.Status.Conditions), conditions.Ready)
	return cond.Status == conditions.True
}

// interval is when the refresh interval that began at from is over, less a part that
// is always the same for an object; zero if there is none.
func (c *Controller) interval(ps *v1alpha1.PushSecret, from time.Time) time.Time {
	every := time.Hour
	if d := ps.Spec.RefreshInterval; d != nil {
		every = d.Duration
	}
	if every <= 0 {
		return time.Time{}
	}
	return from.Add(every - time.Duration(float64(every)*spreadOver*reconcile.Fraction(ps.UID)))
}

// state stands for all that a pass goes by, as far as it is known without a call: the
// object, its sources, its stores, its templates. A pass is due when it is another
// than that of the last. It fails with cluster.ErrSkip if no store, or the generator, is
// ours.
func (c *Controller) state(ctx context.Context, ps *v1alpha1.PushSecret) (string, error) {
	h := sha256.New()
	sources, err := c.selected(ctx, ps)
	if err != nil && secret.KindOf(err) != secret.Invalid {
		return "", err
	}
	for _, m := range sources {
		note(h, "source", m.Name, string(m.UID), m.ResourceVersion)
	}
	if err := c.noteTemplates(ctx, h, ps); err != nil {
		return "", err
	}
	if err := c.noteGenerator(ctx, h, ps); err != nil {
		return "", err
	}
	stores, err := c.named(ctx, ps)
	if errors.Is(err, cluster.ErrSkip) {
		return "", err
	}
	labelled := slices.ContainsFunc(ps.Spec.DataTo, func(to v1alpha1.PushSecretDataTo) bool {
		return to.StoreRef != nil && to.StoreRef.LabelSelector != nil
	})
	for _, s := range stores {
		note(h, "store", s.GetKind(), string(s.GetUID()), fmt.Sprint(s.GetGeneration()))
		if labelled {
			note(h, "labels", fmt.Sprint(s.GetLabels()))
		}
	}
	return plan.SyncedVersion(ps) + "-" + hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func note(h hash.Hash, parts ...string) {
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%q,", p) // a hash takes everything
	}
}

func (c *Controller) noteTemplates(ctx context.Context, h hash.Hash, ps *v1alpha1.PushSecret) error {
	for _, s := range plan.PushTemplateSources(ps) {
		kind := cluster.SecretKind()
		if s.Kind == "ConfigMap" {
			kind = cluster.ConfigMapKind()
		}
		m, err := c.metadata(ctx, kind, ps.Namespace, s.Name)
		if err != nil {
			return err
		}
		if m != nil {
			note(h, "template", s.Key(), m.ResourceVersion)
		}
	}
	return nil
}

// metadata returns what the cache knows of an object; nil if it is not there.
func (c *Controller) metadata(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	m := cluster.Metadata(kind)
	switch err := c.cache.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, m); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, cluster.Error("read", err)
	}
	return m, nil
}

// selected returns the metadata of the Secrets that are to be pushed, in order; none
// if they are not there. It fails with Invalid if the selector cannot be read.
func (c *Controller) selected(ctx context.Context, ps *v1alpha1.PushSecret) ([]metav1.PartialObjectMetadata, error) {
	from := ps.Spec.Selector.Secret
	switch {
	case from == nil:
		return nil, nil
	case from.Name != "":
		m, err := c.metadata(ctx, cluster.SecretKind(), ps.Namespace, from.Name)
		if err != nil || m == nil {
			return nil, err
		}
		return []metav1.PartialObjectMetadata{*m}, nil
	case from.Selector == nil:
		return nil, invalid("spec.selector.secret", "is empty: set name or selector")
	}
	selector, err := metav1.LabelSelectorAsSelector(from.Selector)
	if err != nil {
		return nil, invalid("spec.selector.secret.selector", "is not a label selector")
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(cluster.SecretKind())
	if err := c.cache.List(ctx, list, client.InNamespace(ps.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, cluster.Error("read", err)
	}
	slices.SortFunc(list.Items, func(a, b metav1.PartialObjectMetadata) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list.Items, nil
}

// named returns the stores that an object names, each once, those by label in the
// order of their names. Stores of other controllers are left out; if there are no
// others it fails with cluster.ErrSkip. It fails with Invalid if a named store is
// missing or nothing matches a selector; what it returns beside the error is there.
func (c *Controller) named(ctx context.Context, ps *v1alpha1.PushSecret) ([]v1.GenericStore, error) {
	var out []v1.GenericStore
	var failed error
	skipped := false
	add := func(s v1.GenericStore) {
		if !slices.ContainsFunc(out, func(o v1.GenericStore) bool { return o.GetUID() == s.GetUID() }) {
			out = append(out, s)
		}
	}
	for i, ref := range ps.Spec.SecretStoreRefs {
		found, err := c.resolve(ctx, ps.Namespace, i, ref)
		switch {
		case errors.Is(err, cluster.ErrSkip):
			skipped = true
		case err != nil && failed == nil:
			failed = err
		}
		for _, s := range found {
			add(s)
		}
	}
	if skipped && len(out) == 0 && failed == nil {
		return nil, cluster.ErrSkip
	}
	return out, failed
}

// resolve returns the stores of one reference.
func (c *Controller) resolve(ctx context.Context, namespace string, i int, ref v1alpha1.PushSecretStoreRef) ([]v1.GenericStore, error) {
	field := fmt.Sprintf("spec.secretStoreRefs[%d]", i)
	kind := ref.Kind
	if kind == "" {
		kind = v1.SecretStoreKind
	}
	if ref.Name != "" {
		s, err := c.stores.Get(ctx, namespace, plan.StoreRef{Kind: kind, Name: ref.Name})
		if err != nil {
			if secret.KindOf(err) == secret.Invalid {
				err = invalid(field, "%s %q does not exist: create it, or correct the reference", kind, ref.Name)
			}
			return nil, err
		}
		return []v1.GenericStore{s}, nil
	}
	if ref.LabelSelector == nil {
		return nil, invalid(field, "is empty: set name or labelSelector")
	}
	selector, err := metav1.LabelSelectorAsSelector(ref.LabelSelector)
	if err != nil {
		return nil, invalid(field+".labelSelector", "is not a label selector")
	}
	found, skipped, err := c.stores.List(ctx, namespace, kind, selector)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0 && skipped:
		return nil, cluster.ErrSkip
	case len(found) == 0:
		return nil, invalid(field+".labelSelector", "matches no %s", kind)
	}
	return found, nil
}

func invalid(field, format string, args ...any) error {
	return &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("%s: "+format, append([]any{field}, args...)...)}
}
