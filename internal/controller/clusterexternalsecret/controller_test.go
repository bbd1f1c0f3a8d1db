package clusterexternalsecret

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/fanout"
	"github.com/keyferry/keyferry/internal/fanout/fanouttest"
)

func TestStatusIsWrittenWhole(t *testing.T) {
	fanouttest.StatusIsWrittenWhole(t, kind(nil), func(ces *v1.ClusterExternalSecret) *v1.ClusterExternalSecretStatus { return &ces.Status })
}

func TestWish(t *testing.T) {
	one, two := &metav1.LabelSelector{MatchLabels: map[string]string{"a": "1"}}, &metav1.LabelSelector{MatchLabels: map[string]string{"a": "2"}}
	interval := &metav1.Duration{Duration: time.Minute}
	ces := &v1.ClusterExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: "ces"}}
	if diff := cmp.Diff(fanout.Wish{Child: "ces"}, wish(ces)); diff != "" {
		t.Error(diff)
	}
	ces.Spec = v1.ClusterExternalSecretSpec{
		ExternalSecretName: "app", NamespaceSelector: one, NamespaceSelectors: []*metav1.LabelSelector{two, one}, //nolint:staticcheck // the deprecated field counts too
		Namespaces: []string{"n"}, RefreshInterval: interval, //nolint:staticcheck // the deprecated field counts too
		ExternalSecretMetadata: v1.ExternalSecretMetadata{Labels: map[string]string{"l": "x"}, Annotations: map[string]string{"a": "y"}},
	}
	want := fanout.Wish{
		Child: "app", Labels: map[string]string{"l": "x"}, Annotations: map[string]string{"a": "y"}, Namespaces: []string{"n"}, Interval: interval,
		Selectors: []fanout.Selector{{Field: "spec.namespaceSelector", Selector: one}, {Field: "spec.namespaceSelectors[0]", Selector: two}, {Field: "spec.namespaceSelectors[1]", Selector: one}},
	}
	if diff := cmp.Diff(want, wish(ces)); diff != "" {
		t.Error(diff)
	}
}
