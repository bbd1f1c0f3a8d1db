package store_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyferry/keyferry/provider"
	"github.com/keyferry/keyferry/store"
)

// gathering is the test's provider with calls of ten.
func gathering() provider.Provider {
	return provider.Define(provider.Definition[spec]{
		Name: "test", Label: "Test", Access: provider.ReadOnly, Open: open,
		Batch: func(*spec) int { return 10 },
	})
}

func TestReadsOfManyFillCalls(t *testing.T) {
	for name, c := range map[string]struct {
		callers, each int
		gap           time.Duration // between two callers
		want          int           // calls
	}{
		"callers at the same time":               {20, 3, 0, 6},
		"callers shortly after each other":       {20, 3, 20 * time.Millisecond, 6},
		"callers on a machine that is busy":      {20, 3, 80 * time.Millisecond, 6},
		"what is left is not kept waiting":       {1, 3, 0, 1},
		"more than one call holds":               {1, 25, 0, 3},
		"callers that do not come soon":          {3, 2, time.Second, 3},
		"a trickle does not wait for a full one": {9, 1, 39 * time.Millisecond, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{values: map[string]string{}}
				for i := range c.callers * c.each {
					b.values[fmt.Sprint("k", i)] = fmt.Sprint(i)
				}
				registry, err := provider.NewRegistry(gathering())
				if err != nil {
					t.Fatal(err)
				}
				p := newPool(t, &cluster{}, func(cfg *store.Config) { cfg.Registry = registry })
				place := namespaced(&spec{Back: b, Batch: true})
				var wg sync.WaitGroup
				for i := range c.callers {
					wg.Go(func() {
						names := make([]string, c.each)
						for j := range names {
							names[j] = fmt.Sprint("k", i*c.each+j)
						}
						for j, a := range p.Read(t.Context(), place, keys(names...), time.Now()) {
							if got := text(a); got != fmt.Sprint(i*c.each+j) {
								t.Errorf("%s is %s", names[j], got)
							}
						}
					})
					<-time.After(c.gap) // of the bubble's clock
				}
				wg.Wait()
				if b.batches != c.want || b.gets != 0 {
					t.Errorf("%d calls and %d single reads, want %d calls", b.batches, b.gets, c.want)
				}
			})
		})
	}
}

func TestALoneReadWaitsLittleOnceReadsDoNotFillCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, err := provider.NewRegistry(gathering())
		if err != nil {
			t.Fatal(err)
		}
		p := newPool(t, &cluster{}, func(cfg *store.Config) { cfg.Registry = registry })
		for _, longest := range []time.Duration{250 * time.Millisecond, 40 * time.Millisecond} {
			began := time.Now()
			if got := text(p.Read(t.Context(), namespaced(&spec{Back: letters(), Batch: true}), keys("a"), began)[0]); got == "" {
				t.Error("nothing was read")
			}
			if took := time.Since(began); took > longest {
				t.Errorf("it took %s, want at most %s", took, longest)
			}
		}
	})
}

func TestWhatIsGatheredIsNotForgottenAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, err := provider.NewRegistry(gathering())
		if err != nil {
			t.Fatal(err)
		}
		p := newPool(t, &cluster{}, func(cfg *store.Config) { cfg.Registry = registry })
		done := make(chan string)
		go func() {
			done <- text(p.Read(t.Context(), namespaced(&spec{Back: letters(), Batch: true}), keys("a"), time.Now())[0])
		}()
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if got := <-done; got != "Conflict" && got != "Unavailable" {
			t.Errorf("a read that was waiting when the pool closed: %s", got)
		}
	})
}
