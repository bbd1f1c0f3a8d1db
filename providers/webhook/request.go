package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/secret"
)

// Get asks the service for ref. Status 404 is NotFound, and so is a JSON path that
// selects nothing when ref has a property. Metadata is Unsupported, and so is a
// version that no template uses.
func (s *store) Get(ctx context.Context, ref secret.Ref) (secret.Secret, error) {
	ref = address(s.spec, ref) // what does not tell reads apart is not rendered either
	switch {
	case s.closed.Load():
		return secret.Secret{}, fail(ref, &secret.Error{Kind: secret.Unavailable, Err: errors.New("the store is closed")})
	case ref.Metadata:
		return secret.Secret{}, fail(ref, &secret.Error{Kind: secret.Unsupported, Err: errors.New("a webhook has no metadata; leave metadataPolicy out")})
	case ref.Version != "" && !uses(s.spec, "version"):
		return secret.Secret{}, fail(ref, &secret.Error{Kind: secret.Unsupported, Err: errors.New("no template of the store uses .remoteRef.version; leave version out")})
	case ref.Namespace == "" && uses(s.spec, "namespace"):
		return secret.Secret{}, fail(ref, &secret.Error{Kind: secret.Invalid, Err: errors.New("a template of the store uses .remoteRef.namespace, and there is no namespace here")})
	}
	ctx, cancel := s.timeout(ctx)
	defer cancel()
	value, err := s.get(ctx, ref)
	if err != nil {
		return secret.Secret{}, fail(ref, err)
	}
	return secret.Secret{Value: value}, nil
}

func (s *store) get(ctx context.Context, ref secret.Ref) (secret.Value, error) {
	req, err := s.request(ctx, ref)
	if err != nil {
		return secret.Value{}, err
	}
	path, err := s.render(ctx, "result.jsonPath", s.spec.Result.JSONPath, s.data(ref, raw))
	if err != nil {
		return secret.Value{}, err
	}
	if err := s.takeTurn(ctx); err != nil {
		return secret.Value{}, err
	}
	defer s.endTurn()
	body, err := s.exchange(req)
	s.env.Observe("HTTPRequest", err)
	if err != nil || path == "" {
		return secret.New(body), err
	}
	return extract(ctx, path, body, ref.Property != "")
}

// exchange sends the request and returns the body of the answer.
func (s *store) exchange(req *http.Request) ([]byte, error) {
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, s.classify(err)
	}
	if ended := req.Context().Err(); ended != nil { // in a login, this ends as a 401
		_ = resp.Body.Close()
		return nil, s.classify(ended)
	}
	if resp.StatusCode == http.StatusNotModified {
		httpx.Drain(resp)
		return nil, &secret.Error{Kind: secret.Invalid, Err: errors.New("the answer was 304 Not Modified to a request without a condition: the service, or a header of the store, is at fault")}
	}
	if err := httpx.Status(resp, s.env.Clock().Now()); err != nil {
		httpx.Drain(resp)
		return nil, err
	}
	return httpx.ReadBody(resp)
}

// classify keeps the host out of the error if a template made it: it can come from
// a Secret.
func (s *store) classify(err error) error {
	if !strings.Contains(authority(s.spec.URL), "{{") {
		return httpx.Classify(err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	e := httpx.Classify(err)
	if e.Kind == secret.Denied {
		e.Err = errors.New("the host of spec.provider.webhook.url is an address that the egress policy refuses; an administrator opens it with --egress-allow")
	}
	return e
}

func (s *store) takeTurn(ctx context.Context) error {
	if s.login == nil {
		return nil
	}
	select {
	case s.login.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return s.classify(ctx.Err())
	}
}

func (s *store) endTurn() {
	if s.login != nil {
		<-s.login.turn
	}
}

func (s *store) request(ctx context.Context, ref secret.Ref) (*http.Request, error) {
	address, err := s.url(ctx, ref)
	if err != nil {
		return nil, err
	}
	data := s.data(ref, raw)
	body, err := s.render(ctx, "body", s.spec.Body, data)
	if err != nil {
		return nil, err
	}
	method := s.spec.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader([]byte(body)))
	if err != nil { // its text holds the URL
		return nil, invalid("url", "does not render to a URL that can be asked")
	}
	if req.Header, err = s.header(ctx, data); err != nil {
		return nil, err
	}
	if s.login != nil {
		req.SetBasicAuth(string(s.login.user.Reveal()), string(s.login.password.Reveal()))
	}
	return req, nil
}

func (s *store) url(ctx context.Context, ref secret.Ref) (string, error) {
	address, err := s.render(ctx, "url", s.spec.URL, s.data(ref, escape))
	if err != nil {
		return "", err
	}
	address = strings.TrimSpace(address)
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", invalid("url", "does not render to an http or https URL")
	}
	for part := range strings.FieldsFuncSeq(u.Path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == "." || part == ".." { // servers resolve it, and so a key could lead out of its namespace
			return "", invalid("url", `renders to a path with "." or ".." in it: correct remoteRef, or the template`)
		}
	}
	return address, nil
}

func (s *store) header(ctx context.Context, data map[string]any) (http.Header, error) {
	header := http.Header{}
	for name, text := range s.spec.Headers {
		field := fmt.Sprintf("headers[%q]", name)
		value, err := s.render(ctx, field, text, data)
		if err != nil {
			return nil, err
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, invalid(field, "renders to a value with a line break or control character; pipe what comes from a Secret through trim")
		}
		header.Add(name, value)
	}
	return header, nil
}

// render returns the text that a template of the spec makes.
func (s *store) render(ctx context.Context, field, text string, data map[string]any) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	v, err := s.engine.Render(ctx, root+field, text, data)
	if err == nil {
		return string(v.Reveal()), nil
	}
	e := &secret.Error{Kind: secret.KindOf(err), Op: "render", Err: err}
	if e.Kind == secret.Internal {
		e.Kind = secret.Invalid
	}
	return "", e
}

// data is what a template sees.
func (s *store) data(ref secret.Ref, how func(string) string) map[string]any {
	remote := map[string]string{"key": how(ref.Key), "version": how(ref.Version), "property": how(ref.Property)}
	if ref.Namespace != "" { // an empty one could name what belongs to somebody else
		remote["namespace"] = ref.Namespace
	}
	data := make(map[string]any, len(s.secrets)+1)
	for name, values := range s.secrets {
		data[name] = values
	}
	data["remoteRef"] = remote
	return data
}

func raw(s string) string { return s }

// escape makes s safe in a path and in a query alike.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
