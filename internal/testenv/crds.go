package testenv

import (
	"context"
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// InstallCRDs creates or replaces the definitions, and returns once each is
// established and each of its served versions answers. It may be repeated, and
// fails when ctx ends first.
func InstallCRDs(ctx context.Context, cfg *rest.Config, crds []*apiextensionsv1.CustomResourceDefinition) error {
	cfg = rest.CopyConfig(cfg)
	cfg.WarningHandler = rest.NoWarnings{} // that a version is deprecated
	client, err := clientset.NewForConfig(cfg)
	if err != nil {
		return err
	}
	for _, crd := range crds {
		if err := putCRD(ctx, client, crd); err != nil {
			return fmt.Errorf("install CRD %s: %w", crd.Name, err)
		}
	}
	for _, crd := range crds {
		if err := awaitCRD(ctx, client, crd); err != nil {
			return fmt.Errorf("wait for CRD %s: %w", crd.Name, err)
		}
	}
	return nil
}

func putCRD(ctx context.Context, client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	_, err := definitions.Create(ctx, crd, metav1.CreateOptions{})
	for apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		var current *apiextensionsv1.CustomResourceDefinition
		if current, err = definitions.Get(ctx, crd.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		replacement := crd.DeepCopy()
		replacement.ResourceVersion = current.ResourceVersion
		_, err = definitions.Update(ctx, replacement, metav1.UpdateOptions{})
	}
	return err
}

// awaitCRD polls: an established definition is served a moment later.
func awaitCRD(ctx context.Context, client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	for {
		problem := checkCRD(ctx, client, crd)
		if problem == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), problem)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func checkCRD(ctx context.Context, client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	current, err := client.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, crd.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range current.Status.Conditions {
		if c.Type == apiextensionsv1.NamesAccepted && c.Status == apiextensionsv1.ConditionFalse {
			return fmt.Errorf("its names are not accepted: %s", c.Message)
		}
	}
	established := func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	}
	if !slices.ContainsFunc(current.Status.Conditions, established) {
		return fmt.Errorf("it is not established")
	}
	for _, version := range crd.Spec.Versions {
		if !version.Served {
			continue
		}
		get := client.ApiextensionsV1().RESTClient().Get().Param("limit", "1")
		if err := get.AbsPath("apis", crd.Spec.Group, version.Name, crd.Spec.Names.Plural).Do(ctx).Error(); err != nil {
			return fmt.Errorf("version %s is not served: %w", version.Name, err)
		}
	}
	return nil
}
