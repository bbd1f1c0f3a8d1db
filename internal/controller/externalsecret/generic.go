package externalsecret

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
)

// watched are the kinds of generic targets whose metadata is watched, each since the
// first object that has one.
type watched struct {
	controller controller.Controller

	mu    sync.Mutex
	kinds map[schema.GroupVersionKind]bool
}

// watchTarget watches the kind of a generic target, once.
func (c *Controller) watchTarget(gvk schema.GroupVersionKind) error {
	c.watched.mu.Lock()
	defer c.watched.mu.Unlock()
	if c.watched.kinds[gvk] {
		return nil
	}
	wake := func(ctx context.Context, o client.Object, q queue, gone bool) {
		c.each(ctx, o.GetNamespace(), byTarget, gvk.GroupKind().String()+"/"+o.GetName(), func(es *v1.ExternalSecret) {
			c.wakeTarget(es, o, q, gone)
		})
	}
	err := c.watched.controller.Watch(source.Kind[client.Object](c.cache, cluster.Metadata(gvk), handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { wake(ctx, e.Object, q, false) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { wake(ctx, e.ObjectNew, q, false) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { wake(ctx, e.Object, q, true) },
	}))
	if err != nil {
		return fmt.Errorf("watch %s: %w", gvk.Kind, err)
	}
	if c.watched.kinds == nil {
		c.watched.kinds = map[schema.GroupVersionKind]bool{}
	}
	c.watched.kinds[gvk] = true
	return nil
}
