package httpx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keyferry/keyferry/secret"
)

// Classify returns the error of an http.Client, or of a read of a body, as a
// secret.Error: Denied from the egress policy, Invalid for certificates, redirects
// and bodies past their limit, Unauthenticated if the server refused the client
// certificate, Unavailable for everything that may pass. Its text is the same on
// every attempt, names scheme, host and port where they are known, and has nothing
// of the URL beyond that nor of what the server sent. It returns nil for nil; the
// caller may set Op, Provider and Ref.
func Classify(err error) *secret.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*secret.Error](err); ok {
		known := *e
		return &known
	}
	where := "the server"
	if e, ok := errors.AsType[*url.Error](err); ok {
		if u, parseErr := url.Parse(e.URL); parseErr == nil && u.Host != "" {
			where = Origin(u)
		}
	}
	kind, what := explain(err)
	out := &secret.Error{Kind: kind, Op: "connect"}
	switch {
	case errors.Is(err, context.Canceled):
		out.Err = fmt.Errorf("%s: %w", where, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		out.Err = fmt.Errorf("%s did not answer in time: %w", where, context.DeadlineExceeded)
	default:
		out.Err = fmt.Errorf("%s: %s", where, what)
	}
	return out
}

// Origin returns the scheme, host and port of a URL: all of it that may be shown.
func Origin(u *url.URL) string {
	if u.Port() != "" || u.Scheme != "https" && u.Scheme != "http" {
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + "://" + u.Host + ":" + map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

func explain(err error) (secret.Kind, string) {
	if what := explainTLS(err); what != "" {
		return secret.Invalid, what
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		switch {
		case e.Op == "remote error" && strings.Contains(e.Err.Error(), "certificate"):
			return secret.Unauthenticated, "the server refused the client certificate, or wants one"
		case e.Op == "remote error":
			return secret.Invalid, "the server refused the TLS handshake: it does not speak TLS 1.2 or later, or wants a client certificate"
		case e.Op == "proxyconnect":
			return secret.Unavailable, "the proxy cannot be reached"
		}
	}
	return secret.Unavailable, explainNetwork(err)
}

func explainNetwork(err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name cannot be looked up"
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "no answer in time"
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return "there is no way to the host"
	}
	// Which of reset, broken pipe and early end it is depends on timing, so they
	// share a text; others can quote what the server sent.
	return "the connection broke before the answer was complete"
}

// explainTLS says what is wrong with the server's side of TLS; empty if nothing is.
func explainTLS(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "the server does not speak TLS on this port; check the scheme of the address"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the server's certificate is for another name; check the address"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return "the server's certificate has expired or is not valid yet"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the server's certificate is not signed by a trusted CA; set caBundle or caProvider"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate does not verify; check it, and caBundle or caProvider"
	}
	return ""
}

// Status returns nil for an answer of 2xx and else a secret.Error with the kind
// that the status means: 401 Unauthenticated, 403 and 407 Denied, 404 and 410
// NotFound, 409 and 412 Conflict, 429 RateLimited, 408, 425 and 5xx Unavailable,
// everything else Invalid. RetryAfter is what the header of that name says.
// The body is neither read nor closed.
func Status(resp *http.Response, now time.Time) *secret.Error {
	code := resp.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	e := &secret.Error{Kind: statusKind(code), Err: fmt.Errorf("the answer was %s", strings.TrimSpace(strconv.Itoa(code)+" "+http.StatusText(code)))}
	if e.Kind == secret.RateLimited || e.Kind == secret.Unavailable {
		e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	}
	return e
}

func statusKind(code int) secret.Kind {
	switch code {
	case http.StatusUnauthorized:
		return secret.Unauthenticated
	case http.StatusForbidden, http.StatusProxyAuthRequired:
		return secret.Denied
	case http.StatusNotFound, http.StatusGone:
		return secret.NotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return secret.Conflict
	case http.StatusTooManyRequests:
		return secret.RateLimited
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return secret.Unavailable
	}
	if code >= 500 {
		return secret.Unavailable
	}
	return secret.Invalid
}

// retryAfter reads both forms of the header; what it cannot read is zero, and
// nobody is told to wait for more than a day.
func retryAfter(header string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), 24*time.Hour)
}

// Drain reads what is left of a response that is not wanted, up to a small limit,
// so that its connection can be used again, and closes it.
func Drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}
