package faults_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/internal/testenv"
)

// failing is a way to fail. It makes an ExternalSecret, and its own SecretStore if
// there is a provider. MARK in it is the stem of the marks; the words after a dollar
// are the servers.
type failing struct {
	provider string
	spec     string // of the ExternalSecret; empty reads the property value of the key app
	want     string // the kind of the error; empty for none
}

const plainSpec = `{data: [{secretKey: v, remoteRef: {key: app, property: value}}]}`

// vaultFailures are for vault; openBao has those that do not name another method.
func vaultFailures() map[string]failing {
	out := map[string]failing{
		"token":        {provider: `{server: $BAO, path: secret, auth: {tokenSecretRef: {name: creds, key: token}}}`, want: "Unauthenticated"},
		"token-breaks": {provider: `{server: $BAO, path: secret, auth: {tokenSecretRef: {name: creds, key: lines}}}`, want: "Unauthenticated"},
		"key":          {provider: `{server: $BAO, path: secret, auth: {tokenSecretRef: {name: creds, key: absent}}}`, want: "Unauthenticated"},
		"approle":      {provider: `{server: $BAO, path: secret, auth: {appRole: {path: approle, roleRef: {name: creds, key: token}, secretRef: {name: creds, key: password}}}}`, want: "Unauthenticated"},
		"userpass":     {provider: `{server: $BAO, path: secret, auth: {userPass: {path: userpass, username: ada, secretRef: {name: creds, key: password}}}}`, want: "Unauthenticated"},
		"limited":      {provider: `{server: $BAO, path: secret, auth: {tokenSecretRef: {name: limited, key: token}}}`, want: "Denied"},
		"absent":       {provider: `{server: $BAO, path: secret, auth: {tokenSecretRef: {name: root, key: token}}}`, spec: `{data: [{secretKey: v, remoteRef: {key: none}}]}`, want: "NotFound"},
		"property":     {provider: `{server: $BAO, path: secret, auth: {tokenSecretRef: {name: root, key: token}}}`, spec: `{data: [{secretKey: v, remoteRef: {key: app, property: none}}]}`, want: "NotFound"},
		"mount":        {provider: `{server: $BAO, path: nowhere, auth: {tokenSecretRef: {name: root, key: token}}}`, want: "Invalid"},
		"kv-version":   {provider: `{server: $BAO, path: secret, version: v1, auth: {tokenSecretRef: {name: root, key: token}}}`, want: "Invalid"},
		"no-version":   {provider: `{server: $BAO, path: secret, auth: {tokenSecretRef: {name: root, key: token}}}`, spec: `{data: [{secretKey: v, remoteRef: {key: app, version: "99"}}]}`, want: "NotFound"},
		"tls":          {provider: `{server: $TLSBAO, path: secret, auth: {tokenSecretRef: {name: creds, key: token}}}`, want: "Invalid"},
		"ca-bundle":    {provider: `{server: $TLSBAO, path: secret, caBundle: $B64MARK, auth: {tokenSecretRef: {name: creds, key: token}}}`, want: "Invalid"},
		"ca-provider":  {provider: `{server: $TLSBAO, path: secret, caProvider: {type: Secret, name: creds, key: pem}, auth: {tokenSecretRef: {name: creds, key: token}}}`, want: "Invalid"},
		"sealed":       {provider: `{server: $SEALED, path: secret, auth: {tokenSecretRef: {name: creds, key: token}}}`, want: "Unavailable"},
		"nobody-there": {provider: `{server: "http://127.0.0.1:1", path: secret, auth: {tokenSecretRef: {name: creds, key: token}}}`, want: "Unavailable"},
		"decode":       {provider: `{server: $BAO, path: secret, auth: {tokenSecretRef: {name: root, key: token}}}`, spec: `{data: [{secretKey: v, remoteRef: {key: app, property: value, decodingStrategy: Base64}}]}`, want: "Invalid"},
	}
	for _, path := range []string{"302", "400", "401", "403", "404", "429", "500", "503", "garbage", "malformed", "status", "reason", "header", "length", "chunked", "encoding", "truncated"} {
		out["answer-"+path] = failing{provider: `{server: $HOOK/` + path + `, path: secret, auth: {tokenSecretRef: {name: creds, key: token}}}`, want: "any"}
	}
	return out
}

func otherVaultFailures() map[string]failing {
	return map[string]failing{
		"vault-ldap":       {provider: `vault: {server: $BAO, path: secret, auth: {ldap: {path: ldap, username: ada, secretRef: {name: creds, key: password}}}}`, want: "any"},
		"vault-jwt":        {provider: `vault: {server: $BAO, path: secret, auth: {jwt: {path: jwt, role: r, secretRef: {name: creds, key: token}}}}`, want: "any"},
		"vault-kubernetes": {provider: `vault: {server: $BAO, path: secret, auth: {kubernetes: {mountPath: kubernetes, role: r, secretRef: {name: creds, key: token}}}}`, want: "any"},
		"vault-cert":       {provider: `vault: {server: $TLSBAO, path: secret, auth: {cert: {clientCert: {name: creds, key: pem}, secretRef: {name: creds, key: pem}}}}`, want: "Invalid"},
		"vault-client-tls": {provider: `vault: {server: $TLSBAO, path: secret, tls: {certSecretRef: {name: creds, key: pem}, keySecretRef: {name: creds, key: pem}}, auth: {tokenSecretRef: {name: creds, key: token}}}`, want: "Invalid"},
		"vault-header":     {provider: `vault: {server: $BAO, path: secret, headers: {X-Key: "MARKheader\nMARKheader"}, auth: {tokenSecretRef: {name: root, key: token}}}`, want: "Invalid"},
		"vault-server":     {provider: `vault: {server: "http://ada:MARKurl@127.0.0.1:1", path: secret, auth: {tokenSecretRef: {name: creds, key: token}}}`, want: "any"},
		"vault-no-account": {provider: `vault: {server: $BAO, path: secret, auth: {kubernetes: {mountPath: kubernetes, role: r, serviceAccountRef: {name: nobody}}}}`, want: "Unauthenticated"},
	}
}

func kubernetesFailures() map[string]failing {
	return map[string]failing{
		"k8s-token":         {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $API, caBundle: $APICA}, auth: {token: {bearerToken: {name: creds, key: token}}}}`, want: "Unauthenticated"},
		"k8s-token-breaks":  {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $API, caBundle: $APICA}, auth: {token: {bearerToken: {name: creds, key: lines}}}}`, want: "Unauthenticated"},
		"k8s-cert":          {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $API, caBundle: $APICA}, auth: {cert: {clientCert: {name: creds, key: pem}, clientKey: {name: creds, key: pem}}}}`, want: "Invalid"},
		"k8s-ca":            {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $API, caProvider: {type: Secret, name: creds, key: pem}}, auth: {token: {bearerToken: {name: creds, key: token}}}}`, want: "Invalid"},
		"k8s-tls":           {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $API}, auth: {token: {bearerToken: {name: creds, key: token}}}}`, want: "Invalid"},
		"k8s-denied":        {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $API, caBundle: $APICA}, auth: {serviceAccount: {name: default}}}`, want: "Denied"},
		"k8s-no-account":    {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $API, caBundle: $APICA}, auth: {serviceAccount: {name: nobody}}}`, want: "Unauthenticated"},
		"k8s-absent":        {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $API, caBundle: $APICA}, auth: {cert: {clientCert: {name: admin, key: cert}, clientKey: {name: admin, key: key}}}}`, want: "NotFound"},
		"k8s-property":      {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $API, caBundle: $APICA}, auth: {cert: {clientCert: {name: admin, key: cert}, clientKey: {name: admin, key: key}}}}`, spec: `{data: [{secretKey: v, remoteRef: {key: creds, property: none}}]}`, want: "NotFound"},
		"k8s-kubeconfig":    {provider: `kubernetes: {remoteNamespace: $NS, authRef: {name: creds, key: lines}}`, want: "Invalid"},
		"k8s-exec":          {provider: `kubernetes: {remoteNamespace: $NS, authRef: {name: creds, key: exec}}`, want: "Invalid"},
		"k8s-url":           {provider: `kubernetes: {remoteNamespace: $NS, server: {url: "https://ada:MARKurl@127.0.0.1:1"}, auth: {token: {bearerToken: {name: creds, key: token}}}}`, want: "Invalid"},
		"k8s-answer-401":    {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $HOOK/401}, auth: {token: {bearerToken: {name: creds, key: token}}}}`, want: "Unauthenticated"},
		"k8s-answer-500":    {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $HOOK/500}, auth: {token: {bearerToken: {name: creds, key: token}}}}`, want: "Unavailable"},
		"k8s-answer-302":    {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $HOOK/302}, auth: {token: {bearerToken: {name: creds, key: token}}}}`, want: "any"},
		"k8s-answer-broken": {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $HOOK/malformed}, auth: {token: {bearerToken: {name: creds, key: token}}}}`, want: "any"},
		"k8s-answer-other":  {provider: `kubernetes: {remoteNamespace: $NS, server: {url: $HOOK/json}, auth: {token: {bearerToken: {name: creds, key: token}}}}`, want: "any"},
	}
}

func webhookFailures() map[string]failing {
	const secrets = `secrets: [{name: creds, secretRef: {name: creds}}]`
	out := map[string]failing{
		"hook-json-path":   {provider: `webhook: {url: $HOOK/garbage, result: {jsonPath: $.value}}`, want: "Invalid"},
		"hook-no-match":    {provider: `webhook: {url: $HOOK/json, result: {jsonPath: $.none}}`, want: "any"},
		"hook-bad-path":    {provider: `webhook: {url: $HOOK/json, ` + secrets + `, result: {jsonPath: "$[{{ .creds.token }}"}}`, want: "Invalid"},
		"hook-slow":        {provider: `webhook: {url: $HOOK/slow, timeout: 1s}`, want: "Unavailable"},
		"hook-tls":         {provider: `webhook: {url: "$TLSHOOK/json?token={{ .creds.token }}", ` + secrets + `}`, want: "Invalid"},
		"hook-ca":          {provider: `webhook: {url: $TLSHOOK/json, caBundle: $B64MARK}`, want: "Invalid"},
		"hook-ca-provider": {provider: `webhook: {url: $TLSHOOK/json, caProvider: {type: Secret, name: creds, key: pem}}`, want: "Invalid"},
		"hook-header":      {provider: `webhook: {url: $HOOK/json, ` + secrets + `, headers: {X-Key: "{{ .creds.lines }}"}}`, want: "Invalid"},
		"hook-host":        {provider: `webhook: {url: "http://{{ .creds.token }}.invalid/", ` + secrets + `}`, want: "Unavailable"},
		"hook-port":        {provider: `webhook: {url: "http://127.0.0.1:{{ .creds.token }}/", ` + secrets + `}`, want: "Invalid"},
		"hook-url":         {provider: `webhook: {url: "http://127.0.0.1:1/%{{ .creds.token }}", ` + secrets + `}`, want: "any"},
		"hook-nobody":      {provider: `webhook: {url: "http://ada:{{ .creds.password }}@127.0.0.1:1/?q={{ .creds.token }}", ` + secrets + `}`, want: "Unavailable"},
		"hook-template":    {provider: `webhook: {url: $HOOK/json, ` + secrets + `, body: "{{ .creds.token | b64dec | fromJson | fail }}"}`, want: "any"},
		"hook-ntlm":        {provider: `webhook: {url: $HOOK/ntlm, auth: {ntlm: {usernameSecret: {name: creds, key: token}, passwordSecret: {name: creds, key: password}}}}`, want: "any"},
		"hook-unlabelled":  {provider: `webhook: {url: $HOOK/json, secrets: [{name: s, secretRef: {name: root}}]}`, want: "Denied"},
	}
	for _, path := range []string{"302", "304", "400", "401", "403", "404", "429", "500", "503", "malformed", "status", "reason", "header", "length", "chunked", "encoding", "truncated"} {
		out["hook-answer-"+path] = failing{provider: `webhook: {url: "$HOOK/` + path + `/{{ .creds.password }}", ` + secrets + `, headers: {Authorization: "Bearer {{ .creds.token }}"}}`, want: "any"}
	}
	return out
}

// valueFailures read from the fake store "values".
func valueFailures() map[string]failing {
	of := func(key, rest string) string {
		return `{data: [{secretKey: v, remoteRef: {key: ` + key + rest + `}}]}`
	}
	out := map[string]failing{
		"fake-invalid":      {provider: `fake: {validationResult: 2, data: [{key: none, value: MARKfake}]}`, want: "NotFound"},
		"fake-absent":       {spec: of("none", ""), want: "NotFound"},
		"fake-metadata":     {spec: of("plain", ", metadataPolicy: Fetch"), want: "Unsupported"},
		"property-of-text":  {spec: of("plain", ", property: a.b"), want: "any"},
		"property-absent":   {spec: of("json", ", property: a.b"), want: "NotFound"},
		"decode-base64":     {spec: of("plain", ", decodingStrategy: Base64"), want: "Invalid"},
		"decode-base64url":  {spec: of("broken", ", decodingStrategy: Base64URL"), want: "Invalid"},
		"null-bytes":        {spec: of("nulls", ", decodingStrategy: Base64, nullBytePolicy: Fail"), want: "Invalid"},
		"extract-text":      {spec: `{dataFrom: [{extract: {key: plain}}]}`, want: "Invalid"},
		"extract-broken":    {spec: `{dataFrom: [{extract: {key: broken}}]}`, want: "Invalid"},
		"extract-decode":    {spec: `{dataFrom: [{extract: {key: json, decodingStrategy: Base64}}]}`, want: "Invalid"},
		"find-regexp":       {spec: `{dataFrom: [{find: {name: {regexp: "["}}}]}`, want: "Invalid"},
		"find-tags":         {spec: `{dataFrom: [{find: {tags: {a: b}}}]}`, want: "Unsupported"},
		"find-keys":         {spec: `{dataFrom: [{find: {name: {regexp: "."}}, rewrite: [{regexp: {source: ".*", target: "same"}}]}]}`, want: "Invalid"},
		"rewrite-regexp":    {spec: `{dataFrom: [{extract: {key: json}, rewrite: [{regexp: {source: "(", target: x}}]}]}`, want: "Invalid"},
		"rewrite-transform": {spec: `{dataFrom: [{extract: {key: json}, rewrite: [{transform: {template: "{{ .value | fail }}"}}]}]}`, want: "Invalid"},
		"rewrite-key":       {spec: `{dataFrom: [{extract: {key: json}, rewrite: [{transform: {template: "a b/{{ .value }}"}}]}]}`, want: "Invalid"},
		"rewrite-merge":     {spec: `{dataFrom: [{find: {name: {regexp: "."}}, rewrite: [{merge: {strategy: Extract}}]}]}`, want: "Invalid"},
		"rewrite-conflict":  {spec: `{dataFrom: [{find: {name: {regexp: "json|again"}}, rewrite: [{merge: {strategy: Extract, conflictPolicy: Error}}]}]}`, want: "Invalid"},
		"same-key":          {spec: `{data: [{secretKey: v, remoteRef: {key: plain}}, {secretKey: v, remoteRef: {key: json}}]}`, want: "any"},
		"too-large":         {spec: `{data: [{secretKey: a, remoteRef: {key: large}}, {secretKey: b, remoteRef: {key: large}}, {secretKey: c, remoteRef: {key: large}}, {secretKey: d, remoteRef: {key: large}}]}`, want: "Invalid"},
		"type-tls":          {spec: `{target: {template: {type: kubernetes.io/tls}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"type-docker":       {spec: `{target: {template: {type: kubernetes.io/dockerconfigjson, data: {.dockerconfigjson: "{{ .v }}"}}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"type-ssh":          {spec: `{target: {template: {type: kubernetes.io/ssh-auth}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"type-conflict":     {spec: `{target: {name: other-type, creationPolicy: Merge, template: {type: kubernetes.io/basic-auth}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "any"},
		"immutable":         {spec: `{target: {name: frozen, creationPolicy: Merge}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "any"},
		"owned":             {spec: `{target: {name: somebodys}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Conflict"},
		"refused-by-policy": {spec: `{target: {name: refused}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "any"},
		"label-value":       {spec: `{target: {template: {metadata: {labels: {a: "{{ .v }} no label"}}}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"annotation-key":    {spec: `{target: {template: {templateFrom: [{target: Annotations, literal: "a b {{ .v }}: x"}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"label-key":         {spec: `{target: {template: {templateFrom: [{target: Labels, literal: "a b {{ .v }}: x"}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"data-key":          {spec: `{target: {template: {templateFrom: [{literal: "a b {{ .v }}: x"}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"label-made":        {spec: `{target: {template: {templateFrom: [{target: Labels, literal: "{{ .v }}: no label!"}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"key-made":          {spec: `{target: {template: {templateFrom: [{valuesDecodingStrategy: Base64, literal: "{{ .v }}: '%%'"}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"not-yaml":          {spec: `{target: {template: {templateFrom: [{literal: "{{ .v }}: [: {{ .v }}"}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"yaml-anchor":       {spec: `{target: {template: {templateFrom: [{literal: "*{{ .v }}"}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"kept-template":     {spec: `{target: {template: {templateFrom: [{secret: {name: templates, items: [{key: fails}]}}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"kept-literal":      {spec: `{target: {template: {templateFrom: [{secret: {name: templates, items: [{key: literal}]}}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"kept-syntax":       {spec: `{target: {template: {templateFrom: [{secret: {name: templates, items: [{key: syntax}]}}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"kept-function":     {spec: `{target: {template: {templateFrom: [{secret: {name: templates, items: [{key: function}]}}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"kept-yaml":         {spec: `{target: {template: {templateFrom: [{secret: {name: templates, items: [{key: yaml, templateAs: KeysAndValues}]}}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "Invalid"},
		"kept-absent":       {spec: `{target: {template: {templateFrom: [{secret: {name: templates, items: [{key: none}]}}]}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "any"},
	}
	for name, expression := range map[string]string{
		"fail": `.v | fail`, "b64dec": `.v | b64dec`, "b32dec": `.v | b32dec`, "hexdec": `.v | hexdec`, "json": `.v | mustFromJson`,
		"date": `mustToDate "2006" .v`, "regexp": `mustRegexFind "x(" .v`, "regexp-value": `mustRegexFind (print "(" .v) "x"`,
		"index": `index .v 99`, "field": `.v.none`, "missing": `.none`, "call": `call .v`, "slice": `slice .v 90 99`,
		"pkcs12": `.v | pkcs12key`, "pem": `.v | filterCertChain "leaf"`, "jwk": `.v | jwkPublicKeyPem`, "aes": `decryptAES .v .v`,
		"semver": `semver .v`, "url": `urlParse (print "http://a b" .v "%zz")`, "bcrypt": `bcrypt (repeat 9 .v)`, "atoi": `index (list 1) (.v | len)`,
		"rsa": `rsaDecrypt "RSA-OAEP" "SHA256" .v .v`, "size": `repeat 1000000 .v`, "print": `printf "%d %!s(BADINDEX)" .v | fromYaml | fail`,
		"template": `template .v`, "length": `len 3`, "add": `get .v .v`, "dict": `dict .v | toJson | fail`, "yaml": `(print "a: [" .v) | fromYaml | toJson | mustFromJson | fail`,
	} {
		out["template-"+name] = failing{
			spec: `{target: {template: {data: {v: '{{ ` + expression + ` }}'}}}, data: [{secretKey: v, remoteRef: {key: plain}}]}`, want: "any",
		}
	}
	return out
}

// failures is the whole table, by the name of the ExternalSecret.
func failures() map[string]failing {
	out := map[string]failing{}
	for name, f := range vaultFailures() {
		for member, prefix := range map[string]string{"vault": "vault-", "openBao": "bao-"} {
			own := f
			own.provider = member + ": " + f.provider
			out[prefix+name] = own
		}
	}
	for _, more := range []map[string]failing{otherVaultFailures(), kubernetesFailures(), webhookFailures(), valueFailures()} {
		maps.Copy(out, more)
	}
	return out
}

// kindOf returns a kind with its group and version.
func kindOf(kind string) schema.GroupVersionKind {
	switch {
	case slices.Contains([]string{"Event", "Secret", "ConfigMap"}, kind):
		return corev1.SchemeGroupVersion.WithKind(kind)
	case kind == v1alpha1.PushSecretKind, kind == v1alpha1.ClusterPushSecretKind:
		return v1alpha1.GroupVersion().WithKind(kind)
	case slices.Contains(append(genv1alpha1.Kinds(), genv1alpha1.ClusterGeneratorKind, genv1alpha1.GeneratorStateKind), kind):
		return genv1alpha1.GroupVersion().WithKind(kind)
	}
	return esv1.GroupVersion().WithKind(kind)
}

// apply creates what the YAML says, of one of our kinds.
func (w *world) apply(kind, name, spec string) error {
	var decoded map[string]any
	if err := yaml.Unmarshal([]byte(spec), &decoded); err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	o := &unstructured.Unstructured{Object: map[string]any{"spec": decoded}}
	o.SetGroupVersionKind(kindOf(kind))
	o.SetName(name)
	if !strings.HasPrefix(kind, "Cluster") {
		o.SetNamespace(w.namespace)
	}
	return w.api.Create(w.t.Context(), o)
}

func TestNoFailureShowsAMarkedValue(t *testing.T) {
	const stem = "Kq7Canary9Zv"
	w := newWorld(t, testenv.StartCluster(t))
	bao, sealed := testenv.OpenBao(t), testenv.StartOpenBao(t)
	plain, secure := newHook(t, "127.0.0.1", stem+"answer", false), newHook(t, "127.0.0.1", stem+"answer", true)
	c := &canary{world: w, stem: stem, replacer: strings.NewReplacer(
		"MARK", stem, "$B64MARK", base64.StdEncoding.EncodeToString([]byte(stem+"bundle")), "$NS", w.namespace,
		"$BAO", bao.Address, "$TLSBAO", bao.TLSAddress, "$SEALED", sealed.Address, "$HOOK", plain.URL, "$TLSHOOK", secure.URL,
		"$APICA", base64.StdEncoding.EncodeToString(w.plane.Config().CAData), "$API", w.plane.Config().Host,
	)}
	c.plant(bao)
	c.obstruct()
	if _, err := sealed.Do(t.Context(), http.MethodPut, "sys/seal", nil); err != nil {
		t.Fatal(err)
	}
	p := startController(t, w.plane.Kubeconfig(), "--loglevel=debug", "--egress-allow=127.0.0.0/8", "--enable-flood-gate=false")
	table := failures()
	refused := c.applyAll(table)
	eventually(t, 90*time.Second, func() string { return c.outcome(table, refused) })
	t.Logf("%d failures, %d of them refused when they were created", len(table), len(refused))
	c.quota(p)
	c.scan(p)
}

// canary is a world with marks in it.
type canary struct {
	*world
	stem     string
	replacer *strings.Replacer
}

func (c *canary) text(s string) string { return c.replacer.Replace(s) }

// plant makes the credentials, templates and values that are marked.
func (c *canary) plant(bao *testenv.Bao) {
	c.t.Helper()
	for mount, method := range map[string]string{"userpass": "userpass", "approle": "approle", "jwt": "jwt", "kubernetes": "kubernetes", "ldap": "ldap"} {
		// A method that is not there fails too.
		_, _ = bao.Do(c.t.Context(), http.MethodPost, "sys/auth/"+mount, map[string]string{"type": method})
	}
	put(c.t, bao, "app", map[string]string{"value": c.stem + "-bao"})
	token, err := bao.Do(c.t.Context(), http.MethodPost, "auth/token/create", map[string]any{"policies": []string{"default"}, "no_parent": true})
	if err != nil {
		c.t.Fatal(err)
	}
	var answer struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		}
	}
	if err := json.Unmarshal(token, &answer); err != nil {
		c.t.Fatal(err)
	}
	config := c.plane.Config()
	mark := func(s string) string { return strings.ReplaceAll(s, "MARK", c.stem) }
	label := map[string]string{esv1.LabelType: esv1.LabelTypeWebhook}
	creds := &corev1.Secret{ObjectMeta: c.meta("creds"), StringData: map[string]string{
		"token": mark("MARKtoken"), "password": mark("MARKpassword"), "lines": mark("MARKlines: [\nMARKlines"),
		"pem":  mark("-----BEGIN CERTIFICATE-----\nMARKpem\n-----END CERTIFICATE-----\n"),
		"exec": mark("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://MARKhost'}}]\nusers: [{name: u, user: {token: MARKtoken, exec: {command: MARKexec, apiVersion: client.authentication.k8s.io/v1}}}]\n"),
	}}
	creds.Labels = label
	c.create(creds,
		&corev1.Secret{ObjectMeta: c.meta("root"), StringData: map[string]string{"token": bao.RootToken}},
		&corev1.Secret{ObjectMeta: c.meta("limited"), StringData: map[string]string{"token": answer.Auth.ClientToken}},
		&corev1.Secret{ObjectMeta: c.meta("admin"), Data: map[string][]byte{"cert": config.CertData, "key": config.KeyData}},
		&corev1.Secret{ObjectMeta: c.meta("templates"), StringData: map[string]string{
			"fails": mark(`{{ fail (print "MARKfail" .v) }}`), "literal": mark(`{{ "MARKliteral!" | b64dec }}`), "syntax": mark(`MARKsyntax {{ if "MARKsyntax" }} {{ ! MARKsyntax }}`),
			"function": mark(`MARKtext {{ nothing "MARKfunction" .v }}`), "yaml": mark("MARKyaml: [\n  MARKyaml"),
		}},
	)
	nulls := base64.StdEncoding.EncodeToString([]byte(c.stem + "\x00null"))
	values := fmt.Sprintf(`{provider: {fake: {data: [{key: plain, value: "MARKplain"}, {key: json, value: '{"user":"MARKuser!"}'}, {key: again, value: '{"user":"MARKagain"}'},
		{key: broken, value: '{"user":"MARKbroken", %%'}, {key: nulls, value: %q}, {key: large, value: %q}]}}}`, nulls, strings.Repeat(c.stem+"large ", 300_000/18))
	if err := c.apply(esv1.SecretStoreKind, "values", c.text(values)); err != nil {
		c.t.Fatal(err)
	}
}

// obstruct makes what stands in the way of writing.
func (c *canary) obstruct() {
	c.t.Helper()
	frozen := true
	somebodys := &corev1.Secret{ObjectMeta: c.meta("somebodys")}
	somebodys.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "kube-root-ca.crt", UID: "1", Controller: &frozen}}
	c.create(
		&corev1.Secret{ObjectMeta: c.meta("other-type"), StringData: map[string]string{"a": "b"}},
		&corev1.Secret{ObjectMeta: c.meta("frozen"), StringData: map[string]string{"a": "b"}, Immutable: &frozen},
	)
	var configMap corev1.ConfigMap
	eventually(c.t, time.Minute, func() string {
		if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: "kube-root-ca.crt"}, &configMap); err != nil {
			configMap.Name = "templates-owner"
			configMap.Namespace = c.namespace
			if err := c.api.Create(c.t.Context(), &configMap); err != nil {
				return err.Error()
			}
		}
		return ""
	})
	somebodys.OwnerReferences[0].Name, somebodys.OwnerReferences[0].UID = configMap.Name, configMap.UID
	c.create(somebodys)
	// The policy's message quotes the value that it refuses.
	for _, manifest := range []string{
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: refuse}, spec: {failurePolicy: Fail,
			matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets]}]},
			validations: [{expression: "object.metadata.name != 'refused'", messageExpression: "'refused: ' + string(object.data['v'])"}]}}`,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: refuse}, spec: {policyName: refuse, validationActions: [Deny]}}`,
	} {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
			c.t.Fatal(err)
		}
		c.create(o)
	}
	eventually(c.t, time.Minute, func() string {
		err := c.api.Create(c.t.Context(), &corev1.Secret{ObjectMeta: c.meta("refused"), StringData: map[string]string{"v": c.stem + "plain"}}, client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "refused") {
			return fmt.Sprintf("the policy refuses nothing: %v", err)
		}
		return ""
	})
}

// applyAll creates the objects of the table and returns the names of those that the
// API server did not take.
func (c *canary) applyAll(table map[string]failing) map[string]bool {
	c.t.Helper()
	refused := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		f := table[name]
		store := "values"
		if f.provider != "" {
			store = name
			if err := c.apply(esv1.SecretStoreKind, name, c.text("{provider: {"+f.provider+"}}")); err != nil {
				refused[name] = true
				c.t.Logf("%s: %v", name, err)
				continue
			}
		}
		spec := f.spec
		if spec == "" {
			spec = plainSpec
		}
		if err := c.apply(esv1.ExtSecretKind, name, c.text(strings.Replace(spec, "{", "{secretStoreRef: {name: "+store+"}, ", 1))); err != nil {
			refused[name] = true
			c.t.Logf("%s: %v", name, err)
		}
	}
	return refused
}

// outcome says which ExternalSecrets have not failed as the table says.
func (c *canary) outcome(table map[string]failing, refused map[string]bool) string {
	c.t.Helper()
	got := map[string]esv1.ExternalSecretStatusCondition{}
	for _, es := range c.externals() {
		got[es.Name] = ready(&es)
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(table)) {
		condition, want := got[name], table[name].want
		kind, _, _ := strings.Cut(condition.Message, ":")
		if !refused[name] && (condition.Status != corev1.ConditionFalse || want != "any" && want != kind) {
			missing = append(missing, fmt.Sprintf("%s: want %s, is %s: %s", name, want, condition.Status, condition.Message))
		}
	}
	return strings.Join(missing, "\n")
}

// quota lets the API server refuse a write for want of quota.
func (c *canary) quota(p *process) {
	c.t.Helper()
	one := corev1.ResourceList{"count/secrets": resource.MustParse("1")}
	full := &corev1.ResourceQuota{ObjectMeta: c.meta("full"), Spec: corev1.ResourceQuotaSpec{Hard: one}}
	c.create(full)
	merge, err := json.Marshal(map[string]any{"status": corev1.ResourceQuotaStatus{Hard: one, Used: one}})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.api.Status().Patch(c.t.Context(), full, client.RawPatch(types.MergePatchType, merge)); err != nil {
		c.t.Fatal(err)
	}
	before := p.sum(c.t, "externalsecret_sync_calls_error")
	if err := c.apply(esv1.ExtSecretKind, "over-quota", `{secretStoreRef: {name: values}, data: [{secretKey: v, remoteRef: {key: plain}}]}`); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, 30*time.Second, func() string {
		if p.sum(c.t, "externalsecret_sync_calls_error") <= before {
			return "nothing failed for want of quota"
		}
		return c.outcome(map[string]failing{"over-quota": {want: "Denied"}}, nil)
	})
}

// scan looks for the marks everywhere but in the data of Secrets, and in the specs
// that hold them.
func (c *canary) scan(p *process) {
	c.t.Helper()
	var planted strings.Builder
	for _, f := range failures() {
		planted.WriteString(c.text(f.provider + f.spec))
	}
	values := append(marked(c.stem, planted.String()), c.stem+"-bao", c.stem+"plain", c.stem+"token", c.stem+"password", c.stem+"user", c.stem+"answer")
	s := newScanner(c.stem, values)
	look := func(where, text string) {
		for _, found := range s.find(text) {
			c.t.Errorf("%s gives away %s", where, found)
		}
	}
	look("the log", p.log.String())
	look("the metrics", p.scrape())
	if !regexp.MustCompile(`"level":"debug"`).MatchString(p.log.String()) {
		c.t.Error("the log has no line of level debug: the highest level was not tried")
	}
	for _, kind := range []string{"Event", "ExternalSecret", "SecretStore", "ClusterSecretStore", "Secret", "ConfigMap"} {
		for _, o := range c.raw(c.t.Context(), kind) {
			if kind != "Event" { // the manifest is the user's, and the data is where values belong
				delete(o.Object, "spec")
				delete(o.Object, "data")
			}
			text, err := json.Marshal(o.Object)
			if err != nil {
				c.t.Fatal(err)
			}
			if strings.Contains(string(text), esv1.AnnotationDataHash) {
				c.t.Errorf("%s %s has a digest of its data", kind, o.GetName())
			}
			look(kind+" "+o.GetName(), string(text))
		}
	}
	if events := c.raw(c.t.Context(), "Event"); len(events) < 50 {
		c.t.Errorf("%d events: too few to have looked at", len(events))
	}
}

// raw lists all objects of a kind as they are.
func (c *canary) raw(ctx context.Context, kind string) []unstructured.Unstructured {
	c.t.Helper()
	list := &unstructured.UnstructuredList{}
	gvk := kindOf(kind)
	gvk.Kind += "List"
	list.SetGroupVersionKind(gvk)
	if err := c.api.List(ctx, list); err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}
