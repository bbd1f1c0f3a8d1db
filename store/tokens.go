package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
)

// tokens keeps service account tokens until four fifths of their life are over.
type tokens struct {
	issue func(context.Context, Account) (Issued, error)
	clock provider.Clock
	// timeout ends the issue of one token.
	timeout time.Duration

	group singleflight.Group
	mu    sync.Mutex
	held  map[string]heldToken
}

type heldToken struct {
	token  secret.Value
	renew  time.Time
	expiry time.Time
}

// get returns a token that is fresh. Callers who want the same one share its issue,
// which goes on for the others when one of them goes away.
func (t *tokens) get(ctx context.Context, a Account) (secret.Value, error) {
	key := a.key()
	if held, ok := t.lookup(key); ok {
		return held, nil
	}
	issued := t.group.DoChan(key, func() (any, error) {
		if held, ok := t.lookup(key); ok { // issued between the look and here
			return held, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.timeout)
		defer cancel()
		return t.fetch(ctx, key, a)
	})
	select {
	case r := <-issued:
		token, _ := r.Val.(secret.Value)
		return token, r.Err
	case <-ctx.Done():
		return secret.Value{}, &secret.Error{Kind: secret.Unavailable, Op: "token", Err: ctx.Err()}
	}
}

func (a Account) key() string {
	return fmt.Sprintf("%q %q %s %q", a.Namespace, a.Name, a.Lifetime, a.Audiences)
}

// forget lets go of a token that a backend refused: its account may have been made
// again, or the keys that sign tokens changed.
func (t *tokens) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.held, key)
}

func (t *tokens) lookup(key string) (secret.Value, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, ok := t.held[key]
	return held.token, ok && t.clock.Now().Before(held.renew)
}

func (t *tokens) fetch(ctx context.Context, key string, a Account) (secret.Value, error) {
	issued, err := t.issue(ctx, a)
	if err != nil {
		return secret.Value{}, err
	}
	now := t.clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, held := range t.held {
		if now.After(held.expiry) {
			delete(t.held, k)
		}
	}
	t.held[key] = heldToken{token: issued.Token, renew: now.Add(issued.Expires.Sub(now) * 4 / 5), expiry: issued.Expires}
	return issued.Token, nil
}
