package crds_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
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
	if kind.Kind == "ClusterSecretStore" {
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
			var want any
			if err := yaml.Unmarshal([]byte(test.spec), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Object["spec"]); diff != "" {
				t.Errorf("stored spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStoreOfAnUnknownProviderIsKeptWhole(t *testing.T) {
	client := dynamicClient(t, server(t))
	namespace := testenv.Cluster(t).Namespace(t)
	const provider = `{aws: {service: SecretsManager, region: eu-west-1, auth: {jwt: {serviceAccountRef: {name: a}}}, sessionTags: [{key: k, value: v}]}}`
	manifest := "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: aws}\nspec: {provider: " + provider + "}"
	created, err := create(t, client, namespace, manifest, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := resource(client, created.GroupVersionKind(), namespace).Get(t.Context(), "aws", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var want any
	if err := yaml.Unmarshal([]byte("{provider: "+provider+"}"), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Object["spec"]); diff != "" {
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
		`aws: {deep: [1.5, null, {a: 99999999999}]}`, `aws: text`, `aws: [1]`, `aws: null`, `vault: null`)
	add(new(esv1.ExternalSecret), func(s string) string { return externalSecret("dataFrom: [{extract: {key: a}}], " + s) },
		`refreshInterval: ""`, `refreshInterval: -1h`, `refreshInterval: +1h`, `refreshInterval: .5h`, `refreshInterval: 1µs`, `refreshInterval: -9999999999999999999s`,
		`refreshInterval: null`, `syncWindows: {kind: deny, windows: [{schedule: "@daily", duration: " 1h"}]}`)
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

// The samples in the documentation are accepted as they stand.
func TestDocumentationSamples(t *testing.T) {
	client := dynamicClient(t, server(t))
	namespace := testenv.Cluster(t).Namespace(t)
	for _, page := range []string{"../../docs/spec/externalsecret.md", "../../docs/spec/secretstore.md"} {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		samples := strings.Split(string(b), "```yaml\n")[1:]
		if len(samples) == 0 {
			t.Errorf("%s has no sample", page)
		}
		for _, sample := range samples {
			manifest, _, _ := strings.Cut(sample, "```")
			if _, err := create(t, client, namespace, manifest, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
				t.Errorf("%s: %v in\n%s", page, err, manifest)
			}
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
