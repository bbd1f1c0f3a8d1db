package awstest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/keyferry/keyferry/provider/providertest"
)

// motoBinary is the server of moto (Python), a stand-in for AWS by other people.
const motoBinary = "moto_server"

// Moto starts moto's server on loopback until the test ends, and returns its address. It
// skips the test if the server is not on PATH.
func Moto(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath(motoBinary)
	if err != nil {
		t.Skipf("NOT RUN: %s is not on PATH. What this test shows is shown by the in-process server alone. Install moto[server] to run it.", motoBinary) //nolint:forbidigo // the emulator is not a Go program: where it is not installed, there is nothing to run
	}
	port, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, binary, "-H", "127.0.0.1", "-p", strconv.Itoa(port))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // what it has printed says more
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	address := fmt.Sprintf("http://127.0.0.1:%d", port)
	const patience = time.Minute
	deadline := time.After(patience)
	for !answers(t.Context(), address) {
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", motoBinary, out.String())
		case <-deadline:
			t.Fatalf("%s does not answer", motoBinary)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return address
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func answers(ctx context.Context, address string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/moto-api/", nil)
	if err != nil {
		return false
	}
	resp, err := (&http.Client{}).Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return true
}

// Front is a server that passes calls on to another, such as moto's, and does to the
// calls of some access keys what their identity says: moto itself knows no credentials,
// no policies and no faults. Sessions that the other server issues pass.
func Front(t T, backend string, identities ...Identity) *Server {
	t.Helper()
	target, err := url.Parse(backend)
	if err != nil {
		t.Fatalf("%v", err)
	}
	s := Start(t, providertest.NewClock(time.Unix(0, 0)))
	s.Trust(identities...)
	s.behind = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	return s
}
