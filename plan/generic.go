package plan

import (
	"context"
	"maps"
	"slices"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

const (
	fieldSpec = "spec"
	fieldData = "data"
)

// ApplyGeneric decides what becomes of a target that is no Secret. Under every
// policy the object is changed from what it is and not replaced: only the data, the
// labels, the annotations and the paths that the template names are written, and
// of the keys of data, spec.data, labels and annotations those removed that were
// written here before. It is deleted only if this ExternalSecret controls it.
//
// It fails with Unsupported while generic targets are switched off, and as Apply does.
func ApplyGeneric(ctx context.Context, t Target) (Action, error) {
	es := t.Object
	if !t.AllowGeneric {
		return Action{}, refuse(secret.Unsupported, "spec.target.manifest", "targets other than Secrets are switched off: start with --unsafe-allow-generic-targets")
	}
	if es.Spec.Target.Manifest == nil {
		return Action{}, refuse(secret.Internal, "spec.target.manifest", "is not set")
	}
	var live metav1.Object
	if t.Live != nil {
		live = t.Live
	}
	if action, done, err := t.settled(live); done || err != nil {
		if action.Verb == Delete {
			action.Object = t.Live
		}
		return action, err
	}
	want, err := t.object(ctx)
	if err != nil {
		return Action{}, err
	}
	verb := Create
	if t.Live != nil {
		verb = Update
		if equality.Semantic.DeepEqual(t.Live.Object, want.Object) {
			return t.synced(Nothing), nil
		}
	}
	want.SetAnnotations(withoutHash(want.GetAnnotations()))
	want.SetManagedFields(nil)
	action := t.synced(verb)
	action.Object = want
	return action, nil
}

// object returns the generic target as it is wanted.
func (t Target) object(ctx context.Context) (*unstructured.Unstructured, error) {
	made, err := t.render(ctx)
	if err != nil {
		return nil, err
	}
	es := t.Object
	out := t.base()
	mine := ownedFields(out, FieldOwner(es.Name))
	drop(out.Object, mine.data, fieldData)
	drop(out.Object, mine.specData, fieldSpec, fieldData)
	labels := replaced(out.GetLabels(), mine.labels, made.labels)
	labels[esv1.LabelManaged] = esv1.LabelManagedValue
	out.SetLabels(labels)
	annotations := replaced(out.GetAnnotations(), mine.annotations, made.annotations)
	if len(annotations) == 0 {
		annotations = nil
	}
	out.SetAnnotations(annotations)
	if err := t.setData(out.Object, made.data); err != nil {
		return nil, err
	}
	for _, p := range made.parts {
		if err := template.SetPath(out.Object, p.path, p.value); err != nil {
			return nil, within(p.field, err)
		}
	}
	if err := t.unchangedIdentity(out); err != nil {
		return nil, err
	}
	if err := own(es, out); err != nil {
		return nil, err
	}
	return out, checkMetadata(targetField(es), out.GetLabels(), out.GetAnnotations())
}

// base returns a copy of the live object, or an empty one.
func (t Target) base() *unstructured.Unstructured {
	if t.Live != nil {
		return t.Live.DeepCopy()
	}
	m := t.Object.Spec.Target.Manifest
	out := &unstructured.Unstructured{Object: map[string]any{}}
	out.SetAPIVersion(m.APIVersion)
	out.SetKind(m.Kind)
	out.SetName(TargetName(t.Object))
	out.SetNamespace(t.Object.Namespace)
	return out
}

// unchangedIdentity refuses a template that writes over what the object is.
func (t Target) unchangedIdentity(out *unstructured.Unstructured) error {
	m := t.Object.Spec.Target.Manifest
	if out.GetAPIVersion() != m.APIVersion || out.GetKind() != m.Kind || out.GetName() != TargetName(t.Object) || out.GetNamespace() != t.Object.Namespace {
		return refuse(secret.Denied, "spec.target.template", "changes what the target is: templates may not set apiVersion, kind, name or namespace")
	}
	return nil
}

// setData writes the data: to data if it is a ConfigMap or a template says so, to
// spec.data of anything else.
func (t Target) setData(object map[string]any, data map[string]secret.Value) error {
	if len(data) == 0 {
		return nil
	}
	path := fieldSpec + "." + fieldData
	tpl := t.Object.Spec.Target.Template
	m := t.Object.Spec.Target.Manifest
	core := m.Kind == kindConfigMap && m.APIVersion == corev1.SchemeGroupVersion.String()
	if core || tpl != nil && len(tpl.Data)+len(tpl.TemplateFrom) > 0 {
		path = fieldData
	}
	values := make(map[string]any, len(data))
	for _, k := range secret.Keys(data) {
		if !utf8.Valid(data[k].Reveal()) {
			return invalid(targetField(t.Object), "the value of key %q is not text, and %s %s holds text: encode it, for instance with b64enc", k, m.Kind, path)
		}
		if core {
			if err := checkDataKey(targetField(t.Object), k); err != nil {
				return err
			}
		}
		values[k] = string(data[k].Reveal())
	}
	return template.SetPath(object, path, values)
}

// drop removes keys below a path.
func drop(object map[string]any, keys []string, path ...string) {
	if len(keys) == 0 {
		return
	}
	values, ok, err := unstructured.NestedFieldNoCopy(object, path...)
	m, isMap := values.(map[string]any)
	if !ok || err != nil || !isMap {
		return
	}
	maps.DeleteFunc(m, func(k string, _ any) bool { return slices.Contains(keys, k) })
}
