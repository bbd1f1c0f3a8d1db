package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keyferry/keyferry/config/crds"
	"github.com/keyferry/keyferry/internal/testenv"
)

func main() {
	sizes := flag.String("n", "1000,5000", "how many objects, one run each")
	idle := flag.Duration("idle", time.Minute, "how long to watch the controller do nothing")
	binary := flag.String("binary", "", "a keyferry to measure, instead of this checkout's")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *sizes, *idle, *binary); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, sizes string, idle time.Duration, binary string) error {
	dir, err := os.MkdirTemp("", "keyferry-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is a temporary folder
	if binary == "" {
		binary = filepath.Join(dir, "keyferry")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/keyferry")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build keyferry: %w", err)
		}
	}
	for text := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 2 {
			return fmt.Errorf("-n: %q is not a number of objects", text)
		}
		if err := measure(ctx, binary, n, idle); err != nil {
			return fmt.Errorf("with %d objects: %w", n, err)
		}
	}
	return nil
}

// measure does one comparison on servers of its own.
func measure(ctx context.Context, binary string, n int, idle time.Duration) error {
	fmt.Printf("N = %d ExternalSecrets of three keys each\n", n)
	b, err := newBench(ctx, n)
	if err != nil {
		return err
	}
	defer b.close()
	definitions, err := crds.All()
	if err != nil {
		return err
	}
	if err := testenv.InstallCRDs(ctx, b.config, definitions); err != nil {
		return err
	}
	if err := b.seed(ctx); err != nil {
		return err
	}
	limit, err := b.bare(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("  a: bare client              %7.1f objects/s\n", limit)
	p, err := b.cold(ctx, binary)
	if err != nil {
		return err
	}
	defer p.stop()
	fmt.Printf("  b: cold start               %7.1f objects/s   first Ready after %.2f s\n", p.rate, p.first.Seconds())
	fmt.Printf("  ratio b/a                   %7.2f\n", p.rate/limit)
	counts, err := p.counts(ctx)
	if err != nil {
		return err
	}
	counts.print("cold start", counters{}, n)
	p.usage("cold start")
	if err := b.idle(ctx, p, counts, idle); err != nil {
		return err
	}
	if err := b.force(ctx, p); err != nil {
		return err
	}
	p.stop()
	return b.restart(ctx, binary, 10*time.Second)
}
