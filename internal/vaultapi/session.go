package vaultapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/keyferry/keyferry/secret"
)

var errClosed = errors.New("the store is closed")

// token is immutable: a renewal makes a new one of the same value.
type token struct {
	value     secret.Value
	accessor  string
	given     bool // not ours: never renewed, never revoked
	batch     bool // cannot be revoked
	renewable bool
	granted   time.Duration // the life that the login gave
	renew     time.Time     // zero: never
	expires   time.Time     // zero: never
}

// newToken reads the token of an answer to a request that was sent at that time.
func newToken(a *answer, sent time.Time) *token {
	life := time.Duration(a.Auth.LeaseDuration) * time.Second
	t := &token{
		value: secret.FromString(a.Auth.ClientToken), accessor: a.Auth.Accessor, granted: life,
		batch: a.Auth.TokenType == "batch", renewable: a.Auth.Renewable,
	}
	if life > 0 {
		t.renew, t.expires = sent.Add(life*2/3), sent.Add(life)
	}
	return t
}

func (t *token) alive(now time.Time) bool {
	return t != nil && (t.expires.IsZero() || now.Before(t.expires))
}

func (t *token) due(now time.Time) bool { return !t.renew.IsZero() && !now.Before(t.renew) }

// session keeps the token that all calls of a client share.
type session struct {
	c *Client

	mu      sync.Mutex
	current *token
	// former is the token before, which may be in use until it expires.
	former *token
	flight *flight
	closed bool
}

// flight is a login or renewal that is under way.
type flight struct {
	done chan struct{}
	err  error
	// abandoned: the caller that flew it gave up, which is nobody else's failure.
	abandoned bool
}

// get returns a token that is good as far as is known here. While one is being
// renewed the others use what there is; while there is none they wait for the one
// login that is under way.
func (s *session) get(ctx context.Context) (*token, error) {
	for {
		t, f, mine, err := s.board()
		if t != nil || err != nil {
			return t, err
		}
		if mine {
			return s.fly(ctx, f)
		}
		select {
		case <-f.done:
			if f.err != nil && !f.abandoned {
				return nil, f.err
			}
		case <-ctx.Done():
			return nil, s.c.fail(secret.Unavailable, "login", secret.Ref{}, ctx.Err())
		}
	}
}

// board returns a token to use, or a flight to wait for, or one to fly.
func (s *session) board() (t *token, f *flight, mine bool, err error) {
	now := s.c.env.Clock().Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, nil, false, s.c.fail(secret.Unavailable, "login", secret.Ref{}, errClosed)
	case s.current.alive(now) && (s.flight != nil || !s.current.due(now)):
		return s.current, nil, false, nil
	case s.flight != nil:
		return nil, s.flight, false, nil
	}
	s.flight = &flight{done: make(chan struct{})}
	return nil, s.flight, true, nil
}

// fly renews or replaces the token.
func (s *session) fly(ctx context.Context, f *flight) (*token, error) {
	s.mu.Lock()
	old := s.current
	s.mu.Unlock()
	next, err := s.refresh(ctx, old)
	if now := s.c.env.Clock().Now(); err != nil && old.alive(now) {
		// What there is still works: try again when a third of the rest is over.
		later := *old
		later.renew = now.Add(old.expires.Sub(now) / 3)
		next, err = &later, nil
	}
	s.mu.Lock()
	f.err, f.abandoned = err, ctx.Err() != nil
	s.flight = nil
	closed := s.closed
	if err == nil && !closed {
		if old != nil && !old.value.Equal(next.value) {
			s.former = old
		}
		s.current = next
	}
	s.mu.Unlock()
	close(f.done)
	if closed && err == nil {
		ctx, cancel := s.c.detached()
		defer cancel()
		_ = s.revoke(ctx, next) // whoever waits is told the reason for it
		return nil, s.c.fail(secret.Unavailable, "login", secret.Ref{}, errClosed)
	}
	return next, err
}

// refresh renews a token that is alive and can be, and logs in otherwise. A token
// near the end of what may be renewed is replaced too.
func (s *session) refresh(ctx context.Context, old *token) (*token, error) {
	now := s.c.env.Clock().Now()
	if !old.alive(now) || !old.renewable {
		return s.c.login(ctx)
	}
	a, err := s.c.exchange(ctx, request{
		call: "RenewSelf", op: "renew", method: http.MethodPost,
		path: "auth/token/renew-self", namespace: s.c.cfg.AuthNamespace, token: old.value,
	})
	switch kind := secret.KindOf(err); {
	case kind == secret.RateLimited, kind == secret.Unavailable && (a == nil || a.status != http.StatusInternalServerError):
		return nil, err
	case err != nil || a.Auth == nil:
		// Some methods refuse a renewal with status 500: a role has changed.
		return s.c.login(ctx)
	}
	renewed := newToken(a, now)
	renewed.value, renewed.accessor = old.value, old.accessor
	renewed.batch = old.batch
	if renewed.granted < old.granted/2 {
		renewed.renewable = false
	}
	renewed.granted = old.granted
	return renewed, nil
}

// discard drops a token that the server does not know, unless it is replaced already.
func (s *session) discard(t *token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.value.Equal(t.value) {
		s.current = nil
	}
}

// close ends the session and revokes what it logged in for.
func (s *session) close(ctx context.Context) error {
	s.mu.Lock()
	tokens := []*token{s.current, s.former}
	s.current, s.former, s.closed = nil, nil, true
	s.mu.Unlock()
	var failed error
	for _, t := range tokens {
		failed = cmp.Or(failed, s.revoke(ctx, t))
	}
	return failed
}

func (s *session) revoke(ctx context.Context, t *token) error {
	if !t.alive(s.c.env.Clock().Now()) || t.given || t.batch {
		return nil
	}
	a, err := s.c.exchange(ctx, request{
		call: "RevokeSelf", op: "revoke", method: http.MethodPost,
		path: "auth/token/revoke-self", namespace: s.c.cfg.AuthNamespace, token: t.value,
	})
	if a != nil && a.status == http.StatusForbidden && a.refusal() != refusedByPolicy {
		return nil // it is gone already
	}
	return err
}
