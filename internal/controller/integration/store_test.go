package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/config/crds"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/secret"
)

func TestStoreVerdicts(t *testing.T) {
	for name, test := range map[string]struct {
		provider, reason string
		kind             secret.Kind
		says             []string
		capabilities     esv1.SecretStoreCapabilities
		stalled          bool
	}{
		"a valid store": {
			provider: steered, reason: esv1.ReasonStoreValid, says: []string{"store validated"}, capabilities: "ReadWrite",
		},
		"a store that cannot be checked": {
			provider: `{fake: {validationResult: 1, data: []}}`, reason: esv1.ReasonStoreValid,
			says: []string{"store validated", "checked at the first read"}, capabilities: "ReadWrite",
		},
		"a manifest that is wrong": {
			provider: `{vault: {server: "http://backend.test"}}`, reason: esv1.ReasonInvalidProviderConfig, kind: secret.Invalid,
			says: []string{"spec.provider.vault.server"}, capabilities: "ReadWrite", stalled: true,
		},
		"a provider that this build lacks": {
			provider: `{aws: {service: SecretsManager, region: eu-west-1}}`, reason: esv1.ReasonInvalidProviderConfig, kind: secret.Unsupported,
			says: []string{"spec.provider.aws", "fake", "kubernetes", "vault", "webhook"}, stalled: true,
		},
		"a credential that is not there": {
			provider: withCredential, reason: esv1.ReasonInvalidProviderConfig, kind: secret.Unauthenticated,
			says: []string{"spec.provider.vault.auth.tokenSecretRef", "/token"}, capabilities: "ReadWrite",
		},
		"a credential of another namespace": {
			provider: `{vault: {server: "https://backend.test", auth: {tokenSecretRef: {name: token, key: t, namespace: kube-system}}}}`,
			reason:   esv1.ReasonInvalidProviderConfig, kind: secret.Denied,
			says: []string{"spec.provider.vault.auth.tokenSecretRef.namespace"}, capabilities: "ReadWrite",
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := start(t)
			k.store("main", test.provider)
			s := &esv1.SecretStore{}
			c := k.awaitStore(s, "main", test.reason)
			if want := test.kind == ""; (c.Status == corev1.ConditionTrue) != want {
				t.Errorf("Ready is %s", c.Status)
			}
			if test.kind != "" && !strings.HasPrefix(c.Message, string(test.kind)+": ") {
				t.Errorf("the message does not begin with %s: %s", test.kind, c.Message)
			}
			for _, part := range test.says {
				if !strings.Contains(c.Message, part) {
					t.Errorf("the message lacks %q: %s", part, c.Message)
				}
			}
			if s.Status.Capabilities != test.capabilities {
				t.Errorf("capabilities are %q, want %q", s.Status.Capabilities, test.capabilities)
			}
			stalled := slices.ContainsFunc(s.Status.Conditions, func(c esv1.SecretStoreStatusCondition) bool { return c.Type == "Stalled" })
			if stalled != test.stalled {
				t.Errorf("conditions are %s", raw(s.Status.Conditions))
			}
		})
	}
}

func TestClusterStoreIsCheckedToo(t *testing.T) {
	k := start(t)
	name := k.clusterStore(steered, "")
	s := &esv1.ClusterSecretStore{}
	k.awaitStore(s, name, esv1.ReasonStoreValid)
	if s.Status.Capabilities != "ReadWrite" {
		t.Errorf("capabilities are %q", s.Status.Capabilities)
	}
	k.edit(s, name, `{spec: {provider: {vault: {server: "ftp://x"}}}}`)
	k.awaitStore(&esv1.ClusterSecretStore{}, name, esv1.ReasonInvalidProviderConfig)
	k.await("events", func() string {
		if all := k.events(esv1.ClusterSecretStoreKind, name); len(all) != 2 {
			return fmt.Sprintf("%q", all)
		}
		return ""
	})
	if v, _ := k.metric("clustersecretstore_status_condition", map[string]string{"name": name, "condition": "Ready", "status": "False"}); v != 1 {
		t.Errorf("Ready=False is %v in the metrics", v)
	}
	if err := k.api.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	k.await("its series go", func() string {
		if _, n := k.metric("clustersecretstore_status_condition", map[string]string{"name": name}); n > 0 {
			return fmt.Sprintf("%d are left", n)
		}
		return ""
	})
}

func TestStoreThatChangesItsProviderShowsWhatIsTrueNow(t *testing.T) {
	k := start(t)
	k.store("main", steered)
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonStoreValid)
	k.edit(&esv1.SecretStore{}, "main", `{spec: {provider: {vault: null, gcpsm: {projectID: x}}}}`)
	s := &esv1.SecretStore{}
	k.awaitStore(s, "main", esv1.ReasonInvalidProviderConfig)
	if s.Status.Capabilities != "" {
		t.Errorf("capabilities of an unknown provider are %q", s.Status.Capabilities)
	}
	k.edit(&esv1.SecretStore{}, "main", `{spec: {provider: {gcpsm: null, fake: {data: []}}}}`)
	k.awaitStore(s, "main", esv1.ReasonStoreValid)
	if s.Status.Capabilities != "ReadWrite" || len(s.Status.Conditions) != 1 {
		t.Errorf("capabilities %q, conditions %s", s.Status.Capabilities, raw(s.Status.Conditions))
	}
}

func TestStoreMetricsAndTheirEnd(t *testing.T) {
	k := start(t)
	k.store("main", steered)
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonStoreValid)
	labels := map[string]string{"name": "main", "namespace": k.ns, "condition": "Ready", "status": "True"}
	if v, _ := k.metric("secretstore_status_condition", labels); v != 1 {
		t.Errorf("Ready=True is %v", v)
	}
	k.delete(&esv1.SecretStore{}, "main")
	k.await("its series go", func() string {
		if _, n := k.metric("secretstore_status_condition", map[string]string{"name": "main"}); n > 0 {
			return fmt.Sprintf("%d are left", n)
		}
		return ""
	})
}

// checkAnew has every store looked at and waits until that is over: stores are
// looked at one by one, and the last of them is new.
func (k *kit) checkAnew(n int) {
	k.Helper()
	name := fmt.Sprint("last-", n)
	k.store(name, `{fake: {data: []}}`)
	k.awaitStore(&esv1.SecretStore{}, name, esv1.ReasonStoreValid)
}

func TestStoreIsCheckedOnlyWhenSomethingChanged(t *testing.T) {
	k := start(t, oneByOne)
	k.backend.accept("good")
	k.secret("token", held{"t": "good"})
	k.secret("unrelated", held{"t": "x"})
	k.store("main", withCredential)
	first := &esv1.SecretStore{}
	k.awaitStore(first, "main", esv1.ReasonStoreValid)
	if got := k.backend.checks(); got != 1 {
		t.Fatalf("checked %d times, want once", got)
	}
	k.edit(&esv1.SecretStore{}, "main", `{metadata: {labels: {a: b}, annotations: {c: d}}}`)
	k.edit(&corev1.Secret{}, "unrelated", `{stringData: {t: z}}`)
	k.checkAnew(1)
	if got := k.backend.checks(); got != 1 {
		t.Errorf("checked %d times although nothing changed", got)
	}

	for i, change := range map[int]func(){
		2: func() { k.edit(&corev1.Secret{}, "token", `{stringData: {more: x}}`) },
		3: func() { k.edit(&esv1.SecretStore{}, "main", `{spec: {retrySettings: {maxRetries: 2}}}`) },
	} {
		before := k.backend.checks()
		change()
		k.await("another check", func() string {
			if k.backend.checks() == before {
				return "there was none"
			}
			return ""
		})
		k.checkAnew(i)
		if got := k.backend.checks() - before; got != 1 {
			t.Errorf("one change, %d checks", got)
		}
	}
	now := &esv1.SecretStore{}
	if k.awaitStore(now, "main", esv1.ReasonStoreValid); !cmp.Equal(first.Status.Conditions, now.Status.Conditions) {
		t.Errorf("conditions changed: %s", cmp.Diff(first.Status.Conditions, now.Status.Conditions))
	}
	if got := k.events(esv1.SecretStoreKind, "main"); len(got) != 1 || !strings.HasPrefix(got[0], "Normal Valid: ") {
		t.Errorf("events are %q", got)
	}
}

func TestStoreIntervals(t *testing.T) {
	for name, interval := range map[string]string{
		"a number of seconds": "1",
		"a duration":          "1s",
	} {
		t.Run(name, func(t *testing.T) {
			k := start(t)
			k.create(group, esv1.SecretStoreKind, "main", "spec: {refreshInterval: "+interval+", provider: "+steered+"}")
			k.await("checks", func() string {
				if got := k.backend.checks(); got < 3 {
					return fmt.Sprintf("there were %d", got)
				}
				return ""
			})
			if got := k.events(esv1.SecretStoreKind, "main"); len(got) != 1 {
				t.Errorf("events are %q", got)
			}
		})
	}
	for name, interval := range map[string]string{"0": "0", "the empty text": `""`, "an hour": "1h", "another hour": "3600"} {
		t.Run(name+" does not mean at once", func(t *testing.T) {
			k := start(t, oneByOne)
			k.create(group, esv1.SecretStoreKind, "main", "spec: {refreshInterval: "+interval+", provider: "+steered+"}")
			k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonStoreValid)
			for i := range 3 {
				k.checkAnew(i)
			}
			if got := k.backend.checks(); got != 1 {
				t.Errorf("checked %d times", got)
			}
		})
	}
	for name, interval := range map[string]string{"negative": "-5", "a negative duration": "-5s", "no duration": "soon"} {
		t.Run(name+" is refused by the API", func(t *testing.T) {
			k := newKit(t)
			obj := k.object(group, esv1.SecretStoreKind, "main", `spec: {refreshInterval: `+interval+`, provider: `+steered+`}`)
			if err := k.api.Create(t.Context(), obj); err == nil || !strings.Contains(err.Error(), "refreshInterval") {
				t.Errorf("admitted, or refused for another reason: %v", err)
			}
		})
	}
}

// It changes the definitions for a moment, and so does not run beside others.
func TestIntervalThatIsWrongInAStoreFromBefore(t *testing.T) {
	k := newKit(t)
	all, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range all {
		for i := range crd.Spec.Versions {
			spec := crd.Spec.Versions[i].Schema.OpenAPIV3Schema.Properties["spec"]
			if interval, ok := spec.Properties["refreshInterval"]; ok {
				interval.XValidations = nil
				spec.Properties["refreshInterval"] = interval
			}
		}
	}
	if err := testenv.InstallCRDs(t.Context(), k.config, all); err != nil {
		t.Fatal(err)
	}
	wrong := k.object(group, esv1.SecretStoreKind, "main", `spec: {refreshInterval: -5s, provider: `+steered+`}`)
	k.await("the definition is in force", func() string {
		if err := k.api.Create(t.Context(), wrong, client.FieldOwner("somebody")); err != nil {
			return err.Error()
		}
		return ""
	})
	installCRDs(t, k.config)

	k.run()
	s := &esv1.SecretStore{}
	c := k.awaitStore(s, "main", esv1.ReasonInvalidProviderConfig)
	if !strings.HasPrefix(c.Message, "Invalid: spec.refreshInterval: ") {
		t.Errorf("message is %s", c.Message)
	}
	k.edit(s, "main", `{spec: {refreshInterval: 5m}}`)
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonStoreValid)
}

func TestStoreEventsFollowTheVerdict(t *testing.T) {
	k := start(t)
	k.backend.accept("good")
	k.secret("token", held{"t": "wrong"})
	k.store("main", withCredential)
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonInvalidProviderConfig)
	k.edit(&corev1.Secret{}, "token", `{stringData: {t: good}}`)
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonStoreValid)
	k.await("events", func() string {
		all := k.events(esv1.SecretStoreKind, "main")
		slices.Sort(all)
		if len(all) != 2 || !strings.HasPrefix(all[0], "Normal Valid: ") || !strings.HasPrefix(all[1], "Warning InvalidProviderConfig: Unauthenticated: ") {
			return fmt.Sprintf("%q", all)
		}
		return ""
	})
}

func TestStoreThatFailsIsTriedAgain(t *testing.T) {
	k := start(t)
	k.backend.fail("", secret.Unavailable)
	k.store("main", steered)
	c := k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonInvalidProviderConfig)
	if !strings.HasPrefix(c.Message, "Unavailable: ") {
		t.Errorf("message is %s", c.Message)
	}
	k.backend.fail("", "")
	now := k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonStoreValid)
	if now.LastTransitionTime.Before(&c.LastTransitionTime) || now.LastTransitionTime.After(time.Now()) {
		t.Errorf("lastTransitionTime went from %v to %v", c.LastTransitionTime, now.LastTransitionTime)
	}
}
