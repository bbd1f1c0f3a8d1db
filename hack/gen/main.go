package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

func main() {
	if err := run(context.Background(), "."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes the files that differ from what is generated, and names them.
func run(ctx context.Context, root string) error {
	want, err := generate(ctx, root)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		path := filepath.Join(root, name)
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, want[name]) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, want[name], 0o644); err != nil {
			return err
		}
		fmt.Println("wrote", name)
	}
	return nil
}

// generate returns the content of every generated file, by its path from root.
func generate(ctx context.Context, root string) (map[string][]byte, error) {
	out := map[string][]byte{}
	packages, err := filepath.Glob(filepath.Join(root, "api/*/v*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range packages {
		rel, err := filepath.Rel(root, dir)
		if err != nil {
			return nil, err
		}
		if err := controllerGen(ctx, root, out, rel, "object", "paths=./"+filepath.ToSlash(rel)); err != nil {
			return nil, err
		}
	}
	if err := controllerGen(ctx, root, out, crdDir, "crd", "paths=./api/..."); err != nil {
		return nil, err
	}
	if err := finishCRDs(out); err != nil {
		return nil, err
	}
	return out, fillDocs(root, out)
}

// controllerGen runs controller-gen and adds the files that it makes to out, as
// files of the folder dir.
func controllerGen(ctx context.Context, root string, out map[string][]byte, dir string, args ...string) error {
	tmp, err := os.MkdirTemp("", "gen")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	args = append([]string{"tool", "-modfile=hack/tools/go.mod", "controller-gen", "output:dir=" + tmp}, args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("controller-gen for %s: %w\n%s", dir, err, text)
	}
	files, err := os.ReadDir(tmp)
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(tmp, f.Name()))
		if err != nil {
			return err
		}
		out[filepath.Join(dir, f.Name())] = b
	}
	return nil
}
