package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"k8s.io/utils/clock"

	generators "github.com/keyferry/keyferry/generators/all"
	"github.com/keyferry/keyferry/internal/cli"
	providers "github.com/keyferry/keyferry/providers/all"
)

func main() {
	stores, err := providers.Registry()
	made, more := generators.Registry()
	if err := errors.Join(err, more); err != nil {
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
	os.Exit(cli.Run(ctx, cli.New(cli.Build{Version: version(), Registry: stores, Generators: made, Clock: clock.RealClock{}})))
}

// version is that of the module, as the go command records it in the binary.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
