package pushsecret

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// guard keeps the stores of one kind from being deleted while they hold what a
// PushSecret will have to delete there: without the store nobody could.
type guard struct {
	*Controller
	kind string
	new  func() v1.GenericStore
}

func setupGuards(mgr ctrl.Manager, c *Controller) error {
	guards := []guard{{c, v1.SecretStoreKind, func() v1.GenericStore { return &v1.SecretStore{} }}}
	if c.ClusterStores {
		guards = append(guards, guard{c, v1.ClusterSecretStoreKind, func() v1.GenericStore { return &v1.ClusterSecretStore{} }})
	}
	for _, g := range guards {
		inner, err := controller.New("pushsecret-"+g.kind, mgr, controller.Options{Reconciler: g, MaxConcurrentReconciles: 1})
		if err != nil {
			return err
		}
		if err := inner.Watch(source.Kind[client.Object](c.cache, g.new(), &handler.EnqueueRequestForObject{})); err != nil {
			return err
		}
		if err := inner.Watch(source.Kind[client.Object](c.cache, &v1alpha1.PushSecret{}, g.users())); err != nil {
			return err
		}
	}
	return nil
}

// users looks at the stores in which a PushSecret begins or ceases to hold something.
func (g guard) users() handler.EventHandler {
	add := func(ps, other *v1alpha1.PushSecret, q queue) {
		common := g.held(other)
		for ref := range g.held(ps) {
			if common[ref] {
				continue
			}
			key := client.ObjectKey{Name: ref.Name}
			if g.kind == v1.SecretStoreKind {
				key.Namespace = ps.Namespace
			}
			q.Add(ctrl.Request{NamespacedName: key})
		}
	}
	compare := func(a, b client.Object, q queue) {
		before, _ := a.(*v1alpha1.PushSecret)
		after, _ := b.(*v1alpha1.PushSecret)
		add(before, after, q)
		add(after, before, q)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { compare(nil, e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { compare(e.ObjectOld, e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { compare(e.Object, nil, q) },
	}
}

// held returns the stores that hold what a PushSecret, which may be nil, will delete.
func (g guard) held(ps *v1alpha1.PushSecret) map[plan.StoreRef]bool {
	out := map[plan.StoreRef]bool{}
	if ps == nil || !deletes(ps) {
		return out
	}
	for name, list := range ps.Status.SyncedPushSecrets {
		if ref := plan.ParseStoreRef(name); ref.Kind == g.kind && len(list) > 0 {
			out[ref] = true
		}
	}
	return out
}

// Reconcile sets or removes the finalizer of one store.
func (g guard) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := g.new()
	if err := g.cache.Get(ctx, req.NamespacedName, s); err != nil {
		if apierrors.IsNotFound(err) {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, cluster.Error("read", err)
	}
	if class := s.GetSpec().Controller; class != "" && class != g.Class {
		return ctrl.Result{}, nil
	}
	holder, err := g.holder(ctx, s)
	wanted := holder != ""
	if err == nil && wanted && s.GetDeletionTimestamp() != nil { // too late to add one
		g.Events.Warning(s, reasonInUse, fmt.Sprintf("it is kept until PushSecret %s is deleted, or pushes elsewhere: what that pushed has to be deleted here", holder))
		return ctrl.Result{}, nil
	}
	if err != nil || wanted == controllerutil.ContainsFinalizer(s, v1.SecretStoreFinalizer) {
		return ctrl.Result{}, err
	}
	return g.mark(ctx, s, wanted)
}

func (g guard) mark(ctx context.Context, s v1.GenericStore, wanted bool) (ctrl.Result, error) {
	err := patchFinalizer(ctx, g.client, s, v1.SecretStoreFinalizer, wanted)
	switch {
	case errors.Is(err, secret.Conflict): // the cache will know better soon
		wait, _ := reconcile.Backoff(err, 1)
		return ctrl.Result{RequeueAfter: wait}, nil
	case errors.Is(err, cluster.ErrSkip): // it is gone
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, err
}

// reasonInUse is of the event that says why a store is not deleted yet.
const reasonInUse = "InUse"

// holder names a PushSecret that will delete something that the store holds; empty if
// there is none.
func (g guard) holder(ctx context.Context, s v1.GenericStore) (string, error) {
	ref := plan.StoreRef{Kind: g.kind, Name: s.GetName()}
	var list v1alpha1.PushSecretList
	if err := g.cache.List(ctx, &list, client.InNamespace(s.GetNamespace()), client.MatchingFields{byHeld: ref.String()}, client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return "", cluster.Error("read", err)
	}
	if len(list.Items) == 0 {
		return "", nil
	}
	return keyOf(&list.Items[0]).String(), nil
}
