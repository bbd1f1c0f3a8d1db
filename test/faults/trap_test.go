package faults_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/keyferry/keyferry/internal/testenv"
)

// trap stands between a controller and the servers it works with. It can end the
// controller just before a request reaches its server, or just after it did and
// before the answer comes back; and it counts what is asked.
type trap struct {
	kubeconfig, store string // how the controller reaches the API server and the store

	mu     sync.Mutex
	asked  map[string]int // how often, by method and path
	point  point
	left   int // requests that the point lets pass
	spring func() (goOn bool)
	sprung bool
	goesOn bool
}

// point is a moment in the life of a pass.
type point struct {
	name string
	of   func(r *http.Request) bool
	// before is true for the moment before the request reaches its server.
	before bool
}

func reports(r *http.Request) bool {
	return r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/pushsecrets/") && strings.HasSuffix(r.URL.Path, "/status")
}

func finalizes(r *http.Request) bool {
	return r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/pushsecrets/") && !strings.HasSuffix(r.URL.Path, "/status")
}

func writes(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/data/")
}

func claims(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/metadata/")
}

func deletes(r *http.Request) bool {
	return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/metadata/")
}

func asksStore(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/") }

// points are the moments at which a controller is ended.
var points = []point{
	{name: "after a write, before it is reported", of: writes},
	{name: "before a report", of: reports, before: true},
	{name: "after a report", of: reports},
	{name: "before a write", of: writes, before: true},
	{name: "after a mark, before the first version", of: claims},
	{name: "after a deletion, before it is reported", of: deletes},
	{name: "before a deletion", of: deletes, before: true},
	{name: "after a finalizer is set or removed", of: finalizes},
}

func newTrap(t *testing.T, plane *testenv.ControlPlane, bao *testenv.Bao) *trap {
	t.Helper()
	config := plane.Config()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	tr := &trap{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), asked: map[string]int{}}
	tr.store = tr.front(t, bao.Address, &http.Transport{})
	writeKubeconfig(t, tr.kubeconfig, tr.front(t, config.Host, transport))
	return tr
}

// front serves a server on an address of its own, and returns that.
func (tr *trap) front(t *testing.T, server string, transport http.RoundTripper) string {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error { tr.pass(r.Request, false); return nil },
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !tr.pass(r, true) {
			return // nobody waits for the answer any more
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.CloseClientConnections) // watches never end by themselves
	return s.URL
}

// arm has spring called at the n-th time that a point is reached. It says whether the
// controller goes on: a request that has not reached its server does not get there
// otherwise, nor do those that follow.
func (tr *trap) arm(p point, n int, spring func() (goOn bool)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.point, tr.left, tr.spring, tr.sprung = p, n-1, spring, false
}

// reached reports whether the point was reached.
func (tr *trap) reached() bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.sprung
}

func (tr *trap) disarm() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.spring = nil
}

// times is how often something was asked, such as "GET /v1/secret/data/k".
func (tr *trap) times(what string) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.asked[what]
}

// pass is false if the request must not reach its server.
func (tr *trap) pass(r *http.Request, before bool) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if before {
		tr.asked[r.Method+" "+r.URL.Path]++
	}
	switch {
	case tr.spring == nil || tr.point.before != before || !tr.point.of(r):
		return true
	case tr.sprung:
		return tr.goesOn
	case tr.left > 0:
		tr.left--
		return true
	}
	tr.sprung = true
	tr.goesOn = tr.spring()
	return tr.goesOn
}

// writeKubeconfig writes a file that leads to a server without a credential.
func writeKubeconfig(t *testing.T, path, server string) {
	t.Helper()
	content := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{}}]}`, server)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
