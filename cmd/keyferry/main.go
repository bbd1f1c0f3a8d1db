package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"k8s.io/utils/clock"

	"github.com/keyferry/keyferry/internal/cli"
	"github.com/keyferry/keyferry/providers/all"
)

func main() {
	registry, err := all.Registry()
	if err != nil {
		fmt.Fprintln(os.Stderr, "keyferry:", err)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		cause := cli.Terminated
		if <-signals == os.Interrupt {
			cause = cli.Interrupted
		}
		signal.Stop(signals) // a second signal ends the process at once
		cancel(cause)
	}()
	os.Exit(cli.Run(ctx, cli.New(cli.Build{Version: version(), Registry: registry, Clock: clock.RealClock{}})))
}

// version is that of the module, as the go command records it in the binary.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
