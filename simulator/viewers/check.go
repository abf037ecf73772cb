package viewers

import (
	"fmt"

	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

// want is a snapshot that a sampled viewer must fetch.
type want struct {
	seat  int
	check *check
	snap  *schemas.Snap
}

func newCheck(g schemas.DocumentID) *check { return &check{document: viewer.NewDocument(g)} }

// holds reports whether the bytes are those of the position.
func (k *check) holds(p *position) bool {
	return k.document.Known() && k.fetching == nil && k.document.Epoch() == p.epoch && k.document.Version() == p.version
}

// checkSnap takes a snap into a sampled viewer's document: the same bytes cost
// no fetch.
func (c *crowd) checkSnap(i, k int, snap *schemas.Snap) {
	check := c.seats[i].checks[k]
	if check.fetching == nil && check.document.Relabel(snap) {
		c.tally.Verified++
		return
	}
	check.fetching, check.waiting, check.bytes = snap, nil, 0
	c.wants = append(c.wants, want{i, check, snap})
}

// checkDelta takes a delta into a sampled viewer's document, now or when its
// snapshot is there.
func (c *crowd) checkDelta(i, k int, frame []byte) error {
	check := c.seats[i].checks[k]
	if check.fetching != nil {
		if check.bytes += len(frame); check.bytes > maxWaiting {
			return fmt.Errorf("%w: %d bytes of deltas wait for it", errSnapshot, check.bytes)
		}
		check.waiting = append(check.waiting, frame)
		return nil
	}
	outcome, _, err := check.document.Apply(frame)
	if err != nil {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	switch outcome {
	case viewer.Applied:
		c.tally.Verified++
	case viewer.Mismatch, viewer.Missing:
		// The sequence was right and the bytes are not: what the viewer has is in
		// doubt, so it asks from nothing.
		c.tally.Mismatches++
		c.doubt(i, k)
	}
	return nil
}

func (c *crowd) doubt(i, k int) {
	s := &c.seats[i]
	s.positions[k].known = false
	if s.state == open {
		c.ask(i, k)
	}
}

// fetched takes a snapshot's bytes in, and then the deltas that waited.
func (c *crowd) fetched(w want, body []byte, err error) {
	s := &c.seats[w.seat]
	k := 0
	for k < len(s.checks) && s.checks[k] != w.check {
		k++
	}
	if k == len(s.checks) || w.check.fetching != w.snap {
		return // the viewer began anew, or another snapshot came meanwhile
	}
	waiting := w.check.waiting
	w.check.fetching, w.check.waiting, w.check.bytes = nil, nil, 0
	if err != nil {
		c.tally.FetchFailures++
		s.positions[k].known = false
		if s.state == open {
			c.closes = append(c.closes, closing{w.seat, errSnapshot})
		}
		return
	}
	if err := w.check.document.Replace(w.snap, body); err != nil {
		c.tally.Mismatches++
		c.doubt(w.seat, k)
		return
	}
	c.tally.Verified++
	for _, frame := range waiting {
		if err := c.checkDelta(w.seat, k, frame); err != nil {
			if s.state == open {
				c.closes = append(c.closes, closing{w.seat, err})
			}
			return
		}
	}
}
