package store_test

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyferry/keyferry/internal/reconcile"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

// crowd is many objects that read from one store as the controller has them: each
// its own key, each with its own back-off, all woken when something changed.
type crowd struct {
	pool  *store.Pool
	place store.Place
	stop  chan struct{}

	mu     sync.Mutex
	wake   chan struct{}
	read   map[int]time.Time // when each had its last success
	failed map[int]map[string]bool
	wg     sync.WaitGroup
}

func gather(t *testing.T, p *store.Pool, place store.Place) *crowd {
	c := &crowd{pool: p, place: place, stop: make(chan struct{}), wake: make(chan struct{}), read: map[int]time.Time{}, failed: map[int]map[string]bool{}}
	for i := range many {
		c.wg.Go(func() { c.live(t.Context(), i) })
	}
	return c
}

// live refreshes one object every hour, and after a failure as Backoff has it.
func (c *crowd) live(ctx context.Context, i int) {
	failures := 0
	for {
		c.mu.Lock()
		wake := c.wake
		c.mu.Unlock()
		answer := c.pool.Read(ctx, c.place, keys("key"+strconv.Itoa(i)), time.Now())[0]
		wait := time.Hour
		if answer.Err == nil {
			failures = 0
			c.mu.Lock()
			c.read[i] = time.Now()
			c.mu.Unlock()
		} else {
			failures++
			wait, _ = reconcile.Backoff(answer.Err, failures)
			c.mu.Lock()
			if c.failed[i] == nil {
				c.failed[i] = map[string]bool{}
			}
			c.failed[i][reconcile.Message(answer.Err)] = true
			c.mu.Unlock()
		}
		select {
		case <-time.After(wait):
		case <-wake:
		case <-c.stop:
			return
		}
	}
}

// wakeAll makes every object come again at once.
func (c *crowd) wakeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.wake)
	c.wake = make(chan struct{})
}

func (c *crowd) disperse() {
	close(c.stop)
	c.wg.Wait()
}

// freshSince counts the objects that were read at or after t.
func (c *crowd) freshSince(t time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, at := range c.read {
		if !at.Before(t) {
			n++
		}
	}
	return n
}

func manyKeys(n int) *backend {
	b := &backend{values: map[string]string{}}
	for i := range n {
		b.values["key"+strconv.Itoa(i)] = "v"
	}
	return b
}

const many = 1000

func TestAWrongTokenCostsFewCallsAndIsCorrectedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manyKeys(many)
		b.password = "right"
		around := &cluster{}
		around.put("Secret", "own", "cred", "1", map[string]string{"k": "wrong"})
		p := newPool(t, around, nil)
		place := namespaced(&spec{Back: b, Auth: &selector{Name: "cred"}, Key: "k"})
		if err := p.Check(t.Context(), place); secret.KindOf(err) != secret.Unauthenticated {
			t.Errorf("check: %v", err)
		}
		c := gather(t, p, place)
		defer c.disperse()
		<-time.After(10 * time.Minute)
		if n := b.calls(); n < 2 || n > 10 {
			t.Errorf("%d calls in ten minutes, want at most 10", n)
		}
		around.put("Secret", "own", "cred", "2", map[string]string{"k": "right"})
		corrected := time.Now()
		if places := p.Changed(store.Dependency{Kind: "Secret", Namespace: "own", Name: "cred", Version: "2"}); len(places) != 1 || places[0].String() != place.String() {
			t.Fatalf("told of %v", places)
		}
		c.wakeAll()
		synctest.Wait()
		if n := c.freshSince(corrected); n != many || !time.Now().Equal(corrected) {
			t.Errorf("%d of %d read at once", n, many)
		}
		c.onlyOneText(t)
	})
}

// onlyOneText checks that an object says the same about its store however often it
// fails, whichever key showed the failure.
func (c *crowd) onlyOneText(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, texts := range c.failed {
		if len(texts) != 1 {
			t.Fatalf("object %d said %d things: %v", i, len(texts), texts)
		}
	}
}

func TestAnOutageTakesFewProbesAndEndsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manyKeys(many)
		other := manyKeys(1)
		var c *crowd
		recovered := 0
		p := newPool(t, &cluster{}, func(cfg *store.Config) {
			cfg.Recovered = func(place store.Place) { recovered++; c.wakeAll() }
		})
		c = gather(t, p, namespaced(&spec{Back: b}))
		defer c.disperse()
		synctest.Wait()
		if n := c.freshSince(time.Time{}); n != many || b.gets != many {
			t.Fatalf("%d objects read by %d calls", n, b.gets)
		}
		<-time.After(59 * time.Minute)
		b.set(func() {
			b.fault = problem(secret.Unavailable, "", secret.Ref{}, errors.New("connection refused"))
			b.gets = 0
		})
		<-time.After(6 * time.Minute) // their hour is over within it
		synctest.Wait()
		if n := b.calls(); n < 10 || n > 64+2*30 { // 32 were let through together, and each call is tried twice
			t.Errorf("%d calls during five minutes of outage", n)
		}
		elsewhere := namespaced(&spec{Back: other})
		elsewhere.UID = "other"
		if got := p.Read(t.Context(), elsewhere, keys("key0"), time.Now()); text(got[0]) != "v" {
			t.Errorf("another store: %v", got[0].Err)
		}
		b.set(func() { b.fault = nil; b.gets = 0 })
		back := time.Now()
		<-time.After(time.Minute)
		synctest.Wait()
		if n := c.freshSince(back); n != many {
			t.Errorf("%d of %d fresh after a minute", n, many)
		}
		if recovered != 1 || b.gets > many+10 {
			t.Errorf("recovered %d times, %d calls", recovered, b.gets)
		}
		c.onlyOneText(t)
	})
}

func TestWhoWaitedForASlotDoesNotCallAStoreThatFailedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manyKeys(many)
		p := newPool(t, &cluster{}, nil)
		place := namespaced(&spec{Back: b})
		p.Read(t.Context(), place, keys("key0", "key1"), time.Now())
		b.set(func() { b.hold = make(chan struct{}); b.gets = 0 })
		var refs []secret.Ref
		for i := range many {
			refs = append(refs, secret.Ref{Key: "key" + strconv.Itoa(i)})
		}
		began := time.Now()
		for _, a := range p.Read(t.Context(), place, refs, began.Add(1)) {
			if secret.KindOf(a.Err) != secret.Unavailable {
				t.Fatalf("got %q", text(a))
			}
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("it took %v to find that nothing answers", took)
		}
		if b.gets > 100 {
			t.Errorf("%d calls hung", b.gets)
		}
	})
}

func TestRateLimitIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manyKeys(3)
		b.fault = &secret.Error{Kind: secret.RateLimited, RetryAfter: 10 * time.Minute}
		p := newPool(t, &cluster{}, nil)
		place := namespaced(&spec{Back: b})
		read := func(want secret.Kind, after time.Duration, calls int) {
			t.Helper()
			b.set(func() { b.gets = 0 })
			err := p.Read(t.Context(), place, keys("key0"), time.Now())[0].Err
			if secret.KindOf(err) != want || secret.RetryAfterOf(err) != after || b.gets != calls {
				t.Errorf("%v after %v and %d calls, want %q after %v and %d", err, secret.RetryAfterOf(err), b.gets, want, after, calls)
			}
		}
		read(secret.RateLimited, 10*time.Minute, 1)
		<-time.After(time.Minute)
		read(secret.RateLimited, 9*time.Minute, 0)
		b.set(func() { b.fault = nil })
		<-time.After(9*time.Minute - 1)
		read(secret.RateLimited, time.Second, 0)
		<-time.After(1)
		read("", 0, 1)
	})
}

func TestTheLongestRetryAfterOfSeveralCallsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manyKeys(3)
		p := newPool(t, &cluster{}, nil)
		place := namespaced(&spec{Back: b})
		p.Read(t.Context(), place, keys("key0", "key1"), time.Now())
		b.set(func() {
			b.faults = map[string]error{
				"key0": &secret.Error{Kind: secret.RateLimited, RetryAfter: time.Minute},
				"key1": &secret.Error{Kind: secret.RateLimited, RetryAfter: time.Hour},
				"key2": &secret.Error{Kind: secret.RateLimited, RetryAfter: time.Second},
			}
			b.hold = make(chan struct{})
		})
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { p.Read(t.Context(), place, keys("key"+strconv.Itoa(i)), time.Now().Add(1)) })
		}
		synctest.Wait()
		close(b.hold)
		wg.Wait()
		err := p.Check(t.Context(), place)
		if secret.KindOf(err) != secret.RateLimited || secret.RetryAfterOf(err) != time.Hour {
			t.Errorf("%v, come again after %v", err, secret.RetryAfterOf(err))
		}
	})
}

// TestWhatProves asks a store for one thing, and then counts how many of ten calls
// it gets at once: all if it is known to work, one if not, none if it failed.
func TestWhatProves(t *testing.T) {
	cases := map[string]struct {
		back  *backend
		first secret.Kind
		want  int
	}{
		"success proves":                       {want: 10},
		"NotFound proves":                      {back: &backend{faults: map[string]error{"first": secret.NotFound}}, first: secret.NotFound, want: 10},
		"Denied proves":                        {back: &backend{faults: map[string]error{"first": secret.Denied}}, first: secret.Denied, want: 10},
		"Conflict proves":                      {back: &backend{faults: map[string]error{"first": secret.Conflict}}, first: secret.Conflict, want: 10},
		"Invalid proves nothing":               {back: &backend{faults: map[string]error{"first": secret.Invalid}}, first: secret.Invalid, want: 1},
		"Unsupported proves nothing":           {back: &backend{faults: map[string]error{"first": secret.Unsupported}}, first: secret.Unsupported, want: 1},
		"Internal proves nothing":              {back: &backend{faults: map[string]error{"first": errors.New("odd")}}, first: secret.Internal, want: 1},
		"Unavailable stops":                    {back: &backend{faults: map[string]error{"first": secret.Unavailable}}, first: secret.Unavailable},
		"Unauthenticated stops":                {back: &backend{faults: map[string]error{"first": secret.Unauthenticated}}, first: secret.Unauthenticated},
		"RateLimited stops":                    {back: &backend{faults: map[string]error{"first": secret.RateLimited}}, first: secret.RateLimited},
		"Denied at opening stops":              {back: &backend{openFail: secret.Denied}, first: secret.Denied},
		"Invalid at opening stops":             {back: &backend{openFail: secret.Invalid}, first: secret.Invalid},
		"no kind at opening stops":             {back: &backend{openFail: errors.New("odd")}, first: secret.Internal},
		"a call that ran out of time stops":    {back: &backend{faults: map[string]error{"first": context.DeadlineExceeded}}, first: secret.Unavailable},
		"a call that was given up says nought": {back: &backend{faults: map[string]error{"first": context.Canceled}}, first: secret.Unavailable, want: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := cmp.Or(c.back, &backend{})
				b.values = map[string]string{"first": "v"}
				zero := 0
				p := newPool(t, &cluster{}, nil)
				place := namespaced(&spec{Back: b})
				place.Retries = &zero
				if err := p.Read(t.Context(), place, keys("first"), time.Now())[0].Err; secret.KindOf(err) != c.first {
					t.Fatalf("first: %v", err)
				}
				opens := b.counts(&b.opens)
				b.set(func() { b.hold = make(chan struct{}); b.openFail = nil })
				var wg sync.WaitGroup
				for i := range 10 {
					wg.Go(func() { p.Read(t.Context(), place, keys(strconv.Itoa(i)), time.Now()) })
				}
				synctest.Wait()
				if n := b.counts(&b.running) + b.counts(&b.opens) - opens; n != c.want {
					t.Errorf("%d of 10 calls run, want %d", n, c.want)
				}
				close(b.hold)
				wg.Wait()
			})
		})
	}
}

// TestACheckThatCannotTellProvesNothing is for providers without such a call: the
// first read is still a probe.
func TestACheckThatCannotTellProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := manyKeys(many)
		b.password, b.noCheck = "right", true
		p := newPool(t, &cluster{}, nil)
		place := namespaced(&spec{Back: b})
		if err := p.Check(t.Context(), place); secret.KindOf(err) != secret.Unsupported {
			t.Errorf("check: %v", err)
		}
		c := gather(t, p, place)
		synctest.Wait()
		c.disperse()
		if b.gets != 1 {
			t.Errorf("%d calls with a wrong credential, want 1", b.gets)
		}
	})
}

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		place func(*backend) store.Place
		back  *backend
		want  secret.Kind
	}{
		"works":              {place: func(b *backend) store.Place { return namespaced(&spec{Back: b}) }},
		"does not":           {place: func(b *backend) store.Place { return namespaced(&spec{Back: b}) }, back: &backend{fault: secret.Denied}, want: secret.Denied},
		"no such call":       {place: func(b *backend) store.Place { return namespaced(&spec{Back: b, Bare: true}) }, want: secret.Unsupported},
		"spec is wrong":      {place: func(*backend) store.Place { return namespaced(&spec{}) }, want: secret.Invalid},
		"the consumers'":     {place: func(b *backend) store.Place { return clusterWide(&spec{Back: b, Auth: &selector{Name: "c"}}, "") }, want: secret.Unsupported},
		"theirs, spec wrong": {place: func(*backend) store.Place { return clusterWide(&spec{Auth: &selector{Name: "c"}}, "") }, want: secret.Invalid},
		"theirs, unknown provider": {place: func(*backend) store.Place {
			p := clusterWide(&spec{Auth: &selector{Name: "c"}}, "")
			p.Provider = "none"
			return p
		}, want: secret.Unsupported},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, &cluster{}, nil)
				b := cmp.Or(c.back, &backend{})
				if err := p.Check(t.Context(), c.place(b)); secret.KindOf(err) != c.want {
					t.Errorf("%v, want %q", err, c.want)
				}
				if b.gets+b.batches != 0 {
					t.Error("a value was read")
				}
			})
		})
	}
}

func TestACheckThatIsGivenUpSaysNothingOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := letters()
		b.hold = make(chan struct{})
		p := newPool(t, &cluster{}, nil)
		place := namespaced(&spec{Back: b})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		checked, waited, read := make(chan error), make(chan error), make(chan []store.Answer)
		go func() { checked <- p.Check(ctx, place) }()
		synctest.Wait()
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		go func() { waited <- p.Check(short, place) }()
		go func() { read <- p.Read(t.Context(), place, keys("a"), time.Now()) }()
		if err := <-waited; secret.KindOf(err) != secret.Unavailable {
			t.Errorf("who waits for a probe no longer gets %v", err)
		}
		if err := <-checked; secret.KindOf(err) != secret.Unavailable {
			t.Errorf("who gave up got %v", err)
		}
		synctest.Wait()
		close(b.hold)
		if got := <-read; text(got[0]) != "1" {
			t.Errorf("who waited got %v", got[0].Err)
		}
	})
}

func TestRetries(t *testing.T) {
	cases := map[string]struct {
		retries  *int
		interval time.Duration
		fault    error
		calls    int
		took     time.Duration
	}{
		"by default once, soon":           {fault: secret.Unavailable, calls: 2, took: 200 * time.Millisecond},
		"maxRetries 0":                    {retries: new(0), interval: time.Minute, fault: secret.Unavailable, calls: 1},
		"maxRetries 3 and interval":       {retries: new(3), interval: 5 * time.Second, fault: secret.Unavailable, calls: 4, took: 15 * time.Second},
		"negative maxRetries":             {retries: new(-1), fault: secret.Unavailable, calls: 1},
		"no other kind is worth it":       {retries: new(3), fault: secret.Denied, calls: 1},
		"a credential is not tried twice": {retries: new(3), fault: secret.Unauthenticated, calls: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := letters()
				b.fault = c.fault
				p := newPool(t, &cluster{}, nil)
				place := namespaced(&spec{Back: b})
				place.Retries, place.RetryInterval = c.retries, c.interval
				began := time.Now()
				p.Read(t.Context(), place, keys("a"), began)
				if took := time.Since(began); b.gets != c.calls || took != c.took {
					t.Errorf("%d calls in %v, want %d in %v", b.gets, took, c.calls, c.took)
				}
			})
		})
	}
}

func TestACallEndsAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := letters()
		b.hold = make(chan struct{})
		p := newPool(t, &cluster{}, func(c *store.Config) { c.CallTimeout = 7 * time.Second })
		place := namespaced(&spec{Back: b})
		place.Retries = new(0)
		began := time.Now()
		err := p.Read(t.Context(), place, keys("a"), began)[0].Err
		if secret.KindOf(err) != secret.Unavailable || time.Since(began) != 7*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		place.RetryInterval, place.Retries, place.UID = time.Hour, new(1), "other"
		if err := p.Check(ctx, place); secret.KindOf(err) != secret.Unavailable || time.Since(began) != 67*time.Second {
			t.Errorf("who waits for a retry no longer got %v after %v", err, time.Since(began))
		}
	})
}

// TestRecoveryByACallThatBeganBefore is for a failure that one of two calls met.
func TestRecoveryByACallThatBeganBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := letters()
		recovered := 0
		p := newPool(t, &cluster{}, func(c *store.Config) { c.Recovered = func(store.Place) { recovered++ } })
		place := namespaced(&spec{Back: b})
		place.Retries = new(0)
		p.Read(t.Context(), place, keys("a", "b"), time.Now())
		hold := make(chan struct{})
		b.set(func() { b.hold = hold; b.faults = map[string]error{"b": secret.Unavailable} })
		slow := make(chan []store.Answer)
		go func() { slow <- p.Read(t.Context(), place, keys("a"), time.Now().Add(1)) }()
		synctest.Wait()
		b.set(func() { b.hold = nil })
		p.Read(t.Context(), place, keys("b"), time.Now().Add(1))
		if got := p.Read(t.Context(), place, keys("c"), time.Now()); secret.KindOf(got[0].Err) != secret.Unavailable {
			t.Errorf("got %q during the failure", text(got[0]))
		}
		close(hold)
		if got := <-slow; text(got[0]) != "1" || recovered != 1 {
			t.Errorf("got %q, recovered %d times", text(got[0]), recovered)
		}
	})
}
