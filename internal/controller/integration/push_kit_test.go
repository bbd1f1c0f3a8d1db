package integration

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
)

// rbac is a client for what the API server itself has.
func (k *kit) rbac() client.Client {
	k.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		k.Fatal(err)
	}
	c, err := client.New(k.config, client.Options{Scheme: scheme})
	if err != nil {
		k.Fatal(err)
	}
	return c
}

// pushed gives a PushSecret the status, in YAML, that another process left.
func (k *kit) pushed(name, status string) {
	k.Helper()
	patch, err := yaml.YAMLToJSON([]byte("status: " + status))
	if err != nil {
		k.Fatal(err)
	}
	ps := &v1alpha1.PushSecret{}
	ps.Name, ps.Namespace = name, k.ns
	if err := k.api.Status().Patch(k.Context(), ps, client.RawPatch(types.MergePatchType, patch)); err != nil {
		k.Fatal(err)
	}
}

// retry does something again while somebody else changes the same object.
func (k *kit) retry(f func() error) {
	k.Helper()
	k.await("write", func() string {
		err := f()
		if err != nil && !apierrors.IsConflict(err) {
			k.Fatal(err)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
}
