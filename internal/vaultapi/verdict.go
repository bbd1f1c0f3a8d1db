package vaultapi

import (
	"context"
	"net/http"
	"time"

	"github.com/keyferry/keyferry/secret"
)

// verdictLife is how long one answer about a token serves: a thousand denied keys
// cost one question, and a token that is revoked is noticed soon after.
const verdictLife = 10 * time.Second

// verdict tells whether a 403 was for the token or for what it asked.
type verdict struct {
	c    *Client
	busy chan struct{} // held by the one who asks

	token secret.Value
	until time.Time
	good  bool
}

// of reports whether the token is good, given the 403 that it got. It asks the
// server if the answer does not say, and fails if that cannot be done.
func (v *verdict) of(ctx context.Context, t *token, a *answer) (bool, error) {
	switch a.refusal() {
	case refusedByPolicy:
		return true, nil
	case refusedToken:
		return false, nil
	}
	select {
	case v.busy <- struct{}{}:
		defer func() { <-v.busy }()
	case <-ctx.Done():
		return false, v.c.fail(secret.Unavailable, "check", secret.Ref{}, ctx.Err())
	}
	return v.ask(ctx, t)
}

// ask asks the server, unless it was asked just now.
func (v *verdict) ask(ctx context.Context, t *token) (bool, error) {
	now := v.c.env.Clock().Now()
	if v.token.Equal(t.value) && now.Before(v.until) {
		return v.good, nil
	}
	req := lookupSelf(v.c.cfg.AuthNamespace)
	req.token = t.value
	a, err := v.c.exchange(ctx, req)
	if err != nil && (a == nil || a.status != http.StatusForbidden) {
		return false, err
	}
	// Who refuses with an answer of its own is a proxy, which knows no tokens.
	good := err == nil || a.refusal() == refusedByPolicy || a.refusal() == refusedForeign
	v.token, v.until, v.good = t.value, now.Add(verdictLife), good
	return good, nil
}
