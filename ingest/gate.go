package ingest

import (
	"context"
	"sync"
	"time"
)

// gateTick is how often a closed gate looks whether it may open. One goroutine
// looks for all who wait.
const gateTick = 5 * time.Millisecond

// gate makes submissions wait while the ledger is too far behind the stream:
// an ingest that outruns aggregation starves it, and then every receipt and
// every viewer is late (a bare run of the night had a p99 of 17 s that way).
type gate struct {
	behind func() Lag
	limits Limits

	mu     sync.Mutex
	closed *closure // nil while the gate is open. Guarded by mu
}

// closure is one time that the gate is closed, for those who wait then.
type closure struct {
	opened  chan struct{} // closed when the gate opens
	left    chan struct{} // closed when nobody waits any more
	waiting int           // guarded by gate.mu
}

func newGate(l Limits, behind func() Lag) *gate { return &gate{behind: behind, limits: l} }

func (g *gate) isOpen() bool { return g.behind().within(&g.limits) }

// pass returns true at once if the gate is open, else as soon as it opens, and
// false if that takes too long or ctx ends.
func (g *gate) pass(ctx context.Context) bool {
	if g.isOpen() {
		return true
	}
	c := g.join()
	defer g.leave(c)
	timer := time.NewTimer(g.limits.Wait)
	defer timer.Stop()
	select {
	case <-c.opened:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (g *gate) join() *closure {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = &closure{opened: make(chan struct{}), left: make(chan struct{})}
		go g.watch(g.closed)
	}
	g.closed.waiting++
	return g.closed
}

func (g *gate) leave(c *closure) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.waiting--; c.waiting == 0 {
		close(c.left)
		g.end(c)
	}
}

// end makes the next who must wait begin a closure of their own; mu is held.
func (g *gate) end(c *closure) {
	if g.closed == c {
		g.closed = nil
	}
}

// watch opens the gate for all who wait once the ledger has caught up. It ends
// then, or when nobody waits any more.
func (g *gate) watch(c *closure) {
	ticker := time.NewTicker(gateTick)
	defer ticker.Stop()
	for {
		select {
		case <-c.left:
			return
		case <-ticker.C:
		}
		if g.isOpen() {
			g.mu.Lock()
			g.end(c)
			g.mu.Unlock()
			close(c.opened)
			return
		}
	}
}
