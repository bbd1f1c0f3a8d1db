package store

import (
	"context"
	"strings"
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

	group singleflight.Group
	mu    sync.Mutex
	held  map[string]heldToken
}

type heldToken struct {
	token  secret.Value
	renew  time.Time
	expiry time.Time
}

func (t *tokens) get(ctx context.Context, a Account) (secret.Value, error) {
	key := strings.Join(append([]string{a.Namespace, a.Name, a.Lifetime.String()}, a.Audiences...), "\x00")
	if held, ok := t.lookup(key); ok {
		return held, nil
	}
	v, err, _ := t.group.Do(key, func() (any, error) { return t.fetch(ctx, key, a) })
	if err != nil {
		return secret.Value{}, err
	}
	return v.(secret.Value), nil
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
