package plan_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

const (
	toConfigMap = `manifest: {apiVersion: v1, kind: ConfigMap}`
	toApp       = `manifest: {apiVersion: example.org/v1, kind: App}`
)

// live returns an object app/db as the API server holds it.
func live(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{}}
	if err := json.Unmarshal(asJSON, &u.Object); err != nil { // whole numbers become int64
		t.Fatal(err)
	}
	u.SetName("db")
	u.SetNamespace("app")
	u.SetUID("uid-live")
	u.SetResourceVersion("9")
	return u
}

// without returns the object less what every target gets.
func without(u *unstructured.Unstructured) map[string]any {
	out := u.DeepCopy().Object
	delete(out, "apiVersion")
	delete(out, "kind")
	delete(out, "metadata")
	return out
}

func TestIsGeneric(t *testing.T) {
	for name, c := range map[string]struct {
		spec string
		want bool
	}{
		"no manifest":        {`{}`, false},
		"a ConfigMap":        {`target: {` + toConfigMap + `}`, true},
		"a custom resource":  {`target: {` + toApp + `}`, true},
		"a Secret":           {`target: {manifest: {apiVersion: v1, kind: Secret}}`, false},
		"a Secret of others": {`target: {manifest: {apiVersion: example.org/v1, kind: Secret}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := plan.IsGeneric(object(t, c.spec)); got != c.want {
				t.Fatalf("generic: %v", got)
			}
		})
	}
}

func TestApplyGenericContent(t *testing.T) {
	for name, c := range map[string]struct {
		target string
		live   string
		want   string
	}{
		"ConfigMap":                           {target: toConfigMap, want: `data: {user: ada, port: "5432"}`},
		"custom resource":                     {target: toApp, want: `spec: {data: {user: ada, port: "5432"}}`},
		"metadata template alone keeps data":  {target: toApp + `, template: {metadata: {labels: {a: b}}}`, want: `spec: {data: {user: ada, port: "5432"}}`},
		"template.data goes to data":          {target: toApp + `, template: {data: {x: "{{ .user }}"}}`, want: `data: {x: ada}`},
		"template of a ConfigMap":             {target: toConfigMap + `, template: {data: {app.properties: "user={{ .user }}"}}`, want: `data: {app.properties: user=ada}`},
		"a value at a path":                   {target: toApp + `, template: {templateFrom: [{target: spec.db.port, configMap: {name: cm, items: [{key: port}]}}]}`, want: `spec: {db: {port: 5432}}`},
		"a path keeps its case":               {target: toApp + `, template: {templateFrom: [{target: spec.headers.customRequest, literal: "X: {{ .user }}"}]}`, want: `spec: {headers: {customRequest: {X: ada}}}`},
		"a path into a list":                  {target: toApp + `, template: {templateFrom: [{target: "spec.rules[1].host", secret: {name: s, items: [{key: host}]}}]}`, live: `{apiVersion: example.org/v1, kind: App, spec: {rules: [{host: a, x: 1}, {host: b, x: 2}]}}`, want: `spec: {rules: [{host: a, x: 1}, {host: ada.example.org, x: 2}]}`},
		"a structure into spec is merged":     {target: toApp + `, template: {templateFrom: [{target: Spec, literal: "replicas: {{ .port }}\ntemplate: {name: '{{ .user }}'}"}]}`, live: `{apiVersion: example.org/v1, kind: App, spec: {paused: true, replicas: 1}}`, want: `spec: {paused: true, replicas: 5432, template: {name: ada}}`},
		"a key of spec stays text":            {target: toApp + `, template: {templateFrom: [{target: spec, configMap: {name: cm, items: [{key: port}]}}]}`, want: `spec: {port: "5432"}`},
		"a path decoded":                      {target: toApp + `, template: {templateFrom: [{target: spec.x, valuesDecodingStrategy: Base64, literal: "aGk="}]}`, want: `spec: {x: hi}`},
		"what others wrote stays under Owner": {target: toConfigMap, live: `{apiVersion: v1, kind: ConfigMap, data: {theirs: "1", user: old}, immutable: false}`, want: `{data: {theirs: "1", user: ada, port: "5432"}, immutable: false}`},
		"merge":                               {target: toConfigMap + `, creationPolicy: Merge`, live: `{apiVersion: v1, kind: ConfigMap, data: {theirs: "1"}}`, want: `data: {theirs: "1", user: ada, port: "5432"}`},
	} {
		t.Run(name, func(t *testing.T) {
			es := object(t, "target: {"+c.target+"}")
			target := plan.Target{Object: es, AllowGeneric: true, Data: data("user", "ada", "port", "5432"), Sources: map[string]map[string]secret.Value{
				"ConfigMap/cm": values("port", "{{ .port }}"), "Secret/s": values("host", "{{ .user }}.example.org"),
			}}
			verb := plan.Create
			if c.live != "" {
				target.Live, verb = live(t, c.live), plan.Update
			}
			action, err := apply(t, target)
			check(t, err, "", "")
			diff(t, verb, action.Verb)
			diff(t, "ResourceSynced", action.Ready.Reason)
			want := live(t, c.want).Object
			delete(want, "metadata")
			diff(t, want, without(action.Object))
			diff(t, "db", action.Object.GetName())
			diff(t, "true", action.Object.GetLabels()[esv1.LabelManaged])

			target.Live = action.Object
			action, err = apply(t, target)
			check(t, err, "", "")
			diff(t, plan.Nothing, action.Verb)
		})
	}
}

func TestApplyGenericMetadata(t *testing.T) {
	es := object(t, `target: {`+toConfigMap+`}`)
	es.Labels, es.Annotations = map[string]string{"team": "a"}, map[string]string{"note": "x"}
	action, err := apply(t, plan.Target{Object: es, AllowGeneric: true, Data: data("k", "1")})
	check(t, err, "", "")
	diff(t, map[string]string{"team": "a", esv1.LabelManaged: "true", esv1.LabelOwner: plan.OwnerLabel("app", "db")}, action.Object.GetLabels())
	diff(t, map[string]string{"note": "x"}, action.Object.GetAnnotations())
	diff(t, "uid-db", string(metav1.GetControllerOf(action.Object).UID))
	diff(t, []plan.Event{{Type: "Normal", Reason: "Created", Message: "resource created"}}, action.Events)

	es.Spec.Target.CreationPolicy = esv1.CreatePolicyOrphan
	es.Spec.Target.Template = &esv1.ExternalSecretTemplate{Metadata: esv1.ExternalSecretTemplateMetadata{Labels: map[string]string{"team": "b"}}}
	u := action.Object
	u.SetManagedFields([]metav1.ManagedFieldsEntry{managed(t, plan.FieldOwner("db"), map[string]any{
		"f:data": set("k", "gone"), "f:spec": map[string]any{"f:data": set("gone")},
		"f:metadata": map[string]any{"f:labels": set("team"), "f:annotations": set("note")},
	})})
	u.Object["data"].(map[string]any)["gone"] = "1"
	u.Object["data"].(map[string]any)["theirs"] = "1"
	u.SetAnnotations(map[string]string{"note": "x", esv1.AnnotationDataHash: "f00"})
	action, err = apply(t, plan.Target{Object: es, AllowGeneric: true, Data: data("k", "1"), Live: u})
	check(t, err, "", "")
	diff(t, map[string]string{"team": "b", esv1.LabelManaged: "true"}, action.Object.GetLabels())
	if action.Object.GetAnnotations() != nil || action.Object.GetOwnerReferences() != nil || action.Object.GetManagedFields() != nil {
		t.Fatalf("metadata: %v", action.Object.Object["metadata"])
	}
	diff(t, map[string]any{"data": map[string]any{"k": "1", "theirs": "1"}}, without(action.Object))
}

func TestApplyGenericRefuses(t *testing.T) {
	rival := live(t, `{apiVersion: v1, kind: ConfigMap, metadata: {ownerReferences: [{apiVersion: external-secrets.io/v1, kind: ExternalSecret, name: rival, uid: r, controller: true}]}}`)
	rival.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "external-secrets.io/v1", Kind: "ExternalSecret", Name: "rival", UID: "r", Controller: new(true)}})
	for name, c := range map[string]struct {
		target string
		live   *unstructured.Unstructured
		data   []string
		off    bool
		kind   secret.Kind
		part   string
	}{
		"generic targets off":                   {target: toConfigMap, data: []string{"k", "1"}, off: true, kind: secret.Unsupported, part: "--unsafe-allow-generic-targets"},
		"owned by another ExternalSecret":       {target: toConfigMap, live: rival, data: []string{"k", "1"}, kind: secret.Conflict, part: "rival"},
		"deleting what somebody else made":      {target: toConfigMap + `, deletionPolicy: Delete`, live: live(t, `{apiVersion: v1, kind: ConfigMap}`), kind: secret.Conflict, part: "not made by this ExternalSecret"},
		"policies that do not fit":              {target: toConfigMap + `, creationPolicy: Merge, deletionPolicy: Delete`, kind: secret.Invalid, part: "spec.target.deletionPolicy"},
		"deleting under Orphan":                 {target: toConfigMap + `, creationPolicy: Orphan, deletionPolicy: Delete`, kind: secret.Invalid, part: "the resource is kept"},
		"a value that is no text":               {target: toConfigMap, data: []string{"k", mark + "\xff"}, kind: secret.Invalid, part: `key "k" is not text`},
		"a key that Kubernetes refuses":         {target: toConfigMap, data: []string{"é", mark}, kind: secret.Invalid, part: `"é"`},
		"a label value that Kubernetes refuses": {target: toConfigMap + `, template: {metadata: {labels: {x: "{{ .k }}"}}}`, data: []string{"k", mark + "!"}, kind: secret.Invalid, part: `label "x"`},
		"a bad template":                        {target: toConfigMap + `, template: {data: {x: "{{ .nope }}"}}`, data: []string{"k", mark}, kind: secret.Invalid, part: "template.data[x]"},
		"a bad template at a path":              {target: toApp + `, template: {templateFrom: [{target: spec.x, literal: "{{ .nope }}"}]}`, data: []string{"k", mark}, kind: secret.Invalid, part: "templateFrom[0].literal"},
		"a value at a path that is not encoded": {target: toApp + `, template: {templateFrom: [{target: spec.x, valuesDecodingStrategy: Base64, literal: "{{ .k }}"}]}`, data: []string{"k", mark}, kind: secret.Invalid, part: "templateFrom[0].literal"},
		"a path that begins with an index":      {target: toApp + `, template: {templateFrom: [{target: "[0].x", literal: "{{ .k }}"}]}`, data: []string{"k", mark}, kind: secret.Invalid, part: "templateFrom[0].literal"},
		"a path through something else":         {target: toApp + `, template: {templateFrom: [{target: spec.x.y, literal: "{{ .k }}"}]}`, live: live(t, `{apiVersion: example.org/v1, kind: App, spec: {x: text}}`), data: []string{"k", mark}, kind: secret.Invalid, part: "templateFrom[0].literal"},
		"data where there is something else":    {target: toApp, live: live(t, `{apiVersion: example.org/v1, kind: App, spec: text}`), data: []string{"k", mark}, kind: secret.Invalid, part: "spec.data"},
		"a template that changes the kind":      {target: toConfigMap + `, template: {templateFrom: [{target: kind, literal: Secret}]}`, data: []string{"k", mark}, kind: secret.Denied, part: "changes what the target is"},
		"a template that changes the namespace": {target: toConfigMap + `, template: {templateFrom: [{target: metadata.namespace, literal: kube-system}]}`, data: []string{"k", mark}, kind: secret.Denied, part: "changes what the target is"},
	} {
		t.Run(name, func(t *testing.T) {
			es := object(t, "target: {"+c.target+"}")
			_, err := apply(t, plan.Target{Object: es, Data: data(c.data...), Live: c.live, AllowGeneric: !c.off})
			check(t, err, c.kind, c.part)
		})
	}
	_, err := plan.ApplyGeneric(t.Context(), plan.Target{Object: object(t, `{}`), AllowGeneric: true})
	check(t, err, secret.Internal, "spec.target.manifest")
}

func TestApplyGenericAbsentAndDeleted(t *testing.T) {
	es := object(t, `target: {`+toConfigMap+`, creationPolicy: Merge}`)
	action, err := apply(t, plan.Target{Object: es, AllowGeneric: true, Data: data("k", "1")})
	check(t, err, "", "")
	diff(t, plan.Action{Ready: plan.Outcome{Status: "True", Reason: "ResourceMissing", Message: "resource will not be created due to CreationPolicy=Merge"}}, action)

	es = object(t, `target: {`+toConfigMap+`, deletionPolicy: Delete}`)
	action, err = apply(t, plan.Target{Object: es, AllowGeneric: true})
	check(t, err, "", "")
	diff(t, plan.Action{Ready: plan.Outcome{Status: "True", Reason: "ResourceDeleted", Message: "resource deleted due to DeletionPolicy=Delete"}}, action)

	made, err := apply(t, plan.Target{Object: es, AllowGeneric: true, Data: data("k", "1")})
	check(t, err, "", "")
	action, err = apply(t, plan.Target{Object: es, AllowGeneric: true, Live: made.Object})
	check(t, err, "", "")
	diff(t, plan.Delete, action.Verb)
	diff(t, made.Object, action.Object)
}
