package store_test

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// TestNamespaceRule tries every way to name an object of a namespace.
func TestNamespaceRule(t *testing.T) {
	cases := map[string]struct {
		place func(*spec) store.Place
		named *string
		want  string // the namespace that is reached, or a kind
	}{
		"SecretStore, own namespace named":    {namespaced, new("own"), "own"},
		"SecretStore, no namespace":           {namespaced, nil, "own"},
		"SecretStore, other namespace named":  {namespaced, new("other"), "Denied"},
		"SecretStore, empty namespace named":  {namespaced, new(""), "Denied"},
		"unknown kind is held to the rule":    {kind("Whatever"), new("other"), "Denied"},
		"no kind is held to the rule":         {kind(""), new("other"), "Denied"},
		"SecretStore with a tenant, other":    {claiming("other"), new("other"), "Denied"},
		"SecretStore with a tenant, none":     {claiming("other"), nil, "own"},
		"ClusterSecretStore, named, tenant":   {tenant("own"), new("other"), "other"},
		"ClusterSecretStore, named, none":     {tenant(""), new("other"), "other"},
		"ClusterSecretStore, none, tenant":    {tenant("own"), nil, "own"},
		"ClusterSecretStore, none, no tenant": {tenant(""), nil, "Unsupported"},
	}
	for name, c := range cases {
		for _, what := range []string{"Secret", "ConfigMap", "ServiceAccount"} {
			t.Run(name+"/"+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { checkRule(t, c.place, c.named, what, c.want) })
			})
		}
	}
}

func kind(k string) func(*spec) store.Place {
	return func(s *spec) store.Place { p := namespaced(s); p.Kind = k; return p }
}

func claiming(ns string) func(*spec) store.Place {
	return func(s *spec) store.Place { p := namespaced(s); p.Tenant = ns; return p }
}

func tenant(ns string) func(*spec) store.Place {
	return func(s *spec) store.Place { return clusterWide(s, ns) }
}

func checkRule(t *testing.T, place func(*spec) store.Place, named *string, what, want string) {
	c := &cluster{life: time.Hour}
	for _, ns := range []string{"own", "other"} {
		for _, kind := range []string{"Secret", "ConfigMap"} {
			c.put(kind, ns, "cred", "1", map[string]string{"k": kind + "/" + ns + "/cred"})
		}
	}
	p := newPool(t, c, nil)
	s := &spec{Back: &backend{}, Auth: &selector{Kind: what, Name: "cred", Namespace: named}, Key: "k", Asks: []string{"aud"}}
	got := p.Read(t.Context(), place(s), keys("credential"), time.Now())[0]
	if secret.Kind(want) == secret.Denied || secret.Kind(want) == secret.Unsupported {
		if secret.KindOf(got.Err) != secret.Kind(want) {
			t.Fatalf("got %q, error %v, want %s", text(got), got.Err, want)
		}
		if c.loads+c.tokens() != 0 {
			t.Errorf("the object was read %d times all the same", c.loads+c.tokens())
		}
		if isReferent := errors.Is(got.Err, provider.ErrReferent); isReferent != (want == "Unsupported") {
			t.Errorf("errors.Is(err, ErrReferent) = %v for %v", isReferent, got.Err)
		}
		return
	}
	if value, _, _ := strings.Cut(text(got), " #"); value != what+"/"+want+"/cred" {
		t.Errorf("got %q (%v), want that of %s", value, got.Err, want)
	}
}

func TestCredential(t *testing.T) {
	secretOf := selector{Name: "cred"}
	cases := map[string]struct {
		auth  selector
		key   string
		label string
		asks  []string
		fail  error
		want  string
	}{
		"a key":                                 {auth: secretOf, key: "k", want: "v"},
		"all of it":                             {auth: secretOf, want: `{"k":"v","l":"w"}`},
		"label is there":                        {auth: secretOf, key: "k", label: "in=own", want: "v"},
		"label has another value":               {auth: secretOf, key: "k", label: "in=other", want: "Denied"},
		"label is not there":                    {auth: secretOf, key: "k", label: "type=webhook", want: "Denied"},
		"label guard without a value holds":     {auth: secretOf, key: "k", label: "type", want: "Denied"},
		"label guard of an empty value holds":   {auth: secretOf, key: "k", label: "type=", want: "Denied"},
		"missing Secret is no missing secret":   {auth: selector{Name: "absent"}, key: "k", want: "Unauthenticated"},
		"missing key is no missing secret":      {auth: secretOf, key: "absent", want: "Unauthenticated"},
		"NotFound of any shape":                 {auth: secretOf, key: "k", fail: secret.NotFound, want: "Unauthenticated"},
		"surroundings do not answer":            {auth: secretOf, key: "k", fail: secret.Unavailable, want: "Unavailable"},
		"surroundings refuse":                   {auth: secretOf, key: "k", fail: &secret.Error{Kind: secret.Denied}, want: "Denied"},
		"token without an audience":             {auth: selector{Kind: "ServiceAccount", Name: "sa"}, want: "Invalid"},
		"missing account is no missing secret":  {auth: selector{Kind: "ServiceAccount", Name: "sa"}, asks: []string{"a"}, fail: &secret.Error{Kind: secret.NotFound, Err: secret.NotFound}, want: "Unauthenticated"},
		"no accounts here":                      {auth: selector{Kind: "ServiceAccount", Name: "sa"}, asks: []string{"a"}, fail: secret.Unsupported, want: "Unsupported"},
		"wrapped NotFound is no missing secret": {auth: secretOf, key: "k", fail: &secret.Error{Kind: secret.NotFound, Err: &secret.Error{Kind: secret.NotFound}}, want: "Unauthenticated"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				around := &cluster{life: time.Hour, fail: c.fail}
				around.put("Secret", "own", "cred", "1", map[string]string{"k": "v", "l": "w"})
				p := newPool(t, around, nil)
				s := &spec{Back: &backend{}, Auth: &c.auth, Key: c.key, Label: c.label, Asks: c.asks}
				got := p.Read(t.Context(), namespaced(s), keys("credential"), time.Now())[0]
				if text(got) != c.want {
					t.Errorf("got %q (%v), want %q", text(got), got.Err, c.want)
				}
				if errors.Is(got.Err, secret.NotFound) {
					t.Errorf("%v passes for a missing secret", got.Err)
				}
				if got.Err != nil && !strings.Contains(got.Err.Error(), "spec.provider.test.auth") {
					t.Errorf("%v does not name the field", got.Err)
				}
			})
		})
	}
}

func TestEndpointsOfClusterStoresAreTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		var trust []bool
		look := provider.Define(provider.Definition[spec]{Name: "test", Open: func(_ context.Context, _ *spec, env provider.Env) (provider.Store, error) {
			_, err := env.HTTP(provider.TLS{})
			if now := env.Clock().Now(); !now.Equal(time.Now()) {
				t.Errorf("the clock shows %v", now)
			}
			return bare{}, err
		}})
		registry, err := provider.NewRegistry(look)
		if err != nil {
			t.Fatal(err)
		}
		p := newPool(t, c, func(cfg *store.Config) { cfg.Registry = registry })
		for _, place := range []store.Place{namespaced(&spec{}), clusterWide(&spec{}, "own"), kind("")(&spec{Key: "x"})} {
			place.UID += place.Kind
			if err := p.Check(t.Context(), place); secret.KindOf(err) != secret.Unsupported {
				t.Errorf("%s: %v", place, err)
			}
		}
		trust = c.trusted
		if want := []bool{false, true, false}; !slices.Equal(trust, want) {
			t.Errorf("trusted: %v, want %v", trust, want)
		}
		for _, place := range []store.Place{namespaced(&spec{}), clusterWide(&spec{}, "own"), kind("")(&spec{Key: "x"})} {
			p.Forget(place.UID + place.Kind)
		}
	})
}

func TestPlaceNamesTheStore(t *testing.T) {
	if got, want := namespaced(nil).String(), "SecretStore own/s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := clusterWide(nil, "own").String(), "ClusterSecretStore c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// site is where a spec has a selector: how to reach it in a new spec, and its path.
type site struct {
	path  string
	reach func(root reflect.Value) reflect.Value
}

// sites finds every selector of the API in a type.
func sites(t *testing.T, typ reflect.Type, at site) []site {
	t.Helper()
	switch typ.Kind() {
	case reflect.Pointer:
		return sites(t, typ.Elem(), site{at.path, func(root reflect.Value) reflect.Value {
			v := at.reach(root)
			v.Set(reflect.New(typ.Elem()))
			return v.Elem()
		}})
	case reflect.Slice:
		return sites(t, typ.Elem(), site{at.path + "[0]", func(root reflect.Value) reflect.Value {
			v := at.reach(root)
			v.Set(reflect.MakeSlice(typ, 1, 1))
			return v.Index(0)
		}})
	case reflect.Map, reflect.Array:
		if typ.Elem().Kind() == reflect.Struct || typ.Elem().Kind() == reflect.Pointer {
			t.Errorf("%s: a selector inside a %s is not found", at.path, typ.Kind())
		}
	case reflect.Struct:
		return fieldSites(t, typ, at)
	}
	return nil
}

func fieldSites(t *testing.T, typ reflect.Type, at site) []site {
	t.Helper()
	switch typ {
	case reflect.TypeFor[esmeta.SecretKeySelector](), reflect.TypeFor[esmeta.ServiceAccountSelector](), reflect.TypeFor[esv1.CAProvider]():
		return []site{at}
	}
	_, name := typ.FieldByName("Name")
	if ns, ok := typ.FieldByName("Namespace"); ok && name {
		t.Errorf("%s: %s has a name and a namespace (%s): is it a selector?", at.path, typ, ns.Type)
	}
	var out []site
	for f := range typ.Fields() {
		if f.IsExported() {
			out = append(out, sites(t, f.Type, site{at.path + "." + f.Name, func(root reflect.Value) reflect.Value {
				return at.reach(root).FieldByIndex(f.Index)
			}})...)
		}
	}
	return out
}

// opensOf reads from a cluster store with that spec for two tenants and for none,
// and counts how often it was opened for the two.
func opensOf[S any](t *testing.T, spec *S) (referent bool, opens int64, check error) {
	var n atomic.Int64
	def := provider.Define(provider.Definition[S]{Name: "real", Open: func(context.Context, *S, provider.Env) (provider.Store, error) {
		n.Add(1)
		return bare{}, nil
	}})
	registry, err := provider.NewRegistry(def)
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(t, &cluster{}, func(cfg *store.Config) { cfg.Registry = registry })
	place := store.Place{Kind: store.KindClusterSecretStore, Name: "c", UID: "u", Generation: 1, Provider: "real", Spec: spec}
	for _, ns := range []string{"a", "b", "a"} {
		place.Tenant = ns
		p.Read(t.Context(), place, keys("k"), time.Now())
	}
	opens = n.Load()
	place.Tenant = ""
	check = p.Check(t.Context(), place)
	return place.Referent(), opens, check
}

// everySelector fills each selector of a spec in turn, with and without a namespace.
func everySelector[S any](t *testing.T, want int) {
	typ := reflect.TypeFor[S]()
	found := sites(t, typ, site{typ.Name(), func(root reflect.Value) reflect.Value { return root }})
	if len(found) != want {
		names := map[string]bool{}
		for _, f := range found {
			names[f.path] = true
		}
		t.Errorf("%s has %d selectors, want %d: %v", typ.Name(), len(found), want, slices.Sorted(maps.Keys(names)))
	}
	for _, f := range found {
		t.Run(f.path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spec := new(S)
				sel := f.reach(reflect.ValueOf(spec).Elem())
				sel.FieldByName("Name").SetString("mine")
				if referent, opens, err := opensOf(t, spec); !referent || opens != 2 || !errors.Is(err, provider.ErrReferent) {
					t.Errorf("without a namespace: referent %v, opened %d times for two tenants, check says %v", referent, opens, err)
				}
				sel.FieldByName("Namespace").Set(reflect.ValueOf(new("ns")))
				if referent, opens, err := opensOf(t, spec); referent || opens != 1 || errors.Is(err, provider.ErrReferent) {
					t.Errorf("with a namespace: referent %v, opened %d times for two tenants, check says %v", referent, opens, err)
				}
				sel.FieldByName("Namespace").SetZero()
				sel.FieldByName("Name").SetString("")
				if referent, _, _ := opensOf(t, spec); referent {
					t.Error("referent, though the selector is not set")
				}
			})
		})
	}
}

func TestReferentByEverySelectorOfTheAPI(t *testing.T) {
	everySelector[esv1.FakeProvider](t, 0)
	everySelector[esv1.KubernetesProvider](t, 6)
	everySelector[esv1.WebhookProvider](t, 4)
	everySelector[esv1.OpenBaoProvider](t, 5)
	everySelector[esv1.VaultProvider](t, 21)
}

func TestNamespacedStoreIsNeverReferent(t *testing.T) {
	p := namespaced(&spec{Auth: &selector{Name: "cred"}})
	if p.Referent() {
		t.Error("a SecretStore resolves references in its own namespace")
	}
}

// TestNoTenantInWhatAllShare is for a provider that asks for a reference which its
// spec does not show: what the first tenant can read must not serve the others.
func TestNoTenantInWhatAllShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		c.put("Secret", "first", "hidden", "1", map[string]string{"k": "v"})
		hides := provider.Define(provider.Definition[struct{ URL string }]{Name: "test", Open: func(ctx context.Context, _ *struct{ URL string }, env provider.Env) (provider.Store, error) {
			_, err := env.Credential(ctx, provider.CredentialRef{Name: "hidden", Key: "k", Field: "spec.provider.test"})
			return bare{}, err
		}})
		registry, err := provider.NewRegistry(hides)
		if err != nil {
			t.Fatal(err)
		}
		p := newPool(t, c, func(cfg *store.Config) { cfg.Registry = registry })
		place := clusterWide(nil, "first")
		place.Spec = &struct{ URL string }{}
		got := p.Read(t.Context(), place, keys("k"), time.Now())
		if !errors.Is(got[0].Err, provider.ErrReferent) || c.loads != 0 {
			t.Errorf("got %v after %d loads, want ErrReferent", got[0].Err, c.loads)
		}
	})
}

func TestDependencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		c.put("Secret", "own", "cred", "7", map[string]string{"k": "v"})
		p := newPool(t, c, nil)
		place := namespaced(&spec{Back: &backend{}, Auth: &selector{Name: "cred"}, Key: "k"})
		other := namespaced(&spec{Back: &backend{}, Auth: &selector{Kind: "ConfigMap", Name: "absent"}, Key: "k"})
		other.UID = "other"
		p.Read(t.Context(), place, keys("credential"), time.Now())
		p.Read(t.Context(), other, keys("credential"), time.Now())
		want := []store.Dependency{{Kind: "Secret", Namespace: "own", Name: "cred", Version: "7"}}
		if diff := cmp.Diff(want, p.Dependencies(place.UID)); diff != "" {
			t.Error(diff)
		}
		want = []store.Dependency{{Kind: "ConfigMap", Namespace: "own", Name: "absent"}}
		if diff := cmp.Diff(want, p.Dependencies("other")); diff != "" {
			t.Error(diff)
		}
	})
}
