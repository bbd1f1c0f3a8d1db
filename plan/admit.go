package plan

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// Admits reports whether the conditions of a cluster store let a namespace use it:
// one of them has to match, and a store without conditions admits everybody. A
// regular expression must match the whole name, so that "prod" does not admit
// "nonprod". It fails with Invalid if a selector or expression cannot be read; the
// namespace is not admitted then.
func Admits(conditions []esv1.ClusterSecretStoreCondition, namespace string, namespaceLabels map[string]string) (bool, error) {
	if len(conditions) == 0 {
		return true, nil
	}
	for i, c := range conditions {
		ok, err := admits(i, c, namespace, namespaceLabels)
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func admits(i int, c esv1.ClusterSecretStoreCondition, namespace string, namespaceLabels map[string]string) (bool, error) {
	if slices.Contains(c.Namespaces, namespace) {
		return true, nil
	}
	for j, text := range c.NamespaceRegexes {
		_, bare := regexp.Compile(text) // "a)|(b" is an expression only once it is enclosed
		re, err := regexp.Compile(`^(?:` + text + `)$`)
		if err := errors.Join(bare, err); err != nil {
			return false, invalid(fmt.Sprintf("spec.conditions[%d].namespaceRegexes[%d]", i, j), "not a regular expression")
		}
		if re.MatchString(namespace) {
			return true, nil
		}
	}
	if c.NamespaceSelector == nil {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(c.NamespaceSelector)
	if err != nil {
		return false, invalid(fmt.Sprintf("spec.conditions[%d].namespaceSelector", i), "not a label selector")
	}
	return selector.Matches(labels.Set(namespaceLabels)), nil
}
