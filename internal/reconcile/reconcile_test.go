package reconcile_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/providers/fake"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// recorder keeps what it is told.
type recorder struct{ told []string }

//nolint:revive // the interface has these parameters
func (r *recorder) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	text := note
	for _, a := range args {
		text = strings.Replace(text, "%s", a.(string), 1)
	}
	r.told = append(r.told, strings.Join([]string{regarding.(metav1.Object).GetName(), kind, reason, action, text}, " "))
}

func TestEventsOfFailuresAreAllTold(t *testing.T) {
	var r recorder
	e := reconcile.NewEvents(&r, providertest.NewClock(time.Unix(0, 0)))
	es := &v1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: "es"}}
	for range 100 {
		e.Warning(es, "UpdateFailed", "100% %d")
	}
	if len(r.told) != 100 || r.told[0] != "es Warning UpdateFailed Reconcile 100% %d" {
		t.Errorf("%d told, the first %q", len(r.told), r.told[0])
	}
}

func TestEventsOfSuccessAreFew(t *testing.T) {
	var r recorder
	clock := providertest.NewClock(time.Unix(0, 0))
	e := reconcile.NewEvents(&r, clock)
	es := &v1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Name: "es"}}
	tell := func(n int) int {
		r.told = nil
		for range n {
			e.Normal(es, "Created", "m")
		}
		return len(r.told)
	}
	for _, step := range []struct {
		wait time.Duration
		want int
	}{
		{0, 60},
		{0, 0},
		{499 * ms, 0},
		{ms, 1},
		{10 * second, 20},
		{900 * ms, 1},
		{900 * ms, 2},
		{900 * ms, 2},
		{900 * ms, 2}, // what is over counts the next time
		{time.Hour, 60},
		{-time.Hour, 0},
		{time.Hour + second, 2},
	} {
		clock.Advance(step.wait)
		if got := tell(100); got != step.want {
			t.Errorf("after %v: %d told, want %d", step.wait, got, step.want)
		}
	}
	if r.told[0] != "es Normal Created Reconcile m" {
		t.Errorf("told %q", r.told[0])
	}
}

func fakeStore(name string, data ...v1.FakeProviderData) *v1.SecretStore {
	s := &v1.SecretStore{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name), Generation: 1}}
	s.Spec.Provider = &v1.SecretStoreProvider{Fake: &v1.FakeProvider{Data: data}}
	return s
}

func TestFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, err := provider.NewRegistry(fake.Provider())
		if err != nil {
			t.Fatal(err)
		}
		clock := providertest.NewClock(time.Unix(0, 0))
		pool := store.New(store.Config{Registry: registry, Surroundings: nowhere{}, Clock: clock})
		defer pool.Close()
		one, two, none := plan.StoreRef{Kind: "SecretStore", Name: "one"}, plan.StoreRef{Kind: "SecretStore", Name: "two"}, plan.StoreRef{Kind: "SecretStore", Name: "none"}
		places := map[plan.StoreRef]store.Place{}
		for ref, s := range map[plan.StoreRef]*v1.SecretStore{
			one: fakeStore("one", v1.FakeProviderData{Key: "a", Value: "1a"}, v1.FakeProviderData{Key: "b", Value: "1b"}),
			two: fakeStore("two", v1.FakeProviderData{Key: "a", Value: "2a"}, v1.FakeProviderData{Key: "c", Value: "2c"}),
		} {
			if places[ref], err = reconcile.Place(s, "ns"); err != nil {
				t.Fatal(err)
			}
		}
		sources := []plan.Source{
			{Store: two, Find: &secret.Query{Name: regexp.MustCompile("c")}},
			{Store: one, Ref: secret.Ref{Key: "b"}},
			{Store: two, Ref: secret.Ref{Key: "a"}},
			{Store: one, Ref: secret.Ref{Key: "absent"}},
			{Store: one, Ref: secret.Ref{Key: "a", Property: "p"}},
			{Store: one, Find: &secret.Query{Tags: map[string]string{"a": "b"}}},
			{Store: none, Ref: secret.Ref{Key: "a"}},
			{Store: two, Ref: secret.Ref{Key: "c"}},
		}
		answers := reconcile.Fetch(t.Context(), pool, sources, places, clock.Now())
		want := []string{"c=2c", "1b", "2a", "NotFound", "1a", "Unsupported", "Unsupported", "2c"}
		var got []string
		for _, a := range answers {
			text := string(a.Secret.Whole().Reveal())
			for _, k := range secret.Keys(a.Found) {
				text += k + "=" + string(a.Found[k].Whole().Reveal())
			}
			got = append(got, text+string(secret.KindOf(a.Err)))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if got := reconcile.Fetch(t.Context(), pool, nil, places, clock.Now()); len(got) != 0 {
			t.Errorf("nothing wanted, %d answers", len(got))
		}
	})
}

// nowhere are surroundings that a fake store asks for nothing.
type nowhere struct{ store.Surroundings }

func (nowhere) Token(context.Context, store.Account) (store.Issued, error) {
	return store.Issued{}, secret.Unsupported
}

func TestPlace(t *testing.T) {
	vault := &v1.VaultProvider{Server: "https://vault", Auth: &v1.VaultAuth{TokenSecretRef: &esmeta.SecretKeySelector{Name: "t"}}}
	spec := v1.SecretStoreSpec{Provider: &v1.SecretStoreProvider{Vault: vault}}
	meta := metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: "u", Generation: 3}
	retries := func(n *int32, interval *string) v1.SecretStoreSpec {
		out := spec
		out.RetrySettings = &v1.SecretStoreRetrySettings{MaxRetries: n, RetryInterval: interval}
		return out
	}
	place := store.Place{Kind: "SecretStore", Namespace: "ns", Name: "s", UID: "u", Generation: 3, Provider: "vault", Spec: vault}
	with := func(change func(*store.Place)) store.Place { p := place; change(&p); return p }
	cases := map[string]struct {
		in    v1.GenericStore
		want  store.Place
		fails bool
	}{
		"SecretStore, of no tenant": {in: &v1.SecretStore{ObjectMeta: meta, Spec: spec}, want: place},
		"ClusterSecretStore, of one": {
			in:   &v1.ClusterSecretStore{ObjectMeta: metav1.ObjectMeta{Name: "s", UID: "u", Generation: 3}, Spec: spec},
			want: with(func(p *store.Place) { p.Kind, p.Namespace, p.Tenant = "ClusterSecretStore", "", "tenant" }),
		},
		"retry settings":    {in: &v1.SecretStore{ObjectMeta: meta, Spec: retries(new(int32(3)), new("5s"))}, want: with(func(p *store.Place) { p.Retries, p.RetryInterval = new(3), 5*second })},
		"no retries":        {in: &v1.SecretStore{ObjectMeta: meta, Spec: retries(new(int32(0)), nil)}, want: with(func(p *store.Place) { p.Retries = new(0) })},
		"interval alone":    {in: &v1.SecretStore{ObjectMeta: meta, Spec: retries(nil, new("1m"))}, want: with(func(p *store.Place) { p.RetryInterval = minute })},
		"interval is wrong": {in: &v1.SecretStore{ObjectMeta: meta, Spec: retries(nil, new("soon"))}, fails: true},
		"interval negative": {in: &v1.SecretStore{ObjectMeta: meta, Spec: retries(nil, new("-1s"))}, fails: true},
		"no provider":       {in: &v1.SecretStore{ObjectMeta: meta}, fails: true},
		"two providers":     {in: &v1.SecretStore{ObjectMeta: meta, Spec: v1.SecretStoreSpec{Provider: &v1.SecretStoreProvider{Vault: vault, Fake: &v1.FakeProvider{}}}}, fails: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := reconcile.Place(c.in, "tenant")
			if c.fails {
				if secret.KindOf(err) != secret.Invalid {
					t.Errorf("error %v, want Invalid", err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}
