package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"k8s.io/client-go/rest"

	"github.com/keyferry/keyferry/config/crds"
	"github.com/keyferry/keyferry/internal/testenv"
)

func main() {
	runtime.LockOSThread() // the controller ends with the thread that starts it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
	fmt.Println("stopped: nothing is left")
}

// run starts everything, waits until ctx ends or the controller does, and stops it.
func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "keyferry-dev-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Println("starting a control plane and OpenBao")
	plane, err := testenv.NewControlPlane(ctx)
	if err != nil {
		return err
	}
	defer plane.Close()
	bao, err := testenv.NewBao(ctx)
	if err != nil {
		return err
	}
	defer bao.Close()
	fmt.Println("control plane and OpenBao run; building keyferry")
	c, err := newController(ctx, dir)
	if err != nil {
		return err
	}
	if err := define(ctx, plane); err != nil {
		return err
	}
	if err := c.start(plane.Kubeconfig()); err != nil {
		return err
	}
	defer c.stop()
	d := demo{plane: plane, bao: bao}
	if err := d.fill(ctx); err != nil {
		return err
	}
	if err := d.awaitReady(ctx); err != nil {
		return errors.Join(err, c.said())
	}
	d.explain(c)
	select {
	case <-ctx.Done():
		fmt.Println("\nstopping")
		return nil
	case <-c.ended:
		return errors.Join(errors.New("the controller ended by itself"), c.said())
	}
}

// define installs the definitions.
func define(ctx context.Context, plane *testenv.ControlPlane) error {
	definitions, err := crds.All()
	if err != nil {
		return err
	}
	config := plane.Config()
	config.WarningHandler = rest.NoWarnings{} // v1beta1 is asked for to see that it is served
	return testenv.InstallCRDs(ctx, config, definitions)
}

// controller is keyferry as users run it.
type controller struct {
	binary, log, metrics string

	cmd   *exec.Cmd
	ended chan struct{}
}

func newController(ctx context.Context, dir string) (*controller, error) {
	c := &controller{binary: filepath.Join(dir, "keyferry"), log: filepath.Join(dir, "controller.log"), ended: make(chan struct{})}
	build := exec.CommandContext(ctx, "go", "build", "-o", c.binary, "./cmd/keyferry")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build keyferry: %w: run this from the root of the checkout", err)
	}
	var err error
	c.metrics, err = freeAddress()
	return c, err
}

func (c *controller) start(kubeconfig string) error {
	log, err := os.Create(c.log)
	if err != nil {
		return err
	}
	defer log.Close()
	// OpenBao listens on loopback, which a SecretStore may not reach unless it is opened.
	//nolint:gosec,noctx // it was built above, and is ended in order, not by a context
	c.cmd = exec.Command(c.binary, "controller", "--kubeconfig="+kubeconfig, "--egress-allow=127.0.0.0/8",
		"--metrics-addr="+c.metrics, "--live-addr=0", "--zap-time-encoding=rfc3339")
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.SysProcAttr = log, log, bound()
	if err := c.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = c.cmd.Wait() // the log says why
		close(c.ended)
	}()
	return nil
}

func (c *controller) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-c.ended
}

// said is the log of the controller, as an error.
func (c *controller) said() error {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err
	}
	const most = 4096
	return fmt.Errorf("its log ends with:\n%s", text[max(0, len(text)-most):])
}
