package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generators/password"
	"github.com/keyferry/keyferry/internal/controller"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const genGroup = "generators.external-secrets.io/v1alpha1"

// service makes tokens under kind UUID, numbered, and remembers which are alive.
type service struct {
	clock *clock

	mu        sync.Mutex
	made      int
	live      map[int]bool
	life      time.Duration // zero is for ever
	renewable bool
	renewed   int
	stuck     secret.Kind // what ending one fails with
}

type tokenState struct{ ID int }

func (s *service) generator() generator.Generator {
	return generator.Define(generator.Definition[genv1alpha1.UUIDSpec]{
		Kind: genv1alpha1.UUIDKind,
		Generate: func(context.Context, *genv1alpha1.UUIDSpec, provider.Env) (generator.Output, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.made++
			s.live[s.made] = true
			state, err := json.Marshal(tokenState{s.made})
			return generator.Output{Values: map[string]secret.Value{"token": secret.FromString(fmt.Sprint("canary-", s.made))}, State: state, Life: s.lifeNow()}, err
		},
		Renew: func(context.Context, *genv1alpha1.UUIDSpec, provider.Env, json.RawMessage) (generator.Life, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.renewed++
			return s.lifeNow(), nil
		},
		Cleanup: func(_ context.Context, _ *genv1alpha1.UUIDSpec, _ provider.Env, raw json.RawMessage) error {
			var state tokenState
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.stuck != "" {
				return &secret.Error{Kind: s.stuck, Op: "generate", Err: errors.New("as the test wants it")}
			}
			err := json.Unmarshal(raw, &state)
			delete(s.live, state.ID)
			return err
		},
	})
}

func (s *service) lifeNow() generator.Life {
	if s.life == 0 {
		return generator.Life{}
	}
	return generator.Life{Expires: s.clock.Now().Add(s.life), Renewable: s.renewable}
}

// set changes the service while nobody looks.
func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *service) count() (made, renewed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made, s.renewed
}

// making is a kit with generators: real passwords, and a service for UUID.
type making struct {
	*kit
	service *service
	stop    func()
}

func newMaking(t *testing.T) *making {
	t.Helper()
	t.Parallel()
	m := &making{kit: newKit(t)}
	m.service = &service{clock: m.clock, live: map[int]bool{}}
	m.start()
	m.store("backend", steered)
	m.create(genGroup, genv1alpha1.UUIDKind, "token", "spec: {}")
	m.create(genGroup, genv1alpha1.PasswordKind, "strong", "spec: {length: 20}")
	return m
}

// start runs a controller that knows nothing of the ones before.
func (m *making) start() {
	m.Helper()
	registry, err := generator.NewRegistry(password.Generator(), m.service.generator())
	if err != nil {
		m.Fatal(err)
	}
	m.stop = m.run(func(o *controller.Options) {
		o.Generators, o.GeneratorState, o.GeneratorGrace = registry, true, 2*time.Minute
	})
}

func (m *making) restart() {
	m.Helper()
	m.stop()
	m.start()
}

// value waits until a key of Secret app is there, other than before, and returns it.
func (m *making) value(key, before string) string {
	m.Helper()
	var got string
	m.await("Secret app", func() string {
		got = m.data(&corev1.Secret{}, "app")[key]
		if got == "" || got == before {
			return fmt.Sprintf("key %s has %d bytes, the same as before: %t", key, len(got), got == before)
		}
		return ""
	})
	return got
}

// states returns what was left behind: name → whether it has a deadline.
func (m *making) states() map[string]bool {
	m.Helper()
	var list genv1alpha1.GeneratorStateList
	if err := m.api.List(m.Context(), &list, client.InNamespace(m.ns)); err != nil {
		m.Fatal(err)
	}
	out := map[string]bool{}
	for _, s := range list.Items {
		out[s.Name] = s.Spec.GarbageCollectionDeadline != nil
	}
	return out
}

// awaitRetired waits until all states but one have a deadline.
func (m *making) awaitRetired(want int) {
	m.Helper()
	m.await("states", func() string {
		retired, states := 0, m.states()
		for _, is := range states {
			if is {
				retired++
			}
		}
		if len(states) != want+1 || retired != want {
			return fmt.Sprint(states)
		}
		return ""
	})
}

func (m *making) awaitLive(want ...int) {
	m.Helper()
	m.await("tokens alive", func() string {
		m.service.mu.Lock()
		defer m.service.mu.Unlock()
		wanted := map[int]bool{}
		for _, id := range want {
			wanted[id] = true
		}
		return cmp.Diff(wanted, m.service.live)
	})
}

// nudge makes an ExternalSecret due by a label, and waits until that is done.
func (m *making) nudge() {
	m.Helper()
	m.edit(&esv1.ExternalSecret{}, "app", fmt.Sprintf(`{metadata: {labels: {nudge: "%d"}}}`, m.forced.Add(1)))
	m.awaitSynced("app")
}

const (
	strong = `{sourceRef: {generatorRef: {kind: Password, name: strong}}}`
	token  = `{sourceRef: {generatorRef: {kind: UUID, name: token}}}`
)

func TestAPasswordIsMadeOnceAndKept(t *testing.T) {
	m := newMaking(t)
	m.externalSecret("app", `{refreshInterval: 1h, dataFrom: [`+strong+`]}`)
	first := m.value("password", "")
	if len(first) != 20 {
		t.Errorf("%d characters", len(first))
	}
	same := func(after string) {
		t.Helper()
		if got := m.data(&corev1.Secret{}, "app")["password"]; got != first {
			t.Errorf("after %s it is another", after)
		}
	}
	m.nudge()
	same("a label changed")
	m.edit(&corev1.Secret{}, "app", `{stringData: {password: mine, other: x}}`)
	m.awaitData("app", map[string]string{"password": first})
	m.delete(&corev1.Secret{}, "app")
	m.awaitData("app", map[string]string{"password": first})
	m.edit(&esv1.ExternalSecret{}, "app", `{spec: {target: {template: {mergePolicy: Merge, data: {url: "user:{{ .password }}@db"}}}}}`)
	m.awaitData("app", map[string]string{"password": first, "url": "user:" + first + "@db"})
	m.restart()
	m.nudge()
	same("a restart")
	m.stop()
	m.loseStatus()
	m.start()
	m.awaitSynced("app")
	same("the status was lost")

	second := m.value2(first, func() { m.ask("app") })
	third := m.value2(second, func() { m.clock.jump(time.Hour); m.knock("app") })
	fourth := m.value2(third, func() { m.edit(&genv1alpha1.Password{}, "strong", `{spec: {length: 30}}`) })
	if len(fourth) != 30 {
		t.Errorf("%d characters after the generator changed", len(fourth))
	}
	m.awaitSynced("app")
	if passes := m.passes(); passes > 30 {
		t.Errorf("%d passes", passes)
	}
}

// value2 is the password after something was done that replaces it.
func (m *making) value2(before string, do func()) string {
	m.Helper()
	do()
	return m.value("password", before)
}

// loseStatus removes the status of ExternalSecret app, as a backup does.
func (m *making) loseStatus() {
	m.Helper()
	es := &esv1.ExternalSecret{}
	m.get(es, "app")
	es.Status = esv1.ExternalSecretStatus{}
	if err := m.api.Status().Update(m.Context(), es); err != nil {
		m.Fatal(err)
	}
}

func TestARewrittenKeyIsFoundAgainAfterARestart(t *testing.T) {
	m := newMaking(t)
	m.externalSecret("app", `{refreshInterval: 1h, dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: strong}}, rewrite: [{regexp: {source: "pass", target: "key-"}}, {transform: {template: "{{ .value | upper }}"}}]}]}`)
	first := m.value("KEY-WORD", "")
	m.restart()
	m.nudge()
	m.awaitData("app", map[string]string{"KEY-WORD": first})
}

func TestWhatIsNeverReplaced(t *testing.T) {
	for name, policy := range map[string]string{"interval 0": `refreshInterval: "0"`, "CreatedOnce": `refreshPolicy: CreatedOnce`} {
		t.Run(name, func(t *testing.T) {
			m := newMaking(t)
			// The template hides the password: nothing can be read back from it.
			m.externalSecret("app", `{`+policy+`, target: {template: {data: {url: "user:{{ .password }}@db"}}}, dataFrom: [`+strong+`]}`)
			first := m.value("url", "")
			m.edit(&genv1alpha1.Password{}, "strong", `{spec: {length: 30}}`)
			m.ask("app")
			m.clock.jump(1000 * time.Hour)
			m.restart()
			m.edit(&esv1.ExternalSecret{}, "app", `{metadata: {labels: {a: b}}}`)
			if name == "interval 0" { // under CreatedOnce there is no pass
				m.awaitSynced("app")
			}
			m.stop()
			m.loseStatus()
			m.start()
			m.awaitSynced("app")
			m.awaitData("app", map[string]string{"url": first})
		})
	}
}

func TestARetryUsesTheSameValues(t *testing.T) {
	m := newMaking(t)
	m.backend.fail("user", secret.Unavailable)
	m.externalSecret("app", `{refreshInterval: 1h, secretStoreRef: {name: backend}, dataFrom: [`+token+`], data: [{secretKey: user, remoteRef: {key: user}}]}`)
	m.awaitFailed("app", secret.Unavailable)
	m.clock.jump(time.Minute)
	m.knock("app")
	m.backend.set("user", "ada")
	m.backend.fail("user", "")
	m.awaitData("app", map[string]string{"token": "canary-1", "user": "ada"})

	// And so do the retries of a rotation.
	m.backend.fail("user", secret.Unavailable)
	m.ask("app")
	m.awaitFailed("app", secret.Unavailable)
	m.ask("app")
	m.clock.jump(time.Minute)
	m.knock("app")
	m.backend.fail("user", "")
	m.awaitData("app", map[string]string{"token": "canary-2", "user": "ada"})
	m.awaitSynced("app")
	if made, _ := m.service.count(); made != 2 {
		t.Errorf("%d calls of the generator for two rotations", made)
	}
}

func TestWhatWasReplacedIsEnded(t *testing.T) {
	m := newMaking(t)
	m.externalSecret("app", `{refreshInterval: 1h, dataFrom: [`+token+`]}`)
	m.awaitData("app", map[string]string{"token": "canary-1"})
	m.ask("app")
	m.awaitData("app", map[string]string{"token": "canary-2"})
	m.awaitRetired(1)
	m.checkState()
	m.awaitLive(1, 2)
	m.clock.jump(3 * time.Minute)
	m.restart() // what waits for the deadline waits by the real clock
	m.awaitLive(2)

	// The generator may be gone by the time.
	m.delete(&genv1alpha1.UUID{}, "token")
	m.delete(&esv1.ExternalSecret{}, "app")
	m.awaitLive()
	m.await("states", func() string {
		if left := m.states(); len(left) > 0 {
			return fmt.Sprint(left)
		}
		return ""
	})
}

// checkState looks at what a state holds, and at what it does not.
func (m *making) checkState() {
	m.Helper()
	var list genv1alpha1.GeneratorStateList
	if err := m.api.List(m.Context(), &list, client.InNamespace(m.ns)); err != nil {
		m.Fatal(err)
	}
	for _, s := range list.Items {
		for what, is := range map[string]bool{
			"name":       strings.HasPrefix(s.Name, "gen-uuid-token-"),
			"owner":      len(s.OwnerReferences) == 1 && s.OwnerReferences[0].Kind == esv1.ExtSecretKind && s.OwnerReferences[0].Name == "app",
			"label":      s.Labels[genv1alpha1.GeneratorStateLabelOwnerKey] != "",
			"finalizer":  len(s.Finalizers) == 1,
			"condition":  len(s.Status.Conditions) == 1 && s.Status.Conditions[0].Reason == genv1alpha1.ConditionReasonCreated,
			"discretion": !strings.Contains(raw(s), "canary"),
		} {
			if !is {
				m.Errorf("%s of %s", what, raw(s))
			}
		}
	}
	es := &esv1.ExternalSecret{}
	m.get(es, "app")
	if said := raw(es) + raw(m.events(esv1.ExtSecretKind, "app")); strings.Contains(said, "canary") {
		m.Errorf("a value is in %s", said)
	}
}

func TestWhatWasMadeBeforeAKillIsEnded(t *testing.T) {
	m := newMaking(t)
	m.backend.fail("user", secret.Unavailable)
	m.externalSecret("app", `{refreshInterval: 1h, secretStoreRef: {name: backend}, dataFrom: [`+token+`], data: [{secretKey: user, remoteRef: {key: user}}]}`)
	m.awaitFailed("app", secret.Unavailable)
	m.stop()
	m.backend.set("user", "ada")
	m.backend.fail("user", "")
	m.start()
	m.awaitSynced("app")
	m.awaitData("app", map[string]string{"token": "canary-2", "user": "ada"})
	m.clock.jump(3 * time.Minute)
	m.restart()
	m.awaitLive(2)
}

func TestValuesAreExtendedAtTwoThirdsOfTheirLife(t *testing.T) {
	m := newMaking(t)
	m.service.set(func() { m.service.life, m.service.renewable = time.Hour, true })
	m.externalSecret("app", `{refreshInterval: 24h, dataFrom: [`+token+`]}`)
	m.awaitData("app", map[string]string{"token": "canary-1"})
	m.awaitSynced("app")
	m.clock.jump(30 * time.Minute)
	m.knock("app")
	m.clock.jump(11 * time.Minute)
	m.knock("app")
	m.await("renewal", func() string {
		if made, renewed := m.service.count(); made != 1 || renewed != 1 {
			return fmt.Sprintf("made %d, renewed %d", made, renewed)
		}
		return ""
	})
	m.awaitData("app", map[string]string{"token": "canary-1"})

	// After a restart it is known when it ends.
	m.restart()
	m.service.set(func() { m.service.renewable = false })
	m.clock.jump(41 * time.Minute)
	m.knock("app")
	m.await("renewal", func() string {
		if made, renewed := m.service.count(); made != 1 || renewed != 2 {
			return fmt.Sprintf("made %d, renewed %d", made, renewed)
		}
		return ""
	})
	m.clock.jump(41 * time.Minute)
	m.knock("app")
	m.awaitData("app", map[string]string{"token": "canary-2"})
	m.awaitRetired(1)
	m.clock.jump(3 * time.Minute)
	m.restart()
	m.awaitLive(2)
}

func TestAGeneratorThatIsNotThere(t *testing.T) {
	m := newMaking(t)
	m.externalSecret("app", `{refreshInterval: 1h, dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: later}}}]}`)
	es := m.awaitFailed("app", secret.Invalid)
	if text := ready(es).Message; !strings.Contains(text, "spec.dataFrom[0].sourceRef.generatorRef") || !strings.Contains(text, `Password "later"`) {
		t.Errorf("message %q", text)
	}
	m.create(genGroup, genv1alpha1.PasswordKind, "later", "spec: {length: 12}")
	m.value("password", "")
	m.externalSecret("unbuilt", `{refreshInterval: 1h, dataFrom: [{sourceRef: {generatorRef: {kind: MFA, name: x}}}]}`)
	m.awaitFailed("unbuilt", secret.Invalid)
}

func TestAClusterGeneratorWorksInTheNamespaceOfItsUser(t *testing.T) {
	m := newMaking(t)
	u := m.object(genGroup, genv1alpha1.ClusterGeneratorKind, m.ns, "spec: {kind: UUID, generator: {uuidSpec: {}}}")
	u.SetNamespace("")
	if err := m.api.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.api.Delete(context.WithoutCancel(t.Context()), u) })
	m.externalSecret("app", `{refreshInterval: 1h, dataFrom: [{sourceRef: {generatorRef: {kind: ClusterGenerator, name: `+m.ns+`}}}]}`)
	m.awaitData("app", map[string]string{"token": "canary-1"})
	m.restart()
	m.nudge()
	m.awaitData("app", map[string]string{"token": "canary-1"})
	m.delete(&esv1.ExternalSecret{}, "app")
	m.awaitLive()
}

func TestWhatCannotBeEndedIsLetGo(t *testing.T) {
	m := newMaking(t)
	m.externalSecret("app", `{refreshInterval: 1h, dataFrom: [`+token+`]}`)
	m.awaitData("app", map[string]string{"token": "canary-1"})
	m.service.set(func() { m.service.stuck = secret.Denied })
	name := ""
	for n := range m.states() {
		name = n
	}
	m.delete(&genv1alpha1.GeneratorState{}, name)
	m.await("condition", func() string {
		s := &genv1alpha1.GeneratorState{}
		if !m.get(s, name) || len(s.Status.Conditions) != 1 || s.Status.Conditions[0].Reason != genv1alpha1.ConditionReasonError ||
			!strings.HasPrefix(s.Status.Conditions[0].Message, "Denied: ") {
			return raw(s.Status)
		}
		return ""
	})
	m.edit(&genv1alpha1.GeneratorState{}, name, `{metadata: {annotations: {external-secrets.io/forget-unreachable-stores: "true"}}}`)
	m.await("state", func() string {
		if m.get(&genv1alpha1.GeneratorState{}, name) {
			return "is still there"
		}
		return ""
	})
	m.awaitLive(1)
}

func TestAnEntryThatIsRemovedIsEnded(t *testing.T) {
	m := newMaking(t)
	m.backend.set("user", "ada")
	m.externalSecret("app", `{refreshInterval: 1h, secretStoreRef: {name: backend}, dataFrom: [`+strong+`, `+token+`], data: [{secretKey: user, remoteRef: {key: user}}]}`)
	first := m.value("password", "")
	m.awaitSynced("app")
	m.edit(&esv1.ExternalSecret{}, "app", `{spec: {dataFrom: [`+strong+`]}}`)
	m.awaitData("app", map[string]string{"password": first, "user": "ada"})
	m.edit(&esv1.ExternalSecret{}, "app", `{spec: {dataFrom: null}}`)
	m.awaitData("app", map[string]string{"user": "ada"})
	m.awaitSynced("app")
	m.clock.jump(3 * time.Minute)
	m.restart()
	m.awaitLive()
}

func TestAPushSecretRotatesWhatAGeneratorMakes(t *testing.T) {
	m := newMaking(t)
	m.backend.fail("app", secret.Unavailable)
	m.pushSecret("app", `refreshInterval: 1h, deletionPolicy: Delete, selector: {generatorRef: {kind: UUID, name: token}}, data: [{match: {secretKey: token, remoteRef: {remoteKey: app}}}]`)
	m.awaitPushed("app", v1alpha1.ReasonErrored, "Unavailable")
	m.backend.fail("app", "")
	m.awaitHeld(map[string]string{"app": "canary-1"})
	m.awaitPushed("app", v1alpha1.ReasonSynced, "")
	m.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {labels: {a: b}}}`)
	m.backend.set("app", "theirs")
	m.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {labels: {a: c}}}`)
	m.awaitHeld(map[string]string{"app": "canary-1"})
	if made, _ := m.service.count(); made != 1 {
		t.Errorf("%d calls of the generator", made)
	}
	m.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {annotations: {external-secrets.io/force-sync: "1"}}}`)
	m.awaitHeld(map[string]string{"app": "canary-2"})
	pushed := func() {
		t.Helper()
		m.await("status", func() string {
			ps := m.awaitPushed("app", v1alpha1.ReasonSynced, "")
			if !strings.HasPrefix(ps.Status.SyncedResourceVersion, plan.SyncedVersion(ps)) {
				return "is of another version"
			}
			return ""
		})
	}
	pushed()
	m.clock.jump(3 * time.Minute)
	m.restart()
	m.awaitLive(2)
	m.clock.jump(time.Hour)
	m.edit(&v1alpha1.PushSecret{}, "app", `{metadata: {labels: {a: d}}}`)
	m.awaitHeld(map[string]string{"app": "canary-3"})
	pushed()
	m.delete(&v1alpha1.PushSecret{}, "app")
	m.awaitGone("app")
	m.awaitHeld(map[string]string{"app": ""})
	m.awaitLive()
	if made, _ := m.service.count(); made != 3 {
		t.Errorf("%d calls of the generator for three rotations", made)
	}
}
