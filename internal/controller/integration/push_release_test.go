package integration

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/secret"
)

// endNamespace deletes the namespace of the test and waits until nothing of it is left.
func (k *kit) endNamespace(meanwhile func()) {
	k.Helper()
	if err := k.api.Delete(k.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: k.ns}}); err != nil {
		k.Fatal(err)
	}
	meanwhile()
	k.await("namespace", func() string {
		ns := &corev1.Namespace{}
		if err := k.api.Get(k.Context(), client.ObjectKey{Name: k.ns}, ns); err != nil {
			return ""
		}
		ps := &v1alpha1.PushSecret{}
		k.get(ps, "app")
		return fmt.Sprintf("%v; PushSecret: %s", ns.Status.Conditions, pushReady(ps).Message)
	})
}

func TestANamespaceThatEndsIsNotHeldUp(t *testing.T) {
	const spec = fromDB + `, deletionPolicy: Delete, ` + toApp
	cases := map[string]struct {
		store string
		// meanwhile is what happens to the backend while the namespace ends.
		meanwhile func(k *kit)
	}{
		"with its store": {steered, func(*kit) {}},
		"with the credential of its store": {
			`{vault: {server: "https://backend.test", auth: {tokenSecretRef: {name: token, key: token}}}}`,
			func(k *kit) { k.backend.accept("another") },
		},
		"with its backend": {steered, func(k *kit) {
			k.backend.fail("", secret.Unavailable)
			k.await("PushSecret app", func() string {
				ps := &v1alpha1.PushSecret{}
				if k.get(ps, "app"); ps.DeletionTimestamp == nil || pushReady(ps).Reason != v1alpha1.ReasonErrored {
					return "has not noticed: " + pushReady(ps).Message
				}
				return ""
			})
			k.clock.jump(patienceForTests)
			k.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {labels: {look: again}}}`)
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k := start(t)
			k.secret("token", map[string]string{"token": "t"})
			k.secret("db", map[string]string{"user": "ada", "password": "hunter2"})
			k.backend.accept("")
			k.store("backend", c.store)
			k.pushSecret("app", spec)
			k.awaitPushed("app", v1alpha1.ReasonSynced, "")
			k.endNamespace(func() { c.meanwhile(k) })
		})
	}
}

// patienceForTests is more than a namespace that ends waits for a store of its own.
const patienceForTests = time.Hour

// TestANamespaceThatEndsTakesItsServiceAccountWithIt has a store that logs in as a
// service account of the namespace: no token is issued there any more.
func TestANamespaceThatEndsTakesItsServiceAccountWithIt(t *testing.T) {
	k := start(t)
	k.secret("db", map[string]string{"user": "ada", "password": "hunter2"})
	if err := k.api.Create(k.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: k.ns, Name: "pusher"}}); err != nil {
		t.Fatal(err)
	}
	rights := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: k.ns}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: k.ns, Name: "pusher"}},
	}
	if err := k.rbac().Create(k.Context(), rights); err != nil {
		t.Fatal(err)
	}
	k.store("backend", fmt.Sprintf(`{kubernetes: {remoteNamespace: default, server: {url: %q, caBundle: %s}, auth: {serviceAccount: {name: pusher}}}}`, k.config.Host, base64.StdEncoding.EncodeToString(k.config.CAData)))
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, data: [{match: {secretKey: user, remoteRef: {remoteKey: `+k.ns+`, property: user}}}]`)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.endNamespace(func() {})
}

func TestAChangeOfMindKeepsWhatWasPushed(t *testing.T) {
	k := newKit(t)
	k.store("backend", steered)
	k.secret("db", map[string]string{"password": "hunter2"})
	stop := k.run()
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	stop()
	k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {deletionPolicy: None}}`)
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.run()
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": "hunter2"})
}

func TestThePolicyCountsThatIsThereAtTheEnd(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	for _, policy := range []string{"Delete", "None", "Delete"} {
		k.edit(&v1alpha1.PushSecret{}, "app", `{spec: {deletionPolicy: `+policy+`}}`)
		ps := k.awaitPushed("app", v1alpha1.ReasonSynced, "")
		if got := len(ps.Finalizers); (got == 1) != (policy == "Delete") {
			t.Errorf("%s: finalizers %v", policy, ps.Finalizers)
		}
	}
	if got := k.backend.versionsOf("app"); got != 1 {
		t.Errorf("it was written %d times", got)
	}
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": ""})
}

func TestAStoreThatIsBrokenKeepsWhatIsToBeDeletedThere(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.edit(&esv1.SecretStore{}, "backend", `{spec: {provider: {vault: {server: "http://wrong.test"}}}}`)
	k.awaitPushed("app", v1alpha1.ReasonErrored, "Invalid")
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.await("PushSecret app", func() string {
		ps := &v1alpha1.PushSecret{}
		if !k.get(ps, "app") {
			t.Fatal("it is gone, and what it pushed is not")
		}
		if msg := pushReady(ps).Message; ps.DeletionTimestamp == nil || !strings.Contains(msg, "is not deleted yet") {
			return msg
		}
		return ""
	})
	k.edit(&esv1.SecretStore{}, "backend", `{spec: {provider: {vault: {server: "https://backend.test"}}}}`)
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": ""})
}

func TestAClusterStoreThatAdmitsNoMoreIsNotUsedToDelete(t *testing.T) {
	k := start(t)
	k.secret("db", map[string]string{"password": "hunter2"})
	css := k.clusterStore(steered, `, conditions: [{namespaces: [`+k.ns+`]}]`)
	k.create(pushGroup, v1alpha1.PushSecretKind, "app", `spec: {secretStoreRefs: [{kind: ClusterSecretStore, name: `+css+`}], `+fromDB+`, deletionPolicy: Delete, `+toApp+`}`)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.edit(&esv1.ClusterSecretStore{}, css, `{spec: {conditions: [{namespaces: [another]}]}}`)
	k.awaitPushed("app", v1alpha1.ReasonErrored, "denied by spec.condition")
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitPushed("app", v1alpha1.ReasonErrored, v1alpha1.AnnotationForgetStores)
	k.awaitHeld(map[string]string{"app": "hunter2"})
	k.edit(&esv1.ClusterSecretStore{}, css, `{spec: {conditions: [{namespaces: [`+k.ns+`]}]}}`)
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": ""})
}

func TestAPushSecretOfAnotherControllerIsLeftAlone(t *testing.T) {
	k := pushing(t)
	k.create(group, esv1.SecretStoreKind, "theirs", `spec: {controller: another, provider: `+steered+`}`)
	k.create(pushGroup, v1alpha1.PushSecretKind, "app", `{metadata: {finalizers: [`+v1alpha1.PushSecretFinalizer+`]}, spec: {secretStoreRefs: [{name: theirs}], `+fromDB+`, deletionPolicy: Delete, `+toApp+`}}`)
	k.backend.set("app", "theirs")
	k.pushed("app", `{refreshTime: "2026-01-02T03:04:05Z", syncedResourceVersion: 1-abc, syncedPushSecrets: {SecretStore/theirs: {app: {match: {secretKey: password, remoteRef: {remoteKey: app}}}}}}`)
	k.settle()
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.settle()
	ps := &v1alpha1.PushSecret{}
	if !k.get(ps, "app") || len(ps.Finalizers) != 1 || len(ps.Status.Conditions) > 0 {
		t.Errorf("it was touched: %v, %v", ps.Finalizers, ps.Status.Conditions)
	}
	if ps.Status.SyncedResourceVersion != "1-abc" {
		t.Errorf("its status was touched: %s", raw(ps.Status))
	}
	k.awaitHeld(map[string]string{"app": "theirs"})
	k.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {finalizers: null}}`)
}

func TestAStoreThatIsReplacedIsPushedToAgain(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.edit(&esv1.SecretStore{}, "backend", `{spec: {provider: {vault: {server: "https://backend.test", path: moved}}}}`)
	k.awaitHeld(map[string]string{"moved/app": "hunter2", "app": "hunter2"})
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.delete(&esv1.SecretStore{}, "backend")
	k.edit(&esv1.SecretStore{}, "backend", `{metadata: {finalizers: null}}`)
	k.awaitPushed("app", v1alpha1.ReasonErrored, `spec.secretStoreRefs[0]: SecretStore "backend" does not exist`)
	k.store("backend", `{vault: {server: "https://backend.test", path: again}}`)
	k.awaitHeld(map[string]string{"again/app": "hunter2"})
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"again/app": "", "moved/app": "hunter2"})
}

func TestWhatIsNotOursAnyMoreIsLeftThere(t *testing.T) {
	k := pushing(t)
	k.pushSecret("app", fromDB+`, deletionPolicy: Delete, `+toApp)
	k.awaitPushed("app", v1alpha1.ReasonSynced, "")
	k.backend.give("app", "theirs")
	k.delete(&v1alpha1.PushSecret{}, "app")
	k.awaitGone("app")
	k.awaitHeld(map[string]string{"app": "theirs"})
	k.await("events", func() string {
		for _, e := range k.events(v1alpha1.PushSecretKind, "app") {
			if strings.Contains(e, "app that was pushed there is left there") {
				return ""
			}
		}
		return fmt.Sprintf("%q", k.events(v1alpha1.PushSecretKind, "app"))
	})
}
