package store

import (
	"context"
	"sync"
	"time"
)

// patience is how long reads wait for others to fill a call with: from the last that
// came, and from the first.
type patience struct{ quiet, longest time.Duration }

// The patience goes by how reads came so far. While nothing is known it is gatherFirst,
// and gatherMore longer for each full call in a row, up to gatherMost: the more objects
// are due, the likelier those that were served make room for the next. Where the last
// call was not full, few are due, and gatherFew is enough.
const (
	gatherFirst = 250 * time.Millisecond
	gatherMore  = 50 * time.Millisecond
	gatherMost  = 3 * time.Second
	gatherFew   = 40 * time.Millisecond
)

// gatherer collects the reads of one connection, whoever wants them, until they
// fill a call. Objects that are due together so share calls.
type gatherer struct {
	size int

	mu      sync.Mutex
	queue   []pending
	first   time.Time // when the oldest of queue came
	latest  time.Time // when something came, or a call ended
	waiting bool      // a goroutine looks after the queue
	full    int       // calls, since the last that was not
	patience
}

// gather takes reads in, and starts the calls that are full.
func (c *conn) gather(ctx context.Context, own []pending) {
	g := &c.gathered
	now := c.pool.cfg.Clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		g.first = now
	}
	g.latest = now
	g.queue = append(g.queue, own...)
	for len(g.queue) >= g.size {
		g.full++
		longer := min(gatherFirst+time.Duration(g.full)*gatherMore, gatherMost)
		g.patience = patience{longer, longer}
		go c.fetchGathered(ctx, g.takeLocked(g.size, now))
	}
	if len(g.queue) > 0 && !g.waiting {
		g.waiting = true
		go c.flush(ctx)
	}
}

func (g *gatherer) takeLocked(n int, now time.Time) []pending {
	taken := g.queue[:n:n]
	g.queue, g.first = g.queue[n:], now
	return taken
}

// fetchGathered makes one call. Those whom it serves are likely to want more soon.
func (c *conn) fetchGathered(ctx context.Context, own []pending) {
	c.fetchMany(ctx, own)
	c.gathered.mu.Lock()
	defer c.gathered.mu.Unlock()
	c.gathered.latest = c.pool.cfg.Clock.Now()
}

// flush reads what does not fill a call once nothing more comes.
func (c *conn) flush(ctx context.Context) {
	g := &c.gathered
	wait := gatherFew
	for {
		select {
		case <-c.pool.cfg.Clock.After(wait):
		case <-c.pool.stop:
		}
		now := c.pool.cfg.Clock.Now()
		g.mu.Lock()
		if len(g.queue) == 0 {
			g.waiting = false
			g.mu.Unlock()
			return
		}
		wait = min(g.latest.Add(g.quiet).Sub(now), g.first.Add(g.longest).Sub(now))
		if wait <= 0 || c.pool.stopped() {
			rest := g.takeLocked(len(g.queue), now)
			g.waiting, g.full, g.patience = false, 0, patience{gatherFew, gatherFirst}
			g.mu.Unlock()
			c.fetchGathered(ctx, rest)
			return
		}
		g.mu.Unlock()
	}
}
