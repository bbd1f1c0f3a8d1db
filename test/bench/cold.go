package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/keyferry/keyferry/api/externalsecrets/v1"
)

// process is a running controller and what was measured of its start.
type process struct {
	cmd     *exec.Cmd
	metrics string
	seen    *ready
	first   time.Duration
	rate    float64
}

// start starts the controller on the objects of the cold side.
func (b *bench) start(ctx context.Context, binary string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	//nolint:gosec // the binary was built above
	cmd := exec.CommandContext(ctx, binary, "controller", "--namespace="+coldNamespace, "--egress-allow=127.0.0.0/8",
		"--kubeconfig="+b.plane.Kubeconfig(), "--metrics-addr="+address, "--live-addr=0", "--loglevel=error")
	cmd.Stderr = os.Stderr
	return &process{cmd: cmd, metrics: "http://" + address + "/metrics"}, cmd.Start()
}

// cold starts the controller and waits until all objects are Ready.
func (b *bench) cold(ctx context.Context, binary string) (*process, error) {
	seen, err := b.watchReady(ctx, coldNamespace)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	p, err := b.start(ctx, binary)
	if err != nil {
		return nil, err
	}
	first, last, err := seen.all(ctx, b.n)
	if err != nil {
		p.stop()
		return nil, err
	}
	p.seen, p.first, p.rate = seen, first.Sub(began), perSecond(b.n, first, last)
	return p, nil
}

// restart starts the controller again when nothing is due.
func (b *bench) restart(ctx context.Context, binary string, d time.Duration) error {
	p, err := b.start(ctx, binary)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := wait(ctx, d); err != nil {
		return err
	}
	counts, err := p.counts(ctx)
	if err != nil {
		return err
	}
	counts.print(fmt.Sprintf("restart, %s", d), counters{}, b.n)
	p.usage("restart")
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended
	_ = p.cmd.Wait()
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// idle watches the controller do nothing.
func (b *bench) idle(ctx context.Context, p *process, before counters, d time.Duration) error {
	cpu, err := p.cpu()
	if err != nil {
		return err
	}
	if err := wait(ctx, d); err != nil {
		return err
	}
	after, err := p.counts(ctx)
	if err != nil {
		return err
	}
	after.print(fmt.Sprintf("idle for %s", d), before, b.n)
	used, err := p.cpu()
	fmt.Printf("    processor                 %7.2f s\n", (used - cpu).Seconds())
	return err
}

// force has every object refreshed although nothing has changed.
func (b *bench) force(ctx context.Context, p *process) error {
	before, err := p.counts(ctx)
	if err != nil {
		return err
	}
	p.seen.mu.Lock()
	was := maps.Clone(p.seen.names)
	p.seen.mu.Unlock()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1.AnnotationForceSync: "1"}}})
	if err != nil {
		return err
	}
	start := time.Now()
	err = b.each(ctx, func(ctx context.Context, i int) error {
		es := &v1.ExternalSecret{ObjectMeta: metav1.ObjectMeta{Namespace: coldNamespace, Name: objectName(i)}}
		return b.api.Patch(ctx, es, client.RawPatch(types.MergePatchType, patch))
	})
	if err != nil {
		return err
	}
	_, last, err := p.seen.until(ctx, func() bool {
		for name, version := range p.seen.names {
			if was[name] == version {
				return false
			}
		}
		return true
	})
	if err != nil {
		return errors.Join(errors.New("forced refresh"), err)
	}
	after, err := p.counts(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("  forced refresh of all       %7.2f s, beside the requests that ask for it\n", last.Sub(start).Seconds())
	after.print("forced refresh", before, b.n)
	p.usage("in all")
	return nil
}
