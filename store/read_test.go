package store_test

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/secret"
	"github.com/keyferry/keyferry/store"
)

func letters() *backend {
	return &backend{values: map[string]string{"a": "1", "b": "2", "c": "3"}}
}

func TestReadAnswersInOrder(t *testing.T) {
	for _, batch := range []bool{false, true} {
		t.Run(strconv.FormatBool(batch), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := letters()
				p := newPool(t, &cluster{}, nil)
				got := p.Read(t.Context(), namespaced(&spec{Back: b, Batch: batch}), keys("c", "no", "a", "c"), time.Now())
				if diff := cmp.Diff([]string{"3", "NotFound", "1", "3"}, texts(got)); diff != "" {
					t.Error(diff)
				}
				wantGets, wantBatches := 3, 0 // equal refs are one read
				if batch {
					wantGets, wantBatches = 0, 1
				}
				if b.gets != wantGets || b.batches != wantBatches {
					t.Errorf("%d gets and %d batches, want %d and %d", b.gets, b.batches, wantGets, wantBatches)
				}
				b.batches, b.gets = 0, 0
				p.Read(t.Context(), namespaced(&spec{Back: b, Batch: batch}), keys("b"), time.Now())
				if b.gets != 1 || b.batches != 0 {
					t.Errorf("a single ref took %d gets and %d batches", b.gets, b.batches)
				}
			})
		})
	}
}

// TestCoalescing reads the key a, waits, and reads again.
func TestCoalescing(t *testing.T) {
	place := func(b *backend) store.Place { return namespaced(&spec{Back: b}) }
	cases := map[string]struct {
		fault error
		key   string
		wait  time.Duration
		age   time.Duration // how old the second reader allows a value to be
		calls int
	}{
		"a value, recent enough":         {key: "a", wait: 30 * time.Second, age: 30 * time.Second, calls: 1},
		"a value, too old":               {key: "a", wait: 30 * time.Second, age: 29 * time.Second, calls: 2},
		"a value that is kept no longer": {key: "a", wait: time.Minute, age: time.Hour, calls: 2},
		"a value, almost that long":      {key: "a", wait: time.Minute - 1, age: time.Hour, calls: 1},
		"that there is none":             {key: "none", wait: 30 * time.Second, age: 30 * time.Second, calls: 1},
		"Denied is not shared":           {fault: secret.Denied, key: "a", wait: time.Second, age: time.Hour, calls: 2},
		"Invalid is not shared":          {fault: secret.Invalid, key: "a", wait: time.Second, age: time.Hour, calls: 2},
		"Internal is not shared":         {fault: errors.New("broken"), key: "a", wait: time.Second, age: time.Hour, calls: 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := letters()
				b.fault = c.fault
				p := newPool(t, &cluster{}, nil)
				first := p.Read(t.Context(), place(b), keys(c.key), time.Now())
				<-time.After(c.wait)
				synctest.Wait()
				second := p.Read(t.Context(), place(b), keys(c.key), time.Now().Add(-c.age))
				if text(first[0]) != text(second[0]) || b.gets != c.calls {
					t.Errorf("%q and %q took %d calls, want %d", text(first[0]), text(second[0]), b.gets, c.calls)
				}
				if want := secret.KindOf(c.fault); c.fault != nil && secret.KindOf(second[0].Err) != want {
					t.Errorf("%v, want %s", second[0].Err, want)
				}
			})
		})
	}
}

func TestAReadUnderWayIsSharedAndOutlivesWhoBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := letters()
		b.hold = make(chan struct{})
		m := &counter{}
		p := newPool(t, &cluster{}, func(c *store.Config) { c.Metrics = m })
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var wg sync.WaitGroup
		results := make([]store.Answer, 10)
		for i := range results {
			wg.Go(func() {
				mine := t.Context()
				if i == 0 {
					mine = ctx
				}
				results[i] = p.Read(mine, namespaced(&spec{Back: b}), keys("a"), began)[0]
			})
			synctest.Wait()
		}
		<-time.After(time.Second)
		cancel()
		synctest.Wait()
		if secret.KindOf(results[0].Err) != secret.Unavailable || !errors.Is(results[0].Err, context.Canceled) {
			t.Errorf("who went away got %v, at once", results[0].Err)
		}
		// The others got nothing yet; one that wants it fresher makes a call of its own.
		wg.Go(func() { p.Read(t.Context(), namespaced(&spec{Back: b}), keys("a"), time.Now()) })
		synctest.Wait()
		close(b.hold)
		wg.Wait()
		for _, a := range results[1:] {
			if text(a) != "1" {
				t.Errorf("got %q", text(a))
			}
		}
		if b.gets != 2 {
			t.Errorf("%d calls, want 2", b.gets)
		}
		if diff := cmp.Diff(map[string]int{"Test shared": 9, "Test own": 2, "Test Get ok": 2}, m.all()); diff != "" {
			t.Error(diff)
		}
	})
}

// counter counts what the funnel reports.
type counter struct {
	mu sync.Mutex
	m  map[string]int
}

func (c *counter) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]int{}
	}
	c.m[what]++
}

func (c *counter) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.m)
}

func (c *counter) Call(provider, call string, err error) {
	if err != nil {
		c.add(provider + " " + call + " failed")
		return
	}
	c.add(provider + " " + call + " ok")
}

func (c *counter) Read(provider string, shared bool) {
	if shared {
		c.add(provider + " shared")
		return
	}
	c.add(provider + " own")
}

func TestWhoSharesAStoreSharesItsReads(t *testing.T) {
	referent, fixed := &selector{Name: "cred"}, &selector{Name: "cred", Namespace: new("own")}
	newer := func(p store.Place) store.Place { p.Generation++; return p }
	cases := map[string]struct {
		first, second func(b *backend) store.Place
		opens, gets   int
	}{
		"the same store": {
			func(b *backend) store.Place { return namespaced(&spec{Back: b}) },
			func(b *backend) store.Place { return namespaced(&spec{Back: b}) }, 1, 1,
		},
		"a newer generation": {
			func(b *backend) store.Place { return namespaced(&spec{Back: b}) },
			func(b *backend) store.Place { return newer(namespaced(&spec{Back: b})) }, 2, 2,
		},
		"two tenants of a store with credentials of its own": {
			func(b *backend) store.Place { return clusterWide(&spec{Back: b, Auth: fixed}, "own") },
			func(b *backend) store.Place { return clusterWide(&spec{Back: b, Auth: fixed}, "other") }, 1, 1,
		},
		"two tenants of a referent store": {
			func(b *backend) store.Place { return clusterWide(&spec{Back: b, Auth: referent}, "own") },
			func(b *backend) store.Place { return clusterWide(&spec{Back: b, Auth: referent}, "other") }, 2, 2,
		},
		"the same tenant of a referent store": {
			func(b *backend) store.Place { return clusterWide(&spec{Back: b, Auth: referent}, "own") },
			func(b *backend) store.Place { return clusterWide(&spec{Back: b, Auth: referent}, "own") }, 1, 1,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := letters()
				around := &cluster{}
				around.put("Secret", "own", "cred", "1", nil)
				around.put("Secret", "other", "cred", "1", nil)
				p := newPool(t, around, nil)
				since := time.Now()
				for _, place := range []store.Place{c.first(b), c.second(b)} {
					if got := p.Read(t.Context(), place, keys("a"), since); text(got[0]) != "1" {
						t.Errorf("got %v", got)
					}
				}
				if b.opens != c.opens || b.gets != c.gets {
					t.Errorf("%d opened and %d calls, want %d and %d", b.opens, b.gets, c.opens, c.gets)
				}
			})
		})
	}
}

func TestAnOlderGenerationHasNoStoreBesideANewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := letters()
		p := newPool(t, &cluster{}, nil)
		old, current := namespaced(&spec{Back: b}), namespaced(&spec{Back: b})
		current.Generation = 2
		p.Read(t.Context(), current, keys("a"), time.Now())
		got := p.Read(t.Context(), old, keys("a", "b"), time.Now())
		if diff := cmp.Diff([]string{"Conflict", "Conflict"}, texts(got)); diff != "" || b.opens != 1 {
			t.Errorf("opened %d times %s", b.opens, diff)
		}
	})
}

// consumers is a provider whose addresses keep the property and the namespace.
func TestAddressesDecideWhatIsEqual(t *testing.T) {
	cases := map[string]struct {
		address  func(*spec, secret.Ref) secret.Ref
		tenants  []string
		gets     int
		resolved bool
	}{
		"properties of one key are one read":       {nil, []string{"own"}, 1, false},
		"tenants do not count":                     {nil, []string{"own", "other"}, 1, false},
		"unless the backend addresses by them":     {func(_ *spec, r secret.Ref) secret.Ref { r.Property = ""; return r }, []string{"own", "other"}, 2, false},
		"or resolves the property":                 {func(_ *spec, r secret.Ref) secret.Ref { r.Namespace = ""; return r }, []string{"own", "other"}, 2, true},
		"or a manifest does both, in every detail": {func(_ *spec, r secret.Ref) secret.Ref { return r }, []string{"own", "other"}, 4, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := letters()
				registry, err := provider.NewRegistry(provider.Define(provider.Definition[spec]{Name: "test", Address: c.address, Open: open}))
				if err != nil {
					t.Fatal(err)
				}
				p := newPool(t, &cluster{}, func(cfg *store.Config) { cfg.Registry = registry })
				since := time.Now()
				refs := []secret.Ref{{Key: "a", Property: "x"}, {Key: "a", Property: "y"}}
				for _, tenant := range c.tenants {
					for _, a := range p.Read(t.Context(), clusterWide(&spec{Back: b}, tenant), refs, since) {
						if a.PropertyResolved != c.resolved {
							t.Errorf("resolved: %v, want %v", a.PropertyResolved, c.resolved)
						}
					}
				}
				if b.gets != c.gets {
					t.Errorf("%d calls, want %d", b.gets, c.gets)
				}
			})
		})
	}
}

func TestReadFailures(t *testing.T) {
	cases := map[string]struct {
		spec  spec
		place func(store.Place) store.Place
		want  []string
	}{
		"store that cannot read":   {spec: spec{Bare: true}, want: []string{"Unsupported", "Unsupported"}},
		"batch that is too short":  {spec: spec{Batch: true, Back: &backend{short: true}}, want: []string{"Internal", "Internal"}},
		"one key of a batch fails": {spec: spec{Batch: true, Back: &backend{values: map[string]string{"b": "2"}, faults: map[string]error{"a": errors.New("odd")}}}, want: []string{"Internal", "2"}},
		"the batch fails":          {spec: spec{Batch: true, Back: &backend{fault: secret.Denied}}, want: []string{"Denied", "Denied"}},
		"open fails":               {spec: spec{Back: &backend{openFail: errors.New("odd")}}, want: []string{"Internal", "Internal"}},
		"unknown provider":         {place: func(p store.Place) store.Place { p.Provider = "none"; return p }, want: []string{"Unsupported", "Unsupported"}},
		"spec of another provider": {place: func(p store.Place) store.Place { p.Spec = &selector{}; return p }, want: []string{"Internal", "Internal"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.spec.Back == nil {
					c.spec.Back = letters()
				}
				p := newPool(t, &cluster{}, nil)
				place := namespaced(&c.spec)
				if c.place != nil {
					place = c.place(place)
				}
				got := p.Read(t.Context(), place, keys("a", "b"), time.Now())
				if diff := cmp.Diff(c.want, texts(got)); diff != "" {
					t.Errorf("%s%v", diff, got[0].Err)
				}
			})
		})
	}
}

func TestCallsOfOneStoreAtOnceAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{values: map[string]string{}}
		var names []string
		for i := range 50 {
			names = append(names, strconv.Itoa(i))
			b.values[names[i]] = "v"
		}
		p := newPool(t, &cluster{}, func(c *store.Config) { c.Concurrency = 3 })
		p.Read(t.Context(), namespaced(&spec{Back: b}), keys("0", "1"), time.Now()) // it is no Batcher
		b.set(func() { b.hold = make(chan struct{}) })
		done := make(chan []store.Answer)
		go func() { done <- p.Read(t.Context(), namespaced(&spec{Back: b}), keys(names...), time.Now()) }()
		synctest.Wait()
		if b.counts(&b.running) != 3 {
			t.Errorf("%d calls run, want 3", b.running)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Check(ctx, namespaced(&spec{Back: b})); secret.KindOf(err) != secret.Unavailable {
			t.Errorf("who waits for a slot no longer gets %v", err)
		}
		close(b.hold)
		if got := <-done; text(got[49]) != "v" || b.peak != 3 {
			t.Errorf("got %q, %d calls at once", text(got[49]), b.peak)
		}
	})
}

func TestFind(t *testing.T) {
	values := map[string]string{"db/user": "u", "db/pass": "p", "db/old (gone)": "", "web/key": "k", "db/file": "fields:f"}
	cases := map[string]struct {
		query        secret.Query
		inline       bool
		faults       map[string]error
		want         map[string]string
		fails        secret.Kind
		lists, reads int
	}{
		"everything, read by itself":  {want: map[string]string{"db/user": "u", "db/pass": "p", "web/key": "k", "db/file": `{"a":"f"}`}, lists: 1, reads: 5},
		"a path":                      {query: secret.Query{Path: "web/"}, want: map[string]string{"web/key": "k"}, lists: 1, reads: 1},
		"a name":                      {query: secret.Query{Name: regexp.MustCompile("user$")}, want: map[string]string{"db/user": "u"}, lists: 1, reads: 1},
		"values come with the list":   {query: secret.Query{Path: "db/f"}, inline: true, want: map[string]string{"db/file": `{"a":"f"}`}, lists: 1},
		"nothing":                     {query: secret.Query{Name: regexp.MustCompile("^x")}, want: map[string]string{}, lists: 1},
		"one of them may not be read": {faults: map[string]error{"db/pass": secret.Denied}, fails: secret.Denied, lists: 1, reads: 5},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{values: values, inline: c.inline, faults: c.faults}
				p := newPool(t, &cluster{}, nil)
				since := time.Now()
				for range 2 { // the second shares all of the first, but failures
					found, err := p.Find(t.Context(), namespaced(&spec{Back: b}), c.query, since)
					if secret.KindOf(err) != c.fails {
						t.Fatalf("%v, want %q", err, c.fails)
					}
					var got map[string]string
					if err == nil {
						got = map[string]string{}
					}
					for k, s := range found {
						got[k] = string(s.Whole().Reveal())
					}
					if diff := cmp.Diff(c.want, got); diff != "" {
						t.Error(diff)
					}
				}
				reads := c.reads + len(c.faults)
				if b.lists != c.lists || b.gets != reads {
					t.Errorf("%d lists and %d reads, want %d and %d", b.lists, b.gets, c.lists, reads)
				}
			})
		})
	}
}

func TestQueriesThatDifferAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{values: map[string]string{"a": "1"}, inline: true}
		p := newPool(t, &cluster{}, nil)
		since := time.Now()
		queries := []secret.Query{
			{},
			{Path: "a"},
			{Name: regexp.MustCompile("a")},
			{Tags: map[string]string{"a": ""}},
			{Tags: map[string]string{"a": "b"}},
			{Tags: map[string]string{"a": "b", "c": "d"}},
			{Tags: map[string]string{`a"="b" "c`: "d"}},
		}
		for _, q := range append(slices.Clone(queries), queries...) {
			if _, err := p.Find(t.Context(), namespaced(&spec{Back: b}), q, since); err != nil {
				t.Error(err)
			}
		}
		if b.lists != len(queries) {
			t.Errorf("%d lists, want %d", b.lists, len(queries))
		}
	})
}

func TestFindFailures(t *testing.T) {
	cases := map[string]struct {
		spec spec
		want secret.Kind
	}{
		"store that cannot list":           {spec{Back: letters(), Bare: true}, secret.Unsupported},
		"listing fails after the last one": {spec{Back: &backend{values: map[string]string{"a": "1"}, fault: secret.Denied}}, secret.Denied},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, &cluster{}, nil)
				found, err := p.Find(t.Context(), namespaced(&c.spec), secret.Query{}, time.Now())
				if secret.KindOf(err) != c.want || found != nil {
					t.Errorf("found %d, %v", len(found), err)
				}
			})
		})
	}
}

// TestWhatIsHeldIsBounded: of more bytes than may be held the oldest go, and what is
// listed counts as much as what is read.
func TestWhatIsHeldIsBounded(t *testing.T) {
	const half = 17 << 20
	synctest.Test(t, func(t *testing.T) {
		b := &backend{inline: true, values: map[string]string{
			"a": strings.Repeat("a", half), "b": strings.Repeat("b", half), "c": "fields:" + strings.Repeat("c", 2*half),
		}}
		p := newPool(t, &cluster{}, nil)
		place, since := namespaced(&spec{Back: b}), time.Now()
		read := func(key string, want int) {
			t.Helper()
			before := b.gets
			if got := p.Read(t.Context(), place, keys(key), since)[0]; got.Err != nil || got.Secret.Whole().Len() < half {
				t.Fatalf("%s: %d bytes, %v", key, got.Secret.Whole().Len(), got.Err)
			}
			synctest.Wait()
			if b.gets-before != want {
				t.Errorf("%s took %d calls, want %d", key, b.gets-before, want)
			}
		}
		read("a", 1)
		read("a", 0)
		read("b", 1) // a goes
		read("b", 0)
		read("a", 1) // b goes
		read("b", 1)
		read("c", 1) // everything goes, c too
		read("c", 1)
		read("b", 1)
		read("b", 0)
		find := func(want int) {
			t.Helper()
			before := b.lists
			if _, err := p.Find(t.Context(), place, secret.Query{Path: "a"}, since); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if b.lists-before != want {
				t.Errorf("%d lists, want %d", b.lists-before, want)
			}
		}
		find(1)
		read("b", 1)
		find(1)
		find(0)
		<-time.After(time.Minute)
		synctest.Wait()
		find(1)
	})
}
