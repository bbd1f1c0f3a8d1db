package providertest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"time"
)

// Proxy stands in front of a backend that speaks HTTP and brings faults about: one
// address for each situation. Requests to the address of Good pass.
type Proxy struct {
	urls    map[Situation]string
	reached <-chan struct{}
}

// NewProxy starts the proxy on loopback, until the test ends. Its answers to
// throttled calls ask for retryAfter. Faults are answered with a body that holds
// Mark. A nil transport is that of package http.
func NewProxy(t T, backend string, transport http.RoundTripper, retryAfter time.Duration) *Proxy {
	t.Helper()
	target, err := url.Parse(backend)
	if err != nil {
		t.Fatalf("the backend's address: %v", err)
	}
	p := &Proxy{urls: map[Situation]string{}}
	pass := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	p.reached = Serve(t, pass, retryAfter, func(situation Situation, h http.Handler) []*httptest.Server {
		s := httptest.NewServer(h)
		p.urls[situation] = s.URL
		return []*httptest.Server{s}
	})
	return p
}

// URL returns the address for a situation: that of Good for those that are not
// brought about by the network.
func (p *Proxy) URL(s Situation) string {
	if u, ok := p.urls[s]; ok {
		return u
	}
	return p.urls[Good]
}

// Reached gets a value whenever a request hangs.
func (p *Proxy) Reached() <-chan struct{} { return p.reached }
