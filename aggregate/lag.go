package aggregate

import (
	"sync"
	"time"

	"tallystream/schemas"
)

// lag knows how long the oldest record that is not in the ledger has been in
// the stream, from when each end of the stream was first seen. The folding
// goroutine samples, metrics read.
type lag struct {
	mu   sync.Mutex
	ends []streamEnd // ascending, none in the ledger; guarded by mu
}

type streamEnd struct {
	at   schemas.Checkpoint
	seen time.Time
}

// maxEnds bounds the samples; beyond it, newer ones are left out, which
// changes nothing about the oldest.
const maxEnds = 1024

// sample notes that the stream reaches to last.
func (l *lag) sample(last schemas.Checkpoint, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.ends); n < maxEnds && (n == 0 || l.ends[n-1].at < last) {
		l.ends = append(l.ends, streamEnd{last, now})
	}
}

// pass notes that everything up to at is in the ledger.
func (l *lag) pass(at schemas.Checkpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.ends) && l.ends[n].at <= at {
		n++
	}
	l.ends = append(l.ends[:0], l.ends[n:]...)
}

func (l *lag) oldest() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ends) == 0 {
		return time.Time{}, false
	}
	return l.ends[0].seen, true
}

func (a *Aggregator) lagRecords() float64 {
	last, done := a.cfg.Source.Last(), a.Checkpoint()
	if last <= done {
		return 0
	}
	return float64(last - done)
}

func (a *Aggregator) lagSeconds() float64 {
	seen, behind := a.lag.oldest()
	if !behind || a.lagRecords() == 0 {
		return 0
	}
	return time.Since(seen).Seconds()
}
