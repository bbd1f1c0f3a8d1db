package testenv

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a server that runs. done is closed when it has ended, after err is set.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// startProcess starts cmd so that it ends with this process.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = bound()
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		// The kernel kills a bound child when the thread that started it ends: this
		// thread stays until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// stop ends the process, the hard way if it takes long, and returns once it is gone.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return
	case <-time.After(10 * time.Second):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}
