package cluster

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/keyferry/keyferry/store"
)

// Metadata returns an object that makes a cache watch and hold metadata alone.
func Metadata(gvk schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(gvk)
	return m
}

// SecretKind returns v1 Secret.
func SecretKind() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("Secret") }

// ConfigMapKind returns v1 ConfigMap.
func ConfigMapKind() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("ConfigMap") }

// NamespaceKind returns v1 Namespace.
func NamespaceKind() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("Namespace") }

// Strip is the cache transform for metadata of Secrets and ConfigMaps: it keeps the
// name, the version, who controls the object, and the labels, by which PushSecrets
// select.
func Strip(obj any) (any, error) {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	kept := metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		DeletionTimestamp: m.DeletionTimestamp, Labels: m.Labels,
	}
	if owner := metav1.GetControllerOf(m); owner != nil {
		kept.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	m.ObjectMeta = kept
	return m, nil
}

// StripManagedFields is the cache transform for what is read whole: who wrote which
// field is of no use here.
func StripManagedFields(obj any) (any, error) { return cache.TransformStripManagedFields()(obj) }

// Changes tells whoever subscribed that a store must be looked at again, because a
// Secret or ConfigMap that it read has changed. The stores that read it are closed
// by then. Subscribers must not block.
type Changes struct {
	pool *store.Pool

	mu   sync.Mutex
	subs []func(store.Place)
}

// NewChanges watches, through the cache, the metadata of Secrets and ConfigMaps.
func NewChanges(ctx context.Context, c cache.Cache, pool *store.Pool) (*Changes, error) {
	w := &Changes{pool: pool}
	for _, gvk := range []schema.GroupVersionKind{SecretKind(), ConfigMapKind()} {
		informer, err := c.GetInformer(ctx, Metadata(gvk), cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", gvk.Kind, err)
		}
		if _, err := informer.AddEventHandler(w.handler(gvk.Kind)); err != nil {
			return nil, fmt.Errorf("watch %s: %w", gvk.Kind, err)
		}
	}
	return w, nil
}

// Subscribe adds a function that is told of every store concerned.
func (w *Changes) Subscribe(f func(store.Place)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subs = append(w.subs, f)
}

// Tell passes on that a store must be looked at again.
func (w *Changes) Tell(p store.Place) {
	w.mu.Lock()
	subs := w.subs
	w.mu.Unlock()
	for _, f := range subs {
		f(p)
	}
}

func (w *Changes) handler(kind string) toolscache.ResourceEventHandler {
	changed := func(obj any, gone bool) {
		if tombstone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
			obj = tombstone.Obj
		}
		m, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok {
			return
		}
		d := store.Dependency{Kind: kind, Namespace: m.Namespace, Name: m.Name, Version: m.ResourceVersion}
		if gone {
			d.Version = ""
		}
		for _, place := range w.pool.Changed(d) {
			w.Tell(place)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { changed(obj, false) },
		UpdateFunc: func(_, obj any) { changed(obj, false) },
		DeleteFunc: func(obj any) { changed(obj, true) },
	}
}
