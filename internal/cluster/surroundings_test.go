package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	esmeta "github.com/keyferry/keyferry/api/meta/v1"
	"github.com/keyferry/keyferry/internal/cluster"
	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// fixture is a namespace of a real API server.
type fixture struct {
	*testing.T
	plane     *testenv.ControlPlane
	client    client.Client
	around    *cluster.Surroundings
	namespace string
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	plane := testenv.Cluster(t)
	c, err := client.New(plane.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tenants, trusted := httpx.New(httpx.Policy{}, httpx.Options{}), httpx.New(httpx.Unrestricted(), httpx.Options{})
	return fixture{T: t, plane: plane, client: c, around: cluster.New(c, tenants, trusted), namespace: plane.Namespace(t)}
}

func (f fixture) create(obj client.Object) {
	f.Helper()
	if err := f.client.Create(f.Context(), obj); err != nil {
		f.Fatal(err)
	}
}

func (f fixture) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: f.namespace, Name: name, Labels: map[string]string{"for": "test"}}
}

func TestLoad(t *testing.T) {
	f := newFixture(t)
	f.create(&corev1.Secret{ObjectMeta: f.meta("s"), Data: map[string][]byte{"k": {0, 255}}})
	f.create(&corev1.Secret{ObjectMeta: f.meta("empty")})
	f.create(&corev1.ConfigMap{ObjectMeta: f.meta("c"), Data: map[string]string{"t": "text"}, BinaryData: map[string][]byte{"b": {0, 255}}})
	user, err := f.plane.User("nobody")
	if err != nil {
		t.Fatal(err)
	}
	unprivileged, err := client.New(user, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]loading{
		"a Secret":            {kind: "Secret", name: "s", want: map[string]string{"k": "\x00\xff"}},
		"an empty Secret":     {kind: "Secret", name: "empty", want: map[string]string{}},
		"a ConfigMap":         {kind: "ConfigMap", name: "c", want: map[string]string{"t": "text", "b": "\x00\xff"}},
		"no such Secret":      {kind: "Secret", name: "c", fails: secret.NotFound},
		"no such ConfigMap":   {kind: "ConfigMap", name: "s", fails: secret.NotFound},
		"no such namespace":   {kind: "Secret", namespace: "nowhere", name: "s", fails: secret.NotFound},
		"no kind of that":     {kind: "Pod", name: "s", fails: secret.Invalid},
		"not allowed":         {kind: "Secret", name: "s", with: unprivileged, fails: secret.Denied},
		"ConfigMap forbidden": {kind: "ConfigMap", name: "c", with: unprivileged, fails: secret.Denied},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { c.check(t, f) })
	}
}

type loading struct {
	kind, namespace, name string
	with                  client.Client
	want                  map[string]string
	fails                 secret.Kind
}

func (l loading) check(t *testing.T, f fixture) {
	around := f.around
	if l.with != nil {
		around = cluster.New(l.with, nil, nil)
	}
	if l.namespace == "" {
		l.namespace = f.namespace
	}
	got, err := around.Load(t.Context(), l.kind, l.namespace, l.name)
	if secret.KindOf(err) != l.fails {
		t.Fatalf("error %v, want %q", err, l.fails)
	}
	if l.fails != "" {
		return
	}
	data := map[string]string{}
	for k, v := range got.Data {
		data[k] = string(v.Reveal())
	}
	if diff := cmp.Diff(l.want, data); diff != "" {
		t.Error(diff)
	}
	if got.Data == nil || got.Version == "" || got.Labels["for"] != "test" {
		t.Errorf("data %v, version %q, labels %v", got.Data, got.Version, got.Labels)
	}
}

func TestToken(t *testing.T) {
	f := newFixture(t)
	f.create(&corev1.ServiceAccount{ObjectMeta: f.meta("sa")})
	cases := map[string]struct {
		name     string
		lifetime time.Duration
		want     time.Duration
		fails    secret.Kind
	}{
		"an hour":         {name: "sa", lifetime: time.Hour, want: time.Hour},
		"ten minutes":     {name: "sa", want: 10 * time.Minute},
		"no less":         {name: "sa", lifetime: time.Second, want: 10 * time.Minute},
		"no such account": {name: "absent", fails: secret.NotFound},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := time.Now().Truncate(time.Second)
			got, err := f.around.Token(t.Context(), store.Account{Namespace: f.namespace, Name: c.name, Audiences: []string{"vault", "other"}, Lifetime: c.lifetime})
			if secret.KindOf(err) != c.fails {
				t.Fatalf("error %v, want %q", err, c.fails)
			}
			if c.fails != "" {
				return
			}
			if got.Expires.Before(before.Add(c.want)) || got.Expires.After(time.Now().Add(c.want+time.Second)) {
				t.Errorf("ends after %v, want %v", got.Expires.Sub(before), c.want)
			}
			token, err := jwt.ParseSigned(string(got.Token.Reveal()), []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
			if err != nil {
				t.Fatal("the token is no JWT")
			}
			var claims jwt.Claims
			if err := token.UnsafeClaimsWithoutVerification(&claims); err != nil {
				t.Fatal("the token has no claims")
			}
			if diff := cmp.Diff(jwt.Audience{"vault", "other"}, claims.Audience); diff != "" || claims.Subject != "system:serviceaccount:"+f.namespace+":sa" {
				t.Errorf("for %q %s", claims.Subject, diff)
			}
		})
	}
}

func TestHTTPGoesByWhoNamesTheEndpoint(t *testing.T) {
	f := newFixture(t)
	for trusted, want := range map[bool]secret.Kind{true: "", false: secret.Denied} {
		c, err := f.around.HTTP(provider.TLS{CA: f.plane.Config().CAData}, trusted)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Get(f.plane.Config().Host + "/version")
		if err == nil {
			resp.Body.Close()
		}
		if kind := secret.KindOf(err); kind != want {
			t.Errorf("trusted %v: loopback says %v, want %q", trusted, err, want)
		}
	}
}

// reader is a provider whose store holds the credential that it was opened with.
func reader() provider.Provider {
	type spec = v1.VaultProvider
	return provider.Define(provider.Definition[spec]{Name: "vault", Open: func(ctx context.Context, s *spec, env provider.Env) (provider.Store, error) {
		ref := s.Auth.TokenSecretRef
		v, err := env.Credential(ctx, provider.CredentialRef{Namespace: ref.Namespace, Name: ref.Name, Key: ref.Key, Field: "spec.provider.vault.auth.tokenSecretRef"})
		return opened{v}, err
	}})
}

type opened struct{ credential secret.Value }

func (opened) Close() error { return nil }

func (o opened) Get(context.Context, secret.Ref) (secret.Secret, error) {
	return secret.Secret{Value: o.credential}, nil
}

// watch returns a pool, and what tells of the changes that concern it.
func (f fixture) watch(clock provider.Clock) (*store.Pool, *cluster.Changes) {
	f.Helper()
	registry, err := provider.NewRegistry(reader())
	if err != nil {
		f.Fatal(err)
	}
	pool := store.New(store.Config{Registry: registry, Surroundings: f.around, Clock: clock})
	f.Cleanup(func() { _ = pool.Close() })
	watched, err := cache.New(f.plane.Config(), cache.Options{
		DefaultNamespaces: map[string]cache.Config{f.namespace: {}},
		ByObject:          map[client.Object]cache.ByObject{cluster.Metadata(cluster.SecretKind()): {Transform: cluster.Strip}},
	})
	if err != nil {
		f.Fatal(err)
	}
	changes, err := cluster.NewChanges(f.Context(), watched, pool)
	if err != nil {
		f.Fatal(err)
	}
	go func() { _ = watched.Start(f.Context()) }()
	if !watched.WaitForCacheSync(f.Context()) {
		f.Fatal("the cache does not start")
	}
	return pool, changes
}

// TestChanges follows a credential through its life: absent, made, changed, gone.
func TestChanges(t *testing.T) {
	f := newFixture(t)
	clock := providertest.NewClock(time.Unix(0, 0))
	pool, changes := f.watch(clock)
	told := make(chan store.Place, 100)
	changes.Subscribe(func(store.Place) {})
	changes.Subscribe(func(p store.Place) { told <- p })
	place := store.Place{
		Kind: store.KindSecretStore, Namespace: f.namespace, Name: "s", UID: "u", Generation: 1, Provider: "vault",
		Spec: &v1.VaultProvider{Auth: &v1.VaultAuth{TokenSecretRef: &esmeta.SecretKeySelector{Name: "cred", Key: "k"}}},
	}
	read := func() string {
		clock.Advance(time.Second)
		a := pool.Read(t.Context(), place, []secret.Ref{{Key: "any"}}, clock.Now())[0]
		return string(a.Secret.Value.Reveal()) + string(secret.KindOf(a.Err))
	}
	step := func(what, want string) {
		t.Helper()
		if p := <-told; p.String() != place.String() {
			t.Errorf("%s: told of %s", what, p)
		}
		if got := read(); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	if got := read(); got != "Unauthenticated" {
		t.Errorf("absent: got %q", got)
	}
	cred := &corev1.Secret{ObjectMeta: f.meta("cred"), Data: map[string][]byte{"k": []byte("one")}}
	f.create(cred)
	step("made", "one")
	f.create(&corev1.Secret{ObjectMeta: f.meta("another")})
	f.create(&corev1.ConfigMap{ObjectMeta: f.meta("cred")})
	cred.Data["k"] = []byte("two")
	if err := f.client.Update(t.Context(), cred); err != nil {
		t.Fatal(err)
	}
	step("changed", "two")
	if err := f.client.Delete(t.Context(), cred); err != nil {
		t.Fatal(err)
	}
	step("gone", "Unauthenticated")
	if len(told) != 0 {
		t.Errorf("told %d times more", len(told))
	}
	changes.Tell(place)
	if p := <-told; p.Name != place.Name {
		t.Errorf("told of %s", p)
	}
}
