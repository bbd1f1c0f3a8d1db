package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/secret"
)

// request is one call of the API server.
type request struct {
	call   string // for metrics
	op     string // for errors
	ref    secret.Ref
	path   []string
	query  url.Values
	accept string
	kind   string // of the object that is expected
	body   []byte // makes it a POST
}

// answer is what an answer is decoded into.
type answer interface{ is(kind string) bool }

// do makes the call and decodes the answer into out.
func (s *store) do(ctx context.Context, req request, out answer) (err error) {
	if s.closed.Load() {
		return fail(secret.Unavailable, req.op, req.ref, errClosed)
	}
	httpReq, err := s.prepare(ctx, req)
	if err != nil {
		return err
	}
	defer func() { s.env.Observe(req.call, err) }()
	resp, err := s.client.Do(httpReq)
	if err != nil {
		return s.broken(req, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := httpx.ReadBody(resp)
	if err != nil {
		return s.broken(req, err)
	}
	if status := httpx.Status(resp, s.env.Clock().Now()); status != nil {
		return s.refusal(req, resp.StatusCode, status, body)
	}
	if json.Unmarshal(body, out) != nil || !out.is(req.kind) {
		return fail(secret.Invalid, req.op, req.ref, errNoObject)
	}
	return nil
}

func (s *store) prepare(ctx context.Context, req request) (*http.Request, error) {
	if err := ctx.Err(); err != nil {
		return nil, fail(secret.Unavailable, req.op, req.ref, err)
	}
	u := s.server.JoinPath(req.path...)
	u.RawQuery = req.query.Encode()
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if req.body != nil {
		method, body = http.MethodPost, bytes.NewReader(req.body)
	}
	httpReq, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil { // its text quotes the address
		return nil, fail(secret.Invalid, req.op, req.ref, errNoObject)
	}
	httpReq.Header.Set("Accept", req.accept)
	if req.body != nil {
		httpReq.Header.Set("Content-Type", asJSON)
	}
	if s.token != nil {
		token, err := s.token(ctx)
		if err != nil {
			return nil, err
		}
		httpReq.Header.Set("Authorization", "Bearer "+string(token.Reveal()))
	}
	return httpReq, nil
}

// broken is the error of a call without an answer, or with half of one.
func (s *store) broken(req request, err error) error {
	e := httpx.Classify(err)
	e.Op, e.Provider, e.Ref = req.op, name, req.ref
	return e
}

// refusal says what a status means for whoever has to act. Of the body it believes
// the kind and the name alone, and shows nothing.
func (s *store) refusal(req request, code int, e *secret.Error, body []byte) error {
	e.Op, e.Provider, e.Ref = req.op, name, req.ref
	where := httpx.Origin(s.server)
	switch {
	case e.Kind == secret.Unauthenticated:
		e.Err = fmt.Errorf("%s does not know the credential: it is wrong, expired or for another audience", where)
	case e.Kind == secret.Denied:
		verb := map[string]string{callGet: "get", callList: "list"}[req.call]
		e.Err = fmt.Errorf("%s does not let the credential %s secrets in namespace %q: grant it in a Role there", where, verb, s.namespace)
	case code == http.StatusGone:
		e.Kind, e.Err = secret.Unavailable, fmt.Errorf("the listing at %s took so long that it must begin again", where)
	case e.Kind == secret.NotFound && !saysAbsent(req, body):
		e.Kind, e.Err = secret.Invalid, fmt.Errorf("nothing at %s serves Secrets: check the server's address", where)
	case e.Kind == secret.NotFound:
		e.Err = fmt.Errorf("there is no such Secret in namespace %q", s.namespace)
	default:
		e.Err = fmt.Errorf("%s: %w", where, e.Err)
	}
	return e
}

// saysAbsent reports whether a 404 is the API server's own and about this Secret.
// Taken for that, a mistyped address would look as if every secret had been deleted.
func saysAbsent(req request, body []byte) bool {
	var status struct {
		Kind    string `json:"kind"`
		Reason  string `json:"reason"`
		Details struct {
			Name string `json:"name"`
			Kind string `json:"kind"`
		} `json:"details"`
	}
	return json.Unmarshal(body, &status) == nil && status.Kind == "Status" && status.Reason == "NotFound" &&
		status.Details.Kind == "secrets" && status.Details.Name == req.ref.Key
}
