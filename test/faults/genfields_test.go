package faults_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	generators "github.com/keyferry/keyferry/generators/all"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// generatorSpecs is what selectorSpecs is, for the generators: by kind and field. GREF is
// a selector of the generators' own, which has no namespace.
func generatorSpecs() map[string]string {
	out := map[string]string{
		"ACRAccessToken.auth.servicePrincipal.secretRef.clientId":                                       `{tenantId: t, registry: r.azurecr.io, auth: {servicePrincipal: {secretRef: {clientId: {REF, key: token}, clientSecret: {name: own, key: token}}}}}`,
		"ACRAccessToken.auth.servicePrincipal.secretRef.clientSecret":                                   `{tenantId: t, registry: r.azurecr.io, auth: {servicePrincipal: {secretRef: {clientId: {name: own, key: token}, clientSecret: {REF, key: token}}}}}`,
		"ACRAccessToken.auth.workloadIdentity.serviceAccountRef":                                        `{tenantId: t, registry: r.azurecr.io, auth: {workloadIdentity: {serviceAccountRef: {REF}}}}`,
		"CloudsmithAccessToken.serviceAccountRef":                                                       `{apiUrl: $HOOK, orgSlug: o, serviceSlug: s, serviceAccountRef: {REF}}`,
		"GCRAccessToken.auth.secretRef.secretAccessKeySecretRef":                                        `{projectID: p, auth: {secretRef: {secretAccessKeySecretRef: {REF, key: token}}}}`,
		"GCRAccessToken.auth.workloadIdentity.serviceAccountRef":                                        `{projectID: p, auth: {workloadIdentity: {clusterLocation: l, clusterName: c, serviceAccountRef: {REF}}}}`,
		"GCRAccessToken.auth.workloadIdentityFederation.credConfig":                                     `{projectID: p, auth: {workloadIdentityFederation: {credConfig: {REF, key: token}}}}`,
		"GCRAccessToken.auth.workloadIdentityFederation.serviceAccountRef":                              `{projectID: p, auth: {workloadIdentityFederation: {audience: a, serviceAccountRef: {REF}}}}`,
		"GCRAccessToken.auth.workloadIdentityFederation.awsSecurityCredentials.awsCredentialsSecretRef": `{projectID: p, auth: {workloadIdentityFederation: {audience: a, awsSecurityCredentials: {region: eu-west-1, awsCredentialsSecretRef: {REF}}}}}`,
		"GithubAccessToken.auth.privateKey.secretRef":                                                   `{url: $HOOK, appID: "1", installID: "2", auth: {privateKey: {secretRef: {REF, key: key}}}}`,
		"GitlabDeployToken.auth.token.secretRef":                                                        `{url: $HOOK, projectID: "1", name: robot, scopes: [read_registry], auth: {token: {secretRef: {REF, key: token}}}}`,
		"Grafana.auth.token":                                                                            `{url: $HOOK, serviceAccount: {name: robot, role: Viewer}, auth: {token: {GREF, key: token}}}`,
		"Grafana.auth.basic.password":                                                                   `{url: $HOOK, serviceAccount: {name: robot, role: Viewer}, auth: {basic: {username: u, password: {GREF, key: token}}}}`,
		"MFA.secret":                                                                                    `{secret: {REF, key: token}}`,
		"QuayAccessToken.serviceAccountRef":                                                             `{url: hook.invalid, robotAccount: o+r, serviceAccountRef: {REF}}`,
		"VaultDynamicSecret.provider.auth.jwt.kubernetesServiceAccountToken.serviceAccountRef":          `{path: a/b, provider: {server: $HOOK, auth: {jwt: {path: j, kubernetesServiceAccountToken: {serviceAccountRef: {REF}}}}}}`,
		"Webhook.auth.ntlm.usernameSecret":                                                              `{url: $HOOK, result: {}, auth: {ntlm: {usernameSecret: {REF, key: token}, passwordSecret: {name: own, key: token}}}}`,
		"Webhook.auth.ntlm.passwordSecret":                                                              `{url: $HOOK, result: {}, auth: {ntlm: {usernameSecret: {name: own, key: token}, passwordSecret: {REF, key: token}}}}`,
		"Webhook.secrets[].secretRef":                                                                   `{url: $HOOK, result: {}, secrets: [{name: s, secretRef: {GREF, key: token}}], body: "{{ .s.token }}"}`,
		"Webhook.caProvider":                                                                            `{url: $HOOK, result: {}, caProvider: {REF, type: Secret, key: pem}}`,
	}
	for _, kind := range []string{genv1alpha1.ECRAuthorizationTokenKind, genv1alpha1.STSSessionTokenKind} {
		for field, spec := range selectorSpecs() {
			if rest, ok := strings.CutPrefix(field, "aws."); ok {
				out[kind+"."+rest] = strings.Replace(spec, "service: SecretsManager, ", "", 1)
			}
		}
	}
	for field, spec := range selectorSpecs() {
		if rest, ok := strings.CutPrefix(field, "vault."); ok {
			out[genv1alpha1.VaultDynamicSecretKind+".provider."+rest] = `{path: a/b, provider: ` + spec + `}`
		}
	}
	return out
}

// refusedGenerators are selectors of methods that this build refuses as a whole.
func refusedGenerators() map[string]string {
	out := map[string]string{}
	for field, spec := range refusedSpecs() {
		if rest, ok := strings.CutPrefix(field, "vault."); ok {
			out[genv1alpha1.VaultDynamicSecretKind+".provider."+rest] = `{path: a/b, provider: ` + spec + `}`
		}
	}
	return out
}

func TestEveryFieldOfAGeneratorThatNamesAnObjectIsTried(t *testing.T) {
	var want []string
	for _, kind := range genv1alpha1.Kinds() {
		object, _ := genv1alpha1.New(kind)
		want = append(want, selectors(reflect.TypeOf(object.GeneratorSpec()), kind)...)
	}
	tried := slices.AppendSeq(slices.Collect(maps.Keys(generatorSpecs())), maps.Keys(refusedGenerators()))
	slices.Sort(want)
	slices.Sort(tried)
	if !slices.Equal(want, tried) {
		t.Errorf("the generators have the fields\n%q\nand tried are\n%q", want, tried)
	}
}

// generate runs a generator as a consumer in the namespace "attacker" would, and returns
// the namespaces that were read for it.
func (r *recorder) generate(t *testing.T, field, spec string, cluster bool) ([]string, error) {
	t.Helper()
	r.reads = map[string]bool{}
	registry, err := generators.Registry()
	if err != nil {
		t.Fatal(err)
	}
	kind, _, _ := strings.Cut(field, ".")
	object, ok := genv1alpha1.New(kind)
	if !ok {
		t.Fatalf("no kind %q", kind)
	}
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(spec, "$HOOK", "https://hook.invalid")), object.GeneratorSpec()); err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	pool := store.New(store.Config{Generators: registry, Surroundings: r, Clock: clock{}})
	defer pool.Close()
	_, err = pool.Generate(t.Context(), store.Generator{Kind: kind, Spec: object.GeneratorSpec(), Namespace: "attacker", Name: "g", Cluster: cluster})
	return slices.Sorted(maps.Keys(r.reads)), err
}

func TestAGeneratorReachesTheConsumersNamespaceAndNoOther(t *testing.T) {
	r := &recorder{}
	r.pem, r.key = keyPair(t)
	for name, tc := range map[string]reach{
		"it names another namespace": {"name: x, namespace: victim", "attacker", secret.Denied},
		"it names the consumer's":    {"name: x, namespace: attacker", "attacker", ""},
		"it names none":              {"name: x", "attacker", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for field, spec := range generatorSpecs() {
				if strings.Contains(spec, "GREF") && tc.want != "" {
					continue // it cannot name one
				}
				spec = strings.ReplaceAll(strings.ReplaceAll(spec, "GREF", "name: x"), "REF", tc.ref)
				for _, cluster := range []bool{false, true} {
					reads, err := r.generate(t, field, spec, cluster)
					tc.judge(t, fmt.Sprintf("%s, cluster %t", field, cluster), reads, err)
				}
			}
		})
	}
}

// reach is what a generator may read: want is empty for any error but Denied.
type reach struct {
	ref, reads string
	want       secret.Kind
}

// judge looks at the namespaces that were read. Who is denied something may have read
// what is its own before.
func (r reach) judge(t *testing.T, what string, reads []string, err error) {
	t.Helper()
	if got := strings.Join(reads, " and "); got != r.reads && (r.want == "" || got != "") {
		t.Errorf("%s: read in %q, want %q (%v)", what, got, r.reads, err)
	}
	if kind := secret.KindOf(err); r.want != "" && kind != r.want || r.want == "" && kind == secret.Denied {
		t.Errorf("%s: got %v, want %q", what, err, r.want)
	}
}

func TestAGeneratorThatThisBuildRefusesReadsNothing(t *testing.T) {
	r := &recorder{}
	for field, spec := range refusedGenerators() {
		reads, err := r.generate(t, field, strings.ReplaceAll(spec, "REF", "name: x, namespace: victim"), false)
		if !errors.Is(err, secret.Invalid) || len(reads) > 0 {
			t.Errorf("%s: read in %q and got %v", field, reads, err)
		}
	}
}

// names finds every field below a type that is a name of something: a string called so.
func names(t reflect.Type, path string) []string {
	switch t.Kind() {
	case reflect.Pointer:
		return names(t.Elem(), path)
	case reflect.Slice:
		return names(t.Elem(), path+"[]")
	case reflect.Struct:
	default:
		return nil
	}
	var out []string
	for f := range t.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		at := strings.TrimPrefix(path+"."+tag, ".")
		if tag == "" {
			at = path
		}
		switch {
		case (tag == "name" || tag == "namespace") && isText(f.Type):
			out = append(out, at)
		case f.IsExported():
			out = append(out, names(f.Type, at)...)
		}
	}
	return out
}

func isText(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.String
}

// namesTried says which attempts of a tenant use the fields that name an object: as the
// attempts begin, or why there is none.
func namesTried() map[string]string {
	return map[string]string{
		"ExternalSecret.secretStoreRef.name":                           "store-path",
		"ExternalSecret.target.name":                                   "target-path",
		"ExternalSecret.target.template.templateFrom[].configMap.name": "template-configmap",
		"ExternalSecret.target.template.templateFrom[].secret.name":    "template-secret",
		"ExternalSecret.data[].sourceRef.storeRef.name":                "source-store",
		"ExternalSecret.data[].sourceRef.generatorRef.name":            "source-generator-data",
		"ExternalSecret.dataFrom[].sourceRef.storeRef.name":            "source-store-from",
		"ExternalSecret.dataFrom[].sourceRef.generatorRef.name":        "source-generator",
		"PushSecret.secretStoreRefs[].name":                            "push-store",
		"PushSecret.selector.secret.name":                              "push-secret",
		"PushSecret.selector.generatorRef.name":                        "push-generator",
		"PushSecret.dataTo[].storeRef.name":                            "push-data-to",
		"PushSecret.template.templateFrom[].configMap.name":            "push-template-configmap",
		"PushSecret.template.templateFrom[].secret.name":               "push-template-secret",
	}
}

func TestEveryNameInAManifestOfATenantIsTried(t *testing.T) {
	want := slices.Concat(
		names(reflect.TypeFor[esv1.ExternalSecretSpec](), "ExternalSecret"),
		names(reflect.TypeFor[v1alpha1.PushSecretSpec](), "PushSecret"),
	)
	slices.Sort(want)
	if tried := slices.Sorted(maps.Keys(namesTried())); !slices.Equal(want, tried) {
		t.Errorf("manifests have the names\n%q\nand tried are\n%q", want, tried)
	}
	attempts := append(slices.Collect(maps.Keys(objectAttempts())), slices.Collect(maps.Keys(pushAttempts()))...)
	for field, attempt := range namesTried() {
		if attempt != "" && !slices.ContainsFunc(attempts, func(name string) bool { return strings.HasPrefix(name, attempt) }) {
			t.Errorf("%s is tried by %s, which is no attempt", field, attempt)
		}
	}
}

func TestAResourcePolicyIsReadInTheConsumersNamespaceAndInNoOther(t *testing.T) {
	server := awstest.Start(t, clock{})
	t.Setenv("AWS_SECRETSMANAGER_ENDPOINT", server.URL)
	r := &recorder{transport: &http.Transport{}}
	for name, tc := range map[string]struct {
		kind, key, source, reads string
		want                     secret.Kind
	}{
		"of a SecretStore":                {esv1.SecretStoreKind, "attacker", "kind: ConfigMap, name: x, key: policy", "attacker", ""},
		"of a ClusterSecretStore":         {esv1.ClusterSecretStoreKind, "admin", "kind: ConfigMap, name: x, key: policy", "admin and attacker", ""},
		"in another namespace":            {esv1.SecretStoreKind, "attacker", "kind: ConfigMap, name: x, namespace: victim, key: policy", "", secret.Invalid},
		"in another, of a cluster store":  {esv1.ClusterSecretStoreKind, "admin", "kind: Secret, name: x, namespace: victim, key: policy", "", secret.Invalid},
		"of a kind that is none of these": {esv1.SecretStoreKind, "attacker", "kind: ServiceAccount, name: x, key: policy", "", secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			server.Trust(awstest.Identity{AccessKey: "token-of-" + tc.key})
			pool, place := r.open(t, tc.kind, "attacker", "aws", `{service: SecretsManager, region: eu-west-1, auth: {secretRef: {accessKeyIDSecretRef: {name: own, namespace: `+tc.key+`, key: token}, secretAccessKeySecretRef: {name: own, namespace: `+tc.key+`, key: token}}}}`)
			metadata, err := yaml.YAMLToJSON([]byte(`{apiVersion: kubernetes.external-secrets.io/v1alpha1, kind: PushSecretMetadata, spec: {resourcePolicy: {policySourceRef: {` + tc.source + `}}}}`))
			if err != nil {
				t.Fatal(err)
			}
			written := pool.Write(t.Context(), place, []store.Write{{Ref: secret.Ref{Key: strings.ReplaceAll(name, " ", "-")}, Content: secret.Secret{Value: secret.FromString("v")}, Metadata: metadata}})
			if kind := secret.KindOf(written[0].Err); kind != tc.want {
				t.Errorf("got %v, want %q", written[0].Err, tc.want)
			}
			reads := slices.Sorted(maps.Keys(r.reads))
			if tc.reads == "" {
				reads = slices.DeleteFunc(reads, func(ns string) bool { return ns == tc.key })
			}
			if got := strings.Join(reads, " and "); got != tc.reads {
				t.Errorf("read in %q, want %q", got, tc.reads)
			}
		})
	}
}
