package plan

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

// Generators returns the generators that dataFrom names, by index. Empty is none.
func Generators(spec *esv1.ExternalSecretSpec) map[int]*esv1.GeneratorRef {
	var out map[int]*esv1.GeneratorRef
	for i := range spec.DataFrom {
		if ref := spec.DataFrom[i].SourceRef; ref != nil && ref.GeneratorRef != nil {
			if out == nil {
				out = map[int]*esv1.GeneratorRef{}
			}
			out[i] = ref.GeneratorRef
		}
	}
	return out
}

// CheckGenerator fails with Invalid, naming the field, for a reference that can lead to
// no generator.
func CheckGenerator(field string, ref *esv1.GeneratorRef) error {
	known := append(genv1alpha1.Kinds(), genv1alpha1.ClusterGeneratorKind)
	switch {
	case ref.APIVersion != "" && ref.APIVersion != genv1alpha1.GroupVersion().String():
		return invalid(field+".apiVersion", "%q is not %s", ref.APIVersion, genv1alpha1.GroupVersion())
	case !slices.Contains(known, ref.Kind):
		return invalid(field+".kind", "%q is not one of %s", ref.Kind, strings.Join(known, ", "))
	case ref.Name == "":
		return invalid(field+".name", "is empty: name the %s", ref.Kind)
	}
	return nil
}

// Rotates reports whether what a generator has made for es is ever replaced once the
// target has it: not under CreatedOnce, nor with a refreshInterval of zero.
func Rotates(es *esv1.ExternalSecret) bool {
	switch es.Spec.RefreshPolicy {
	case esv1.RefreshPolicyCreatedOnce:
		return false
	case esv1.RefreshPolicyOnChange:
		return true
	}
	return interval(&es.Spec) > 0
}

// Forced reports whether the force-sync annotation changed since the last sync. That of a
// sync by ESO is not known.
func Forced(es *esv1.ExternalSecret) bool {
	parts := strings.SplitN(es.Status.SyncedResourceVersion, "-", 3)
	ours := len(parts) > 1 && len(parts[1]) == digestLength
	return ours && forcePart(SyncedVersion(es)) != forcePart(es.Status.SyncedResourceVersion)
}

// Aged returns es as if it had been synced at that time and nothing had changed since:
// Refresh then says when the interval of what was made at that time is over.
func Aged(es *esv1.ExternalSecret, made time.Time) *esv1.ExternalSecret {
	out := *es
	out.Status.RefreshTime = metav1.NewTime(made)
	out.Status.SyncedResourceVersion = SyncedVersion(es)
	return &out
}

// Mine reports whether a target was made by es, or by one of its name: it is managed, and
// carries the label of its owner or data that es wrote.
func Mine(es *esv1.ExternalSecret, target metav1.Object) bool {
	labels := target.GetLabels()
	return labels[esv1.LabelManaged] == esv1.LabelManagedValue &&
		(labels[esv1.LabelOwner] == OwnerLabel(es.Namespace, es.Name) || len(ownedFields(target, FieldOwner(es.Name)).data) > 0)
}

// WrittenAt returns when the data of a target was last written for es; zero if that is
// not known.
func WrittenAt(es *esv1.ExternalSecret, target metav1.Object) time.Time {
	var at time.Time
	for _, entry := range target.GetManagedFields() {
		if entry.Manager == FieldOwner(es.Name) && entry.Subresource == "" && entry.Time != nil && entry.Time.After(at) {
			at = entry.Time.Time
		}
	}
	return at
}

// Recovery says what TakeBack came to.
type Recovery int

// What TakeBack comes to: the values are there, the target does not have them, or it has
// what they were made into, and they cannot be told from that.
const (
	Absent Recovery = iota
	Taken
	Hidden
)

// TakeBack reads what a generator made for entry i of dataFrom back from the target.
// Keys are those that the generator makes; without, everything in the target counts as
// made by it, if nothing else of the spec can have put it there.
func TakeBack(ctx context.Context, engine *template.Engine, es *esv1.ExternalSecret, i int, target TakeFrom) (map[string]secret.Value, Recovery) {
	spec := &es.Spec
	if hides(spec.Target.Template) {
		return nil, Hidden
	}
	if target.Keys == nil {
		return takeAll(es, target)
	}
	names, ok := renamed(ctx, engine, spec.DataFrom[i].Rewrite, target.Keys)
	if !ok {
		return nil, Hidden
	}
	out := make(map[string]secret.Value, len(names))
	for key, made := range names {
		if overridden(spec, key) {
			return nil, Hidden
		}
		v, there := target.Data[key]
		if !there || !target.Intact(key) {
			return nil, Absent
		}
		out[made] = secret.New(v)
	}
	if len(out) < len(target.Keys) { // a rewrite drops some
		return nil, Hidden
	}
	return out, Taken
}

// TakeFrom is a target as TakeBack looks at it.
type TakeFrom struct {
	Data map[string][]byte
	// Keys are what the generator makes; nil if that is not known.
	Keys []string
	// Intact reports whether a key holds what was written for the object.
	Intact func(key string) bool
}

// Untouched returns what tells whether a key of a target holds what was written for es.
// After a loss of the status everything counts.
func Untouched(es *esv1.ExternalSecret, target *corev1.Secret) func(key string) bool {
	lost := es.Status.SyncedResourceVersion == "" || es.Status.RefreshTime.IsZero()
	if lost || target.ResourceVersion == es.Status.TargetResourceVersion {
		return func(string) bool { return true }
	}
	mine := ownedFields(target, FieldOwner(es.Name)).data
	return func(key string) bool { return slices.Contains(mine, key) }
}

// takeAll takes the whole target, if it can only be what one generator made, and that
// from the spec as it is.
func takeAll(es *esv1.ExternalSecret, target TakeFrom) (map[string]secret.Value, Recovery) {
	generation, _, _ := strings.Cut(es.Status.SyncedResourceVersion, "-")
	changed := generation != "" && generation != strconv.FormatInt(es.Generation, 10)
	if changed || !alone(&es.Spec) {
		return nil, Hidden
	}
	if len(target.Data) == 0 {
		return nil, Absent
	}
	out := make(map[string]secret.Value, len(target.Data))
	for key, v := range target.Data {
		if !target.Intact(key) {
			return nil, Absent
		}
		out[key] = secret.New(v)
	}
	return out, Taken
}

// alone reports whether all that is in the target comes from one entry, as it is.
func alone(spec *esv1.ExternalSecretSpec) bool {
	if len(spec.DataFrom) != 1 || len(spec.Data) > 0 || len(spec.DataFrom[0].Rewrite) > 0 {
		return false
	}
	if tpl := spec.Target.Template; tpl != nil && len(tpl.Data) > 0 {
		return false
	}
	return creationPolicy(spec) == esv1.CreatePolicyOwner || creationPolicy(spec) == esv1.CreatePolicyOrphan
}

// hides reports whether a template keeps the values out of the target.
func hides(tpl *esv1.ExternalSecretTemplate) bool {
	return tpl != nil && (len(tpl.TemplateFrom) > 0 || len(tpl.Data) > 0 && tpl.MergePolicy != esv1.MergePolicyMerge)
}

// overridden reports whether a key of the target is something else than dataFrom says.
func overridden(spec *esv1.ExternalSecretSpec, key string) bool {
	if tpl := spec.Target.Template; tpl != nil {
		if _, ok := tpl.Data[key]; ok {
			return true
		}
	}
	return slices.ContainsFunc(spec.Data, func(d esv1.ExternalSecretData) bool { return d.SecretKey == key })
}

// renamed returns which key of the target each key becomes: new name → old name. It is
// not ok if that depends on the values.
func renamed(ctx context.Context, engine *template.Engine, ops []esv1.ExternalSecretRewrite, keys []string) (map[string]string, bool) {
	in := make(map[string]secret.Value, len(keys))
	for _, key := range keys {
		in[key] = secret.FromString(key)
	}
	if slices.ContainsFunc(ops, func(op esv1.ExternalSecretRewrite) bool { return op.Merge != nil }) {
		return nil, false
	}
	in, err := rewrite(ctx, engine, ops, in)
	if err != nil {
		return nil, false
	}
	out := make(map[string]string, len(in))
	for key, old := range in {
		out[key] = string(old.Reveal())
	}
	return out, true
}
