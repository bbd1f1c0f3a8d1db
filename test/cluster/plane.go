package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// plane is the control plane: its files, and its components in the order in which
// they start.
type plane struct {
	exe    string
	server string
	files  files
	client *http.Client

	etcd, apiserver, kcm *child
}

// newPlane makes everything that the components need in dir.
func newPlane(dir string) (*plane, error) {
	dir, err := privateDir(dir)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := reservePorts()
	if err != nil {
		return nil, err
	}
	f := files{dir}
	if err := f.write(url(p.apiserver)); err != nil {
		return nil, err
	}
	client, err := f.client()
	if err != nil {
		return nil, err
	}
	return &plane{
		exe: exe, server: url(p.apiserver), files: f, client: client,
		etcd: f.etcd(p), apiserver: f.apiserver(p), kcm: f.controllerManager(p),
	}, nil
}

// privateDir makes the directory if it is absent, and fails if there is anything
// in it: data of an earlier run does not fit new certificates.
func privateDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("--dir %s is not empty: name a new directory", dir)
	}
	return dir, os.Chmod(dir, 0o700)
}

// run keeps the components running until ctx ends, then kills them and returns
// once they are gone. It fails when one of them does not start.
func (p *plane) run(ctx context.Context, stdout io.Writer) error {
	ctx, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(nil)

	restarted := make(chan struct{})
	for _, c := range []*child{p.etcd, p.apiserver, p.kcm} {
		process, err := p.start(ctx, c)
		if process != nil {
			wg.Go(func() { <-process.done })
		}
		if err != nil {
			return unlessEnded(ctx, err)
		}
		wg.Go(func() { stop(p.keep(ctx, process, restarted)) })
	}
	for {
		if err := p.announce(stdout); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return unlessEnded(ctx, context.Cause(ctx))
		case <-restarted:
		}
	}
}

// unlessEnded returns err, or nil if it only says that the run was told to end.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return nil
	}
	return err
}

// start starts the child and waits until it is ready. The process is nil only if
// there is none.
func (p *plane) start(ctx context.Context, c *child) (*process, error) {
	process, err := c.start(ctx, p.exe)
	if err != nil {
		return nil, err
	}
	return process, process.ready(ctx, p.client)
}

// keep starts the child again whenever its process ends, and tells restarted once
// it is ready, until ctx ends. It fails when the child cannot be brought back.
func (p *plane) keep(ctx context.Context, current *process, restarted chan<- struct{}) error {
	c, failures := current.child, 0
	for {
		<-current.done
		if err := context.Cause(ctx); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "cluster: %s ended (%v): starting it again\n", c.name, current.err)
		next, err := p.start(ctx, c)
		switch {
		case err == nil:
			failures = 0
			notify(ctx, restarted)
		case next == nil || failures == maxFailures:
			return err
		default:
			failures++
		}
		current = next
	}
}

func notify(ctx context.Context, restarted chan<- struct{}) {
	select {
	case restarted <- struct{}{}:
	case <-ctx.Done():
	}
}

type pids struct {
	Etcd              int64 `json:"etcd"`
	Apiserver         int64 `json:"apiserver"`
	ControllerManager int64 `json:"controllerManager"`
}

// announce prints where the control plane is, and in which processes.
func (p *plane) announce(stdout io.Writer) error {
	return json.NewEncoder(stdout).Encode(struct {
		Kubeconfig string `json:"kubeconfig"`
		Server     string `json:"server"`
		Pids       pids   `json:"pids"`
	}{
		p.files.path(adminFile), p.server,
		pids{p.etcd.pid.Load(), p.apiserver.pid.Load(), p.kcm.pid.Load()},
	})
}

// untilEOF returns a context that also ends when the reader does: the other end of
// standard input is held by the parent, and goes with it.
func untilEOF(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, r)
	}()
	return ctx
}
