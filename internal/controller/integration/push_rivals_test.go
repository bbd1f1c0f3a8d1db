package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/controller"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// statusPatches is how often the controller wrote the status of a PushSecret.
func (k *kit) statusPatches() int { return k.requests("patch", "pushsecrets/status") }

// forcePush has a PushSecret synced, or tried, anew.
func (k *kit) forcePush(name string) {
	k.Helper()
	k.edit(&v1alpha1.PushSecret{}, name, `{metadata: {annotations: {external-secrets.io/force-sync: "`+fmt.Sprint(k.forced.Add(1))+`"}}}`)
}

// settle lets the controller do what it still has to: several objects one after another.
func (k *kit) settle() {
	k.Helper()
	for range 5 {
		name := fmt.Sprint("settle-", k.forced.Add(1))
		k.pushSecret(name, fromDB+`, data: [{match: {secretKey: user, remoteRef: {remoteKey: `+name+`}}}]`)
		k.awaitPushed(name, v1alpha1.ReasonSynced, "")
	}
}

func TestOneOfThoseThatLostAKeyGetsItWhenItIsFree(t *testing.T) {
	k := pushing(t)
	const policy = `, deletionPolicy: Delete, `
	k.pushSecret("a", fromDB+policy+toApp)
	k.awaitPushed("a", v1alpha1.ReasonSynced, "")
	for _, name := range []string{"b", "c"} {
		k.pushSecret(name, fromDB+policy+`data: [{match: {secretKey: user, remoteRef: {remoteKey: app}}}]`)
		ps := k.awaitPushed(name, v1alpha1.ReasonErrored, "PushSecret "+k.ns+"/a")
		if len(ps.Status.SyncedPushSecrets) > 0 {
			t.Errorf("%s claims to have pushed %s", name, raw(ps.Status.SyncedPushSecrets))
		}
	}
	k.delete(&v1alpha1.PushSecret{}, "a")
	k.awaitGone("a")
	k.awaitHeld(map[string]string{"app": "ada"})
	winner, loser := "b", "c"
	k.await("one of the two", func() string {
		b, c := &v1alpha1.PushSecret{}, &v1alpha1.PushSecret{}
		k.get(b, "b")
		k.get(c, "c")
		if pushReady(c).Reason == v1alpha1.ReasonSynced {
			winner, loser = "c", "b"
		}
		if (pushReady(b).Reason == v1alpha1.ReasonSynced) == (pushReady(c).Reason == v1alpha1.ReasonSynced) {
			return fmt.Sprintf("b is %s, c is %s", pushReady(b).Message, pushReady(c).Message)
		}
		return ""
	})
	k.awaitPushed(loser, v1alpha1.ReasonErrored, "PushSecret "+k.ns+"/"+winner)
	k.edit(&v1alpha1.PushSecret{}, winner, `{spec: {data: [{match: {secretKey: user, remoteRef: {remoteKey: elsewhere}}}]}}`)
	k.awaitPushed(winner, v1alpha1.ReasonSynced, "")
	k.awaitPushed(loser, v1alpha1.ReasonSynced, "")
	k.awaitHeld(map[string]string{"app": "ada", "elsewhere": "ada"})
}

func TestAKeyPassesFromOneToTheOtherAndIsNotLost(t *testing.T) {
	k := pushing(t)
	k.pushSecret("old", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("old", v1alpha1.ReasonSynced, "")
	k.backend.fail("", secret.Unavailable)
	k.delete(&v1alpha1.PushSecret{}, "old")
	k.awaitPushed("old", v1alpha1.ReasonErrored, "")
	k.pushSecret("new", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("new", v1alpha1.ReasonErrored, "")
	k.backend.fail("", "")
	k.clock.jump(20 * time.Minute)
	k.edit(&v1alpha1.PushSecret{}, "old", `{metadata: {labels: {look: again}}}`)
	k.awaitGone("old")
	k.forcePush("new")
	k.awaitPushed("new", v1alpha1.ReasonSynced, "")
	k.awaitHeld(map[string]string{"app": "hunter2"})
}

func TestThoseThatFailDoNotWakeEachOther(t *testing.T) {
	k := pushing(t)
	names := []string{"a", "b", "c"}
	for _, name := range names {
		k.backend.fail(name, secret.Denied)
		k.pushSecret(name, fromDB+`, deletionPolicy: Delete, data: [{match: {secretKey: user, remoteRef: {remoteKey: `+name+`}}}]`)
	}
	for _, name := range names {
		ps := k.awaitPushed(name, v1alpha1.ReasonErrored, "Denied")
		if len(ps.Status.SyncedPushSecrets) > 0 {
			t.Errorf("%s claims to have pushed %s", name, raw(ps.Status.SyncedPushSecrets))
		}
	}
	k.settle()
	before := k.statusPatches()
	k.settle()
	// Each of those that settle does its one patch, and those that fail wait.
	if got := k.statusPatches() - before; got > 6 {
		t.Errorf("%d patches of a status", got)
	}
	for _, name := range names {
		k.delete(&v1alpha1.PushSecret{}, name)
		k.awaitGone(name)
	}
}

func TestASecretThatIsNobodysSourceDoesNotWakeWhoFails(t *testing.T) {
	k := pushing(t)
	k.edit(&corev1.Secret{}, "db", `{metadata: {labels: {push: me}}}`)
	k.backend.fail("app", secret.Denied)
	k.pushSecret("app", `selector: {secret: {selector: {matchLabels: {push: me}}}}, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonErrored, "Denied")
	k.settle()
	gets := k.requests("get", "secrets")
	for i := range 20 {
		k.secret(fmt.Sprint("other-", i), map[string]string{"a": "b"})
	}
	k.settle()
	// One for each of those that settle.
	if got := k.requests("get", "secrets") - gets; got > 7 {
		t.Errorf("%d reads of a Secret", got)
	}
}

func TestWhatAFirstPushAndARefreshCost(t *testing.T) {
	for name, c := range map[string]struct {
		spec           string
		objects, first int
	}{
		"deletionPolicy None":   {`deletionPolicy: None, `, 0, 1},
		"deletionPolicy Delete": {`deletionPolicy: Delete, `, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			k := start(t)
			k.store("backend", steered)
			k.secret("db", map[string]string{"user": "ada", "password": "hunter2"})
			k.awaitStore(&esv1.SecretStore{}, "backend", "Valid")
			k.pushSecret("app", fromDB+", "+c.spec+toApp)
			k.awaitPushed("app", v1alpha1.ReasonSynced, "")
			if got := k.statusPatches(); got != c.first {
				t.Errorf("%d patches of the status at first, want %d", got, c.first)
			}
			if got := k.requests("patch", "pushsecrets"); got != c.objects {
				t.Errorf("%d patches of the object, want %d", got, c.objects)
			}
			for i := 1; i <= 3; i++ {
				k.forcePush("app")
				k.await("pass", func() string {
					if got := k.statusPatches(); got != c.first+i {
						return fmt.Sprintf("%d patches of the status, want %d", got, c.first+i)
					}
					return ""
				})
			}
			if got := len(k.events(v1alpha1.PushSecretKind, "app")); got > 1 {
				t.Errorf("%d events: %q", got, k.events(v1alpha1.PushSecretKind, "app"))
			}
			if got := k.backend.versionsOf("app"); got != 1 {
				t.Errorf("it was written %d times", got)
			}
		})
	}
}

func TestAPushOfAThousandKeys(t *testing.T) {
	k := start(t)
	k.store("backend", steered)
	data := map[string]string{}
	for i := range 1000 {
		data[fmt.Sprintf("key-%04d", i)] = "v"
	}
	k.secret("db", data)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, dataTo: [{storeRef: {name: backend}, rewrite: [{regexp: {source: "^", target: "`+strings.Repeat("long/", 40)+`"}}]}]`)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	if got := k.backend.writes(); got != 1000 {
		t.Errorf("%d writes", got)
	}
	if got := k.statusPatches(); got != 2 {
		t.Errorf("%d patches of the status", got)
	}
	k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {dataTo: [{storeRef: {name: backend}, remoteKey: all}]}}`)
	ps := k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	if got := len(ps.Status.SyncedPushSecrets["SecretStore/backend"]); got != 1 {
		t.Errorf("the status has %d places", got)
	}
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitGone("app")
	if got := k.backend.keys(); len(got) > 0 {
		t.Errorf("%d keys are left", len(got))
	}
	if got := k.events(v1alpha1.PushSecretKind, "app"); len(got) > 3 {
		t.Errorf("events: %q", got)
	}
}

func TestAPushToManyStoresIsOneOfEach(t *testing.T) {
	k := start(t)
	k.secret("db", map[string]string{"user": "ada"})
	const n = 30
	want := map[string]string{}
	for i := range n {
		k.create(group, esv1.SecretStoreKind, fmt.Sprint("s", i), fmt.Sprintf(`{metadata: {labels: {push: here}}, spec: {provider: {vault: {server: "https://backend.test", path: s%d}}}}`, i))
		want[fmt.Sprintf("s%d/app", i)] = "ada"
	}
	k.create(pushGroup, v1alpha1.PushSecretKind, "app", `spec: {secretStoreRefs: [{labelSelector: {matchLabels: {push: here}}}, {name: s0}], `+fromDB+`, deletionPolicy: Delete, data: [{match: {secretKey: user, remoteRef: {remoteKey: app}}}]}`)
	k.awaitHeld(want)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.edit(&esv1.SecretStore{}, "s7", `{metadata: {labels: {push: null}}}`)
	want["s7/app"] = ""
	k.awaitHeld(want)
	k.edit(&esv1.SecretStore{}, "s7", `{metadata: {labels: {push: here}}}`)
	want["s7/app"] = "ada"
	k.awaitHeld(want)
	k.await("store s8", func() string {
		s := &esv1.SecretStore{}
		if k.get(s, "s8"); len(s.Finalizers) == 0 {
			return "has no finalizer yet"
		}
		return ""
	})
	k.delete(&esv1.SecretStore{}, "s8")
	want["s8/app"] = ""
	k.awaitHeld(want)
	k.await("store s8", func() string {
		if k.get(&esv1.SecretStore{}, "s8") {
			return "is still there"
		}
		return ""
	})
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
}

func TestAStoreThatCannotBeWrittenToIsRefused(t *testing.T) {
	k := start(t, func(o *controller.Options) {
		readOnly := provider.Define(provider.Definition[esv1.OpenBaoProvider]{
			Name: "openBao", Label: "Test", Access: provider.ReadOnly,
			Open: func(context.Context, *esv1.OpenBaoProvider, provider.Env) (provider.Store, error) {
				return nil, secret.Internal
			},
		})
		vault, err := o.Registry.Lookup("vault")
		if err != nil {
			t.Error(err)
		}
		if o.Registry, err = provider.NewRegistry(vault, readOnly); err != nil {
			t.Error(err)
		}
	})
	k.store("backend", steered)
	k.store("other", `{openBao: {server: "https://other.test"}}`)
	k.secret("db", map[string]string{"user": "ada", "password": "hunter2"})
	k.create(pushGroup, v1alpha1.PushSecretKind, "app", "spec: {secretStoreRefs: [{name: backend}, {name: other}], "+fromDB+", dataTo: [{storeRef: {name: backend}}, {storeRef: {name: other}}]}")
	k.awaitPushed("app", v1alpha1.ReasonErrored, "Unsupported: SecretStore/other: provider openBao is read-only")
	k.awaitHeld(map[string]string{"user": "ada", "password": "hunter2"})
}

func TestAMissingStoreIsNamedWhateverIsPushedThere(t *testing.T) {
	k := pushing(t)
	k.create(pushGroup, v1alpha1.PushSecretKind, "app", "spec: {secretStoreRefs: [{name: backend}, {name: later}], "+fromDB+", dataTo: [{storeRef: {name: backend}}, {storeRef: {name: later}}]}")
	k.awaitPushed("app", v1alpha1.ReasonErrored, `spec.secretStoreRefs[1]: SecretStore "later" does not exist`)
	k.awaitHeld(map[string]string{"user": "ada", "password": "hunter2"})
}

func TestTwoPropertiesOfOneSecretFromTwoPushSecrets(t *testing.T) {
	k := pushing(t)
	for _, key := range []string{"user", "password"} {
		k.pushSecret(key, fromDB+`, deletionPolicy: Delete, data: [{match: {secretKey: `+key+`, remoteRef: {remoteKey: both, property: `+key+`}}}]`)
	}
	k.awaitHeld(map[string]string{"both": `{"password":"hunter2","user":"ada"}`})
	k.awaitPushed("user", v1alpha1.ReasonSynced, "")
	k.awaitPushed("password", v1alpha1.ReasonSynced, "")
	k.delete(&v1alpha1.PushSecret{}, "user")
	k.awaitGone("user")
	k.awaitHeld(map[string]string{"both": `{"password":"hunter2"}`})
	k.delete(&v1alpha1.PushSecret{}, "password")
	k.awaitGone("password")
	k.awaitHeld(map[string]string{"both": ""})
}

func TestAWholeBecomesPropertiesAndBack(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, data: [{match: {remoteRef: {remoteKey: app}}}]`)
	k.awaitHeld(map[string]string{"app": `{"password":"hunter2","user":"ada"}`})
	k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {data: [{match: {secretKey: user, remoteRef: {remoteKey: app, property: who}}}]}}`)
	k.awaitHeld(map[string]string{"app": `{"who":"ada"}`})
	ps := k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	if diff := cmp.Diff([]string{"app/who"}, ids(ps)); diff != "" {
		t.Error(diff)
	}
	k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {data: [{match: {remoteRef: {remoteKey: app}}}]}}`)
	k.awaitHeld(map[string]string{"app": `{"password":"hunter2","user":"ada"}`})
	ps = k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	if diff := cmp.Diff([]string{"app"}, ids(ps)); diff != "" {
		t.Error(diff)
	}
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": ""})
}

// ids lists the places that a status names, of all stores.
func ids(ps *v1alpha1.PushSecret) []string {
	var out []string
	for _, places := range ps.Status.SyncedPushSecrets {
		out = append(out, secret.Keys(places)...)
	}
	return out
}

func TestWhatIsSelectedWronglyIsNamed(t *testing.T) {
	k := pushing(t)
	const bad = `{matchExpressions: [{key: a, operator: Bad}]}`
	for name, c := range map[string]struct{ refs, spec, message string }{
		"bad-ref":      {`[{labelSelector: ` + bad + `}]`, fromDB + ", " + toApp, "spec.secretStoreRefs[0].labelSelector"},
		"bad-selector": {`[{name: backend}]`, `selector: {secret: {selector: ` + bad + `}}, ` + toApp, "spec.selector.secret.selector"},
		"two-of-one":   {`[{name: backend}]`, fromDB + `, data: [{match: {secretKey: user, remoteRef: {remoteKey: k, property: a}}, metadata: {note: a}}, {match: {secretKey: user, remoteRef: {remoteKey: k, property: b}}, metadata: {note: b}}]`, "spec.data[1].metadata"},
	} {
		k.create(pushGroup, v1alpha1.PushSecretKind, name, "spec: {secretStoreRefs: "+c.refs+", "+c.spec+"}")
		k.awaitPushed(name, v1alpha1.ReasonErrored, "Invalid: "+c.message)
	}
}

func TestTwoThatChangePlacesDoNotWaitForEachOther(t *testing.T) {
	k := pushing(t)
	to := func(key, from string) string {
		return `data: [{match: {secretKey: ` + from + `, remoteRef: {remoteKey: ` + key + `}}}]`
	}
	k.pushSecret("first", fromDB+`, deletionPolicy: Delete, `+to("a", "user"))
	k.pushSecret("second", fromDB+`, deletionPolicy: Delete, `+to("b", "password"))
	k.awaitHeld(map[string]string{"a": "ada", "b": "hunter2"})
	k.awaitPushed("first", v1alpha1.ReasonSynced, "")
	k.awaitPushed("second", v1alpha1.ReasonSynced, "")
	k.edit(&v1alpha1.PushSecret{}, "first", `{spec: {`+to("b", "user")+`}}`)
	k.awaitPushed("first", v1alpha1.ReasonErrored, "/second")
	k.edit(&v1alpha1.PushSecret{}, "second", `{spec: {`+to("a", "password")+`}}`)
	k.awaitPushed("first", v1alpha1.ReasonSynced, "")
	k.awaitPushed("second", v1alpha1.ReasonSynced, "")
	k.awaitHeld(map[string]string{"a": "hunter2", "b": "ada"})
	k.delete(&v1alpha1.PushSecret{}, "first")
	k.awaitGone("first")
	k.awaitHeld(map[string]string{"a": "hunter2", "b": ""})
}
