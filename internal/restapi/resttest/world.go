package resttest

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
)

// RetryAfter is what a World asks for while it is providertest.Throttled.
const RetryAfter = 7 * time.Second

// certified is the name that the certificate of package httptest is for.
const certified = "example.com"

// World is a set of services.
type World struct {
	hosts   map[string]http.Handler
	errorf  func(format string, args ...any)
	roots   *x509.CertPool
	plain   map[providertest.Situation]string // the address of a server
	secure  map[providertest.Situation]string
	reached <-chan struct{}
}

// NewWorld starts the services, by the host that a request names, until the test ends.
func NewWorld(t providertest.T, hosts map[string]http.Handler) *World {
	w := &World{
		hosts: hosts, errorf: t.Errorf, roots: x509.NewCertPool(),
		plain: map[providertest.Situation]string{}, secure: map[providertest.Situation]string{},
	}
	w.reached = providertest.Serve(t, http.HandlerFunc(w.serve), RetryAfter, func(situation providertest.Situation, h http.Handler) []*httptest.Server {
		plain, secure := httptest.NewServer(h), httptest.NewUnstartedServer(h)
		secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		secure.StartTLS()
		w.roots.AddCert(secure.Certificate())
		w.plain[situation], w.secure[situation] = plain.Listener.Addr().String(), secure.Listener.Addr().String()
		return []*httptest.Server{plain, secure}
	})
	return w
}

func (w *World) serve(rw http.ResponseWriter, r *http.Request) {
	handler, ok := w.hosts[r.Host]
	if !ok {
		w.errorf("%s %s was asked for, which is no part of the test", r.Method, r.Host)
		rw.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	handler.ServeHTTP(rw, r)
}

// Transport makes a transport reach the services in a situation, whatever host it is
// asked for.
func (w *World) Transport(s providertest.Situation, t *http.Transport) {
	if _, ok := w.plain[s]; !ok {
		s = providertest.Good
	}
	if t.TLSClientConfig != nil {
		t.TLSClientConfig = t.TLSClientConfig.Clone()
		t.TLSClientConfig.RootCAs = w.roots
		t.TLSClientConfig.ServerName = certified
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		to := w.plain[s]
		if strings.HasSuffix(address, ":443") {
			to = w.secure[s]
		}
		var d net.Dialer
		return d.DialContext(ctx, network, to)
	}
}

// Reached gets a value whenever a request hangs.
func (w *World) Reached() <-chan struct{} { return w.reached }

// Env returns env with clients that reach the services.
func (w *World) Env(env *providertest.Env) provider.Env { return worldEnv{env, w} }

type worldEnv struct {
	*providertest.Env
	world *World
}

// HTTP implements provider.Env.
func (e worldEnv) HTTP(t provider.TLS) (*http.Client, error) {
	c, err := e.Env.HTTP(t)
	if err != nil {
		return nil, err
	}
	if transport, ok := c.Transport.(*http.Transport); ok {
		e.world.Transport(providertest.Good, transport)
	}
	return c, nil
}

// JWT returns a JSON web token with these claims. Its signature is good for nothing.
func JWT(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		return ""
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + "." + encode([]byte("not signed"))
}

// Accounts returns an Env whose service accounts have tokens that say whose they are,
// "token of NAME in NAMESPACE", but for the one named "wrong", whose token is a mark; and
// what returns the audiences of the last token.
func Accounts(t providertest.T) (env *providertest.Env, audiences func() []string) {
	env = providertest.NewEnv(t)
	var last atomic.Pointer[[]string]
	env.Issue = func(_ context.Context, req provider.TokenRequest) (string, error) {
		last.Store(&req.Audiences)
		if req.ServiceAccount == "wrong" {
			return providertest.Mark, nil
		}
		return "token of " + req.ServiceAccount + " in " + *req.Namespace, nil
	}
	return env, func() []string { return *last.Load() }
}
