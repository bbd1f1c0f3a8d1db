package suite

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// trial is a T that records failures instead of failing the test.
type trial struct {
	ctx context.Context //nolint:containedctx // it is that of the test, which a T has

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

func (*trial) Helper()                    {}
func (t *trial) Context() context.Context { return t.ctx }

func (t *trial) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *trial) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}

func (t *trial) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// Try runs f as a test and returns its failures; a panic is one. Whatever fails, the
// test of ctx does not: a suite shows so that its checks can fail.
func Try(ctx context.Context, f func(T)) []string {
	t := &trial{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				t.Errorf("panic: %v", r)
			}
		}()
		f(t)
	}()
	<-done
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
	return t.failures
}

// MixUp returns a function that returns what it was last called with, by whomever: the
// defect of keeping in a field what belongs to one call. A call waits a moment for a second
// one, so that they meet if there are two: it is for synctest bubbles.
func MixUp[V any]() func(V) V {
	var mu sync.Mutex
	var last V
	meet := make(chan struct{})
	return func(mine V) V {
		mu.Lock()
		last = mine
		mu.Unlock()
		select {
		case meet <- struct{}{}:
		case <-meet:
		case <-time.After(time.Millisecond):
		}
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}
