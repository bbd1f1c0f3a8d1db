package vaultapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/keyferry/keyferry/secret"
)

var (
	errNotAnswered = errors.New("the login gave no token: a second factor cannot be given here")
	errNoToken     = errors.New("what is there is no token: it is empty, or holds what a header cannot")
)

// login gets a token: the one that is given, or a new one.
func (c *Client) login(ctx context.Context) (*token, error) {
	m := c.cfg.Auth
	parameters, err := m.read(ctx, c.env)
	if err != nil {
		return nil, err
	}
	if m.path == "" {
		given := parameters["token"]
		if odd := func(r rune) bool { return r <= ' ' || r > '~' }; given.Len() == 0 || bytes.ContainsFunc(given.Reveal(), odd) {
			return nil, c.fail(secret.Unauthenticated, "login", secret.Ref{}, fmt.Errorf("%s: %w", m.Field, errNoToken))
		}
		return &token{value: given, given: true}, nil
	}
	before := c.env.Clock().Now()
	a, err := c.exchange(ctx, request{
		call: "Login", op: "login", method: http.MethodPost,
		path: m.path, namespace: c.cfg.AuthNamespace, body: texts(parameters),
	})
	if err != nil {
		return nil, c.refusedLogin(a, err)
	}
	if a.Auth == nil || a.Auth.ClientToken == "" {
		return nil, c.fail(secret.Unauthenticated, "login", secret.Ref{}, fmt.Errorf("%s: %w", m.Field, errNotAnswered))
	}
	return newToken(a, before), nil
}

// refusedLogin says that the credentials are at fault, where they are: servers
// answer a wrong password and an unknown role with 400 or 403, and a mount that
// is not there with 403 or 404.
func (c *Client) refusedLogin(a *answer, err error) error {
	if a == nil {
		return err
	}
	m := c.cfg.Auth
	switch {
	case secret.KindOf(err) == secret.Unavailable:
		return err
	case a.status == http.StatusNotFound:
		err = fmt.Errorf("%s: nothing serves %q: check the mount and the namespace", m.Field, m.path)
	case a.status >= 400 && a.status < 500 && a.status != http.StatusTooManyRequests:
		err = fmt.Errorf("%s: the server refuses to log in at %q: check the role, the credentials and the mount", m.Field, m.path)
	default:
		return err
	}
	return c.fail(secret.Unauthenticated, "login", secret.Ref{}, err)
}
