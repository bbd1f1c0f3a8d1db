package integration

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// team selects the namespaces that bear this test's name as label team.
func (k *kit) team() string { return "namespaceSelectors: [{matchLabels: {team: " + k.id + "}}]" }

// member is the label of those.
func (k *kit) member() string { return "{team: " + k.id + "}" }

func TestChildren(t *testing.T) {
	k := start(t)
	a, b := k.namespace("a", k.member()), k.namespace("b", k.member())
	k.namespace("c", "{team: another}")
	ces := k.ces("db", k.team())
	status := k.status(ces.Name, []string{a, b})
	if status.ExternalSecretName != ces.Name {
		t.Errorf("externalSecretName is %s", status.ExternalSecretName)
	}
	es := k.child(b, ces.Name)
	if diff := cmp.Diff(ces.Spec.ExternalSecretSpec, es.Spec); diff != "" {
		t.Error(diff)
	}
	if !metav1.IsControlledBy(es, ces) || len(es.Finalizers) > 0 || len(es.Labels) > 0 || len(es.Annotations) > 0 {
		t.Errorf("metadata is %+v", es.ObjectMeta)
	}
}

func TestNameAndMetadataOfChildren(t *testing.T) {
	k := start(t)
	a := k.namespace("a", k.member())
	ces := k.ces("db", k.team()+", externalSecretName: app, externalSecretMetadata: {labels: {l: '1'}, annotations: {note: '2'}}")
	k.status(ces.Name, []string{a})
	es := k.child(a, "app")
	if es.Labels["l"] != "1" || es.Annotations["note"] != "2" {
		t.Errorf("metadata is %+v", es.ObjectMeta)
	}
	k.patch(ces, `{spec: {externalSecretMetadata: {labels: {l: null, m: "3"}, annotations: null}}}`)
	k.await("metadata", func() string {
		es := k.child(a, "app")
		return cmp.Diff(map[string]string{"m": "3"}, es.Labels) + cmp.Diff(map[string]string(nil), es.Annotations)
	})
}

func TestChangeOfTheSpec(t *testing.T) {
	k := start(t)
	a, b := k.namespace("a", k.member()), k.namespace("b", k.member())
	ces := k.ces("db", k.team())
	k.status(ces.Name, []string{a, b})
	before := k.child(a, ces.Name)
	k.patch(ces, `{spec: {externalSecretSpec: {refreshInterval: 5m}}}`)
	for _, ns := range []string{a, b} {
		k.await("spec", func() string { return cmp.Diff(5*time.Minute, k.child(ns, ces.Name).Spec.RefreshInterval.Duration) })
	}
	if k.child(a, ces.Name).UID != before.UID {
		t.Error("the child was made anew")
	}
	k.status(ces.Name, []string{a, b})
}

func TestRename(t *testing.T) {
	k := start(t)
	a, b := k.namespace("a", k.member()), k.namespace("b", k.member())
	ces := k.ces("db", k.team()+", externalSecretName: old")
	k.status(ces.Name, []string{a, b})
	others := k.foreign(b, "older", "")
	k.patch(ces, `{spec: {externalSecretName: new}}`)
	for _, ns := range []string{a, b} {
		k.child(ns, "new")
		k.gone(ns, "old")
	}
	if got := k.status(ces.Name, []string{a, b}).ExternalSecretName; got != "new" {
		t.Errorf("externalSecretName is %s", got)
	}
	k.untouched(others)
}

// foreign creates an ExternalSecret that is not ours.
func (k *kit) foreign(namespace, name, metadata string) *esv1.ExternalSecret {
	k.Helper()
	es := &esv1.ExternalSecret{}
	if err := yaml.Unmarshal([]byte("{metadata: {"+metadata+"}, spec: "+spread+"}"), es); err != nil {
		k.Fatal(err)
	}
	es.Namespace, es.Name = namespace, name
	k.create(es)
	return es
}

func (k *kit) untouched(es *esv1.ExternalSecret) {
	k.Helper()
	if got := k.child(es.Namespace, es.Name); got.ResourceVersion != es.ResourceVersion {
		k.Errorf("%s was changed: %s", es.Name, cmp.Diff(es, got))
	}
}

const exists = "external secret already exists in namespace"

func TestChildOfSomebodyElse(t *testing.T) {
	k := start(t)
	a, b := k.namespace("a", k.member()), k.namespace("b", k.member())
	others := k.foreign(b, "app", "labels: {their: own}")
	ces := k.ces("db", k.team()+", externalSecretName: app")
	status := k.status(ces.Name, []string{a}, b+": "+exists)
	if got := condition(&esv1.ClusterExternalSecret{Status: status}, "Ready").Message; got != "Conflict: one or more namespaces failed: see status.failedNamespaces" {
		t.Errorf("message is %s", got)
	}
	k.untouched(others)
	k.patch(ces, `{spec: {externalSecretSpec: {refreshInterval: 5m}}}`)
	k.status(ces.Name, []string{a}, b+": "+exists)
	k.untouched(others)
	k.await("event", func() string {
		var list corev1.EventList
		if err := k.api.List(k.Context(), &list, client.InNamespace(metav1.NamespaceDefault)); err != nil {
			return err.Error()
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Name == ces.Name && e.Type == corev1.EventTypeWarning && e.Reason == "Errored" && e.Message == "one or more namespaces failed: "+b+": "+exists {
				return ""
			}
		}
		return "none"
	})
	k.delete(others)
	k.status(ces.Name, []string{a, b})
}

func TestChildThatIsTakenAway(t *testing.T) {
	k := start(t)
	a := k.namespace("a", k.member())
	ces := k.ces("db", k.team())
	k.status(ces.Name, []string{a})
	k.patch(k.child(a, ces.Name), `{metadata: {ownerReferences: null, labels: {their: own}}}`)
	k.status(ces.Name, nil, a+": "+exists)
	others := k.child(a, ces.Name)
	k.delete(ces)
	k.ended(ces.Name)
	k.untouched(others)
}

func TestChildThatIsEditedOrDeletedIsPutBack(t *testing.T) {
	k := start(t)
	a := k.namespace("a", k.member())
	ces := k.ces("db", k.team())
	k.status(ces.Name, []string{a})
	es := k.child(a, ces.Name)
	k.patch(es, `{metadata: {labels: {their: own}}, spec: {refreshInterval: 5m}}`)
	k.await("spec", func() string {
		got := k.child(a, ces.Name)
		return cmp.Diff(time.Hour, got.Spec.RefreshInterval.Duration) + cmp.Diff(map[string]string(nil), got.Labels)
	})
	k.delete(es)
	k.await("another", func() string {
		if k.child(a, ces.Name).UID == es.UID {
			return "it is the old one"
		}
		return ""
	})
	k.status(ces.Name, []string{a})
}

// An edit of a child that is undone each time is not undone for ever at once.
func TestFightIsReported(t *testing.T) {
	k := start(t)
	a := k.namespace("a", k.member())
	ces := k.ces("db", k.team())
	k.status(ces.Name, []string{a})
	for n := range 4 {
		k.patch(k.child(a, ces.Name), fmt.Sprintf(`{metadata: {labels: {their: "%d"}}}`, n))
		k.await("label", func() string { return cmp.Diff(map[string]string(nil), k.child(a, ces.Name).Labels) })
	}
	k.await("status", func() string {
		got := &esv1.ClusterExternalSecret{}
		k.get(got, "", ces.Name)
		if len(got.Status.FailedNamespaces) != 1 || condition(got, "Reconciling").Status != "True" {
			return text(got.Status)
		}
		k.sound(got)
		return ""
	})
}

func TestForceSync(t *testing.T) {
	k := start(t)
	a, b := k.namespace("a", k.member()), k.namespace("b", k.member())
	ces := k.ces("db", k.team()+", externalSecretMetadata: {annotations: {note: '2'}}")
	k.status(ces.Name, []string{a, b})
	k.patch(ces, `{metadata: {annotations: {external-secrets.io/force-sync: "1", other: x}}}`)
	k.annotations(ces.Name, map[string]string{"note": "2", esv1.AnnotationForceSync: "1"}, a, b)
	k.patch(ces, `{metadata: {annotations: {external-secrets.io/force-sync: "2"}}}`)
	k.annotations(ces.Name, map[string]string{"note": "2", esv1.AnnotationForceSync: "2"}, a, b)
	k.patch(ces, `{metadata: {annotations: {external-secrets.io/force-sync: null}}}`)
	k.annotations(ces.Name, map[string]string{"note": "2"}, a, b)
}

// annotations waits until the children have exactly these.
func (k *kit) annotations(name string, want map[string]string, namespaces ...string) {
	k.Helper()
	for _, ns := range namespaces {
		k.await("annotations", func() string {
			got := k.child(ns, name).Annotations
			if maps.Equal(got, want) {
				return ""
			}
			return cmp.Diff(want, got)
		})
	}
}

// What was made for a ClusterExternalSecret of the same name, which is not there any
// more, is another's until it is gone.
func TestChildOfAnEarlierLife(t *testing.T) {
	k := newKit(t)
	a := k.namespace("a", k.member())
	owner := func(uid types.UID) string {
		return fmt.Sprintf("ownerReferences: [{apiVersion: external-secrets.io/v1, kind: ClusterExternalSecret, name: %s-db, uid: %s, controller: true}], finalizers: [keyferry.test/hold]", k.id, uid)
	}
	old := k.foreign(a, k.id+"-db", owner("11111111-1111-1111-1111-111111111111"))
	ces := k.ces("db", k.team())
	k.run()
	k.status(ces.Name, nil, a+": "+exists)
	k.patch(old, `{metadata: {finalizers: null}}`)
	k.await("another", func() string {
		es := &esv1.ExternalSecret{}
		switch {
		case !k.get(es, a, ces.Name):
			return "none"
		case !metav1.IsControlledBy(es, ces):
			return "the old"
		}
		return ""
	})
	k.status(ces.Name, []string{a})
}

func TestDeletion(t *testing.T) {
	k := start(t)
	a := k.namespace("a", k.member())
	ces := k.ces("db", k.team())
	k.patch(ces, `{metadata: {finalizers: [`+esv1.ClusterExternalSecretFinalizer+`]}}`) // as ESO left it
	k.status(ces.Name, []string{a})
	if k.count(ces.Name) == 0 {
		t.Error("there are no metrics")
	}
	k.delete(ces, client.PropagationPolicy(metav1.DeletePropagationForeground))
	k.gone(a, ces.Name)
	k.ended(ces.Name)
	k.await("metrics", func() string {
		if n := k.count(ces.Name); n > 0 {
			return fmt.Sprintf("there are %d series", n)
		}
		return ""
	})
}

// ended waits until a ClusterExternalSecret is gone.
func (k *kit) ended(name string) {
	k.Helper()
	k.await("the end", func() string {
		if k.get(&esv1.ClusterExternalSecret{}, "", name) {
			return "it is there"
		}
		return ""
	})
}

// count returns how many series there are of a ClusterExternalSecret.
func (k *kit) count(name string) (n int) {
	k.Helper()
	families, err := k.series.Gather()
	if err != nil {
		k.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "clusterexternalsecret_status_condition" && l.GetValue() == name {
					n++
				}
			}
		}
	}
	return n
}

func TestDeletionThatLeavesTheChildren(t *testing.T) {
	k := start(t)
	a := k.namespace("a", k.member())
	ces := k.ces("db", k.team())
	k.status(ces.Name, []string{a})
	k.delete(ces, client.PropagationPolicy(metav1.DeletePropagationOrphan))
	k.ended(ces.Name)
	if es := k.child(a, ces.Name); len(es.OwnerReferences) > 0 || es.DeletionTimestamp != nil {
		t.Errorf("the child is not let go: %+v", es.ObjectMeta)
	}
}
