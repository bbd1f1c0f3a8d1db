package externalsecret

import (
	"context"
	"encoding/json"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/cluster"
)

// release lets an ExternalSecret go that is being deleted. Its Secret goes with it by
// garbage collection where it is owned; what is left is ESO's finalizer, on objects
// that were its.
func (c *Controller) release(ctx context.Context, es *v1.ExternalSecret) error {
	c.forget(client.ObjectKeyFromObject(es))
	if !controllerutil.ContainsFinalizer(es, v1.ExternalSecretFinalizer) {
		return nil
	}
	kept := slices.DeleteFunc(slices.Clone(es.Finalizers), func(f string) bool { return f == v1.ExternalSecretFinalizer })
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": kept, "resourceVersion": es.ResourceVersion}})
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(cluster.Error("finalizers", client.IgnoreNotFound(c.client.Patch(ctx, es, client.RawPatch(types.MergePatchType, patch)))))
}
