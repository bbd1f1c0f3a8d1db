package webhookapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyferry/keyferry/internal/httpx"
	"github.com/keyferry/keyferry/secret"
)

// ErrMethod is in the chain of the error of a request whose method the service does
// not take.
const ErrMethod = refusal("the service does not take requests of this method at the URL")

type refusal string

func (e refusal) Error() string { return string(e) }

// Message is what a request carries beside URL and headers.
type Message struct {
	Method string
	// Body is a template.
	Body string
	// Pushed is what body and headers see under the key of the secret, and the body
	// itself if there is no template.
	Pushed *secret.Value
}

// Asking returns the message that the spec asks with.
func (c *Client) Asking() Message {
	return Message{Method: cmp.Or(c.Spec.Method, http.MethodGet), Body: c.Spec.Body}
}

// Get asks for a value: what the JSON path of the spec selects in the answer, or else
// all of it. Status 404 is NotFound, and so is a path that selects nothing when ref has
// a property.
func (c *Client) Get(ctx context.Context, ref secret.Ref, m Message) (secret.Value, error) {
	path, err := c.render(ctx, pathField, c.Spec.Result.JSONPath, c.data(ref, raw))
	if err != nil {
		return secret.Value{}, err
	}
	body, err := c.Send(ctx, ref, m)
	if err != nil || path == "" {
		return secret.New(body), err
	}
	return c.extract(ctx, path, body, ref.Property != "")
}

// Send makes a request, when it is its turn, and returns the body of the answer. It
// fails with the kinds of httpx.Status and httpx.Classify.
func (c *Client) Send(ctx context.Context, ref secret.Ref, m Message) ([]byte, error) {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	req, err := c.request(ctx, ref, m)
	if err != nil {
		return nil, err
	}
	if err := c.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer c.endTurn()
	body, err := c.exchange(req)
	c.env.Observe("HTTPRequest", err)
	return body, err
}

// exchange sends the request and returns the body of the answer.
func (c *Client) exchange(req *http.Request) ([]byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.classify(err)
	}
	if ended := req.Context().Err(); ended != nil { // in a login, this ends as a 401
		_ = resp.Body.Close()
		return nil, c.classify(ended)
	}
	if resp.StatusCode == http.StatusNotModified {
		httpx.Drain(resp)
		return nil, &secret.Error{Kind: secret.Invalid, Err: errors.New("the answer was 304 Not Modified to a request without a condition: the service, or a header of the spec, is at fault")}
	}
	if err := httpx.Status(resp, c.env.Clock().Now()); err != nil {
		httpx.Drain(resp)
		if resp.StatusCode == http.StatusMethodNotAllowed {
			err.Err = fmt.Errorf("%w: correct %smethod, or url", ErrMethod, c.Root)
		}
		return nil, err
	}
	return httpx.ReadBody(resp)
}

// classify keeps the host out of the error if a template made it: it can come from
// a Secret.
func (c *Client) classify(err error) error {
	if !strings.Contains(authority(c.Spec.URL), "{{") {
		return httpx.Classify(err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	e := httpx.Classify(err)
	if e.Kind == secret.Denied {
		e.Err = errors.New("the host of " + c.Root + "url is an address that the egress policy refuses; an administrator opens it with --egress-allow")
	}
	return e
}

func (c *Client) takeTurn(ctx context.Context) error {
	if c.login == nil {
		return nil
	}
	select {
	case c.login.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return c.classify(ctx.Err())
	}
}

func (c *Client) endTurn() {
	if c.login != nil {
		<-c.login.turn
	}
}

func (c *Client) request(ctx context.Context, ref secret.Ref, m Message) (*http.Request, error) {
	address, err := c.url(ctx, ref)
	if err != nil {
		return nil, err
	}
	data := c.data(ref, raw)
	body, err := c.body(ctx, ref, m, data)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, m.Method, address, bytes.NewReader([]byte(body)))
	if err != nil { // its text holds the URL
		return nil, c.Invalid("url", "does not render to a URL that can be asked")
	}
	if req.Header, err = c.header(ctx, data); err != nil {
		return nil, err
	}
	if c.login != nil {
		req.SetBasicAuth(string(c.login.user.Reveal()), string(c.login.password.Reveal()))
	}
	return req, nil
}

// body returns the body of a request. What is pushed becomes part of data.
func (c *Client) body(ctx context.Context, ref secret.Ref, m Message, data map[string]any) (string, error) {
	if m.Pushed == nil {
		return c.render(ctx, "body", m.Body, data)
	}
	value := string(m.Pushed.Reveal())
	if remote, ok := data["remoteRef"].(map[string]string); ok && ref.Key != "namespace" {
		remote[ref.Key] = value
	} else if m.Body != "" { // the value would pass for the namespace of whoever pushes
		return "", c.Invalid("body", `sees the namespace as .remoteRef.namespace, so that nothing can be pushed to the key "namespace": use another remoteKey`)
	}
	if m.Body == "" {
		return value, nil
	}
	return c.render(ctx, "body", m.Body, data)
}

func (c *Client) url(ctx context.Context, ref secret.Ref) (string, error) {
	address, err := c.render(ctx, "url", c.Spec.URL, c.data(ref, escape))
	if err != nil {
		return "", err
	}
	address = strings.TrimSpace(address)
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", c.Invalid("url", "does not render to an http or https URL")
	}
	for part := range strings.FieldsFuncSeq(u.Path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == "." || part == ".." { // servers resolve it, and so a key could lead out of its namespace
			return "", c.Invalid("url", `renders to a path with "." or ".." in it: correct remoteRef, or the template`)
		}
	}
	return address, nil
}

func (c *Client) header(ctx context.Context, data map[string]any) (http.Header, error) {
	header := http.Header{}
	for name, text := range c.Spec.Headers {
		field := fmt.Sprintf("headers[%q]", name)
		value, err := c.render(ctx, field, text, data)
		if err != nil {
			return nil, err
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, c.Invalid(field, "renders to a value with a line break or control character; pipe what comes from a Secret through trim")
		}
		header.Add(name, value)
	}
	return header, nil
}

// render returns the text that a template of the spec makes.
func (c *Client) render(ctx context.Context, field, text string, data map[string]any) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	v, err := c.engine.Render(ctx, c.Root+field, text, data)
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
func (c *Client) data(ref secret.Ref, how func(string) string) map[string]any {
	data := make(map[string]any, len(c.secrets)+1)
	for name, values := range c.secrets {
		data[name] = values
	}
	if c.NoRef {
		return data
	}
	remote := map[string]string{"key": how(ref.Key), "remoteKey": how(ref.Key), "version": how(ref.Version), "property": how(ref.Property)}
	if ref.Namespace != "" { // an empty one could name what belongs to somebody else
		remote["namespace"] = ref.Namespace
	}
	data["remoteRef"] = remote
	return data
}

func raw(s string) string { return s }

// escape makes s safe in a path and in a query alike.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
