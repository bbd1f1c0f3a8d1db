package httpx

import (
	"container/list"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	headerTimeout    = 60 * time.Second
	idleTimeout      = 90 * time.Second
	pingAfter        = 30 * time.Second
	pingTimeout      = 15 * time.Second
	idlePerHost      = 64
	maxHeaderBytes   = 256 << 10
	maxTransports    = 256
)

// Options are what New needs beside the policy. The zero value will do.
type Options struct {
	// Version is told to servers, as "keyferry/<version>".
	Version string
	// BodyLimit is the size a response may have; zero is DefaultBodyLimit.
	BodyLimit int64
	// Proxy chooses the proxy of a request; nil is http.ProxyFromEnvironment,
	// which reads the environment once in the life of the process. The proxy's
	// own address is not subject to the policy: an administrator named it.
	Proxy func(*http.Request) (*url.URL, error)
	// Resolver looks names up; nil is the system's.
	Resolver *net.Resolver
}

// Clients hands out HTTP clients. Those with equal TLS material share their
// connections. Safe for concurrent use.
type Clients struct {
	guard   guard
	options Options

	mu     sync.Mutex
	cached map[[sha256.Size]byte]*list.Element
	recent *list.List // of *cacheEntry, the latest used first
}

type cacheEntry struct {
	key [sha256.Size]byte
	rt  *roundTripper
}

// New returns the Clients of a policy.
func New(p Policy, o Options) *Clients {
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.BodyLimit == 0 {
		o.BodyLimit = DefaultBodyLimit
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	return &Clients{guard: newGuard(p), options: o, cached: map[[sha256.Size]byte]*list.Element{}, recent: list.New()}
}

// Client returns a client for this TLS material. It does no I/O. The client is the
// caller's to change, its transport is not. It follows no redirect: a request that
// is answered with one fails with Invalid. It fails with Invalid if the material
// cannot be read.
func (c *Clients) Client(t provider.TLS) (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := fingerprint(t)
	if e, ok := c.cached[key]; ok {
		c.recent.MoveToFront(e)
		return newClient(e.Value.(*cacheEntry).rt), nil
	}
	config, err := tlsConfig(t)
	if err != nil {
		return nil, &secret.Error{Kind: secret.Invalid, Op: "connect", Err: err}
	}
	rt := &roundTripper{clients: c, base: c.transport(config)}
	c.cached[key] = c.recent.PushFront(&cacheEntry{key, rt})
	if c.recent.Len() > maxTransports {
		old := c.recent.Remove(c.recent.Back()).(*cacheEntry)
		delete(c.cached, old.key)
		old.rt.base.CloseIdleConnections()
	}
	return newClient(rt), nil
}

// CloseIdle closes the connections that no request uses. Clients stay usable.
func (c *Clients) CloseIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.recent.Front(); e != nil; e = e.Next() {
		e.Value.(*cacheEntry).rt.base.CloseIdleConnections()
	}
}

// Private returns a client like c whose connections are shared with no other
// client and speak HTTP/1.1: for authentication that is bound to a connection. Its
// idle connections are the caller's to close. It fails with Internal if it does
// not know the transport of c.
func Private(c *http.Client) (*http.Client, error) {
	own := *c
	switch t := c.Transport.(type) {
	case *roundTripper:
		own.Transport = &roundTripper{clients: t.clients, base: onlyHTTP1(t.base)}
	case *http.Transport:
		own.Transport = onlyHTTP1(t)
	default:
		return nil, &secret.Error{Kind: secret.Internal, Op: "connect", Err: fmt.Errorf("a %T has no connections of its own", t)}
	}
	return &own, nil
}

func onlyHTTP1(t *http.Transport) *http.Transport {
	t = t.Clone()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ForceAttemptHTTP2 = false
	t.TLSNextProto = nil
	if t.TLSClientConfig != nil { // it offers HTTP/2 once the transport was used
		t.TLSClientConfig.NextProtos = nil
	}
	return t
}

func newClient(rt *roundTripper) *http.Client {
	return &http.Client{Transport: rt, CheckRedirect: func(next *http.Request, _ []*http.Request) error {
		return &secret.Error{Kind: secret.Invalid, Op: "connect", Err: fmt.Errorf(
			"the answer was %d, and redirects are not followed; name the final address", next.Response.StatusCode)}
	}}
}

func (c *Clients) transport(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			proxy, _ := r.Context().Value(proxyKey{}).(*url.URL)
			return proxy, nil
		},
		DialContext:            c.dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    handshakeTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    idlePerHost,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}

// dial asks the policy about each address it is about to connect to.
func (c *Clients) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, Resolver: c.options.Resolver}
	if proxy, _ := ctx.Value(proxyKey{}).(*url.URL); proxy == nil {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return err
			}
			return c.guard.address(host, at.Addr())
		}
	}
	return d.DialContext(ctx, network, address)
}

// fingerprint tells TLS material apart. It stays in memory.
func fingerprint(t provider.TLS) [sha256.Size]byte {
	h := sha256.New()
	for _, part := range [][]byte{t.CA, t.Cert, t.Key.Reveal(), []byte(t.ServerName)} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// tlsConfig leaves the causes of its errors out: they can quote the material.
func tlsConfig(t provider.TLS) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if len(t.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(t.CA) {
			return nil, errors.New("the CA bundle holds no PEM certificate")
		}
	}
	if len(t.Cert) == 0 && t.Key.Len() == 0 {
		return config, nil
	}
	pair, err := tls.X509KeyPair(t.Cert, t.Key.Reveal())
	if err != nil {
		return nil, errors.New("the client certificate and its key are not both PEM, or do not belong together")
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}
