package integration

import (
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

type held = map[string]string

// life is what becomes of a target, from one step to the next. A nil map is no Secret.
type life struct {
	// before is the Secret that was there already, nobody's.
	before held
	// created, changed: after the first sync of a and b, and after a changed.
	created, changed held
	// less: after b went from the store; fails says that this is an error.
	less held
	// none: after a went as well. reason is the Ready reason then.
	none   held
	reason string
	// left: after the ExternalSecret was deleted.
	left held
}

const (
	synced  = esv1.ConditionReasonSecretSynced
	failed  = esv1.ConditionReasonSecretSyncedError
	deleted = esv1.ConditionReasonSecretDeleted
	missing = esv1.ConditionReasonSecretMissing
)

func TestPolicies(t *testing.T) {
	ab, aB := held{"a": "1", "b": "2"}, held{"a": "one", "b": "2"}
	foreign := held{"foreign": "f"}
	with := func(m held) held {
		out := maps.Clone(m)
		out["foreign"] = "f"
		return out
	}
	for name, want := range map[string]life{
		"Owner Retain": {created: ab, changed: aB, less: aB, none: aB, reason: failed},
		"Owner Delete": {created: ab, changed: aB, less: held{"a": "one"}, reason: deleted},
		"Owner Merge":  {created: ab, changed: aB, less: held{"a": "one"}, none: held{}, reason: synced},

		"Orphan Retain": {created: ab, changed: aB, less: aB, none: aB, reason: failed, left: aB},
		"Orphan Delete": {created: ab, changed: aB, less: held{"a": "one"}, none: held{"a": "one"}, reason: failed, left: held{"a": "one"}},
		"Orphan Merge":  {created: ab, changed: aB, less: held{"a": "one"}, none: held{}, reason: synced, left: held{}},

		"CreateOrMerge Retain": {created: ab, changed: aB, less: aB, none: aB, reason: failed, left: aB},
		"CreateOrMerge Merge":  {created: ab, changed: aB, less: held{"a": "one"}, none: held{}, reason: synced, left: held{}},

		"Merge Retain": {reason: failed},
		"Merge Merge":  {reason: missing},
		"None Retain":  {reason: failed},

		"Owner Retain takes over a Secret":        {before: foreign, created: ab, changed: aB, less: aB, none: aB, reason: failed},
		"Owner Delete takes over a Secret":        {before: foreign, created: ab, changed: aB, less: held{"a": "one"}, reason: deleted},
		"Orphan Merge takes over a Secret":        {before: foreign, created: ab, changed: aB, less: held{"a": "one"}, none: held{}, reason: synced, left: held{}},
		"CreateOrMerge Retain adds to a Secret":   {before: foreign, created: with(ab), changed: with(aB), less: with(aB), none: with(aB), reason: failed, left: with(aB)},
		"CreateOrMerge Merge adds to a Secret":    {before: foreign, created: with(ab), changed: with(aB), less: held{"a": "one", "foreign": "f"}, none: foreign, reason: synced, left: foreign},
		"Merge Retain adds to a Secret":           {before: foreign, created: with(ab), changed: with(aB), less: with(aB), none: with(aB), reason: failed, left: with(aB)},
		"Merge Merge adds to a Secret":            {before: foreign, created: with(ab), changed: with(aB), less: held{"a": "one", "foreign": "f"}, none: foreign, reason: synced, left: foreign},
		"None Retain leaves a Secret as it is":    {before: foreign, created: foreign, changed: foreign, less: foreign, none: foreign, reason: failed, left: foreign},
		"Merge Retain wins over a key of others ": {before: held{"a": "theirs", "foreign": "f"}, created: with(ab), changed: with(aB), less: with(aB), none: with(aB), reason: failed, left: with(aB)},
	} {
		t.Run(name, func(t *testing.T) { want.hold(t, strings.Fields(name)[0], strings.Fields(name)[1]) })
	}
}

// hold holds a controller to a life.
func (l life) hold(t *testing.T, creation, deletion string) {
	k := start(t)
	k.backend.set("a", "1")
	k.backend.set("b", "2")
	k.store("main", steered)
	if l.before != nil {
		k.create("v1", "Secret", "app", "metadata: {labels: {team: x}}\nstringData: "+raw(l.before))
	}
	k.externalSecret("app", `{secretStoreRef: {name: main}, target: {creationPolicy: `+creation+`, deletionPolicy: `+deletion+`},
 data: [{secretKey: a, remoteRef: {key: a}}, {secretKey: b, remoteRef: {key: b}}]}`)
	first := k.awaitSynced("app")
	s := k.awaitData("app", l.created)
	if l.created != nil && creation != "None" {
		k.checkMarks(s, first, creation == "Owner", l.before != nil)
	}
	if l.created == nil && creation == "Merge" && ready(first).Reason != missing {
		t.Errorf("reason is %q, want %q", ready(first).Reason, missing)
	}

	k.backend.set("a", "one")
	k.force("app")
	k.awaitData("app", l.changed)

	k.backend.remove("b")
	k.ask("app")
	if deletion == "Retain" {
		k.awaitFailed("app", secret.NotFound)
	} else {
		k.awaitSynced("app")
	}
	k.awaitData("app", l.less)

	k.backend.remove("a")
	k.ask("app")
	k.awaitReady("app", l.reason)
	if l.reason != failed {
		k.awaitSynced("app")
	}
	k.awaitData("app", l.none)

	k.delete(&esv1.ExternalSecret{}, "app")
	k.await("the ExternalSecret goes", func() string {
		if k.get(&esv1.ExternalSecret{}, "app") {
			return "it is there"
		}
		return ""
	})
	k.awaitData("app", l.left)
}

// checkMarks checks by what a Secret is known to be ours.
func (k *kit) checkMarks(s *corev1.Secret, es *esv1.ExternalSecret, owned, before bool) {
	k.Helper()
	if s.Labels[esv1.LabelManaged] != "true" {
		k.Errorf("the Secret lacks the label of managed ones: %v", s.Labels)
	}
	if before && s.Labels["team"] != "x" {
		k.Errorf("the label of others is gone: %v", s.Labels)
	}
	owner := metav1.GetControllerOf(s)
	label := s.Labels[esv1.LabelOwner]
	switch {
	case owned && (owner == nil || owner.UID != es.UID || label != plan.OwnerLabel(k.ns, es.Name)):
		k.Errorf("the Secret is not owned: controller %v, label %q", owner, label)
	case !owned && (owner != nil || label != ""):
		k.Errorf("the Secret is owned: controller %v, label %q", owner, label)
	}
	k.checkStatus(s, es)
}

// checkStatus checks what the status says of the Secret, and that neither object
// carries what ESO would put on it.
func (k *kit) checkStatus(s *corev1.Secret, es *esv1.ExternalSecret) {
	k.Helper()
	if es.Status.Binding.Name != s.Name || es.Status.TargetResourceVersion == "" {
		k.Errorf("status names target %q at version %q", es.Status.Binding.Name, es.Status.TargetResourceVersion)
	}
	if _, published := s.Annotations[esv1.AnnotationDataHash]; published {
		k.Error("the Secret carries a digest of its values")
	}
	if len(es.Finalizers) > 0 {
		k.Errorf("the ExternalSecret has finalizers: %v", es.Finalizers)
	}
}

func TestPoliciesThatContradictEachOtherAreRefusedByTheAPI(t *testing.T) {
	k := newKit(t)
	for name, target := range map[string]string{
		"Merge never deletes":         `{creationPolicy: Merge, deletionPolicy: Delete}`,
		"CreateOrMerge never deletes": `{creationPolicy: CreateOrMerge, deletionPolicy: Delete}`,
		"None never deletes":          `{creationPolicy: None, deletionPolicy: Delete}`,
		"None has nothing to merge":   `{creationPolicy: None, deletionPolicy: Merge}`,
	} {
		t.Run(name, func(t *testing.T) {
			obj := k.object(group, esv1.ExtSecretKind, "bad", `spec: {secretStoreRef: {name: main}, target: `+target+`, data: [{secretKey: a, remoteRef: {key: a}}]}`)
			if err := k.api.Create(t.Context(), obj); err == nil || !strings.Contains(err.Error(), "deletionPolicy") {
				t.Errorf("admitted, or refused for another reason: %v", err)
			}
		})
	}
}

func TestEmptyFindRetainsTheSecret(t *testing.T) {
	k := start(t)
	k.backend.set("db/a", "1")
	k.store("main", steered)
	k.externalSecret("app", `{secretStoreRef: {name: main}, dataFrom: [{find: {path: db/}, rewrite: [{regexp: {source: "db/", target: ""}}]}]}`)
	k.awaitData("app", held{"a": "1"})
	k.awaitSynced("app")
	k.backend.remove("db/a")
	es := k.force("app")
	if got := ready(es).Message; got != "secret retained due to DeletionPolicy=Retain" {
		t.Errorf("message is %q", got)
	}
	k.awaitData("app", held{"a": "1"})
}
