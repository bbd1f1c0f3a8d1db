package faults_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/api/externalsecrets/v1alpha1"
	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
)

// pushAttempts name the victim's objects by the fields of a PushSecret.
func pushAttempts() map[string]string {
	const (
		to   = `secretStoreRefs: [{name: plain}]`
		own  = `selector: {secret: {name: own}}`
		data = `data: [{match: {secretKey: token, remoteRef: {remoteKey: out}}}]`
		meta = `{apiVersion: kubernetes.external-secrets.io/v1alpha1, kind: PushSecretMetadata, spec: {remoteNamespace: $VICTIM}}`
	)
	return map[string]string{
		"push-store":                   `{secretStoreRefs: [{name: victims}], ` + own + `, ` + data + `}`,
		"push-store-path":              `{secretStoreRefs: [{name: $VICTIM/victims}], ` + own + `, ` + data + `}`,
		"push-store-in":                `{secretStoreRefs: [{name: victims, namespace: $VICTIM}], ` + own + `, ` + data + `}`,
		"push-store-label":             `{secretStoreRefs: [{labelSelector: {matchLabels: {of: victim}}}], ` + own + `, ` + data + `}`,
		"push-store-for-others":        `{secretStoreRefs: [{name: for-others, kind: ClusterSecretStore}], ` + own + `, ` + data + `}`,
		"push-store-for-others-label":  `{secretStoreRefs: [{labelSelector: {matchLabels: {for: others}}, kind: ClusterSecretStore}], ` + own + `, ` + data + `}`,
		"push-secret":                  `{` + to + `, selector: {secret: {name: x}}, ` + data + `}`,
		"push-secret-in":               `{` + to + `, selector: {secret: {name: x, namespace: $VICTIM}}, ` + data + `}`,
		"push-secret-path":             `{` + to + `, selector: {secret: {name: ../$VICTIM/x}}, ` + data + `}`,
		"push-secret-label":            `{` + to + `, selector: {secret: {selector: {matchLabels: {of: victim}}}}, ` + data + `}`,
		"push-generator":               `{` + to + `, selector: {generatorRef: {kind: Fake, name: victims}}, ` + data + `}`,
		"push-generator-in":            `{` + to + `, selector: {generatorRef: {kind: Fake, name: victims, namespace: $VICTIM}}, ` + data + `}`,
		"push-generator-path":          `{` + to + `, selector: {generatorRef: {kind: Fake, name: $VICTIM/victims}}, ` + data + `}`,
		"push-data-to":                 `{` + to + `, ` + own + `, dataTo: [{storeRef: {name: victims}}]}`,
		"push-data-to-label":           `{` + to + `, ` + own + `, dataTo: [{storeRef: {labelSelector: {matchLabels: {of: victim}}}}]}`,
		"push-template-configmap":      `{` + to + `, ` + own + `, template: {templateFrom: [{configMap: {name: x, items: [{key: token}]}}]}, ` + data + `}`,
		"push-template-configmap-path": `{` + to + `, ` + own + `, template: {templateFrom: [{configMap: {name: ../$VICTIM/x, items: [{key: token}]}}]}, ` + data + `}`,
		"push-template-secret":         `{` + to + `, ` + own + `, template: {templateFrom: [{secret: {name: x, items: [{key: token}]}}]}, ` + data + `}`,
		"push-template-secret-in":      `{` + to + `, ` + own + `, template: {templateFrom: [{secret: {name: x, namespace: $VICTIM, items: [{key: token}]}}]}, ` + data + `}`,
		"push-template-lookup":         `{` + to + `, ` + own + `, template: {data: {token: '{{ lookup "v1" "Secret" "$VICTIM" "x" }}'}}, ` + data + `}`,
		"push-remote-namespace":        `{secretStoreRefs: [{name: kubernetes}], ` + own + `, data: [{match: {secretKey: token, remoteRef: {remoteKey: x, property: token}}, metadata: ` + meta + `}]}`,
		"push-remote-namespace-to":     `{secretStoreRefs: [{name: kubernetes}], ` + own + `, dataTo: [{storeRef: {name: kubernetes}, remoteKey: x, metadata: ` + meta + `}]}`,
		"push-remote-namespace-bare":   `{secretStoreRefs: [{name: kubernetes}], ` + own + `, data: [{match: {secretKey: token, remoteRef: {remoteKey: x, property: token}}, metadata: {remoteNamespace: $VICTIM}}]}`,
		"push-remote-namespace-store":  `{secretStoreRefs: [{name: elsewhere}], ` + own + `, data: [{match: {secretKey: token, remoteRef: {remoteKey: x, property: token}}}]}`,
		"push-remote-namespace-shared": `{secretStoreRefs: [{name: remote, kind: ClusterSecretStore}], ` + own + `, deletionPolicy: Delete, data: [{match: {secretKey: token, remoteRef: {remoteKey: x, property: token}}}]}`,
		"push-key-path":                `{secretStoreRefs: [{name: kubernetes}], ` + own + `, data: [{match: {secretKey: token, remoteRef: {remoteKey: ../../$VICTIM/secrets/x, property: token}}}]}`,
		"push-shared-key":              `{secretStoreRefs: [{name: shared, kind: ClusterSecretStore}], ` + own + `, deletionPolicy: Delete, data: [{match: {secretKey: token, remoteRef: {remoteKey: $VICTIM/app, property: value}}}]}`,
		"push-shared-key-path":         `{secretStoreRefs: [{name: shared, kind: ClusterSecretStore}], ` + own + `, data: [{match: {secretKey: token, remoteRef: {remoteKey: $SELF/../$VICTIM/app, property: value}}}]}`,
	}
}

// tryPushes pushes from, to and by way of what is the victim's.
func (tt *tenancy) tryPushes() {
	tt.t.Helper()
	ca := fmt.Sprintf("%q", tt.caBase64())
	for name, namespace := range map[string]string{"kubernetes": "$SELF", "elsewhere": "$VICTIM"} {
		tt.must(tt.world, esv1.SecretStoreKind, name, `{provider: {kubernetes: {remoteNamespace: `+namespace+`, server: {url: $API, caBundle: `+ca+`}, auth: {serviceAccount: {name: own}}}}}`)
	}
	label := `{"metadata":{"labels":{"of":"victim"}}}`
	tt.patch(&corev1.Secret{ObjectMeta: tt.victim.meta("x")}, label)
	tt.patch(&esv1.SecretStore{ObjectMeta: tt.victim.meta("victims")}, label)
	others := &esv1.ClusterSecretStore{}
	others.Name = "for-others"
	tt.patch(others, `{"metadata":{"labels":{"for":"others"}}}`)
	tt.must(tt.victim, genv1alpha1.FakeKind, "victims", `{data: {token: "`+tt.stem+`generated"}}`)
	for name, spec := range pushAttempts() {
		if err := tt.apply(v1alpha1.PushSecretKind, name, tt.text(spec)); err != nil {
			tt.refused++
			continue
		}
		tt.pushes = append(tt.pushes, name)
	}
}

// tryGenerators names the victim's objects by every field of every generator, and the
// victim's generators.
func (tt *tenancy) tryGenerators() {
	tt.t.Helper()
	fields := generatorSpecs()
	maps.Copy(fields, refusedGenerators())
	i := 0
	use := func(kind, name string) {
		tt.attempt(fmt.Sprintf("generator-%03d", i), "", fmt.Sprintf(`{dataFrom: [{sourceRef: {generatorRef: {kind: %s, name: %q}}}]}`, kind, name))
		i++
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		kind, _, _ := strings.Cut(field, ".")
		for _, ref := range []string{"name: x, namespace: $VICTIM", "name: $VICTIM/x", "name: x"} {
			if ref == "name: x" && strings.Contains(strings.ToLower(field), "serviceaccount") {
				continue // whoever asks for a token of its own that is not there may go on without
			}
			spec := tt.text(strings.ReplaceAll(strings.ReplaceAll(fields[field], "GREF", strings.TrimSuffix(ref, ", namespace: $VICTIM")), "REF", ref))
			name := fmt.Sprintf("g-%03d", i)
			if err := tt.apply(kind, name, spec); err != nil {
				tt.refused++
			} else {
				use(kind, name)
			}
			name = tt.namespace + "-" + name // the kind is cluster-wide
			if err := tt.apply(genv1alpha1.ClusterGeneratorKind, name, fmt.Sprintf(`{kind: %s, generator: {%s: %s}}`, kind, member(kind), spec)); err != nil {
				tt.refused++
				continue
			}
			use(genv1alpha1.ClusterGeneratorKind, name)
		}
	}
	for _, name := range []string{"victims", "$VICTIM/victims", "../$VICTIM/fakes/victims"} {
		use(genv1alpha1.FakeKind, tt.text(name))
	}
	// What is the tenant's own, and not meant to be sent anywhere, is not sent either.
	tt.create(&corev1.Secret{ObjectMeta: tt.meta("unlabelled"), StringData: map[string]string{"token": unlabelled}})
	tt.must(tt.world, genv1alpha1.WebhookKind, "unlabelled", `{url: $HOOK/json, result: {}, secrets: [{name: s, secretRef: {name: unlabelled}}], body: "{{ .s.token }}"}`)
	use(genv1alpha1.WebhookKind, "unlabelled")
}

// unlabelled is a value that must not leave the cluster.
const unlabelled = "not meant to be sent"

// allow makes what a tenant may do, beside all that it may not.
func (tt *tenancy) allow() {
	tt.t.Helper()
	tt.must(tt.world, genv1alpha1.FakeKind, "own", `{data: {v: mine}}`)
	tt.must(tt.world, esv1.ExtSecretKind, "allowed", `{dataFrom: [{sourceRef: {generatorRef: {kind: Fake, name: own}}}]}`)
	for name, selector := range map[string]string{"allowed": `{secret: {name: own}}`, "allowed-too": `{generatorRef: {kind: Fake, name: own}}`} {
		tt.must(tt.world, v1alpha1.PushSecretKind, name, `{secretStoreRefs: [{name: plain}], selector: `+selector+`, dataTo: [{storeRef: {name: plain}, remoteKey: `+name+`}]}`)
	}
}

// member is what a ClusterGenerator calls the spec of a kind.
func member(kind string) string {
	for f := range reflect.TypeFor[genv1alpha1.GeneratorSpec]().Fields() {
		if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Name() == kind+"Spec" {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			return name
		}
	}
	return ""
}

// pushOutcome says which PushSecrets were not looked at, or succeeded.
func (tt *tenancy) pushOutcome() []string {
	tt.t.Helper()
	var list v1alpha1.PushSecretList
	if err := tt.api.List(tt.t.Context(), &list, client.InNamespace(tt.namespace)); err != nil {
		tt.t.Fatal(err)
	}
	var missing []string
	for _, ps := range list.Items {
		c, allowed := pushReady(&ps), strings.HasPrefix(ps.Name, "allowed")
		switch {
		case c.Status == "missing":
			missing = append(missing, ps.Name+" was not looked at")
		case (c.Status == corev1.ConditionTrue) != allowed:
			missing = append(missing, fmt.Sprintf("%s: %s %s", ps.Name, c.Status, c.Message))
		}
	}
	return missing
}

// victims is every Secret and ConfigMap of the victim's, with its version, but for what
// the victim's own ExternalSecret makes.
func (tt *tenancy) victims() map[string]string {
	tt.t.Helper()
	out := map[string]string{}
	c := &canary{world: tt.world}
	for _, kind := range []string{"Secret", "ConfigMap"} {
		for _, o := range c.raw(tt.t.Context(), kind) {
			if o.GetNamespace() == tt.victim.namespace && o.GetName() != "shared" && o.GetName() != "kube-root-ca.crt" {
				out[kind+" "+o.GetName()] = o.GetResourceVersion()
			}
		}
	}
	return out
}
