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
	call      string // for metrics
	op        string // for errors
	ref       secret.Ref
	namespace string // for errors
	method    string // GET if empty
	path      []string
	query     url.Values
	accept    string
	kind      string // of the object that is expected
	body      []byte
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
	body := io.Reader(http.NoBody)
	if req.body != nil {
		body = bytes.NewReader(req.body)
	}
	httpReq, err := http.NewRequestWithContext(ctx, req.method, u.String(), body)
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
	about := absence(body)
	switch {
	case e.Kind == secret.Unauthenticated:
		e.Err = fmt.Errorf("%s does not know the credential: it is wrong, expired or for another audience", where)
	case e.Kind == secret.Denied:
		e.Err = fmt.Errorf("%s does not let the credential %s secrets in namespace %q: grant it in a Role there", where, verb(req.call), req.namespace)
	case code == http.StatusGone:
		e.Kind, e.Err = secret.Unavailable, fmt.Errorf("the listing at %s took so long that it must begin again", where)
	case e.Kind == secret.NotFound && about == [2]string{"namespaces", req.namespace}:
		e.Kind, e.Err = secret.Invalid, fmt.Errorf("there is no namespace %q at %s: create it, or name another", req.namespace, where)
	case e.Kind == secret.NotFound && about == [2]string{"secrets", req.ref.Key}:
		e.Err = fmt.Errorf("there is no such Secret in namespace %q", req.namespace)
	case e.Kind == secret.NotFound:
		e.Kind, e.Err = secret.Invalid, fmt.Errorf("nothing at %s serves Secrets: check the server's address", where)
	case code == http.StatusUnprocessableEntity:
		e.Err = fmt.Errorf("%s does not take the Secret: it lacks a key that its type requires, is too large, or has a label or annotation that is not allowed", where)
	default:
		e.Err = fmt.Errorf("%s: %w", where, e.Err)
	}
	return e
}

// verb is what a Role grants for a call.
func verb(call string) string {
	return map[string]string{
		callGet: "get", callList: "list", callCreate: "create", callUpdate: "update", callDelete: "delete",
	}[call]
}

// absence returns the resource and the name that a 404 is about, if it is the API
// server's own. Any other, taken for that, would let a mistyped address look as if
// every secret had been deleted.
func absence(body []byte) [2]string {
	var status struct {
		Kind    string `json:"kind"`
		Reason  string `json:"reason"`
		Details struct {
			Name string `json:"name"`
			Kind string `json:"kind"`
		} `json:"details"`
	}
	if json.Unmarshal(body, &status) != nil || status.Kind != "Status" || status.Reason != "NotFound" {
		return [2]string{}
	}
	return [2]string{status.Details.Kind, status.Details.Name}
}
