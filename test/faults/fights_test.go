package faults_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/testenv"
)

// ring is where objects that want the same key of a store meet, in two namespaces.
type ring struct {
	*world // one namespace
	other  *world
	bao    *testenv.Bao
	trap   *trap
}

// fight is two parties that each would undo what the other does, every second.
type fight struct {
	key   string
	start func(r *ring)
	// losers are told of the other party, as their Ready condition has it; the other
	// objects that the fight has are Ready. Both by name, with the namespace before it
	// if it is the other one.
	losers  map[string]string
	winners []string
	// holds is what the key holds at last.
	holds map[string]string
}

const everySecond = `refreshInterval: 1s, `

func fights() map[string]fight {
	return map[string]fight{
		"a PushSecret and the ExternalSecret that feeds it": {
			key: "loop", holds: map[string]string{"v": "a"},
			start: func(r *ring) {
				r.have("loop", map[string]string{"v": "a"})
				r.must(r.world, esv1.ExtSecretKind, "loop", `{`+everySecond+`secretStoreRef: {name: bao}, target: {template: {data: {v: "{{ .v }}+"}}}, data: [{secretKey: v, remoteRef: {key: loop, property: v}}]}`)
				r.push(r.world, "loop", "loop", `data: [{match: {secretKey: v, remoteRef: {remoteKey: loop, property: v}}}]`)
			},
			losers: map[string]string{"loop": `ExternalSecret "loop"`},
		},
		"an ExternalSecret that comes after the PushSecret that it feeds": {
			key: "late", holds: map[string]string{"v": "mine"},
			start: func(r *ring) {
				r.source(r.world, "late", "mine")
				r.push(r.world, "late", "late", `data: [{match: {secretKey: v, remoteRef: {remoteKey: late, property: v}}}]`)
				r.ready("late")
				r.must(r.world, esv1.ExtSecretKind, "late", `{`+everySecond+`secretStoreRef: {name: bao}, target: {creationPolicy: Merge, template: {data: {v: "{{ .v }}+"}}}, data: [{secretKey: v, remoteRef: {key: late, property: v}}]}`)
			},
			losers: map[string]string{"late": `ExternalSecret "late"`},
		},
		"two PushSecrets on one property": {
			key: "both", holds: map[string]string{"v": "of one"},
			start: func(r *ring) {
				r.source(r.world, "both-1", "of one")
				r.source(r.world, "both-2", "of two")
				r.push(r.world, "both-1", "both-1", `data: [{match: {secretKey: v, remoteRef: {remoteKey: both, property: v}}}]`)
				r.ready("both-1")
				r.push(r.world, "both-2", "both-2", `data: [{match: {secretKey: v, remoteRef: {remoteKey: both, property: v}}}]`)
			},
			winners: []string{"both-1"}, losers: map[string]string{"both-2": "PushSecret $SELF/both-1"},
		},
		"two at the same time": {
			key: "race", // whoever wins
			start: func(r *ring) {
				for _, name := range []string{"race-1", "race-2", "race-3"} {
					r.source(r.world, name, name)
					r.push(r.world, name, name, `data: [{match: {secretKey: v, remoteRef: {remoteKey: race, property: v}}}]`)
				}
			},
		},
		"all of a secret and a property of it": {
			key: "whole", holds: map[string]string{"v": "of one"},
			start: func(r *ring) {
				r.source(r.world, "whole-1", "of one")
				r.source(r.world, "whole-2", "of two")
				r.push(r.world, "whole-1", "whole-1", `deletionPolicy: Delete, data: [{match: {remoteRef: {remoteKey: whole}}}]`)
				r.ready("whole-1")
				r.push(r.world, "whole-2", "whole-2", `deletionPolicy: Delete, data: [{match: {secretKey: v, remoteRef: {remoteKey: whole, property: other}}}]`)
			},
			winners: []string{"whole-1"}, losers: map[string]string{"whole-2": "PushSecret $SELF/whole-1"},
		},
		"two properties of one secret": {
			key: "parts", holds: map[string]string{"a": "of one", "b": "of two", "theirs": "x"},
			start: func(r *ring) {
				r.have("parts", map[string]string{"theirs": "x"})
				if _, err := r.bao.Do(r.t.Context(), http.MethodPost, "secret/metadata/"+r.namespace+"/parts", map[string]any{"custom_metadata": map[string]string{"managed-by": "external-secrets"}}); err != nil {
					r.t.Fatal(err)
				}
				for name, property := range map[string]string{"one": "a", "two": "b"} {
					r.source(r.world, "parts-"+name, "of "+name)
					r.push(r.world, "parts-"+name, "parts-"+name, `data: [{match: {secretKey: v, remoteRef: {remoteKey: parts, property: `+property+`}}}]`)
				}
			},
			winners: []string{"parts-one", "parts-two"},
		},
		"one that is older and comes later": {
			key: "taken", holds: map[string]string{"v": "of the younger"},
			start: func(r *ring) {
				r.source(r.world, "older", "of the older")
				r.source(r.world, "younger", "of the younger")
				r.push(r.world, "older", "older", `deletionPolicy: Delete, data: [{match: {secretKey: v, remoteRef: {remoteKey: else, property: v}}}]`)
				r.ready("older")
				born := r.pushed(r.world, "older").CreationTimestamp.Time
				eventually(r.t, 5*time.Second, func() string { // ages are in whole seconds
					if time.Since(born) < 1100*time.Millisecond {
						return "it is not older yet"
					}
					return ""
				})
				r.push(r.world, "younger", "younger", `deletionPolicy: Delete, data: [{match: {secretKey: v, remoteRef: {remoteKey: taken, property: v}}}]`)
				r.ready("younger")
				r.patch(&v1alpha1.PushSecret{ObjectMeta: r.meta("older")}, `{"spec":{"data":[{"match":{"secretKey":"v","remoteRef":{"remoteKey":"`+r.namespace+`/taken","property":"v"}}}]}}`)
			},
			winners: []string{"younger"}, losers: map[string]string{"older": "PushSecret $SELF/younger"},
		},
		"two namespaces and a ClusterSecretStore": {
			key: "shared", holds: map[string]string{"v": "of one"},
			start: func(r *ring) {
				r.source(r.world, "shared", "of one")
				r.source(r.other, "shared", "of two")
				const data = `data: [{match: {secretKey: v, remoteRef: {remoteKey: shared, property: v}}}]`
				r.pushTo(r.world, "shared", "shared", "{kind: ClusterSecretStore, name: bao}", data)
				r.ready("shared")
				r.pushTo(r.other, "shared", "shared", "{kind: ClusterSecretStore, name: bao}", data)
			},
			winners: []string{"shared"}, losers: map[string]string{"other/shared": "PushSecret $SELF/shared"},
		},
		"somebody else's secret": {
			key: "foreign", holds: map[string]string{"v": "theirs"},
			start: func(r *ring) {
				r.have("foreign", map[string]string{"v": "theirs"})
				r.source(r.world, "foreign", "mine")
				r.push(r.world, "foreign", "foreign", `data: [{match: {secretKey: v, remoteRef: {remoteKey: foreign, property: v}}}]`)
			},
			losers: map[string]string{"foreign": "managed-by"},
		},
		"the same by label and by name": {
			key: "twice", holds: map[string]string{"v": "once"},
			start: func(r *ring) {
				r.source(r.world, "twice", "once")
				r.pushTo(r.world, "twice", "twice", "{labelSelector: {matchLabels: {tier: all}}}, {name: bao}", `data: [{match: {secretKey: v, remoteRef: {remoteKey: twice, property: v}}}]`)
			},
			winners: []string{"twice"},
		},
	}
}

func newRing(t *testing.T) *ring {
	t.Helper()
	w, bao := newWorld(t, testenv.StartCluster(t)), testenv.OpenBao(t)
	other := *w
	other.namespace = w.plane.Namespace(t)
	r := &ring{world: w, other: &other, bao: bao, trap: newTrap(t, w.plane, bao)}
	provider := `provider: {vault: {server: "` + r.trap.store + `", path: secret, version: v2, auth: {tokenSecretRef: {name: bao-token, key: token`
	for _, in := range []*world{w, &other} {
		w.create(&corev1.Secret{ObjectMeta: in.meta("bao-token"), StringData: map[string]string{"token": bao.RootToken}})
	}
	r.must(w, esv1.SecretStoreKind, "bao", `{`+provider+`}}}}}`)
	w.patch(&esv1.SecretStore{ObjectMeta: w.meta("bao")}, `{"metadata":{"labels":{"tier":"all"}}}`)
	r.must(w, esv1.ClusterSecretStoreKind, "bao", `{`+provider+`, namespace: `+w.namespace+`}}}}}`)
	return r
}

func (r *ring) must(in *world, kind, name, spec string) {
	r.t.Helper()
	spec = strings.NewReplacer("remoteKey: ", "remoteKey: "+r.namespace+"/", "{key: ", "{key: "+r.namespace+"/").Replace(spec)
	if kind == esv1.SecretStoreKind || kind == esv1.ClusterSecretStoreKind {
		spec = strings.ReplaceAll(spec, r.namespace+"/", "")
	}
	if err := in.apply(kind, name, spec); err != nil {
		r.t.Fatalf("%s %s: %v", kind, name, err)
	}
}

func (r *ring) have(key string, data map[string]string) {
	r.t.Helper()
	put(r.t, r.bao, r.namespace+"/"+key, data)
}

func (r *ring) source(in *world, name, value string) {
	r.t.Helper()
	r.create(&corev1.Secret{ObjectMeta: in.meta(name), StringData: map[string]string{"v": value}})
}

func (r *ring) push(in *world, name, source, spec string) {
	r.t.Helper()
	r.pushTo(in, name, source, "{name: bao}", spec)
}

func (r *ring) pushTo(in *world, name, source, stores, spec string) {
	r.t.Helper()
	r.must(in, v1alpha1.PushSecretKind, name, `{`+everySecond+`secretStoreRefs: [`+stores+`], selector: {secret: {name: `+source+`}}, `+spec+`}`)
}

func (r *ring) pushed(in *world, name string) *v1alpha1.PushSecret {
	r.t.Helper()
	ps := &v1alpha1.PushSecret{}
	if err := r.api.Get(r.t.Context(), client.ObjectKey{Namespace: in.namespace, Name: name}, ps); err != nil {
		r.t.Fatal(err)
	}
	return ps
}

// is says what is not so about a PushSecret that should be Ready, or not for a reason.
func (r *ring) is(name, because string) string {
	r.t.Helper()
	in := r.world
	if after, ok := strings.CutPrefix(name, "other/"); ok {
		in, name = r.other, after
	}
	because = strings.ReplaceAll(because, "$SELF", r.namespace)
	ps := r.pushed(in, name)
	c := pushReady(ps)
	ok := c.Status == corev1.ConditionTrue
	if because != "" {
		ok = c.Status == corev1.ConditionFalse && strings.HasPrefix(c.Message, "Conflict: ") && strings.Contains(c.Message, because)
	}
	if ps.Status.ObservedGeneration == ps.Generation && ok {
		return ""
	}
	return fmt.Sprintf("PushSecret %s: want %q, is %s: %s", name, because, c.Status, c.Message)
}

func (r *ring) ready(name string) {
	r.t.Helper()
	eventually(r.t, time.Minute, func() string { return r.is(name, "") })
}

// version is how often a key was written, and what it holds.
func (r *ring) version(key string) (int, map[string]string) {
	r.t.Helper()
	raw, err := r.bao.Do(r.t.Context(), http.MethodGet, "secret/data/"+r.namespace+"/"+key, nil)
	if err != nil {
		return 0, nil
	}
	var answer struct {
		Data struct {
			Data     map[string]string
			Metadata struct{ Version int }
		}
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		r.t.Fatal(err)
	}
	return answer.Data.Metadata.Version, answer.Data.Data
}

// refreshes waits until a key was looked at some more times.
func (r *ring) refreshes(n int, keys ...string) {
	r.t.Helper()
	from := map[string]int{}
	path := func(key string) string { return "GET /v1/secret/data/" + r.namespace + "/" + key }
	for _, key := range keys {
		from[key] = r.trap.times(path(key))
	}
	eventually(r.t, time.Minute, func() string {
		for _, key := range keys {
			if got := r.trap.times(path(key)) - from[key]; got < n {
				return fmt.Sprintf("%s was looked at %d of %d times", key, got, n)
			}
		}
		return ""
	})
}

func (f fight) outcome(r *ring) string {
	var missing []string
	for _, name := range f.winners {
		missing = append(missing, r.is(name, ""))
	}
	for name, because := range f.losers {
		missing = append(missing, r.is(name, because))
	}
	if _, got := r.version(f.key); f.holds != nil && !maps.Equal(got, f.holds) {
		missing = append(missing, fmt.Sprintf("%s holds %v, want %v", f.key, got, f.holds))
	}
	return strings.Join(slices.DeleteFunc(missing, func(s string) bool { return s == "" }), "; ")
}

func TestNobodyFightsForEver(t *testing.T) {
	r := newRing(t)
	p := startController(t, r.trap.kubeconfig, "--egress-allow=127.0.0.0/8")
	table := fights()
	keys := make([]string, 0, len(table))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		table[name].start(r)
		keys = append(keys, table[name].key)
	}
	settled := func() string {
		for name, f := range table {
			if lack := f.outcome(r); lack != "" {
				return name + ": " + lack
			}
		}
		return ""
	}
	eventually(t, time.Minute, settled)
	for _, again := range []string{"", " after a restart"} {
		r.refreshes(2, keys...) // whatever was under way
		versions, changes := map[string]int{}, r.changes()
		for _, key := range keys {
			versions[key], _ = r.version(key)
		}
		r.refreshes(6, keys...)
		for name, f := range table {
			if got, _ := r.version(f.key); got != versions[f.key] {
				t.Errorf("%s: the key was written %d times in six refreshes%s", name, got-versions[f.key], again)
			}
			if lack := f.outcome(r); lack != "" {
				t.Errorf("%s%s: %s", name, again, lack)
			}
		}
		for name, now := range r.changes() {
			if changes[name] != now {
				t.Errorf("PushSecret %s was written to in six refreshes in which nothing happened%s", name, again)
			}
		}
		r.oneRuns("race-1", "race-2", "race-3")
		p.kill()
		p = startController(t, r.trap.kubeconfig, "--egress-allow=127.0.0.0/8")
		r.refreshes(2, keys...)
	}
	r.handOver()
}

// changes is the version of every PushSecret.
func (r *ring) changes() map[string]string {
	r.t.Helper()
	var list v1alpha1.PushSecretList
	if err := r.api.List(r.t.Context(), &list); err != nil {
		r.t.Fatal(err)
	}
	out := map[string]string{}
	for _, ps := range list.Items {
		out[ps.Namespace+"/"+ps.Name] = ps.ResourceVersion
	}
	return out
}

// oneRuns fails unless one of the PushSecrets is Ready and the others name it.
func (r *ring) oneRuns(names ...string) {
	r.t.Helper()
	var winners []string
	for _, name := range names {
		if r.is(name, "") == "" {
			winners = append(winners, name)
		}
	}
	if len(winners) != 1 {
		r.t.Errorf("%q are Ready, that must be one", winners)
		return
	}
	for _, name := range names {
		if lack := r.is(name, "PushSecret $SELF/"+winners[0]); name != winners[0] && lack != "" {
			r.t.Error(lack)
		}
	}
}

// handOver lets a winner go: the loser takes its place, and says nothing of it any more.
func (r *ring) handOver() {
	r.t.Helper()
	for winner, loser := range map[string]string{"both-1": "both-2", "younger": "older", "whole-1": "whole-2"} {
		if err := r.api.Delete(r.t.Context(), &v1alpha1.PushSecret{ObjectMeta: r.meta(winner)}); err != nil {
			r.t.Fatal(err)
		}
		eventually(r.t, 20*time.Second, func() string { return r.is(loser, "") })
	}
	for key, want := range map[string]map[string]string{"both": {"v": "of two"}, "taken": {"v": "of the older"}, "whole": {"other": "of two"}} {
		eventually(r.t, 20*time.Second, func() string {
			if _, got := r.version(key); !maps.Equal(got, want) {
				return fmt.Sprintf("%s holds %v, want %v", key, got, want)
			}
			return ""
		})
	}
}

func TestWhatAHumanEditsIsReplacedOnceAnEdit(t *testing.T) {
	r := newRing(t)
	startController(t, r.trap.kubeconfig, "--egress-allow=127.0.0.0/8")
	r.source(r.world, "app", "ours")
	r.push(r.world, "app", "app", `deletionPolicy: Delete, data: [{match: {secretKey: v, remoteRef: {remoteKey: app, property: v}}}]`)
	r.ready("app")
	data, metadata := "secret/data/"+r.namespace+"/app", "secret/metadata/"+r.namespace+"/app"
	for _, step := range []struct {
		name, method, path string
		body               any
		want               map[string]string
		versions           int // that the key gains; it begins anew where that is below 0
	}{
		{"the value", http.MethodPost, data, map[string]any{"data": map[string]string{"v": "theirs"}}, map[string]string{"v": "ours"}, 2},
		{"and another property", http.MethodPost, data, map[string]any{"data": map[string]string{"v": "theirs", "x": "y"}}, map[string]string{"v": "ours", "x": "y"}, 2},
		{"all of it is deleted", http.MethodDelete, data, nil, map[string]string{"v": "ours"}, 1},
		{"with its metadata", http.MethodDelete, metadata, nil, map[string]string{"v": "ours"}, -1},
	} {
		before, _ := r.version("app")
		r.edit(step.method, step.path, step.body)
		eventually(t, 20*time.Second, func() string { return r.replaced("app", step.want) })
		after, _ := r.version("app")
		if step.versions > 0 && after-before != step.versions {
			t.Errorf("%s: %d versions, want %d", step.name, after-before, step.versions)
		}
		r.refreshes(4, "app")
		if got, _ := r.version("app"); got != after {
			t.Errorf("%s: %d more versions in four refreshes", step.name, got-after)
		}
	}
	// Whoever takes the mark takes the secret.
	r.edit(http.MethodPost, metadata, map[string]any{"custom_metadata": map[string]string{"managed-by": "somebody"}})
	r.edit(http.MethodPost, data, map[string]any{"data": map[string]string{"v": "kept"}})
	eventually(t, 20*time.Second, func() string { return r.is("app", "managed-by") })
	if err := r.api.Delete(t.Context(), r.pushed(r.world, "app")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() string {
		if _, there := r.changes()[r.namespace+"/app"]; there {
			return "the PushSecret is still there"
		}
		return ""
	})
	if _, got := r.version("app"); got["v"] != "kept" {
		t.Errorf("what had another owner is now %v", got)
	}
}

func (r *ring) edit(method, path string, body any) {
	r.t.Helper()
	if _, err := r.bao.Do(r.t.Context(), method, path, body); err != nil {
		r.t.Fatal(err)
	}
}

// replaced says what is not so when the PushSecret of a key has undone an edit: it tells
// of that until it finds nothing to undo.
func (r *ring) replaced(key string, want map[string]string) string {
	r.t.Helper()
	if _, got := r.version(key); !maps.Equal(got, want) {
		return fmt.Sprintf("%s holds %v, want %v", key, got, want)
	}
	if c := pushReady(r.pushed(r.world, key)); !strings.Contains(c.Message, "replaced what somebody else had written to "+r.namespace+"/"+key+"/v") {
		return "the condition does not tell of the edit: " + c.Message
	}
	return ""
}
