package store

import (
	"sync"
	"time"

	"github.com/keyferry/keyferry/provider"
)

const (
	// keptFor is how long the outcome of a read can be shared. Whether it may be is
	// the caller's decision, by since.
	keptFor = time.Minute
	// keptBytes bounds the values that are held for sharing, over all stores.
	keptBytes = 32 << 20
)

// kept holds the finished reads, oldest first, and lets go of them after a while or
// when they are too many bytes.
type kept struct {
	clock provider.Clock
	stop  chan struct{} // closed when the pool is

	mu     sync.Mutex
	queue  []keptRead
	bytes  int
	timing bool // a goroutine waits for the oldest to end
}

type keptRead struct {
	pending
	reads *reads
	size  int
	until time.Time
}

func (k *kept) add(r keptRead) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queue = append(k.queue, r)
	k.bytes += r.size
	k.evictLocked()
	if !k.timing && len(k.queue) > 0 {
		k.timing = true
		go k.expire()
	}
}

// evictLocked forgets what has ended, and the oldest while there are too many bytes.
func (k *kept) evictLocked() {
	now := k.clock.Now()
	n := 0
	for n < len(k.queue) && (k.bytes > keptBytes || !now.Before(k.queue[n].until)) {
		k.queue[n].reads.forget(k.queue[n].address, k.queue[n].read)
		k.bytes -= k.queue[n].size
		k.queue[n] = keptRead{}
		n++
	}
	k.queue = k.queue[n:]
	if len(k.queue) == 0 {
		k.queue = nil
	}
}

// expire runs while reads are kept, so that no value outlives its time, and ends
// with the pool.
func (k *kept) expire() {
	for {
		k.mu.Lock()
		k.evictLocked()
		if len(k.queue) == 0 {
			k.timing = false
			k.mu.Unlock()
			return
		}
		wait := k.queue[0].until.Sub(k.clock.Now())
		k.mu.Unlock()
		select {
		case <-k.clock.After(wait):
		case <-k.stop:
			return
		}
	}
}
