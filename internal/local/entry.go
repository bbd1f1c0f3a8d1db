package local

import (
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

// ID names a target.
type ID struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
}

// String returns "Kind namespace/name".
func (id ID) String() string { return id.Kind + " " + id.Namespace + "/" + id.Name }

func targetID(es *esv1.ExternalSecret) ID {
	id := ID{APIVersion: "v1", Kind: kindSecret, Namespace: es.Namespace, Name: plan.TargetName(es)}
	if plan.IsGeneric(es) {
		id.APIVersion, id.Kind = es.Spec.Target.Manifest.APIVersion, es.Spec.Target.Manifest.Kind
	}
	return id
}

// entry is what is remembered of a target beside its files: what an API server would
// have in managedFields and ownerReferences. It holds names of keys, never values.
type entry struct {
	ID
	Format Format `json:"format"`
	// Owner is the ExternalSecret with which the target goes; empty if it stays.
	Owner string `json:"owner,omitempty"`
	// Immutable is kept for formats that cannot say it.
	Immutable bool `json:"immutable,omitempty"`
	// Managers are the ExternalSecrets that wrote the target, and which keys.
	Managers map[string]parts `json:"managers,omitempty"`
	// Files are those that were written here and may be removed.
	Files []string `json:"files"`
}

// parts are names of keys.
type parts struct {
	Data        []string `json:"data,omitempty"`
	SpecData    []string `json:"specData,omitempty"`
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// decorate shows plan the marks of ownership that an API server would have kept.
func (e entry) decorate(o metav1.Object) {
	o.SetManagedFields(nil)
	for _, manager := range secret.Keys(e.Managers) {
		p := e.Managers[manager]
		tree := map[string]any{}
		add(tree, p.Data, "f:data")
		add(tree, p.SpecData, "f:spec", "f:data")
		add(tree, p.Labels, "f:metadata", "f:labels")
		add(tree, p.Annotations, "f:metadata", "f:annotations")
		raw, err := json.Marshal(tree)
		if err != nil { // maps of strings always encode
			continue
		}
		o.SetManagedFields(append(o.GetManagedFields(), metav1.ManagedFieldsEntry{
			Manager: plan.FieldOwner(manager), Operation: metav1.ManagedFieldsOperationUpdate,
			APIVersion: e.APIVersion, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(raw)),
		}))
	}
	if e.Owner != "" {
		owner := &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: e.Owner, UID: types.UID(esv1.ExtSecretKind + "/" + e.Namespace + "/" + e.Owner)}}
		o.SetOwnerReferences(append(o.GetOwnerReferences(), *metav1.NewControllerRef(owner, esv1.GroupVersion().WithKind(esv1.ExtSecretKind))))
	}
}

func add(tree map[string]any, keys []string, path ...string) {
	if len(keys) == 0 {
		return
	}
	for _, field := range path {
		next, ok := tree[field].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[field] = next
		}
		tree = next
	}
	for _, k := range keys {
		tree["f:"+k] = map[string]any{}
	}
}

// undecorate removes the marks again, and returns whom the target belongs to.
func undecorate(o metav1.Object) (owner string) {
	o.SetManagedFields(nil)
	var others []metav1.OwnerReference
	for _, ref := range o.GetOwnerReferences() {
		if ref.Kind == esv1.ExtSecretKind && ref.Controller != nil && *ref.Controller {
			owner = ref.Name
		} else {
			others = append(others, ref)
		}
	}
	o.SetOwnerReferences(others)
	return owner
}

// next returns the entry once es has written after in place of before.
func (e entry) next(es *esv1.ExternalSecret, before, after content) entry {
	out := e
	out.Owner, out.Immutable = after.owner, after.immutable
	out.Managers = maps.Clone(e.Managers)
	if out.Managers == nil {
		out.Managers = map[string]parts{}
	}
	if _, ok := out.Managers[es.Name]; !ok {
		out.Managers[es.Name] = parts{}
	}
	whole := es.Spec.Target.CreationPolicy != esv1.CreatePolicyMerge && es.Spec.Target.CreationPolicy != esv1.CreatePolicyCreateOrMerge && !plan.IsGeneric(es)
	lists := []struct {
		of            func(*parts) *[]string
		before, after map[string]string
		whole         bool
	}{
		{func(p *parts) *[]string { return &p.Data }, before.data, after.data, whole},
		{func(p *parts) *[]string { return &p.SpecData }, before.specData, after.specData, false},
		{func(p *parts) *[]string { return &p.Labels }, before.labels, after.labels, false},
		{func(p *parts) *[]string { return &p.Annotations }, before.annotations, after.annotations, false},
	}
	for _, l := range lists {
		claimed := claim(l.before, l.after, l.whole)
		for manager, p := range out.Managers {
			kept := slices.DeleteFunc(slices.Clone(*l.of(&p)), func(k string) bool {
				_, there := l.after[k]
				return !there || slices.Contains(claimed, k)
			})
			if manager == es.Name {
				kept = slices.Sorted(slices.Values(append(kept, claimed...)))
			}
			*l.of(&p) = kept
			out.Managers[manager] = p
		}
	}
	return out
}

// claim returns the keys that a write makes the writer's: those that it changed, as
// on an API server, or all of them if it wrote the whole.
func claim(before, after map[string]string, whole bool) []string {
	var out []string
	for _, k := range secret.Keys(after) {
		if was, ok := before[k]; whole || !ok || was != after[k] {
			out = append(out, k)
		}
	}
	return out
}

// content is what counts of a target, in one form for all kinds.
type content struct {
	data, specData, labels, annotations map[string]string
	owner                               string
	immutable                           bool
}

// state is a target as it is, or as it will be.
type state struct {
	secret *corev1.Secret
	object *unstructured.Unstructured
	entry  entry
	// stored is true if it is in the output, and not only in the manifests.
	stored bool
}

func (s state) exists() bool { return s.secret != nil || s.object != nil }

// meta returns the object; only for a state that exists.
func (s state) meta() metav1.Object {
	if s.secret != nil {
		return s.secret
	}
	return s.object
}

func (s state) content() content {
	switch {
	case s.secret != nil:
		out := content{data: map[string]string{}, labels: s.secret.Labels, annotations: s.secret.Annotations}
		for k, v := range s.secret.Data {
			out.data[k] = string(v)
		}
		out.immutable = s.secret.Immutable != nil && *s.secret.Immutable
		return out
	case s.object != nil:
		return content{
			data: nested(s.object.Object, "data"), specData: nested(s.object.Object, "spec", "data"),
			labels: s.object.GetLabels(), annotations: s.object.GetAnnotations(),
		}
	}
	return content{}
}

// nested returns a map inside an object, its values as texts to be compared.
func nested(object map[string]any, path ...string) map[string]string {
	m, ok, err := unstructured.NestedMap(object, path...)
	if !ok || err != nil {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		if text, ok := v.(string); ok {
			out[k] = text
			continue
		}
		b, err := json.Marshal(v)
		if err != nil { // it came from JSON
			continue
		}
		out[k] = string(b)
	}
	return out
}
