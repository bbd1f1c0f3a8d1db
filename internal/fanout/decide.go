package fanout

import (
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/secret"
)

// view is what is known of a pair of an object and a namespace.
type view struct {
	there    bool // the namespace exists, and is not being deleted
	selected bool
	named    client.Object   // the child of the wanted name, whoever's it is; nil if there is none
	mine     []client.Object // all children of the object
}

type verb string

const (
	nothing verb = ""
	create  verb = "create"
	update  verb = "update"
	// wait is for a child of ours that is being deleted.
	wait verb = "wait"
	// taken is for a child of the name that is not ours.
	taken verb = "taken"
	// leave is for a namespace in which nothing is wanted.
	leave verb = "leave"
)

// step is what is to be done in a namespace: first the verb, then the deletions.
type step struct {
	verb   verb
	have   client.Object // what update changes
	remove []client.Object
}

// idle reports whether the step takes no call.
func (s step) idle() bool { return s.verb != create && s.verb != update && len(s.remove) == 0 }

// decide returns what is to be done about a pair. A child under another name goes
// once the one of the wanted name is there.
func (t *target) decide(v view, p page) step {
	switch {
	case !v.there:
		return step{verb: leave}
	case !v.selected:
		return step{verb: leave, remove: removable(v.mine, "")}
	case v.named == nil:
		return step{verb: create, remove: removable(v.mine, t.child.GetName())}
	}
	have := v.named
	switch {
	case !t.controls(have):
		return step{verb: taken}
	case have.GetDeletionTimestamp() != nil:
		return step{verb: wait}
	case t.alike(have, t.child), p.settledAs(t, have):
		return step{remove: removable(v.mine, t.child.GetName())}
	}
	return step{verb: update, have: have, remove: removable(v.mine, t.child.GetName())}
}

// removable returns the children that are not being deleted and have another name.
func removable(mine []client.Object, name string) []client.Object {
	var out []client.Object
	for _, child := range mine {
		if child.GetName() != name && child.GetDeletionTimestamp() == nil {
			out = append(out, child)
		}
	}
	return out
}

// page is what is remembered of a pair.
type page struct {
	pending bool // it is not known yet, or being put, in order
	there   bool // the child is
	// reason is why it failed, for people; stuck if waiting does not help.
	reason   string
	kind     secret.Kind
	stuck    bool
	failures int

	version  int // of the target that the child was in order with
	repairs  int // since it was, of what others did
	repaired time.Time
	settled  client.Object // what the API server made of the target's child, if not the same
}

// settledAs reports whether a child is what the API server made of the target's, when
// it was written: an admission webhook may change it, and would again.
func (p page) settledAs(t *target, have client.Object) bool {
	return p.settled != nil && p.version == t.version && t.alike(p.settled, have)
}

const (
	// promptRepairs is how many repairs are made at once.
	promptRepairs = 3
	// foughtOver is the reason of a namespace where that was no use.
	foughtOver = "Conflict: somebody else changes it back each time: let them stop, or change what is wanted; until then it is put right at growing distances"
	// repairCalm is how long a child must be left alone until a repair is prompt again.
	repairCalm = 10 * time.Minute
	// quietConflicts is how often in a row a write may come too late before it counts
	// as a failure.
	quietConflicts = 5
)

// hold returns how long a repair must wait, 0 if it need not: somebody who undoes
// each of them must not keep us busy. What is not a repair never waits.
func (p page) hold(t *target, s step, now time.Time) time.Duration {
	if !p.isRepair(t, s) || p.repairs < promptRepairs || now.Sub(p.repaired) > repairCalm {
		return 0
	}
	return max(0, p.repaired.Add(min(time.Second<<min(p.repairs-promptRepairs, 12), repairCalm)).Sub(now))
}

// isRepair reports whether the child was in order before.
func (p page) isRepair(t *target, s step) bool {
	return (s.verb == create || s.verb == update) && p.version == t.version
}

// after returns the page after a step that takes no call, or was taken without an
// error; settled is what was written.
func (p page) after(t *target, s step, settled client.Object, now time.Time) page {
	next := page{there: true, version: t.version, repairs: p.repairs, repaired: p.repaired, settled: p.settled}
	switch {
	case s.verb == taken:
		return page{reason: t.taken, kind: secret.Conflict, stuck: true}
	case s.verb == wait:
		next.pending = true
		return next
	case s.verb == nothing:
		return next.marked(now)
	case p.isRepair(t, s) && now.Sub(p.repaired) > repairCalm:
		next.repairs, next.repaired = 1, now
	case p.isRepair(t, s):
		next.repairs, next.repaired = p.repairs+1, now
	default:
		next.repairs, next.repaired = 0, time.Time{}
	}
	next.settled = nil
	if settled != nil && !t.alike(settled, t.child) {
		next.settled = settled
	}
	return next.marked(now)
}

// fought reports whether somebody undoes each repair.
func (p page) fought(now time.Time) bool {
	return p.repairs > promptRepairs && now.Sub(p.repaired) <= repairCalm
}

// marked says so.
func (p page) marked(now time.Time) page {
	if p.fought(now) {
		p.reason, p.kind = foughtOver, secret.Conflict
	}
	return p
}

// failed returns the page after an error, and how long to wait; 0 is until something
// changes. A write that came too late says nothing, unless that goes on.
func (p page) failed(err error) (page, time.Duration) {
	p.failures++
	delay, _ := reconcile.Backoff(err, p.failures)
	if errors.Is(err, secret.Conflict) && p.failures < quietConflicts {
		p.pending = true
		return p, delay
	}
	p.pending = false
	p.reason, p.kind, p.stuck = reconcile.Message(err), secret.KindOf(err), reconcile.Stuck(err)
	return p, delay
}
