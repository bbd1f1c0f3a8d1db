package providertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// Proxy stands in front of a backend that speaks HTTP and brings faults about: one
// address for each situation. Requests to the address of Good pass.
type Proxy struct {
	urls    map[Situation]string
	reached chan struct{}
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
	p := &Proxy{urls: map[Situation]string{}, reached: make(chan struct{}, 1)}
	over := make(chan struct{})
	pass := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	fail := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if status == http.StatusTooManyRequests && retryAfter > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
			}
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"errors":[%q],"message":%q}`, Mark, Mark)
		})
	}
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case p.reached <- struct{}{}:
		default:
		}
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	var servers []*httptest.Server
	for situation, handler := range map[Situation]http.Handler{
		Good: pass, Throttled: fail(http.StatusTooManyRequests), Down: fail(http.StatusServiceUnavailable), Hanging: hang,
	} {
		s := httptest.NewServer(handler)
		servers = append(servers, s)
		p.urls[situation] = s.URL
	}
	t.Cleanup(func() {
		close(over)
		var group sync.WaitGroup
		for _, s := range servers {
			group.Go(func() {
				s.CloseClientConnections()
				s.Close()
			})
		}
		group.Wait()
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
