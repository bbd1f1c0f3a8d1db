package fanout

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/secret"
)

// The kind of these tests spreads a ConfigMap, the labels and name of which say what
// is wanted, as ServiceAccounts.
type (
	parent = corev1.ConfigMap
	child  = corev1.ServiceAccount
)

func testKind() Kind[*parent, *child] {
	return Kind[*parent, *child]{
		Name: "test", GroupVersionKind: corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		Wish: func(p *parent) Wish {
			return Wish{
				Child: p.Data["child"], Labels: map[string]string{"l": p.Data["label"]},
				Selectors:  []Selector{{Field: "spec.selector", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": p.Data["team"]}}}},
				Namespaces: []string{"by-name"},
			}
		},
		Build: func(p *parent) *child { return &child{AutomountServiceAccountToken: new(p.Data["spec"] == "true")} },
		Same: func(a, b *child) bool {
			return *a.AutomountServiceAccountToken == *b.AutomountServiceAccountToken
		},
		Taken: "another has it",
	}
}

func testParent(change ...func(*parent)) *parent {
	p := &parent{
		ObjectMeta: metav1.ObjectMeta{Name: "many", UID: "uid-many", Generation: 3},
		Data:       map[string]string{"child": "one", "label": "x", "spec": "true", "team": "a"},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func testTarget(t *testing.T, change ...func(*parent)) *target {
	t.Helper()
	out, err := newTarget(testKind(), testParent(change...))
	if err != nil {
		t.Fatal(err)
	}
	out.version = 1
	return out
}

// made is the target's child as it is in a namespace.
func made(t *target, change ...func(*child)) client.Object {
	c, _ := t.child.DeepCopyObject().(*child)
	c.Namespace, c.UID, c.ResourceVersion = "ns", "uid-child", "7"
	for _, f := range change {
		f(c)
	}
	return c
}

func orphaned(c *child)   { c.OwnerReferences = nil }
func named2(c *child)     { c.Name = "two" }
func relabelled(c *child) { c.Labels = map[string]string{"l": "x", "more": "y"} }
func annotated(c *child)  { c.Annotations = map[string]string{v1.AnnotationForceSync: "1"} }
func edited(c *child)     { c.AutomountServiceAccountToken = new(false) }
func deleting(c *child)   { c.DeletionTimestamp = new(metav1.Now()) }
func anothers(c *child)   { c.OwnerReferences[0].UID = "uid-of-another" }

func TestDecide(t *testing.T) {
	tt := testTarget(t)
	one, two := made(tt), made(tt, named2)
	cases := map[string]struct {
		view   view
		page   page
		verb   verb
		remove []client.Object
	}{
		"a new namespace":                   {view: view{there: true, selected: true}, verb: create},
		"all is well":                       {view: view{there: true, selected: true, named: one, mine: []client.Object{one}}, verb: nothing},
		"the spec was edited":               {view: view{there: true, selected: true, named: made(tt, edited)}, verb: update},
		"a label was added":                 {view: view{there: true, selected: true, named: made(tt, relabelled)}, verb: update},
		"an annotation was added":           {view: view{there: true, selected: true, named: made(tt, annotated)}, verb: update},
		"it is being deleted":               {view: view{there: true, selected: true, named: made(tt, deleting, edited)}, verb: wait},
		"nobody's has the name":             {view: view{there: true, selected: true, named: made(tt, orphaned)}, verb: taken},
		"another's has the name":            {view: view{there: true, selected: true, named: made(tt, anothers, edited)}, verb: taken},
		"the namespace goes":                {view: view{selected: true, named: one, mine: []client.Object{one}}, verb: leave},
		"not selected, nothing there":       {view: view{there: true}, verb: leave},
		"not selected, another's there":     {view: view{there: true, named: made(tt, anothers)}, verb: leave},
		"not selected any more":             {view: view{there: true, named: one, mine: []client.Object{one, two}}, verb: leave, remove: []client.Object{one, two}},
		"not selected, going already":       {view: view{there: true, mine: []client.Object{made(tt, deleting)}}, verb: leave},
		"renamed":                           {view: view{there: true, selected: true, mine: []client.Object{two}}, verb: create, remove: []client.Object{two}},
		"renamed, the new one is there":     {view: view{there: true, selected: true, named: one, mine: []client.Object{one, two}}, verb: nothing, remove: []client.Object{two}},
		"renamed, another's has the name":   {view: view{there: true, selected: true, named: made(tt, anothers), mine: []client.Object{two}}, verb: taken},
		"changed as it was when written":    {view: view{there: true, selected: true, named: made(tt, relabelled)}, page: page{version: 1, settled: made(tt, relabelled)}, verb: nothing},
		"changed otherwise than by webhook": {view: view{there: true, selected: true, named: made(tt, edited)}, page: page{version: 1, settled: made(tt, relabelled)}, verb: update},
		"a webhook changed what was before": {view: view{there: true, selected: true, named: made(tt, relabelled)}, page: page{version: 0, settled: made(tt, relabelled)}, verb: update},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := tt.decide(c.view, c.page)
			if s.verb != c.verb {
				t.Errorf("verb is %q, want %q", s.verb, c.verb)
			}
			if diff := cmp.Diff(c.remove, s.remove); diff != "" {
				t.Error(diff)
			}
			if s.verb == update && s.have != c.view.named {
				t.Error("it updates something else")
			}
			if idle := c.verb != create && c.verb != update && len(c.remove) == 0; s.idle() != idle {
				t.Errorf("idle is %v", s.idle())
			}
		})
	}
}

func TestTarget(t *testing.T) {
	forced := func(p *parent) { p.Annotations = map[string]string{v1.AnnotationForceSync: "42", "other": "kept here"} }
	tt := testTarget(t, forced)
	want := &child{
		ObjectMeta: metav1.ObjectMeta{
			Name: "one", Labels: map[string]string{"l": "x"}, Annotations: map[string]string{v1.AnnotationForceSync: "42"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "many", UID: "uid-many", Controller: new(true), BlockOwnerDeletion: new(true)}},
		},
		AutomountServiceAccountToken: new(true),
	}
	if diff := cmp.Diff(client.Object(want), tt.child); diff != "" {
		t.Error(diff)
	}
	if tt.interval != time.Hour {
		t.Errorf("interval is %v", tt.interval)
	}
	for name, c := range map[string]struct {
		ns   metav1.ObjectMeta
		want bool
	}{
		"by label":      {metav1.ObjectMeta{Name: "n", Labels: map[string]string{"team": "a", "x": "y"}}, true},
		"by name":       {metav1.ObjectMeta{Name: "by-name"}, true},
		"another label": {metav1.ObjectMeta{Name: "n", Labels: map[string]string{"team": "b"}}, false},
		"no label":      {metav1.ObjectMeta{Name: "n"}, false},
	} {
		if got := tt.selects(&c.ns); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTargetThatCannotBeRead(t *testing.T) {
	k := testKind()
	k.Wish = func(*parent) Wish {
		return Wish{Selectors: []Selector{{Field: "spec.selectors[1]", Selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "k", Operator: "Near"}},
		}}}}
	}
	_, err := newTarget(k, testParent())
	if !errors.Is(err, secret.Invalid) || !strings.Contains(err.Error(), "spec.selectors[1]") {
		t.Errorf("error is %v", err)
	}
}

func TestTargetOfIntervals(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, 0: 0} {
		k := testKind()
		k.Wish = func(*parent) Wish { return Wish{Interval: &metav1.Duration{Duration: given}} }
		tt, err := newTarget(k, testParent())
		if err != nil || tt.interval != want {
			t.Errorf("%v: %v, %v", given, tt, err)
		}
	}
}

func at(minutes float64) time.Time {
	return time.Unix(1_000_000, 0).Add(time.Duration(minutes * float64(time.Minute)))
}

func TestRepairsAreHeldBack(t *testing.T) {
	tt := testTarget(t)
	s := step{verb: update, have: made(tt, edited)}
	var p page
	if p.hold(tt, s, at(0)) != 0 {
		t.Fatal("the first write waits")
	}
	p = p.after(tt, s, made(tt), at(0)) // no repair: it was never in order
	now := at(1)
	var waits []time.Duration
	for range 14 {
		wait := p.hold(tt, s, now)
		waits = append(waits, wait)
		now = now.Add(wait)
		if p.hold(tt, s, now) != 0 {
			t.Fatal("it waits longer than it said")
		}
		p = p.after(tt, s, made(tt), now)
	}
	second := time.Second
	want := []time.Duration{0, 0, 0, second, 2 * second, 4 * second, 8 * second, 16 * second, 32 * second, 64 * second, 128 * second, 256 * second, 512 * second, 600 * second}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Error(diff)
	}
	if p.kind != secret.Conflict || p.stuck {
		t.Errorf("nobody is told: %+v", p)
	}
	calm := now.Add(repairCalm + 1)
	if p.hold(tt, s, calm) != 0 {
		t.Error("a repair waits after a long calm")
	}
	if p = p.after(tt, step{}, nil, calm); p.reason != "" {
		t.Errorf("it is over, and says %q", p.reason)
	}
	changed := testTarget(t)
	changed.version = 2
	if p.hold(changed, s, now) != 0 {
		t.Error("a change of what is wanted waits")
	}
}

func TestWhatAWebhookChanges(t *testing.T) {
	tt := testTarget(t)
	var p page
	p = p.after(tt, step{verb: create}, made(tt, relabelled), at(0))
	if s := tt.decide(view{there: true, selected: true, named: made(tt, relabelled)}, p); !s.idle() {
		t.Errorf("writes again: %+v", s)
	}
	p = p.after(tt, step{}, nil, at(1))
	if s := tt.decide(view{there: true, selected: true, named: made(tt, relabelled)}, p); !s.idle() {
		t.Errorf("writes again later: %+v", s)
	}
	p = p.after(tt, step{verb: update}, made(tt), at(2))
	if p.settled != nil {
		t.Error("it remembers a change that there is no more")
	}
}

func TestFailed(t *testing.T) {
	conflict := &secret.Error{Kind: secret.Conflict, Op: "update"}
	var p page
	for n := range quietConflicts - 1 {
		var wait time.Duration
		if p, wait = p.failed(conflict); !p.pending || p.reason != "" || wait != 50*time.Millisecond<<n {
			t.Errorf("conflict %d: %+v, waits %v", n, p, wait)
		}
	}
	if p, _ = p.failed(conflict); p.pending || p.kind != secret.Conflict || p.reason == "" || p.stuck {
		t.Errorf("conflicts that go on: %+v", p)
	}
}

func TestFailedForOtherReasons(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		stuck bool
		wait  time.Duration
	}{
		"invalid":     {&secret.Error{Kind: secret.Invalid, Op: "create"}, true, 0},
		"unavailable": {&secret.Error{Kind: secret.Unavailable}, false, time.Second},
		"denied":      {&secret.Error{Kind: secret.Denied}, false, time.Minute},
		"stopped":     {reconcile.Stop(&secret.Error{Kind: secret.Denied}), true, 0},
	} {
		p, wait := page{pending: true, there: true}.failed(c.err)
		if p.stuck != c.stuck || wait != c.wait || p.pending || !p.there || p.kind != secret.KindOf(c.err) {
			t.Errorf("%s: %+v, waits %v", name, p, wait)
		}
	}
}

func TestParentOf(t *testing.T) {
	f := &fan[*parent, *child]{kind: testKind()}
	f.kind.GroupVersionKind = v1.GroupVersion().WithKind("Many")
	owner := func(apiVersion, kind string, controls bool) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: "n", UID: types.UID("u"), Controller: &controls}
	}
	for name, c := range map[string]struct {
		owner metav1.OwnerReference
		want  []string
	}{
		"ours":               {owner("external-secrets.io/v1", "Many", true), []string{"u"}},
		"ours, an older API": {owner("external-secrets.io/v1beta1", "Many", true), []string{"u"}},
		"of another kind":    {owner("external-secrets.io/v1", "Few", true), nil},
		"of another group":   {owner("apps/v1", "Many", true), nil},
		"does not control":   {owner("external-secrets.io/v1", "Many", false), nil},
		"cannot be read":     {owner("a/b/c", "Many", true), nil},
	} {
		got := f.parentUID(&child{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{c.owner}}})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
