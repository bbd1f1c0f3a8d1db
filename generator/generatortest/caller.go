package generatortest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/provider/providertest"
	"github.com/keyferry/keyferry/secret"
)

var _ provider.Env = (*caller)(nil)

// callerKey is where the context of a call has its caller.
type callerKey struct{}

// caller is the Env of one call. It notices when another call uses it, keeps what it
// hands out, and lets requests and credentials fail.
type caller struct {
	*providertest.Env
	errorf    func(format string, args ...any)
	transport func(*http.Transport)
	// refuse is what Credential and Token fail with, if anything.
	refuse error
	// before is asked before the n-th request, from 1, if it is not nil.
	before func(n int) error

	mu       sync.Mutex
	handed   []secret.Value
	asked    int
	requests int
}

// mine reports a context that is not that of the call.
func (c *caller) mine(ctx context.Context, what string) {
	if ctx.Value(callerKey{}) != c {
		c.errorf("%s of one call goes with the context of another, or with none of a call", what)
	}
}

// Credential implements provider.Env.
func (c *caller) Credential(ctx context.Context, ref provider.CredentialRef) (secret.Value, error) {
	c.mine(ctx, "a credential")
	return c.hand(ref.Kind == "" || ref.Kind == "Secret", func() (secret.Value, error) { return c.Env.Credential(ctx, ref) })
}

// Token implements provider.Env.
func (c *caller) Token(ctx context.Context, req provider.TokenRequest) (secret.Value, error) {
	c.mine(ctx, "a service account token")
	return c.hand(true, func() (secret.Value, error) { return c.Env.Token(ctx, req) })
}

func (c *caller) hand(isSecret bool, get func() (secret.Value, error)) (secret.Value, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.refuse != nil {
		return secret.Value{}, c.refuse
	}
	v, err := get()
	if err != nil || !isSecret {
		return v, err
	}
	c.handed = append(c.handed, v)
	if members, err := v.Object(); err == nil {
		for _, member := range members {
			c.handed = append(c.handed, member)
		}
	}
	return v, nil
}

// HTTP implements provider.Env. The transport asks for a proxy before each request: that
// is where requests are seen. A connection of HTTP/2 would not ask.
func (c *caller) HTTP(t provider.TLS) (*http.Client, error) {
	client, err := c.Env.HTTP(t)
	if err != nil {
		return nil, err
	}
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		c.errorf("the transport of the Env is a %T", client.Transport)
		return client, nil
	}
	if c.transport != nil {
		c.transport(transport)
	}
	transport.ForceAttemptHTTP2, transport.Protocols = false, new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	transport.Proxy = func(r *http.Request) (*url.URL, error) { return nil, c.request(r.Context()) }
	return client, nil
}

func (c *caller) request(ctx context.Context) error {
	c.mine(ctx, "a request")
	c.mu.Lock()
	c.requests++
	n := c.requests
	c.mu.Unlock()
	if c.before == nil {
		return nil
	}
	return c.before(n)
}

// seen returns how often the call asked for a credential and made a request, and the
// credentials that it got.
func (c *caller) seen() (asked, requests int, handed []secret.Value) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.requests, slices.Clone(c.handed)
}
