package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// pointed is a store whose nil pointer is not a nil provider.Store.
type pointed struct{ closed int }

func (p *pointed) Close() error {
	p.closed++
	return nil
}

func TestAStoreThatFailedToOpenIsNotClosed(t *testing.T) {
	registry, err := provider.NewRegistry(provider.Define(provider.Definition[struct{}]{
		Name: "x",
		Open: func(context.Context, *struct{}, provider.Env) (provider.Store, error) {
			var none *pointed
			return none, secret.Unauthenticated
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	p := store.New(store.Config{Registry: registry, Surroundings: &cluster{}, Clock: bubbleClock{}})
	place := store.Place{Kind: store.KindSecretStore, Namespace: "own", Name: "s", UID: "1", Provider: "x", Spec: &struct{}{}}
	if got := p.Read(t.Context(), place, keys("a"), time.Now()); secret.KindOf(got[0].Err) != secret.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", got[0].Err)
	}
	if err := p.Close(); err != nil { // waits for what is being closed
		t.Error(err)
	}
}
