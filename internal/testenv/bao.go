package testenv

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Bao is an OpenBao server that keeps its data in files, initialised and unsealed,
// with KV v2 at secret/ and KV v1 at kv1/. Its fields are for reading. Do may be
// called concurrently; Start and Stop may not.
type Bao struct {
	// Address is the plain listener.
	Address string
	// TLSAddress is a TLS listener that asks for a client certificate and takes a
	// client without one.
	TLSAddress string
	// MutualTLSAddress is a TLS listener that insists on a certificate of ClientCert.
	MutualTLSAddress string
	// CA is the PEM certificate that signed the listeners' and the clients' certificates.
	CA []byte
	// RootToken may do everything.
	RootToken string

	dir       *workDir
	path      string
	authority *authority
	unseal    string
	client    *http.Client

	mu      sync.Mutex
	process *process
}

// NewBao starts an OpenBao and returns when it is ready, after about a second, or
// after minutes if its binary has to be built. It lives until Close, or until this
// process ends; ctx bounds the start alone.
func NewBao(ctx context.Context) (*Bao, error) {
	path, err := binary(ctx, "openbao")
	if err != nil {
		return nil, err
	}
	dir, err := newWorkDir()
	if err != nil {
		return nil, err
	}
	b := &Bao{dir: dir, path: path, client: &http.Client{Timeout: 30 * time.Second}}
	if err := b.setUp(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// setUp configures the server, starts it for the first time and fills it.
func (b *Bao) setUp(ctx context.Context) error {
	if err := b.configure(); err != nil {
		return err
	}
	if err := b.launch(ctx); err != nil {
		return err
	}
	answer, err := b.Do(ctx, http.MethodPut, "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1})
	if err != nil {
		return err
	}
	var keys struct {
		RootToken string   `json:"root_token"`
		Keys      []string `json:"keys"`
	}
	if err := json.Unmarshal(answer, &keys); err != nil || len(keys.Keys) != 1 {
		return errors.New("openbao did not answer an initialisation with one key")
	}
	b.RootToken, b.unseal = keys.RootToken, keys.Keys[0]
	if err := b.open(ctx); err != nil {
		return err
	}
	for path, version := range map[string]string{"secret": "2", "kv1": "1"} {
		mount := map[string]any{"type": "kv", "options": map[string]string{"version": version}}
		if _, err := b.Do(ctx, http.MethodPost, "sys/mounts/"+path, mount); err != nil {
			return err
		}
	}
	return b.settle(ctx)
}

// settle waits for KV v2, which answers for a moment that it is upgrading.
func (b *Bao) settle(ctx context.Context) error {
	return b.poll(ctx, func(ctx context.Context) error {
		_, err := b.Do(ctx, http.MethodGet, "secret/config", nil)
		return err
	})
}

// configure writes the certificates and the configuration.
func (b *Bao) configure() error {
	var err error
	if b.authority, err = newAuthority(); err != nil {
		return err
	}
	b.CA = b.authority.pem()
	cert, key, err := b.authority.issue(pkix.Name{CommonName: "localhost"})
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"ca.crt": b.CA, "bao.crt": cert, "bao.key": key} {
		if err := os.WriteFile(b.file(name), content, 0o600); err != nil {
			return err
		}
	}
	var ports [3]int
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return err
		}
	}
	b.Address = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	b.TLSAddress = fmt.Sprintf("https://127.0.0.1:%d", ports[1])
	b.MutualTLSAddress = fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	tls := fmt.Sprintf("tls_cert_file = %q\n tls_key_file = %q\n tls_client_ca_file = %q", b.file("bao.crt"), b.file("bao.key"), b.file("ca.crt"))
	config := fmt.Sprintf(`
storage "file" { path = %q }
listener "tcp" {
 address = "127.0.0.1:%d"
 tls_disable = true
}
listener "tcp" {
 address = "127.0.0.1:%d"
 %s
}
listener "tcp" {
 address = "127.0.0.1:%d"
 tls_require_and_verify_client_cert = true
 %s
}
api_addr = %q
log_level = "warn"
`, b.file("data"), ports[0], ports[1], tls, ports[2], tls, b.Address)
	return os.WriteFile(b.file("config.hcl"), []byte(config), 0o600)
}

func (b *Bao) file(name string) string { return filepath.Join(b.dir.path, name) }

// Start starts a stopped server again, at the same addresses and with its data,
// and returns once it is unsealed.
func (b *Bao) Start(ctx context.Context) error {
	if err := b.launch(ctx); err != nil {
		return err
	}
	return b.open(ctx)
}

// launch starts the process and returns once it answers.
func (b *Bao) launch(ctx context.Context) error {
	log, err := os.OpenFile(b.file("openbao.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(b.path, "server", "-config="+b.file("config.hcl")) //nolint:noctx // ctx bounds the start, not the life
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"HOME=" + b.dir.path} // no setting of the developer's reaches it
	p, err := startProcess(cmd)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.process = p
	b.mu.Unlock()
	return b.poll(ctx, func(ctx context.Context) error {
		_, err := b.Do(ctx, http.MethodGet, "sys/seal-status", nil)
		return err
	})
}

// open unseals the server, and returns once it serves.
func (b *Bao) open(ctx context.Context) error {
	if _, err := b.Do(ctx, http.MethodPut, "sys/unseal", map[string]string{"key": b.unseal}); err != nil {
		return err
	}
	return b.poll(ctx, func(ctx context.Context) error {
		_, err := b.Do(ctx, http.MethodGet, "sys/health", nil)
		return err
	})
}

// poll repeats try until it succeeds. It fails when the process or ctx ends.
func (b *Bao) poll(ctx context.Context, try func(context.Context) error) error {
	for {
		problem := try(ctx)
		if problem == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("openbao is not ready: %w: %w", ctx.Err(), problem)
		case <-b.process.done:
			log, err := os.ReadFile(b.file("openbao.log"))
			return fmt.Errorf("openbao ended: %w\n%s", errors.Join(b.process.err, err), log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop stops the server and keeps its data: connections are refused until Start.
// It may be repeated.
func (b *Bao) Stop() {
	b.mu.Lock()
	p := b.process
	b.mu.Unlock()
	if p != nil {
		p.stop()
	}
}

// Close ends the server for good and deletes its data. It may be repeated.
func (b *Bao) Close() {
	b.Stop()
	b.dir.remove()
}

// ClientCert returns a PEM certificate and key in the name's name, which both TLS
// listeners accept.
func (b *Bao) ClientCert(name string) (cert, key []byte, err error) {
	return b.authority.issue(pkix.Name{CommonName: name})
}

// Do calls the API with the root token: path is what follows /v1/, body is sent as
// JSON unless it is nil. It returns the answer's body, empty if there is none. An
// answer of 400 or more is an error with what OpenBao gives as its reason.
func (b *Bao) Do(ctx context.Context, method, path string, body any) ([]byte, error) {
	var payload io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		payload = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.Address+"/v1/"+path, payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", b.RootToken)
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var reason struct{ Errors []string }
		_ = json.Unmarshal(answer, &reason) // some errors have no reason
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, strings.Join(reason.Errors, "; "))
	}
	return answer, nil
}

// freePort returns a port on loopback that nobody listens on, below those that the
// system gives to clients: none gets it while the server is stopped.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(12000)
		var l net.Listener
		//nolint:noctx // it does not block
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}
