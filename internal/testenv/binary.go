package testenv

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const modulePath = "github.com/keyferry/keyferry"

// binary returns the path of the server that the module test/NAME builds. It
// builds it unless the cache has it; of several processes one builds and the
// others wait.
func binary(ctx context.Context, name string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "test", name)
	key, err := sourceKey(source)
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, name+"-"+key)
	if exists(path) {
		return path, nil
	}
	unlock, err := lock(ctx, path+".lock", func() {
		fmt.Fprintf(os.Stderr, "waiting for another process that builds test/%s\n", name)
	})
	if err != nil {
		return "", fmt.Errorf("wait for the build of test/%s: %w", name, err)
	}
	defer unlock()
	if exists(path) {
		return path, nil
	}
	fmt.Fprintf(os.Stderr, "building test/%s, 4 to 8 minutes the first time on 2 cores; it is kept in %s\n", name, cache)
	return path, build(ctx, source, path)
}

// build compiles the main package in source to path.
func build(ctx context.Context, source, path string) error {
	proxy, err := firstProxy(ctx)
	if err != nil {
		return err
	}
	unfinished := path + ".new"
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", unfinished, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false",
		"GOTOOLCHAIN=local", "GOWORK=off", "GOPROXY="+proxy)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", source, err, bytes.TrimSpace(out))
	}
	return os.Rename(unfinished, path)
}

// firstProxy returns the first entry of GOPROXY: a version that it lacks is an
// error at once, where the entries after it can hang.
func firstProxy(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOPROXY").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOPROXY: %w", err)
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(string(out)), "|", ","), ",")
	return first, nil
}

// moduleRoot returns the checkout that the working directory is in.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if isModule(filepath.Join(dir, "go.mod")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside a checkout of " + modulePath + ": change to one")
		}
		dir = parent
	}
}

func isModule(file string) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	return s.Scan() && s.Text() == "module "+modulePath
}

// sourceKey hashes all that decides what is built.
func sourceKey(source string) (string, error) {
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, file := range append(files, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum")) {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("hash the sources of a test server: %w", err)
		}
		fmt.Fprintln(h, filepath.Base(file), len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// cacheDir returns the folder of the binaries, and makes it.
func cacheDir() (string, error) {
	base := os.Getenv("KEYFERRY_CACHE")
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w: set KEYFERRY_CACHE to a folder", err)
		}
		base = filepath.Join(user, "keyferry")
	}
	dir := filepath.Join(base, "bin")
	return dir, os.MkdirAll(dir, 0o755)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
