package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/internal/reconcile/conditions/check"
	"github.com/keyferry/keyferry/secret"
)

const pushGroup = "external-secrets.io/v1alpha1"

// pushSecret creates a PushSecret to the SecretStore backend; spec is YAML in braces
// beside secretStoreRefs.
func (k *kit) pushSecret(name, spec string) {
	k.Helper()
	k.create(pushGroup, v1alpha1.PushSecretKind, name, "spec: {secretStoreRefs: [{name: backend}], "+spec+"}")
}

// pushing is a kit with a running controller, a store and a Secret db.
func pushing(t *testing.T) *kit {
	k := start(t)
	k.store("backend", steered)
	k.secret("db", map[string]string{"user": "ada", "password": "hunter2"})
	return k
}

const (
	fromDB = `selector: {secret: {name: db}}`
	toApp  = `data: [{match: {secretKey: password, remoteRef: {remoteKey: app}}}]`
)

// awaitHeld waits until the backend holds exactly this; "" is that it is gone.
func (k *kit) awaitHeld(want map[string]string) {
	k.Helper()
	k.await("backend", func() string {
		got := map[string]string{}
		for key := range want {
			got[key], _ = k.backend.value(key)
		}
		return cmp.Diff(want, got)
	})
}

// awaitPushed waits until a PushSecret, as it is now, has the reason, and the message
// contains what is given.
func (k *kit) awaitPushed(name, reason, message string) *v1alpha1.PushSecret {
	k.Helper()
	var ps *v1alpha1.PushSecret
	k.await("PushSecret "+name, func() string {
		ps = &v1alpha1.PushSecret{}
		if !k.get(ps, name) {
			return "is not there"
		}
		got := pushReady(ps)
		if got.Reason != reason || !strings.Contains(got.Message, message) || ps.Status.ObservedGeneration != ps.Generation {
			return fmt.Sprintf("generation %d of %d is %q, want %q with %q: %s", ps.Status.ObservedGeneration, ps.Generation, got.Reason, reason, message, got.Message)
		}
		return ""
	})
	var list []conditions.Condition
	for _, c := range ps.Status.Conditions {
		list = append(list, conditions.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.Time})
	}
	check.Conditions(k, list)
	return ps
}

func pushReady(ps *v1alpha1.PushSecret) v1alpha1.PushSecretStatusCondition {
	for _, c := range ps.Status.Conditions {
		if c.Type == v1alpha1.PushSecretReady {
			return c
		}
	}
	return v1alpha1.PushSecretStatusCondition{}
}

func (k *kit) awaitGone(name string) {
	k.Helper()
	k.await("PushSecret "+name, func() string {
		ps := &v1alpha1.PushSecret{}
		if k.get(ps, name) {
			return "is still there: " + pushReady(ps).Message
		}
		return ""
	})
}

func TestASecretIsPushedAndSoAreItsChanges(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+", "+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.awaitHeld(map[string]string{"app": "hunter2"})
	k.edit(&corev1.Secret{}, "db", `{stringData: {password: hunter3}}`)
	k.awaitHeld(map[string]string{"app": "hunter3"})
	k.delete(&corev1.Secret{}, "db")
	k.awaitPushed("app", v1alpha1.ReasonErrored, "NotFound")
	k.secret("db", map[string]string{"password": "hunter4"})
	k.awaitHeld(map[string]string{"app": "hunter4"})
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
}

func TestWhatIsPushed(t *testing.T) {
	k := pushing(t)
	k.backend.set("shared", `{"theirs":1.50}`)
	cases := map[string]struct {
		spec string
		want map[string]string
	}{
		"all of it":  {`data: [{match: {remoteRef: {remoteKey: whole}}}]`, map[string]string{"whole": `{"password":"hunter2","user":"ada"}`}},
		"properties": {`data: [{match: {secretKey: user, remoteRef: {remoteKey: shared, property: u}}}, {match: {secretKey: password, remoteRef: {remoteKey: shared, property: p.q}}}]`, map[string]string{"shared": `{"p":{"q":"hunter2"},"theirs":1.50,"u":"ada"}`}},
		"each key":   {`dataTo: [{storeRef: {name: backend}, match: {regexp: "^pass"}, rewrite: [{regexp: {source: "^", target: "each/"}}]}]`, map[string]string{"each/password": "hunter2", "each/user": ""}},
		"a bundle":   {`dataTo: [{storeRef: {name: backend}, remoteKey: bundle}]`, map[string]string{"bundle": `{"password":"hunter2","user":"ada"}`}},
		"explicit first": {
			`data: [{match: {secretKey: user, remoteRef: {remoteKey: who}}}], dataTo: [{storeRef: {labelSelector: {}}, rewrite: [{transform: {template: "to-{{ .value | upper }}"}}]}]`,
			map[string]string{"who": "ada", "to-PASSWORD": "hunter2", "to-USER": ""},
		},
		"a template": {`data: [{match: {secretKey: url, remoteRef: {remoteKey: url}}}], template: {data: {url: "db://{{ .user }}:{{ .password }}"}}`, map[string]string{"url": "db://ada:hunter2"}},
	}
	for name, c := range cases {
		object := strings.ReplaceAll(name, " ", "-")
		k.pushSecret(object, fromDB+", "+c.spec)
		t.Run(name, func(t *testing.T) {
			k := &kit{T: t, ns: k.ns, config: k.config, api: k.api, backend: k.backend, clock: k.clock}
			k.awaitPushed(object, v1alpha1.ReasonSynced, "")
			k.awaitHeld(c.want)
		})
	}
}

func TestWhatCannotBePushedSaysSo(t *testing.T) {
	k := pushing(t)
	k.backend.give("foreign", "theirs")
	cases := map[string]struct{ spec, message string }{
		"no-key":     {fromDB + `, data: [{match: {secretKey: absent, remoteRef: {remoteKey: x}}}]`, "spec.data[0].match.secretKey"},
		"twice":      {fromDB + `, data: [{match: {secretKey: user, remoteRef: {remoteKey: x}}}, {match: {secretKey: password, remoteRef: {remoteKey: x}}}]`, "spec.data[0]"},
		"no-regexp":  {fromDB + `, dataTo: [{storeRef: {name: backend}, match: {regexp: "("}}]`, "spec.dataTo[0].match.regexp"},
		"no-store":   {fromDB + `, dataTo: [{storeRef: {name: other}}]`, "spec.dataTo[0].storeRef"},
		"no-source":  {`selector: {secret: {name: none}}, ` + toApp, "spec.selector.secret.name"},
		"no-match":   {`selector: {secret: {selector: {matchLabels: {a: b}}}}, ` + toApp, "spec.selector.secret.selector"},
		"no-file":    {fromDB + `, ` + toApp + `, template: {templateFrom: [{configMap: {name: none, items: [{key: a}]}}]}`, "spec.template.templateFrom[0].configMap"},
		"foreign":    {fromDB + `, data: [{match: {secretKey: user, remoteRef: {remoteKey: foreign}}}]`, "Conflict"},
		"not-object": {fromDB + `, data: [{match: {secretKey: user, remoteRef: {remoteKey: text, property: a}}}]`, "property"},
	}
	k.backend.set("text", "no object")
	for name, c := range cases {
		k.pushSecret(name, c.spec)
	}
	for name, c := range cases {
		k.awaitPushed(name, v1alpha1.ReasonErrored, c.message)
	}
	k.awaitHeld(map[string]string{"foreign": "theirs", "text": "no object", "x": ""})
}

func TestOneBadStoreDoesNotKeepTheOthersWaiting(t *testing.T) {
	k := pushing(t)
	k.create(pushGroup, v1alpha1.PushSecretKind, "app", "spec: {secretStoreRefs: [{name: backend}, {name: later}], "+fromDB+", "+toApp+"}")
	k.awaitPushed("app", v1alpha1.ReasonErrored, `spec.secretStoreRefs[1]`)
	k.awaitHeld(map[string]string{"app": "hunter2"})
	k.store("later", `{vault: {server: "https://backend.test", path: later}}`)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.awaitHeld(map[string]string{"later/app": "hunter2"})
}

func TestAnUnchangedRefreshWritesNothing(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+", "+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	reads, writes := k.backend.reads["app"], k.backend.writes()
	k.clock.jump(time.Hour)
	k.edit(&corev1.Secret{}, "db", `{metadata: {labels: {a: b}}}`)
	k.await("backend", func() string {
		k.backend.mu.Lock()
		defer k.backend.mu.Unlock()
		if k.backend.reads["app"] == reads {
			return "is not read again"
		}
		return ""
	})
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.backend.mu.Lock()
	defer k.backend.mu.Unlock()
	if got := k.backend.reads["app"] - reads; got != 1 {
		t.Errorf("%d reads", got)
	}
	if k.backend.versions["app"] != writes {
		t.Error("it was written again")
	}
}

func TestIfNotExistsKeepsWhatIsThere(t *testing.T) {
	k := pushing(t)
	k.backend.set("app", "theirs")
	k.pushSecret("app", fromDB+`, updatePolicy: IfNotExists, deletionPolicy: Delete, data: [{match: {secretKey: user, remoteRef: {remoteKey: app}}}, {match: {secretKey: user, remoteRef: {remoteKey: new}}}]`)
	ps := k.awaitPushed("app", v1alpha1.ReasonSynced, "Existing secrets in providers unchanged.")
	k.awaitHeld(map[string]string{"app": "theirs", "new": "ada"})
	if got := len(ps.Status.SyncedPushSecrets["SecretStore/backend"]); got != 1 {
		t.Errorf("the status claims %d places", got)
	}
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": "theirs", "new": ""})
}

func TestDeletionRemovesWhatWasPushed(t *testing.T) {
	k := pushing(t)
	k.backend.set("shared", `{"theirs":"1"}`)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, data: [{match: {secretKey: user, remoteRef: {remoteKey: app}}}, {match: {secretKey: user, remoteRef: {remoteKey: shared, property: ours}}}]`)
	k.pushSecret("keeps", fromDB+`, data: [{match: {secretKey: user, remoteRef: {remoteKey: kept}}}]`)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.awaitPushed("keeps", v1alpha1.ReasonSynced, "")
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.delete(&v1alpha1.PushSecret{}, "keeps")
	k.awaitGone("app")
	k.awaitGone("keeps")
	k.awaitHeld(map[string]string{"app": "", "shared": `{"theirs":"1"}`, "kept": "ada"})
}

func TestWhatIsNotWantedAnyMoreIsRemoved(t *testing.T) {
	k := pushing(t)
	k.store("other", `{vault: {server: "https://backend.test", path: other}}`)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {data: [{match: {secretKey: user, remoteRef: {remoteKey: renamed}}}]}}`)
	k.awaitHeld(map[string]string{"app": "", "renamed": "ada"})
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.backend.fail("other/renamed", secret.Denied)
	k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {secretStoreRefs: [{name: other}]}}`)
	k.awaitPushed("app", v1alpha1.ReasonErrored, "Denied")
	k.awaitHeld(map[string]string{"renamed": "ada"})
	k.backend.fail("other/renamed", "")
	k.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {annotations: {external-secrets.io/force-sync: "1"}}}`)
	k.awaitHeld(map[string]string{"renamed": "", "other/renamed": "ada"})
	ps := k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	if _, still := ps.Status.SyncedPushSecrets["SecretStore/backend"]; still {
		t.Errorf("status still has the old store: %v", raw(ps.Status.SyncedPushSecrets))
	}
}

func TestASourceThatIsDeletedTakesWhatWasPushedWithIt(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.delete(&corev1.Secret{}, "db")
	k.awaitPushed("app", v1alpha1.ReasonSourceDeleted, "")
	k.awaitHeld(map[string]string{"app": ""})
	k.secret("db", map[string]string{"password": "again"})
	k.awaitHeld(map[string]string{"app": "again"})
}

func TestSeveralSecretsAreOnePush(t *testing.T) {
	k := pushing(t)
	for _, name := range []string{"one", "two"} {
		k.secret(name, map[string]string{name: name})
		k.edit(&corev1.Secret{}, name, `{metadata: {labels: {push: me}}}`)
	}
	k.pushSecret("app", `deletionPolicy: Delete, selector: {secret: {selector: {matchLabels: {push: me}}}}, dataTo: [{storeRef: {name: backend}}]`)
	k.awaitHeld(map[string]string{"one": "one", "two": "two"})
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.secret("three", map[string]string{"three": "three"})
	k.edit(&corev1.Secret{}, "three", `{metadata: {labels: {push: me}}}`)
	k.delete(&corev1.Secret{}, "one")
	k.awaitHeld(map[string]string{"one": "", "two": "two", "three": "three"})
	k.edit(&corev1.Secret{}, "three", `{stringData: {two: conflict}}`)
	k.awaitPushed("app", v1alpha1.ReasonErrored, `Secret "three" and Secret "two" both give`)
	k.awaitHeld(map[string]string{"two": "two"})
}

func TestNothingIsDeletedWhileTheStoreFails(t *testing.T) {
	for _, kind := range []secret.Kind{secret.Unauthenticated, secret.Unavailable, secret.Denied} {
		t.Run(string(kind), func(t *testing.T) {
			k := pushing(t)
			k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
			k.awaitPushed("app", v1alpha1.ReasonSynced, "")
			k.backend.fail("", kind)
			k.delete(&v1alpha1.PushSecret{}, "app")
			k.awaitPushed("app", v1alpha1.ReasonErrored, string(kind))
			k.awaitHeld(map[string]string{"app": "hunter2"})
			k.backend.fail("", "")
			k.clock.jump(20 * time.Minute)
			k.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {labels: {look: again}}}`)
			k.awaitGone("app")
			k.awaitHeld(map[string]string{"app": ""})
		})
	}
}

func TestAStoreIsKeptWhileItHoldsWhatMustBeDeleted(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.await("SecretStore backend", func() string {
		s := &esv1.SecretStore{}
		k.get(s, "backend")
		if len(s.Finalizers) != 1 {
			return fmt.Sprintf("finalizers %v", s.Finalizers)
		}
		return ""
	})
	k.delete(&esv1.SecretStore{}, "backend")
	k.await("event", func() string {
		if all := k.events(esv1.SecretStoreKind, "backend"); !strings.Contains(strings.Join(all, "\n"), "PushSecret "+k.ns+"/app") {
			return fmt.Sprintf("none says what the store waits for: %q", all)
		}
		return ""
	})
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": ""})
	k.await("SecretStore backend", func() string {
		if k.get(&esv1.SecretStore{}, "backend") {
			return "is still there"
		}
		return ""
	})
}

func TestAStoreThatIsGoneBlocksDeletionUntilToldOtherwise(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.await("finalizer", func() string {
		s := &esv1.SecretStore{}
		if k.get(s, "backend"); len(s.Finalizers) == 0 {
			return "is not there yet"
		}
		return ""
	})
	k.delete(&esv1.SecretStore{}, "backend")
	k.edit(&esv1.SecretStore{}, "backend", `{metadata: {finalizers: null}}`)
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitPushed("app", v1alpha1.ReasonErrored, v1alpha1.AnnotationForgetStores)
	k.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {annotations: {`+v1alpha1.AnnotationForgetStores+`: "true"}}}`)
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": "hunter2"})
}

func TestTwoThatPushToOneKeyDoNotFight(t *testing.T) {
	k := pushing(t)
	k.pushSecret("first", fromDB+", "+toApp)
	k.awaitPushed("first", v1alpha1.ReasonSynced, "")
	k.pushSecret("second", fromDB+`, data: [{match: {secretKey: user, remoteRef: {remoteKey: app}}}]`)
	k.awaitPushed("second", v1alpha1.ReasonErrored, "PushSecret "+k.ns+"/first")
	for range 3 {
		k.clock.jump(time.Hour)
		k.edit(&v1alpha1.PushSecret{}, "first", `{metadata: {annotations: {external-secrets.io/force-sync: "`+fmt.Sprint(k.forced.Add(1))+`"}}}`)
		k.edit(&v1alpha1.PushSecret{}, "second", `{metadata: {annotations: {external-secrets.io/force-sync: "`+fmt.Sprint(k.forced.Add(1))+`"}}}`)
		k.awaitPushed("first", v1alpha1.ReasonSynced, "")
		k.awaitPushed("second", v1alpha1.ReasonErrored, "PushSecret "+k.ns+"/first")
	}
	if got := k.backend.versionsOf("app"); got != 1 {
		t.Errorf("the key was written %d times", got)
	}
	k.delete(&v1alpha1.PushSecret{}, "first")
	k.awaitHeld(map[string]string{"app": "ada"})
	k.awaitPushed("second", v1alpha1.ReasonSynced, "")
}

func TestAPushSecretDoesNotFeedTheExternalSecretThatFeedsIt(t *testing.T) {
	k := pushing(t)
	k.backend.set("loop", "a")
	k.externalSecret("loop", `{secretStoreRef: {name: backend}, target: {template: {data: {v: "{{ .v }}+"}}}, data: [{secretKey: v, remoteRef: {key: loop}}]}`)
	k.awaitData("loop", map[string]string{"v": "a+"})
	k.pushSecret("loop", `selector: {secret: {name: loop}}, data: [{match: {secretKey: v, remoteRef: {remoteKey: loop}}}]`)
	k.awaitPushed("loop", v1alpha1.ReasonErrored, `ExternalSecret "loop"`)
	k.force("loop")
	k.awaitData("loop", map[string]string{"v": "a+"})
	if got := k.backend.versionsOf("loop"); got != 0 {
		t.Errorf("the key was written %d times", got)
	}
}

func TestWhatSomebodyElseWroteIsReplacedAndReported(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+", "+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.backend.set("app", "edited by hand")
	k.clock.jump(time.Hour)
	k.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {finalizers: [keyferry.test/knock]}}`)
	k.edit(&esv1.SecretStore{}, "backend", `{metadata: {labels: {a: b}}}`)
	k.awaitHeld(map[string]string{"app": "hunter2"})
	k.awaitPushed("app", v1alpha1.ReasonSynced, "replaced what somebody else had written to app")
	if got := k.backend.versionsOf("app"); got != 2 {
		t.Errorf("the key was written %d times", got)
	}
}
