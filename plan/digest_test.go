package plan_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

func TestDigest(t *testing.T) {
	type input struct {
		key     string
		es      *esv1.ExternalSecret
		data    plan.Data
		sources map[string]map[string]secret.Value
	}
	base := func() *input {
		es := object(t, `data: [{secretKey: a, remoteRef: {key: k}}]`)
		es.Labels, es.Annotations = map[string]string{"l": "1"}, map[string]string{"n": "1"}
		return &input{"key", es, data("a", "1", "b", "2"), map[string]map[string]secret.Value{"Secret/s": values("x", "y")}}
	}
	sum := func(in *input) [32]byte { return plan.Digest([]byte(in.key), in.es, in.data, in.sources) }
	want := sum(base())
	if sum(base()) != want {
		t.Fatal("equal inputs differ")
	}
	seen := map[[32]byte]string{want: "nothing"}
	for name, change := range map[string]func(*input){
		"key":           func(in *input) { in.key = "other" },
		"uid":           func(in *input) { in.es.UID = "other" },
		"name":          func(in *input) { in.es.Name = "other" },
		"spec":          func(in *input) { in.es.Spec.Target.Name = "other" },
		"label":         func(in *input) { in.es.Labels["l"] = "2" },
		"annotation":    func(in *input) { in.es.Annotations["n"] = "2" },
		"value":         func(in *input) { in.data = data("a", "1", "b", "3") },
		"shifted value": func(in *input) { in.data = data("a", "1b2") },
		"missing":       func(in *input) { in.data.Missing = []string{"spec.data[0]"} },
		"source value":  func(in *input) { in.sources["Secret/s"] = values("x", "z") },
		"source name":   func(in *input) { in.sources = map[string]map[string]secret.Value{"Secret/t": values("x", "y")} },
	} {
		in := base()
		change(in)
		if got := sum(in); seen[got] != "" {
			t.Errorf("%s gives the same as %s", name, seen[got])
		} else {
			seen[got] = name
		}
	}
	same := base()
	same.es.Status.RefreshTime = metav1.NewTime(noon())
	same.es.ResourceVersion = "99"
	if sum(same) != want {
		t.Error("the status counts")
	}
}

func TestAdmits(t *testing.T) {
	for name, c := range map[string]struct {
		conditions string
		want       bool
		kind       secret.Kind
	}{
		"no conditions":                  {conditions: `[]`, want: true},
		"named":                          {conditions: `[{namespaces: [other, app]}]`, want: true},
		"not named":                      {conditions: `[{namespaces: [other]}]`},
		"an expression":                  {conditions: `[{namespaceRegexes: ["a.p"]}]`, want: true},
		"an expression for a part of it": {conditions: `[{namespaceRegexes: ["ap"]}]`},
		"an alternative is anchored too": {conditions: `[{namespaceRegexes: ["x|pp|a"]}]`},
		"a label":                        {conditions: `[{namespaceSelector: {matchLabels: {team: a}}}]`, want: true},
		"not all labels":                 {conditions: `[{namespaceSelector: {matchLabels: {team: a, x: y}}}]`},
		"one of several":                 {conditions: `[{namespaces: [other]}, {namespaceSelector: {matchLabels: {team: a}}}]`, want: true},
		"none of several":                {conditions: `[{namespaces: [other]}, {namespaceRegexes: [b]}, {namespaceSelector: {matchLabels: {team: b}}}]`},
		"an empty condition":             {conditions: `[{}]`},
		"an expression only if enclosed": {conditions: `[{namespaceRegexes: ["x)|(.*"]}]`, kind: secret.Invalid},
		"a bad expression":               {conditions: `[{namespaceRegexes: ["("]}]`, kind: secret.Invalid},
		"a bad selector":                 {conditions: `[{namespaceSelector: {matchExpressions: [{key: a, operator: Nope}]}}]`, kind: secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := plan.Admits(*parse[[]esv1.ClusterSecretStoreCondition](t, c.conditions), "app", map[string]string{"team": "a"})
			check(t, err, c.kind, "spec.conditions[0]")
			if got != c.want {
				t.Fatalf("admitted: %v", got)
			}
		})
	}
}
