package faults_test

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/awstest"
	"github.com/keyferry/keyferry/internal/testenv"
	"github.com/keyferry/keyferry/provider/providertest"
)

// pushing is a way to fail to push the Secret "source". It makes a PushSecret, and its
// own SecretStore if there is a provider. "spec" is beside secretStoreRefs and selector.
type pushing = failing

const (
	rootBao    = `vault: {server: $BAO, path: secret, auth: {tokenSecretRef: {name: root, key: token}}}`
	adminAPI   = `kubernetes: {remoteNamespace: $NS, server: {url: $API, caBundle: $APICA}, auth: {cert: {clientCert: {name: admin, key: cert}, clientKey: {name: admin, key: key}}}}`
	plainPush  = `data: [{match: {secretKey: json, remoteRef: {remoteKey: out}}}]`
	plainValue = `data: [{match: {secretKey: v, remoteRef: {remoteKey: out}}}]`
)

func amazon(service, who, more string) string {
	return `aws: {service: ` + service + `, region: eu-west-1, ` + more + `auth: {secretRef: {accessKeyIDSecretRef: {name: amazon, key: ` + who + `}, secretAccessKeySecretRef: {name: creds, key: password}}}}`
}

// pushFailures is the whole table, by the name of the PushSecret. What fails to read fails
// to write, or does not get there.
func pushFailures() map[string]pushing {
	out := map[string]pushing{}
	for name, f := range failures() {
		if f.provider != "" && f.spec == "" {
			out["r-"+name] = pushing{provider: f.provider, spec: plainPush, want: "looked"}
		}
	}
	for name, f := range map[string]pushing{
		"text":           {provider: rootBao, spec: plainValue, want: "Invalid"},
		"bytes":          {provider: rootBao, spec: `data: [{match: {secretKey: bytes, remoteRef: {remoteKey: out, property: p}}}]`, want: "Invalid"},
		"foreign":        {provider: rootBao, spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: app, property: p}}}]`, want: "Conflict"},
		"metadata":       {provider: rootBao, spec: `data: [{match: {secretKey: json, remoteRef: {remoteKey: out}}, metadata: {tags: {a: b}}}]`, want: "Invalid"},
		"limited":        {provider: strings.Replace(rootBao, "name: root", "name: limited", 1), spec: plainPush, want: "Denied"},
		"mount":          {provider: strings.Replace(rootBao, "path: secret", "path: none", 1), spec: plainPush, want: "Invalid"},
		"kv1-empty":      {provider: strings.Replace(rootBao, "path: secret", "path: kv1, version: v1", 1), spec: plainValue, want: "Invalid"},
		"key":            {provider: rootBao, spec: `data: [{match: {secretKey: json, remoteRef: {remoteKey: "../a"}}}]`, want: "Invalid"},
		"no-key":         {provider: rootBao, spec: `data: [{match: {secretKey: none, remoteRef: {remoteKey: out}}}]`, want: "Invalid"},
		"same-place":     {provider: rootBao, spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: out}}}, {match: {secretKey: json, remoteRef: {remoteKey: out}}}]`, want: "Invalid"},
		"data-to":        {provider: rootBao, spec: `dataTo: [{storeRef: {name: $STORE}, rewrite: [{transform: {template: "{{ .value | fail }}"}}]}]`, want: "Invalid"},
		"data-to-same":   {provider: rootBao, spec: `dataTo: [{storeRef: {name: $STORE}, rewrite: [{regexp: {source: ".*", target: same}}]}]`, want: "any"},
		"data-to-text":   {provider: rootBao, spec: `dataTo: [{storeRef: {name: $STORE}, match: {regexp: "^v$"}}]`, want: "Invalid"},
		"whole-bytes":    {provider: rootBao, spec: `data: [{match: {remoteRef: {remoteKey: out}}}]`, want: "any"},
		"type":           {provider: adminAPI, spec: `template: {type: kubernetes.io/tls}, data: [{match: {remoteRef: {remoteKey: pushed-type}}}]`, want: "any"},
		"refused":        {provider: adminAPI, spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: refused, property: v}}}]`, want: "any"},
		"frozen":         {provider: adminAPI, spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: frozen, property: a}}}]`, want: "any"},
		"somebodys":      {provider: adminAPI, spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: somebodys, property: a}}}]`, want: "any"},
		"bad-name":       {provider: adminAPI, spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: "No Name", property: a}}}]`, want: "Invalid"},
		"bad-property":   {provider: adminAPI, spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: pushed, property: "a b"}}}]`, want: "Invalid"},
		"remote":         {provider: adminAPI, spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: pushed, property: a}}, metadata: {apiVersion: kubernetes.external-secrets.io/v1alpha1, kind: PushSecretMetadata, spec: {remoteNamespace: default}}}]`, want: "any"},
		"labels":         {provider: adminAPI, spec: `template: {metadata: {labels: {a: "{{ .v }} no label"}}}, data: [{match: {remoteRef: {remoteKey: pushed-labels}}}]`, want: "any"},
		"size":           {provider: adminAPI, spec: `selector: {secret: {name: large}}, template: {data: {a: "{{ .v }}{{ .v }}"}}, data: [{match: {remoteRef: {remoteKey: pushed-large}}}]`, want: "any"},
		"fake-text":      {spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: plain, property: a}}}]`, want: "Invalid"},
		"fake-broken":    {spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: broken, property: a}}}]`, want: "Invalid"},
		"fake-bytes":     {spec: `data: [{match: {secretKey: bytes, remoteRef: {remoteKey: json, property: a}}}]`, want: "Invalid"},
		"fake-metadata":  {spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: out}}, metadata: {a: b}}]`, want: "Invalid"},
		"kept-template":  {spec: plainValue + `, template: {templateFrom: [{secret: {name: templates, items: [{key: fails}]}}]}`, want: "Invalid"},
		"kept-syntax":    {spec: plainValue + `, template: {templateFrom: [{secret: {name: templates, items: [{key: syntax}]}}]}`, want: "Invalid"},
		"kept-yaml":      {spec: plainValue + `, template: {templateFrom: [{secret: {name: templates, items: [{key: yaml, templateAs: KeysAndValues}]}}]}`, want: "Invalid"},
		"hook-body":      {provider: `webhook: {url: $HOOK/json, method: POST, secrets: [{name: creds, secretRef: {name: creds}}], body: "{{ .remoteRef.value | fail }}"}`, spec: plainValue, want: "any"},
		"hook-url":       {provider: `webhook: {url: "http://127.0.0.1:1/%{{ .remoteRef.value }}", method: POST}`, spec: plainValue, want: "any"},
		"hook-host":      {provider: `webhook: {url: "http://{{ .creds.token }}.invalid/", method: POST, secrets: [{name: creds, secretRef: {name: creds}}]}`, spec: plainValue, want: "any"},
		"hook-breaks":    {provider: `webhook: {url: $HOOK/json, method: POST, secrets: [{name: creds, secretRef: {name: creds}}], headers: {X-Key: "{{ .creds.lines }}"}}`, spec: plainValue, want: "any"},
		"hook-whole":     {provider: `webhook: {url: $HOOK/500, method: PUT}`, spec: `data: [{match: {remoteRef: {remoteKey: out}}}]`, want: "any"},
		"role":           {provider: amazon("SecretsManager", "weak", `role: "arn:aws:iam::123456789012:role/nobody", `), spec: plainValue, want: "any"},
		"policy":         {provider: amazon("SecretsManager", "good", ""), spec: `data: [{match: {secretKey: v, remoteRef: {remoteKey: policy}}, metadata: {apiVersion: kubernetes.external-secrets.io/v1alpha1, kind: PushSecretMetadata, spec: {resourcePolicy: {policySourceRef: {kind: Secret, name: creds, key: lines}}}}}]`, want: "Invalid"},
		"no-format":      {provider: amazon("SecretsManager", "good", ""), spec: `data: [{match: {secretKey: bytes, remoteRef: {remoteKey: bytes}}, metadata: {apiVersion: kubernetes.external-secrets.io/v1alpha1, kind: PushSecretMetadata, spec: {secretPushFormat: string}}}]`, want: "any"},
		"no-text":        {provider: amazon("ParameterStore", "good", ""), spec: `data: [{match: {secretKey: bytes, remoteRef: {remoteKey: bytes}}}]`, want: "any"},
		"parameter-size": {provider: amazon("ParameterStore", "good", ""), spec: `selector: {secret: {name: large}}, ` + plainValue, want: "any"},
	} {
		out["w-"+name] = f
	}
	for _, service := range []string{"SecretsManager", "ParameterStore"} {
		for _, who := range []string{"weak", "throttled", "down", "unknown"} {
			out["aws-"+strings.ToLower(service)+"-"+who] = pushing{provider: amazon(service, who, ""), spec: plainValue, want: "any"}
		}
	}
	for name, f := range valueFailures() {
		if expression, ok := strings.CutPrefix(f.spec, `{target: {template: {data: {v: '`); ok {
			expression, _, _ = strings.Cut(expression, `'}}}`)
			out["t-"+name] = pushing{spec: plainValue + `, template: {data: {v: '` + expression + `'}}`, want: "any"}
		}
	}
	return out
}

// making is a generator that fails, or what it makes cannot be used.
type making struct {
	kind, spec string
	use        string // beside generatorRef, of the entry of the ExternalSecret
	target     string
}

func makings() map[string]making {
	out := map[string]making{
		"password":         {kind: genv1alpha1.PasswordKind, spec: `{length: 4, digits: 9, symbols: 0, noUpper: false, allowRepeat: false}`},
		"password-symbols": {kind: genv1alpha1.PasswordKind, spec: `{length: 40, digits: 2, symbols: 2, symbolCharacters: "", noUpper: true, allowRepeat: false}`},
		"sshkey":           {kind: genv1alpha1.SSHKeyKind, spec: `{keyType: rsa, keySize: 1}`},
		"mfa":              {kind: genv1alpha1.MFAKind, spec: `{secret: {name: creds, key: lines}}`},
		"mfa-absent":       {kind: genv1alpha1.MFAKind, spec: `{secret: {name: creds, key: none}}`},
		"uuid-target":      {kind: genv1alpha1.UUIDKind, spec: `{}`, target: "somebodys"},
		"fake-rewrite":     {kind: genv1alpha1.FakeKind, spec: `{data: {v: MARKmade}}`, use: `, rewrite: [{transform: {template: "{{ .value | fail }}"}}]`},
		"fake-target":      {kind: genv1alpha1.FakeKind, spec: `{data: {v: MARKmade}}`, target: "refused"},
		"fake-frozen":      {kind: genv1alpha1.FakeKind, spec: `{data: {v: MARKmade}}`, target: "frozen"},
		"github-key":       {kind: genv1alpha1.GithubAccessTokenKind, spec: `{url: $HOOK/json, appID: "1", installID: "2", auth: {privateKey: {secretRef: {name: creds, key: pem}}}}`},
		"gcr-key":          {kind: genv1alpha1.GCRAccessTokenKind, spec: `{projectID: p, auth: {secretRef: {secretAccessKeySecretRef: {name: creds, key: lines}}}}`},
		"gcr-config":       {kind: genv1alpha1.GCRAccessTokenKind, spec: `{projectID: p, auth: {workloadIdentityFederation: {credConfig: {name: google, key: broken}}}}`},
		"acr":              {kind: genv1alpha1.ACRAccessTokenKind, spec: `{tenantId: t, registry: r.azurecr.io, auth: {servicePrincipal: {secretRef: {clientId: {name: creds, key: token}, clientSecret: {name: creds, key: none}}}}}`},
		"quay":             {kind: genv1alpha1.QuayAccessTokenKind, spec: `{url: $TLSHOST, robotAccount: o+r, serviceAccountRef: {name: default}}`},
		"cloudsmith-tls":   {kind: genv1alpha1.CloudsmithAccessTokenKind, spec: `{apiUrl: $TLSHOOK/json, orgSlug: o, serviceSlug: s, serviceAccountRef: {name: default}}`},
		"hook-template":    {kind: genv1alpha1.WebhookKind, spec: `{url: $HOOK/json, result: {}, secrets: [{name: creds, secretRef: {name: creds}}], body: "{{ .creds.token | fail }}"}`},
		"hook-path":        {kind: genv1alpha1.WebhookKind, spec: `{url: $HOOK/json, result: {jsonPath: $.none}, secrets: [{name: creds, secretRef: {name: creds}}]}`},
		"hook-label":       {kind: genv1alpha1.WebhookKind, spec: `{url: $HOOK/json, result: {}, secrets: [{name: root, secretRef: {name: root}}]}`},
		"hook-url":         {kind: genv1alpha1.WebhookKind, spec: `{url: "http://127.0.0.1:{{ .creds.token }}/", result: {}, secrets: [{name: creds, secretRef: {name: creds}}]}`},
	}
	for _, kind := range []string{genv1alpha1.ECRAuthorizationTokenKind, genv1alpha1.STSSessionTokenKind} {
		for _, who := range []string{"weak", "throttled", "down", "unknown"} {
			spec := strings.Replace(amazon("X", who, ""), "service: X, ", "", 1)
			out[strings.ToLower(kind)+"-"+who] = making{kind: kind, spec: strings.TrimPrefix(spec, "aws: ")}
		}
	}
	for name, f := range vaultFailures() {
		if f.spec == "" {
			out["vault-"+name] = making{kind: genv1alpha1.VaultDynamicSecretKind, spec: `{path: secret/metadata/none, provider: ` + f.provider + `}`}
		}
	}
	for _, path := range []string{"302", "400", "401", "403", "404", "429", "500", "garbage", "malformed", "reason", "header", "length", "truncated"} {
		at := "$HOOK/" + path
		out["github-"+path] = making{kind: genv1alpha1.GithubAccessTokenKind, spec: `{url: ` + at + `, appID: "1", installID: "2", auth: {privateKey: {secretRef: {name: keys, key: rsa}}}}`}
		out["gitlab-"+path] = making{kind: genv1alpha1.GitlabDeployTokenKind, spec: `{url: ` + at + `, projectID: "1", name: robot, scopes: [read_registry], auth: {token: {secretRef: {name: creds, key: token}}}}`}
		out["grafana-"+path] = making{kind: genv1alpha1.GrafanaKind, spec: `{url: ` + at + `, serviceAccount: {name: robot, role: Viewer}, auth: {token: {name: creds, key: token}}}`}
		out["grafana-basic-"+path] = making{kind: genv1alpha1.GrafanaKind, spec: `{url: ` + at + `, serviceAccount: {name: robot, role: Viewer}, auth: {basic: {username: u, password: {name: creds, key: password}}}}`}
		out["cloudsmith-"+path] = making{kind: genv1alpha1.CloudsmithAccessTokenKind, spec: `{apiUrl: ` + at + `, orgSlug: o, serviceSlug: s, serviceAccountRef: {name: default}}`}
		out["gcr-"+path] = making{kind: genv1alpha1.GCRAccessTokenKind, spec: `{projectID: p, auth: {secretRef: {secretAccessKeySecretRef: {name: google, key: key-` + path + `}}}}`}
		out["hook-"+path] = making{kind: genv1alpha1.WebhookKind, spec: `{url: "` + at + `/{{ .creds.password }}", result: {}, secrets: [{name: creds, secretRef: {name: creds}}], headers: {Authorization: "Bearer {{ .creds.token }}"}}`}
	}
	return out
}

func TestNoFailureToWriteOrToMakeShowsAMarkedValue(t *testing.T) {
	const stem = "Wq3Canary5Xt"
	w := newWorld(t, testenv.StartCluster(t))
	bao, sealed := testenv.OpenBao(t), testenv.StartOpenBao(t)
	cloud := amazonWith(t, stem)
	plain, secure := newHook(t, "127.0.0.1", stem+"answer", false), newHook(t, "127.0.0.1", stem+"answer", true)
	c := &canary{world: w, stem: stem, replacer: strings.NewReplacer(
		"MARK", stem, "$B64MARK", base64.StdEncoding.EncodeToString([]byte(stem+"bundle")), "$NS", w.namespace,
		"$BAO", bao.Address, "$TLSBAO", bao.TLSAddress, "$SEALED", sealed.Address, "$HOOK", plain.URL, "$TLSHOOK", secure.URL,
		"$TLSHOST", strings.TrimPrefix(secure.URL, "https://"),
		"$APICA", base64.StdEncoding.EncodeToString(w.plane.Config().CAData), "$API", w.plane.Config().Host,
	)}
	c.plant(bao)
	c.plantMore(plain)
	c.obstruct()
	if _, err := sealed.Do(t.Context(), http.MethodPut, "sys/seal", nil); err != nil {
		t.Fatal(err)
	}
	p := startController(t, w.plane.Kubeconfig(), "--loglevel=debug", "--egress-allow=127.0.0.0/8", "--enable-flood-gate=false")
	pushes, made := c.pushAll(), c.makeAll()
	c.spread()
	eventually(t, 3*time.Minute, func() string { return c.unlooked(pushes) })
	t.Logf("%d failures to push, %d to make; %d calls to AWS", len(pushes), len(made), len(cloud.Calls()))
	c.comb(p, c.goodOnes())
	c.command()
}

// amazonWith is AWS with an access key for each way to fail.
func amazonWith(t *testing.T, stem string) *awstest.Server {
	t.Helper()
	s := awstest.Start(t, clock{})
	for _, name := range []string{"AWS_SECRETSMANAGER_ENDPOINT", "AWS_SSM_ENDPOINT", "AWS_STS_ENDPOINT", "AWS_ECR_ENDPOINT"} {
		t.Setenv(name, s.URL)
	}
	s.Trust(awstest.Identity{AccessKey: stem + "good"})
	s.Trust(awstest.Identity{AccessKey: stem + "weak", Denied: []string{"*"}})
	s.Trust(awstest.Identity{AccessKey: stem + "throttled", Situation: awstest.Throttled})
	s.Trust(awstest.Identity{AccessKey: stem + "down", Situation: awstest.Down})
	return s
}

// plantMore makes the source of the pushes, and the credentials of the generators.
func (c *canary) plantMore(h *hook) {
	c.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	google := map[string]string{"broken": c.text(`{"type": "external_account", "audience": "MARKgoogle", %%`)}
	for name := range makings() {
		if path, ok := strings.CutPrefix(name, "gcr-"); ok {
			google["key-"+path] = text(c.t, map[string]string{"type": "service_account", "client_email": c.text("a@MARKgoogle"), "private_key_id": "1", "private_key": private, "token_uri": h.URL + "/" + path})
		}
	}
	c.create(
		&corev1.Secret{ObjectMeta: c.meta("source"), Data: map[string][]byte{"v": []byte(c.text("MARKplain")), "json": []byte(c.text(`{"user":"MARKuser"}`)), "bytes": []byte(c.text("\xff\xfeMARKbytes"))}},
		&corev1.Secret{ObjectMeta: c.meta("large"), StringData: map[string]string{"v": strings.Repeat(c.text("MARKlarge "), 32_000)}},
		&corev1.Secret{ObjectMeta: c.meta("amazon"), StringData: map[string]string{"good": c.text("MARKgood"), "weak": c.text("MARKweak"), "throttled": c.text("MARKthrottled"), "down": c.text("MARKdown"), "unknown": c.text("MARKunknown")}},
		&corev1.Secret{ObjectMeta: c.meta("keys"), StringData: map[string]string{"rsa": private}},
		&corev1.Secret{ObjectMeta: c.meta("google"), StringData: google},
		&corev1.ConfigMap{ObjectMeta: c.meta("google"), Data: google},
	)
}

// pushAll creates what is to fail to push, and returns what the API server took.
func (c *canary) pushAll() map[string]string {
	c.t.Helper()
	taken := map[string]string{}
	table := pushFailures()
	for _, name := range slices.Sorted(maps.Keys(table)) {
		f, store := table[name], "values"
		if f.provider != "" {
			store = name
			if err := c.apply(esv1.SecretStoreKind, name, c.text("{provider: {"+f.provider+"}, retrySettings: {maxRetries: 0}}")); err != nil {
				continue
			}
		}
		spec := strings.ReplaceAll(f.spec, "$STORE", store)
		if !strings.Contains(spec, "selector:") {
			spec = `selector: {secret: {name: source}}, ` + spec
		}
		if err := c.apply(v1alpha1.PushSecretKind, name, c.text(`{deletionPolicy: Delete, secretStoreRefs: [{name: `+store+`}], `+spec+`}`)); err == nil {
			taken[name] = f.want
		} else {
			c.t.Logf("%s: %v", name, err)
		}
	}
	return taken
}

// makeAll creates the generators, an ExternalSecret and a PushSecret for each, and
// returns which of them there are.
func (c *canary) makeAll() map[string]making {
	c.t.Helper()
	taken := map[string]making{}
	table := makings()
	for _, name := range slices.Sorted(maps.Keys(table)) {
		m := table[name]
		if err := c.apply(m.kind, name, c.text(m.spec)); err != nil {
			c.t.Logf("%s: %v", name, err)
			continue
		}
		taken[name] = m
		target := ""
		if m.target != "" {
			target = `target: {name: ` + m.target + `}, `
		}
		ref := `generatorRef: {kind: ` + m.kind + `, name: ` + name + `}`
		if err := c.apply(esv1.ExtSecretKind, "g-"+name, `{`+target+`dataFrom: [{sourceRef: {`+ref+`}`+m.use+`}]}`); err != nil {
			c.t.Fatal(err)
		}
		if err := c.apply(v1alpha1.PushSecretKind, "g-"+name, `{secretStoreRefs: [{name: values}], selector: {`+ref+`}, data: [{match: {secretKey: v, remoteRef: {remoteKey: plain, property: p}}}]}`); err != nil {
			c.t.Fatal(err)
		}
	}
	return taken
}

// spread makes what is cluster-wide, of which every namespace's part fails.
func (c *canary) spread() {
	c.t.Helper()
	selector := `namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: $NS}}]`
	for _, o := range []struct{ kind, name, spec string }{
		{genv1alpha1.ClusterGeneratorKind, "canary", `{kind: Fake, generator: {fakeSpec: {data: {v: MARKcluster}}}}`},
		{genv1alpha1.ClusterGeneratorKind, "canary-hook", `{kind: Webhook, generator: {webhookSpec: {url: $HOOK/500, result: {}, secrets: [{name: creds, secretRef: {name: creds}}], body: "{{ .creds.token }}"}}}`},
		{esv1.ExtSecretKind, "cluster-made", `{dataFrom: [{sourceRef: {generatorRef: {kind: ClusterGenerator, name: canary}}, rewrite: [{transform: {template: "{{ .value | fail }}"}}]}]}`},
		{esv1.ExtSecretKind, "cluster-hook", `{dataFrom: [{sourceRef: {generatorRef: {kind: ClusterGenerator, name: canary-hook}}}]}`},
		{"ClusterExternalSecret", "canary", `{` + selector + `, externalSecretName: spread, externalSecretSpec: {secretStoreRef: {name: values}, target: {template: {data: {v: "{{ .v | fail }}"}}}, data: [{secretKey: v, remoteRef: {key: plain}}]}}`},
		{"ClusterExternalSecret", "canary-taken", `{` + selector + `, externalSecretName: cluster-made, externalSecretSpec: {secretStoreRef: {name: values}, data: [{secretKey: v, remoteRef: {key: plain}}]}}`},
		{v1alpha1.ClusterPushSecretKind, "canary", `{` + selector + `, pushSecretName: spread, pushSecretSpec: {secretStoreRefs: [{name: values}], selector: {secret: {name: source}}, template: {data: {v: "{{ .v | fail }}"}}, data: [{match: {secretKey: v, remoteRef: {remoteKey: out}}}]}}`},
		{v1alpha1.ClusterPushSecretKind, "canary-taken", `{` + selector + `, pushSecretName: g-mfa, pushSecretSpec: {secretStoreRefs: [{name: values}], selector: {secret: {name: source}}, data: [{match: {secretKey: v, remoteRef: {remoteKey: out}}}]}}`},
	} {
		if err := c.apply(o.kind, o.name, c.text(o.spec)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// lack says how an object has not failed as it should; empty if it has. Those "looked"
// at may have succeeded.
func lack(name, want string, status corev1.ConditionStatus, message string) string {
	kind, _, _ := strings.Cut(message, ":")
	ok := status == corev1.ConditionFalse && (want == "any" || want == kind)
	if want == "looked" {
		ok = status != "missing"
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("%s: want %s, is %s: %s", name, want, status, message)
}

// unlooked says which objects have not failed as they should.
func (c *canary) unlooked(pushes map[string]string) string {
	c.t.Helper()
	var list v1alpha1.PushSecretList
	if err := c.api.List(c.t.Context(), &list, client.InNamespace(c.namespace)); err != nil {
		c.t.Fatal(err)
	}
	var missing []string
	for _, ps := range list.Items {
		got, want := pushReady(&ps), pushes[ps.Name]
		missing = append(missing, lack("PushSecret "+ps.Name, cmp.Or(want, "any"), got.Status, got.Message))
	}
	for _, es := range c.externals() {
		got := ready(&es)
		missing = append(missing, lack(es.Name, "any", got.Status, got.Message))
	}
	for _, kind := range []string{"ClusterExternalSecret", v1alpha1.ClusterPushSecretKind} {
		for _, o := range c.raw(c.t.Context(), kind) {
			if failed, _, _ := unstructured.NestedSlice(o.Object, "status", "failedNamespaces"); o.GetName() == "canary-taken" && len(failed) == 0 {
				missing = append(missing, kind+" canary-taken does not say what failed")
			}
		}
	}
	return strings.Join(slices.DeleteFunc(missing, func(s string) bool { return s == "" }), "\n")
}

// goodOnes makes what succeeds, and returns every value that was made.
func (c *canary) goodOnes() []string {
	c.t.Helper()
	for name, o := range map[string][2]string{
		"good-password": {genv1alpha1.PasswordKind, `{length: 24, digits: 5, symbols: 5, noUpper: false, allowRepeat: true}`},
		"good-sshkey":   {genv1alpha1.SSHKeyKind, `{keyType: ed25519}`},
		"good-token":    {genv1alpha1.VaultDynamicSecretKind, `{path: auth/token/create, method: POST, parameters: {policies: [default], ttl: 1h}, resultType: Auth, provider: {server: $BAO, auth: {tokenSecretRef: {name: root, key: token}}}}`},
	} {
		if err := c.apply(o[0], name, c.text(o[1])); err != nil {
			c.t.Fatal(err)
		}
		if err := c.apply(esv1.ExtSecretKind, name, `{dataFrom: [{sourceRef: {generatorRef: {kind: `+o[0]+`, name: `+name+`}}}]}`); err != nil {
			c.t.Fatal(err)
		}
	}
	var out []string
	eventually(c.t, time.Minute, func() string {
		if out = c.made("good-"); len(out) < 3 {
			return fmt.Sprintf("%d of three values are made", len(out))
		}
		return ""
	})
	if len(c.raw(c.t.Context(), genv1alpha1.GeneratorStateKind)) == 0 {
		c.t.Error("there is no GeneratorState to look at")
	}
	return out
}

// made returns the secret values in the Secrets whose names begin so: the long ones, but
// for what may be shown.
func (c *canary) made(prefix string) []string {
	c.t.Helper()
	var out []string
	for name, s := range c.targets() {
		for key, value := range s.Data {
			shown := key == "publicKey" || key == "accessor" || strings.Trim(string(value), "0123456789.") == ""
			if strings.HasPrefix(name, prefix) && !shown && len(value) > 12 {
				out = append(out, strings.TrimSpace(string(value)))
			}
		}
	}
	return out
}

// comb looks for the marks, and for what was made, everywhere but in the data of Secrets
// and in the specs that hold them.
func (c *canary) comb(p *process, made []string) {
	c.t.Helper()
	values := []string{c.stem + "answer"}
	for _, name := range []string{"plain", "user", "bytes", "token", "password", "good", "weak", "throttled", "down", "unknown", "google", "made", "cluster", "-bao"} {
		values = append(values, c.stem+name)
	}
	scanners := []scanner{newScanner(c.stem, slices.Concat(values, made)), newScanner(providertest.Mark, nil)}
	for _, v := range made {
		scanners = append(scanners, newScanner(v, nil))
	}
	look := func(where, text string) {
		for _, s := range scanners {
			for _, found := range s.find(text) {
				c.t.Errorf("%s gives away %s", where, found)
			}
		}
	}
	look("the log", p.log.String())
	look("the metrics", p.scrape())
	for _, kind := range []string{
		"Event", esv1.ExtSecretKind, v1alpha1.PushSecretKind, "ClusterExternalSecret", v1alpha1.ClusterPushSecretKind, genv1alpha1.ClusterGeneratorKind,
		genv1alpha1.GeneratorStateKind, esv1.SecretStoreKind, esv1.ClusterSecretStoreKind, "Secret", "ConfigMap",
	} {
		all := c.raw(c.t.Context(), kind)
		if len(all) == 0 && kind != esv1.ClusterSecretStoreKind {
			c.t.Errorf("there is no %s to look at", kind)
		}
		for _, o := range all {
			if kind != "Event" && kind != genv1alpha1.GeneratorStateKind { // the manifest is the user's
				delete(o.Object, "spec")
				delete(o.Object, "data")
			}
			look(kind+" "+o.GetName(), text(c.t, o.Object))
		}
	}
}

// command runs the same generators without Kubernetes, and looks at what that prints.
func (c *canary) command() {
	c.t.Helper()
	var manifests []string
	add := func(o map[string]any) { manifests = append(manifests, text(c.t, o)) }
	for _, name := range []string{"creds", "keys", "google", "root", "amazon"} {
		var s corev1.Secret
		if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: name}, &s); err != nil {
			c.t.Fatal(err)
		}
		add(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": c.namespace, "labels": s.Labels}, "data": s.Data})
	}
	for name, m := range makings() {
		var spec map[string]any
		if err := yaml.Unmarshal([]byte(c.text(m.spec)), &spec); err != nil {
			c.t.Fatal(err)
		}
		meta := metav1.ObjectMeta{Name: name, Namespace: c.namespace}
		add(map[string]any{"apiVersion": kindOf(m.kind).GroupVersion().String(), "kind": m.kind, "metadata": meta, "spec": spec})
		add(map[string]any{"apiVersion": esv1.GroupVersion().String(), "kind": esv1.ExtSecretKind, "metadata": meta, "spec": map[string]any{
			"dataFrom": []any{map[string]any{"sourceRef": map[string]any{"generatorRef": map[string]any{"kind": m.kind, "name": name}}}},
		}})
	}
	file := filepath.Join(c.t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(manifests, "\n---\n")), 0o600); err != nil {
		c.t.Fatal(err)
	}
	path, err := binary()
	if err != nil {
		c.t.Fatal(err)
	}
	printed, err := exec.CommandContext(c.t.Context(), path, "sync", "-f", file, "--out", c.t.TempDir(), "--timeout=40s").CombinedOutput()
	if err == nil || !strings.Contains(string(printed), "grafana-500") {
		c.t.Errorf("the command did not fail: %v %s", err, tail(string(printed), 500))
	}
	for _, found := range newScanner(c.stem, nil).find(string(printed)) {
		c.t.Errorf("keyferry sync gives away %s", found)
	}
}
