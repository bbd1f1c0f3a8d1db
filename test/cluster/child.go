package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// startTimeout is how long a component may take to become ready on a busy machine.
	startTimeout = 2 * time.Minute
	// maxFailures is how often in a row a component may die before it is ready.
	maxFailures = 5
)

// child is one component and the process it runs in at the moment.
type child struct {
	name   string
	args   []string
	health string // the address that answers 200 once the component is ready
	log    string // the file that it logs to
	pid    atomic.Int64
}

// process is one run of a child; done is closed when it has ended, after err is set.
type process struct {
	child *child
	kill  context.CancelFunc
	done  chan struct{}
	err   error
}

// start starts a process, which is killed when ctx ends.
func (c *child) start(ctx context.Context, exe string) (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, kill := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, exe, append([]string{c.name}, c.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = filepath.Dir(c.log)
	cmd.SysProcAttr = bound()
	p := &process{child: c, kill: kill, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		defer kill()
		defer log.Close()
		// The kernel kills a bound child when the thread that started it ends: this
		// thread stays until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("start %s: %w", c.name, err)
			return
		}
		c.pid.Store(int64(cmd.Process.Pid))
		close(started)
		p.err = cmd.Wait()
	}()
	return p, <-started
}

// ready returns once the process answers that it is ready. It fails when the
// process ends before that, or takes too long: then it is killed.
func (p *process) ready(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for !healthy(ctx, client, p.child.health) {
		select {
		case <-p.done:
			return p.death()
		case <-ctx.Done():
			p.kill()
			return fmt.Errorf("%s is not ready: %w; its log: %s", p.child.name, ctx.Err(), p.child.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// death says how the process ended, with the last lines of its log.
func (p *process) death() error {
	err := p.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended: %w\n%s", p.child.name, err, tail(p.child.log))
}

// healthy reports whether the address answers 200 soon.
func healthy(ctx context.Context, client *http.Client, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// tail returns the last lines of a log.
func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
