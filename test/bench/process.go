package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// process is a running controller.
type process struct {
	cmd     *exec.Cmd
	metrics string
}

// start starts the controller for the objects of a namespace, or of all if it is
// empty, with more in its environment.
func (b *bench) start(ctx context.Context, namespace string, env ...string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	//nolint:gosec // the binary was built above
	cmd := exec.CommandContext(ctx, b.binary, "controller", "--namespace="+namespace, "--egress-allow=127.0.0.0/8",
		"--kubeconfig="+b.plane.Kubeconfig(), "--metrics-addr="+address, "--live-addr=0", "--loglevel=error")
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	return &process{cmd: cmd, metrics: "http://" + address + "/metrics"}, cmd.Start()
}

// cold starts the controller, waits until n objects are Ready, and returns at which rate
// they became so.
func (b *bench) cold(ctx context.Context, seen *ready, n int, namespace string, env ...string) (*process, float64, error) {
	began := time.Now()
	p, err := b.start(ctx, namespace, env...)
	if err != nil {
		return nil, 0, err
	}
	first, last, err := seen.all(ctx, n)
	if err != nil {
		p.stop()
		return nil, 0, err
	}
	rate := perSecond(n, first, last)
	fmt.Printf("  controller, from nothing    %7.1f objects/s   first Ready after %.2f s\n", rate, first.Sub(began).Seconds())
	counts, err := p.counts(ctx)
	if err != nil {
		p.stop()
		return nil, 0, err
	}
	counts.print("from nothing", counters{}, b.n)
	p.usage("from nothing")
	return p, rate, nil
}

// restart starts the controller again when nothing is due.
func (b *bench) restart(ctx context.Context, namespace string, d time.Duration) error {
	p, err := b.start(ctx, namespace)
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

// rest watches the controller do nothing.
func (b *bench) rest(ctx context.Context, p *process) error {
	before, err := p.counts(ctx)
	if err != nil {
		return err
	}
	cpu, err := p.cpu()
	if err != nil {
		return err
	}
	if err := wait(ctx, b.idle); err != nil {
		return err
	}
	after, err := p.counts(ctx)
	if err != nil {
		return err
	}
	after.print(fmt.Sprintf("idle for %s", b.idle), before, b.n)
	used, err := p.cpu()
	fmt.Printf("    processor                 %7.2f s\n", (used - cpu).Seconds())
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends the controller. It may be repeated.
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

// usage prints the processor time and the most memory that the controller used.
func (p *process) usage(what string) {
	cpu, err := p.cpu()
	if err != nil {
		fmt.Println("  usage:", err)
		return
	}
	fmt.Printf("  controller, %s: processor %.2f s, peak memory %.0f MiB\n", what, cpu.Seconds(), p.peak())
}

// ticks is the kernel's unit of processor time: USER_HZ, 100 a second on Linux.
const ticks = 100

// cpu is the processor time of the controller, from /proc.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc: %d fields", len(fields))
	}
	var sum int64
	for _, text := range fields[11:13] { // utime and stime
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// peak is the most resident memory so far, in MiB; 0 if the kernel does not say.
func (p *process) peak() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				return 0
			}
			return kib / 1024
		}
	}
	return 0
}
