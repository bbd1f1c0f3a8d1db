package fanout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/internal/reconcile/conditions"
	"github.com/keyferry/keyferry/internal/reconcile/conditions/check"
	"github.com/keyferry/keyferry/secret"
)

func TestStatus(t *testing.T) {
	tt := testTarget(t)
	invalid := &secret.Error{Kind: secret.Invalid, Err: fmt.Errorf("spec.selectors[1]: correct it")}
	denied := page{reason: "Denied: create", kind: secret.Denied}
	stuck := page{reason: "another has it", kind: secret.Conflict, stuck: true}
	before := Status{Child: "old", Provisioned: []string{"was"}, Failed: []Failure{{"f", "r"}}, Generation: 2}
	cases := map[string]struct {
		tally       tally
		child       string
		provisioned []string
		failed      []Failure
		want        string // Ready, what is beside it, and the message
	}{
		"nothing selected": {tally: tally{target: tt}, child: "one", want: "True,  all selected namespaces are in step"},
		"all there": {
			tally: tally{target: tt, pages: map[string]page{"b": {there: true}, "a": {there: true}}},
			child: "one", provisioned: []string{"a", "b"}, want: "True,  all selected namespaces are in step",
		},
		"some under way": {
			tally: tally{target: tt, pages: map[string]page{"b": {there: true, pending: true}, "a": {pending: true}, "c": {there: true}}},
			child: "one", provisioned: []string{"b", "c"}, want: "Unknown, Reconciling 1 of 3 namespaces are in step",
		},
		"one taken": {
			tally: tally{target: tt, pages: map[string]page{"b": {there: true}, "a": stuck}},
			child: "one", provisioned: []string{"b"}, failed: []Failure{{"a", "another has it"}},
			want: "False, Stalled Conflict: one or more namespaces failed: see status.failedNamespaces",
		},
		"one taken, others under way": {
			tally: tally{target: tt, pages: map[string]page{"b": {pending: true}, "a": stuck}},
			child: "one", failed: []Failure{{"a", "another has it"}},
			want: "False, Reconciling Conflict: one or more namespaces failed: see status.failedNamespaces",
		},
		"one taken, one that is tried again": {
			tally: tally{target: tt, pages: map[string]page{"b": denied, "a": stuck, "c": {there: true, reason: "Denied: update", kind: secret.Denied}}},
			child: "one", failed: []Failure{{"a", "another has it"}, {"b", "Denied: create"}, {"c", "Denied: update"}},
			want: "False, Reconciling Denied: one or more namespaces failed: see status.failedNamespaces",
		},
		"a selector is wrong: what is there stays": {
			tally: tally{refused: invalid, pages: map[string]page{"b": {there: true}}},
			child: "old", provisioned: []string{"was"}, failed: []Failure{{"f", "r"}}, want: "False, Stalled Invalid: spec.selectors[1]: correct it",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.tally.generation = 3
			got := c.tally.status(before, at(0))
			check.Conditions(t, got.Conditions)
			ready, _ := conditions.Find(got.Conditions, conditions.Ready)
			var beside string
			if len(got.Conditions) > 1 {
				beside = got.Conditions[1].Type
			}
			if text := fmt.Sprintf("%s, %s %s", ready.Status, beside, ready.Message); text != c.want {
				t.Errorf("is  %s\nnot %s", text, c.want)
			}
			want := Status{Child: c.child, Provisioned: c.provisioned, Failed: c.failed, Generation: 3, Conditions: got.Conditions}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(got, c.tally.status(got, at(60))); diff != "" {
				t.Errorf("an hour later it says something else: %s", diff)
			}
		})
	}
}

func TestWarningNamesAFew(t *testing.T) {
	var s Status
	for n := range 8 {
		s.Failed = append(s.Failed, Failure{Namespace: fmt.Sprint("ns", n), Reason: "another has it"})
	}
	got := warning(s)
	if !strings.Contains(got, "ns4: another has it; and 3 more") || strings.Contains(got, "ns5") {
		t.Errorf("got %s", got)
	}
}

func newBook() *book { return &book{m: map[string]*chapter{}} }

func TestReportsAreGathered(t *testing.T) {
	b := newBook()
	if _, ok := b.ask("many", at(0)); ok {
		t.Error("asks for the report of what it does not know")
	}
	b.open(testTarget(t))
	wait, ok := b.ask("many", at(0))
	if !ok || wait != gather {
		t.Fatalf("the first report: %v, %v", wait, ok)
	}
	for range 2000 {
		if _, ok := b.ask("many", at(0)); ok {
			t.Fatal("a second report is queued")
		}
	}
	now := at(0).Add(wait)
	if _, ok := b.take("many", now); !ok {
		t.Fatal("no report")
	}
	if wait, ok := b.ask("many", now.Add(time.Millisecond)); !ok || wait != reportEvery-time.Millisecond {
		t.Errorf("the second report: %v, %v", wait, ok)
	}
	b.forget("many")
	if _, ok := b.take("many", now); ok {
		t.Error("reports what is gone")
	}
}

func TestBookKnowsWhatIsTheSame(t *testing.T) {
	b := newBook()
	first := b.open(testTarget(t))
	b.note(first, "a", &page{there: true, version: first.version})
	again := b.open(testTarget(t, func(p *parent) { p.Generation, p.Data["team"] = 4, "b" }))
	if again.version != first.version {
		t.Error("the child is another because the selector is")
	}
	if _, p := b.target("many", "a"); !p.there {
		t.Error("a page is lost")
	}
	changed := b.open(testTarget(t, func(p *parent) { p.Data["label"] = "y" }))
	if changed.version == first.version {
		t.Error("the child is the same with another label")
	}
	b.refuse("many", 5, secret.Invalid)
	if got, _ := b.target("many", "a"); got != nil || len(b.targets()) != 0 {
		t.Error("acts on what was refused")
	}
	b.note(first, "b", &page{there: true})
	if y, _ := b.take("many", at(0)); y.generation != 5 || len(y.pages) != 1 {
		t.Errorf("refused: %+v", y)
	}
	recreated := b.open(testTarget(t, func(p *parent) { p.UID = "uid-another" }))
	b.note(changed, "a", &page{there: true})
	if got := b.namespaces("many"); len(got) != 0 {
		t.Errorf("the new one has the pages of the old: %v", got)
	}
	b.note(recreated, "c", &page{})
	b.note(recreated, "c", nil)
	if got := b.namespaces("many"); len(got) != 0 {
		t.Errorf("a page that was dropped is there: %v", got)
	}
}
