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
	behind func() uint64
	most   uint64
	wait   time.Duration

	mu      sync.Mutex
	opened  chan struct{} // closed when the gate opens; nil while it is open. Guarded by mu
	waiting int           // guarded by mu
}

func newGate(l Limits, behind func() uint64) *gate {
	return &gate{behind: behind, most: l.MaxBehind, wait: l.Wait}
}

// pass returns true at once if the gate is open, else as soon as it opens, and
// false if that takes too long or ctx ends.
func (g *gate) pass(ctx context.Context) bool {
	if g.behind() <= g.most {
		return true
	}
	opened := g.join()
	defer g.leave()
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case <-opened:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (g *gate) join() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting++
	if g.opened == nil {
		g.opened = make(chan struct{})
		go g.watch(g.opened)
	}
	return g.opened
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
}

// watch closes opened once the ledger has caught up, and ends then or when
// nobody waits any more.
func (g *gate) watch(opened chan struct{}) {
	ticker := time.NewTicker(gateTick)
	defer ticker.Stop()
	for range ticker.C {
		if g.settle(opened) {
			return
		}
	}
}

func (g *gate) settle(opened chan struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting > 0 && g.behind() > g.most {
		return false
	}
	close(opened)
	g.opened = nil
	return true
}
