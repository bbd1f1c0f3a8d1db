package pushsecret

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// spec is that of a provider, open for each consumer or for all of them.
type spec struct{ each bool }

func (s spec) PerConsumer() bool { return s.each }

func of(namespace string, each bool) target {
	return target{place: store.Place{Kind: store.KindClusterSecretStore, UID: "s", Spec: spec{each}, Tenant: namespace}}
}

func data(key, property, remoteNamespace string) v1alpha1.PushSecretData {
	var d v1alpha1.PushSecretData
	d.Match.RemoteRef.RemoteKey, d.Match.RemoteRef.Property = key, property
	if remoteNamespace != "" {
		d.Metadata = &apiextensionsv1.JSON{Raw: fmt.Appendf(nil, `{"spec":{"remoteNamespace":%q}}`, remoteNamespace)}
	}
	return d
}

func name(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

func noClaims() *claims {
	return &claims{at: map[place]map[client.ObjectKey][]v1alpha1.PushSecretData{}, of: map[client.ObjectKey]map[place]bool{}}
}

func TestClaims(t *testing.T) {
	first := data("k", "", "")
	cases := map[string]struct {
		by   client.ObjectKey
		at   target
		of   v1alpha1.PushSecretData
		lost bool
	}{
		"the same place":           {name("a", "two"), of("a", false), first, true},
		"a property of it":         {name("a", "two"), of("a", false), data("k", "p", ""), true},
		"from another namespace":   {name("b", "one"), of("b", false), first, true},
		"one's own":                {name("a", "one"), of("a", false), first, false},
		"another key":              {name("a", "two"), of("a", false), data("l", "", ""), false},
		"another remote namespace": {name("a", "two"), of("a", false), data("k", "", "x"), false},
		"a store of each consumer": {name("b", "one"), of("b", true), first, false},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			all := noClaims()
			if _, ok := all.take(of("a", c.at.place.Referent()), first, name("a", "one")); !ok {
				t.Fatal("the first one is refused")
			}
			rival, ok := all.take(c.at, c.of, c.by)
			if ok == c.lost || c.lost && rival != name("a", "one") {
				t.Errorf("taken %v, rival %v", ok, rival)
			}
			all.drop(name("a", "one"))
			if _, ok := all.take(c.at, c.of, c.by); !ok {
				t.Error("what was given up is not free")
			}
			all.drop(c.by)
			if len(all.at)+len(all.of) > 0 {
				t.Errorf("left: %v, %v", all.at, all.of)
			}
		})
	}
}

func TestWhoLostIsWokenOnce(t *testing.T) {
	m := memory{m: map[client.ObjectKey]*entry{name("a", "one"): {}, name("a", "two"): {}}}
	m.lost(name("a", "one"), name("b", "rival"))
	m.lost(name("a", "one"), name("b", "rival"))
	m.lost(name("a", "one"), name("b", "other"))
	m.lost(name("a", "gone"), name("b", "rival"))
	if diff := cmp.Diff([]client.ObjectKey{name("a", "one")}, m.losers(name("b", "rival"))); diff != "" {
		t.Error(diff)
	}
	if got := m.losers(name("b", "rival")); got != nil {
		t.Errorf("again: %v", got)
	}
}

func TestWhatWillNeverBeDeleted(t *testing.T) {
	of := func(kind secret.Kind, key string) error {
		return fmt.Errorf("in a store: %w", &secret.Error{Kind: kind, Ref: secret.Ref{Key: key}, Err: errors.New("no")})
	}
	for what, c := range map[string]struct {
		err  error
		want bool
	}{
		"another owner's":                {of(secret.Conflict, "k"), true},
		"what the provider cannot":       {of(secret.Unsupported, "k"), true},
		"what has no such property":      {of(secret.Invalid, "k"), true},
		"a store that changed meanwhile": {&secret.Error{Kind: secret.Conflict, Err: store.ErrRetired}, false},
		"a store whose manifest is bad":  {of(secret.Invalid, ""), false},
		"a provider of another build":    {of(secret.Unsupported, ""), false},
		"no right":                       {of(secret.Denied, "k"), false},
		"no answer":                      {of(secret.Unavailable, "k"), false},
		"no credential":                  {of(secret.Unauthenticated, ""), false},
	} {
		if got := never(c.err); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// still is a clock that does not go.
type still struct{ at time.Time }

func (s still) Now() time.Time                     { return s.at }
func (still) After(time.Duration) <-chan time.Time { return nil }

func TestWhatANamespaceThatEndsLeavesThere(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	own := target{PushStore: plan.PushStore{Ref: plan.StoreRef{Kind: v1.SecretStoreKind, Name: "s"}}}
	shared := target{PushStore: plan.PushStore{Ref: plan.StoreRef{Kind: v1.ClusterSecretStoreKind, Name: "s"}}}
	referent := of("a", true)
	referent.Ref = shared.Ref
	denied := &secret.Error{Kind: secret.Denied, Ref: secret.Ref{Key: "k"}}
	for what, c := range map[string]struct {
		at     target
		err    error
		ending time.Duration // how long the namespace has been; 0 is not at all
		forget bool
		want   bool
	}{
		"its store is gone":                        {own, secret.Invalid, time.Second, false, true},
		"the credential is gone":                   {own, secret.Unauthenticated, time.Second, false, true},
		"no token is issued any more":              {own, secret.Denied, time.Second, false, true},
		"the backend refuses a key":                {own, denied, time.Second, false, false},
		"the backend refuses a key, for long":      {own, denied, time.Hour, false, true},
		"the backend does not answer":              {own, secret.Unavailable, time.Second, false, false},
		"the backend does not answer, for long":    {own, secret.Unavailable, time.Hour, false, true},
		"the namespace stays":                      {own, secret.Invalid, 0, false, false},
		"a cluster store is gone":                  {shared, secret.Invalid, time.Hour, false, false},
		"a cluster store with its own credential":  {referent, secret.Unauthenticated, time.Second, false, true},
		"the annotation is there, whatever it was": {shared, secret.Unavailable, 0, true, true},
	} {
		t.Run(what, func(t *testing.T) {
			ps := &v1alpha1.PushSecret{}
			ps.DeletionTimestamp = &metav1.Time{Time: now}
			if c.forget {
				ps.Annotations = map[string]string{v1alpha1.AnnotationForgetStores: "true"}
			}
			ends := func() time.Time {
				if c.ending == 0 {
					return time.Time{}
				}
				return now.Add(-c.ending)
			}
			ctl := &Controller{Config: Config{Clock: still{now}}}
			if got := ctl.letsGo(ps, c.at, c.err, ends); got != c.want {
				t.Errorf("lets go: %v", got)
			}
		})
	}
}

func TestACollisionIsReportedOnceItLasts(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	conflict := &secret.Error{Kind: secret.Conflict, Op: "finalizers"}
	e := &entry{}
	for i, c := range []struct {
		err   error
		after time.Duration
		want  bool
	}{
		{conflict, 0, true},
		{conflict, time.Second, true},
		{conflict, time.Minute, false},
		{nil, time.Second, false},
		{conflict, time.Second, true},
		{reconcile.Stop(conflict), time.Second, false},
		{secret.Unavailable, time.Second, false},
	} {
		now = now.Add(c.after)
		if got := e.collides(c.err, now); got != c.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func TestTheFailureToGoByIsOneThatMayPass(t *testing.T) {
	first, second := fmt.Errorf("first: %w", secret.Invalid), fmt.Errorf("second: %w", secret.Unsupported)
	for what, c := range map[string]struct{ a, b, want error }{
		"none":                {nil, nil, nil},
		"one":                 {nil, first, first},
		"the other":           {first, nil, first},
		"two that stay":       {first, second, first},
		"one that may pass":   {first, secret.Unavailable, secret.Unavailable},
		"it, before another":  {secret.Unavailable, first, secret.Unavailable},
		"the first that pass": {secret.Unavailable, secret.Denied, secret.Unavailable},
	} {
		if got := worst(c.a, c.b); !errors.Is(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func TestAMessageNamesSomePlaces(t *testing.T) {
	if got := someOf([]string{"a", "b"}); got != "a, b" {
		t.Error(got)
	}
	if got := someOf([]string{"a", "b", "c", "d", "e", "f"}); got != "a, b, c, d, e and others" {
		t.Error(got)
	}
}

func TestWhenAnObjectThatCannotGoTriesAgain(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		shape func(e *entry)
		want  time.Time
	}{
		"at first":                   {func(*entry) {}, time.Time{}},
		"after a failure that stays": {func(e *entry) { e.Failed("v", secret.Invalid, now, now) }, now.Add(letGoEvery)},
		"after one that may pass":    {func(e *entry) { e.Failed("v", secret.Unavailable, now, now) }, now.Add(time.Second)},
		"as another object":          {func(e *entry) { e.Failed("w", secret.Invalid, now, now) }, time.Time{}},
		"when a store has changed":   {func(e *entry) { e.Failed("v", secret.Invalid, now, now); e.Touch(now) }, time.Time{}},
		"when it is nudged":          {func(e *entry) { e.Failed("v", secret.Invalid, now, now); e.Nudge(now) }, time.Time{}},
	} {
		e := &entry{}
		c.shape(e)
		if got := e.rests("v"); !got.Equal(c.want) {
			t.Errorf("%s: %v", what, got)
		}
	}
}
