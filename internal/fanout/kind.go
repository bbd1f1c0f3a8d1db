package fanout

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/metrics"
	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/secret"
)

// Kind is a kind P of cluster-wide objects, whose children are of kind C. All fields
// but the finalizers are required, and all functions are pure.
type Kind[P, C client.Object] struct {
	// Name is that of the controller.
	Name string
	// GroupVersionKind is that of P.
	GroupVersionKind schema.GroupVersionKind
	// New, NewChild and NewChildren return an empty object, child and list of children.
	New         func() P
	NewChild    func() C
	NewChildren func() client.ObjectList
	// Wish returns what an object asks for.
	Wish func(P) Wish
	// Build returns a child of the object with its spec, and nothing else.
	Build func(P) C
	// Same reports whether two children have the same spec.
	Same func(a, b C) bool
	// Status returns what an object's status says.
	Status func(P) Status
	// ChildField is the field of the status that holds Status.Child.
	ChildField string
	// Series are the metrics of the kind.
	Series *metrics.Objects
	// Taken is what a failed namespace says in which another's child has the name.
	Taken string
	// Finalizer, and any on a namespace that begins with NamespaceFinalizer, are ESO's:
	// they are released.
	Finalizer, NamespaceFinalizer string
}

// Wish is what a cluster-wide object asks for, beside the spec of its children.
type Wish struct {
	// Child is the name of the children.
	Child               string
	Labels, Annotations map[string]string
	// Selectors and Namespaces say where children go: where any of them does.
	Selectors  []Selector
	Namespaces []string
	// Interval is how often all children are compared; nil is an hour, 0 and less never.
	Interval *metav1.Duration
}

// Selector is a label selector, and the field that it is in.
type Selector struct {
	Field    string
	Selector *metav1.LabelSelector
}

// Status is the status of an object of any Kind.
type Status struct {
	Child       string
	Provisioned []string
	Failed      []Failure
	Conditions  []conditions.Condition
	Generation  int64
}

// Failure is a namespace without a child, or with one that is not as it should be.
type Failure struct{ Namespace, Reason string }

// target is what one object wants. It is not changed once it is made.
type target struct {
	name       string
	uid        types.UID
	generation int64
	child      client.Object // without a namespace
	version    int           // of child: the same as long as it is the same
	selectors  []labels.Selector
	namespaces map[string]bool
	interval   time.Duration
	taken      string
	same       func(a, b client.Object) bool
}

// newTarget reads an object. It fails with secret.Invalid, and names the field, if a
// selector cannot be read.
func newTarget[P, C client.Object](k Kind[P, C], parent P) (*target, error) {
	wish := k.Wish(parent)
	t := &target{
		name: parent.GetName(), uid: parent.GetUID(), generation: parent.GetGeneration(),
		child: k.Build(parent), namespaces: map[string]bool{}, interval: time.Hour, taken: k.Taken,
		same: func(a, b client.Object) bool {
			x, xok := a.(C)
			y, yok := b.(C)
			return xok && yok && k.Same(x, y)
		},
	}
	for _, s := range wish.Selectors {
		selector, err := metav1.LabelSelectorAsSelector(s.Selector)
		if err != nil {
			return nil, &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("%s: correct the selector: %w", s.Field, err)}
		}
		t.selectors = append(t.selectors, selector)
	}
	for _, ns := range wish.Namespaces {
		t.namespaces[ns] = true
	}
	if wish.Interval != nil {
		t.interval = wish.Interval.Duration
	}
	annotations := maps.Clone(wish.Annotations)
	if asked, ok := parent.GetAnnotations()[v1.AnnotationForceSync]; ok {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1.AnnotationForceSync] = asked
	}
	t.child.SetName(wish.Child)
	t.child.SetLabels(wish.Labels)
	t.child.SetAnnotations(annotations)
	t.child.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(parent, k.GroupVersionKind)})
	return t, nil
}

// selects reports whether a child is wanted in a namespace.
func (t *target) selects(ns metav1.Object) bool {
	return t.namespaces[ns.GetName()] || slices.ContainsFunc(t.selectors, func(s labels.Selector) bool {
		return s.Matches(labels.Set(ns.GetLabels()))
	})
}

// controls reports whether a child is the object's own.
func (t *target) controls(child metav1.Object) bool {
	owner := metav1.GetControllerOf(child)
	return owner != nil && owner.UID == t.uid
}

// alike reports whether two children say the same.
func (t *target) alike(a, b client.Object) bool {
	return a.GetName() == b.GetName() && maps.Equal(a.GetLabels(), b.GetLabels()) &&
		maps.Equal(a.GetAnnotations(), b.GetAnnotations()) && t.same(a, b)
}
