package plan

import (
	"context"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

// rendered is what the template makes of the data.
type rendered struct {
	data                map[string]secret.Value
	labels, annotations map[string]string
	// parts are what a generic target gets elsewhere, in order.
	parts []part
}

// part is a value for a path of a generic target.
type part struct {
	field, path string
	value       any
}

// render returns what belongs into the target: the data itself without a template,
// with one what it says. template.data goes before templateFrom, later entries of
// that before earlier ones, and all before the data.
func (t Target) render(ctx context.Context) (rendered, error) {
	es := t.Object
	tpl := es.Spec.Target.Template
	if tpl == nil {
		return rendered{data: t.Data.Values, labels: es.Labels, annotations: inherited(es.Annotations)}, nil
	}
	r := renderer{Target: t, in: template.Data(t.Data.Values), out: rendered{
		data: map[string]secret.Value{}, labels: map[string]string{}, annotations: map[string]string{},
	}}
	if tpl.MergePolicy == esv1.MergePolicyMerge || len(tpl.Data)+len(tpl.TemplateFrom) == 0 {
		maps.Copy(r.out.data, t.Data.Values)
	}
	for i := range tpl.TemplateFrom {
		if err := r.from(ctx, templateFromField(t.templateField(), i), &tpl.TemplateFrom[i]); err != nil {
			return rendered{}, err
		}
	}
	field := t.templateField()
	values, err := r.each(ctx, field+".data", tpl.Data)
	if err != nil {
		return rendered{}, err
	}
	maps.Copy(r.out.data, values)
	for name, meta := range map[string]struct{ from, to map[string]string }{
		".metadata.labels":      {tpl.Metadata.Labels, r.out.labels},
		".metadata.annotations": {tpl.Metadata.Annotations, r.out.annotations},
	} {
		values, err := r.each(ctx, field+name, meta.from)
		if err != nil {
			return rendered{}, err
		}
		copyStrings(meta.to, values)
	}
	r.out.annotations = withoutHash(r.out.annotations)
	return r.out, nil
}

// inherited returns those annotations of an ExternalSecret that its target takes
// over: not those that ask something of the ExternalSecret itself, or record how it
// was applied.
func inherited(in map[string]string) map[string]string {
	out := maps.Clone(in)
	delete(out, esv1.AnnotationForceSync)
	delete(out, corev1.LastAppliedConfigAnnotation)
	return withoutHash(out)
}

// withoutHash leaves out the annotation in which ESO publishes a digest of values.
func withoutHash(in map[string]string) map[string]string {
	out := maps.Clone(in)
	delete(out, esv1.AnnotationDataHash)
	if len(out) == 0 {
		return nil
	}
	return out
}

func copyStrings(to map[string]string, from map[string]secret.Value) {
	for k, v := range from {
		to[k] = string(v.Reveal())
	}
}

type renderer struct {
	Target
	in  map[string]any
	out rendered
}

// each renders every template of a map.
func (r *renderer) each(ctx context.Context, field string, texts map[string]string) (map[string]secret.Value, error) {
	out := make(map[string]secret.Value, len(texts))
	for _, k := range secret.Keys(texts) {
		name := fmt.Sprintf("%s[%s]", field, k)
		v, err := r.Engine.Render(ctx, name, texts[k], r.in)
		if err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, nil
}

// from renders one entry of templateFrom: its ConfigMap, its Secret, its literal.
func (r *renderer) from(ctx context.Context, field string, from *esv1.TemplateFrom) error {
	texts, err := r.texts(field, from)
	if err != nil {
		return err
	}
	target, known := secretTarget(from.Target)
	if !known && !IsGeneric(r.Object) {
		return invalid(field+".target", "%q: a Secret takes Data, Annotations or Labels", from.Target)
	}
	for _, text := range texts {
		if !known {
			err = r.part(ctx, text, from)
		} else {
			err = r.keys(ctx, text, target, from.ValuesDecodingStrategy)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// text is one template of templateFrom.
type text struct {
	field, key, text string
	// whole: it renders keys and values, not the value of key.
	whole bool
}

// texts returns the templates of an entry of templateFrom.
func (r *renderer) texts(field string, from *esv1.TemplateFrom) ([]text, error) {
	var out []text
	for _, src := range []struct {
		kind, field string
		ref         *esv1.TemplateRef
	}{{kindConfigMap, field + ".configMap", from.ConfigMap}, {kindSecret, field + ".secret", from.Secret}} {
		if src.ref == nil {
			continue
		}
		held, ok := r.Sources[TemplateSource{Kind: src.kind, Name: src.ref.Name}.Key()]
		if !ok {
			return nil, refuse(secret.NotFound, src.field+".name", "there is no %s %q in the namespace", src.kind, src.ref.Name)
		}
		for i, item := range src.ref.Items {
			at := fmt.Sprintf("%s.items[%d]", src.field, i)
			v, ok := held[item.Key]
			if !ok {
				return nil, refuse(secret.NotFound, at+".key", "%s %q has no key %q", src.kind, src.ref.Name, item.Key)
			}
			out = append(out, text{at, item.Key, string(v.Reveal()), item.TemplateAs == esv1.TemplateScopeKeysAndValues})
		}
	}
	if from.Literal != nil {
		out = append(out, text{field: field + ".literal", text: *from.Literal, whole: true})
	}
	return out, nil
}

// keys renders a template to keys of the data, annotations or labels.
func (r *renderer) keys(ctx context.Context, t text, target string, decoding esv1.ExternalSecretDecodingStrategy) error {
	values := map[string]secret.Value{}
	var err error
	if t.whole {
		values, err = r.Engine.KeysAndValues(ctx, t.field, t.text, r.in)
	} else {
		values[t.key], err = r.Engine.Render(ctx, t.field, t.text, r.in)
	}
	if err != nil {
		return err
	}
	for _, k := range secret.Keys(values) {
		if values[k], err = decode(decoding, values[k]); err != nil {
			return within(fmt.Sprintf("%s: %s", t.field, t.naming(k)), err)
		}
	}
	if t.whole {
		if err := r.checkMade(t, target, values); err != nil {
			return err
		}
	}
	switch target {
	case esv1.TemplateTargetAnnotations:
		copyStrings(r.out.annotations, values)
	case esv1.TemplateTargetLabels:
		copyStrings(r.out.labels, values)
	default:
		maps.Copy(r.out.data, values)
	}
	return nil
}

// naming says which key is meant. One that the template does not spell out was made
// of a value.
func (t text) naming(key string) string {
	if t.whole && !strings.Contains(t.text, key) {
		return "a key that is not shown because the template makes it of a value"
	}
	return fmt.Sprintf("key %q", key)
}

// checkMade refuses keys and label values that Kubernetes refuses, while it is known
// that a template made them.
func (r *renderer) checkMade(t text, target string, values map[string]secret.Value) error {
	for _, k := range secret.Keys(values) {
		var problems []string
		switch target {
		case esv1.TemplateTargetAnnotations:
			problems = validation.IsQualifiedName(strings.ToLower(k))
		case esv1.TemplateTargetLabels:
			problems = append(validation.IsQualifiedName(k), validation.IsValidLabelValue(string(values[k].Reveal()))...)
		default:
			if m := r.Object.Spec.Target.Manifest; m == nil || m.Kind == kindConfigMap && m.APIVersion == corev1.SchemeGroupVersion.String() {
				problems = validation.IsConfigMapKey(k)
			}
		}
		if len(problems) > 0 {
			return invalid(t.field, "%s is refused by Kubernetes: %s", t.naming(k), problems[0])
		}
	}
	return nil
}

// part renders a template to a path of a generic target: a structure that is merged
// there, the value of the path itself, or, for "spec", the value of a key below it.
func (r *renderer) part(ctx context.Context, t text, from *esv1.TemplateFrom) error {
	v, err := r.Engine.Render(ctx, t.field, t.text, r.in)
	if err != nil {
		return err
	}
	if v, err = decode(from.ValuesDecodingStrategy, v); err != nil {
		return within(t.field, err)
	}
	p := part{field: t.field, path: from.Target}
	if strings.EqualFold(p.path, fieldSpec) {
		p.path = fieldSpec
	}
	if p.path == fieldSpec && !t.whole {
		p.value = map[string]any{t.key: string(v.Reveal())}
	} else {
		p.value = template.ParseLeaf(v)
	}
	r.out.parts = append(r.out.parts, p)
	return nil
}
