package all

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/api/generators/v1alpha1"
	"github.com/keyferry/keyferry/provider/providertest/suite"
	"github.com/keyferry/keyferry/secret"
)

func TestEveryKindHasItsGenerator(t *testing.T) {
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v1alpha1.Kinds(), registry.Kinds()); diff != "" {
		t.Errorf("kinds of the API and of the registry (-want +got):\n%s", diff)
	}
}

// A kind must lead to the generator that takes its spec.
func TestGeneratorsTakeTheSpecOfTheirKind(t *testing.T) {
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range registry.Kinds() {
		t.Run(kind, func(t *testing.T) {
			object, ok := v1alpha1.New(kind)
			if !ok {
				t.Fatal("the API has no such kind")
			}
			g, err := registry.Lookup(kind)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Validate(object.GeneratorSpec()); errors.Is(err, secret.Internal) {
				t.Errorf("the generator takes another type: %v", err)
			}
		})
	}
}

func TestEveryFolderIsListedHeldToTheContractAndExplained(t *testing.T) {
	for _, name := range suite.Members(t, "generatortest") {
		if _, err := os.Stat(filepath.Join("..", "..", "docs", "generator", name+".md")); err != nil {
			t.Errorf("generators/%s has no page: write docs/generator/%s.md", name, name)
		}
	}
}
