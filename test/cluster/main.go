package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register" // the components' --logging-format=json
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

const usage = "usage: cluster up --dir DIRECTORY"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	os.Exit(dispatch(os.Args[1], os.Args[2:]))
}

// dispatch runs the named component, or the supervisor that starts them all.
func dispatch(name string, args []string) int {
	switch name {
	case etcdName:
		etcdmain.Main(append([]string{etcdName}, args...))
		return 0
	case apiserverName:
		return component(apiserver.NewAPIServerCommand(), args)
	case kcmName:
		return component(kcm.NewControllerManagerCommand(), args)
	case "up":
		if err := up(args); err != nil {
			fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
			return 1
		}
		return 0
	default:
		fmt.Fprintf(os.Stderr, "cluster: %q is no command\n%s\n", name, usage)
		return 2
	}
}

func component(c *cobra.Command, args []string) int {
	c.SetArgs(args)
	return cli.Run(c)
}

func up(args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	dir := flags.String("dir", "", "an empty or absent directory for certificates, data and logs")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case *dir == "" || flags.NArg() > 0:
		return errors.New(usage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	p, err := newPlane(*dir)
	if err != nil {
		return err
	}
	return p.run(untilEOF(ctx, os.Stdin), os.Stdout)
}
