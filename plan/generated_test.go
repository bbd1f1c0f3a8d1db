package plan_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

const generates = `dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: p}}}]`

func TestGeneratorsAreSources(t *testing.T) {
	es := object(t, `
secretStoreRef: {name: v}
dataFrom:
- extract: {key: k}
- sourceRef: {generatorRef: {kind: Password, name: p}}
`)
	ref := &esv1.GeneratorRef{Kind: "Password", Name: "p"}
	got, err := plan.Sources(&es.Spec)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, plan.Source{Field: "spec.dataFrom[1].sourceRef.generatorRef", Generator: ref}, got[1])
	diff(t, map[int]*esv1.GeneratorRef{1: ref}, plan.Generators(&es.Spec))
	if none := plan.Generators(&object(t, `{}`).Spec); none != nil {
		t.Errorf("generators of nothing: %v", none)
	}
}

func TestWhetherValuesRotate(t *testing.T) {
	for name, c := range map[string]struct {
		spec string
		want bool
	}{
		"by default":    {`{}`, true},
		"periodically":  {`{refreshPolicy: Periodic, refreshInterval: 1m}`, true},
		"interval 0":    {`refreshInterval: "0"`, false},
		"created once":  {`{refreshPolicy: CreatedOnce, refreshInterval: 1m}`, false},
		"on change":     {`refreshPolicy: OnChange`, true},
		"on change, 0s": {`{refreshPolicy: OnChange, refreshInterval: "0"}`, true},
	} {
		t.Run(name, func(t *testing.T) { diff(t, c.want, plan.Rotates(object(t, c.spec))) })
	}
}

func TestTheIntervalOfValuesCountsFromWhenTheyWereMade(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	es := object(t, `refreshInterval: 1h`)
	es.Status = esv1.ExternalSecretStatus{RefreshTime: metav1.NewTime(now), SyncedResourceVersion: plan.SyncedVersion(es)}
	diff(t, plan.Due{Next: now.Add(time.Hour)}, plan.Refresh(es, now))
	diff(t, plan.Due{Next: now.Add(20 * time.Minute)}, plan.Refresh(plan.Aged(es, now.Add(-40*time.Minute)), now))
	if !plan.Refresh(plan.Aged(es, now.Add(-61*time.Minute)), now).Now {
		t.Error("values of an hour ago are not due")
	}
	es.Labels = map[string]string{"a": "b"}
	if plan.Refresh(plan.Aged(es, now.Add(-40*time.Minute)), now).Now {
		t.Error("a label makes values due")
	}
	diff(t, metav1.NewTime(now), es.Status.RefreshTime)
}

func TestForced(t *testing.T) {
	es := object(t, `{}`)
	before := plan.SyncedVersion(es)
	es.Annotations = map[string]string{esv1.AnnotationForceSync: "1"}
	for name, c := range map[string]struct {
		synced string
		want   bool
	}{
		"never synced":    {"", false},
		"before it":       {before, true},
		"after it":        {plan.SyncedVersion(es), false},
		"by ESO, who has": {"3-5f1d8ad9d4c1c9b3d5a8a4e1f10b2f1d5f1d8ad9d4c1c9b3d5a8a4e1", false},
	} {
		t.Run(name, func(t *testing.T) {
			es.Status.SyncedResourceVersion = c.synced
			diff(t, c.want, plan.Forced(es))
		})
	}
}

func TestTakeBack(t *testing.T) {
	keys := []string{"password"}
	for name, c := range map[string]struct {
		spec  string
		keys  []string
		data  map[string]string
		alien string // a key that somebody else wrote
		want  plan.Recovery
		taken map[string]string
	}{
		"as it was made":                  {generates, keys, map[string]string{"password": "x", "other": "y"}, "", plan.Taken, map[string]string{"password": "x"}},
		"not there":                       {generates, keys, map[string]string{"other": "y"}, "", plan.Absent, nil},
		"changed by somebody":             {generates, keys, map[string]string{"password": "x"}, "password", plan.Absent, nil},
		"with another, changed":           {generates, keys, map[string]string{"password": "x", "other": "y"}, "other", plan.Taken, map[string]string{"password": "x"}},
		"renamed":                         {`dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: p}}, rewrite: [{regexp: {source: "^", target: "db-"}}, {transform: {template: "{{ .value | upper }}"}}]}]`, keys, map[string]string{"DB-PASSWORD": "x"}, "", plan.Taken, map[string]string{"password": "x"}},
		"swapped":                         {`dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: p}}, rewrite: [{transform: {template: "{{ if eq .value \"a\" }}b{{ else }}a{{ end }}"}}]}]`, []string{"a", "b"}, map[string]string{"a": "1", "b": "2"}, "", plan.Taken, map[string]string{"a": "2", "b": "1"}},
		"dropped by a rewrite":            {`dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: p}}, rewrite: [{regexp: {source: "^b$", target: ""}}]}]`, []string{"a", "b"}, map[string]string{"a": "1"}, "", plan.Hidden, nil},
		"merged":                          {`dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: p}}, rewrite: [{merge: {}}]}]`, keys, map[string]string{"password": "x"}, "", plan.Hidden, nil},
		"behind a template":               {generates + "\ntarget: {template: {data: {a: b}}}", keys, map[string]string{"password": "x"}, "", plan.Hidden, nil},
		"beside a template":               {generates + "\ntarget: {template: {mergePolicy: Merge, data: {a: b}}}", keys, map[string]string{"password": "x"}, "", plan.Taken, map[string]string{"password": "x"}},
		"replaced by a template":          {generates + "\ntarget: {template: {mergePolicy: Merge, data: {password: b}}}", keys, map[string]string{"password": "x"}, "", plan.Hidden, nil},
		"template of metadata":            {generates + "\ntarget: {template: {metadata: {labels: {a: b}}}}", keys, map[string]string{"password": "x"}, "", plan.Taken, map[string]string{"password": "x"}},
		"overridden by data":              {"secretStoreRef: {name: v}\ndata: [{secretKey: password, remoteRef: {key: k}}]\n" + generates, keys, map[string]string{"password": "x"}, "", plan.Hidden, nil},
		"unknown keys alone":              {generates, nil, map[string]string{"a": "1", "b": "2"}, "", plan.Taken, map[string]string{"a": "1", "b": "2"}},
		"unknown keys, changed":           {generates, nil, map[string]string{"a": "1", "b": "2"}, "b", plan.Absent, nil},
		"unknown keys of nothing":         {generates, nil, nil, "", plan.Absent, nil},
		"unknown keys beside others":      {"secretStoreRef: {name: v}\ndata: [{secretKey: x, remoteRef: {key: k}}]\n" + generates, nil, map[string]string{"a": "1"}, "", plan.Hidden, nil},
		"unknown keys in somebody's":      {generates + "\ntarget: {creationPolicy: Merge}", nil, map[string]string{"a": "1"}, "", plan.Hidden, nil},
		"unknown keys under a rewrite":    {`dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: p}}, rewrite: [{regexp: {source: a, target: b}}]}]`, nil, map[string]string{"a": "1"}, "", plan.Hidden, nil},
		"unknown keys with templated one": {generates + "\ntarget: {template: {mergePolicy: Merge, data: {a: b}}}", nil, map[string]string{"a": "1"}, "", plan.Hidden, nil},
	} {
		t.Run(name, func(t *testing.T) {
			es := object(t, c.spec)
			if err := plan.Validate(&es.Spec); err != nil {
				t.Fatal(err)
			}
			data := map[string][]byte{}
			for k, v := range c.data {
				data[k] = []byte(v)
			}
			got, recovery := plan.TakeBack(t.Context(), engine(t), es, 0, plan.TakeFrom{Data: data, Keys: c.keys, Intact: func(k string) bool { return k != c.alien }})
			diff(t, c.want, recovery)
			diff(t, c.taken, revealed(got))
		})
	}
}

func revealed(values map[string]secret.Value) map[string]string {
	if values == nil {
		return nil
	}
	out := map[string]string{}
	for k, v := range values {
		out[k] = string(v.Reveal())
	}
	return out
}

func TestUnknownKeysOfAnotherSpecStayUnknown(t *testing.T) {
	es := object(t, generates)
	es.Generation = 4
	es.Status.SyncedResourceVersion = "3-abc"
	_, got := plan.TakeBack(t.Context(), engine(t), es, 0, plan.TakeFrom{Data: map[string][]byte{"a": nil}, Intact: func(string) bool { return true }})
	diff(t, plan.Hidden, got)
}

func TestWhoseATargetIs(t *testing.T) {
	es := object(t, generates)
	label := map[string]string{esv1.LabelManaged: esv1.LabelManagedValue}
	owned := map[string]string{esv1.LabelManaged: esv1.LabelManagedValue, esv1.LabelOwner: plan.OwnerLabel(es.Namespace, es.Name)}
	wrote := metav1.NewTime(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))
	fields := managed(t, plan.FieldOwner(es.Name), map[string]any{"f:data": set("password")})
	fields.Time = &wrote
	theirs := managed(t, "somebody", map[string]any{"f:data": set("password")})
	for name, c := range map[string]struct {
		labels map[string]string
		fields []metav1.ManagedFieldsEntry
		want   bool
	}{
		"nobody's":              {nil, nil, false},
		"another's":             {label, []metav1.ManagedFieldsEntry{theirs}, false},
		"ours by its owner":     {owned, nil, true},
		"ours by who wrote it":  {label, []metav1.ManagedFieldsEntry{fields}, true},
		"written, and let go":   {nil, []metav1.ManagedFieldsEntry{fields}, false},
		"written by both of us": {label, []metav1.ManagedFieldsEntry{fields, theirs}, false},
	} {
		t.Run(name, func(t *testing.T) {
			target := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: c.labels, ManagedFields: c.fields}}
			diff(t, c.want, plan.Mine(es, target))
		})
	}
	target := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "7", ManagedFields: []metav1.ManagedFieldsEntry{theirs, fields}}}
	diff(t, wrote.Time, plan.WrittenAt(es, target))

	// After a loss of the status everything counts; else what was changed since counts only
	// where it is still ours.
	diff(t, true, plan.Untouched(es, target)("password"))
	es.Status = esv1.ExternalSecretStatus{RefreshTime: wrote, SyncedResourceVersion: "1-a", TargetResourceVersion: "7"}
	diff(t, true, plan.Untouched(es, target)("password"))
	es.Status.TargetResourceVersion = "6"
	diff(t, false, plan.Untouched(es, target)("password"))
	target.ManagedFields = []metav1.ManagedFieldsEntry{fields}
	diff(t, true, plan.Untouched(es, target)("password"))
}
