package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

func TestSelectors(t *testing.T) {
	k := start(t)
	a, b := k.namespace("a", "{kit: "+k.id+", tier: gold}"), k.namespace("b", "{kit: "+k.id+", tier: iron}")
	c, d := k.namespace("c", "{kit: "+k.id+"}"), k.namespace("d", "{kit: another}")
	expression := func(rest string) string {
		return "{matchLabels: {kit: " + k.id + "}, matchExpressions: [{key: tier, " + rest + "}]}"
	}
	for name, s := range map[string]struct {
		more string
		want []string
	}{
		"none":                     {"namespaceSelectors: []", nil},
		"nothing matches":          {"namespaceSelectors: [{matchLabels: {kit: nobody}}]", nil},
		"an expression":            {"namespaceSelectors: [" + expression("operator: In, values: [gold, iron]") + "]", []string{a, b}},
		"one or the other":         {"namespaceSelectors: [" + expression("operator: In, values: [gold]") + "," + expression("operator: DoesNotExist") + "]", []string{a, c}},
		"the old selector":         {"namespaceSelector: " + expression("operator: Exists"), []string{a, b}},
		"names":                    {"namespaces: [" + d + ", " + a + ", there-is-none]", []string{a, d}},
		"all that, each adds more": {"namespaces: [" + d + "], namespaceSelector: " + expression("operator: DoesNotExist") + ", namespaceSelectors: [" + expression("operator: In, values: [iron]") + "]", []string{b, c, d}},
	} {
		t.Run(name, func(t *testing.T) {
			k := *k
			k.T = t
			ces := k.ces(strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ",", ""), s.more)
			k.status(ces.Name, s.want)
			for _, ns := range []string{a, b, c, d} {
				if got := k.get(&esv1.ExternalSecret{}, ns, ces.Name); got != slices.Contains(s.want, ns) {
					t.Errorf("in %s: %v", ns, got)
				}
			}
		})
	}
}

func TestSelectorThatCannotBeRead(t *testing.T) {
	k := start(t)
	a := k.namespace("a", k.member())
	ces := k.ces("db", k.team())
	k.status(ces.Name, []string{a})
	es := k.child(a, ces.Name)
	k.patch(ces, `{spec: {namespaceSelectors: [{matchLabels: {x: z}}, {matchExpressions: [{key: k, operator: Near}]}], externalSecretName: new}}`)
	k.await("status", func() string {
		got := &esv1.ClusterExternalSecret{}
		k.get(got, "", ces.Name)
		k.sound(got)
		stalled := condition(got, "Stalled")
		if stalled.Status != "True" || !strings.HasPrefix(stalled.Message, "Invalid: spec.namespaceSelectors[1]: ") || got.Status.ObservedGeneration != got.Generation {
			return text(got.Status)
		}
		return cmp.Diff([]string{a}, got.Status.ProvisionedNamespaces) + cmp.Diff(ces.Name, got.Status.ExternalSecretName)
	})
	k.untouched(es)
	k.patch(ces, `{spec: {namespaceSelectors: [{matchLabels: {team: `+k.id+`}}]}}`)
	k.child(a, "new")
	k.gone(a, ces.Name)
	k.status(ces.Name, []string{a})
}

// What a namespace costs when it appears, and when it is labelled: one write, and one
// status for all that there is to say at that moment.
func TestNamespaceThatAppears(t *testing.T) {
	k := start(t)
	first := k.namespace("0", k.member())
	ces := []string{k.ces("x", k.team()).Name, k.ces("y", k.team()).Name}
	for _, name := range ces {
		k.status(name, []string{first})
	}
	k.since()
	a := k.namespace("a", k.member())
	b := k.namespace("b", "{team: another}")
	k.relabel(b, k.member())
	for _, name := range ces {
		k.child(a, name)
		k.child(b, name)
		k.status(name, []string{first, a, b})
	}
	got := k.since()
	if got["PATCH clusterexternalsecrets * status"] > 4 {
		t.Errorf("%d status patches", got["PATCH clusterexternalsecrets * status"])
	}
	delete(got, "PATCH clusterexternalsecrets * status")
	if diff := cmp.Diff(map[string]int{"POST externalsecrets": 4}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNamespaceThatIsRelabelled(t *testing.T) {
	k := start(t)
	a, b := k.namespace("a", k.member()), k.namespace("b", k.member())
	ces := k.ces("db", k.team())
	k.status(ces.Name, []string{a, b})
	others := k.foreign(a, "theirs", "")
	k.since()
	k.relabel(a, "{team: another}")
	k.gone(a, ces.Name)
	k.status(ces.Name, []string{b})
	if got := k.since(); got["DELETE externalsecrets *"] != 1 {
		t.Errorf("requests are %v", got)
	}
	k.untouched(others)
	k.child(b, ces.Name)
	k.relabel(a, k.member())
	k.status(ces.Name, []string{a, b})
}

func TestNamespaceThatIsDeleted(t *testing.T) {
	k := start(t)
	a, b := k.namespace("a", k.member()), k.namespace("b", k.member())
	ces := k.ces("db", k.team())
	k.status(ces.Name, []string{a, b})
	k.patch(k.child(a, ces.Name), `{metadata: {finalizers: [keyferry.test/hold]}}`) // keeps the namespace terminating
	k.since()
	k.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a}})
	k.status(ces.Name, []string{b})
	k.patch(k.child(a, ces.Name), `{metadata: {finalizers: null}}`)
	k.await("the end", func() string {
		if k.get(&corev1.Namespace{}, "", a) {
			return "it is there"
		}
		return ""
	})
	k.status(ces.Name, []string{b})
	got := k.since()
	delete(got, "PATCH clusterexternalsecrets * status")
	if len(got) > 0 {
		t.Errorf("requests about a namespace that goes: %v", got)
	}
}

// ESO's finalizers keep a namespace for ever when ESO is gone.
func TestFinalizersThatWereLeftBehind(t *testing.T) {
	k := newKit(t)
	finalizers := `{metadata: {finalizers: [keyferry.test/theirs, ` + esv1.NamespaceFinalizerPrefix + k.id + `, ` + esv1.NamespaceFinalizerPrefix + `x]}}`
	matches, stopped, goes := k.namespace("a", k.member()), k.namespace("b", ""), k.namespace("c", "")
	for _, ns := range []string{matches, stopped, goes} {
		k.patch(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, finalizers)
	}
	k.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: goes}})
	ces := k.ces("db", k.team())
	k.run()
	k.status(ces.Name, []string{matches})
	for _, ns := range []string{matches, stopped, goes} {
		k.await("finalizers", func() string {
			got := &corev1.Namespace{}
			k.get(got, "", ns)
			return cmp.Diff([]string{"keyferry.test/theirs"}, got.Finalizers)
		})
	}
	later := k.namespace("d", "")
	k.patch(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: later}}, finalizers)
	k.await("finalizers", func() string {
		got := &corev1.Namespace{}
		k.get(got, "", later)
		return cmp.Diff([]string{"keyferry.test/theirs"}, got.Finalizers)
	})
	for _, ns := range []string{matches, stopped, goes, later} {
		k.patch(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, `{metadata: {finalizers: null}}`)
	}
}

func TestFirstSyncAndRestart(t *testing.T) {
	k := newKit(t)
	var all []string
	for n := range 30 {
		all = append(all, k.namespace(fmt.Sprintf("%02d", n), k.member()))
	}
	var ces []string
	for n := range 3 {
		ces = append(ces, k.ces(fmt.Sprint(n), k.team()).Name)
	}
	stop := k.run()
	for _, name := range ces {
		k.status(name, all)
	}
	got := k.since()
	if got["PATCH clusterexternalsecrets * status"] > 3*6 {
		t.Errorf("%d status patches", got["PATCH clusterexternalsecrets * status"])
	}
	delete(got, "PATCH clusterexternalsecrets * status")
	if diff := cmp.Diff(map[string]int{"POST externalsecrets": 90}, got); diff != "" {
		t.Error(diff)
	}
	stop()
	k.since()

	k.relabel(all[0], "{team: another}")
	k.run()
	for _, name := range ces {
		k.gone(all[0], name)
		k.status(name, all[1:])
	}
	want := map[string]int{"DELETE externalsecrets *": 3, "PATCH clusterexternalsecrets * status": 3}
	if diff := cmp.Diff(want, k.since()); diff != "" {
		t.Errorf("a restart asks for more than what changed: %s", diff)
	}
}
