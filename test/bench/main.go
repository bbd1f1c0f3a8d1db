package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	only, sizes, binary string
	idle                time.Duration
	every               bool
}

// part is one thing to measure, and with how many objects.
type part struct {
	name  string
	sizes []int
	run   func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"es", []int{1000, 5000}, externalSecrets},
		{"push", []int{1000}, pushSecrets},
		{"aws", []int{1000}, secretsManager},
		{"namespaces", []int{2000}, namespaces},
	}
}

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "the parts to run, such as push,aws; empty is all: es, push, aws, namespaces")
	flag.StringVar(&o.sizes, "n", "", "how many objects, or namespaces, one run each; empty is what each part is for")
	flag.DurationVar(&o.idle, "idle", time.Minute, "part es: how long to watch the controller do nothing")
	flag.BoolVar(&o.every, "every", false, "part namespaces: have every ClusterExternalSecret select every namespace")
	flag.StringVar(&o.binary, "binary", "", "a keyferry to measure, instead of this checkout's")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	chosen, err := choose(o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "keyferry-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is a temporary folder
	if o.binary == "" {
		o.binary = filepath.Join(dir, "keyferry")
		build := exec.CommandContext(ctx, "go", "build", "-o", o.binary, "./cmd/keyferry")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build keyferry: %w", err)
		}
	}
	var missed []error
	for _, p := range chosen {
		for _, n := range p.sizes {
			short, err := measure(ctx, p, n, o)
			if err != nil {
				return fmt.Errorf("%s with %d: %w", p.name, n, err)
			}
			missed = append(missed, short...)
		}
	}
	return errors.Join(missed...)
}

func choose(o options) ([]part, error) {
	chosen := parts()
	if o.only != "" {
		names := strings.Split(o.only, ",")
		chosen = slices.DeleteFunc(chosen, func(p part) bool { return !slices.Contains(names, p.name) })
		if len(chosen) != len(names) {
			return nil, fmt.Errorf("-only: %q: the parts are es, push, aws, namespaces", o.only)
		}
	}
	if o.sizes == "" {
		return chosen, nil
	}
	var sizes []int
	for text := range strings.SplitSeq(o.sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 4 {
			return nil, fmt.Errorf("-n: %q is not a number of objects", text)
		}
		sizes = append(sizes, n)
	}
	for i := range chosen {
		chosen[i].sizes = sizes
	}
	return chosen, nil
}

// measure runs one part on servers of its own, and returns the bars that it missed.
func measure(ctx context.Context, p part, n int, o options) ([]error, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the watches
	defer cancel()
	b, err := newBench(ctx, n, o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	err = p.run(ctx, b)
	return b.missed, err
}
