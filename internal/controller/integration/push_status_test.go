package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/secret"
)

// remembered returns what the status says of a place at SecretStore backend.
func remembered(ps *v1alpha1.PushSecret, id string) string {
	return raw(ps.Status.SyncedPushSecrets["SecretStore/backend"][id])
}

func TestTheStatusHasTheMetadataThatIsThereNow(t *testing.T) {
	k := pushing(t)
	entry := func(more string) string {
		return `data: [{match: {secretKey: password, remoteRef: {remoteKey: app}}` + more + `}]`
	}
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+entry(`, metadata: {spec: {tags: {a: b}, note: x}}`))
	for _, c := range []struct{ more, want string }{
		{`, metadata: {spec: {tags: {a: b}, note: x}}`, `"metadata":{"spec":{"note":"x","tags":{"a":"b"}}}`},
		{`, metadata: {spec: {tags: {c: null, d: e}}}`, `"metadata":{"spec":{"tags":{"c":null,"d":"e"}}}`},
		{`, metadata: null, conversionStrategy: ReverseUnicode`, `"conversionStrategy":"ReverseUnicode"`},
		{``, `"conversionStrategy":"None"`},
	} {
		next := k.object(pushGroup, v1alpha1.PushSecretKind, "app", `spec: {secretStoreRefs: [{name: backend}], `+fromDB+`, deletionPolicy: Delete, `+entry(c.more)+`}`)
		k.retry(func() error {
			ps := &v1alpha1.PushSecret{}
			k.get(ps, "app")
			next.SetResourceVersion(ps.ResourceVersion)
			next.SetFinalizers(ps.Finalizers)
			return k.api.Update(k.Context(), next)
		})
		k.await("status", func() string {
			ps := k.awaitPushed("app", v1alpha1.ReasonSynced, "")
			got := remembered(ps, "app")
			if !strings.Contains(got, c.want) || strings.Contains(got, "metadata") != strings.Contains(c.want, "metadata") {
				return fmt.Sprintf("%s has no %s", got, c.want)
			}
			return ""
		})
	}
	if got := k.backend.versionsOf("app"); got != 1 {
		t.Errorf("it was written %d times", got)
	}
}

func TestKeysMayHaveAnyName(t *testing.T) {
	k := pushing(t)
	keys := []string{"a/b", "a~1b~0", strings.Repeat("long/", 60), "ключ", "with space", `quo"te`, "dot.ted"}
	var data []string
	want := map[string]string{}
	for _, key := range keys {
		data = append(data, fmt.Sprintf(`{match: {secretKey: user, remoteRef: {remoteKey: %q}}}`, key))
		want[key] = "ada"
	}
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, data: [`+strings.Join(data, ", ")+`]`)
	k.awaitHeld(want)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {data: [`+data[0]+`]}}`)
	for _, key := range keys[1:] {
		want[key] = ""
	}
	k.awaitHeld(want)
	if diff := cmp.Diff([]string{"a/b"}, ids(k.awaitPushed("app", v1alpha1.ReasonSynced, ""))); diff != "" {
		t.Error(diff)
	}
}

func TestWhatFailedBeforeARestartIsTriedAfterIt(t *testing.T) {
	k := newKit(t)
	k.create(group, esv1.SecretStoreKind, "backend", `{metadata: {labels: {push: here}}, spec: {provider: `+steered+`}}`)
	k.secret("db", map[string]string{"password": "hunter2"})
	stop := k.run()
	k.create(pushGroup, v1alpha1.PushSecretKind, "app", `spec: {secretStoreRefs: [{labelSelector: {matchLabels: {push: here}}}], `+fromDB+`, `+toApp+`}`)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.edit(&esv1.SecretStore{}, "backend", `{metadata: {labels: {push: null}}}`)
	k.awaitPushed("app", v1alpha1.ReasonErrored, "matches no SecretStore")
	stop()
	k.edit(&esv1.SecretStore{}, "backend", `{metadata: {labels: {push: here}}}`)
	k.run()
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
}

func TestARestartDoesNotRepeatWhatIsNotDue(t *testing.T) {
	k := newKit(t)
	k.store("backend", steered)
	k.secret("db", map[string]string{"password": "hunter2", "user": "ada"})
	stop := k.run()
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	stop()
	reads := k.backend.appReads()
	k.run()
	k.settle()
	if got := k.backend.appReads() - reads; got != 0 {
		t.Errorf("%d reads", got)
	}
	if got := k.statusPatches(); got != 5 { // of those that settle
		t.Errorf("%d patches of a status", got)
	}
}

func TestASourceThatIsDeletedStaysSo(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.delete(&corev1.Secret{}, "db")
	first := pushReady(k.awaitPushed("app", v1alpha1.ReasonSourceDeleted, "")).Message
	for range 3 {
		patches := k.statusPatches()
		k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {refreshInterval: `+fmt.Sprint(k.forced.Add(1))+`h}}`)
		k.await("pass", func() string {
			if k.statusPatches() == patches {
				return "was not made"
			}
			return ""
		})
		if got := pushReady(k.awaitPushed("app", v1alpha1.ReasonSourceDeleted, "")).Message; got != first {
			t.Errorf("says %q after %q", got, first)
		}
	}
}

// TestAStatusOfESOIsTakenOver has what External Secrets Operator left: the finalizer, and
// a status without what only this controller writes.
func TestAStatusOfESOIsTakenOver(t *testing.T) {
	k := newKit(t)
	k.store("backend", steered)
	k.secret("db", map[string]string{"password": "hunter2", "user": "ada"})
	k.backend.set("app", "hunter2")
	k.backend.set("old", "ada")
	k.backend.set("shared", `{"user":"ada","gone":"1","theirs":"2"}`)
	k.create(pushGroup, v1alpha1.PushSecretKind, "app", `{metadata: {finalizers: [`+v1alpha1.PushSecretFinalizer+`]}, spec: {secretStoreRefs: [{name: backend}], `+fromDB+`, deletionPolicy: Delete,
data: [{match: {secretKey: password, remoteRef: {remoteKey: app}}}, {match: {secretKey: user, remoteRef: {remoteKey: shared, property: user}}}]}}`)
	k.pushed("app", `{refreshTime: "`+time.Now().UTC().Format(time.RFC3339)+`", syncedResourceVersion: 1-0123456789abcdef, conditions: [{type: Ready, status: "True", reason: Synced, message: PushSecret synced successfully, lastTransitionTime: "2026-01-02T03:04:05Z"}],
syncedPushSecrets: {SecretStore/backend: {app: {conversionStrategy: None, match: {secretKey: password, remoteRef: {remoteKey: app}}}, old: {conversionStrategy: None, match: {secretKey: user, remoteRef: {remoteKey: old}}},
shared/user: {match: {secretKey: user, remoteRef: {remoteKey: shared, property: user}}}, shared/gone: {match: {secretKey: user, remoteRef: {remoteKey: shared, property: gone}}}}}}`)
	k.run()
	k.awaitHeld(map[string]string{"app": "hunter2", "old": "", "shared": `{"theirs":"2","user":"ada"}`})
	ps := k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	if diff := cmp.Diff([]string{"app", "shared/user"}, ids(ps)); diff != "" {
		t.Error(diff)
	}
	if got := k.backend.versionsOf("app"); got != 0 {
		t.Errorf("what was there was written %d times", got)
	}
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": "", "shared": `{"theirs":"2"}`})
}

func TestSourcesOfAllShapes(t *testing.T) {
	k := pushing(t)
	immutable := true
	for name, s := range map[string]*corev1.Secret{
		"empty":     {},
		"immutable": {Immutable: &immutable, StringData: map[string]string{"a": "b"}},
		"binary":    {Data: map[string][]byte{"raw": {0xff, 0x00, 0xfe}, "text": []byte("t")}},
	} {
		s.ObjectMeta = metav1.ObjectMeta{Namespace: k.ns, Name: name}
		if err := k.api.Create(k.Context(), s); err != nil {
			t.Fatal(err)
		}
		k.pushSecret(name, `selector: {secret: {name: `+name+`}}, data: [{match: {remoteRef: {remoteKey: `+name+`}}}]`)
	}
	k.pushSecret("bytes", `selector: {secret: {name: binary}}, data: [{match: {secretKey: raw, remoteRef: {remoteKey: bytes}}}]`)
	k.awaitPushed("empty", v1alpha1.ReasonSynced, "")
	k.awaitPushed("immutable", v1alpha1.ReasonSynced, "")
	k.awaitPushed("bytes", v1alpha1.ReasonSynced, "")
	k.awaitPushed("binary", v1alpha1.ReasonErrored, "Invalid")
	k.awaitHeld(map[string]string{"empty": "{}", "immutable": `{"a":"b"}`, "binary": "", "bytes": "\xff\x00\xfe"})
}

func TestATemplateThatFailsIsReported(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, template: {data: {url: "{{ .absent | fail }}"}}, data: [{match: {secretKey: url, remoteRef: {remoteKey: app}}}]`)
	k.awaitPushed("app", v1alpha1.ReasonErrored, "spec.template.data[url]")
}

func TestATemplateMayRenameAndFollowsItsConfigMap(t *testing.T) {
	k := pushing(t)
	k.configMap("texts", map[string]string{"t": "{{ .user }}-one"})
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, template: {templateFrom: [{configMap: {name: texts, items: [{key: t}]}}]}, dataTo: [{storeRef: {name: backend}, match: {regexp: "^t$"}}]`)
	k.awaitHeld(map[string]string{"t": "ada-one"})
	k.edit(&corev1.ConfigMap{}, "texts", `{data: {t: "{{ .user }}-two"}}`)
	k.awaitHeld(map[string]string{"t": "ada-two"})
	k.delete(&corev1.ConfigMap{}, "texts")
	k.awaitPushed("app", v1alpha1.ReasonErrored, "spec.template.templateFrom[0].configMap")
	k.awaitHeld(map[string]string{"t": "ada-two"})
	k.configMap("texts", map[string]string{"t": "three"})
	k.awaitHeld(map[string]string{"t": "three"})
}

func TestWithoutAnIntervalAChangeIsStillPushed(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", `refreshInterval: "0", `+fromDB+`, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	reads := k.backend.appReads()
	k.clock.jump(100 * time.Hour)
	k.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {finalizers: [keyferry.test/knock]}}`)
	k.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {finalizers: null}}`)
	k.settle()
	if got := k.backend.appReads() - reads; got != 0 {
		t.Errorf("%d reads", got)
	}
	k.edit(&corev1.Secret{}, "db", `{stringData: {password: hunter3}}`)
	k.awaitHeld(map[string]string{"app": "hunter3"})
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.backend.fail("app", secret.Denied)
	k.edit(&corev1.Secret{}, "db", `{stringData: {password: hunter4}}`)
	k.awaitPushed("app", v1alpha1.ReasonErrored, "Denied")
}

func TestTheUpdatePolicyCountsThatIsThereNow(t *testing.T) {
	k := pushing(t)
	k.backend.set("shared", `{"user":"theirs"}`)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, updatePolicy: IfNotExists, data: [{match: {secretKey: user, remoteRef: {remoteKey: shared, property: user}}}, {match: {secretKey: password, remoteRef: {remoteKey: shared, property: password}}}]`)
	k.awaitHeld(map[string]string{"shared": `{"password":"hunter2","user":"theirs"}`})
	if diff := cmp.Diff([]string{"shared/password"}, ids(k.awaitPushed("app", v1alpha1.ReasonSynced, "unchanged"))); diff != "" {
		t.Error(diff)
	}
	k.edit(&corev1.Secret{}, "db", `{stringData: {password: hunter3}}`)
	k.settle()
	k.awaitHeld(map[string]string{"shared": `{"password":"hunter2","user":"theirs"}`})
	k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {updatePolicy: Replace}}`)
	k.awaitHeld(map[string]string{"shared": `{"password":"hunter3","user":"ada"}`})
	if diff := cmp.Diff([]string{"shared/password", "shared/user"}, ids(k.awaitPushed("app", v1alpha1.ReasonSynced, ""))); diff != "" {
		t.Error(diff)
	}
}

func TestSomebodyElsesChangeOfTheObjectIsNoFailure(t *testing.T) {
	k := pushing(t)
	for i := range 10 {
		name := fmt.Sprint("app-", i)
		k.pushSecret(name, fromDB+`, deletionPolicy: Delete, data: [{match: {secretKey: user, remoteRef: {remoteKey: `+name+`}}}]`)
		for j := range 5 {
			k.edit(&v1alpha1.PushSecret{}, name, fmt.Sprintf(`{metadata: {labels: {l: v%d}}}`, j))
		}
		k.awaitPushed(name, v1alpha1.ReasonSynced, "")
		for _, e := range k.events(v1alpha1.PushSecretKind, name) {
			if strings.HasPrefix(e, corev1.EventTypeWarning) {
				t.Errorf("%s: %s", name, e)
			}
		}
	}
}
