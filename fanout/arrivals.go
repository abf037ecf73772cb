package fanout

import (
	"sync"
	"time"
)

// arrivals bounds how often one address may connect: a handshake costs the
// server a hundred times what the other side spends on it. Whoever comes too
// often is turned away before anything is read.
type arrivals struct {
	rate float64 // a second, after a burst of four times as many

	mu           sync.Mutex // guards the rest
	recent, past map[network]*budget
	turned       time.Time // when recent became past
}

// budgetFull is how long a budget takes until it is full again, so that nothing
// has to be known of an address that did not come for so long.
const budgetFull = 5 * time.Second

// allow counts one in, if it does not come too soon. A proxy in front, and a
// rehearsal, are of this machine.
func (a *arrivals) allow(from network, now time.Time) bool {
	if from == thisMachine {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.turned) >= budgetFull {
		a.past, a.recent, a.turned = a.recent, map[network]*budget{}, now
	}
	b := a.recent[from]
	if b == nil {
		if b = a.past[from]; b == nil {
			b = &budget{}
		}
		a.recent[from] = b
	}
	return b.allow(now, a.rate)
}
