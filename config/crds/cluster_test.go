package crds_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	gen "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/testenv"
)

// server installs the definitions into the real API server, which waits until both
// versions of each are served.
func server(t *testing.T) *rest.Config {
	t.Helper()
	config := testenv.Cluster(t).Config()
	config.WarningHandler = rest.NoWarnings{} // v1beta1 is asked for on purpose
	if err := testenv.InstallCRDs(t.Context(), config, all(t)); err != nil {
		t.Fatal(err)
	}
	return config
}

func dynamicClient(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// create stores the manifest, in the namespace if its kind has one.
func create(t *testing.T, client dynamic.Interface, namespace, manifest string, options metav1.CreateOptions) (*unstructured.Unstructured, error) {
	t.Helper()
	u := new(unstructured.Unstructured)
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatalf("%v in\n%s", err, manifest)
	}
	options.FieldValidation = metav1.FieldValidationStrict
	return resource(client, u.GroupVersionKind(), namespace).Create(t.Context(), u, options)
}

func resource(client dynamic.Interface, kind schema.GroupVersionKind, namespace string) dynamic.ResourceInterface {
	all := client.Resource(kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s"))
	if strings.HasPrefix(kind.Kind, "Cluster") {
		return all
	}
	return all.Namespace(namespace)
}

func TestMinimalObjectsAreStoredWithESOsDefaults(t *testing.T) {
	client := dynamicClient(t, server(t))
	namespace := testenv.Cluster(t).Namespace(t)
	tests := map[string]struct{ manifest, spec string }{
		"ExternalSecret": {
			manifest: externalSecret(`data: [{secretKey: a, remoteRef: {key: b}}]`),
			spec:     `{data: [{secretKey: a, remoteRef: {key: b}}], refreshInterval: 1h0m0s, target: {creationPolicy: Owner, deletionPolicy: Retain}}`,
		},
		"ExternalSecret with a template": {
			manifest: externalSecret(`data: [{secretKey: a, remoteRef: {key: b}}], target: {name: x, template: {templateFrom: [{literal: ""}]}}`),
			spec: `{data: [{secretKey: a, remoteRef: {key: b}}], refreshInterval: 1h0m0s, target: {name: x, creationPolicy: Owner, deletionPolicy: Retain,
 template: {engineVersion: v2, mergePolicy: Replace, templateFrom: [{target: Data, literal: ""}]}}}`,
		},
		"SecretStore for vault": {
			manifest: store(`vault: {server: "https://v", auth: {appRole: {roleId: a, secretRef: {name: b}}}}`),
			spec:     `{provider: {vault: {server: "https://v", version: v2, auth: {appRole: {path: approle, roleId: a, secretRef: {name: b}}}}}}`,
		},
		"SecretStore for kubernetes": {
			manifest: store(`kubernetes: {server: {}}`),
			spec:     `{provider: {kubernetes: {remoteNamespace: default, server: {url: kubernetes.default}}}}`,
		},
		"SecretStore for aws": {
			manifest: store(`aws: {service: SecretsManager, region: eu-west-1}`),
			spec:     `{provider: {aws: {service: SecretsManager, region: eu-west-1, sessionTagsPolicy: None}}}`,
		},
		"ClusterExternalSecret": {
			manifest: clusterExternalSecret(``),
			spec:     `{externalSecretSpec: {dataFrom: [{extract: {key: a}}], refreshInterval: 1h0m0s, target: {creationPolicy: Owner, deletionPolicy: Retain}}}`,
		},
		"PushSecret": {
			manifest: pushSecret(``),
			spec:     `{secretStoreRefs: [{name: a, kind: SecretStore}], selector: {secret: {name: a}}, refreshInterval: 1h0m0s, updatePolicy: Replace, deletionPolicy: None}`,
		},
		"PushSecret with data": {
			manifest: pushSecret(`data: [{match: {remoteRef: {remoteKey: a}}, metadata: {any: [1, null]}}], dataTo: [{storeRef: {name: a}}]`),
			spec: `{secretStoreRefs: [{name: a, kind: SecretStore}], selector: {secret: {name: a}}, refreshInterval: 1h0m0s, updatePolicy: Replace, deletionPolicy: None,
 data: [{match: {remoteRef: {remoteKey: a}}, metadata: {any: [1, null]}, conversionStrategy: None}],
 dataTo: [{storeRef: {name: a, kind: SecretStore}, conversionStrategy: None}]}`,
		},
		"ClusterPushSecret": {
			manifest: clusterPushSecret(``),
			spec:     `{pushSecretSpec: {secretStoreRefs: [{name: a, kind: SecretStore}], selector: {secret: {name: a}}, refreshInterval: 1h0m0s, updatePolicy: Replace, deletionPolicy: None}}`,
		},
		"Password": {
			manifest: generator("Password", ``),
			spec:     `{length: 24, noUpper: false, allowRepeat: false, encoding: raw}`,
		},
		"VaultDynamicSecret": {
			manifest: generator("VaultDynamicSecret", `path: a, parameters: {any: [1, null]}, provider: {server: "https://v"}`),
			spec:     `{path: a, parameters: {any: [1, null]}, provider: {server: "https://v", version: v2}, resultType: Data, allowEmptyResponse: false}`,
		},
		"ClusterGenerator": {
			manifest: generator("ClusterGenerator", `kind: Password, generator: {passwordSpec: {}}`),
			spec:     `{kind: Password, generator: {passwordSpec: {length: 24, noUpper: false, allowRepeat: false, encoding: raw}}}`,
		},
		"ClusterGenerator of a kind that this build does not have": {
			manifest: generator("ClusterGenerator", `kind: BeyondtrustWorkloadCredentialsDynamicSecret, generator: {beyondtrustWorkloadCredentialsDynamicSecretSpec: {any: [1, null]}}`),
			spec:     `{kind: BeyondtrustWorkloadCredentialsDynamicSecret, generator: {beyondtrustWorkloadCredentialsDynamicSecretSpec: {any: [1, null]}}}`,
		},
		"GeneratorState": {
			manifest: generator("GeneratorState", `resource: {a: {b: 1.5}}, state: {c: [null]}`),
			spec:     `{resource: {a: {b: 1.5}}, state: {c: [null]}}`,
		},
		"SecretStore for fake": {
			manifest: store(`fake: {data: []}`),
			spec:     `{provider: {fake: {data: []}}}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := create(t, client, namespace, test.manifest, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(any(value(t, test.spec)), got.Object["spec"]); diff != "" {
				t.Errorf("stored spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStoreOfAnUnknownProviderIsKeptWhole(t *testing.T) {
	client := dynamicClient(t, server(t))
	namespace := testenv.Cluster(t).Namespace(t)
	const provider = `{gcpsm: {projectID: p, auth: {workloadIdentity: {serviceAccountRef: {name: a}}}, unknown: [{key: k, value: v}]}}`
	manifest := "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: gcp}\nspec: {provider: " + provider + "}"
	created, err := create(t, client, namespace, manifest, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := resource(client, created.GroupVersionKind(), namespace).Get(t.Context(), "gcp", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(value(t, "{provider: "+provider+"}")), got.Object["spec"]); diff != "" {
		t.Errorf("stored spec (-want +got):\n%s", diff)
	}
}

// warnings keeps what the API server warns of.
type warnings struct{ texts []string }

func (w *warnings) HandleWarningHeader(_ int, _, text string) { w.texts = append(w.texts, text) }

func TestV1beta1IsServedAndWarns(t *testing.T) {
	config := server(t)
	var w warnings
	config.WarningHandler = &w
	client := dynamicClient(t, config)
	namespace := testenv.Cluster(t).Namespace(t)
	manifest := strings.Replace(externalSecret(`data: [{secretKey: a, remoteRef: {key: b}}]`), "/v1\n", "/v1beta1\n", 1)
	created, err := create(t, client, namespace, manifest, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.texts) != 1 || !strings.Contains(w.texts[0], "external-secrets.io/v1,") {
		t.Errorf("warnings: %q", w.texts)
	}
	kind := created.GroupVersionKind()
	kind.Version = "v1"
	got, err := resource(client, kind, namespace).Get(t.Context(), created.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(created.Object["spec"], got.Object["spec"]); diff != "" {
		t.Errorf("read as v1 (-v1beta1 +v1):\n%s", diff)
	}
}

func TestSelectableFields(t *testing.T) {
	client := dynamicClient(t, server(t))
	namespace := testenv.Cluster(t).Namespace(t)
	created, err := create(t, client, namespace,
		externalSecret(`data: [{secretKey: a, remoteRef: {key: b}}], secretStoreRef: {name: s, kind: SecretStore}, target: {name: x}`), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]int{
		"spec.secretStoreRef.name=s,spec.secretStoreRef.kind=SecretStore": 1,
		"spec.target.name=x":          1,
		"spec.target.name=y":          0,
		"spec.refreshInterval=1h0m0s": 1,
	} {
		list, err := resource(client, created.GroupVersionKind(), namespace).List(t.Context(), metav1.ListOptions{FieldSelector: selector})
		if err != nil || len(list.Items) != want {
			t.Errorf("%s finds %v, %v; want %d", selector, list, err, want)
		}
	}
}

// One object that Go cannot decode would keep every Go client from reading the list
// that it is in, those of other tenants included.
func TestWhatIsAcceptedDecodes(t *testing.T) {
	client := dynamicClient(t, server(t))
	namespace := testenv.Cluster(t).Namespace(t)
	manifests := map[string]struct {
		manifest string
		object   any
	}{}
	add := func(object any, wrap func(string) string, specs ...string) {
		for _, spec := range specs {
			manifests[spec] = struct {
				manifest string
				object   any
			}{wrap(spec), object}
		}
	}
	add(new(esv1.SecretStore), func(s string) string { return storeSpec("SecretStore", "provider: {fake: {data: []}}, "+s) },
		`refreshInterval: 2147483647`, `refreshInterval: 2147483648`, `refreshInterval: 99999999999999999999`, `refreshInterval: 1.5`,
		`refreshInterval: 1e3`, `retrySettings: {maxRetries: 2147483648}`, `retrySettings: {maxRetries: -2147483649}`)
	add(new(esv1.SecretStore), store,
		`fake: {data: [], validationResult: 255}`, `fake: {data: [], validationResult: 256}`, `fake: {data: [], validationResult: -1}`,
		`webhook: {url: a, timeout: ""}`, `webhook: {url: a, timeout: 1ns}`, `webhook: {url: a, timeout: 1.5.5s}`, `webhook: {url: a, caBundle: YQ}`,
		`webhook: {url: a, caBundle: "YQ=="}`, `webhook: {url: a, caBundle: "Y Q=="}`, `webhook: {url: a, caBundle: "_-8="}`, `webhook: {url: a, caBundle: "not base64"}`,
		`gcpsm: {deep: [1.5, null, {a: 99999999999}]}`, `gcpsm: text`, `gcpsm: [1]`, `gcpsm: null`, `vault: null`,
		`aws: {service: SecretsManager, region: a, secretsManager: {recoveryWindowInDays: 99999999999999999999}}`)
	add(new(esv1.ExternalSecret), func(s string) string { return externalSecret("dataFrom: [{extract: {key: a}}], " + s) },
		`refreshInterval: ""`, `refreshInterval: -1h`, `refreshInterval: +1h`, `refreshInterval: .5h`, `refreshInterval: 1µs`, `refreshInterval: -9999999999999999999s`,
		`refreshInterval: null`, `syncWindows: {kind: deny, windows: [{schedule: "@daily", duration: " 1h"}]}`)
	add(new(esv1.ClusterExternalSecret), clusterExternalSecret, `refreshTime: 1x`, `refreshTime: null`, `namespaceSelectors: [null]`, `namespaceSelectors: [{matchLabels: null}]`, `namespaces: [null]`)
	add(new(v1alpha1.PushSecret), pushSecret, `refreshInterval: "5"`, `refreshInterval: null`, `data: [{match: {remoteRef: {remoteKey: a}}, metadata: null}]`,
		`data: [{match: {remoteRef: {remoteKey: a}}, metadata: text}]`, `data: [{match: {remoteRef: {remoteKey: a}}, metadata: [1.5, {a: 99999999999}]}]`)
	add(new(v1alpha1.ClusterPushSecret), clusterPushSecret, `refreshTime: 1x`, `namespaceSelectors: [null]`)
	add(new(gen.Password), func(s string) string { return generator("Password", s) }, `length: 1.5`, `length: 99999999999999999999`, `digits: null`, `secretKeys: [null]`)
	add(new(gen.SSHKey), func(s string) string { return generator("SSHKey", s) }, `keySize: 512.5`, `keySize: null`)
	add(new(gen.MFA), func(s string) string { return generator("MFA", "secret: {name: a}, "+s) }, `length: 9223372036854775808`, `when: now`, `when: "2026-01-01"`, `when: null`)
	add(new(gen.GitlabDeployToken), func(s string) string {
		return generator("GitlabDeployToken", "name: a, projectID: a, scopes: [read_registry], auth: {token: {secretRef: {}}}, "+s)
	}, `expiresAt: tomorrow`, `expiresAt: "2026-01-01T00:00:00.5+02:00"`)
	add(new(gen.STSSessionToken), func(s string) string { return generator("STSSessionToken", "region: a, "+s) },
		`requestParameters: {sessionDuration: 2147483648}`, `requestParameters: {tokenCode: 123456}`)
	add(new(gen.Webhook), func(s string) string { return generator("Webhook", "url: a, result: {}, "+s) }, `timeout: ""`, `timeout: 1x`, `caBundle: "not base64"`)
	add(new(gen.VaultDynamicSecret), func(s string) string { return generator("VaultDynamicSecret", "path: a, provider: {server: a}, "+s) },
		`parameters: text`, `parameters: [99999999999, 1.5]`, `getParameters: {a: [b]}`, `getParameters: {a: b}`, `getParameters: {a: null}`)
	add(new(gen.GeneratorState), func(s string) string { return generator("GeneratorState", s) },
		`resource: null, state: null`, `resource: 1, state: text`, `resource: {}, state: {}, garbageCollectionDeadline: soon`)
	for name, test := range manifests {
		t.Run(name, func(t *testing.T) {
			stored, err := create(t, client, namespace, test.manifest, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := stored.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, test.object); err != nil {
				t.Errorf("stored, and cannot be read: %v", err)
			}
		})
	}
}

// What a controller of the kind writes is kept, other than what has no status.
func TestStatusIsKept(t *testing.T) {
	client := dynamicClient(t, server(t))
	namespace := testenv.Cluster(t).Namespace(t)
	const condition = `conditions: [{type: Ready, status: "False", reason: r, message: m, lastTransitionTime: "2026-01-01T00:00:00Z"}]`
	for manifest, status := range map[string]string{
		clusterExternalSecret(``): `{externalSecretName: a, observedGeneration: 1, provisionedNamespaces: [a], failedNamespaces: [{namespace: b, reason: c}], ` + condition + `}`,
		clusterPushSecret(``):     `{pushSecretName: a, observedGeneration: 1, provisionedNamespaces: [a], failedNamespaces: [{namespace: b, reason: c}], ` + condition + `}`,
		pushSecret(``): `{syncedResourceVersion: a, observedGeneration: 1, refreshTime: "2026-01-01T00:00:00Z", ` + condition + `,
 syncedPushSecrets: {SecretStore/a: {b/c: {match: {secretKey: a, remoteRef: {remoteKey: b, property: c}}, metadata: {any: [null]}, conversionStrategy: None}}}}`,
		generator("GeneratorState", `resource: {}, state: {}`): `{` + condition + `}`,
	} {
		u, err := create(t, client, namespace, manifest, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := value(t, status)
		u.Object["status"] = want
		got, err := resource(client, u.GroupVersionKind(), namespace).UpdateStatus(t.Context(), u, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict})
		if err != nil {
			t.Errorf("%s: %v", u.GetKind(), err)
			continue
		}
		if diff := cmp.Diff(any(want), got.Object["status"]); diff != "" {
			t.Errorf("%s: stored status (-want +got):\n%s", u.GetKind(), diff)
		}
	}
}

// value reads YAML as a client reads what the API server answers: whole numbers are
// int64.
func value(t *testing.T, text string) map[string]any {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := kjson.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConditionTypes(t *testing.T) {
	client := dynamicClient(t, server(t))
	namespace := testenv.Cluster(t).Namespace(t)
	u, err := create(t, client, namespace, externalSecret(`data: [{secretKey: a, remoteRef: {key: b}}]`), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for condition, accepted := range map[string]bool{"Ready": true, "Deleted": true, "Reconciling": true, "Stalled": true, "Other": false} {
		u.Object["status"] = map[string]any{
			"refreshTime": nil,
			"conditions":  []any{map[string]any{"type": condition, "status": "True"}},
		}
		updated, err := resource(client, u.GroupVersionKind(), namespace).UpdateStatus(t.Context(), u, metav1.UpdateOptions{})
		if accepted != (err == nil) {
			t.Errorf("%s: %v", condition, err)
		}
		if err == nil {
			u = updated
		}
	}
}

func TestRules(t *testing.T) {
	client := dynamicClient(t, server(t))
	namespace := testenv.Cluster(t).Namespace(t)
	for name, test := range rules() {
		t.Run(name, func(t *testing.T) {
			_, err := create(t, client, namespace, test.manifest, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			switch {
			case test.message == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.message != "" && !apierrors.IsInvalid(err):
				t.Errorf("want a refusal that says %q, got %v", test.message, err)
			case test.message != "" && !strings.Contains(err.Error(), test.message):
				t.Errorf("want %q in the refusal: %v", test.message, err)
			}
		})
	}
}
