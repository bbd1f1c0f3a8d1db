package plan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/plan"
	"github.com/keyferry/keyferry/secret"
)

var update = flag.Bool("update", false, "write the wanted outcomes of the scenarios anew")

const scenarios = "../test/scenarios"

// entry is what a store of a scenario holds under a key.
type entry struct {
	Key      string            `json:"key"`
	Version  string            `json:"version"`
	Value    string            `json:"value"`
	Fields   map[string]string `json:"fields"`
	Tags     map[string]string `json:"tags"`
	Metadata map[string]string `json:"metadata"`
	// Error is the kind that reading it fails with.
	Error secret.Kind `json:"error"`
}

// outcome is what a scenario wants: what is done, and what is said. An error has no
// condition of its own: its text is the message of one.
type outcome struct {
	Verb   plan.Verb      `json:"verb,omitempty"`
	Ready  *plan.Outcome  `json:"ready,omitempty"`
	Error  string         `json:"error,omitempty"`
	Events []plan.Event   `json:"events,omitempty"`
	Target map[string]any `json:"target,omitempty"`
}

// world is a cluster and its stores, as far as a scenario needs them.
type world struct {
	es      *esv1.ExternalSecret
	stores  map[string][]entry
	sources map[string]map[string]secret.Value
	secret  *corev1.Secret
	object  *unstructured.Unstructured
}

// TestScenarios plays every file of test/scenarios: an ExternalSecret and the
// content of its stores become an outcome, and a second pass changes nothing. With
// files that begin with "then-" it goes on from there.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(scenarios, "*.txtar"))
	if err != nil || len(files) < 20 {
		t.Fatalf("only %d scenarios: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			names, parts := unpack(string(text))
			w := &world{}
			w.play(t, "", parts)
			w.play(t, "then-", parts)
			if *update {
				err = os.WriteFile(file, []byte(pack(names, parts)), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// play plays one step of a scenario, if it has that.
func (w *world) play(t *testing.T, step string, parts map[string]string) {
	t.Helper()
	name := step + "want.yaml"
	if _, ok := parts[name]; !ok {
		return
	}
	w.load(t, step, parts)
	got, err := yaml.Marshal(w.pass(t))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		parts[name] = string(got)
	} else if d := cmp.Diff(parts[name], string(got)); d != "" {
		t.Errorf("%s: want -, got +:\n%s", name, d)
	}
	if again := w.pass(t); again.Verb != plan.Nothing {
		t.Errorf("%s: a second pass does it again: %s", name, again.Verb)
	}
}

// unpack splits an archive into its files; the comment before them has no name.
func unpack(text string) (names []string, parts map[string]string) {
	parts = map[string]string{}
	name := ""
	names = append(names, name)
	for line := range strings.Lines(text) {
		if inner, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(inner, " --") {
			name = strings.TrimSuffix(inner, " --")
			names = append(names, name)
			parts[name] = ""
			continue
		}
		parts[name] += line
	}
	return names, parts
}

func pack(names []string, parts map[string]string) string {
	var b strings.Builder
	for _, name := range names {
		if name != "" {
			b.WriteString("-- " + name + " --\n")
		}
		b.WriteString(parts[name])
	}
	return b.String()
}

// load takes over what a step of the scenario says anew.
func (w *world) load(t *testing.T, step string, parts map[string]string) {
	t.Helper()
	if text, ok := parts[step+"externalsecret.yaml"]; ok {
		w.es = parse[esv1.ExternalSecret](t, text)
		w.es.Generation++
	}
	if text, ok := parts[step+"store.yaml"]; ok {
		w.stores = *parse[map[string][]entry](t, text)
	}
	if text, ok := parts[step+"existing.yaml"]; ok {
		w.secret = parse[corev1.Secret](t, text)
	}
	if text, ok := parts[step+"existing-object.yaml"]; ok {
		w.object = &unstructured.Unstructured{Object: *parse[map[string]any](t, text)}
	}
	if text, ok := parts[step+"templates.yaml"]; ok {
		w.sources = map[string]map[string]secret.Value{}
		for name, held := range *parse[map[string]map[string]string](t, text) {
			w.sources[name] = map[string]secret.Value{}
			for k, v := range held {
				w.sources[name][k] = secret.FromString(v)
			}
		}
	}
}

// pass is what a controller does, and takes over what it would write.
func (w *world) pass(t *testing.T) outcome {
	t.Helper()
	action, err := w.decide(t)
	if err != nil {
		out := outcome{Error: err.Error()}
		w.leaks(t, out)
		return out
	}
	out := outcome{Verb: action.Verb, Ready: &action.Ready, Events: action.Events}
	w.leaks(t, out)
	switch {
	case action.Verb == plan.Delete:
		w.secret, w.object = nil, nil
	case action.Secret != nil:
		out.Target = shown(t, action.Secret)
		w.secret = asHeld(t, w.es, w.secret, action.Secret)
	case action.Object != nil:
		out.Target = action.Object.Object
		w.object = action.Object
	}
	return out
}

func (w *world) decide(t *testing.T) (plan.Action, error) {
	t.Helper()
	if err := plan.Validate(&w.es.Spec); err != nil {
		return plan.Action{}, err
	}
	sources, err := plan.Sources(&w.es.Spec)
	if err != nil {
		return plan.Action{}, err
	}
	answers := make([]plan.Answer, len(sources))
	for i, s := range sources {
		answers[i] = w.answer(s)
	}
	data, err := plan.Collect(t.Context(), engine(t), &w.es.Spec, sources, answers)
	if err != nil {
		return plan.Action{}, err
	}
	return apply(t, plan.Target{Object: w.es, Data: data, Sources: w.sources, Existing: w.secret, Live: w.object, AllowGeneric: true})
}

// answer reads from a store, as package store would.
func (w *world) answer(s plan.Source) plan.Answer {
	from := s.Store.String()
	if s.Generator != nil { // what it makes is under its name
		from, s.Ref.Key = s.Generator.Kind+"/"+s.Generator.Name, "made"
	}
	held, ok := w.stores[from]
	if !ok {
		return plan.Answer{Err: &secret.Error{Kind: secret.NotFound, Op: "open"}}
	}
	if s.Find != nil {
		found := map[string]secret.Secret{}
		for _, e := range held {
			if matches(e, s.Find) {
				found[e.Key] = e.secret(false)
			}
		}
		return plan.Answer{Found: found}
	}
	i := slices.IndexFunc(held, func(e entry) bool { return e.Key == s.Ref.Key && (s.Ref.Version == "" || e.Version == s.Ref.Version) })
	if i < 0 {
		return plan.Answer{Err: &secret.Error{Kind: secret.NotFound, Op: "read", Provider: "fake", Ref: s.Ref}}
	}
	if held[i].Error != "" {
		return plan.Answer{Err: &secret.Error{Kind: held[i].Error, Op: "read", Provider: "fake", Ref: s.Ref}}
	}
	return plan.Answer{Secret: held[i].secret(s.Ref.Metadata)}
}

func matches(e entry, q *secret.Query) bool {
	for k, v := range q.Tags {
		if e.Tags[k] != v {
			return false
		}
	}
	return strings.HasPrefix(e.Key, q.Path) && (q.Name == nil || q.Name.MatchString(e.Key))
}

func (e entry) secret(metadata bool) secret.Secret {
	if metadata {
		raw, _ := json.Marshal(e.Metadata) // strings always encode
		return secret.Secret{Value: secret.New(raw)}
	}
	if e.Fields == nil {
		return secret.Secret{Value: secret.FromString(e.Value)}
	}
	fields := map[string]secret.Value{}
	for k, v := range e.Fields {
		fields[k] = secret.FromString(v)
	}
	return secret.Secret{Fields: fields}
}

// leaks looks for what the stores hold in what is said.
func (w *world) leaks(t *testing.T, out outcome) {
	t.Helper()
	said, err := json.Marshal([]any{out.Ready, out.Error, out.Events})
	if err != nil {
		t.Fatal(err)
	}
	for _, held := range w.stores {
		for _, e := range held {
			for _, word := range regexp.MustCompile(`[\w.-]{8,}`).FindAllString(e.Value, -1) {
				if bytes.Contains(said, []byte(word)) {
					t.Errorf("%q of the store is in %s", word, said)
				}
			}
		}
	}
}

// shown is a Secret as a scenario shows it: values as text where they are.
func shown(t *testing.T, s *corev1.Secret) map[string]any {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	text := map[string]any{}
	encoded, _ := out["data"].(map[string]any)
	for k, v := range s.Data {
		if utf8.Valid(v) {
			text[k] = string(v)
			delete(encoded, k)
		}
	}
	if len(encoded) == 0 {
		delete(out, "data")
	}
	out["stringData"] = text
	return out
}

// asHeld is after as the API server holds it: fields that were changed belong to
// whoever changed them.
func asHeld(t *testing.T, es *esv1.ExternalSecret, before, after *corev1.Secret) *corev1.Secret {
	t.Helper()
	if before == nil {
		before = &corev1.Secret{}
	}
	changed := func(old, now map[string]string) map[string]any {
		var keys []string
		for k, v := range now {
			if was, ok := old[k]; !ok || was != v {
				keys = append(keys, k)
			}
		}
		return set(keys...)
	}
	out := after.DeepCopy()
	out.ResourceVersion += "1"
	out.ManagedFields = append(slices.Clone(before.ManagedFields), managed(t, plan.FieldOwner(es.Name), map[string]any{
		"f:data": changed(plainData(before), plainData(after)),
		"f:metadata": map[string]any{
			"f:labels":      changed(before.Labels, after.Labels),
			"f:annotations": changed(before.Annotations, after.Annotations),
		},
	}))
	return out
}

// TestScenariosHoldNoStrayFiles keeps a typo in a file's name from switching it off.
func TestScenariosHoldNoStrayFiles(t *testing.T) {
	known := []string{"externalsecret.yaml", "store.yaml", "existing.yaml", "existing-object.yaml", "templates.yaml", "want.yaml"}
	files, err := filepath.Glob(filepath.Join(scenarios, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, parts := unpack(string(text))
		for _, name := range slices.Sorted(maps.Keys(parts)) {
			if name != "" && !slices.Contains(known, strings.TrimPrefix(name, "then-")) {
				t.Errorf("%s: %s is not one of %v", file, name, known)
			}
		}
		if strings.TrimSpace(parts[""]) == "" || parts["externalsecret.yaml"] == "" || parts["want.yaml"] == "" && !*update {
			t.Errorf("%s needs a comment, externalsecret.yaml and want.yaml", file)
		}
	}
}
