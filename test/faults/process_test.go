package faults_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// folder is where binary puts keyferry, which is built once for all tests of the
// process.
var folder string

var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(folder, "keyferry")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/keyferry").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build keyferry: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "keyferry-faults-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	m.Run()
}

// process is a controller that runs.
type process struct {
	cmd     *exec.Cmd
	metrics string
	log     *buffer
	done    chan struct{} // closed when it has ended
}

// buffer keeps what a process writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startController runs the controller on a cluster until the test ends.
func startController(t *testing.T, kubeconfig string, args ...string) *process {
	t.Helper()
	p := launch(t, kubeconfig, args...)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the end of the controller's log:\n%s", tail(p.log.String(), 4000))
		}
	})
	return p
}

// launch runs the controller on a cluster until it is killed.
func launch(t *testing.T, kubeconfig string, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	args = append([]string{"controller", "--kubeconfig=" + kubeconfig, "--metrics-addr=" + address, "--live-addr=0"}, args...)
	p := &process{cmd: exec.Command(path, args...), metrics: "http://" + address + "/metrics", log: &buffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = bound()
	started := make(chan error)
	go func() {
		defer close(p.done)
		// A bound child dies with the thread that started it: it stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return p
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// kill ends the process without warning and returns once it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may be gone
	<-p.done
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// scrape returns the metrics as they are served; empty while they are not.
func (p *process) scrape() string {
	resp, err := http.Get(p.metrics)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// sum adds up all series of a metric.
func (p *process) sum(t *testing.T, metric string) float64 {
	t.Helper()
	total := 0.0
	for line := range strings.Lines(p.scrape()) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(series, metric+"{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		total += v
	}
	return total
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually waits until missing returns nothing, and fails with what it returned
// last if that takes longer.
func eventually(t *testing.T, within time.Duration, missing func() string) {
	t.Helper()
	deadline := time.After(within)
	for {
		lack := missing()
		if lack == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", within, lack)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
