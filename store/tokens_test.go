package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// tokenStore is a store that logs in with a token of a service account.
func tokenStore(uid, ns, name string, asks ...string) store.Place {
	place := namespaced(&spec{Back: &backend{}, Auth: &selector{Kind: "ServiceAccount", Name: name}, Asks: asks})
	place.Namespace, place.UID = ns, uid
	return place
}

// token reads the token that a store was opened with: "ServiceAccount/ns/name #n",
// with the number of its issue.
func token(t *testing.T, p *store.Pool, place store.Place) string {
	return text(p.Read(t.Context(), place, keys("credential"), time.Now())[0])
}

func TestATokenIsRenewedAtFourFifthsOfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, &cluster{life: 10 * time.Minute}, nil)
		place := tokenStore("u", "own", "sa", "aud")
		for _, step := range []struct {
			wait time.Duration
			want string
		}{{0, "1"}, {8*time.Minute - 1, "1"}, {1, "2"}, {7 * time.Minute, "2"}, {20 * time.Minute, "3"}} {
			<-time.After(step.wait)
			p.Forget(place.UID) // the store is opened again
			if got, want := token(t, p, place), "ServiceAccount/own/sa #"+step.want; got != want {
				t.Errorf("after %v: %q, want %q", step.wait, got, want)
			}
		}
	})
}

func TestTokensAreSeparateByAccountAndAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		around := &cluster{life: time.Hour}
		p := newPool(t, around, nil)
		places := []store.Place{tokenStore("x", "own", "sb", "a"), tokenStore("y", "other", "sa", "a")}
		for _, asks := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"a\x00b"}, {`a" "b`}} {
			places = append(places, tokenStore(asks[len(asks)-1]+asks[0], "own", "sa", asks...))
		}
		seen := map[string]bool{}
		for _, place := range places {
			seen[token(t, p, place)] = true
		}
		if len(seen) != len(places) || around.tokens() != len(places) {
			t.Errorf("%d tokens, %d issued, want %d", len(seen), around.tokens(), len(places))
		}
	})
}

func TestATokenThatTheBackendRefusesIsNotOfferedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, &cluster{life: time.Hour}, nil)
		place := tokenStore("u", "own", "sa", "a")
		place.Spec.(*spec).Back.password = "ServiceAccount/own/sa #2" // that of the account made again
		if got := token(t, p, place); got != "Unauthenticated" {
			t.Errorf("with the token of the account that was deleted: %q", got)
		}
		<-time.After(2 * time.Minute)
		if got := token(t, p, place); got != "ServiceAccount/own/sa #2" {
			t.Errorf("after the pause: %q", got)
		}
	})
}

func TestAFailureToGetATokenIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		around := &cluster{life: time.Hour, fail: secret.Denied}
		p := newPool(t, around, nil)
		place := tokenStore("u", "own", "sa", "a")
		if got := token(t, p, place); got != "Denied" {
			t.Errorf("got %q", got)
		}
		around.mu.Lock()
		around.fail = nil
		around.mu.Unlock()
		p.Forget(place.UID)
		if got := token(t, p, place); got != "ServiceAccount/own/sa #2" {
			t.Errorf("got %q", got)
		}
	})
}

func TestATokenIsIssuedOnceForManyAlsoWhenTheFirstGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		around := &cluster{life: time.Hour, hold: make(chan struct{})}
		p := newPool(t, around, nil)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { gone <- p.Check(ctx, tokenStore("first", "own", "sa", "a")) }()
		synctest.Wait()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if got := token(t, p, tokenStore(string(rune('a'+i)), "own", "sa", "a")); got != "ServiceAccount/own/sa #1" {
					t.Errorf("got %q", got)
				}
			})
		}
		synctest.Wait()
		cancel()
		if err := <-gone; secret.KindOf(err) != secret.Unavailable || !errors.Is(err, context.Canceled) {
			t.Errorf("who went away got %v", err)
		}
		<-time.After(10 * time.Second)
		close(around.hold)
		wg.Wait()
		if around.tokens() != 1 {
			t.Errorf("%d issued, want 1", around.tokens())
		}
	})
}
