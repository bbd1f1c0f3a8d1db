package store_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
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

// TestWhoWaitsForACallIsToldThatTheStoreIsGone at once, so as to come again at once.
func TestWhoWaitsForACallIsToldThatTheStoreIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := letters()
		b.hold = make(chan struct{})
		p := newPool(t, &cluster{}, func(c *store.Config) { c.Concurrency = 1 })
		place := namespaced(&spec{Back: b})
		var wg sync.WaitGroup
		var conflicts atomic.Int32
		for _, key := range []string{"a", "b", "c"} {
			wg.Go(func() {
				err := p.Read(t.Context(), place, keys(key), time.Now())[0].Err
				if secret.KindOf(err) == secret.Conflict && secret.RetryAfterOf(err) == 0 {
					conflicts.Add(1)
				}
			})
		}
		synctest.Wait()
		p.Forget(place.UID)
		close(b.hold)
		wg.Wait()
		if conflicts.Load() != 2 || b.gets != 1 {
			t.Errorf("%d of 2 told, %d calls", conflicts.Load(), b.gets)
		}
	})
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
		c := gather(t, p, namespaced(&spec{Back: b}))
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
			if err := p.Close(); err != nil || !time.Now().Equal(began) {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			for name, b := range map[string]*backend{"busy": busy, "idle": idle, "waiting": waiting} {
				if b.closes != 1 || b.twice+b.afterClose != 0 {
					t.Errorf("%s: closed %d times", name, b.closes)
				}
			}
		}
		wg.Wait()
		refusesAll(t, p, at("idle", idle))
	})
}

// refusesAll checks that nothing can be had of a pool.
func refusesAll(t *testing.T, p *store.Pool, place store.Place) {
	t.Helper()
	if got := p.Read(t.Context(), place, keys("a", "b"), time.Time{}); secret.KindOf(got[1].Err) != secret.Unavailable {
		t.Errorf("read: %v", got[1].Err)
	}
	if _, err := p.Find(t.Context(), place, secret.Query{}, time.Time{}); secret.KindOf(err) != secret.Unavailable {
		t.Errorf("find: %v", err)
	}
	if err := p.Check(t.Context(), place); secret.KindOf(err) != secret.Unavailable {
		t.Errorf("check: %v", err)
	}
	if places := p.Changed(store.Dependency{}); len(places) != 0 || len(p.Dependencies(place.UID)) != 0 {
		t.Errorf("something is left: %v", places)
	}
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
				disturb(t.Context(), p, place, n)
				for _, a := range p.Read(t.Context(), place, keys("key1", "key2", "key1", "none"), time.Now()) {
					if kind := secret.KindOf(a.Err); !slices.Contains([]secret.Kind{"", secret.NotFound, secret.Conflict}, kind) {
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

// disturb does, now and then, what ends sessions and what uses them.
func disturb(ctx context.Context, p *store.Pool, place store.Place, n int) {
	switch {
	case n%50 == 49:
		p.Forget(place.UID)
	case n%20 == 19:
		p.Changed(store.Dependency{Kind: "Secret", Namespace: "own", Name: "cred", Version: "2"})
	case n%10 == 9:
		_ = p.Check(ctx, place)
	case n%5 == 4:
		_, _ = p.Find(ctx, place, secret.Query{}, time.Now())
	}
}
