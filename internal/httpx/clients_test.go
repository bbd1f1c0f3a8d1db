package httpx

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

const canary = "canary-7f3a"

func newTestClients(t *testing.T, p Policy, o Options) *Clients {
	t.Helper()
	if o.Proxy == nil {
		o.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	c := New(p, o)
	t.Cleanup(c.CloseIdle)
	return c
}

func client(t *testing.T, c *Clients, m provider.TLS) *http.Client {
	t.Helper()
	h, err := c.Client(m)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// get returns the body, or the classified error after checking that it shows
// nothing of the URL's path or query.
func get(t *testing.T, h *http.Client, address string) (string, error) {
	t.Helper()
	return do(t, h, request(t, address))
}

func request(t *testing.T, address string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func do(t *testing.T, h *http.Client, req *http.Request) (string, error) {
	t.Helper()
	resp, err := h.Do(req)
	if err == nil {
		var b []byte
		b, err = ReadBody(resp)
		if err == nil {
			return string(b), nil
		}
	}
	e := Classify(err)
	if strings.Contains(e.Error(), canary) || strings.ContainsAny(e.Error(), "\n?") {
		t.Errorf("%q shows what it must not", e)
	}
	return "", e
}

func wantKind(t *testing.T, err error, want secret.Kind) {
	t.Helper()
	if got := secret.KindOf(err); got != want {
		t.Fatalf("got %s (%v), want %s", got, err, want)
	}
}

func wantOK(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestPolicyHoldsWhenTheConnectionIsMade(t *testing.T) {
	var calls atomic.Int32
	handler := func(w http.ResponseWriter, _ *http.Request) { calls.Add(1); _, _ = io.WriteString(w, "hello") }
	v4 := serve(t, handler)
	_, port, _ := net.SplitHostPort(v4.Listener.Addr().String())

	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	v6 := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(handler), ReadHeaderTimeout: time.Minute}}
	v6.Start()
	t.Cleanup(v6.Close)

	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answerLoopback(theirs)
		return ours, nil
	}}
	for name, address := range map[string]string{
		"by address":             v4.URL,
		"by IPv6 address":        v6.URL,
		"by IPv4-mapped address": "http://[::ffff:127.0.0.1]:" + port,
		"by the name localhost":  "http://localhost:" + port,
		"by a name that a DNS server leads to loopback": "http://innocent.example:" + port,
	} {
		t.Run(name, func(t *testing.T) {
			calls.Store(0)
			o := Options{Resolver: resolver}
			if strings.Contains(address, "localhost") {
				o.Resolver = nil
			}
			_, err := get(t, client(t, newTestClients(t, Policy{}, o), provider.TLS{}), address+"/"+canary+"?token="+canary)
			wantKind(t, err, secret.Denied)
			u, _ := url.Parse(address)
			if !strings.Contains(err.Error(), u.Hostname()) {
				t.Errorf("%q does not name the host", err)
			}
			if calls.Load() != 0 {
				t.Error("the server was called")
			}
			allowed := Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
			body, err := get(t, client(t, newTestClients(t, allowed, o), provider.TLS{}), address)
			wantOK(t, err)
			if body != "hello" {
				t.Errorf("got %q", body)
			}
		})
	}
}

// answerLoopback is a DNS server for one connection: every name has the address
// 127.0.0.1 and no other.
func answerLoopback(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		var size uint16
		if binary.Read(r, binary.BigEndian, &size) != nil {
			return
		}
		q := make([]byte, size)
		if _, err := io.ReadFull(r, q); err != nil {
			return
		}
		end := 12
		for q[end] != 0 {
			end += int(q[end]) + 1
		}
		question := q[12 : end+5]
		isA := binary.BigEndian.Uint16(q[end+1:]) == 1
		answers := byte(0)
		if isA {
			answers = 1
		}
		msg := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0}, question...)
		if isA {
			msg = append(msg, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)); err != nil {
			return
		}
	}
}

func TestProxy(t *testing.T) {
	var asked atomic.Value
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Host)
		_, _ = io.WriteString(w, "through the proxy")
	})
	at, _ := url.Parse(proxy.URL)
	viaProxy := Options{Proxy: func(r *http.Request) (*url.URL, error) {
		if r.URL.Host == at.Host { // as NO_PROXY and loopback have it
			return nil, nil
		}
		return at, nil
	}}
	h := client(t, newTestClients(t, Policy{}, viaProxy), provider.TLS{})

	t.Run("the proxy itself may be on loopback", func(t *testing.T) {
		body, err := get(t, h, "http://vault.example/v1")
		wantOK(t, err)
		if body != "through the proxy" || asked.Load() != "vault.example" {
			t.Errorf("got %q, asked for %v", body, asked.Load())
		}
	})
	t.Run("its address is refused as a target", func(t *testing.T) {
		_, err := get(t, h, proxy.URL)
		wantKind(t, err, secret.Denied)
	})
	t.Run("a refused address is not asked for", func(t *testing.T) {
		asked.Store("")
		_, err := get(t, h, "http://169.254.169.254/latest/meta-data")
		wantKind(t, err, secret.Denied)
		_, err = get(t, h, "https://[::1]/")
		wantKind(t, err, secret.Denied)
		if asked.Load() != "" {
			t.Errorf("asked for %v", asked.Load())
		}
	})
	t.Run("a Host header is no way around", func(t *testing.T) {
		req := request(t, "http://vault.example/")
		req.Host = "169.254.169.254"
		_, err := do(t, h, req)
		wantKind(t, err, secret.Denied)
	})
	t.Run("an administrator may ask for anything", func(t *testing.T) {
		admin := client(t, newTestClients(t, Unrestricted(), viaProxy), provider.TLS{})
		_, err := get(t, admin, "http://169.254.169.254/")
		wantOK(t, err)
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var calls atomic.Int32
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			calls.Store(0)
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				http.Redirect(w, r, "http://169.254.169.254/"+canary, status)
			})
			h := client(t, newTestClients(t, Unrestricted(), Options{}), provider.TLS{})
			_, err := get(t, h, s.URL)
			wantKind(t, err, secret.Invalid)
			if !strings.Contains(err.Error(), strconv.Itoa(status)) {
				t.Errorf("%q does not name the status", err)
			}
			if calls.Load() != 1 {
				t.Errorf("%d calls", calls.Load())
			}
		})
	}
}

// authority signs certificates for the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key, a.pem = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	template.Subject = pkix.Name{CommonName: "test"}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (a *authority) pair(t *testing.T, template *x509.Certificate) (certPEM, keyPEM []byte) {
	t.Helper()
	_, key, certPEM := a.sign(t, template)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func loopbackCert() *x509.Certificate {
	return &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"vault.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
}

func serveTLS(t *testing.T, a *authority, template *x509.Certificate, change func(*tls.Config)) *httptest.Server {
	t.Helper()
	pair, err := tls.X509KeyPair(a.pair(t, template))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if change != nil {
		change(s.TLS)
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.pair(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	foreignCert, foreignKey := other.pair(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	clientCAs := x509.NewCertPool()
	clientCAs.AddCert(ca.cert)

	plain := serveTLS(t, ca, loopbackCert(), nil)
	// In TLS 1.3 a client may see its certificate refused, or just a closed
	// connection; in 1.2 it is told within the handshake.
	mutual := serveTLS(t, ca, loopbackCert(), func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, clientCAs, tls.VersionTLS12
	})
	old := serveTLS(t, ca, loopbackCert(), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	expired := loopbackCert()
	expired.NotAfter = time.Now().Add(-time.Minute)
	late := serveTLS(t, ca, expired, nil)
	noTLS := serve(t, func(http.ResponseWriter, *http.Request) {})

	for name, tc := range map[string]struct {
		address string
		tls     provider.TLS
		want    secret.Kind
		hint    string
	}{
		"a given CA is trusted":                    {address: plain.URL, tls: provider.TLS{CA: ca.pem}},
		"an unknown CA is not":                     {address: plain.URL, want: secret.Invalid, hint: "caBundle"},
		"another CA is not":                        {address: plain.URL, tls: provider.TLS{CA: other.pem}, want: secret.Invalid, hint: "caBundle"},
		"the certificate must fit the name":        {address: plain.URL, tls: provider.TLS{CA: ca.pem, ServerName: "other.example"}, want: secret.Invalid, hint: "another name"},
		"the name can be overridden":               {address: plain.URL, tls: provider.TLS{CA: ca.pem, ServerName: "vault.example"}},
		"an expired certificate":                   {address: late.URL, tls: provider.TLS{CA: ca.pem}, want: secret.Invalid, hint: "expired"},
		"a client certificate is shown":            {address: mutual.URL, tls: provider.TLS{CA: ca.pem, Cert: cert, Key: secret.New(key)}},
		"a client certificate is wanted":           {address: mutual.URL, tls: provider.TLS{CA: ca.pem}, want: secret.Invalid, hint: "client certificate"},
		"a client certificate of another CA":       {address: mutual.URL, tls: provider.TLS{CA: ca.pem, Cert: foreignCert, Key: secret.New(foreignKey)}, want: secret.Unauthenticated, hint: "client certificate"},
		"TLS 1.1 is refused":                       {address: old.URL, tls: provider.TLS{CA: ca.pem}, want: secret.Invalid, hint: "TLS 1.2"},
		"a port without TLS is told by its answer": {address: strings.Replace(noTLS.URL, "http:", "https:", 1), want: secret.Invalid, hint: "scheme"},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := get(t, client(t, newTestClients(t, Unrestricted(), Options{}), tc.tls), tc.address)
			wantKind(t, err, tc.want)
			if tc.want == "" && body != "HTTP/2.0" {
				t.Errorf("spoke %s", body)
			}
			if err != nil && !strings.Contains(err.Error(), tc.hint) {
				t.Errorf("%q does not hint at %q", err, tc.hint)
			}
		})
	}
	t.Run("private connections speak HTTP/1.1 under the same trust", func(t *testing.T) {
		for _, m := range []provider.TLS{{CA: ca.pem}, {}} {
			shared := client(t, newTestClients(t, Unrestricted(), Options{}), m)
			own, err := Private(shared)
			wantOK(t, err)
			defer own.CloseIdleConnections()
			body, err := get(t, own, plain.URL)
			if len(m.CA) == 0 {
				wantKind(t, err, secret.Invalid)
				continue
			}
			wantOK(t, err)
			if body != "HTTP/1.1" {
				t.Errorf("spoke %s", body)
			}
		}
	})
}

func TestTLSMaterialThatCannotBeRead(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.pair(t, loopbackCert())
	_, otherKey := a.pair(t, loopbackCert())
	c := newTestClients(t, Policy{}, Options{})
	for name, m := range map[string]provider.TLS{
		"a CA that is no PEM":           {CA: []byte(canary)},
		"a certificate without its key": {Cert: cert},
		"a key without its certificate": {Key: secret.New(key)},
		"a key that is no PEM":          {Cert: cert, Key: secret.FromString(canary)},
		"a key of another certificate":  {Cert: cert, Key: secret.New(otherKey)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Client(m)
			wantKind(t, err, secret.Invalid)
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%q shows the material", err)
			}
		})
	}
}

func TestConnectionsAreSharedByEqualTLSMaterial(t *testing.T) {
	var opened atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.UserAgent()) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := newTestClients(t, Unrestricted(), Options{Version: "1.2.3"})
	for range 3 {
		body, err := get(t, client(t, c, provider.TLS{}), s.URL)
		wantOK(t, err)
		if body != "keyferry/1.2.3" {
			t.Errorf("user agent %q", body)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for equal material", n)
	}
	if _, err := get(t, client(t, c, provider.TLS{ServerName: "x"}), s.URL); err != nil || opened.Load() != 2 {
		t.Errorf("other material has its own connections: %v, %d", err, opened.Load())
	}
	own, err := Private(client(t, c, provider.TLS{}))
	wantOK(t, err)
	defer own.CloseIdleConnections()
	if _, err := get(t, own, s.URL); err != nil || opened.Load() != 3 {
		t.Errorf("private connections are not shared: %v, %d", err, opened.Load())
	}
}

func TestTransportsAreBounded(t *testing.T) {
	c := newTestClients(t, Policy{}, Options{})
	first := client(t, c, provider.TLS{ServerName: "0"})
	for i := range maxTransports + 10 {
		client(t, c, provider.TLS{ServerName: strconv.Itoa(i)})
		if again := client(t, c, provider.TLS{ServerName: "0"}); again.Transport != first.Transport {
			t.Fatalf("what is used often was dropped after %d", i)
		}
	}
	if len(c.cached) != maxTransports || c.recent.Len() != maxTransports {
		t.Errorf("%d and %d transports are kept", len(c.cached), c.recent.Len())
	}
}

func TestPrivateKnowsItsTransport(t *testing.T) {
	_, err := Private(&http.Client{Transport: http.NewFileTransport(http.Dir(t.TempDir()))})
	if !errors.Is(err, secret.Internal) {
		t.Fatalf("got %v", err)
	}
}
