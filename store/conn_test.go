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

// TestASessionEndsOnce ends it in every way, while nobody uses it and under a call.
func TestASessionEndsOnce(t *testing.T) {
	cred := store.Dependency{Kind: "Secret", Namespace: "own", Name: "cred", Version: "2"}
	ends := map[string]func(t *testing.T, p *store.Pool, place store.Place){
		"the credential changed": func(t *testing.T, p *store.Pool, _ store.Place) {
			if places := p.Changed(cred); len(places) != 1 {
				t.Errorf("told of %v", places)
			}
		},
		"the credential is gone": func(t *testing.T, p *store.Pool, _ store.Place) {
			if places := p.Changed(store.Dependency{Kind: "Secret", Namespace: "own", Name: "cred"}); len(places) != 1 {
				t.Errorf("told of %v", places)
			}
		},
		"the store is deleted": func(_ *testing.T, p *store.Pool, place store.Place) { p.Forget(place.UID) },
		"a newer generation": func(t *testing.T, p *store.Pool, place store.Place) {
			place.Generation++
			place.Spec = &spec{Back: letters()}
			if got := p.Read(t.Context(), place, keys("a"), time.Now()); text(got[0]) != "1" {
				t.Errorf("the newer one: %v", got[0].Err)
			}
		},
		"the credential is refused": func(t *testing.T, p *store.Pool, place store.Place) {
			b := place.Spec.(*spec).Back
			b.set(func() { b.faults = map[string]error{"bad": secret.Unauthenticated}; b.hold = nil })
			p.Read(t.Context(), place, keys("bad"), time.Now())
		},
	}
	for name, end := range ends {
		for _, busy := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { checkEnd(t, end, busy) })
			})
		}
	}
}

func checkEnd(t *testing.T, end func(*testing.T, *store.Pool, store.Place), busy bool) {
	b := letters()
	around := &cluster{}
	around.put("Secret", "own", "cred", "1", map[string]string{"k": "v"})
	p := newPool(t, around, nil)
	place := namespaced(&spec{Back: b, Auth: &selector{Name: "cred"}, Key: "k"})
	p.Read(t.Context(), place, keys("a", "b"), time.Now())
	answered := make(chan []store.Answer, 1)
	hold := make(chan struct{})
	if busy {
		b.set(func() { b.hold = hold })
		go func() { answered <- p.Read(t.Context(), place, keys("c"), time.Now()) }()
		synctest.Wait()
	}
	end(t, p, place)
	synctest.Wait()
	if busy {
		if n := b.counts(&b.closes); n != 0 {
			t.Errorf("closed %d times under a call", n)
		}
		close(hold)
		if got := <-answered; text(got[0]) != "3" {
			t.Errorf("the call got %v", got[0].Err)
		}
		synctest.Wait()
	}
	if b.closes != 1 || b.afterClose != 0 || b.twice != 0 {
		t.Errorf("closed %d times, %d twice, %d calls after that", b.closes, b.twice, b.afterClose)
	}
}

func TestWhatAStoreDidNotReadChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := letters()
		around := &cluster{}
		around.put("Secret", "own", "cred", "1", map[string]string{"k": "v"})
		p := newPool(t, around, nil)
		place := namespaced(&spec{Back: b, Auth: &selector{Name: "cred"}, Key: "k"})
		p.Read(t.Context(), place, keys("a"), time.Now())
		for _, d := range []store.Dependency{
			{Kind: "Secret", Namespace: "own", Name: "cred", Version: "1"},
			{Kind: "ConfigMap", Namespace: "own", Name: "cred", Version: "2"},
			{Kind: "Secret", Namespace: "other", Name: "cred", Version: "2"},
			{Kind: "Secret", Namespace: "own", Name: "credit", Version: "2"},
		} {
			if places := p.Changed(d); len(places) != 0 {
				t.Errorf("%v concerns %v", d, places)
			}
		}
		p.Forget("another")
		synctest.Wait()
		if b.closes != 0 {
			t.Error("the store was closed")
		}
	})
}

// TestACredentialThatAppears is for a store that failed because it was not there.
func TestACredentialThatAppears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := letters()
		around := &cluster{}
		p := newPool(t, around, nil)
		place := namespaced(&spec{Back: b, Auth: &selector{Name: "cred"}, Key: "k"})
		if got := p.Read(t.Context(), place, keys("a"), time.Now()); secret.KindOf(got[0].Err) != secret.Unauthenticated {
			t.Errorf("got %v", got[0].Err)
		}
		around.put("Secret", "own", "cred", "1", map[string]string{"k": "v"})
		if places := p.Changed(store.Dependency{Kind: "Secret", Namespace: "own", Name: "cred", Version: "1"}); len(places) != 1 {
			t.Errorf("told of %v", places)
		}
		if got := p.Read(t.Context(), place, keys("a"), time.Now()); text(got[0]) != "1" {
			t.Errorf("got %v", got[0].Err)
		}
	})
}

func TestAStoreIsOpenedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manyKeys(many)
		b.hold = make(chan struct{})
		p := newPool(t, &cluster{}, nil)
		c := gather(t, p, namespaced(&spec{Back: b}), many)
		synctest.Wait()
		if b.counts(&b.opens) != 1 {
			t.Errorf("opened %d times", b.opens)
		}
		close(b.hold)
		synctest.Wait()
		c.disperse()
		if b.opens != 1 || b.gets != many {
			t.Errorf("opened %d times for %d calls", b.opens, b.gets)
		}
	})
}

// TestAnOpeningHoldsUpNoOtherStore lets one store hang while it is opened, for so
// long that others are looked through for idle ones.
func TestAnOpeningHoldsUpNoOtherStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs, fine := letters(), letters()
		hangs.hold = make(chan struct{})
		p := newPool(t, &cluster{}, func(c *store.Config) { c.CallTimeout = 3 * time.Hour })
		slow, quick := namespaced(&spec{Back: hangs}), namespaced(&spec{Back: fine})
		quick.UID = "quick"
		answered := make(chan []store.Answer)
		go func() { answered <- p.Read(t.Context(), slow, keys("a"), time.Now()) }()
		<-time.After(2 * time.Hour)
		began := time.Now()
		if got := p.Read(t.Context(), quick, keys("a"), time.Now()); text(got[0]) != "1" || !time.Now().Equal(began) {
			t.Errorf("got %v after %v", got[0].Err, time.Since(began))
		}
		p.Forget("another")
		p.Changed(store.Dependency{})
		if !time.Now().Equal(began) {
			t.Errorf("the pool hung for %v", time.Since(began))
		}
		close(hangs.hold)
		<-answered
	})
}

func TestIdleStoresAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		used, idle := letters(), letters()
		p := newPool(t, &cluster{}, nil)
		place, other := namespaced(&spec{Back: used}), namespaced(&spec{Back: idle})
		other.UID = "other"
		p.Read(t.Context(), other, keys("a"), time.Now())
		for range 9 {
			p.Read(t.Context(), place, keys("a"), time.Now())
			synctest.Wait()
			if idle.closes != 0 {
				t.Fatal("closed too early")
			}
			<-time.After(10 * time.Minute)
		}
		<-time.After(time.Minute)
		p.Read(t.Context(), place, keys("a"), time.Now())
		<-time.After(10 * time.Minute)
		p.Read(t.Context(), place, keys("a"), time.Now())
		synctest.Wait()
		if idle.closes != 1 || used.closes != 0 {
			t.Errorf("the idle store was closed %d times, the other %d", idle.closes, used.closes)
		}
		if got := p.Read(t.Context(), other, keys("a"), time.Now()); text(got[0]) != "1" || idle.opens != 2 {
			t.Errorf("afterwards: %v, opened %d times", got[0].Err, idle.opens)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy, opening, waiting, idle := letters(), letters(), letters(), letters()
		p := newPool(t, &cluster{}, nil)
		at := func(uid string, b *backend) store.Place {
			place := namespaced(&spec{Back: b})
			place.UID = uid
			return place
		}
		p.Read(t.Context(), at("busy", busy), keys("a", "b"), time.Now())
		p.Read(t.Context(), at("idle", idle), keys("a"), time.Now())
		busy.set(func() { busy.hold = make(chan struct{}) })
		opening.set(func() { opening.hold = make(chan struct{}) })
		waiting.set(func() { waiting.fault = secret.Unavailable })
		var wg sync.WaitGroup
		read := func(place store.Place) {
			wg.Go(func() {
				if got := p.Read(t.Context(), place, keys("c"), time.Now()); secret.KindOf(got[0].Err) != secret.Unavailable {
					t.Errorf("%s: %v", place.UID, got[0].Err)
				}
			})
		}
		read(at("busy", busy))
		read(at("opening", opening))
		retries := at("waiting", waiting)
		retries.RetryInterval = time.Hour
		read(retries)
		synctest.Wait()
		began := time.Now()
		for range 2 {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if !time.Now().Equal(began) {
				t.Errorf("it took %v", time.Since(began))
			}
			for name, b := range map[string]*backend{"busy": busy, "idle": idle, "waiting": waiting} {
				if b.closes != 1 || b.twice+b.afterClose != 0 {
					t.Errorf("%s: closed %d times", name, b.closes)
				}
			}
		}
		wg.Wait()
		if got := p.Read(t.Context(), at("idle", idle), keys("a", "b"), time.Time{}); secret.KindOf(got[1].Err) != secret.Unavailable {
			t.Errorf("after Close: %v", got[1].Err)
		}
		if _, err := p.Find(t.Context(), at("idle", idle), secret.Query{}, time.Time{}); secret.KindOf(err) != secret.Unavailable {
			t.Errorf("after Close: %v", err)
		}
		if err := p.Check(t.Context(), at("idle", idle)); secret.KindOf(err) != secret.Unavailable {
			t.Errorf("after Close: %v", err)
		}
		if places := p.Changed(store.Dependency{}); len(places) != 0 || len(p.Dependencies("idle")) != 0 {
			t.Errorf("something is left: %v", places)
		}
	})
}

// TestStress uses a pool from all sides, in real time, for the race detector.
func TestStress(t *testing.T) {
	b := manyKeys(20)
	around := &cluster{life: time.Hour}
	around.put("Secret", "own", "cred", "1", map[string]string{"k": "v"})
	p := newPool(t, around, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			place := namespaced(&spec{Back: b, Auth: &selector{Name: "cred"}, Key: "k", Batch: i%2 == 0})
			place.UID = string(rune('a' + i%3))
			for n := range 200 {
				switch {
				case n%50 == 49:
					p.Forget(place.UID)
				case n%20 == 19:
					p.Changed(store.Dependency{Kind: "Secret", Namespace: "own", Name: "cred", Version: "2"})
				case n%10 == 9:
					_ = p.Check(t.Context(), place)
				case n%5 == 4:
					_, _ = p.Find(t.Context(), place, secret.Query{}, time.Now())
				}
				for _, a := range p.Read(t.Context(), place, keys("key1", "key2", "key1", "none"), time.Now()) {
					if kind := secret.KindOf(a.Err); kind != "" && kind != secret.NotFound && kind != secret.Conflict {
						t.Errorf("got %v", a.Err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if b.closes != b.opens || b.twice+b.afterClose != 0 {
		t.Errorf("%d opened, %d closed, %d of them twice, %d calls after that", b.opens, b.closes, b.twice, b.afterClose)
	}
}

func TestTokens(t *testing.T) {
	account := func(ns, name string, asks ...string) (store.Place, *backend) {
		b := &backend{}
		place := namespaced(&spec{Back: b, Auth: &selector{Kind: "ServiceAccount", Name: name}, Asks: asks})
		place.Namespace, place.UID = ns, ns+name+string(rune('0'+len(asks)))
		return place, b
	}
	read := func(t *testing.T, p *store.Pool, place store.Place) string {
		return text(p.Read(t.Context(), place, keys("credential"), time.Now())[0])
	}
	t.Run("renewed at four fifths", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			around := &cluster{life: 10 * time.Minute}
			p := newPool(t, around, nil)
			for _, step := range []struct {
				wait time.Duration
				want int
			}{{0, 1}, {8*time.Minute - 1, 1}, {1, 2}, {7 * time.Minute, 2}, {20 * time.Minute, 3}} {
				<-time.After(step.wait)
				place, _ := account("own", "sa", "aud")
				p.Forget(place.UID) // another opening of the store
				if got, want := read(t, p, place), "ServiceAccount/own/sa #"+string(rune('0'+step.want)); got != want {
					t.Errorf("after %v: %q, want %q", step.wait, got, want)
				}
			}
		})
	})
	t.Run("separate by account and audience", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			around := &cluster{life: time.Hour}
			p := newPool(t, around, nil)
			seen := map[string]bool{}
			for _, asks := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"a\x00b"}, {`a" "b`}} {
				place, _ := account("own", "sa", asks...)
				place.UID += asks[0]
				seen[read(t, p, place)] = true
			}
			other, _ := account("own", "sb", "a")
			seen[read(t, p, other)] = true
			away, _ := account("other", "sa", "a")
			seen[read(t, p, away)] = true
			if len(seen) != 7 || around.tokens() != 7 {
				t.Errorf("%d tokens, %d issued, want 7", len(seen), around.tokens())
			}
		})
	})
	t.Run("a failure is not kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			around := &cluster{life: time.Hour, fail: secret.Denied}
			p := newPool(t, around, nil)
			place, _ := account("own", "sa", "a")
			if got := read(t, p, place); got != "Denied" {
				t.Errorf("got %q", got)
			}
			around.mu.Lock()
			around.fail = nil
			around.mu.Unlock()
			p.Forget(place.UID)
			if got := read(t, p, place); got != "ServiceAccount/own/sa #2" {
				t.Errorf("got %q", got)
			}
		})
	})
	t.Run("issued once for many, also when the first goes away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			around := &cluster{life: time.Hour, hold: make(chan struct{})}
			p := newPool(t, around, nil)
			ctx, cancel := context.WithCancel(t.Context())
			first, _ := account("own", "sa", "a")
			gone := make(chan error)
			go func() { gone <- p.Check(ctx, first) }()
			synctest.Wait()
			var wg sync.WaitGroup
			for i := range 20 {
				place, _ := account("own", "sa", "a")
				place.UID += string(rune('a' + i))
				wg.Go(func() {
					if got := read(t, p, place); got != "ServiceAccount/own/sa #1" {
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
	})
}
