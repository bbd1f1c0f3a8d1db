package plan

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

// Validate checks what can be known from the spec alone, also what the schema of
// the CRD and its CEL rules check: objects come from files too. It fails with
// Invalid, and with Denied for a Secret that would be a credential of the cluster; the
// error names the field.
func Validate(spec *esv1.ExternalSecretSpec) error {
	if _, err := Sources(spec); err != nil {
		return err
	}
	if err := checkWords(spec); err != nil {
		return err
	}
	if err := checkPolicies(spec); err != nil {
		return err
	}
	if m := spec.Target.Manifest; m != nil {
		if _, err := schema.ParseGroupVersion(m.APIVersion); err != nil || m.APIVersion == "" || m.Kind == "" {
			return invalid("spec.target.manifest", "needs an apiVersion (such as v1 or apps/v1) and a kind")
		}
	}
	return checkTemplate(spec)
}

// checkWords refuses words that a field does not know.
func checkWords(spec *esv1.ExternalSecretSpec) error {
	t := &spec.Target
	type choice struct {
		field, value string
		known        []string
	}
	choices := []choice{
		{"spec.refreshPolicy", string(spec.RefreshPolicy), words(esv1.RefreshPolicyCreatedOnce, esv1.RefreshPolicyPeriodic, esv1.RefreshPolicyOnChange)},
		{"spec.target.creationPolicy", string(t.CreationPolicy), words(esv1.CreatePolicyOwner, esv1.CreatePolicyOrphan, esv1.CreatePolicyMerge, esv1.CreatePolicyNone, esv1.CreatePolicyCreateOrMerge)},
		{"spec.target.deletionPolicy", string(t.DeletionPolicy), words(esv1.DeletionPolicyDelete, esv1.DeletionPolicyMerge, esv1.DeletionPolicyRetain)},
	}
	if t.Template != nil {
		choices = append(choices,
			choice{"spec.target.template.engineVersion", string(t.Template.EngineVersion), words(esv1.TemplateEngineV2)},
			choice{"spec.target.template.mergePolicy", string(t.Template.MergePolicy), words(esv1.MergePolicyReplace, esv1.MergePolicyMerge)})
	}
	for _, c := range choices {
		if c.value != "" && !slices.Contains(c.known, c.value) {
			return invalid(c.field, "%q is not one of %s", c.value, strings.Join(c.known, ", "))
		}
	}
	return nil
}

func words[S ~string](known ...S) []string {
	out := make([]string, len(known))
	for i, w := range known {
		out[i] = string(w)
	}
	return out
}

func checkPolicies(spec *esv1.ExternalSecretSpec) error {
	const field = "spec.target.deletionPolicy"
	creation := creationPolicy(spec)
	switch deletionPolicy(spec) {
	case esv1.DeletionPolicyDelete:
		if creation != esv1.CreatePolicyOwner && creation != esv1.CreatePolicyOrphan {
			return invalid(field, "Delete cannot be combined with creationPolicy %s: a target that is not created here is not deleted here; use Retain", creation)
		}
	case esv1.DeletionPolicyMerge:
		if creation == esv1.CreatePolicyNone {
			return invalid(field, "Merge cannot be combined with creationPolicy None: there is no target; use Retain")
		}
	}
	return nil
}

func checkTemplate(spec *esv1.ExternalSecretSpec) error {
	tpl := spec.Target.Template
	if tpl == nil {
		return nil
	}
	annotated := false
	for i, from := range tpl.TemplateFrom {
		target, ok := secretTarget(from.Target)
		if !ok && !isGeneric(spec) {
			return invalid(templateFromField(fieldTemplate, i)+".target", "%q: a Secret takes Data, Annotations or Labels", from.Target)
		}
		annotated = annotated || target == esv1.TemplateTargetAnnotations
	}
	if isGeneric(spec) {
		return nil
	}
	if annotated && tpl.Type == corev1.SecretTypeServiceAccountToken {
		return refuse(secret.Denied, "spec.target.template.type", "%s cannot be combined with templateFrom of target Annotations: it could ask the cluster for a token", tpl.Type)
	}
	return checkType("spec.target.template.type", tpl.Type, tpl.Metadata.Annotations)
}

// checkType refuses a Secret which the cluster would fill with, or take for, a
// credential of its own.
func checkType(field string, t corev1.SecretType, annotations map[string]string) error {
	switch t {
	case corev1.SecretTypeBootstrapToken:
		return refuse(secret.Denied, field, "%s is refused: such a Secret lets its holder join nodes", t)
	case corev1.SecretTypeServiceAccountToken:
		if _, named := annotations[corev1.ServiceAccountNameKey]; named {
			return refuse(secret.Denied, field, "%s with annotation %s is refused: the cluster would fill it with a token", t, corev1.ServiceAccountNameKey)
		}
	}
	return nil
}

// secretTarget returns which part of a Secret a templateFrom goes to, in any case.
func secretTarget(s string) (string, bool) {
	if s == "" {
		return esv1.TemplateTargetData, true
	}
	for _, known := range []string{esv1.TemplateTargetData, esv1.TemplateTargetAnnotations, esv1.TemplateTargetLabels} {
		if strings.EqualFold(s, known) {
			return known, true
		}
	}
	return "", false
}

// TargetName returns the name of the target: that of the object if it names none.
func TargetName(es *esv1.ExternalSecret) string {
	if es.Spec.Target.Name != "" {
		return es.Spec.Target.Name
	}
	return es.Name
}

// IsGeneric reports whether the target is something else than a Secret. A
// manifest that names a Secret is a Secret target like any other.
func IsGeneric(es *esv1.ExternalSecret) bool { return isGeneric(&es.Spec) }

func isGeneric(spec *esv1.ExternalSecretSpec) bool {
	m := spec.Target.Manifest
	return m != nil && (m.APIVersion != corev1.SchemeGroupVersion.String() || m.Kind != kindSecret)
}

func creationPolicy(spec *esv1.ExternalSecretSpec) esv1.ExternalSecretCreationPolicy {
	if spec.Target.CreationPolicy == "" {
		return esv1.CreatePolicyOwner
	}
	return spec.Target.CreationPolicy
}

func deletionPolicy(spec *esv1.ExternalSecretSpec) esv1.ExternalSecretDeletionPolicy {
	if spec.Target.DeletionPolicy == "" {
		return esv1.DeletionPolicyRetain
	}
	return spec.Target.DeletionPolicy
}

// targetField names the target for messages.
func targetField(es *esv1.ExternalSecret) string {
	return fmt.Sprintf("spec.target (%s)", TargetName(es))
}
