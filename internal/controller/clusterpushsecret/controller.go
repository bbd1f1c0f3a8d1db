package clusterpushsecret

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/fanout"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
)

// Setup adds the controller to a manager; live writes. It fails if the cache cannot
// be indexed or watched.
func Setup(ctx context.Context, mgr ctrl.Manager, live client.Client, cfg fanout.Config) error {
	return fanout.Setup(ctx, mgr, live, kind(cfg.Metrics.ClusterPushSecrets), cfg)
}

func kind(series *metrics.Objects) fanout.Kind[*v1alpha1.ClusterPushSecret, *v1alpha1.PushSecret] {
	return fanout.Kind[*v1alpha1.ClusterPushSecret, *v1alpha1.PushSecret]{
		Name:             "clusterpushsecret",
		GroupVersionKind: v1alpha1.GroupVersion().WithKind(v1alpha1.ClusterPushSecretKind),
		New:              func() *v1alpha1.ClusterPushSecret { return &v1alpha1.ClusterPushSecret{} },
		NewChild:         func() *v1alpha1.PushSecret { return &v1alpha1.PushSecret{} },
		NewChildren:      func() client.ObjectList { return &v1alpha1.PushSecretList{} },
		Wish:             wish,
		Build: func(cps *v1alpha1.ClusterPushSecret) *v1alpha1.PushSecret {
			return &v1alpha1.PushSecret{Spec: *cps.Spec.PushSecretSpec.DeepCopy()}
		},
		Same:       func(a, b *v1alpha1.PushSecret) bool { return equality.Semantic.DeepEqual(a.Spec, b.Spec) },
		Status:     status,
		ChildField: "pushSecretName",
		Series:     series,
		Taken:      "push secret already exists in namespace",
	}
}

func wish(cps *v1alpha1.ClusterPushSecret) fanout.Wish {
	w := fanout.Wish{
		Child:  cmp.Or(cps.Spec.PushSecretName, cps.Name),
		Labels: cps.Spec.PushSecretMetadata.Labels, Annotations: cps.Spec.PushSecretMetadata.Annotations,
		Interval: cps.Spec.RefreshInterval,
	}
	for i, s := range cps.Spec.NamespaceSelectors {
		w.Selectors = append(w.Selectors, fanout.Selector{Field: fmt.Sprintf("spec.namespaceSelectors[%d]", i), Selector: s})
	}
	return w
}

func status(cps *v1alpha1.ClusterPushSecret) fanout.Status {
	s := fanout.Status{
		Child: cps.Status.PushSecretName, Provisioned: cps.Status.ProvisionedNamespaces,
		Generation: cps.Status.ObservedGeneration,
	}
	for _, f := range cps.Status.FailedNamespaces {
		s.Failed = append(s.Failed, fanout.Failure(f))
	}
	for _, c := range cps.Status.Conditions {
		s.Conditions = append(s.Conditions, conditions.Condition{
			Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time,
		})
	}
	return s
}
