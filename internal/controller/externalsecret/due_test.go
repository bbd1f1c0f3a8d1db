package externalsecret

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func synced(uid types.UID) *v1.ExternalSecret {
	es := &v1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", UID: uid, Generation: 2}}
	es.Status.RefreshTime = metav1.NewTime(epoch)
	es.Status.SyncedResourceVersion = plan.SyncedVersion(es)
	es.Status.TargetResourceVersion = "10"
	return es
}

func TestSpreadBringsARefreshForwardByAtMostATenthAndAlwaysTheSame(t *testing.T) {
	c := &Controller{}
	next := epoch.Add(time.Hour)
	distinct := map[time.Time]bool{}
	for _, uid := range []types.UID{"a", "b", "c", "d", "e", "f", "g", "h"} {
		es := synced(uid)
		at := c.spread(es, next)
		if at.After(next) || at.Before(next.Add(-6*time.Minute)) {
			t.Errorf("%s: due at %s, outside the last tenth before %s", uid, at, next)
		}
		if again := c.spread(es, next); !again.Equal(at) {
			t.Errorf("%s: due at %s, and then at %s", uid, at, again)
		}
		distinct[at] = true
	}
	if len(distinct) < 6 {
		t.Errorf("eight objects are due at %d times", len(distinct))
	}
	if at := c.spread(synced("a"), time.Time{}); !at.IsZero() {
		t.Errorf("never became %s", at)
	}
}

func TestNewerComparesResourceVersions(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b string
		want bool
	}{
		"later":               {"11", "10", true},
		"earlier":             {"9", "10", false},
		"equal":               {"10", "10", false},
		"nothing before":      {"10", "", true},
		"not comparable":      {"x", "y", true},
		"not comparable same": {"x", "x", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newer(tc.a, tc.b); got != tc.want {
				t.Errorf("newer(%q, %q) = %v", tc.a, tc.b, got)
			}
		})
	}
}

func TestRetryWaitsAsTheErrorAsks(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want time.Duration // after the failure; 0 is at the interval
	}{
		"unavailable":     {&secret.Error{Kind: secret.Unavailable}, time.Second},
		"told to wait":    {&secret.Error{Kind: secret.RateLimited, RetryAfter: time.Minute}, time.Minute},
		"unauthenticated": {&secret.Error{Kind: secret.Unauthenticated}, time.Minute},
		"invalid":         {&secret.Error{Kind: secret.Invalid}, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			c, e, es := &Controller{}, &entry{}, synced("a")
			e.Failed(plan.SyncedVersion(es), tc.err, epoch, epoch)
			_, failed, again := e.FailedAs(plan.SyncedVersion(es))
			if got := c.retry(es, failed, again, epoch); got.now || !got.next.Equal(epoch.Add(tc.want)) {
				t.Errorf("retry = %+v, want next after %s", got, tc.want)
			}
			if got := c.retry(es, failed, again, epoch.Add(tc.want)); !got.now {
				t.Errorf("retry after %s = %+v, want now", tc.want, got)
			}
		})
	}
}

func TestRepairSlowsDownWhenSomebodyElseKeepsWriting(t *testing.T) {
	c, e := &Controller{}, &entry{}
	now, passes := epoch, 0
	for now.Before(epoch.Add(5 * time.Minute)) {
		if why := c.repair(e, now); why.now {
			passes++
		}
		now = now.Add(100 * time.Millisecond)
	}
	if passes < 4 || passes > 15 {
		t.Errorf("%d repairs in five minutes of a fight", passes)
	}
	if why := c.repair(e, now.Add(driftCalm+time.Minute)); !why.now {
		t.Error("a drift after a calm is not repaired at once")
	}
}

func TestStatusSaysHowThePassWent(t *testing.T) {
	es := synced("a")
	ok := status(es, outcome{began: epoch, reason: v1.ConditionReasonSecretSynced, message: "secret synced", version: "11", binding: "app"}, nil, epoch)
	want := v1.ExternalSecretStatus{
		RefreshTime: metav1.NewTime(epoch), SyncedResourceVersion: plan.SyncedVersion(es), ObservedGeneration: 2,
		TargetResourceVersion: "11", Binding: corev1.LocalObjectReference{Name: "app"},
		Conditions: []v1.ExternalSecretStatusCondition{{
			Type: v1.ExternalSecretReady, Status: corev1.ConditionTrue, Reason: v1.ConditionReasonSecretSynced,
			Message: "secret synced", LastTransitionTime: metav1.NewTime(epoch),
		}},
	}
	if diff := cmp.Diff(want, ok); diff != "" {
		t.Errorf("status of a success (-want +got):\n%s", diff)
	}
	es.Status = ok
	later := epoch.Add(time.Minute)
	failed := status(es, outcome{}, &secret.Error{Kind: secret.Unavailable, Err: errors.New("no answer")}, later)
	if !failed.RefreshTime.Time.Equal(epoch) || failed.TargetResourceVersion != "11" || failed.Binding.Name != "app" {
		t.Errorf("a failure forgot the last success: %+v", failed)
	}
	if len(failed.Conditions) != 2 || failed.Conditions[0].Status != corev1.ConditionFalse || failed.Conditions[1].Type != v1.ExternalSecretReconciling {
		t.Errorf("conditions of a failure that may pass: %+v", failed.Conditions)
	}
}

func TestOnlyNewsIsWorthAStatusWrite(t *testing.T) {
	at := func(d time.Duration, message string) v1.ExternalSecretStatus {
		return v1.ExternalSecretStatus{
			RefreshTime: metav1.NewTime(epoch.Add(d)),
			Conditions:  []v1.ExternalSecretStatusCondition{{Type: v1.ExternalSecretReady, Message: message}},
		}
	}
	for name, tc := range map[string]struct {
		before, next, reported v1.ExternalSecretStatus
		want                   bool
	}{
		"nothing happened":                              {at(0, "x"), at(0, "x"), at(0, "x"), false},
		"refreshed shortly after":                       {at(0, "x"), at(30*time.Second, "x"), at(0, "x"), false},
		"refreshed a minute later":                      {at(0, "x"), at(time.Minute, "x"), at(0, "x"), true},
		"another message":                               {at(0, "x"), at(time.Second, "y"), at(0, "x"), true},
		"several in between, a minute after the report": {at(50*time.Second, "x"), at(61*time.Second, "x"), at(0, "x"), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := worthWriting(tc.before, tc.next, tc.reported); got != tc.want {
				t.Errorf("worthWriting = %v", got)
			}
		})
	}
}

func TestMemoryForgetsAnObjectThatWasMadeAgain(t *testing.T) {
	m := memory{m: map[client.ObjectKey]*entry{}}
	key := client.ObjectKey{Namespace: "team", Name: "app"}
	first := m.entry(key, synced("a"))
	first.known = true
	if again := m.entry(key, synced("a")); again != first {
		t.Error("the same object has another entry")
	}
	if other := m.entry(key, synced("b")); other.known {
		t.Error("a new object of the name goes by what was known of the old one")
	}
}

func TestAnObjectComesAgainHoweverLongItsPassTook(t *testing.T) {
	for name, tc := range map[string]struct {
		interval, took   time.Duration
		earliest, latest time.Duration // from the end of the pass; 0 is never
	}{
		"a short pass":                     {time.Hour, time.Second, 53 * time.Minute, time.Hour},
		"a pass as long as the interval":   {time.Second, time.Second, 500 * time.Millisecond, time.Second},
		"a pass longer than the interval":  {time.Second, 10 * time.Second, 500 * time.Millisecond, time.Second},
		"the rest of a second is too soon": {time.Second, 950 * time.Millisecond, 500 * time.Millisecond, time.Second},
		"without an interval":              {0, time.Second, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			es := synced("a")
			es.Spec.RefreshInterval = &metav1.Duration{Duration: tc.interval}
			now := epoch.Add(tc.took)
			at := (&Controller{}).next(es, now)
			if tc.latest == 0 && at.IsZero() {
				return
			}
			if at.Before(now.Add(tc.earliest)) || at.After(now.Add(tc.latest)) {
				t.Errorf("comes again %s after the pass, want %s to %s", at.Sub(now), tc.earliest, tc.latest)
			}
		})
	}
}

func TestValuesMayBeAsOldAsTheReasonToReadThem(t *testing.T) {
	c := &Controller{started: epoch.Add(-time.Hour)}
	now := epoch.Add(2 * time.Hour)
	for name, tc := range map[string]struct {
		change  func(*v1.ExternalSecret)
		want    time.Time
		initial bool
	}{
		"there at the start": {func(es *v1.ExternalSecret) {
			es.Status = v1.ExternalSecretStatus{}
			es.CreationTimestamp = metav1.NewTime(c.started.Add(-time.Minute))
		}, c.started, true},
		"new": {func(es *v1.ExternalSecret) {
			es.Status = v1.ExternalSecretStatus{}
			es.CreationTimestamp = metav1.NewTime(now.Add(-time.Second))
		}, now.Add(-time.Second), false},
		"new by a clock that is behind": {func(es *v1.ExternalSecret) {
			es.Status = v1.ExternalSecretStatus{}
			es.CreationTimestamp = metav1.NewTime(now.Add(-time.Minute))
		}, now.Add(-slack), false},
		"changed": {func(es *v1.ExternalSecret) { es.Generation++ }, now, false},
		"overdue": {func(*v1.ExternalSecret) {}, epoch.Add(time.Hour), true},
	} {
		t.Run(name, func(t *testing.T) {
			es := synced("a")
			tc.change(es)
			if got := c.since(es, &entry{initial: tc.initial}, now); !got.Equal(tc.want) {
				t.Errorf("since = %s, want %s", got, tc.want)
			}
		})
	}
}
