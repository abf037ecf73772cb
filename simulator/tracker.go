package simulator

import (
	"sync"
	"time"
)

// tracker measures how long it takes from a receipt to a viewer and to a
// signed snapshot, from outside: each submission that is no repeat makes one
// ledger entry, entries are made in about the order of receipts, and every
// delta and snapshot says how many entries it covers. So the k-th receipt is
// matched with the first delta that covers k entries. Within one group of the
// stream the order may differ: an error of a few milliseconds.
//
// It remembers receipts only until both have happened.
type tracker struct {
	mu       sync.Mutex // guards all below
	receipts []time.Time
	first    uint64 // entry number of receipts[0]
	live     uint64 // entries that a viewer has
	snapshot uint64 // entries in a signed snapshot

	liveTimes, snapshotTimes histogram
}

// newTracker starts after the entries that exist already.
func newTracker(entries uint64) *tracker {
	return &tracker{first: entries, live: entries, snapshot: entries}
}

// receipt notes a receipt of a submission that is no repeat.
func (t *tracker) receipt(at time.Time) {
	t.mu.Lock()
	t.receipts = append(t.receipts, at)
	t.mu.Unlock()
}

// seenLive notes that a viewer holds entries entries.
func (t *tracker) seenLive(entries uint64, at time.Time) {
	t.seen(&t.live, entries, at, &t.liveTimes)
}

// seenSnapshot notes that a signed snapshot covers entries entries.
func (t *tracker) seenSnapshot(entries uint64, at time.Time) {
	t.seen(&t.snapshot, entries, at, &t.snapshotTimes)
}

func (t *tracker) seen(mark *uint64, entries uint64, at time.Time, h *histogram) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// A delta can overtake the receipt on its way to us: no negative times.
	entries = min(entries, t.first+uint64(len(t.receipts)))
	for *mark < entries {
		h.add(max(at.Sub(t.receipts[*mark-t.first]), 0))
		*mark++
	}
	if done := min(t.live, t.snapshot) - t.first; done > 0 {
		t.receipts = t.receipts[done:]
		t.first += done
	}
}

// entries is how many entries there must be once all receipts are honoured.
func (t *tracker) entries() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first + uint64(len(t.receipts))
}
