package integration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/internal/controller"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/secret"
)

func allowGeneric(o *controller.Options) { o.AllowGeneric = true }

// widgets defines a kind of objects that nobody here knows.
func (k *kit) widgets(domain string) {
	k.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets." + domain},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: domain, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Kind: "Widget"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: new(true),
				}},
			}},
		},
	}
	if err := testenv.InstallCRDs(k.Context(), k.config, []*apiextensionsv1.CustomResourceDefinition{crd}); err != nil {
		k.Fatal(err)
	}
}

func widget() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"})
	return u
}

// awaitSpec waits until the Widget app has the spec; nil waits until it is gone.
func (k *kit) awaitSpec(want map[string]any) *unstructured.Unstructured {
	k.Helper()
	var u *unstructured.Unstructured
	k.await("the Widget", func() string {
		u = widget()
		if !k.get(u, "app") {
			return cmp.Diff(want, map[string]any(nil))
		}
		got, _, err := unstructured.NestedMap(u.Object, "spec")
		if err != nil {
			return err.Error()
		}
		return cmp.Diff(want, got)
	})
	return u
}

func (k *kit) awaitConfig(want held) *corev1.ConfigMap {
	k.Helper()
	var m *corev1.ConfigMap
	k.await("the ConfigMap", func() string {
		m = &corev1.ConfigMap{}
		if !k.get(m, "app") {
			return cmp.Diff(want, held(nil))
		}
		return cmp.Diff(want, m.Data)
	})
	return m
}

func TestGenericTargetsAreOffUnlessTheyAreAllowed(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, target: {manifest: {apiVersion: v1, kind: ConfigMap}}`))
	es := k.awaitFailed("app", secret.Unsupported)
	if c := ready(es); c.Reason != esv1.ConditionReasonResourceSyncedError || !strings.Contains(c.Message, "--unsafe-allow-generic-targets") {
		t.Errorf("condition is %v", c)
	}
	if condition(es, esv1.ExternalSecretStalled).Status != corev1.ConditionTrue {
		t.Error("not Stalled")
	}
	k.awaitConfig(nil)
}

func TestManifestOfASecretIsASecret(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(`, target: {manifest: {apiVersion: v1, kind: Secret}}`))
	k.awaitReady("app", synced)
	k.awaitData("app", held{"p": "1"})
}

func TestConfigMapTarget(t *testing.T) {
	k := start(t, allowGeneric)
	k.backend.set("db", "1")
	k.store("main", steered)
	k.externalSecret("app", oneKey(`, target: {deletionPolicy: Delete, manifest: {apiVersion: v1, kind: ConfigMap}}`))
	m := k.awaitConfig(held{"p": "1"})
	es := k.awaitReady("app", esv1.ConditionReasonResourceSynced)
	if owner := metav1.GetControllerOf(m); owner == nil || owner.UID != es.UID || m.Labels[esv1.LabelManaged] != "true" {
		t.Errorf("owner %v, labels %v", owner, m.Labels)
	}
	k.awaitData("app", nil)
	k.backend.set("db", "2")
	k.force("app")
	k.awaitConfig(held{"p": "2"})

	k.edit(&corev1.ConfigMap{}, "app", `{data: {p: other}}`)
	k.awaitConfig(held{"p": "2"})
	k.delete(&corev1.ConfigMap{}, "app")
	k.awaitConfig(held{"p": "2"})

	k.backend.remove("db")
	k.ask("app")
	k.awaitReady("app", esv1.ConditionReasonResourceDeleted)
	k.awaitConfig(nil)
	k.backend.set("db", "3")
	k.force("app")
	k.awaitConfig(held{"p": "3"})
	k.delete(&esv1.ExternalSecret{}, "app")
	k.awaitConfig(nil)
}

func TestCustomTargetKeepsTheFieldsOfOthers(t *testing.T) {
	for _, policy := range []string{"Owner", "Orphan", "Merge", "CreateOrMerge"} {
		t.Run(policy, func(t *testing.T) {
			k := start(t, allowGeneric)
			k.widgets("example.com")
			k.create("example.com/v1", "Widget", "app", `metadata: {labels: {theirs: t}, annotations: {theirs: t}}
spec: {replicas: 3, data: {theirs: t}}`)
			k.backend.set("db", "1")
			k.store("main", steered)
			k.externalSecret("app", oneKey(`, target: {creationPolicy: `+policy+`, manifest: {apiVersion: example.com/v1, kind: Widget},
 template: {templateFrom: [{target: spec.login.password, literal: "{{ .p }}x"}]}}`))
			spec := func(value string) map[string]any {
				return map[string]any{"replicas": int64(3), "data": map[string]any{"theirs": "t"}, "login": map[string]any{"password": value}}
			}
			u := k.awaitSpec(spec("1x"))
			if u.GetLabels()["theirs"] != "t" || u.GetAnnotations()["theirs"] != "t" {
				t.Errorf("labels %v, annotations %v", u.GetLabels(), u.GetAnnotations())
			}
			k.awaitReady("app", esv1.ConditionReasonResourceSynced)
			k.edit(widget(), "app", `{spec: {replicas: 5, login: {password: other}}}`)
			want := spec("1x")
			want["replicas"] = int64(5)
			if policy == "Orphan" {
				k.force("app")
			}
			k.awaitSpec(want)
		})
	}
}

func TestCustomTargetWithoutATemplate(t *testing.T) {
	k := start(t, allowGeneric)
	k.widgets("example.com")
	k.backend.set("db", "1")
	k.store("main", steered)
	k.externalSecret("app", oneKey(`, target: {manifest: {apiVersion: example.com/v1, kind: Widget}}`))
	k.awaitSpec(map[string]any{"data": map[string]any{"p": "1"}})
	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {data: [{secretKey: q, remoteRef: {key: db}}]}}`)
	k.awaitSpec(map[string]any{"data": map[string]any{"q": "1"}})
	k.delete(&esv1.ExternalSecret{}, "app")
	k.awaitSpec(nil)
}

func TestGenericTargetOfOthersIsNotDeleted(t *testing.T) {
	k := start(t, allowGeneric)
	k.configMap("app", held{"theirs": "t"})
	k.store("main", steered)
	k.externalSecret("app", oneKey(`, target: {deletionPolicy: Delete, manifest: {apiVersion: v1, kind: ConfigMap}}`))
	k.awaitFailed("app", secret.Conflict)
	k.awaitConfig(held{"theirs": "t"})
}

func TestGenericTargetUnderMergeThatIsMissing(t *testing.T) {
	k := start(t, allowGeneric)
	k.backend.set("db", "1")
	k.store("main", steered)
	k.externalSecret("app", oneKey(`, target: {creationPolicy: Merge, manifest: {apiVersion: v1, kind: ConfigMap}}`))
	k.awaitReady("app", esv1.ConditionReasonResourceMissing)
	k.configMap("app", held{"theirs": "t"})
	k.awaitConfig(held{"theirs": "t", "p": "1"})
	k.awaitReady("app", esv1.ConditionReasonResourceSynced)
	k.delete(&esv1.ExternalSecret{}, "app")
	k.externalSecret("witness", oneKey(""))
	k.awaitSynced("witness")
	k.delete(&esv1.ExternalSecret{}, "witness")
	k.awaitData("witness", nil)
	k.awaitConfig(held{"theirs": "t", "p": "1"})
}

func TestTwoOwnersOfOneGenericTarget(t *testing.T) {
	k := start(t, allowGeneric)
	k.backend.set("db", "1")
	k.store("main", steered)
	const target = `, target: {name: shared, manifest: {apiVersion: v1, kind: ConfigMap}}`
	k.externalSecret("first", oneKey(target))
	k.awaitReady("first", esv1.ConditionReasonResourceSynced)
	k.externalSecret("second", oneKey(target))
	es := k.awaitFailed("second", secret.Conflict)
	if msg := ready(es).Message; !strings.Contains(msg, "another ExternalSecret, first") {
		t.Errorf("message is %s", msg)
	}
}

func TestKindThatDoesNotExistYet(t *testing.T) {
	k := start(t, allowGeneric)
	k.backend.set("db", "1")
	k.store("main", steered)
	domain := k.ns + ".example.com"
	k.externalSecret("app", oneKey(`, target: {manifest: {apiVersion: `+domain+`/v1, kind: Widget}}`))
	es := k.awaitReady("app", esv1.ConditionReasonResourceSyncedError)
	if msg := ready(es).Message; !strings.Contains(msg, "spec.target.manifest") || !strings.Contains(msg, "Widget") {
		t.Errorf("the message does not name the kind: %s", msg)
	}
	k.widgets(domain)
	k.awaitReady("app", esv1.ConditionReasonResourceSynced)
}
