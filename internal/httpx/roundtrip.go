package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/keyferry/keyferry/secret"
)

// DefaultBodyLimit is the size a response may have if nothing else is said.
const DefaultBodyLimit = 4 << 20

// ErrTooLarge is in the chain of the Invalid error that reading a response past
// its limit fails with.
const ErrTooLarge = tooLarge("the response is larger than the limit")

type tooLarge string

func (e tooLarge) Error() string { return string(e) }

// proxyKey is the context key of the proxy that a request goes through. The
// choice is made once, so that the policy, the transport and the dialer agree.
type proxyKey struct{}

// roundTripper adds to a transport what a transport cannot do itself.
type roundTripper struct {
	clients *Clients
	base    *http.Transport
}

// RoundTrip sends the request under the policy and limits the response.
func (r *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	proxy, err := r.clients.proxy(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	out := req.WithContext(context.WithValue(req.Context(), proxyKey{}, proxy))
	if out.Header.Get("User-Agent") == "" {
		out.Header = out.Header.Clone()
		if out.Header == nil {
			out.Header = http.Header{}
		}
		out.Header.Set("User-Agent", "keyferry/"+r.clients.options.Version)
	}
	resp, err := r.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	resp.Body = limit(resp.Body, r.clients.options.BodyLimit)
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections work.
func (r *roundTripper) CloseIdleConnections() { r.base.CloseIdleConnections() }

// proxy returns the proxy of a request, nil for none, and fails with Denied if the
// policy refuses what the proxy is asked for. A plain HTTP proxy goes by the Host
// of the request, whatever its URL says.
func (c *Clients) proxy(req *http.Request) (*url.URL, error) {
	proxy, err := c.options.Proxy(req)
	if err != nil {
		return nil, &secret.Error{Kind: secret.Invalid, Op: "connect", Err: errors.New("the proxy settings of the environment cannot be read")}
	}
	if proxy == nil {
		return nil, nil
	}
	if err := c.guard.name(req.URL.Hostname()); err != nil {
		return nil, err
	}
	if req.Host != "" {
		if err := c.guard.name((&url.URL{Host: req.Host}).Hostname()); err != nil {
			return nil, err
		}
	}
	return proxy, nil
}

// ReadBody reads the response to its end and closes it. It holds responses of any
// client to DefaultBodyLimit. It fails like Classify.
func ReadBody(resp *http.Response) ([]byte, error) {
	body := resp.Body
	if _, limited := body.(*limitedBody); !limited {
		body = limit(body, DefaultBodyLimit)
	}
	b, err := io.ReadAll(body)
	_ = body.Close()
	if err != nil {
		return nil, Classify(err)
	}
	return b, nil
}

// limitedBody fails the read that goes past its limit, and every one after it.
type limitedBody struct {
	io.ReadCloser
	left, limit int64
}

func limit(body io.ReadCloser, n int64) io.ReadCloser { return &limitedBody{body, n, n} }

// Read asks for one byte more than may come, to tell a full body from a long one.
func (l *limitedBody) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, l.tooLarge()
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	if int64(n) > l.left {
		n = int(l.left)
		l.left = -1
		return n, l.tooLarge()
	}
	l.left -= int64(n)
	return n, err
}

func (l *limitedBody) tooLarge() error {
	return &secret.Error{Kind: secret.Invalid, Op: "read", Err: fmt.Errorf("%w of %d bytes", ErrTooLarge, l.limit)}
}
