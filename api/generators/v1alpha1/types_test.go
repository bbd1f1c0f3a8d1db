package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
)

func TestKinds(t *testing.T) {
	want := []string{
		"ACRAccessToken", "CloudsmithAccessToken", "ECRAuthorizationToken", "Fake", "GCRAccessToken", "GithubAccessToken",
		"GitlabDeployToken", "Grafana", "MFA", "Password", "QuayAccessToken", "SSHKey", "STSSessionToken", "UUID",
		"VaultDynamicSecret", "Webhook",
	}
	if diff := cmp.Diff(want, v1alpha1.Kinds()); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	for _, kind := range want {
		object, ok := v1alpha1.New(kind)
		if !ok {
			t.Errorf("%s is not made", kind)
			continue
		}
		if got := fmt.Sprintf("%T", object.GeneratorSpec()); got != "*v1alpha1."+kind+"Spec" {
			t.Errorf("%s: the spec is a %s", kind, got)
		}
	}
}

func TestAddToScheme(t *testing.T) {
	s := runtime.NewScheme()
	for range 2 { // it may be repeated
		if err := v1alpha1.AddToScheme(s); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]runtime.Object{
		v1alpha1.ClusterGeneratorKind:          &v1alpha1.ClusterGenerator{},
		v1alpha1.ClusterGeneratorKind + "List": &v1alpha1.ClusterGeneratorList{},
		v1alpha1.GeneratorStateKind:            &v1alpha1.GeneratorState{},
		v1alpha1.GeneratorStateKind + "List":   &v1alpha1.GeneratorStateList{},
	}
	for _, kind := range v1alpha1.Kinds() {
		want[kind], _ = v1alpha1.New(kind)
		want[kind+"List"], _ = v1alpha1.NewList(kind)
	}
	for kind, o := range want {
		if gvks, _, err := s.ObjectKinds(o); err != nil || gvks[0] != v1alpha1.GroupVersion().WithKind(kind) {
			t.Errorf("%T is %v, %v; want %s", o, gvks, err, kind)
		}
	}
}

func TestOtherKindsAreNotMade(t *testing.T) {
	for _, kind := range []string{"", "password", "ClusterGenerator", "GeneratorState", "BeyondtrustWorkloadCredentialsDynamicSecret"} {
		if o, ok := v1alpha1.New(kind); ok || o != nil {
			t.Errorf("New(%q) = %v", kind, o)
		}
		if l, ok := v1alpha1.NewList(kind); ok || l != nil {
			t.Errorf("NewList(%q) = %v", kind, l)
		}
	}
}

// The spec is that of the object, and not a copy.
func TestSpecIsInside(t *testing.T) {
	var p v1alpha1.Password
	spec, ok := p.GeneratorSpec().(*v1alpha1.PasswordSpec)
	if !ok {
		t.Fatalf("the spec is a %T", p.GeneratorSpec())
	}
	if spec.Length = 7; p.Spec.Length != 7 {
		t.Error("the spec is a copy")
	}
}

func TestControllerClass(t *testing.T) {
	for _, kind := range v1alpha1.Kinds() {
		object, _ := v1alpha1.New(kind)
		want := ""
		if err := json.Unmarshal([]byte(`{"spec":{"controller":"c"}}`), object); err != nil {
			t.Fatal(err)
		}
		if slices.Contains([]string{"Fake", "VaultDynamicSecret"}, kind) {
			want = "c"
		}
		if got := object.ControllerClass(); got != want {
			t.Errorf("%s: class %q, want %q", kind, got, want)
		}
	}
}

// memberOf returns the name of the member of spec.generator for a kind.
func memberOf(t *testing.T, kind string) string {
	t.Helper()
	for f := range reflect.TypeFor[v1alpha1.GeneratorSpec]().Fields() {
		if f.Name == kind+"Spec" {
			return strings.TrimSuffix(f.Tag.Get("json"), ",omitempty")
		}
	}
	t.Fatalf("spec.generator has no member for %s", kind)
	return ""
}

func TestClusterGeneratorSelectsEveryKind(t *testing.T) {
	for _, kind := range v1alpha1.Kinds() {
		var g v1alpha1.ClusterGenerator
		manifest := fmt.Sprintf(`{"spec":{"kind":%q,"generator":{%q:{}}}}`, kind, memberOf(t, kind))
		if err := json.Unmarshal([]byte(manifest), &g); err != nil {
			t.Fatal(err)
		}
		object, _ := v1alpha1.New(kind)
		got, spec, err := g.Selected()
		if err != nil || got != kind || reflect.TypeOf(spec) != reflect.TypeOf(object.GeneratorSpec()) {
			t.Errorf("%s: selected %s, %T, %v", manifest, got, spec, err)
		}
	}
}

func TestClusterGeneratorThatSelectsNothing(t *testing.T) {
	for name, test := range map[string]struct{ spec, field string }{
		"nothing":                              {`{}`, "spec.kind"},
		"no member":                            {`{"kind":"Password","generator":{}}`, "spec.generator.passwordSpec"},
		"another member":                       {`{"kind":"Password","generator":{"uuidSpec":{}}}`, "spec.generator.uuidSpec"},
		"one member too many":                  {`{"kind":"Password","generator":{"passwordSpec":{},"uuidSpec":{}}}`, "spec.generator.uuidSpec"},
		"no kind":                              {`{"generator":{"passwordSpec":{}}}`, "spec.generator.passwordSpec"},
		"a kind that is not one":               {`{"kind":"Dice","generator":{}}`, "spec.kind"},
		"a kind that this build does not have": {`{"kind":"BeyondtrustWorkloadCredentialsDynamicSecret","generator":{"beyondtrustWorkloadCredentialsDynamicSecretSpec":{}}}`, "spec.kind"},
	} {
		t.Run(name, func(t *testing.T) {
			var g v1alpha1.ClusterGenerator
			if err := json.Unmarshal([]byte(`{"spec":`+test.spec+`}`), &g); err != nil {
				t.Fatal(err)
			}
			kind, spec, err := g.Selected()
			if err == nil || !strings.Contains(err.Error(), test.field) {
				t.Errorf("want an error that names %s, got %v", test.field, err)
			}
			if kind != "" || spec != nil {
				t.Errorf("selected %q, %v", kind, spec)
			}
		})
	}
}

// No member is lost, and none appears that would be persisted.
func TestRoundTrip(t *testing.T) {
	specs := map[string]string{
		"ACRAccessToken":        `{tenantId: t, registry: r, scope: s, environmentType: ChinaCloud, auth: {servicePrincipal: {secretRef: {clientId: {name: a, key: b}, clientSecret: {name: a}}}, managedIdentity: {identityId: i}, workloadIdentity: {serviceAccountRef: {name: a}}}}`,
		"CloudsmithAccessToken": `{apiUrl: u, orgSlug: o, serviceSlug: s, serviceAccountRef: {name: a, audiences: [b]}}`,
		"ECRAuthorizationToken": `{region: r, role: a, scope: public, auth: {jwt: {serviceAccountRef: {name: a}}, secretRef: {accessKeyIDSecretRef: {name: a}, secretAccessKeySecretRef: {name: b}}}}`,
		"Fake":                  `{controller: c, data: {a: b}}`,
		"GCRAccessToken":        `{projectID: p, auth: {secretRef: {secretAccessKeySecretRef: {name: a}}, workloadIdentity: {serviceAccountRef: {name: a}, clusterLocation: l, clusterName: x, clusterProjectID: p}, workloadIdentityFederation: {credConfig: {name: a, key: b, namespace: c}, serviceAccountRef: {name: a}, audience: x, externalTokenEndpoint: e, gcpServiceAccountEmail: m, awsSecurityCredentials: {region: r, awsCredentialsSecretRef: {name: a, namespace: b}}}}}`,
		"GithubAccessToken":     `{url: u, appID: "1", installID: "2", repositories: [r], permissions: {contents: read}, auth: {privateKey: {secretRef: {name: a, key: b}}}}`,
		"GitlabDeployToken":     `{url: u, projectID: "1", groupID: "2", name: x, username: m, scopes: [read_registry], expiresAt: "2026-01-01T00:00:00Z", auth: {token: {secretRef: {name: a, key: b}}}}`,
		"Grafana":               `{url: u, auth: {token: {name: a, key: b}, basic: {username: u, password: {name: a, key: b}}}, serviceAccount: {name: x, role: Viewer, secondsToLive: 60}}`,
		"MFA":                   `{secret: {name: a, key: b}, length: 8, timePeriod: 60, algorithm: sha256, when: "2026-01-01T00:00:00Z"}`,
		"Password":              `{length: 12, digits: 0, symbols: 1, symbolCharacters: "!", noUpper: true, allowRepeat: false, encoding: hex, secretKeys: [a]}`,
		"QuayAccessToken":       `{url: u, robotAccount: r, serviceAccountRef: {name: a}}`,
		"SSHKey":                `{keyType: rsa, keySize: 4096, comment: c}`,
		"STSSessionToken":       `{region: r, role: a, auth: {jwt: {serviceAccountRef: {name: a}}}, requestParameters: {sessionDuration: 900, serialNumber: s, tokenCode: "1"}}`,
		"UUID":                  ``,
		"VaultDynamicSecret":    `{controller: c, method: POST, path: p, parameters: {a: [1, 2.5, null]}, getParameters: {a: [b]}, resultType: Auth, allowEmptyResponse: true, retrySettings: {maxRetries: 2, retryInterval: 1s}, provider: {server: s, auth: {tokenSecretRef: {name: a}}}}`,
		"Webhook":               `{url: u, method: POST, body: b, timeout: 10s, headers: {a: b}, auth: {ntlm: {usernameSecret: {name: a}, passwordSecret: {name: b}}}, result: {jsonPath: $.a}, secrets: [{name: a, secretRef: {name: b, key: c}}], caBundle: YQ==, caProvider: {type: Secret, name: a}}`,
	}
	for _, kind := range v1alpha1.Kinds() {
		object, _ := v1alpha1.New(kind)
		manifest := fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: a, namespace: b}, spec: %s}", v1alpha1.GroupVersion(), kind, specs[kind])
		if specs[kind] == "" {
			manifest = strings.Replace(manifest, ", spec: ", "", 1)
		}
		if err := yaml.UnmarshalStrict([]byte(manifest), object); err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		checkEncoding(t, kind, object, manifest)
	}
	const state = `{metadata: {name: a}, spec: {garbageCollectionDeadline: "2026-01-01T00:00:00Z", resource: {a: [1]}, state: {b: 2.50}}, status: {conditions: [{type: Ready, status: "True", reason: Created}]}}`
	s := new(v1alpha1.GeneratorState)
	if err := yaml.UnmarshalStrict([]byte(state), s); err != nil {
		t.Fatal(err)
	}
	checkEncoding(t, "GeneratorState", s, state)
}

func checkEncoding(t *testing.T, kind string, object any, manifest string) {
	t.Helper()
	out, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(manifest), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: encoded again (-want +got):\n%s", kind, diff)
	}
}
