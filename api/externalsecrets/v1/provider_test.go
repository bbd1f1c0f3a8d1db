package v1_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

func TestProviderRoundTrip(t *testing.T) {
	tests := map[string]struct {
		in       string
		name     string
		hasSpec  bool
		wantJSON string // in, if empty
	}{
		"a provider of this build is selected with its spec": {
			in: `{"vault":{"server":"https://v"}}`, name: "vault", hasSpec: true,
		},
		"every provider of this build has its own key: fake":       {in: `{"fake":{"data":[{"key":"a","value":"b"}]}}`, name: "fake", hasSpec: true},
		"every provider of this build has its own key: kubernetes": {in: `{"kubernetes":{"remoteNamespace":"a"}}`, name: "kubernetes", hasSpec: true},
		"every provider of this build has its own key: webhook":    {in: `{"webhook":{"url":"https://w"}}`, name: "webhook", hasSpec: true},
		"every provider of this build has its own key: openBao":    {in: `{"openBao":{"server":"https://o"}}`, name: "openBao", hasSpec: true},
		"every provider of this build has its own key: aws":        {in: `{"aws":{"service":"SecretsManager","region":"eu-west-1"}}`, name: "aws", hasSpec: true},
		"an unknown provider is named and kept whole": {
			in: `{"gcpsm":{"projectID":"p","location":"eu","ids":[1,2.50,12345678901234567890],"deep":{"a":null}}}`, name: "gcpsm",
		},
		"two known providers select none and are both kept":             {in: `{"vault":{"server":"https://v"},"openBao":{"server":"https://o"}}`},
		"a known and an unknown provider select none and are both kept": {in: `{"vault":{"server":"https://v"},"gcpsm":{"projectID":"p"}}`},
		"two unknown providers select none and are kept in order":       {in: `{"azurekv":{},"gcpsm":{"projectID":"p"}}`},
		"no provider selects none":                                      {in: `{}`},
		"null members do not count":                                     {in: `{"vault":null,"gcpsm":null}`, wantJSON: `{}`},
		"letter case tells a key from a provider of this build":         {in: `{"Vault":{"server":"https://v"}}`, name: "Vault"},
	}
	for title, test := range tests {
		t.Run(title, func(t *testing.T) {
			var p esv1.SecretStoreProvider
			if err := json.Unmarshal([]byte(test.in), &p); err != nil {
				t.Fatal(err)
			}
			for from, p := range map[string]*esv1.SecretStoreProvider{"decoded": &p, "deep copy": p.DeepCopy()} {
				name, spec := p.Selected()
				if name != test.name || (spec != nil) != test.hasSpec {
					t.Errorf("%s: Selected() = %q, %v", from, name, spec)
				}
				out, err := json.Marshal(p)
				if err != nil {
					t.Fatal(err)
				}
				want := test.wantJSON
				if want == "" {
					want = test.in
				}
				if diff := cmp.Diff(decode(t, want), decode(t, string(out))); diff != "" {
					t.Errorf("%s: encoded again (-want +got):\n%s", from, diff)
				}
			}
		})
	}
}

// decode keeps numbers as they are written.
func decode(t *testing.T, s string) map[string]any {
	t.Helper()
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &raw); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	out := map[string]any{}
	for k, v := range raw {
		var compact any = string(v)
		if slices.Contains([]string{"vault", "openBao", "fake", "kubernetes", "webhook", "aws"}, k) {
			if err := json.Unmarshal(v, &compact); err != nil { // known members may gain no field
				t.Fatal(err)
			}
		}
		out[k] = compact
	}
	return out
}

func TestProviderIsReplacedByDecoding(t *testing.T) {
	var p esv1.SecretStoreProvider
	for _, in := range []string{`{"gcpsm":{}}`, `{"vault":{"server":"https://v"}}`} {
		if err := json.Unmarshal([]byte(in), &p); err != nil {
			t.Fatal(err)
		}
	}
	if name, _ := p.Selected(); name != "vault" {
		t.Errorf("Selected() = %q; what was decoded before is still there", name)
	}
}

func TestProviderRefusesOtherThanAnObject(t *testing.T) {
	for _, in := range []string{`"vault"`, `["vault"]`, `{"vault":"x"}`, `1`} {
		if err := json.Unmarshal([]byte(in), new(esv1.SecretStoreProvider)); err == nil {
			t.Errorf("%s was accepted", in)
		}
	}
}

func TestSelectedOfNothing(t *testing.T) {
	var p *esv1.SecretStoreProvider
	if name, spec := p.Selected(); name != "" || spec != nil {
		t.Errorf("Selected() of nil = %q, %v", name, spec)
	}
}

func TestStoreRoundTrip(t *testing.T) {
	roundTrip(t, map[string]manifestCase{
		"SecretStore of a provider that this build does not have": {object: new(esv1.SecretStore), manifest: `
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: a, namespace: b}
spec:
  controller: dev
  retrySettings: {maxRetries: 5, retryInterval: 10s}
  refreshInterval: 300
  provider:
    gcpsm: {projectID: p, auth: {workloadIdentity: {serviceAccountRef: {name: x}}}}
`},
		"SecretStore of AWS": {object: new(esv1.SecretStore), manifest: `
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: a, namespace: b}
spec:
  provider:
    aws:
      service: ParameterStore
      region: eu-west-1
      role: arn:aws:iam::111122223333:role/reader
      additionalRoles: [arn:aws:iam::111122223333:role/first]
      externalID: x
      sessionTags: [{key: a, value: b}]
      transitiveTagKeys: [a]
      sessionTagsPolicy: Custom
      customSessionTags: {team: c}
      prefix: /team/
      secretsManager: {recoveryWindowInDays: 7}
      auth:
        jwt: {serviceAccountRef: {name: x, audiences: [z]}}
        secretRef: {accessKeyIDSecretRef: {name: a, key: b}, secretAccessKeySecretRef: {name: a, key: c}, sessionTokenSecretRef: {name: a, key: d}}
`},
		"ClusterSecretStore with a refreshInterval as a duration": {object: new(esv1.ClusterSecretStore), manifest: `
apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata: {name: a}
spec:
  refreshInterval: 5m
  conditions:
    - namespaces: [a]
      namespaceRegexes: ["b.*"]
      namespaceSelector: {matchLabels: {c: d}}
  provider:
    vault:
      server: https://v
      version: v1
      headers: {a: b}
      tls: {certSecretRef: {name: a, key: b}, keySecretRef: {name: a, key: c, namespace: d}}
      caProvider: {type: ConfigMap, name: a, key: b, namespace: c}
      auth: {cert: {clientCert: {name: a, key: b}, secretRef: {name: c}}}
`},
	})
}

func TestExternalSecretRoundTrip(t *testing.T) {
	roundTrip(t, map[string]manifestCase{
		"ExternalSecret with optional structures left out": {object: new(esv1.ExternalSecret), manifest: `
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: a, namespace: b}
spec:
  data:
    - secretKey: a
      remoteRef: {key: b}
      sourceRef: {generatorRef: {apiVersion: v1, kind: Password, name: p}}
  dataFrom:
    - sourceRef: {storeRef: {name: s}}
      find: {path: "", name: {regexp: .*}}
  target: {template: {type: Opaque, data: {a: b}}}
`},
		"ExternalSecret with a status": {object: new(esv1.ExternalSecret), manifest: `
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: a, namespace: b}
spec:
  refreshInterval: 1h0m0s
  syncWindows: {kind: deny, windows: [{schedule: "@daily", duration: 2h0m0s}]}
  dataFrom: [{extract: {key: a}, rewrite: [{merge: {strategy: JSON, into: x}}]}]
status:
  refreshTime: "2026-01-01T00:00:00Z"
  syncedResourceVersion: 1-abc
  observedGeneration: 1
  targetResourceVersion: "12"
  binding: {name: a}
  conditions: [{type: Ready, status: "True", reason: SecretSynced, message: m, lastTransitionTime: "2026-01-01T00:00:00Z"}]
`},
		"ClusterExternalSecret": {object: new(esv1.ClusterExternalSecret), manifest: `
apiVersion: external-secrets.io/v1
kind: ClusterExternalSecret
metadata: {name: a}
spec:
  externalSecretName: b
  externalSecretMetadata: {labels: {a: b}, annotations: {c: d}}
  namespaceSelector: {matchLabels: {a: b}}
  namespaceSelectors: [{matchLabels: {c: d}}, {matchExpressions: [{key: a, operator: Exists}]}]
  namespaces: [x, z]
  refreshTime: 1m0s
  externalSecretSpec: {dataFrom: [{extract: {key: a}}]}
status:
  externalSecretName: b
  observedGeneration: 1
  provisionedNamespaces: [x]
  failedNamespaces: [{namespace: z, reason: r}]
  conditions: [{type: Ready, status: "False", message: one or more namespaces failed}]
`},
	})
}

type manifestCase struct {
	manifest string
	object   any
}

// roundTrip passes manifests of External Secrets Operator through the Go types: no
// member is lost, and none appears that would be persisted.
func roundTrip(t *testing.T, tests map[string]manifestCase) {
	t.Helper()
	for name, test := range tests {
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
