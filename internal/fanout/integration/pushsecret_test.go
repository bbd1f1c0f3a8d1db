package integration

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
)

func TestClusterPushSecret(t *testing.T) {
	k := start(t)
	a, b := k.namespace("a", k.member()), k.namespace("b", k.member())
	cps := &v1alpha1.ClusterPushSecret{}
	if err := yaml.UnmarshalStrict([]byte(`spec:
  pushSecretName: app
  pushSecretMetadata: {labels: {l: "1"}, annotations: {note: "2"}}
  pushSecretSpec:
    secretStoreRefs: [{name: s}]
    selector: {secret: {name: db}}
    data: [{match: {secretKey: p, remoteRef: {remoteKey: r}}, metadata: {apiVersion: v1,   kind: PushSecretMetadata, spec: {z: 1, a: [ 2 ]}}}]
  `+k.team()), cps); err != nil {
		t.Fatal(err)
	}
	cps.Name, cps.Labels = k.id, map[string]string{"kit": k.id}
	k.create(cps)
	theirs := &v1alpha1.PushSecret{ObjectMeta: metav1.ObjectMeta{Namespace: b, Name: "new"}, Spec: cps.Spec.PushSecretSpec}
	k.create(theirs)
	k.pushes(cps.Name, []string{a, b})
	ps := &v1alpha1.PushSecret{}
	if !k.get(ps, a, "app") || !metav1.IsControlledBy(ps, cps) {
		t.Errorf("the child is %+v", ps.ObjectMeta)
	}
	diff := cmp.Diff(map[string]string{"l": "1"}, ps.Labels) + cmp.Diff(map[string]string{"note": "2"}, ps.Annotations) + cmp.Diff(cps.Spec.PushSecretSpec, ps.Spec)
	if diff != "" {
		t.Error(diff)
	}
	k.patch(cps, `{spec: {pushSecretName: new}}`)
	k.pushes(cps.Name, []string{a}, b+": push secret already exists in namespace")
	if !k.get(ps, b, "app") {
		t.Error("the old one is gone before there is a new one")
	}
	k.delete(theirs)
	k.pushes(cps.Name, []string{a, b})
	k.await("the old ones", func() string {
		if k.get(&v1alpha1.PushSecret{}, a, "app") || k.get(&v1alpha1.PushSecret{}, b, "app") {
			return "are there"
		}
		return ""
	})
	if got := k.since(); got["PUT pushsecrets *"] > 0 || got["POST pushsecrets"] != 4 {
		t.Errorf("requests are %v", got)
	}
}

// pushes is what status is, for a ClusterPushSecret.
func (k *kit) pushes(name string, provisioned []string, failed ...string) {
	k.Helper()
	k.await("ClusterPushSecret "+name, func() string {
		cps := &v1alpha1.ClusterPushSecret{}
		k.get(cps, "", name)
		var got []string
		for _, f := range cps.Status.FailedNamespaces {
			got = append(got, f.Namespace+": "+f.Reason)
		}
		diff := cmp.Diff(provisioned, cps.Status.ProvisionedNamespaces) + cmp.Diff(failed, got)
		want := v1alpha1.PushSecretStatusCondition{Type: "Ready", Status: "True", Reason: "Synced"}
		if len(failed) > 0 {
			want.Status, want.Reason = "False", "Errored"
		}
		for _, c := range cps.Status.Conditions {
			if c.Type == want.Type {
				diff += cmp.Diff(want.Status, c.Status) + cmp.Diff(want.Reason, c.Reason)
			}
		}
		if len(cps.Status.Conditions) == 0 || cps.Status.ObservedGeneration != cps.Generation {
			diff += "not reported"
		}
		return diff
	})
}
