package vaultapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/keyferry/keyferry/secret"
)

const maxBody = 8 << 20

var (
	errTooLarge = fmt.Errorf("the answer is larger than %d MiB", maxBody>>20)
	errNotVault = errors.New("the answer is not what such a server sends")
)

// request is one call of the API.
type request struct {
	call      string // the name it is counted under
	op        string // what errors call it
	ref       secret.Ref
	method    string
	path      string // below /v1/, escaped
	field     string // names the path in the manifest, if it is not the mount's
	query     url.Values
	namespace string
	body      secret.Value // a JSON document; empty for none
	token     secret.Value
}

func lookupSelf(namespace string) request {
	return request{call: "LookupSelf", op: "check", method: http.MethodGet, path: "auth/token/lookup-self", namespace: namespace}
}

// answer is what came back. Nothing of it may reach an error's text.
type answer struct {
	status int
	header http.Header
	body   []byte

	Data          json.RawMessage
	Errors        []string
	Warnings      []string
	LeaseID       string `json:"lease_id"`
	LeaseDuration int64  `json:"lease_duration"`
	Renewable     bool
	Auth          *struct {
		ClientToken   string `json:"client_token"`
		Accessor      string
		LeaseDuration int64 `json:"lease_duration"`
		Renewable     bool
		Orphan        bool
		TokenType     string `json:"token_type"`
	}
}

// call sends a request with the session's token. A token of a login that the
// server no longer knows is replaced, once. The answer is returned with a failed
// status too.
func (c *Client) call(ctx context.Context, req request) (*answer, error) {
	for again := false; ; again = true {
		t, err := c.session.get(ctx)
		if err != nil {
			return nil, err
		}
		req.token = t.value
		a, err := c.exchange(ctx, req)
		if a == nil || a.status != http.StatusForbidden {
			return a, err
		}
		good, verr := c.verdict.of(ctx, t, a)
		if verr != nil {
			return nil, verr
		}
		if good {
			return a, err
		}
		if t.given || again {
			return nil, c.fail(secret.Unauthenticated, req.op, req.ref, fmt.Errorf("%s: the token is wrong, revoked or expired", c.cfg.Auth.Field))
		}
		c.session.discard(t)
	}
}

// exchange sends one request and counts it. The answer is nil if none came.
func (c *Client) exchange(ctx context.Context, req request) (*answer, error) {
	a, err := c.send(ctx, req)
	if err == nil {
		err = c.failure(req, a)
	}
	counted := err
	if errors.Is(err, secret.NotFound) {
		counted = nil // the call worked
	}
	c.env.Observe(req.call, counted)
	return a, err
}

func (c *Client) send(ctx context.Context, req request) (*answer, error) {
	r, err := c.build(ctx, req)
	if err != nil {
		return nil, c.fail(secret.Invalid, req.op, req.ref, errors.New("the request cannot be built: check the headers and the namespace"))
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(req, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, c.unreachable(req, err)
	}
	if len(body) > maxBody {
		return nil, c.fail(secret.Invalid, req.op, req.ref, errTooLarge)
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, body: body}
	if err := json.Unmarshal(body, a); err != nil && len(body) > 0 && a.ok() {
		return nil, c.strange(req.op, req.ref)
	}
	if c.cfg.ReadYourWrites && req.method != http.MethodGet {
		c.index.set(resp.Header.Get("X-Vault-Index"))
	}
	return a, nil
}

func (c *Client) build(ctx context.Context, req request) (*http.Request, error) {
	var body io.Reader
	if req.body.Len() > 0 {
		body = bytes.NewReader(req.body.Reveal())
	}
	target := c.base + req.path
	if len(req.query) > 0 {
		target += "?" + req.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, req.method, target, body)
	if err != nil {
		return nil, err
	}
	c.address(r.Header, req)
	return r, nil
}

// address sets the headers: those of the manifest first, so that they replace none
// of the API's.
func (c *Client) address(h http.Header, req request) {
	for k, v := range c.cfg.Headers {
		h.Set(k, v)
	}
	h.Set("X-Vault-Request", "true")
	h.Del("X-Vault-Token")
	if token := string(req.token.Reveal()); token != "" {
		h.Set("X-Vault-Token", token)
	}
	if ns := strings.Trim(req.namespace, "/"); ns != "" {
		h.Set("X-Vault-Namespace", ns)
	}
	if req.body.Len() > 0 {
		h.Set("Content-Type", "application/json")
	}
	if c.cfg.ForwardInconsistent {
		h.Set("X-Vault-Inconsistent", "forward-active-node")
	}
	if i := c.index.get(); i != "" {
		h.Set("X-Vault-Index", i)
	}
}

// document is v in JSON, as the body of a request.
func document(v any) (secret.Value, error) {
	b, err := json.Marshal(v)
	return secret.New(b), err
}

// texts is a document of strings.
func texts(members map[string]secret.Value) secret.Value {
	return secret.Secret{Fields: members}.Whole()
}

// decode reads a part of an answer. Its error holds nothing of the part.
func (c *Client) decode(raw json.RawMessage, into any, op string, ref secret.Ref) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return c.strange(op, ref)
	}
	return nil
}

// strange is the error of an answer that some other server must have written. It
// may pass: a proxy shows a page of its own while its server is away.
func (c *Client) strange(op string, ref secret.Ref) error {
	return c.fail(secret.Unavailable, op, ref, fmt.Errorf("%s: %w: check %s.server", c.host, errNotVault, c.cfg.Spec))
}

func (a *answer) ok() bool { return a.status >= 200 && a.status < 300 }

// index is the state of the server after the last write: a read that names it is
// not answered from an older one.
type index struct {
	mu sync.Mutex
	v  string
}

func (i *index) set(v string) {
	if v == "" {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.v = v
}

func (i *index) get() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.v
}
