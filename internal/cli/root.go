package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyferry/keyferry/generator"
	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// Build is what main puts into the commands.
type Build struct {
	Version    string
	Registry   provider.Registry
	Generators generator.Registry
	Clock      provider.Clock
}

// Signal is the cause of a context that a signal ended.
type Signal string

// The signals that end a command.
const (
	Interrupted Signal = "interrupted"
	Terminated  Signal = "terminated"
)

// Error returns the name of the signal.
func (s Signal) Error() string { return string(s) }

// New returns the root command.
func New(b Build) *cobra.Command {
	root := &cobra.Command{
		Use:   "keyferry",
		Short: "Keep secrets in step between external stores and Kubernetes",
		Long: "Keyferry brings secrets from external stores into Kubernetes, and from Kubernetes into stores\n" +
			"(keyferry controller); or from stores into files, without a cluster (keyferry sync).",
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return misuse(fmt.Errorf("%w: see %s --help", err, cmd.CommandPath()))
	})
	root.AddCommand(newSync(b), newController(b), &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "keyferry", b.Version)
			return err
		},
	})
	return root
}

// noArgs refuses arguments, and says what they may have been meant to be.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.Flags().Lookup("filename") != nil:
		return misuse(fmt.Errorf("%s takes no arguments: name manifests with -f %s", cmd.CommandPath(), args[0]))
	case cmd.HasParent():
		return misuse(fmt.Errorf("%s takes no arguments: leave out %q", cmd.CommandPath(), args[0]))
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return misuse(fmt.Errorf("there is no command %q: did you mean %s?", args[0], strings.Join(near, " or ")))
	}
	return misuse(fmt.Errorf("there is no command %q: see %s --help", args[0], cmd.CommandPath()))
}

// Run executes a command, prints its error as one line, and returns the exit code: 0,
// or that of the kind of the error. It blocks until the command is done.
func Run(ctx context.Context, root *cobra.Command) int {
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if signal, ok := errors.AsType[Signal](err); ok {
		if signal == Interrupted {
			return 130
		}
		return 143
	}
	if _, told := errors.AsType[toldError](err); !told {
		fmt.Fprintf(root.ErrOrStderr(), "keyferry: %s\n", reconcile.Message(err))
	}
	return exitCode(secret.KindOf(err))
}

// toldError is one that was printed already.
type toldError struct{ error }

func (e toldError) Unwrap() error { return e.error }

func exitCode(kind secret.Kind) int {
	switch kind {
	case secret.Invalid, secret.Unsupported:
		return 2
	case secret.NotFound:
		return 4
	case secret.Unauthenticated, secret.Denied:
		return 5
	case secret.Conflict:
		return 6
	case secret.RateLimited, secret.Unavailable:
		return 7
	}
	return 1
}
