package rotation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/local"
	"github.com/keyferry/keyferry/internal/rotation"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// world is a service that makes tokens under kind UUID, and the API server of a Keeper.
type world struct {
	*testing.T
	clock  *clocktesting.FakePassiveClock
	keeper *rotation.Keeper
	api    client.Client
	broken bool // the API server takes nothing

	made, ended []int
	fails       secret.Kind
	life        generator.Life
	renewed     generator.Life
}

// clock waits for nobody: nothing here waits.
type clock struct{ *clocktesting.FakePassiveClock }

func (clock) After(time.Duration) <-chan time.Time { return nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, clock: clocktesting.NewFakePassiveClock(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{esv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	b := clientfake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.GeneratorState{})
	b = b.WithInterceptorFuncs(interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
		if w.broken {
			return errors.New("the API server is away")
		}
		return c.Create(ctx, obj, opts...)
	}})
	indexes := builderIndexer{b}
	if err := rotation.Index(t.Context(), indexes); err != nil {
		t.Fatal(err)
	}
	w.api = b.Build()
	w.restart()
	return w
}

// builderIndexer lets the fake have the index of the cache.
type builderIndexer struct{ b *clientfake.ClientBuilder }

func (i builderIndexer) IndexField(_ context.Context, obj client.Object, field string, f client.IndexerFunc) error {
	i.b.WithIndex(obj, field, f)
	return nil
}

func (w *world) generator() generator.Generator {
	return generator.Define(generator.Definition[v1alpha1.UUIDSpec]{
		Kind: v1alpha1.UUIDKind,
		Generate: func(context.Context, *v1alpha1.UUIDSpec, provider.Env) (generator.Output, error) {
			if w.fails != "" {
				return generator.Output{}, &secret.Error{Kind: w.fails, Op: "generate", Err: errors.New("as the test wants it")}
			}
			id := len(w.made) + 1
			w.made = append(w.made, id)
			return generator.Output{
				Values: map[string]secret.Value{"token": secret.FromString(fmt.Sprint("token-", id))},
				State:  json.RawMessage(fmt.Sprintf(`{"id":%d}`, id)), Life: w.life,
			}, nil
		},
		Renew: func(context.Context, *v1alpha1.UUIDSpec, provider.Env, json.RawMessage) (generator.Life, error) {
			if w.fails != "" {
				return generator.Life{}, &secret.Error{Kind: w.fails, Op: "renew", Err: errors.New("as the test wants it")}
			}
			return w.renewed, nil
		},
		Cleanup: func(_ context.Context, _ *v1alpha1.UUIDSpec, _ provider.Env, state json.RawMessage) error {
			var s struct{ ID int }
			err := json.Unmarshal(state, &s)
			w.ended = append(w.ended, s.ID)
			return err
		},
	})
}

// restart gives the world a Keeper that holds nothing.
func (w *world) restart() {
	w.Helper()
	registry, err := generator.NewRegistry(w.generator())
	if err != nil {
		w.Fatal(err)
	}
	c := clock{w.clock}
	pool := store.New(store.Config{Generators: registry, Surroundings: local.NewSurroundings(nil, nil), Clock: c})
	w.Cleanup(func() { _ = pool.Close() })
	w.keeper = rotation.NewKeeper(rotation.Config{
		Pool: pool, Generators: registry, Client: w.api, Cache: w.api, Clock: c, Grace: 2 * time.Minute, States: true,
	})
}

func owner() *esv1.ExternalSecret {
	return &esv1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", UID: "7b3c"}}
}

// request asks for the values of one use, from a generator of that version.
func (w *world) request(key, version string) rotation.Request {
	return rotation.Request{
		Owner: owner(), Key: key, At: w.clock.Now(),
		From: rotation.Found{
			Generator: store.Generator{Kind: v1alpha1.UUIDKind, Spec: &v1alpha1.UUIDSpec{}, Namespace: "team", Name: "token"},
			Name:      "UUID/token", Version: version,
		},
	}
}

func (w *world) value(r rotation.Request) string {
	w.Helper()
	r.At = w.clock.Now()
	values, err := w.keeper.Values(w.Context(), r)
	if err != nil {
		w.Fatal(err)
	}
	return string(values["token"].Reveal())
}

func (w *world) commit(keys ...string) {
	w.Helper()
	if err := w.keeper.Commit(w.Context(), owner(), keys...); err != nil {
		w.Fatal(err)
	}
}

// states says of each token that has a state whether that has a deadline.
func (w *world) states() map[string]bool {
	w.Helper()
	var list v1alpha1.GeneratorStateList
	if err := w.api.List(w.Context(), &list); err != nil {
		w.Fatal(err)
	}
	out := map[string]bool{}
	for _, s := range list.Items {
		out[string(s.Spec.State.Raw)] = s.Spec.GarbageCollectionDeadline != nil
	}
	return out
}

func (w *world) pass(d time.Duration) { w.clock.SetTime(w.clock.Now().Add(d)) }

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
}

func TestWhenValuesAreNew(t *testing.T) {
	type step struct {
		version      string
		rotate, keep bool
		commit       bool
		want         string
	}
	for name, steps := range map[string][]step{
		"the same until they have arrived, whoever wants others": {
			{version: "1", rotate: true, want: "token-1"}, {version: "1", rotate: true, want: "token-1"},
		},
		"and afterwards, unless others are wanted": {
			{version: "1", commit: true, want: "token-1"},
			{version: "1", want: "token-1"},
			{version: "1", rotate: true, want: "token-2"},
			{version: "1", rotate: true, commit: true, want: "token-2"},
			{version: "1", want: "token-2"},
		},
		"others of another generator": {
			{version: "1", want: "token-1"}, {version: "2", commit: true, want: "token-2"}, {version: "3", want: "token-3"},
		},
		"what is kept once it has arrived": {
			{version: "1", keep: true, want: "token-1"},
			{version: "2", keep: true, commit: true, want: "token-2"},
			{version: "3", keep: true, rotate: true, want: "token-2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i, s := range steps {
				r := w.request("UUID/token#0", s.version)
				r.Rotate, r.Keep = s.rotate, s.keep
				if got := w.value(r); got != s.want {
					t.Errorf("step %d: %s, want %s", i, got, s.want)
				}
				if s.commit {
					w.commit("UUID/token#0")
				}
			}
		})
	}
}

func TestAFailedRotationLeavesWhatIsThere(t *testing.T) {
	w := newWorld(t)
	r := w.request("UUID/token#0", "1")
	diff(t, "token-1", w.value(r))
	w.commit("UUID/token#0")
	w.fails, r.Rotate = secret.Denied, true
	if _, err := w.keeper.Values(t.Context(), r); !errors.Is(err, secret.Denied) {
		t.Errorf("error %v", err)
	}
	r.Rotate = false
	diff(t, "token-1", w.value(r))
	diff(t, map[string]bool{`{"id":1}`: false}, w.states())
}

func TestWhatCannotBeNotedIsEndedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.broken = true
	if _, err := w.keeper.Values(t.Context(), w.request("UUID/token#0", "1")); !errors.Is(err, secret.Unavailable) {
		t.Errorf("error %v", err)
	}
	diff(t, []int{1}, w.ended)
	w.broken = false
	diff(t, "token-2", w.value(w.request("UUID/token#0", "1")))
}

func TestStatesFollowWhatIsInUse(t *testing.T) {
	w := newWorld(t)
	w.value(w.request("UUID/token#0", "1"))
	w.value(w.request("UUID/token#1", "1"))
	w.commit("UUID/token#0", "UUID/token#1")
	diff(t, map[string]bool{`{"id":1}`: false, `{"id":2}`: false}, w.states())

	// One that was replaced before it arrived is of no use to anybody.
	w.value(w.request("UUID/token#0", "2"))
	w.value(w.request("UUID/token#0", "3"))
	diff(t, map[string]bool{`{"id":1}`: false, `{"id":2}`: false, `{"id":3}`: true, `{"id":4}`: false}, w.states())
	w.commit("UUID/token#0", "UUID/token#1")
	diff(t, map[string]bool{`{"id":1}`: true, `{"id":2}`: false, `{"id":3}`: true, `{"id":4}`: false}, w.states())

	// What a process made that was killed is found again.
	w.restart()
	w.value(w.request("UUID/token#0", "3"))
	w.commit("UUID/token#0")
	diff(t, map[string]bool{`{"id":1}`: true, `{"id":2}`: true, `{"id":3}`: true, `{"id":4}`: true, `{"id":5}`: false}, w.states())
	w.restart()
	w.commit()
	if states := w.states(); !states[`{"id":5}`] {
		t.Errorf("states %v", states)
	}
	if len(w.ended) != 0 {
		t.Errorf("the Keeper has ended %v itself", w.ended)
	}
}

func TestLife(t *testing.T) {
	w := newWorld(t)
	born := w.clock.Now()
	w.life = generator.Life{Expires: born.Add(time.Hour), Renewable: true}
	diff(t, "token-1", w.value(w.request("UUID/token#0", "1")))
	w.commit("UUID/token#0")
	age := func() (made, end time.Time) {
		t.Helper()
		made, end, err := w.keeper.Age(t.Context(), owner(), "UUID/token#0")
		if err != nil {
			t.Fatal(err)
		}
		return made, end
	}
	made, end := age()
	diff(t, []time.Time{born, born.Add(40 * time.Minute)}, []time.Time{made, end})
	w.pass(39 * time.Minute)
	diff(t, "token-1", w.value(w.request("UUID/token#0", "1")))

	// It is extended by as much as it was good for.
	w.pass(time.Minute)
	w.renewed = generator.Life{Expires: w.clock.Now().Add(time.Hour), Renewable: true}
	diff(t, "token-1", w.value(w.request("UUID/token#0", "1")))
	if made, end = age(); !made.Equal(born) || !end.Equal(born.Add(80*time.Minute)) {
		t.Errorf("made at %s, ends at %s", made, end)
	}
	w.commit("UUID/token#0")
	w.restart() // the state has it too
	if _, end = age(); !end.Equal(born.Add(80 * time.Minute)) {
		t.Errorf("ends at %s", end)
	}
	adopt(w, "token-1", true)

	// Too little is no extension.
	w.pass(40 * time.Minute)
	w.renewed = generator.Life{Expires: born.Add(119 * time.Minute), Renewable: true}
	w.life = generator.Life{Expires: w.clock.Now().Add(time.Hour), Renewable: true}
	diff(t, "token-2", w.value(w.request("UUID/token#0", "")))
	w.commit("UUID/token#0")
	diff(t, map[string]bool{`{"id":1}`: true, `{"id":2}`: false}, w.states())

	// What cannot be extended is replaced.
	w.pass(40 * time.Minute)
	w.fails = secret.NotFound
	if _, err := w.keeper.Values(t.Context(), w.request("UUID/token#0", "")); !errors.Is(err, secret.NotFound) {
		t.Errorf("error %v", err)
	}
}

// adopt takes a value as found at its place.
func adopt(w *world, value string, want bool) {
	w.Helper()
	taken, err := w.keeper.Adopt(w.Context(), w.request("UUID/token#0", ""), map[string]secret.Value{"token": secret.FromString(value)}, time.Time{})
	if err != nil || taken != want {
		w.Errorf("taken %t, error %v", taken, err)
	}
}

func TestWhatIsFoundIsTakenUnlessItMayBeAnother(t *testing.T) {
	w := newWorld(t)
	adopt(w, "mine", true)
	diff(t, "mine", w.value(w.request("UUID/token#0", "")))
	if made, _, err := w.keeper.Age(t.Context(), owner(), "UUID/token#0"); err != nil || !made.Equal(w.clock.Now()) {
		t.Errorf("made at %s, %v", made, err)
	}
	w.keeper.Forget(owner().UID)
	if w.keeper.Holds(owner().UID, "UUID/token#0") {
		t.Error("it is held still")
	}
	diff(t, "token-1", w.value(w.request("UUID/token#0", "")))
	w.restart()
	adopt(w, "token-1", true)
	w.restart()
	diff(t, "token-2", w.value(w.request("UUID/token#0", "")))
	w.restart() // before it was committed
	adopt(w, "token-1", false)
}

func TestWhatESOLeftBehindIsInUse(t *testing.T) {
	state := func(name, generator string) *v1alpha1.GeneratorState {
		return &v1alpha1.GeneratorState{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "team", Name: name, Labels: map[string]string{v1alpha1.GeneratorStateLabelOwnerKey: "another-digest"},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "external-secrets.io/v1", Kind: esv1.ExtSecretKind, Name: "app", UID: owner().UID}},
			},
			Spec: v1alpha1.GeneratorStateSpec{
				Resource: &apiextensionsv1.JSON{Raw: []byte(`{"kind":"UUID","metadata":{"name":"` + generator + `"},"spec":{}}`)},
				State:    &apiextensionsv1.JSON{Raw: []byte(`{"id":7}`)},
			},
		}
	}
	for name, c := range map[string]struct {
		states []*v1alpha1.GeneratorState
		key    string
		taken  bool
		want   map[string]bool
	}{
		"of the generator":       {[]*v1alpha1.GeneratorState{state("a", "token")}, "UUID/token#0", true, map[string]bool{`{"id":7}`: false}},
		"of a ClusterGenerator":  {[]*v1alpha1.GeneratorState{state("a", "token")}, "ClusterGenerator/token#0", true, map[string]bool{`{"id":7}`: false}},
		"of a PushSecret":        {[]*v1alpha1.GeneratorState{state("a", "other")}, "__pushsecret", true, map[string]bool{`{"id":7}`: false}},
		"of another generator":   {[]*v1alpha1.GeneratorState{state("a", "other")}, "UUID/token#0", true, map[string]bool{`{"id":7}`: true}},
		"of either of two calls": {[]*v1alpha1.GeneratorState{state("a", "token"), state("b", "token")}, "UUID/token#0", false, map[string]bool{`{"id":7}`: true, `{"id":1}`: false}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, s := range c.states {
				if err := w.api.Create(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			r := w.request(c.key, "1")
			taken, err := w.keeper.Adopt(t.Context(), r, map[string]secret.Value{"token": secret.FromString("theirs")}, time.Time{})
			if err != nil || taken != c.taken {
				t.Errorf("taken %t, error %v", taken, err)
			}
			if got := w.value(r); (got == "theirs") != c.taken {
				t.Errorf("value %s", got)
			}
			w.commit(c.key)
			diff(t, c.want, w.states())
		})
	}
}

func TestWithoutStatesNothingIsWritten(t *testing.T) {
	w := newWorld(t)
	w.keeper.States = false
	w.life = generator.Life{Expires: w.clock.Now().Add(time.Hour)}
	diff(t, "token-1", w.value(w.request("UUID/token#0", "1")))
	w.commit("UUID/token#0")
	diff(t, map[string]bool{}, w.states())
	if _, end, _ := w.keeper.Age(t.Context(), owner(), "UUID/token#0"); !end.Equal(w.clock.Now().Add(40 * time.Minute)) {
		t.Errorf("ends at %s", end)
	}
}

func TestRestoreTrustsNoClusterGeneratorThatIsNone(t *testing.T) {
	w := newWorld(t)
	admin := &v1alpha1.ClusterGenerator{ObjectMeta: metav1.ObjectMeta{Name: "tokens"}, Spec: v1alpha1.ClusterGeneratorSpec{
		Kind: v1alpha1.WebhookKind, Generator: v1alpha1.GeneratorSpec{WebhookSpec: &v1alpha1.WebhookSpec{URL: "https://a.test"}},
	}}
	if err := w.api.Create(t.Context(), admin.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		resource    string
		kind        string
		cluster     bool
		wrong       secret.Kind
		nothingLeft bool
	}{
		"just so":         {`{"kind":"ClusterGenerator","metadata":{"name":"tokens"},"spec":{"kind":"Webhook","generator":{"webhookSpec":{"url":"https://a.test"}}}}`, v1alpha1.WebhookKind, true, "", false},
		"another spec":    {`{"kind":"ClusterGenerator","metadata":{"name":"tokens"},"spec":{"kind":"Webhook","generator":{"webhookSpec":{"url":"https://169.254.169.254"}}}}`, v1alpha1.WebhookKind, false, "", false},
		"another name":    {`{"kind":"ClusterGenerator","metadata":{"name":"other"},"spec":{"kind":"Webhook","generator":{"webhookSpec":{"url":"https://a.test"}}}}`, v1alpha1.WebhookKind, false, "", false},
		"of a namespace":  {`{"kind":"UUID","metadata":{"name":"u","namespace":"elsewhere"},"spec":{}}`, v1alpha1.UUIDKind, false, "", false},
		"nothing left":    {`{"kind":"UUID","metadata":{"name":"u"},"spec":{}}`, v1alpha1.UUIDKind, false, "", true},
		"no kind of ours": {`{"kind":"BeyondtrustWorkloadCredentialsDynamicSecret"}`, "", false, secret.Unsupported, false},
		"no manifest":     {`[]`, "", false, secret.Invalid, false},
		"no spec":         {`{"kind":"ClusterGenerator","metadata":{"name":"tokens"}}`, "", false, secret.Invalid, false},
		"wrong types":     {`{"kind":"Password","spec":{"length":"x"}}`, "", false, secret.Invalid, false},
	} {
		t.Run(name, func(t *testing.T) {
			left := `{"id":1}`
			if c.nothingLeft {
				left = `{}`
			}
			state := &v1alpha1.GeneratorState{ObjectMeta: metav1.ObjectMeta{Namespace: "team"}, Spec: v1alpha1.GeneratorStateSpec{
				Resource: &apiextensionsv1.JSON{Raw: []byte(c.resource)}, State: &apiextensionsv1.JSON{Raw: []byte(left)},
			}}
			g, raw, err := rotation.Restore(t.Context(), w.api, state)
			if secret.KindOf(err) != c.wrong {
				t.Fatalf("error %v, want %q", err, c.wrong)
			}
			if err != nil {
				return
			}
			if g.Kind != c.kind || g.Cluster != c.cluster || g.Namespace != "team" || (raw == nil) != c.nothingLeft {
				t.Errorf("got %+v with %s", g, raw)
			}
		})
	}
}
