package plan

import (
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

// FieldOwner returns the field manager under which the target of the ExternalSecret
// of that name is written. It is ESO's, so that what ESO wrote counts as ours.
func FieldOwner(name string) string {
	if owner := esv1.FieldManagerPrefix + name; len(owner) <= esv1.FieldManagerMaxLength {
		return owner
	}
	return esv1.FieldManagerHashPrefix + digest224(name)
}

// OwnerLabel returns the value of the created-by label of the targets that an
// ExternalSecret owns.
func OwnerLabel(namespace, name string) string { return digest224(namespace + "/" + name) }

func digest224(s string) string {
	sum := sha3.Sum224([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Orphans returns those of the Secrets that es made and no longer wants: they carry
// its created-by label and are controlled by it, the label alone being anybody's to
// set. The order is kept.
func Orphans(es *esv1.ExternalSecret, candidates []metav1.PartialObjectMetadata) []metav1.PartialObjectMetadata {
	if creationPolicy(&es.Spec) != esv1.CreatePolicyOwner {
		return nil
	}
	label := OwnerLabel(es.Namespace, es.Name)
	var out []metav1.PartialObjectMetadata
	for i := range candidates {
		c := &candidates[i]
		ref := metav1.GetControllerOfNoCopy(c)
		switch {
		case c.Namespace != es.Namespace, c.DeletionTimestamp != nil, c.Labels[esv1.LabelOwner] != label:
		case ref == nil, ref.UID != es.UID:
		case c.Name == TargetName(es) && !IsGeneric(es):
		default:
			out = append(out, *c)
		}
	}
	return out
}

// own sets or removes the marks of ownership, as the policy wants it. It fails with
// Conflict if another ExternalSecret controls the target, or, for a target to be
// owned, anybody else.
func own(es *esv1.ExternalSecret, target metav1.Object) error {
	if err := unclaimed(es, metav1.GetControllerOfNoCopy(target)); err != nil {
		return err
	}
	refs := slices.DeleteFunc(slices.Clone(target.GetOwnerReferences()), func(r metav1.OwnerReference) bool {
		return r.Controller != nil && *r.Controller && isNamed(es, &r)
	})
	labels := target.GetLabels()
	value := OwnerLabel(es.Namespace, es.Name)
	if creationPolicy(&es.Spec) == esv1.CreatePolicyOwner {
		labels[esv1.LabelOwner] = value
		if es.UID != "" { // one read from a file has none
			refs = append(refs, *metav1.NewControllerRef(es, esv1.GroupVersion().WithKind(esv1.ExtSecretKind)))
		}
	} else if labels[esv1.LabelOwner] == value {
		delete(labels, esv1.LabelOwner)
	}
	target.SetLabels(labels)
	if len(refs) == 0 {
		refs = nil
	}
	if !sameOwners(refs, target.GetOwnerReferences()) {
		target.SetOwnerReferences(refs)
	}
	return nil
}

// unclaimed refuses a target that current controls, nil being nobody.
func unclaimed(es *esv1.ExternalSecret, current *metav1.OwnerReference) error {
	switch {
	case current == nil || isNamed(es, current):
		return nil
	case isExternalSecret(current):
		return refuse(secret.Conflict, targetField(es), "is owned by another ExternalSecret, %s: name another target", current.Name)
	case creationPolicy(&es.Spec) == esv1.CreatePolicyOwner:
		return refuse(secret.Conflict, targetField(es), "failed to take ownership, %s %s controls it: name another target, or use creationPolicy Merge", current.Kind, current.Name)
	}
	return nil
}

// sameOwners reports whether both hold the same references, in any order.
func sameOwners(a, b []metav1.OwnerReference) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(r metav1.OwnerReference) bool {
		return !slices.ContainsFunc(b, func(s metav1.OwnerReference) bool { return equality.Semantic.DeepEqual(r, s) })
	})
}

// isNamed reports whether an owner is es, as far as names go: one that was deleted
// and made again goes on with what it had.
func isNamed(es *esv1.ExternalSecret, ref *metav1.OwnerReference) bool {
	return isExternalSecret(ref) && ref.Name == es.Name
}

// isExternalSecret reports whether an owner is an ExternalSecret of any version.
func isExternalSecret(ref *metav1.OwnerReference) bool {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	return err == nil && gv.Group == esv1.Group && ref.Kind == esv1.ExtSecretKind
}

// mayDelete fails with Conflict unless the ExternalSecret controls the target.
func (t Target) mayDelete(target metav1.Object) error {
	es := t.Object
	ref := metav1.GetControllerOfNoCopy(target)
	if ref != nil && isNamed(es, ref) {
		return nil
	}
	if es.UID == "" && target.GetLabels()[esv1.LabelOwner] == OwnerLabel(es.Namespace, es.Name) { // no cluster, no references
		return nil
	}
	return refuse(secret.Conflict, targetField(t.Object), "is not deleted although the store has nothing: it was not made by this ExternalSecret")
}

// fields are the keys that one manager owns alone.
type fields struct{ data, specData, labels, annotations []string }

// ownedFields returns the keys of target that manager, and nobody else, owns. The
// data-hash annotation is left out: it goes when the target is written anyway.
func ownedFields(target metav1.Object, manager string) fields {
	mine, theirs := map[string]bool{}, map[string]bool{}
	for _, entry := range target.GetManagedFields() {
		if entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		set := theirs
		if entry.Manager == manager {
			set = mine
		}
		var tree map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &tree); err == nil {
			collectKeys(set, tree, "")
		}
	}
	delete(mine, "/f:metadata/f:annotations/f:"+esv1.AnnotationDataHash)
	var out fields
	for _, part := range []struct {
		prefix string
		keys   *[]string
	}{
		{"/f:data/f:", &out.data},
		{"/f:spec/f:data/f:", &out.specData},
		{"/f:metadata/f:labels/f:", &out.labels},
		{"/f:metadata/f:annotations/f:", &out.annotations},
	} {
		for path := range mine {
			if key, ok := strings.CutPrefix(path, part.prefix); ok && !theirs[path] {
				*part.keys = append(*part.keys, key)
			}
		}
	}
	return out
}

// collectKeys adds the paths of the leaves of a field set.
func collectKeys(set map[string]bool, tree map[string]any, path string) {
	for name, below := range tree {
		if children, ok := below.(map[string]any); ok && len(children) > 0 {
			collectKeys(set, children, path+"/"+name)
		} else {
			set[path+"/"+name] = true
		}
	}
}

func checkDataKey(where, key string) error {
	if problems := validation.IsConfigMapKey(key); len(problems) > 0 {
		return invalid(where, "data key %q is refused by Kubernetes: %s", key, problems[0])
	}
	return nil
}

// checkMetadata names keys only: a template can put a secret into a label, and the
// API server would repeat it in its error.
func checkMetadata(where string, labels, annotations map[string]string) error {
	for _, k := range secret.Keys(labels) {
		if problems := validation.IsQualifiedName(k); len(problems) > 0 {
			return invalid(where, "label %q is refused by Kubernetes: %s", k, problems[0])
		}
		if len(validation.IsValidLabelValue(labels[k])) > 0 {
			return invalid(where, "the value of label %q is refused by Kubernetes: it may have 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit", k)
		}
	}
	size := 0
	for _, k := range secret.Keys(annotations) {
		size += len(k) + len(annotations[k])
		if problems := validation.IsQualifiedName(strings.ToLower(k)); len(problems) > 0 {
			return invalid(where, "annotation %q is refused by Kubernetes: %s", k, problems[0])
		}
	}
	if size > maxAnnotations {
		return invalid(where, "the annotations have %d bytes and may have %d", size, maxAnnotations)
	}
	return nil
}
