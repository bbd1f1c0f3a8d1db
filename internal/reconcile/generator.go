package reconcile

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/store"
)

// Generator returns a generator as a consumer in the namespace sees it, and the class of
// controller that it is for; empty is all. The object is a ClusterGenerator or of the
// kind. It fails with Invalid if the manifest is wrong.
func Generator(object metav1.Object, kind, namespace string) (g store.Generator, class string, err error) {
	g = store.Generator{Kind: kind, Name: object.GetName(), Namespace: namespace}
	switch o := object.(type) {
	case *v1alpha1.ClusterGenerator:
		g.Cluster = true
		g.Kind, g.Spec, err = o.Selected()
	case v1alpha1.Object:
		g.Spec = o.GeneratorSpec()
	}
	if err != nil {
		return g, "", invalid("%s %q: %w", kind, object.GetName(), err)
	}
	switch spec := g.Spec.(type) {
	case *v1alpha1.FakeSpec:
		class = spec.Controller
	case *v1alpha1.VaultDynamicSecretSpec:
		class = spec.Controller
	}
	return g, class, nil
}
