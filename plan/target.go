package plan

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

// Target is all that decides what becomes of the target.
type Target struct {
	Object *esv1.ExternalSecret
	// TemplateField is where the template is in the manifest; empty is
	// spec.target.template.
	TemplateField string
	Data          Data
	// Sources is what the ConfigMaps and Secrets of TemplateSources hold:
	// TemplateSource.Key() → key → value. A source that does not exist is absent.
	Sources map[string]map[string]secret.Value
	// Existing is the Secret as it is, with its managedFields; nil if there is none.
	Existing *corev1.Secret
	// Live is the same for a generic target.
	Live *unstructured.Unstructured
	// Engine renders the templates.
	Engine *template.Engine
	// AllowGeneric lets targets be something else than a Secret.
	AllowGeneric bool
}

func (t Target) templateField() string {
	if t.TemplateField == "" {
		return fieldTemplate
	}
	return t.TemplateField
}

// Verb is what is to be done with the target.
type Verb string

// The verbs. The zero value is Nothing.
const (
	Nothing Verb = ""
	Create  Verb = "Create"
	Update  Verb = "Update"
	Delete  Verb = "Delete"
)

// Outcome is a Ready condition.
type Outcome struct {
	Status  corev1.ConditionStatus
	Reason  string
	Message string
}

// Event is a Kubernetes event about the ExternalSecret.
type Event struct{ Type, Reason, Message string }

// Action is what is to be done, and what to say once it is.
type Action struct {
	Verb Verb
	// Secret or Object, whichever the target is, is what to create or update, with
	// the resourceVersion of what it was made from and without managedFields; for
	// Delete it is what exists. Both are nil for Nothing.
	Secret *corev1.Secret
	Object *unstructured.Unstructured
	// Ready is the condition if the verb succeeds.
	Ready Outcome
	// Events are for a verb that changes something.
	Events []Event
}

// outcome names the reason after what the target is: SecretSynced, ResourceSynced.
func outcome(es *esv1.ExternalSecret, status corev1.ConditionStatus, reason, message string) Outcome {
	kind := kindSecret
	if IsGeneric(es) {
		kind = "Resource"
	}
	return Outcome{Status: status, Reason: kind + reason, Message: message}
}

// noun is what messages call the target.
func noun(es *esv1.ExternalSecret) string {
	if IsGeneric(es) {
		return "resource"
	}
	return "secret"
}

// Apply decides what becomes of the target Secret. It changes nothing that it is
// given. An unchanged Secret is Nothing; one that ESO made is not changed for the
// sake of its data-hash annotation, which goes when the Secret is written anyway.
//
// It fails with Conflict if the Secret belongs to somebody else, Denied for a
// Secret that would be a credential of the cluster, NotFound for a template source
// that is missing, and Invalid for what cannot be written; the error names the
// field and holds no value.
func Apply(ctx context.Context, t Target) (Action, error) {
	var existing metav1.Object
	if t.Existing != nil {
		existing = t.Existing
	}
	if action, done, err := t.settled(existing); done || err != nil {
		if action.Verb == Delete {
			action.Secret = t.Existing
		}
		return action, err
	}
	want, err := t.secret(ctx)
	if err != nil {
		return Action{}, err
	}
	verb := Create
	if t.Existing != nil {
		verb = Update
		if sameSecret(t.Existing, want) {
			return t.synced(Nothing), nil
		}
		if err := frozen(t.Existing, want); err != nil {
			return Action{}, err
		}
	}
	delete(want.Annotations, esv1.AnnotationDataHash)
	want.ManagedFields = nil
	action := t.synced(verb)
	action.Secret = want
	return action, nil
}

// settled decides the cases in which the target is not written, whatever it is.
// existing is nil if there is none; whoever calls adds what Delete deletes.
func (t Target) settled(existing metav1.Object) (Action, bool, error) {
	spec := &t.Object.Spec
	if err := checkPolicies(spec); err != nil {
		return Action{}, true, err
	}
	policy := creationPolicy(spec)
	if policy == esv1.CreatePolicyNone {
		return t.synced(Nothing), true, nil
	}
	if len(t.Data.Values) == 0 {
		switch deletionPolicy(spec) {
		case esv1.DeletionPolicyRetain:
			return t.done(noun(t.Object) + " retained due to DeletionPolicy=Retain"), true, nil
		case esv1.DeletionPolicyDelete:
			action, err := t.emptied(existing)
			return action, true, err
		}
	}
	if policy == esv1.CreatePolicyMerge && existing == nil {
		return Action{Ready: outcome(t.Object, corev1.ConditionTrue, "Missing", noun(t.Object)+" will not be created due to CreationPolicy=Merge")}, true, nil
	}
	return Action{}, false, nil
}

// emptied decides what becomes of a target for which the store has nothing left.
func (t Target) emptied(existing metav1.Object) (Action, error) {
	if policy := creationPolicy(&t.Object.Spec); policy != esv1.CreatePolicyOwner {
		return Action{}, invalid("spec.target.deletionPolicy", "Delete needs creationPolicy Owner, not %s: the %s is kept", policy, noun(t.Object))
	}
	if existing == nil {
		return t.deleted(Nothing), nil
	}
	if err := t.mayDelete(existing); err != nil {
		return Action{}, err
	}
	return t.deleted(Delete), nil
}

// done is the action that leaves the target alone, with a message.
func (t Target) done(message string) Action {
	return Action{Ready: outcome(t.Object, corev1.ConditionTrue, "Synced", message+t.missing())}
}

// synced is the action that leaves the target as it is wanted.
func (t Target) synced(verb Verb) Action {
	action := t.done(noun(t.Object) + " synced")
	action.Verb = verb
	switch verb {
	case Create:
		action.Events = t.events(esv1.ReasonCreated, noun(t.Object)+" created")
	case Update:
		action.Events = t.events(esv1.ReasonUpdated, noun(t.Object)+" updated")
	}
	return action
}

// deleted is the action after which there is no target.
func (t Target) deleted(verb Verb) Action {
	message := noun(t.Object) + " deleted due to DeletionPolicy=Delete"
	action := Action{Verb: verb, Ready: outcome(t.Object, corev1.ConditionTrue, "Deleted", message+t.missing())}
	if verb == Delete {
		action.Events = t.events(esv1.ReasonDeleted, message)
	}
	return action
}

func (t Target) events(reason, message string) []Event {
	out := []Event{{Type: corev1.EventTypeNormal, Reason: reason, Message: message}}
	if len(t.Data.Missing) > 0 {
		out = append(out, Event{Type: corev1.EventTypeNormal, Reason: esv1.ReasonMissingProviderSecret, Message: "not at the store: " + strings.Join(t.Data.Missing, ", ")})
	}
	return out
}

// missing says which sources had nothing: a partial result looks like one.
func (t Target) missing() string {
	if len(t.Data.Missing) == 0 {
		return ""
	}
	return "; not at the store: " + strings.Join(t.Data.Missing, ", ")
}

// secret returns the Secret as it is wanted.
func (t Target) secret(ctx context.Context) (*corev1.Secret, error) {
	made, err := t.render(ctx)
	if err != nil {
		return nil, err
	}
	es := t.Object
	out := &corev1.Secret{}
	if t.Existing != nil {
		out = t.Existing.DeepCopy()
	}
	out.APIVersion, out.Kind = corev1.SchemeGroupVersion.String(), kindSecret
	out.Name, out.Namespace = TargetName(es), es.Namespace
	mine := ownedFields(out, FieldOwner(es.Name))
	if !es.Spec.Target.Immutable || t.Existing == nil {
		out.Data = t.content(out.Data, mine.data, made.data)
		if tpl := es.Spec.Target.Template; tpl != nil && tpl.Type != "" {
			out.Type = tpl.Type
		}
	}
	if out.Type == "" {
		out.Type = corev1.SecretTypeOpaque
	}
	if es.Spec.Target.Immutable {
		out.Immutable = new(true)
	}
	out.Labels = replaced(out.Labels, mine.labels, made.labels)
	out.Labels[esv1.LabelManaged] = esv1.LabelManagedValue
	out.Annotations = replaced(out.Annotations, mine.annotations, made.annotations)
	t.addFinalizers(out)
	if err := own(es, out); err != nil {
		return nil, err
	}
	return out, checkSecret(es, out)
}

// content returns the data: what is rendered, and what others keep in a Secret
// that is merged into.
func (t Target) content(existing map[string][]byte, mine []string, made map[string]secret.Value) map[string][]byte {
	out := map[string][]byte{}
	if p := creationPolicy(&t.Object.Spec); p == esv1.CreatePolicyMerge || p == esv1.CreatePolicyCreateOrMerge {
		maps.Copy(out, existing)
		for _, k := range mine {
			delete(out, k)
		}
	}
	for k, v := range made {
		out[k] = v.Reveal()
		if out[k] == nil {
			out[k] = []byte{}
		}
	}
	return out
}

// replaced returns existing without what was ours before, and with what is wanted.
func replaced(existing map[string]string, mine []string, want map[string]string) map[string]string {
	out := maps.Clone(existing)
	if out == nil {
		out = map[string]string{}
	}
	for _, k := range mine {
		delete(out, k)
	}
	maps.Copy(out, want)
	return out
}

func (t Target) addFinalizers(out *corev1.Secret) {
	tpl := t.Object.Spec.Target.Template
	if tpl == nil || out.DeletionTimestamp != nil {
		return
	}
	for _, f := range tpl.Metadata.Finalizers {
		if !slices.Contains(out.Finalizers, f) {
			out.Finalizers = append(out.Finalizers, f)
		}
	}
}

// sameSecret reports whether nothing has to be written.
func sameSecret(a, b *corev1.Secret) bool {
	return a.Type == b.Type &&
		equality.Semantic.DeepEqual(a.Immutable, b.Immutable) &&
		equality.Semantic.DeepEqual(a.Data, b.Data) &&
		equality.Semantic.DeepEqual(a.Labels, b.Labels) &&
		equality.Semantic.DeepEqual(a.Annotations, b.Annotations) &&
		equality.Semantic.DeepEqual(a.Finalizers, b.Finalizers) &&
		equality.Semantic.DeepEqual(a.OwnerReferences, b.OwnerReferences)
}

// frozen refuses a change that the API server would refuse, in words that help.
func frozen(existing, want *corev1.Secret) error {
	if existing.Type != want.Type && existing.Type != "" {
		return invalid("spec.target.template.type", "the Secret %s has type %s and Kubernetes does not change it to %s: delete the Secret, or name another target", want.Name, existing.Type, want.Type)
	}
	if existing.Immutable != nil && *existing.Immutable && !equality.Semantic.DeepEqual(existing.Data, want.Data) {
		return invalid("spec.target", "the Secret %s is immutable and its data has changed at the store: delete the Secret, or name another target", want.Name)
	}
	return nil
}

// maxData and maxAnnotations are what Kubernetes takes, in bytes.
const (
	maxData        = corev1.MaxSecretSize
	maxAnnotations = 256 << 10
)

// checkSecret refuses what the API server would refuse with the value in its answer,
// and what it should have refused.
func checkSecret(es *esv1.ExternalSecret, s *corev1.Secret) error {
	where := targetField(es)
	size := 0
	for _, k := range secret.Keys(s.Data) {
		size += len(s.Data[k])
		if err := checkDataKey(where, k); err != nil {
			return err
		}
	}
	if size > maxData {
		return invalid(where, "the data has %d bytes and a Secret holds %d: split it over several targets", size, maxData)
	}
	if err := checkMetadata(where, s.Labels, s.Annotations); err != nil {
		return err
	}
	return checkType(fmt.Sprintf("%s: type", where), s.Type, s.Annotations)
}
