package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/controller"
	"github.com/keyferry/keyferry/secret"
)

// fakeStore is the provider part of a store that holds its values itself.
func fakeStore(value string) string { return `{fake: {data: [{key: db, value: "` + value + `"}]}}` }

func TestStoreThatAppears(t *testing.T) {
	k := start(t)
	k.backend.set("db", "1")
	k.externalSecret("app", oneKey(""))
	es := k.awaitFailed("app", secret.Invalid)
	if msg := ready(es).Message; !strings.Contains(msg, `SecretStore "main" does not exist`) {
		t.Errorf("message is %s", msg)
	}
	k.store("main", steered)
	k.awaitData("app", held{"p": "1"})
	k.awaitSynced("app")
}

func TestStoreThatChanges(t *testing.T) {
	k := start(t)
	k.store("main", fakeStore("1"))
	k.externalSecret("app", oneKey(`, refreshInterval: "0"`))
	k.awaitData("app", held{"p": "1"})
	k.awaitSynced("app")
	k.edit(&esv1.SecretStore{}, "main", `{spec: {provider: `+fakeStore("2")+`}}`)
	k.awaitData("app", held{"p": "2"})
}

func TestStoreThatChangesLeavesCreatedOnceAlone(t *testing.T) {
	k := start(t, oneByOne)
	k.store("main", fakeStore("1"))
	k.externalSecret("app", oneKey(`, refreshPolicy: CreatedOnce`))
	k.awaitSynced("app")
	k.externalSecret("witness", oneKey(""))
	k.awaitSynced("witness")
	k.edit(&esv1.SecretStore{}, "main", `{spec: {provider: `+fakeStore("2")+`}}`)
	k.awaitData("witness", held{"p": "2"})
	k.knock("app")
	k.force("witness")
	k.awaitData("app", held{"p": "1"})
}

func TestStoreThatIsDeletedKeepsTheSecret(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(""))
	k.awaitSynced("app")
	k.delete(&esv1.SecretStore{}, "main")
	k.awaitFailed("app", secret.Invalid)
	k.awaitData("app", held{"p": "1"})
	k.backend.set("db", "2")
	k.store("main", steered)
	k.awaitData("app", held{"p": "2"})
}

func TestStoreThatBecomesReady(t *testing.T) {
	k := start(t)
	k.backend.set("db", "1")
	k.backend.fail("", secret.Denied)
	k.store("main", steered)
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonInvalidProviderConfig)
	k.externalSecret("app", oneKey(""))
	es := k.awaitFailed("app", secret.Denied)
	if msg := ready(es).Message; !strings.Contains(msg, `SecretStore "main" is not ready`) {
		t.Errorf("message is %s", msg)
	}
	if got := k.backend.dbReads(); got != 0 {
		t.Errorf("read %d times from a store that is not ready", got)
	}
	k.backend.fail("", "")
	k.edit(&esv1.SecretStore{}, "main", `{spec: {retrySettings: {maxRetries: 1}}}`)
	k.awaitData("app", held{"p": "1"})
	k.awaitSynced("app")
}

func TestOpenFloodGateReadsFromStoresThatAreNotReady(t *testing.T) {
	k := start(t, func(o *controller.Options) { o.FloodGate = false })
	k.store("main", `{fake: {validationResult: 2, data: [{key: db, value: "1"}]}}`)
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonInvalidProviderConfig)
	k.externalSecret("app", oneKey(""))
	k.awaitData("app", held{"p": "1"})
	k.awaitSynced("app")
}

func TestOpenFloodGateWorksWithoutStoreControllers(t *testing.T) {
	k := start(t, func(o *controller.Options) { o.FloodGate, o.SecretStores, o.ClusterStores = false, false, false })
	k.backend.set("db", "1")
	k.store("main", steered)
	k.externalSecret("app", oneKey(""))
	k.awaitData("app", held{"p": "1"})
	s := &esv1.SecretStore{}
	if k.get(s, "main"); len(s.Status.Conditions) > 0 {
		t.Errorf("somebody checked the store: %v", s.Status.Conditions)
	}
}

// withCredential is the provider part of a store whose token is key t of Secret token.
const withCredential = `{vault: {server: "https://backend.test", auth: {tokenSecretRef: {name: token, key: t}}}}`

func TestCredentialThatAppears(t *testing.T) {
	k := start(t)
	k.backend.set("db", "1")
	k.backend.accept("good")
	k.store("main", withCredential)
	c := k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonInvalidProviderConfig)
	if !strings.HasPrefix(c.Message, "Unauthenticated: ") || !strings.Contains(c.Message, "spec.provider.vault.auth.tokenSecretRef") {
		t.Errorf("message is %s", c.Message)
	}
	k.externalSecret("app", oneKey(""))
	k.awaitFailed("app", secret.Unauthenticated)
	k.secret("token", held{"t": "good"})
	k.awaitData("app", held{"p": "1"})
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonStoreValid)
}

func TestCredentialThatIsCorrected(t *testing.T) {
	k := start(t)
	k.backend.set("db", "1")
	k.backend.accept("good")
	k.secret("token", held{"t": "wrong"})
	k.store("main", withCredential)
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonInvalidProviderConfig)
	k.externalSecret("app", oneKey(""))
	k.awaitFailed("app", secret.Unauthenticated)
	k.edit(&corev1.Secret{}, "token", `{stringData: {t: good}}`)
	k.awaitData("app", held{"p": "1"})
	k.awaitSynced("app")
	k.awaitStore(&esv1.SecretStore{}, "main", esv1.ReasonStoreValid)
}

func TestCredentialThatIsRotatedOpensTheStoreAnew(t *testing.T) {
	k := start(t)
	k.backend.set("db", "1")
	k.backend.accept("first")
	k.secret("token", held{"t": "first"})
	k.store("main", withCredential)
	k.externalSecret("app", oneKey(""))
	k.awaitSynced("app")
	k.backend.accept("second")
	k.backend.set("db", "2")
	k.edit(&corev1.Secret{}, "token", `{stringData: {t: second}}`)
	k.await("the store is checked with the new credential", func() string {
		if k.backend.opens() < 2 {
			return fmt.Sprintf("opened %d times", k.backend.opens())
		}
		return ""
	})
	k.force("app")
	k.awaitData("app", held{"p": "2"})
}

func TestOutageEndsForAllOnceTheStoreAnswers(t *testing.T) {
	k := withDB(t, "1")
	for i := range 3 {
		k.externalSecret(fmt.Sprint("app-", i), oneKey(""))
		k.awaitSynced(fmt.Sprint("app-", i))
	}
	k.backend.fail("", secret.Unavailable)
	for i := range 3 {
		k.ask(fmt.Sprint("app-", i))
		k.awaitFailed(fmt.Sprint("app-", i), secret.Unavailable)
		k.awaitData(fmt.Sprint("app-", i), held{"p": "1"})
	}
	k.backend.set("db", "2")
	k.backend.fail("", "")
	for i := range 3 {
		k.awaitData(fmt.Sprint("app-", i), held{"p": "2"})
		k.awaitSynced(fmt.Sprint("app-", i))
	}
}

// useCluster reads key db from the cluster store of the test.
func (k *kit) useCluster() string {
	return `{secretStoreRef: {kind: ClusterSecretStore, name: ` + k.ns + `}, data: [{secretKey: p, remoteRef: {key: db}}]}`
}

func TestClusterStoreConditions(t *testing.T) {
	for name, test := range map[string]struct {
		conditions string // NS is the namespace, and its label tier is gold
		admitted   bool
	}{
		"none admit everybody":                           {`[]`, true},
		"the name":                                       {`[{namespaces: [NS]}]`, true},
		"one of the names":                               {`[{namespaces: [other, NS]}]`, true},
		"other names":                                    {`[{namespaces: [other, another]}]`, false},
		"the name in the second condition":               {`[{namespaces: [other]}, {namespaces: [NS]}]`, true},
		"a label":                                        {`[{namespaceSelector: {matchLabels: {tier: gold}}}]`, true},
		"another label":                                  {`[{namespaceSelector: {matchLabels: {tier: tin}}}]`, false},
		"a part of the labels":                           {`[{namespaceSelector: {matchLabels: {tier: gold, more: "x"}}}]`, false},
		"the label that holds the name":                  {`[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}}]`, true},
		"an expression over the whole name":              {`[{namespaceRegexes: ["test-.*"]}]`, true},
		"an expression over a part of the name":          {`[{namespaceRegexes: ["test-"]}]`, false},
		"an expression over the end of the name":         {`[{namespaceRegexes: ["[a-z0-9]+"]}]`, false},
		"alternatives hold for the whole name":           {`[{namespaceRegexes: ["test|x"]}]`, false},
		"a label of the second condition, not the first": {`[{namespaces: [other]}, {namespaceSelector: {matchLabels: {tier: gold}}}]`, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := start(t)
			k.label(`{tier: gold}`)
			k.backend.set("db", "1")
			k.clusterStore(steered, `, conditions: `+strings.ReplaceAll(test.conditions, "NS", k.ns))
			k.externalSecret("app", k.useCluster())
			if test.admitted {
				k.awaitData("app", held{"p": "1"})
				return
			}
			es := k.awaitFailed("app", secret.Denied)
			want := fmt.Sprintf("using cluster store %q is not allowed from namespace %q: denied by spec.condition", k.ns, k.ns)
			if msg := ready(es).Message; !strings.Contains(msg, want) {
				t.Errorf("message is %s", msg)
			}
			k.awaitData("app", nil)
			if got := k.backend.dbReads(); got != 0 {
				t.Errorf("read %d times", got)
			}
		})
	}
}

// label changes labels of the namespace.
func (k *kit) label(labels string) {
	k.Helper()
	k.edit(&corev1.Namespace{}, k.ns, `{metadata: {labels: `+labels+`}}`)
}

func TestNamespaceThatGainsAndLosesAClusterStore(t *testing.T) {
	k := start(t)
	k.backend.set("db", "1")
	k.clusterStore(steered, `, conditions: [{namespaceSelector: {matchLabels: {tier: gold}}}]`)
	k.externalSecret("app", k.useCluster())
	k.awaitFailed("app", secret.Denied)
	k.label(`{tier: gold}`)
	k.awaitData("app", held{"p": "1"})
	k.awaitSynced("app")
	k.label(`{tier: null}`)
	k.awaitFailed("app", secret.Denied)
	k.awaitData("app", held{"p": "1"})
}

func TestClusterStoreConditionsThatChange(t *testing.T) {
	k := start(t)
	k.backend.set("db", "1")
	name := k.clusterStore(steered, `, conditions: [{namespaces: [other]}]`)
	k.externalSecret("app", k.useCluster())
	k.awaitFailed("app", secret.Denied)
	k.edit(&esv1.ClusterSecretStore{}, name, `{spec: {conditions: [{namespaces: [`+k.ns+`]}]}}`)
	k.awaitData("app", held{"p": "1"})
}

func TestClusterStoreWithTheCredentialsOfEachNamespace(t *testing.T) {
	k := start(t)
	k.backend.set("db", "1")
	k.backend.accept("good")
	name := k.clusterStore(withCredential, "")
	c := k.awaitStore(&esv1.ClusterSecretStore{}, name, esv1.ReasonStoreValid)
	if c.Status != corev1.ConditionTrue {
		t.Errorf("a store whose credentials are the namespaces' is %v", c)
	}
	k.externalSecret("app", k.useCluster())
	k.awaitFailed("app", secret.Unauthenticated)
	k.secret("token", held{"t": "good"})
	k.awaitData("app", held{"p": "1"})
}

func TestOtherClassesAreLeftAlone(t *testing.T) {
	k := start(t, oneByOne)
	k.backend.set("db", "1")
	k.create(group, esv1.SecretStoreKind, "other", `spec: {controller: somebody, provider: `+steered+`}`)
	k.create(group, esv1.SecretStoreKind, "mine", `spec: {controller: `+k.ns+`, provider: `+steered+`}`)
	other := &esv1.SecretStore{}
	k.get(other, "other")
	const fine = `{"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Valid", "message": "by somebody"}]}}`
	if err := k.api.Status().Patch(t.Context(), other, client.RawPatch(types.MergePatchType, []byte(fine)), client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	const two = `{secretStoreRef: {name: mine}, data: [{secretKey: p, remoteRef: {key: db}},
 {secretKey: q, remoteRef: {key: db}, sourceRef: {storeRef: {name: other}}}]}`
	k.externalSecret("app", strings.Replace(oneKey(""), "main", "other", 1))
	k.externalSecret("both", two)
	k.externalSecret("witness", strings.Replace(oneKey(""), "main", "mine", 1))
	k.awaitSynced("witness")
	for _, name := range []string{"app", "both"} {
		es := &esv1.ExternalSecret{}
		if k.get(es, name); len(es.Status.Conditions) > 0 || es.Status.ObservedGeneration != 0 {
			t.Errorf("%s has status %s", name, raw(es.Status))
		}
		k.awaitData(name, nil)
		if n, series := k.metric("externalsecret_sync_calls_total", map[string]string{"name": name}); series != 0 {
			t.Errorf("%s was synced %v times", name, n)
		}
	}
	s := &esv1.SecretStore{}
	if k.get(s, "other"); storeReady(s).Message != "by somebody" || s.Status.ObservedGeneration != 0 {
		t.Errorf("the store of somebody else was checked: %s", raw(s.Status))
	}
	// Its store becomes ours: that is acted on.
	k.edit(&esv1.SecretStore{}, "other", `{spec: {controller: null}}`)
	k.awaitData("app", held{"p": "1"})
	k.awaitData("both", held{"p": "1", "q": "1"})
}

func TestClusterStoresThatAreSwitchedOff(t *testing.T) {
	k := start(t, oneByOne, func(o *controller.Options) { o.ClusterStores = false })
	k.backend.set("db", "1")
	k.store("main", steered)
	name := k.clusterStore(steered, "")
	k.externalSecret("app", k.useCluster())
	k.externalSecret("witness", oneKey(""))
	k.awaitSynced("witness")
	es, s := &esv1.ExternalSecret{}, &esv1.ClusterSecretStore{}
	if k.get(es, "app"); len(es.Status.Conditions) > 0 {
		t.Errorf("status is %s", raw(es.Status))
	}
	if k.get(s, name); len(s.Status.Conditions) > 0 {
		t.Errorf("the cluster store has status %s", raw(s.Status))
	}
	k.awaitData("app", nil)
}

func TestSeveralStoresInOneExternalSecret(t *testing.T) {
	k := start(t)
	k.backend.set("db", "main")
	k.backend.set("two/db", "two")
	k.backend.set("two/all/x", "1")
	k.backend.set("cluster/db", "cluster")
	k.store("main", steered)
	k.store("two", `{vault: {server: "https://backend.test", path: two}}`)
	name := k.clusterStore(`{vault: {server: "https://backend.test", path: cluster}}`, "")
	k.externalSecret("app", fmt.Sprintf(`{secretStoreRef: {name: main}, data: [
 {secretKey: a, remoteRef: {key: db}},
 {secretKey: b, remoteRef: {key: db}, sourceRef: {storeRef: {name: two}}},
 {secretKey: c, remoteRef: {key: db}, sourceRef: {storeRef: {kind: ClusterSecretStore, name: %s}}}],
 dataFrom: [{find: {path: all/}, sourceRef: {storeRef: {name: two}}}]}`, name))
	k.awaitData("app", held{"a": "main", "b": "two", "c": "cluster", "all_x": "1"})
	// Each of them wakes it.
	k.backend.set("new/db", "new")
	k.edit(&esv1.SecretStore{}, "two", `{spec: {provider: {vault: {path: new}}}}`)
	k.awaitData("app", held{"a": "main", "b": "new", "c": "cluster"})
}

func TestStoresOfOtherNamespacesAreNotFound(t *testing.T) {
	k := withDB(t, "1")
	other := &corev1.Namespace{}
	other.GenerateName = "test-"
	if err := k.api.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	obj := k.object(group, esv1.SecretStoreKind, "elsewhere", "spec: {provider: "+steered+"}")
	obj.SetNamespace(other.Name)
	if err := k.api.Create(t.Context(), obj, client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
	k.externalSecret("app", strings.Replace(oneKey(""), "main", "elsewhere", 1))
	k.awaitFailed("app", secret.Invalid)
	if got := k.backend.dbReads(); got != 0 {
		t.Errorf("read %d times", got)
	}
}

func TestReadsAreSharedByThoseThatAreDueTogether(t *testing.T) {
	k := newKit(t)
	t.Parallel()
	k.backend.set("db", "1")
	k.store("main", steered)
	for i := range 10 {
		k.externalSecret(fmt.Sprint("app-", i), oneKey(""))
	}
	k.clock.jump(time.Minute) // they are older than the controller
	k.run()
	for i := range 10 {
		k.awaitSynced(fmt.Sprint("app-", i))
	}
	if got := k.backend.dbReads(); got != 1 {
		t.Errorf("ten objects took %d reads of one key", got)
	}
	if got := k.requests("get", "secrets") + k.requests("list", "externalsecrets/status"); got != 0 {
		t.Errorf("%d reads from the API server", got)
	}
}
