package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	genv1alpha1 "github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/generators/password"
	"github.com/keyferry/keyferry/internal/local"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
	"github.com/keyferry/keyferry/template"
)

const generators = `
apiVersion: generators.external-secrets.io/v1alpha1
kind: Password
metadata: {name: strong}
spec: {length: 20}
---
apiVersion: generators.external-secrets.io/v1alpha1
kind: ClusterGenerator
metadata: {name: shared}
spec: {kind: Password, generator: {passwordSpec: {length: 12}}}
---
apiVersion: generators.external-secrets.io/v1alpha1
kind: UUID
metadata: {name: token}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: app}
spec:
`

// generate syncs one ExternalSecret with generators into dir, and returns what became of
// it and the tokens of kind UUID that are alive.
func generate(t *testing.T, dir, spec string) (result local.Result, alive int) {
	t.Helper()
	m, err := local.Load(local.Input{Paths: []string{"-"}, Stdin: strings.NewReader(generators + spec)})
	if err != nil {
		t.Fatal(err)
	}
	registry, err := generator.NewRegistry(password.Generator(), generator.Define(generator.Definition[genv1alpha1.UUIDSpec]{
		Kind: genv1alpha1.UUIDKind,
		Generate: func(context.Context, *genv1alpha1.UUIDSpec, provider.Env) (generator.Output, error) {
			alive++
			return generator.Output{Values: map[string]secret.Value{"token": secret.FromString("t")}, State: json.RawMessage(`{"id":1}`)}, nil
		},
		Cleanup: func(context.Context, *genv1alpha1.UUIDSpec, provider.Env, json.RawMessage) error {
			alive--
			return nil
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	surroundings := local.NewSurroundings(nil, nil)
	pool := store.New(store.Config{Generators: registry, Surroundings: surroundings, Clock: bubbleClock{}})
	defer pool.Close()
	templates, err := template.New(template.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := local.Open(local.Options{Dir: dir, Format: local.FormatFiles})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	engine := local.NewEngine(local.Config{Pool: pool, Generators: registry, Templates: templates, Surroundings: surroundings, Output: out, Clock: bubbleClock{}})
	engine.Sync(t.Context(), m, m.ExternalSecrets, bubbleClock{}.Now(), func(r local.Result) { result = r })
	return result, alive
}

func content(t *testing.T, dir, key string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "default", "app", key))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestGeneratedValuesAreKeptWhereTheyAre(t *testing.T) {
	for name, c := range map[string]struct {
		spec, key string
		length    int
	}{
		"as they were made": {`  dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: strong}}}]`, "password", 20},
		"renamed":           {`  dataFrom: [{sourceRef: {generatorRef: {kind: ClusterGenerator, name: shared}}, rewrite: [{regexp: {source: "^", target: "db-"}}]}]`, "db-password", 12},
		"behind a template": {"  target: {template: {data: {url: \"u:{{ .password }}\"}}}\n" + `  dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: strong}}}]`, "url", 22},
		"for ever, once":    {"  refreshPolicy: CreatedOnce\n" + `  dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: strong}}}]`, "password", 20},
		"beside a template": {"  target: {template: {mergePolicy: Merge, data: {a: b}}}\n" + `  dataFrom: [{sourceRef: {generatorRef: {kind: Password, name: strong}}}]`, "password", 20},
		"whoever is first":  {`  dataFrom: [{sourceRef: {generatorRef: {kind: ClusterGenerator, name: shared}}}, {sourceRef: {generatorRef: {kind: Password, name: strong}}}]`, "password", 20},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if r, _ := generate(t, dir, c.spec); r.Err != nil {
				t.Fatal(r.Err)
			}
			first := content(t, dir, c.key)
			if len(first) != c.length {
				t.Errorf("%d characters, want %d", len(first), c.length)
			}
			r, _ := generate(t, dir, c.spec)
			if r.Err != nil || len(r.Changes) > 0 {
				t.Errorf("the second run changes %v, %v", r.Changes, r.Err)
			}
			if content(t, dir, c.key) != first {
				t.Error("the second run made another")
			}
			if err := os.RemoveAll(filepath.Join(dir, "default")); err != nil {
				t.Fatal(err)
			}
			if r, _ := generate(t, dir, c.spec); r.Err != nil || content(t, dir, c.key) == first {
				t.Errorf("what was deleted is not made anew: %v", r.Err)
			}
		})
	}
}

func TestWhatCannotBeGeneratedWithoutACluster(t *testing.T) {
	for name, c := range map[string]struct {
		ref  string
		want secret.Kind
	}{
		"what is not in the manifests":       {`{kind: Password, name: other}`, secret.Invalid},
		"what somebody would have to end":    {`{kind: UUID, name: token}`, secret.Unsupported},
		"what this build has no maker for":   {`{kind: MFA, name: x}`, secret.Invalid},
		"what is of the cluster and is not ": {`{kind: ClusterGenerator, name: strong}`, secret.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			r, alive := generate(t, t.TempDir(), `  dataFrom: [{sourceRef: {generatorRef: `+c.ref+`}}]`)
			if !errors.Is(r.Err, c.want) || alive != 0 {
				t.Errorf("error %v, %d alive", r.Err, alive)
			}
		})
	}
}
