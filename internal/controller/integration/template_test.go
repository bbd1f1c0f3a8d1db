package integration

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

const fromBoth = `, target: {template: {templateFrom: [
 {configMap: {name: texts, items: [{key: conf}]}}, {secret: {name: hidden, items: [{key: keys, templateAs: KeysAndValues}]}}]}}`

func TestTemplateFromIsFollowed(t *testing.T) {
	k := withDB(t, "1")
	k.configMap("texts", held{"conf": "pass={{ .p }}"})
	k.secret("hidden", held{"keys": "user: root"})
	k.externalSecret("app", oneKey(fromBoth))
	k.awaitData("app", held{"conf": "pass=1", "user": "root"})
	k.awaitSynced("app")
	k.edit(&corev1.ConfigMap{}, "texts", `{data: {conf: "PASS={{ .p }}"}}`)
	k.awaitData("app", held{"conf": "PASS=1", "user": "root"})
	k.edit(&corev1.Secret{}, "hidden", `{stringData: {keys: "user: admin"}}`)
	k.awaitData("app", held{"conf": "PASS=1", "user": "admin"})
}

func TestTemplateSourceThatAppears(t *testing.T) {
	k := withDB(t, "1")
	k.externalSecret("app", oneKey(fromBoth))
	es := k.awaitFailed("app", secret.Invalid)
	if msg := ready(es).Message; !strings.Contains(msg, `spec.target.template.templateFrom[0].configMap`) || !strings.Contains(msg, `"texts"`) {
		t.Errorf("the message does not name the source: %s", msg)
	}
	k.configMap("texts", held{"conf": "{{ .p }}"})
	k.await("the other source is missed", func() string {
		es := &esv1.ExternalSecret{}
		if k.get(es, "app"); !strings.Contains(ready(es).Message, `"hidden"`) {
			return ready(es).Message
		}
		return ""
	})
	k.secret("hidden", held{"keys": "a: b"})
	k.awaitData("app", held{"conf": "1", "a": "b"})
}

func TestTemplateSourceThatGoesKeepsTheSecret(t *testing.T) {
	k := withDB(t, "1")
	k.configMap("texts", held{"conf": "{{ .p }}"})
	k.secret("hidden", held{"keys": "a: b"})
	k.externalSecret("app", oneKey(fromBoth))
	k.awaitSynced("app")
	k.delete(&corev1.ConfigMap{}, "texts")
	k.awaitFailed("app", secret.Invalid)
	k.awaitData("app", held{"conf": "1", "a": "b"})
	k.configMap("texts", held{"conf": "again {{ .p }}"})
	k.awaitData("app", held{"conf": "again 1", "a": "b"})
}

func TestTemplateErrorsAreReportedAndCorrected(t *testing.T) {
	k := withDB(t, "hunter2")
	k.externalSecret("app", oneKey(`, target: {template: {data: {conf: "{{ .p | mustFromJson }}"}}}`))
	es := k.awaitFailed("app", secret.Invalid)
	if msg := ready(es).Message; strings.Contains(msg, "hunter2") || !strings.Contains(msg, "conf") {
		t.Errorf("the message holds the value, or does not name the template: %s", msg)
	}
	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {target: {template: {data: {conf: "{{ .p | upper }}"}}}}}`)
	k.awaitData("app", held{"conf": "HUNTER2"})
}

func TestTemplateDecidesOnMetadataAndType(t *testing.T) {
	k := withDB(t, "1")
	k.create("v1", "Secret", "app", "metadata: {labels: {theirs: t}, annotations: {theirs: t}}\ntype: kubernetes.io/basic-auth\nstringData: {username: x}")
	k.externalSecret("app", `{secretStoreRef: {name: main}, data: [{secretKey: password, remoteRef: {key: db}}],
 target: {template: {type: kubernetes.io/basic-auth, mergePolicy: Merge, data: {username: root}, metadata: {labels: {tier: "t{{ .password }}"}, annotations: {note: "n"}}}}}`)
	s := k.awaitData("app", held{"username": "root", "password": "1"})
	if s.Type != corev1.SecretTypeBasicAuth || s.Labels["tier"] != "t1" || s.Annotations["note"] != "n" {
		t.Errorf("type %s, labels %v, annotations %v", s.Type, s.Labels, s.Annotations)
	}
	k.edit(&esv1.ExternalSecret{}, "app", `{spec: {target: {template: {metadata: {labels: null, annotations: {note: null, more: m}}}}}}`)
	k.await("what was ours is replaced", func() string {
		s := &corev1.Secret{}
		k.get(s, "app")
		_, tier := s.Labels["tier"]
		_, note := s.Annotations["note"]
		if tier || note || s.Annotations["more"] != "m" || s.Labels["theirs"] != "t" || s.Annotations["theirs"] != "t" {
			return raw(s.ObjectMeta)
		}
		return ""
	})
}

func TestLabelsAndAnnotationsAreTakenOverAndRemoved(t *testing.T) {
	k := withDB(t, "1")
	k.create(group, esv1.ExtSecretKind, "app", `metadata: {labels: {team: a}, annotations: {note: "n", reconcile.external-secrets.io/data-hash: forged}}
spec: `+oneKey(""))
	k.awaitSynced("app")
	s := k.awaitData("app", held{"p": "1"})
	if _, hash := s.Annotations[esv1.AnnotationDataHash]; s.Labels["team"] != "a" || s.Annotations["note"] != "n" || hash {
		t.Errorf("labels %v, annotations %v", s.Labels, s.Annotations)
	}
	k.edit(&esv1.ExternalSecret{}, "app", `{metadata: {labels: {team: null, unit: b}, annotations: {note: null}}}`)
	k.await("they are replaced", func() string {
		s := &corev1.Secret{}
		k.get(s, "app")
		_, team := s.Labels["team"]
		_, note := s.Annotations["note"]
		if team || note || s.Labels["unit"] != "b" {
			return raw(s.ObjectMeta)
		}
		return ""
	})
}

func TestPrivilegedTypesAreRefused(t *testing.T) {
	k := withDB(t, "1")
	for name, template := range map[string]string{
		"bootstrap":     `{type: bootstrap.kubernetes.io/token}`,
		"account-token": `{type: kubernetes.io/service-account-token, metadata: {annotations: {kubernetes.io/service-account.name: default}}}`,
	} {
		obj := k.object(group, esv1.ExtSecretKind, name, "spec: "+oneKey(`, target: {template: `+template+`}`))
		if err := k.api.Create(t.Context(), obj); err == nil {
			t.Errorf("%s is admitted", name)
		}
	}
	// What a template makes is known later than at admission.
	k.create("v1", "Secret", "app", "metadata: {annotations: {kubernetes.io/service-account.name: default}}\ntype: Opaque")
	k.externalSecret("app", oneKey(`, target: {template: {type: kubernetes.io/service-account-token, data: {x: "{{ .p }}"}}}`))
	es := k.awaitReady("app", failed)
	if kind, _, _ := strings.Cut(ready(es).Message, ":"); kind != string(secret.Denied) && kind != string(secret.Invalid) {
		t.Errorf("message is %s", ready(es).Message)
	}
	k.awaitData("app", held{})
}
