package suite

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strconv"
)

// Members returns the folders beside that of the test, and fails the test for each that
// the file all.go does not import, or that has no test that calls Run of this package.
func Members(t T, conformance string) []string {
	t.Helper()
	listed := map[string]bool{}
	for _, i := range parse(t, "all.go").Imports {
		imported, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatalf("all.go: %v", err)
		}
		listed[path.Base(imported)] = true
	}
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatalf("the members: %v", err)
	}
	var names []string
	for _, folder := range folders {
		name := folder.Name()
		if !folder.IsDir() || name == "all" {
			continue
		}
		names = append(names, name)
		if !listed[name] {
			t.Errorf("%s is not in the list of Registry", name)
		}
		if !runs(t, filepath.Join("..", name), conformance) {
			t.Errorf("%s has no test that calls %s.Run", name, conformance)
		}
	}
	return names
}

func parse(t T, file string) *ast.File {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return tree
}

// runs reports whether a test of the folder calls Run of a package.
func runs(t T, folder, conformance string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatalf("%v", err)
	}
	found := false
	for _, file := range files {
		ast.Inspect(parse(t, file), func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fun, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || fun.Sel.Name != "Run" {
				return true
			}
			pkg, ok := fun.X.(*ast.Ident)
			found = found || ok && pkg.Name == conformance
			return true
		})
	}
	return found
}
