package all

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	esv1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
	"github.com/keyferry/keyferry/secret"
)

// names are the keys under spec.provider; a folder has the same in small letters.
func names() []string { return []string{"fake", "kubernetes", "openBao", "vault", "webhook"} }

func TestRegistry(t *testing.T) {
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(names(), registry.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// The name that a manifest selects by must lead to the provider that takes its type.
func TestManifestsSelectTheirProvider(t *testing.T) {
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range []*esv1.SecretStoreProvider{
		{Fake: &esv1.FakeProvider{}},
		{Kubernetes: &esv1.KubernetesProvider{Auth: &esv1.KubernetesAuth{Token: &esv1.TokenAuth{}}}},
		{OpenBao: &esv1.OpenBaoProvider{}},
		{Vault: &esv1.VaultProvider{}},
		{Webhook: &esv1.WebhookProvider{}},
	} {
		name, spec := manifest.Selected()
		t.Run(name, func(t *testing.T) {
			p, err := registry.Lookup(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Validate(spec); errors.Is(err, secret.Internal) {
				t.Errorf("the provider takes another type: %v", err)
			}
		})
	}
}

func TestEveryFolderIsListedAndHeldToTheContract(t *testing.T) {
	listed := map[string]bool{}
	for _, name := range names() {
		listed[strings.ToLower(name)] = true
	}
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if !folder.IsDir() || folder.Name() == "all" {
			continue
		}
		if !listed[folder.Name()] {
			t.Errorf("providers/%s is not in the list of Registry", folder.Name())
		}
		if !runsSuite(t, filepath.Join("..", folder.Name())) {
			t.Errorf("providers/%s has no test that calls providertest.Run", folder.Name())
		}
	}
}

// runsSuite reports whether a test of the folder calls providertest.Run.
func runsSuite(t *testing.T, folder string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fun, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || fun.Sel.Name != "Run" {
				return true
			}
			pkg, ok := fun.X.(*ast.Ident)
			found = found || ok && pkg.Name == "providertest"
			return true
		})
	}
	return found
}
