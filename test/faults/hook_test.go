package faults_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hook is an HTTP service that misbehaves as its path says, with a secret in all of
// it, and keeps every request that it got.
type hook struct {
	*httptest.Server
	secret string
	// redirect is where answers of status 3xx lead to.
	redirect string

	mu       sync.Mutex
	requests []string // as they came over the wire
}

// newHook serves on an address of loopback.
func newHook(t *testing.T, host, secret string, secure bool) *hook {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hook{secret: secret}
	h.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}}
	if secure {
		h.StartTLS()
	} else {
		h.Start()
	}
	t.Cleanup(h.Close)
	return h
}

func (h *hook) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if dump, err := httputil.DumpRequest(r, true); err == nil {
		h.mu.Lock()
		h.requests = append(h.requests, string(dump))
		h.mu.Unlock()
	}
	what, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	w.Header().Set("X-Secret", h.secret)
	var status int
	switch _, err := fmt.Sscanf(what, "%d", &status); {
	case err == nil && status >= 300 && status < 400:
		w.Header().Set("Location", h.redirect+"/json?"+h.secret)
		w.WriteHeader(status)
	case err == nil:
		w.Header().Set("Retry-After", h.secret)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[%q],"kind":"Status","message":%q}`, h.secret, h.secret)
	case what == "json":
		fmt.Fprintf(w, `{"value":%q,"data":{"data":{"value":%q}}}`, h.secret, h.secret)
	case what == "garbage":
		_, _ = io.WriteString(w, "<html>"+h.secret+"</html>")
	case what == "slow":
		<-r.Context().Done()
	case what == "ntlm":
		w.Header().Set("WWW-Authenticate", "NTLM "+h.secret)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.raw(w, what)
	}
}

// raw writes what a server library would not.
func (h *hook) raw(w http.ResponseWriter, what string) {
	answers := map[string]string{
		"malformed": h.secret + " is no HTTP\r\n\r\n",
		"status":    "HTTP/1.1 " + h.secret + "\r\n\r\n",
		"reason":    "HTTP/1.1 500 " + h.secret + "\r\nContent-Length: 0\r\n\r\n",
		"header":    "HTTP/1.1 200 OK\r\n" + h.secret + "\r\n\r\n",
		"length":    "HTTP/1.1 200 OK\r\nContent-Length: " + h.secret + "\r\n\r\n",
		"chunked":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + h.secret + "\r\n",
		"encoding":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + h.secret + "\r\n\r\n",
		"truncated": "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + h.secret,
	}
	hijacker, ok := w.(http.Hijacker)
	if answer := answers[what]; ok && answer != "" {
		if conn, _, err := hijacker.Hijack(); err == nil {
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
		return
	}
	w.WriteHeader(http.StatusNotFound)
}
