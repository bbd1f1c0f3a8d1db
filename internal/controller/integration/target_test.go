package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// oneKey reads key db into key p; more is for the rest of the spec.
func oneKey(more string) string {
	return `{secretStoreRef: {name: main}, data: [{secretKey: p, remoteRef: {key: db}}]` + more + `}`
}

// withDB is a kit that has the store main, with key db.
func withDB(t *testing.T, value string) *kit {
	t.Helper()
	k := start(t)
	k.backend.set("db", value)
	k.store("main", steered)
	return k
}

func TestDeletedSecret(t *testing.T) {
	for name, test := range map[string]struct {
		policy, more string
		// back: it is made again at once, else with the next refresh.
		back bool
	}{
		"Owner makes it again":                           {"Owner", "", true},
		"Owner makes it again when it is immutable":      {"Owner, immutable: true", "", true},
		"Owner makes it again under CreatedOnce":         {"Owner", ", refreshPolicy: CreatedOnce", true},
		"Owner makes it again with an interval of zero":  {"Owner", `, refreshInterval: "0"`, true},
		"CreateOrMerge makes it again":                   {"CreateOrMerge", "", true},
		"CreateOrMerge makes it again under CreatedOnce": {"CreateOrMerge", ", refreshPolicy: CreatedOnce", true},
		"Orphan makes it again at the next refresh":      {"Orphan", "", false},
		"Orphan that is immutable does so too":           {"Orphan, immutable: true", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			k := withDB(t, "1")
			k.externalSecret("app", oneKey(test.more+`, target: {creationPolicy: `+test.policy+`}`))
			k.awaitSynced("app")
			old := k.awaitData("app", held{"p": "1"})
			k.delete(&corev1.Secret{}, "app")
			if !test.back {
				k.force("app")
			}
			k.await("a new Secret", func() string {
				s := &corev1.Secret{}
				if data := k.data(s, "app"); data["p"] != "1" || s.UID == old.UID {
					return fmt.Sprintf("there is %v of UID %s", data, s.UID)
				}
				return ""
			})
		})
	}
}

func TestOrphanThatIsDeletedStaysAwayWithoutARefresh(t *testing.T) {
	k := start(t, oneByOne)
	k.backend.set("db", "1")
	k.store("main", steered)
	k.externalSecret("app", oneKey(`, refreshPolicy: CreatedOnce, target: {creationPolicy: Orphan}`))
	k.externalSecret("witness", oneKey(""))
	k.awaitSynced("app")
	k.awaitSynced("witness")
	k.delete(&corev1.Secret{}, "app")
	k.delete(&corev1.Secret{}, "witness")
	k.awaitData("witness", held{"p": "1"})
	k.knock("app")
	k.force("witness")
	k.awaitData("app", nil)
	if got := k.passes(); got != 1 {
		t.Errorf("synced %d times, want once", got)
	}
}

func TestEditedSecretIsRepaired(t *testing.T) {
	for name, test := range map[string]struct{ target, patch string }{
		"Owner: a value that was changed":              {"{}", `{stringData: {p: other}}`},
		"Owner: a key that was removed":                {"{}", `{data: {p: null}}`},
		"Owner: a key that was added":                  {"{}", `{stringData: {more: x}}`},
		"Merge: a value that was changed":              {"{creationPolicy: Merge}", `{stringData: {p: other}}`},
		"CreateOrMerge: a key that was removed":        {"{creationPolicy: CreateOrMerge}", `{data: {p: null}}`},
		"Owner: the label of managed ones was removed": {"{}", `{metadata: {labels: {reconcile.external-secrets.io/managed: null}}}`},
		"Owner: the owner was removed":                 {"{}", `{metadata: {ownerReferences: null}}`},
	} {
		t.Run(name, func(t *testing.T) {
			k := withDB(t, "1")
			if strings.HasPrefix(test.target, "{creationPolicy: Merge") {
				k.secret("app", nil)
			}
			k.externalSecret("app", oneKey(`, target: `+test.target))
			k.awaitSynced("app")
			before := k.awaitData("app", held{"p": "1"})
			k.edit(&corev1.Secret{}, "app", test.patch)
			k.await("the repair", func() string {
				s := &corev1.Secret{}
				data := k.data(s, "app")
				if data["p"] != "1" || len(data) != 1 || s.Labels[esv1.LabelManaged] != "true" || len(s.OwnerReferences) != len(before.OwnerReferences) {
					return raw(s.ObjectMeta) + raw(data)
				}
				return ""
			})
			k.await("the status knows the Secret", func() string {
				es, s := &esv1.ExternalSecret{}, &corev1.Secret{}
				k.get(es, "app")
				k.get(s, "app")
				if es.Status.TargetResourceVersion != s.ResourceVersion {
					return es.Status.TargetResourceVersion + " is not " + s.ResourceVersion
				}
				return ""
			})
		})
	}
}

func TestOrphanIsWrittenOverAtTheNextRefresh(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, target: {creationPolicy: Orphan}`))
	k.awaitSynced("app")
	k.edit(&corev1.Secret{}, "app", `{stringData: {p: other}}`)
	k.force("app")
	k.awaitData("app", held{"p": "1"})
}

func TestKeysOfOthersSurviveAMergeAndTheirChanges(t *testing.T) {
	k := withDB(t, "1")
	k.secret("app", held{"theirs": "t"})
	k.externalSecret("app", oneKey(`, target: {creationPolicy: Merge}`))
	k.awaitData("app", held{"theirs": "t", "p": "1"})
	k.edit(&corev1.Secret{}, "app", `{stringData: {theirs: u, more: m}}`)
	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {data: [{secretKey: q, remoteRef: {key: db}}]}}`)
	k.awaitData("app", held{"theirs": "u", "more": "m", "q": "1"})
}

func TestMergeTakesUpASecretThatAppears(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, target: {creationPolicy: Merge}`))
	k.awaitReady("app", missing)
	k.secret("app", held{"theirs": "t"})
	k.awaitData("app", held{"theirs": "t", "p": "1"})
	k.awaitReady("app", synced)
}

func TestImmutable(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, target: {immutable: true}`))
	k.awaitSynced("app")
	s := k.awaitData("app", held{"p": "1"})
	if s.Immutable == nil || !*s.Immutable {
		t.Fatal("the Secret is not immutable")
	}
	k.backend.set("db", "2")
	k.force("app")
	k.awaitData("app", held{"p": "1"})
	k.delete(&corev1.Secret{}, "app")
	k.awaitData("app", held{"p": "2"})
}

func TestImmutableThatIsSwitchedOffSaysThatNothingCanBeWritten(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, target: {immutable: true}`))
	k.awaitSynced("app")
	k.backend.set("db", "2")
	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {target: {immutable: false}}, metadata: {annotations: {external-secrets.io/force-sync: now}}}`)
	es := k.awaitFailed("app", secret.Invalid)
	if condition(es, esv1.ExternalSecretStalled).Status != corev1.ConditionTrue {
		t.Error("not Stalled")
	}
	k.awaitData("app", held{"p": "1"})
	k.delete(&corev1.Secret{}, "app")
	k.awaitData("app", held{"p": "2"})
	k.awaitSynced("app")
}

func TestImmutableLeavesASecretThatIsThereAsItIs(t *testing.T) {
	k := withDB(t, "1")
	k.secret("app", held{"theirs": "t"})
	k.externalSecret("app", oneKey(`, target: {immutable: true}`))
	k.awaitSynced("app")
	s := k.awaitData("app", held{"theirs": "t"})
	if s.Immutable == nil || !*s.Immutable || metav1.GetControllerOf(s) == nil {
		t.Errorf("immutable %v, owners %v", s.Immutable, s.OwnerReferences)
	}
}

func TestRenamedTargetLeavesNothingBehind(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, target: {name: old}`))
	es := k.awaitSynced("app")
	k.awaitData("old", held{"p": "1"})
	// The label alone is anybody's to set, and so is a reference to something else.
	label := `metadata: {labels: {reconcile.external-secrets.io/created-by: ` + plan.OwnerLabel(k.ns, "app") + `}}`
	k.create("v1", "Secret", "forged", label+"\nstringData: {theirs: t}")
	k.create("v1", "Secret", "forged-owner", fmt.Sprintf(`metadata: {ownerReferences: [{apiVersion: external-secrets.io/v1, kind: ExternalSecret, name: app, uid: %s}],
 labels: {reconcile.external-secrets.io/created-by: %s}}`, es.UID, plan.OwnerLabel(k.ns, "app"))+"\nstringData: {theirs: t}")

	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {target: {name: new}}}`)
	k.awaitData("new", held{"p": "1"})
	k.awaitData("old", nil)
	es = k.awaitSynced("app")
	if es.Status.Binding.Name != "new" {
		t.Errorf("bound to %q", es.Status.Binding.Name)
	}
	k.await("the event", func() string {
		all := k.eventsOf("Deleted")
		if len(all) != 1 || !strings.Contains(all[0], "old") || !strings.Contains(all[0], "deleted because it was orphaned") {
			return fmt.Sprintf("%q", all)
		}
		return ""
	})
	k.awaitData("forged", held{"theirs": "t"})
	k.awaitData("forged-owner", held{"theirs": "t"})
}

func TestRenamedTargetUnderOrphanLeavesTheOldOne(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, target: {name: old, creationPolicy: Orphan}`))
	k.awaitSynced("app")
	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {target: {name: new}}}`)
	k.awaitData("new", held{"p": "1"})
	k.awaitSynced("app")
	k.awaitData("old", held{"p": "1"})
}

func TestTwoOwnersOfOneTarget(t *testing.T) {
	k := start(t, oneByOne)
	k.backend.set("db", "1")
	k.store("main", steered)
	k.externalSecret("first", oneKey(`, target: {name: shared}`))
	k.awaitSynced("first")
	s := k.awaitData("shared", held{"p": "1"})
	k.externalSecret("second", oneKey(`, target: {name: shared}`))
	es := k.awaitFailed("second", secret.Conflict)
	if msg := ready(es).Message; !strings.Contains(msg, "owned by another ExternalSecret, first") {
		t.Errorf("the message does not name the owner: %s", msg)
	}
	if condition(es, esv1.ExternalSecretStalled).Status != corev1.ConditionTrue {
		t.Error("not Stalled")
	}
	// Whatever goes on, nobody writes: the queue takes these one by one.
	updates, patches := k.requests("update", "secrets"), k.requests("patch", "externalsecrets/status")
	for _, name := range []string{"first", "second", "first"} {
		k.knock(name)
	}
	k.externalSecret("witness", oneKey(""))
	k.awaitSynced("witness")
	if got := k.requests("update", "secrets"); got != updates {
		t.Errorf("%d updates of Secrets, want none", got-updates)
	}
	if got := k.requests("patch", "externalsecrets/status"); got != patches+1 {
		t.Errorf("%d status patches, want that of the witness", got-patches)
	}
	now := &corev1.Secret{}
	if k.get(now, "shared"); now.ResourceVersion != s.ResourceVersion {
		t.Error("the Secret was written")
	}

	k.delete(&esv1.ExternalSecret{}, "first")
	k.awaitSynced("second")
	k.await("second owns the Secret", func() string {
		s := &corev1.Secret{}
		if k.get(s, "shared"); len(s.OwnerReferences) != 1 || s.OwnerReferences[0].Name != "second" {
			return raw(s.OwnerReferences)
		}
		return ""
	})
}

func TestTwoThatMergeIntoOneTargetComeToRest(t *testing.T) {
	k := start(t, oneByOne)
	k.backend.set("db", "1")
	k.store("main", steered)
	k.secret("shared", held{"theirs": "t"})
	for _, key := range []string{"a", "b"} {
		k.externalSecret(key, `{secretStoreRef: {name: main}, target: {name: shared, creationPolicy: Merge}, data: [{secretKey: `+key+`, remoteRef: {key: db}}]}`)
	}
	s := k.awaitData("shared", held{"theirs": "t", "a": "1", "b": "1"})
	for _, key := range []string{"a", "b"} {
		k.await("status of "+key, func() string {
			es := &esv1.ExternalSecret{}
			if k.get(es, key); es.Status.TargetResourceVersion != s.ResourceVersion {
				return es.Status.TargetResourceVersion + " is not " + s.ResourceVersion
			}
			return ""
		})
	}
	k.externalSecret("witness", oneKey(""))
	k.awaitSynced("witness")
	now := &corev1.Secret{}
	if k.get(now, "shared"); now.ResourceVersion != s.ResourceVersion {
		t.Error("they go on writing")
	}
}

func TestTwoThatWriteOneKeySlowDown(t *testing.T) {
	k := start(t, oneByOne)
	k.backend.set("left", "1")
	k.backend.set("right", "2")
	k.store("main", steered)
	k.secret("shared", nil)
	for _, key := range []string{"left", "right"} {
		k.externalSecret(key, `{secretStoreRef: {name: main}, target: {name: shared, creationPolicy: Merge}, data: [{secretKey: p, remoteRef: {key: `+key+`}}]}`)
	}
	k.awaitSynced("left")
	k.awaitSynced("right")
	for i := range 5 { // each takes longer than a round of a fight without end
		name := fmt.Sprint("witness-", i)
		k.externalSecret(name, `{secretStoreRef: {name: main}, data: [{secretKey: p, remoteRef: {key: left}}]}`)
		k.awaitSynced(name)
	}
	if got := k.requests("update", "secrets"); got > 12 {
		t.Errorf("%d updates of one Secret", got)
	}
}

func TestTargetOfAnotherController(t *testing.T) {
	k := withDB(t, "1")
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: k.ns, Name: "operator"}}
	if err := k.api.Create(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	k.create("v1", "Secret", "app", fmt.Sprintf(`metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: operator, uid: %s, controller: true}]}`, owner.UID)+
		"\nstringData: {theirs: t}")
	k.externalSecret("app", oneKey(""))
	es := k.awaitFailed("app", secret.Conflict)
	if msg := ready(es).Message; !strings.Contains(msg, "ConfigMap operator") {
		t.Errorf("the message does not name the owner: %s", msg)
	}
	k.awaitData("app", held{"theirs": "t"})
	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {target: {creationPolicy: Merge}}}`)
	s := k.awaitData("app", held{"theirs": "t", "p": "1"})
	if ref := metav1.GetControllerOf(s); ref == nil || ref.Name != "operator" {
		t.Errorf("its controller is %v", ref)
	}
}

func TestPolicyThatBecomesOrphanLetsGoOfTheSecret(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(""))
	k.awaitSynced("app")
	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {target: {creationPolicy: Orphan}}}`)
	es := k.awaitSynced("app")
	s := k.awaitData("app", held{"p": "1"})
	k.checkMarks(s, es, false, false)
	k.delete(&esv1.ExternalSecret{}, "app")
	// The collector has dealt with the first once it has with one that came later.
	k.externalSecret("witness", oneKey(""))
	k.awaitSynced("witness")
	k.delete(&esv1.ExternalSecret{}, "witness")
	k.awaitData("witness", nil)
	k.awaitData("app", held{"p": "1"})
}

func TestExternalSecretThatIsMadeAgainGoesOnWithItsSecret(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, target: {creationPolicy: Orphan}`))
	k.awaitSynced("app")
	old := k.awaitData("app", held{"p": "1"})
	k.delete(&esv1.ExternalSecret{}, "app")
	k.await("it goes", func() string {
		if k.get(&esv1.ExternalSecret{}, "app") {
			return "it is there"
		}
		return ""
	})
	k.backend.set("db", "2")
	k.clock.jump(6 * time.Second) // what was read for another just before would do as well
	k.externalSecret("app", oneKey(""))
	s := k.awaitData("app", held{"p": "2"})
	if s.UID != old.UID {
		t.Error("the Secret was made again")
	}
	k.checkMarks(s, k.awaitSynced("app"), true, false)
}
