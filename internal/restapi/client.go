package restapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// undoTime is how long ending what a failed call has made may take.
const undoTime = 3 * time.Second

// Client sends the requests of one call of a generator.
type Client struct {
	kind string
	env  provider.Env
	http *http.Client
}

// New returns a client for a call of the generator of that kind. It does no I/O.
func New(env provider.Env, kind string) (*Client, error) {
	c, err := env.HTTP(provider.TLS{})
	if err != nil {
		return nil, Fail(kind, "connect", err)
	}
	return &Client{kind: kind, env: env, http: c}, nil
}

// Request is one request.
type Request struct {
	// Call is what the request is counted as, and what errors call it.
	Call   string
	Method string
	URL    *url.URL
	Header http.Header
	// JSON is the body, encoded as JSON; Form is one of a form. At most one is set.
	JSON any
	Form url.Values
	// Into is what a JSON answer is decoded into; Raw gets it as it is. With neither,
	// the answer is ignored.
	Into any
	Raw  *[]byte
	// Check names the fields of the spec to look at if the service refuses.
	Check string
	// MayBeGone makes 404 and 410 a NotFound. Without it they are Invalid, because the
	// place that the spec names is not there.
	MayBeGone bool
	// Login makes 400 Unauthenticated: it is what OAuth answers to a wrong credential.
	Login bool
}

// Do sends a request and decodes the answer. It fails with the kinds of httpx.Status
// and httpx.Classify, with RateLimited also for a refusal that says so in its headers,
// and with Unavailable for an answer that such a service does not send.
func (c *Client) Do(ctx context.Context, r Request) error {
	err := c.do(ctx, r)
	if errors.Is(err, secret.NotFound) {
		c.env.Observe(r.Call, nil) // the call worked
	} else {
		c.env.Observe(r.Call, err)
	}
	return err
}

func (c *Client) do(ctx context.Context, r Request) error {
	req, err := build(ctx, r)
	if err != nil { // its text can hold the URL
		return c.fail(r, &secret.Error{Kind: secret.Invalid, Err: errors.New("the request cannot be built")})
	}
	body, refused := c.exchange(req, r)
	if refused != nil {
		return c.fail(r, refused)
	}
	if r.Raw != nil {
		*r.Raw = body
	}
	if r.Into != nil && json.Unmarshal(body, r.Into) != nil {
		return c.Strange(r)
	}
	return nil
}

// exchange sends the request and returns the body of an answer that is good.
func (c *Client) exchange(req *http.Request, r Request) ([]byte, *secret.Error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, httpx.Classify(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if refused := c.status(resp); refused != nil {
		httpx.Drain(resp)
		switch {
		case refused.Kind == secret.NotFound && !r.MayBeGone:
			refused.Kind = secret.Invalid
		case resp.StatusCode == http.StatusBadRequest && r.Login:
			refused.Kind = secret.Unauthenticated
		}
		return nil, refused
	}
	body, err := httpx.ReadBody(resp)
	return body, httpx.Classify(err)
}

// Strange is the error of an answer that lacks what such a service always sends. It may
// pass: a proxy shows a page of its own while the service is away.
func (c *Client) Strange(r Request) error {
	return c.fail(r, &secret.Error{Kind: secret.Unavailable, Err: errors.New("the answer is not what such a service sends")})
}

func (c *Client) fail(r Request, e *secret.Error) error {
	e.Op, e.Provider = r.Call, c.kind
	if origin := httpx.Origin(r.URL); !strings.Contains(e.Err.Error(), origin) {
		e.Err = fmt.Errorf("%s: %w", origin, e.Err)
	}
	if r.Check != "" {
		e.Err = fmt.Errorf("%w: check %s", e.Err, r.Check)
	}
	return e
}

// status tells a refusal that is for lack of quota from one that is for lack of rights:
// some services send 403 for both.
func (c *Client) status(resp *http.Response) *secret.Error {
	now := c.env.Clock().Now()
	if resp.StatusCode != http.StatusForbidden {
		return httpx.Status(resp, now)
	}
	limited := *resp
	limited.StatusCode = http.StatusTooManyRequests
	if resp.Header.Get("Retry-After") != "" {
		return httpx.Status(&limited, now)
	}
	if resp.Header.Get("X-RateLimit-Remaining") != "0" {
		return httpx.Status(resp, now)
	}
	if reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		limited.Header = limited.Header.Clone()
		limited.Header.Set("Retry-After", time.Unix(reset, 0).UTC().Format(http.TimeFormat))
	}
	return httpx.Status(&limited, now)
}

func build(ctx context.Context, r Request) (*http.Request, error) {
	var body io.Reader
	contentType := ""
	switch {
	case r.JSON != nil:
		b, err := json.Marshal(r.JSON)
		if err != nil {
			return nil, err
		}
		body, contentType = bytes.NewReader(b), "application/json"
	case r.Form != nil:
		body, contentType = strings.NewReader(r.Form.Encode()), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL.String(), body)
	if err != nil {
		return nil, err
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req, nil
}

// Undo ends what a call has made that fails after all. It runs to its end although the
// call's context may be over, but not for long; that it fails changes nothing.
func Undo(ctx context.Context, end func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	_ = end(ctx)
}

// Endpoint parses the address of a service that the field of a spec holds: http or
// https, without user, query and fragment. It fails with Invalid, and its error does
// not quote the address.
func Endpoint(kind, field, address string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, Invalid(kind, field, "is not an http or https address")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, Invalid(kind, field, "must have no user, query or fragment")
	}
	return u, nil
}

// Segment escapes s to be one segment of a path, whatever it is.
func Segment(s string) string {
	switch s {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(s)
}

// Header returns the headers of a request with this bearer token.
func Header(bearer secret.Value) http.Header {
	return http.Header{"Authorization": {"Bearer " + Text(bearer)}}
}

// Basic returns what HTTP's basic authentication sends of a user and a password.
func Basic(user string, password secret.Value) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + Text(password)))
}

// Text returns a credential as the text that is sent: Secrets that were made from files
// end in a newline that is no part of them.
func Text(v secret.Value) string { return strings.TrimSpace(string(v.Reveal())) }

// Invalid is the error of a field of a spec.
func Invalid(kind, field, why string) error {
	return &secret.Error{Kind: secret.Invalid, Op: "configure", Provider: kind, Err: fmt.Errorf("%s %s", field, why)}
}

// Required fails with Invalid if a field of a spec is empty.
func Required(kind, field, value, hint string) error {
	if strings.TrimSpace(value) != "" {
		return nil
	}
	return Invalid(kind, field, "is empty: "+hint)
}

// Selector fails with Invalid if a field of a spec does not select a key by name.
func Selector(kind, field, name, key string) error {
	if name != "" && key != "" {
		return nil
	}
	return Invalid(kind, field, "needs a name and a key")
}

// Refused is the error of a credential that cannot be used.
func Refused(kind, field, why string) error {
	return &secret.Error{Kind: secret.Unauthenticated, Op: "login", Provider: kind, Err: fmt.Errorf("%s %s", field, why)}
}

// AtField says which field of the spec led to an error; nil stays nil.
func AtField(kind, field string, err error) error {
	e, ok := errors.AsType[*secret.Error](err)
	if !ok {
		return err
	}
	at := *e
	at.Provider, at.Err = kind, fmt.Errorf("%s: %w", field, e.Err)
	return &at
}

// Fail gives an error the kind of the generator, and the operation if it has none.
func Fail(kind, op string, err error) error {
	e := secret.Error{Kind: secret.KindOf(err), Err: err}
	if known, ok := errors.AsType[*secret.Error](err); ok {
		e = *known
	}
	if e.Op == "" {
		e.Op = op
	}
	e.Provider = kind
	return &e
}
