package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
)

// legacy is an ExternalSecret as ESO leaves it: its finalizer, its status, and the
// Secret that it made.
func (k *kit) legacy(name, more string, data held) *corev1.Secret {
	k.Helper()
	k.create(group, esv1.ExtSecretKind, name, `metadata: {finalizers: [externalsecrets.external-secrets.io/externalsecret-cleanup], labels: {team: a}}
spec: `+oneKey(more))
	es := &esv1.ExternalSecret{}
	k.get(es, name)
	status := fmt.Sprintf(`{"status": {"refreshTime": "2026-01-02T03:04:05Z", "syncedResourceVersion": "1-0123456789abcdef0123456789abcdef0123456789abcdef01234567",
 "binding": {"name": %q}, "conditions": [{"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "secret synced", "lastTransitionTime": "2026-01-02T03:04:05Z"}]}}`, name)
	if err := k.api.Status().Patch(k.Context(), es, client.RawPatch(types.MergePatchType, []byte(status)), client.FieldOwner("external-secrets")); err != nil {
		k.Fatal(err)
	}
	owner := client.FieldOwner(plan.FieldOwner(name))
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: k.ns, Name: name,
			Labels:          map[string]string{"team": "a", esv1.LabelManaged: "true", esv1.LabelOwner: plan.OwnerLabel(k.ns, name)},
			Annotations:     map[string]string{esv1.AnnotationDataHash: "0123456789abcdef"},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(es, esv1.GroupVersion().WithKind(esv1.ExtSecretKind))},
		},
		Type: corev1.SecretTypeOpaque, StringData: map[string]string{"stale": "s"},
	}
	if err := k.api.Create(k.Context(), s, owner); err != nil {
		k.Fatal(err)
	}
	s.Data = map[string][]byte{}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	if err := k.api.Update(k.Context(), s, owner); err != nil {
		k.Fatal(err)
	}
	return s
}

func TestAdoption(t *testing.T) {
	for name, app := range map[string]string{
		"of a short name":                    "app",
		"of a name of more than 28 letters":  strings.Repeat("a", 40),
		"of a name of more than 63 letters":  strings.Repeat("b", 100),
		"of a name of the greatest length":   strings.Repeat("c", 253),
		"of a name at the limit of managers": strings.Repeat("d", 28),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			k.backend.set("db", "1")
			k.store("main", steered)
			before := k.legacy(app, "", held{"p": "1"})
			k.run()
			es := k.awaitSynced(app)
			after := k.awaitData(app, held{"p": "1"})
			if diff := cmp.Diff(before.ObjectMeta, after.ObjectMeta); diff != "" {
				t.Errorf("the Secret was written:\n%s", diff)
			}
			if diff := cmp.Diff([]string{esv1.ExternalSecretFinalizer}, es.Finalizers); diff != "" {
				t.Errorf("finalizers:\n%s", diff)
			}
			if got := k.events(esv1.ExtSecretKind, app); len(got) != 0 {
				t.Errorf("adoption left events: %q", got)
			}

			// From here on it is as if it had been ours: what ESO wrote is replaced.
			k.backend.set("db", "2")
			k.edit(&esv1.ExternalSecret{}, app, `{metadata: {labels: {team: null}, annotations: {external-secrets.io/force-sync: x}}}`)
			after = k.awaitData(app, held{"p": "2"})
			_, hash := after.Annotations[esv1.AnnotationDataHash]
			if _, team := after.Labels["team"]; after.UID != before.UID || team || hash {
				t.Errorf("UID %s, labels %v, annotations %v", after.UID, after.Labels, after.Annotations)
			}

			k.delete(&esv1.ExternalSecret{}, app)
			k.await("the finalizer is released", func() string {
				if es := (&esv1.ExternalSecret{}); k.get(es, app) {
					return raw(es.Finalizers)
				}
				return ""
			})
			k.awaitData(app, nil)
		})
	}
}

func TestAdoptionUnderMergeTakesBackTheKeysThatESOWrote(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.backend.set("db", "1")
	k.store("main", steered)
	s := k.legacy("app", `, target: {creationPolicy: Merge}`, held{"p": "1", "gone": "g"})
	s.OwnerReferences, s.StringData = nil, map[string]string{"theirs": "t"}
	delete(s.Labels, esv1.LabelOwner)
	if err := k.api.Update(t.Context(), s, client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	k.run()
	k.awaitData("app", held{"p": "1", "theirs": "t"})
	k.awaitSynced("app")
}

func TestFinalizerOfESOIsReleasedAndThoseOfOthersAreNot(t *testing.T) {
	k := withDB(t, "1")
	k.create(group, esv1.ExtSecretKind, "app", `metadata: {finalizers: [example.com/theirs, externalsecrets.external-secrets.io/externalsecret-cleanup]}
spec: `+oneKey(`, target: {creationPolicy: Orphan}`))
	k.awaitSynced("app")
	k.delete(&esv1.ExternalSecret{}, "app")
	k.await("one finalizer is left", func() string {
		es := &esv1.ExternalSecret{}
		if k.get(es, "app"); !cmp.Equal(es.Finalizers, []string{"example.com/theirs"}) {
			return raw(es.Finalizers)
		}
		return ""
	})
	k.edit(&esv1.ExternalSecret{}, "app", `{metadata: {finalizers: null}}`)
	k.awaitData("app", held{"p": "1"})
}

func TestRestartWritesNothing(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.backend.set("db", "1")
	k.store("main", steered)
	k.externalSecret("app", oneKey(`, target: {template: {templateFrom: [{literal: "x: \"{{ .p }}\""}]}}`))
	stop := k.run(oneByOne)
	es := k.awaitSynced("app")
	s := k.awaitData("app", held{"x": "1"})
	stop()
	k.run(oneByOne)
	k.externalSecret("witness", oneKey(""))
	k.awaitSynced("witness")
	k.knock("app")
	k.force("witness")
	if got := k.passes(); got != 0 {
		t.Errorf("synced %d times although it was not due", got)
	}
	if got := k.backend.dbReads(); got > 3 {
		t.Errorf("%d reads", got)
	}
	// What happened meanwhile is seen.
	now, secretNow := &esv1.ExternalSecret{}, &corev1.Secret{}
	k.get(now, "app")
	k.get(secretNow, "app")
	if !cmp.Equal(now.Status, es.Status) || secretNow.ResourceVersion != s.ResourceVersion {
		t.Error("a restart wrote")
	}
}

func TestDriftWhileNobodyRanIsRepairedAtTheStart(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.backend.set("db", "1")
	k.store("main", steered)
	for _, name := range []string{"edited", "deleted", "orphaning"} {
		k.externalSecret(name, oneKey(""))
	}
	stop := k.run()
	for _, name := range []string{"edited", "deleted", "orphaning"} {
		k.awaitSynced(name)
	}
	stop()
	k.edit(&corev1.Secret{}, "edited", `{stringData: {p: other}}`)
	k.delete(&corev1.Secret{}, "deleted")
	k.edit(&esv1.ExternalSecret{}, "orphaning", `{spec: {target: {name: elsewhere}}}`)
	k.run()
	k.awaitData("edited", held{"p": "1"})
	k.awaitData("deleted", held{"p": "1"})
	k.awaitData("elsewhere", held{"p": "1"})
	k.awaitData("orphaning", nil)
}
