package testenv

import (
	"context"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ControlPlane is a Kubernetes control plane without nodes: etcd, an API server
// that authorizes by RBAC, and the controllers for garbage collection, namespaces,
// service accounts, ClusterRole aggregation and admission policies. Its methods may
// be called concurrently.
type ControlPlane struct {
	dir        *workDir
	process    *process
	stdin      io.Closer
	kubeconfig string
	config     *rest.Config
	client     kubernetes.Interface

	mu      sync.Mutex
	status  status
	changed chan struct{} // closed when status changes
	killed  int           // the last API server that was killed
}

// status is what the supervisor prints when all is ready.
type status struct {
	Kubeconfig string
	Pids       struct{ Etcd, Apiserver, ControllerManager int }
}

// NewControlPlane starts a control plane and returns when it is ready, after about
// three seconds, or after minutes if its binary has to be built. It lives until
// Close, or until this process ends; ctx bounds the start alone.
func NewControlPlane(ctx context.Context) (*ControlPlane, error) {
	path, err := binary(ctx, "cluster")
	if err != nil {
		return nil, err
	}
	dir, err := newWorkDir()
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{dir: dir, changed: make(chan struct{})}
	if err := c.start(ctx, path); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *ControlPlane) start(ctx context.Context, path string) error {
	log, err := os.Create(filepath.Join(c.dir.path, "supervisor.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(path, "up", "--dir", filepath.Join(c.dir.path, "cluster")) //nolint:noctx // ctx bounds the start, not the life
	cmd.Stderr = log
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	// Not StdoutPipe: its reader would have to be done before the process is waited for.
	stdout, w := io.Pipe()
	cmd.Stdout = w
	if c.process, err = startProcess(cmd); err != nil {
		return err
	}
	go c.follow(stdout)
	go func() {
		<-c.process.done
		_ = w.Close()
	}()
	if err := c.await(ctx, func(s status) bool { return s.Kubeconfig != "" }); err != nil {
		return err
	}
	c.mu.Lock()
	c.kubeconfig = c.status.Kubeconfig
	c.mu.Unlock()
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.kubeconfig); err != nil {
		return err
	}
	c.config.QPS = -1 // the server limits, not the client
	c.client, err = kubernetes.NewForConfig(c.config)
	return err
}

// follow reads what the supervisor prints, until it ends.
func (c *ControlPlane) follow(stdout io.Reader) {
	for decoder := json.NewDecoder(stdout); ; {
		var s status
		if err := decoder.Decode(&s); err != nil {
			return
		}
		c.mu.Lock()
		c.status = s
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
	}
}

// await returns once the status satisfies ok. It fails when the supervisor or ctx ends.
func (c *ControlPlane) await(ctx context.Context, ok func(status) bool) error {
	for {
		c.mu.Lock()
		satisfied, changed := ok(c.status), c.changed
		c.mu.Unlock()
		if satisfied {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the control plane is not ready: %w", ctx.Err())
		case <-c.process.done:
			log, err := os.ReadFile(filepath.Join(c.dir.path, "supervisor.log"))
			return fmt.Errorf("the control plane ended: %w\n%s", errors.Join(c.process.err, err), log)
		}
	}
}

// Config returns the administrator's configuration, the caller's to change. It has
// no rate limit.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Kubeconfig returns the path of the administrator's kubeconfig, which stands for
// itself.
func (c *ControlPlane) Kubeconfig() string { return c.kubeconfig }

// User returns the configuration of a user who proves the name and groups with a
// client certificate (TLSClientConfig.CertData and KeyData), and may do what RBAC
// grants. Nothing is stored: it works for any name and may be repeated.
func (c *ControlPlane) User(name string, groups ...string) (*rest.Config, error) {
	dir := filepath.Dir(c.kubeconfig)
	cert, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	ca, err := loadAuthority(cert, key)
	if err != nil {
		return nil, err
	}
	user := rest.AnonymousClientConfig(c.config)
	user.QPS = c.config.QPS
	user.CertData, user.KeyData, err = ca.issue(pkix.Name{CommonName: name, Organization: groups})
	return user, err
}

// KillAPIServer kills the API server without warning and returns once it is gone.
// It is started again at the same address within seconds: see WaitReady.
func (c *ControlPlane) KillAPIServer(ctx context.Context) error {
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	pid := c.status.Pids.Apiserver
	c.killed = pid
	c.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the API server: %w", err)
	}
	for !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the killed API server is not gone: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// WaitReady returns once the API server is ready: at once, unless KillAPIServer
// killed it. It fails when ctx ends first, or the whole control plane has.
func (c *ControlPlane) WaitReady(ctx context.Context) error {
	c.mu.Lock()
	killed := c.killed
	c.mu.Unlock()
	return c.await(ctx, func(s status) bool { return s.Pids.Apiserver != killed })
}

// Close ends the control plane, deletes its data and returns once both are gone. It
// may be repeated.
func (c *ControlPlane) Close() {
	if c.process != nil {
		_ = c.stdin.Close()
		c.process.stop()
	}
	c.dir.remove()
}

func (c *ControlPlane) createNamespace(ctx context.Context) (string, error) {
	template := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	created, err := c.client.CoreV1().Namespaces().Create(ctx, template, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return created.Name, nil
}

// deleteNamespace is a courtesy to the tests that follow: what stays, goes with the
// control plane.
func (c *ControlPlane) deleteNamespace(ctx context.Context, name string) {
	_ = c.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
}
