package plan_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

func data(kv ...string) plan.Data { return plan.Data{Values: values(kv...)} }

// written returns the Secret that a first sync of es makes, as the API server holds it.
func written(t *testing.T, es *esv1.ExternalSecret, d plan.Data) *corev1.Secret {
	t.Helper()
	action, err := apply(t, plan.Target{Object: es, Data: d})
	check(t, err, "", "")
	if action.Verb != plan.Create {
		t.Fatalf("verb %q", action.Verb)
	}
	s := action.Secret.DeepCopy()
	s.UID, s.ResourceVersion = "uid-secret", "1"
	annotations := set(secret.Keys(s.Annotations)...)
	s.ManagedFields = []metav1.ManagedFieldsEntry{managed(t, plan.FieldOwner(es.Name), map[string]any{
		"f:data": set(secret.Keys(s.Data)...), "f:type": map[string]any{},
		"f:metadata": map[string]any{"f:labels": set(secret.Keys(s.Labels)...), "f:annotations": annotations},
	})}
	return s
}

// foreign returns a Secret that somebody else made.
func foreign(t *testing.T, kv ...string) *corev1.Secret {
	t.Helper()
	s := &corev1.Secret{Type: corev1.SecretTypeOpaque, Data: map[string][]byte{}}
	s.Name, s.Namespace, s.UID, s.ResourceVersion = "db", "app", "uid-foreign", "5"
	s.Labels, s.Annotations = map[string]string{"theirs": "1"}, map[string]string{"their-note": "1"}
	for k, v := range values(kv...) {
		s.Data[k] = v.Reveal()
	}
	s.ManagedFields = []metav1.ManagedFieldsEntry{managed(t, "kubectl", map[string]any{"f:data": set(secret.Keys(s.Data)...)})}
	return s
}

func TestApplyCreates(t *testing.T) {
	es := object(t, `target: {name: other}`)
	es.Labels, es.Annotations = map[string]string{"team": "a"}, map[string]string{"note": "x", esv1.AnnotationDataHash: "123"}
	action, err := apply(t, plan.Target{Object: es, Data: data("user", "ada", "empty", "")})
	check(t, err, "", "")
	want := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "other", Namespace: "app",
			Labels:          map[string]string{"team": "a", esv1.LabelManaged: "true", esv1.LabelOwner: plan.OwnerLabel("app", "db")},
			Annotations:     map[string]string{"note": "x"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "external-secrets.io/v1", Kind: "ExternalSecret", Name: "db", UID: "uid-db", Controller: new(true), BlockOwnerDeletion: new(true)}},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"user": []byte("ada"), "empty": {}},
	}
	diff(t, want, action.Secret)
	diff(t, plan.Create, action.Verb)
	diff(t, plan.Outcome{Status: "True", Reason: "SecretSynced", Message: "secret synced"}, action.Ready)
	diff(t, []plan.Event{{Type: "Normal", Reason: "Created", Message: "secret created"}}, action.Events)
}

func TestApplyWithoutACluster(t *testing.T) {
	es := object(t, `target: {deletionPolicy: Delete}`)
	es.UID = ""
	s := written(t, es, data("a", "1"))
	if s.OwnerReferences != nil {
		t.Fatalf("an owner without UID: %v", s.OwnerReferences)
	}
	action, err := apply(t, plan.Target{Object: es, Existing: s})
	check(t, err, "", "")
	diff(t, plan.Delete, action.Verb)
}

func TestApplyUnchangedIsNothing(t *testing.T) {
	for _, policy := range []string{"Owner", "Orphan", "Merge", "CreateOrMerge"} {
		t.Run(policy, func(t *testing.T) {
			es := object(t, "target: {creationPolicy: "+policy+", template: {metadata: {labels: {a: '{{ .user }}'}, annotations: {b: c}, finalizers: [x/y]}}}")
			var s *corev1.Secret
			if policy == "Merge" {
				action, err := apply(t, plan.Target{Object: es, Data: data("user", "ada"), Existing: foreign(t, "old", "1")})
				check(t, err, "", "")
				s = action.Secret
			} else {
				s = written(t, es, data("user", "ada"))
			}
			action, err := apply(t, plan.Target{Object: es, Data: data("user", "ada"), Existing: s})
			check(t, err, "", "")
			if action.Verb != plan.Nothing || action.Secret != nil || action.Events != nil {
				t.Fatalf("action: %+v", action)
			}
			diff(t, plan.Outcome{Status: "True", Reason: "SecretSynced", Message: "secret synced"}, action.Ready)
		})
	}
}

func TestApplyPolicies(t *testing.T) {
	for name, c := range map[string]struct {
		target   string
		existing []string // nil: there is none
		data     []string
		verb     plan.Verb
		reason   string
		message  string
		want     map[string]string
		owned    bool
	}{
		"owner replaces all data":                {`{creationPolicy: Owner}`, []string{"old", "1", "a", "0"}, []string{"a", "1"}, plan.Update, "SecretSynced", "secret synced", map[string]string{"a": "1"}, true},
		"orphan creates":                         {`{creationPolicy: Orphan}`, nil, []string{"a", "1"}, plan.Create, "SecretSynced", "secret synced", map[string]string{"a": "1"}, false},
		"orphan replaces all data":               {`{creationPolicy: Orphan}`, []string{"old", "1"}, []string{"a", "1"}, plan.Update, "SecretSynced", "secret synced", map[string]string{"a": "1"}, false},
		"merge does not create":                  {`{creationPolicy: Merge}`, nil, []string{"a", "1"}, plan.Nothing, "SecretMissing", "secret will not be created due to CreationPolicy=Merge", nil, false},
		"merge keeps foreign keys":               {`{creationPolicy: Merge}`, []string{"old", "1", "a", "0"}, []string{"a", "1"}, plan.Update, "SecretSynced", "secret synced", map[string]string{"old": "1", "a": "1"}, false},
		"create or merge creates":                {`{creationPolicy: CreateOrMerge}`, nil, []string{"a", "1"}, plan.Create, "SecretSynced", "secret synced", map[string]string{"a": "1"}, false},
		"create or merge keeps foreign keys":     {`{creationPolicy: CreateOrMerge}`, []string{"old", "1"}, []string{"a", "1"}, plan.Update, "SecretSynced", "secret synced", map[string]string{"old": "1", "a": "1"}, false},
		"none writes nothing":                    {`{creationPolicy: None}`, nil, []string{"a", "1"}, plan.Nothing, "SecretSynced", "secret synced", nil, false},
		"none leaves what exists":                {`{creationPolicy: None}`, []string{"old", "1"}, []string{"a", "1"}, plan.Nothing, "SecretSynced", "secret synced", nil, false},
		"nothing found, Retain":                  {`{}`, []string{"old", "1"}, nil, plan.Nothing, "SecretSynced", "secret retained due to DeletionPolicy=Retain", nil, false},
		"nothing found, Retain, no target":       {`{}`, nil, nil, plan.Nothing, "SecretSynced", "secret retained due to DeletionPolicy=Retain", nil, false},
		"nothing found, Delete, no target":       {`{deletionPolicy: Delete}`, nil, nil, plan.Nothing, "SecretDeleted", "secret deleted due to DeletionPolicy=Delete", nil, false},
		"nothing found, Merge, keeps the Secret": {`{deletionPolicy: Merge}`, []string{"old", "1"}, nil, plan.Update, "SecretSynced", "secret synced", map[string]string{}, true},
		"nothing found, Merge into foreign keys": {`{creationPolicy: Merge, deletionPolicy: Merge}`, []string{"old", "1"}, nil, plan.Update, "SecretSynced", "secret synced", map[string]string{"old": "1"}, false},
		"a manifest that names a Secret is one":  {`{manifest: {apiVersion: v1, kind: Secret}}`, nil, []string{"a", "1"}, plan.Create, "SecretSynced", "secret synced", map[string]string{"a": "1"}, true},
		"template replaces the data":             {`{template: {data: {x: "{{ .a }}!"}}}`, nil, []string{"a", "1"}, plan.Create, "SecretSynced", "secret synced", map[string]string{"x": "1!"}, true},
		"template merges with the data":          {`{template: {mergePolicy: Merge, data: {x: "{{ .a }}!"}}}`, nil, []string{"a", "1"}, plan.Create, "SecretSynced", "secret synced", map[string]string{"x": "1!", "a": "1"}, true},
		"template of metadata alone":             {`{template: {metadata: {labels: {x: y}}}}`, nil, []string{"a", "1"}, plan.Create, "SecretSynced", "secret synced", map[string]string{"a": "1"}, true},
		"template precedence":                    {`{creationPolicy: Merge, template: {mergePolicy: Merge, data: {k3: data}, templateFrom: [{literal: "{k2: from, k3: from}"}, {literal: "k2: later"}]}}`, []string{"k0", "old", "k1", "old", "k2", "old", "k3", "old"}, []string{"k1", "store", "k2", "store", "k3", "store"}, plan.Update, "SecretSynced", "secret synced", map[string]string{"k0": "old", "k1": "store", "k2": "later", "k3": "data"}, false},
		"rendered values decoded":                {`{template: {templateFrom: [{valuesDecodingStrategy: Base64, literal: "k: {{ .a }}"}]}}`, nil, []string{"a", "aGk="}, plan.Create, "SecretSynced", "secret synced", map[string]string{"k": "hi"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			es := object(t, "target: "+c.target)
			target := plan.Target{Object: es, Data: data(c.data...)}
			if c.existing != nil {
				target.Existing = foreign(t, c.existing...)
			}
			action, err := apply(t, target)
			check(t, err, "", "")
			diff(t, plan.Outcome{Status: "True", Reason: c.reason, Message: c.message}, action.Ready)
			diff(t, c.verb, action.Verb)
			if c.verb == plan.Nothing {
				return
			}
			diff(t, c.want, plainData(action.Secret))
			_, labelled := action.Secret.Labels[esv1.LabelOwner]
			if labelled != c.owned || (metav1.GetControllerOf(action.Secret) != nil) != c.owned {
				t.Fatalf("ownership: %v %v", action.Secret.Labels, action.Secret.OwnerReferences)
			}
			diff(t, "true", action.Secret.Labels[esv1.LabelManaged])
			if target.Existing != nil && (action.Secret.Labels["theirs"] != "1" || action.Secret.ResourceVersion != "5" || action.Secret.ManagedFields != nil) {
				t.Fatalf("metadata: %+v", action.Secret.ObjectMeta)
			}
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	other := func(kind, api, name string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: api, Kind: kind, Name: name, UID: "u", Controller: new(true)}}
	}
	edit := func(f func(*corev1.Secret)) *corev1.Secret {
		s := foreign(t, "old", "1")
		f(s)
		return s
	}
	big := strings.Repeat(mark, 1<<20/len(mark)+1)
	for name, c := range map[string]struct {
		target   string
		existing *corev1.Secret
		data     []string
		kind     secret.Kind
		part     string
	}{
		"owned by another ExternalSecret": {`{}`, edit(func(s *corev1.Secret) { s.OwnerReferences = other("ExternalSecret", "external-secrets.io/v1", "rival") }), []string{"a", "1"}, secret.Conflict, "owned by another ExternalSecret, rival"},
		"merging into what another ExternalSecret owns": {`{creationPolicy: Merge}`, edit(func(s *corev1.Secret) {
			s.OwnerReferences = other("ExternalSecret", "external-secrets.io/v1beta1", "rival")
		}), []string{"a", "1"}, secret.Conflict, "rival"},
		"owned by another controller":              {`{}`, edit(func(s *corev1.Secret) { s.OwnerReferences = other("Certificate", "cert-manager.io/v1", "tls") }), []string{"a", "1"}, secret.Conflict, "Certificate tls"},
		"owned by a namesake of another group":     {`{}`, edit(func(s *corev1.Secret) { s.OwnerReferences = other("ExternalSecret", "example.org/v1", "db") }), []string{"a", "1"}, secret.Conflict, "ExternalSecret db"},
		"deleting a Secret of somebody else":       {`{deletionPolicy: Delete}`, foreign(t), nil, secret.Conflict, "not made by this ExternalSecret"},
		"deleting with creationPolicy Orphan":      {`{creationPolicy: Orphan, deletionPolicy: Delete}`, foreign(t), nil, secret.Invalid, "Orphan"},
		"deletionPolicy that does not fit":         {`{creationPolicy: Merge, deletionPolicy: Delete}`, foreign(t), []string{"a", "1"}, secret.Invalid, "spec.target.deletionPolicy"},
		"a change of type":                         {`{template: {type: kubernetes.io/tls}}`, foreign(t), []string{"a", "1"}, secret.Invalid, "does not change it to kubernetes.io/tls"},
		"a change of immutable data":               {`{}`, edit(func(s *corev1.Secret) { s.Immutable = new(true) }), []string{"a", mark}, secret.Invalid, "immutable"},
		"too much data":                            {`{}`, nil, []string{"a", big}, secret.Invalid, fmt.Sprint(len(big))},
		"too many annotations":                     {`{template: {metadata: {annotations: {x: "{{ .a }}"}}}}`, nil, []string{"a", big[:300<<10]}, secret.Invalid, "annotations"},
		"a data key that Kubernetes refuses":       {`{}`, nil, []string{"é", mark}, secret.Invalid, `data key "é"`},
		"a label value that Kubernetes refuses":    {`{template: {metadata: {labels: {x: "{{ .a }}"}}}}`, nil, []string{"a", mark + "!"}, secret.Invalid, `label "x"`},
		"a label that Kubernetes refuses":          {`{template: {metadata: {labels: {"x y": z}}}}`, nil, []string{"a", mark}, secret.Invalid, `label "x y"`},
		"an annotation that Kubernetes refuses":    {`{template: {metadata: {annotations: {"x y": z}}}}`, nil, []string{"a", mark}, secret.Invalid, `annotation "x y"`},
		"a bad template":                           {`{template: {data: {x: "{{ .nope }}"}}}`, nil, []string{"a", mark}, secret.Invalid, "spec.target.template.data[x]"},
		"a bad label template":                     {`{template: {metadata: {labels: {x: "{{ .nope }}"}}}}`, nil, []string{"a", mark}, secret.Invalid, "spec.target.template.metadata.labels[x]"},
		"a bad literal":                            {`{template: {templateFrom: [{literal: "{{ .nope }}"}]}}`, nil, []string{"a", mark}, secret.Invalid, "spec.target.template.templateFrom[0].literal"},
		"a literal that cannot be decoded":         {`{template: {templateFrom: [{valuesDecodingStrategy: Base64, literal: "k: {{ .a }}"}]}}`, nil, []string{"a", mark}, secret.Invalid, `key "k"`},
		"a ConfigMap that is missing":              {`{template: {templateFrom: [{configMap: {name: gone, items: [{key: k}]}}]}}`, nil, []string{"a", mark}, secret.NotFound, `templateFrom[0].configMap.name: there is no ConfigMap "gone"`},
		"a Secret key that is missing":             {`{template: {templateFrom: [{secret: {name: here, items: [{key: k}, {key: gone}]}}]}}`, nil, []string{"a", mark}, secret.NotFound, `templateFrom[0].secret.items[1].key: Secret "here" has no key "gone"`},
		"a template from a ConfigMap that is bad":  {`{template: {templateFrom: [{configMap: {name: here, items: [{key: bad}]}}]}}`, nil, []string{"a", mark}, secret.Invalid, "templateFrom[0].configMap.items[0]"},
		"a templateFrom target that no Secret has": {`{template: {templateFrom: [{target: type, literal: "a: b"}]}}`, nil, []string{"a", mark}, secret.Invalid, "templateFrom[0].target"},

		"a bootstrap token":                       {`{template: {type: bootstrap.kubernetes.io/token}}`, nil, []string{"a", "1"}, secret.Denied, "bootstrap.kubernetes.io/token"},
		"merging into a bootstrap token":          {`{creationPolicy: Merge}`, edit(func(s *corev1.Secret) { s.Type = corev1.SecretTypeBootstrapToken }), []string{"a", "1"}, secret.Denied, "bootstrap"},
		"a service account token by template":     {`{template: {type: kubernetes.io/service-account-token, metadata: {annotations: {kubernetes.io/service-account.name: "{{ .a }}"}}}}`, nil, []string{"a", "1"}, secret.Denied, "service-account"},
		"a service account token by templateFrom": {`{template: {type: kubernetes.io/service-account-token, templateFrom: [{target: aNNotations, literal: "{{ .a }}: x"}]}}`, nil, []string{"a", "kubernetes.io/service-account.name"}, secret.Denied, "service-account"},
		"a service account token by annotation of another": {`{template: {type: kubernetes.io/service-account-token}}`, edit(func(s *corev1.Secret) {
			s.Type, s.Annotations = "", map[string]string{corev1.ServiceAccountNameKey: "admin"}
		}), []string{"a", "1"}, secret.Denied, "service-account"},
		"merging into a service account token": {`{creationPolicy: Merge}`, edit(func(s *corev1.Secret) {
			s.Type, s.Annotations = corev1.SecretTypeServiceAccountToken, map[string]string{corev1.ServiceAccountNameKey: "admin"}
		}), []string{"a", "1"}, secret.Denied, "service-account"},
	} {
		t.Run(name, func(t *testing.T) {
			es := object(t, "target: "+c.target)
			action, err := apply(t, plan.Target{Object: es, Data: data(c.data...), Existing: c.existing, Sources: map[string]map[string]secret.Value{
				"Secret/here": values("k", "x"), "ConfigMap/here": values("bad", "{{"),
			}})
			check(t, err, c.kind, c.part)
			if action.Secret != nil || action.Verb != plan.Nothing {
				t.Fatalf("an action with the error: %+v", action)
			}
		})
	}
}

func TestApplyTemplateFrom(t *testing.T) {
	es := object(t, `
target:
  template:
    type: kubernetes.io/basic-auth
    metadata: {labels: {level: "{{ .user }}", from: meta}, annotations: {who: "{{ .user }}"}}
    templateFrom:
    - configMap: {name: cm, items: [{key: url}, {key: many, templateAs: KeysAndValues}]}
      secret: {name: s, items: [{key: sec, templateAs: Values}]}
    - {target: labels, literal: "{from: literal, extra: x}"}
    - {target: ANNOTATIONS, literal: "note: '{{ .user }}'"}
`)
	es.Labels = map[string]string{"not": "copied"}
	sources := map[string]map[string]secret.Value{
		"ConfigMap/cm": values("url", "db://{{ .user }}", "many", "a: '{{ .user }}1'\nb: '2'"),
		"Secret/s":     values("sec", "{{ .user | upper }}"),
	}
	action, err := apply(t, plan.Target{Object: es, Data: data("user", "ada"), Sources: sources})
	check(t, err, "", "")
	diff(t, map[string]string{"url": "db://ada", "a": "ada1", "b": "2", "sec": "ADA"}, plainData(action.Secret))
	diff(t, corev1.SecretType("kubernetes.io/basic-auth"), action.Secret.Type)
	diff(t, map[string]string{"level": "ada", "from": "meta", "extra": "x", esv1.LabelManaged: "true", esv1.LabelOwner: plan.OwnerLabel("app", "db")}, action.Secret.Labels)
	diff(t, map[string]string{"who": "ada", "note": "ada"}, action.Secret.Annotations)
}

func TestApplyRemovesWhatItWroteBefore(t *testing.T) {
	es := object(t, `target: {creationPolicy: CreateOrMerge}`)
	es.Labels, es.Annotations = map[string]string{"l1": "1", "l2": "2"}, map[string]string{"a1": "1", "a2": "2"}
	s := written(t, es, data("k1", "1", "k2", "2", "shared", "3"))
	s.Data["foreign"], s.Labels["foreign"], s.Annotations["foreign"] = []byte("x"), "x", "x"
	s.ManagedFields = append(s.ManagedFields, managed(t, "other", map[string]any{
		"f:data":     set("foreign", "shared"),
		"f:metadata": map[string]any{"f:labels": set("foreign"), "f:annotations": set("foreign")},
	}))
	delete(es.Labels, "l2")
	delete(es.Annotations, "a2")
	action, err := apply(t, plan.Target{Object: es, Data: data("k1", "1"), Existing: s})
	check(t, err, "", "")
	diff(t, plan.Update, action.Verb)
	diff(t, map[string]string{"k1": "1", "shared": "3", "foreign": "x"}, plainData(action.Secret))
	diff(t, map[string]string{"l1": "1", "foreign": "x", esv1.LabelManaged: "true"}, action.Secret.Labels)
	diff(t, map[string]string{"a1": "1", "foreign": "x"}, action.Secret.Annotations)
}

func TestApplyIgnoresFieldsOfSubresourcesAndNoise(t *testing.T) {
	es := object(t, `target: {creationPolicy: CreateOrMerge}`)
	s := written(t, es, data("k", "1"))
	status := managed(t, plan.FieldOwner("db"), map[string]any{"f:data": set("foreign")})
	status.Subresource = "status"
	broken := managed(t, plan.FieldOwner("db"), nil)
	broken.FieldsV1 = metav1.NewFieldsV1(`["f:data"]`)
	s.ManagedFields = append(s.ManagedFields, status, broken, metav1.ManagedFieldsEntry{Manager: plan.FieldOwner("db")})
	s.Data["foreign"] = []byte("x")
	action, err := apply(t, plan.Target{Object: es, Data: data("k", "1"), Existing: s})
	check(t, err, "", "")
	diff(t, plan.Nothing, action.Verb)
}

func TestApplyAdoptsWhatESOWrote(t *testing.T) {
	es := object(t, `{}`)
	es.Labels = map[string]string{"team": "a"}
	s := written(t, es, data("k", "1"))
	s.Annotations = map[string]string{esv1.AnnotationDataHash: "f00"}
	s.ManagedFields = append(s.ManagedFields, managed(t, plan.FieldOwner("db"), map[string]any{"f:metadata": map[string]any{"f:annotations": set(esv1.AnnotationDataHash)}}))

	action, err := apply(t, plan.Target{Object: es, Data: data("k", "1"), Existing: s})
	check(t, err, "", "")
	diff(t, plan.Nothing, action.Verb)

	action, err = apply(t, plan.Target{Object: es, Data: data("k", "2"), Existing: s})
	check(t, err, "", "")
	diff(t, plan.Update, action.Verb)
	if _, kept := action.Secret.Annotations[esv1.AnnotationDataHash]; kept {
		t.Fatal("a digest of the values is still in the metadata")
	}
}

func TestApplyTakesOverFromANamesake(t *testing.T) {
	es := object(t, `{}`)
	s := written(t, es, data("k", "1"))
	s.OwnerReferences[0].UID = "uid-before"
	s.OwnerReferences = append([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}}, s.OwnerReferences...)
	action, err := apply(t, plan.Target{Object: es, Data: data("k", "1"), Existing: s})
	check(t, err, "", "")
	diff(t, plan.Update, action.Verb)
	if ref := metav1.GetControllerOf(action.Secret); len(action.Secret.OwnerReferences) != 2 || ref == nil || ref.UID != "uid-db" {
		t.Fatalf("owners: %v", action.Secret.OwnerReferences)
	}
}

func TestApplyMergesIntoWhatAnotherControllerOwns(t *testing.T) {
	s := foreign(t, "tls.crt", "x")
	s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: "Certificate", Name: "tls", UID: "u", Controller: new(true)}}
	d := plan.Data{Values: map[string]secret.Value{"null": {}}}
	action, err := apply(t, plan.Target{Object: object(t, `target: {creationPolicy: Merge}`), Data: d, Existing: s})
	check(t, err, "", "")
	diff(t, map[string][]byte{"tls.crt": []byte("x"), "null": {}}, action.Secret.Data)
	diff(t, s.OwnerReferences, action.Secret.OwnerReferences)
}

func TestApplyLetsGo(t *testing.T) {
	for _, policy := range []string{"Orphan", "Merge", "CreateOrMerge"} {
		t.Run(policy, func(t *testing.T) {
			s := written(t, object(t, `{}`), data("k", "1"))
			action, err := apply(t, plan.Target{Object: object(t, "target: {creationPolicy: "+policy+"}"), Data: data("k", "1"), Existing: s})
			check(t, err, "", "")
			diff(t, plan.Update, action.Verb)
			if _, labelled := action.Secret.Labels[esv1.LabelOwner]; labelled || len(action.Secret.OwnerReferences) != 0 {
				t.Fatalf("still owned: %+v", action.Secret.ObjectMeta)
			}
		})
	}
}

func TestApplyImmutable(t *testing.T) {
	es := object(t, `target: {immutable: true, template: {metadata: {labels: {a: b}}}}`)
	action, err := apply(t, plan.Target{Object: es, Data: data("k", "1")})
	check(t, err, "", "")
	if action.Secret.Immutable == nil || !*action.Secret.Immutable {
		t.Fatal("not immutable")
	}
	s := written(t, es, data("k", "1"))
	action, err = apply(t, plan.Target{Object: es, Data: data("k", "2"), Existing: s})
	check(t, err, "", "")
	diff(t, plan.Nothing, action.Verb)

	action, err = apply(t, plan.Target{Object: es, Data: data("k", "2"), Existing: foreign(t, "old", "1")})
	check(t, err, "", "")
	diff(t, plan.Update, action.Verb)
	diff(t, map[string]string{"old": "1"}, plainData(action.Secret))
	diff(t, "b", action.Secret.Labels["a"])

	// Without the wish, what is immutable stays so, and its labels are still kept.
	s.Labels["a"] = "edited"
	action, err = apply(t, plan.Target{Object: object(t, `{}`), Data: data("k", "1"), Existing: s})
	check(t, err, "", "")
	diff(t, plan.Update, action.Verb)
	diff(t, true, *action.Secret.Immutable)
}

func TestApplyDeletes(t *testing.T) {
	es := object(t, `target: {deletionPolicy: Delete}`)
	s := written(t, es, data("k", "1"))
	d := plan.Data{Missing: []string{"spec.data[0]"}}
	action, err := apply(t, plan.Target{Object: es, Data: d, Existing: s})
	check(t, err, "", "")
	diff(t, plan.Delete, action.Verb)
	diff(t, s, action.Secret)
	diff(t, plan.Outcome{Status: "True", Reason: "SecretDeleted", Message: "secret deleted due to DeletionPolicy=Delete; not at the store: spec.data[0]"}, action.Ready)
	diff(t, []plan.Event{
		{Type: "Normal", Reason: "Deleted", Message: "secret deleted due to DeletionPolicy=Delete"},
		{Type: "Normal", Reason: "MissingProviderSecret", Message: "not at the store: spec.data[0]"},
	}, action.Events)
}

func TestApplyKeepsFinalizersOnceAndNotOnTheDying(t *testing.T) {
	es := object(t, `target: {template: {metadata: {finalizers: [a/b, c/d, a/b]}}}`)
	s := written(t, es, data("k", "1"))
	diff(t, []string{"a/b", "c/d"}, s.Finalizers)
	s.Finalizers = []string{"a/b"}
	s.DeletionTimestamp = new(metav1.NewTime(noon()))
	action, err := apply(t, plan.Target{Object: es, Data: data("k", "1"), Existing: s})
	check(t, err, "", "")
	diff(t, plan.Nothing, action.Verb)
}

func TestApplySaysWhatIsMissing(t *testing.T) {
	d := data("k", "1")
	d.Missing = []string{"spec.data[1]", "spec.data[3]"}
	action, err := apply(t, plan.Target{Object: object(t, `target: {deletionPolicy: Merge}`), Data: d})
	check(t, err, "", "")
	diff(t, "secret synced; not at the store: spec.data[1], spec.data[3]", action.Ready.Message)
	diff(t, 2, len(action.Events))
}

func TestFieldOwner(t *testing.T) {
	for name, want := range map[string]string{
		"db":                    "externalsecrets.external-secrets.io/db",
		strings.Repeat("a", 27): "externalsecrets.external-secrets.io/" + strings.Repeat("a", 27),
		strings.Repeat("a", 28): "externalsecrets.external-secrets.io/sha3/52a6f48b37cd3535ef771a530c08d9cc4b78350ccdd33f2405e22ebb",
	} {
		diff(t, want, plan.FieldOwner(name))
	}
}

func TestOwnerLabel(t *testing.T) {
	// SHA3-224 of "app/db", which any other implementation gives as well.
	diff(t, "d7d26ad99ae83c312acc79ee48ac1e4ea7819cd3ca8505d0823ce06a", plan.OwnerLabel("app", "db"))
}

func TestOrphans(t *testing.T) {
	make := func(name string, change func(*metav1.PartialObjectMetadata)) metav1.PartialObjectMetadata {
		m := metav1.PartialObjectMetadata{}
		m.Name, m.Namespace = name, "app"
		m.Labels = map[string]string{esv1.LabelOwner: plan.OwnerLabel("app", "db")}
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "external-secrets.io/v1", Kind: "ExternalSecret", Name: "db", UID: "uid-db", Controller: new(true)}}
		if change != nil {
			change(&m)
		}
		return m
	}
	candidates := []metav1.PartialObjectMetadata{
		make("old", nil),
		make("db", nil),
		make("label-only", func(m *metav1.PartialObjectMetadata) { m.OwnerReferences = nil }),
		make("of-a-namesake", func(m *metav1.PartialObjectMetadata) { m.OwnerReferences[0].UID = "uid-before" }),
		make("unlabelled", func(m *metav1.PartialObjectMetadata) { m.Labels = nil }),
		make("elsewhere", func(m *metav1.PartialObjectMetadata) { m.Namespace = "other" }),
		make("dying", func(m *metav1.PartialObjectMetadata) { m.DeletionTimestamp = new(metav1.NewTime(noon())) }),
		make("older", nil),
	}
	names := func(es *esv1.ExternalSecret) []string {
		var out []string
		for _, m := range plan.Orphans(es, candidates) {
			out = append(out, m.Name)
		}
		return out
	}
	diff(t, []string{"old", "older"}, names(object(t, `{}`)))
	diff(t, []string{"db", "older"}, names(object(t, `target: {name: old}`)))
	diff(t, []string{"old", "db", "older"}, names(object(t, `target: {manifest: {apiVersion: v1, kind: ConfigMap}}`)))
	diff(t, []string(nil), names(object(t, `target: {creationPolicy: Orphan}`)))
}
