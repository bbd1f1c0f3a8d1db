package clusterexternalsecret

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/fanout"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
)

// Setup adds the controller to a manager; live writes. It fails if the cache cannot
// be indexed or watched.
func Setup(ctx context.Context, mgr ctrl.Manager, live client.Client, cfg fanout.Config) error {
	return fanout.Setup(ctx, mgr, live, kind(cfg.Metrics.ClusterExternalSecrets), cfg)
}

func kind(series *metrics.Objects) fanout.Kind[*v1.ClusterExternalSecret, *v1.ExternalSecret] {
	return fanout.Kind[*v1.ClusterExternalSecret, *v1.ExternalSecret]{
		Name:             "clusterexternalsecret",
		GroupVersionKind: v1.GroupVersion().WithKind(v1.ClusterExtSecretKind),
		New:              func() *v1.ClusterExternalSecret { return &v1.ClusterExternalSecret{} },
		NewChild:         func() *v1.ExternalSecret { return &v1.ExternalSecret{} },
		NewChildren:      func() client.ObjectList { return &v1.ExternalSecretList{} },
		Wish:             wish,
		Build: func(ces *v1.ClusterExternalSecret) *v1.ExternalSecret {
			return &v1.ExternalSecret{Spec: *ces.Spec.ExternalSecretSpec.DeepCopy()}
		},
		Same: func(a, b *v1.ExternalSecret) bool { return equality.Semantic.DeepEqual(a.Spec, b.Spec) },

		Status:     status,
		ChildField: "externalSecretName",
		Series:     series,
		Taken:      "external secret already exists in namespace",

		Finalizer:          v1.ClusterExternalSecretFinalizer,
		NamespaceFinalizer: v1.NamespaceFinalizerPrefix,
	}
}

func wish(ces *v1.ClusterExternalSecret) fanout.Wish {
	w := fanout.Wish{
		Child:  cmp.Or(ces.Spec.ExternalSecretName, ces.Name),
		Labels: ces.Spec.ExternalSecretMetadata.Labels, Annotations: ces.Spec.ExternalSecretMetadata.Annotations,
		Namespaces: ces.Spec.Namespaces, //nolint:staticcheck // users of the deprecated field have it for years
		Interval:   ces.Spec.RefreshInterval,
	}
	if s := ces.Spec.NamespaceSelector; s != nil { //nolint:staticcheck // users of the deprecated field have it for years
		w.Selectors = append(w.Selectors, fanout.Selector{Field: "spec.namespaceSelector", Selector: s})
	}
	for i, s := range ces.Spec.NamespaceSelectors {
		w.Selectors = append(w.Selectors, fanout.Selector{Field: fmt.Sprintf("spec.namespaceSelectors[%d]", i), Selector: s})
	}
	return w
}

func status(ces *v1.ClusterExternalSecret) fanout.Status {
	s := fanout.Status{
		Child: ces.Status.ExternalSecretName, Provisioned: ces.Status.ProvisionedNamespaces,
		Generation: ces.Status.ObservedGeneration,
	}
	for _, f := range ces.Status.FailedNamespaces {
		s.Failed = append(s.Failed, fanout.Failure(f))
	}
	for _, c := range ces.Status.Conditions {
		s.Conditions = append(s.Conditions, conditions.Condition{
			Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time,
		})
	}
	return s
}
