package v1alpha1_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
)

// No member is lost, and none appears that would be persisted.
func TestRoundTrip(t *testing.T) {
	for name, test := range map[string]struct {
		object   any
		manifest string
	}{
		"PushSecret": {new(v1alpha1.PushSecret), `
apiVersion: external-secrets.io/v1alpha1
kind: PushSecret
metadata: {name: a, namespace: b}
spec:
  refreshInterval: 1h0m0s
  updatePolicy: IfNotExists
  deletionPolicy: Delete
  secretStoreRefs: [{name: a}, {labelSelector: {matchLabels: {a: b}}, kind: ClusterSecretStore}]
  selector: {generatorRef: {apiVersion: generators.external-secrets.io/v1alpha1, kind: Password, name: p}}
  data:
    - match: {secretKey: a, remoteRef: {remoteKey: b, property: c}}
      metadata: {apiVersion: kubernetes.external-secrets.io/v1alpha1, kind: PushSecretMetadata, spec: {ids: [1, 2.5, null]}}
      conversionStrategy: ReverseUnicode
  dataTo:
    - storeRef: {name: a}
      match: {regexp: a.*}
      rewrite: [{regexp: {source: a, target: b}}, {transform: {template: c}}]
    - storeRef: {name: a}
      remoteKey: x
      metadata: text
  template: {type: Opaque, data: {a: b}}
status:
  refreshTime: "2026-01-01T00:00:00Z"
  syncedResourceVersion: 1-abc
  observedGeneration: 1
  syncedPushSecrets: {SecretStore/a: {b/c: {match: {secretKey: a, remoteRef: {remoteKey: b, property: c}}, metadata: {a: b}}}}
  conditions: [{type: Ready, status: "True", reason: Synced, message: m, lastTransitionTime: "2026-01-01T00:00:00Z"}]
`},
		"PushSecret with optional structures left out": {new(v1alpha1.PushSecret), `
apiVersion: external-secrets.io/v1alpha1
kind: PushSecret
metadata: {name: a, namespace: b}
spec:
  secretStoreRefs: [{name: a}]
  selector: {secret: {name: a}}
`},
		"ClusterPushSecret": {new(v1alpha1.ClusterPushSecret), `
apiVersion: external-secrets.io/v1alpha1
kind: ClusterPushSecret
metadata: {name: a}
spec:
  pushSecretName: b
  pushSecretMetadata: {labels: {a: b}, annotations: {c: d}}
  namespaceSelectors: [{matchLabels: {c: d}}]
  refreshTime: 1m0s
  pushSecretSpec: {secretStoreRefs: [{name: a}], selector: {secret: {selector: {matchLabels: {a: b}}}}}
status:
  pushSecretName: b
  observedGeneration: 1
  provisionedNamespaces: [x]
  failedNamespaces: [{namespace: z, reason: r}]
  conditions: [{type: Ready, status: "False", reason: Errored}]
`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := yaml.UnmarshalStrict([]byte(test.manifest), test.object); err != nil {
				t.Fatal(err)
			}
			out, err := json.Marshal(test.object)
			if err != nil {
				t.Fatal(err)
			}
			var want, got any
			if err := yaml.Unmarshal([]byte(test.manifest), &want); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("encoded again (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAddToScheme(t *testing.T) {
	s := runtime.NewScheme()
	for range 2 { // it may be repeated
		if err := v1alpha1.AddToScheme(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{v1alpha1.PushSecretKind, v1alpha1.ClusterPushSecretKind} {
		for _, kind := range []string{kind, kind + "List"} {
			if _, err := s.New(v1alpha1.GroupVersion().WithKind(kind)); err != nil {
				t.Error(err)
			}
		}
	}
}
