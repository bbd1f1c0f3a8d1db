package plan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/template"
)

// mark is in every value whose way into a message would be a leak.
const mark = "S3CR3T-CANARY"

func parse[T any](t *testing.T, text string) *T {
	t.Helper()
	out := new(T)
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(text, "\t", "  ")), out); err != nil {
		t.Fatalf("parse: %v\n%s", err, text)
	}
	return out
}

// object returns an ExternalSecret app/db with that spec.
func object(t *testing.T, spec string) *esv1.ExternalSecret {
	t.Helper()
	es := &esv1.ExternalSecret{Spec: *parse[esv1.ExternalSecretSpec](t, spec)}
	es.Name, es.Namespace, es.UID, es.Generation = "db", "app", "uid-db", 1
	return es
}

func engine(t *testing.T) *template.Engine {
	t.Helper()
	e, err := template.New(template.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func values(kv ...string) map[string]secret.Value {
	out := map[string]secret.Value{}
	for i := 0; i < len(kv); i += 2 {
		out[kv[i]] = secret.FromString(kv[i+1])
	}
	return out
}

func reveal(in map[string]secret.Value) map[string]string {
	out := map[string]string{}
	for k, v := range in {
		out[k] = string(v.Reveal())
	}
	return out
}

// check compares the kind and a part of the text of an error, and looks for leaks.
func check(t *testing.T, err error, kind secret.Kind, part string) {
	t.Helper()
	if kind == "" {
		if err != nil {
			t.Fatalf("unexpected error: %v", err)
		}
		return
	}
	if !errors.Is(err, kind) {
		t.Fatalf("error %v is not %s", err, kind)
	}
	if text := err.Error(); !strings.HasPrefix(text, string(kind)+": ") || !strings.Contains(text, part) || strings.Contains(text, mark) || strings.Contains(text, "\n") {
		t.Fatalf("error %q: want it to begin with %s, contain %q, be one line and hold no value", text, kind, part)
	}
}

// managed returns the entry of managedFields of an update by manager.
func managed(t *testing.T, manager string, fields map[string]any) metav1.ManagedFieldsEntry {
	t.Helper()
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(string(raw))}
}

// set returns keys as managedFields has them.
func set(keys ...string) map[string]any {
	out := map[string]any{".": map[string]any{}}
	for _, k := range keys {
		out["f:"+k] = map[string]any{}
	}
	return out
}

func diff(t *testing.T, want, got any, opts ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, opts...); d != "" {
		t.Fatalf("want -, got +:\n%s", d)
	}
}

func plainData(s *corev1.Secret) map[string]string {
	out := map[string]string{}
	for k, v := range s.Data {
		out[k] = string(v)
	}
	return out
}

// apply decides, and makes sure that nothing it was given is changed.
func apply(t *testing.T, target plan.Target) (plan.Action, error) {
	t.Helper()
	if target.Engine == nil {
		target.Engine = engine(t)
	}
	before, err := json.Marshal([]any{target.Object, target.Existing, target.Live})
	if err != nil {
		t.Fatal(err)
	}
	decide := plan.Apply
	if plan.IsGeneric(target.Object) {
		decide = plan.ApplyGeneric
	}
	action, failed := decide(t.Context(), target)
	after, err := json.Marshal([]any{target.Object, target.Existing, target.Live})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Fatalf("the inputs were changed:\n%s\n%s", before, after)
	}
	return action, failed
}
