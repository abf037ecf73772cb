package viewers

import (
	"fmt"
	"slices"
	"time"

	"tallystream/schemas"
)

// frame takes one frame of the live protocol.
func (c *crowd) frame(i int, r *reading, now time.Time) error {
	s := &c.seats[i]
	if !s.hello {
		if r.kind != schemas.FrameHello {
			return fmt.Errorf("%w: the first frame is a %s, want hello", errWrong, r.kind)
		}
		s.hello = true
		c.arrived(s, now)
		return nil
	}
	switch r.kind {
	case schemas.FrameHello:
		return fmt.Errorf("%w: a second hello", errWrong)
	case schemas.FrameSnap:
		c.tally.Snaps++
		return c.snap(i, r)
	case schemas.FrameDelta:
		return c.delta(i, r, now)
	case schemas.FramePing:
		c.tally.Pings++
		s.attempt = 0
	case schemas.FrameBye:
		count(c.tally.Byes, r.bye.Reason)
		// As the client does: the wait is the server's, and no backoff comes to it.
		s.comeAt = max(c.since(now)+uint32(min(r.bye.Milliseconds, maxRetryAfter.Milliseconds())), 1)
	}
	return nil
}

// positionOf finds a viewer's position in the document of a frame.
func (c *crowd) positionOf(s *seat, r *reading) (k int, ok bool) {
	if r.document >= 0 {
		if k, ok = s.find(r.document); ok {
			return k, true
		}
		if c.plan.All {
			s.positions = slices.Insert(s.positions, k, position{document: r.document})
			if s.sampled {
				s.checks = slices.Insert(s.checks, k, newCheck(c.documents[r.document]))
			}
			return k, true
		}
	}
	c.tally.Strangers++
	return 0, false
}

func (c *crowd) snap(i int, r *reading) error {
	s := &c.seats[i]
	k, ok := c.positionOf(s, r)
	if !ok {
		return nil
	}
	p := &s.positions[k]
	if p.asked {
		c.tally.Healed++
	}
	c.judge(p.snap(r.snap))
	if s.sampled {
		c.checkSnap(i, k, r.snap)
	}
	return nil
}

func (c *crowd) delta(i int, r *reading, now time.Time) error {
	s := &c.seats[i]
	k, ok := c.positionOf(s, r)
	if !ok {
		return nil
	}
	p := &s.positions[k]
	asked := p.asked
	v, advance := p.delta(&r.delta)
	switch v {
	case followed:
		s.attempt = 0
		c.tally.Deliveries++
		c.tally.Advanced += advance
		if asked {
			c.tally.Healed++
		}
		c.measure(s, r.delta.Micros, now)
	case missed:
		if !asked {
			c.tally.Gaps++
			c.ask(i, k)
		}
		return nil
	default:
		c.judge(v)
		return nil
	}
	if s.sampled {
		return c.checkDelta(i, k, r.frame)
	}
	return nil
}

// measure counts how old a delta is, unless it is older than the connection:
// the wait was the viewer's own then.
func (c *crowd) measure(s *seat, micros int64, now time.Time) {
	made := time.UnixMicro(micros)
	if made.Before(c.begun.Add(time.Duration(s.begunAt) * time.Millisecond)) {
		c.tally.CaughtUp++
		return
	}
	if made.After(now) {
		c.tally.Early++
	}
	c.tally.Latency.Add(now.Sub(made))
}

func (c *crowd) judge(v verdict) {
	switch v {
	case repeated:
		c.tally.Repeats++
	case stale:
		c.tally.Stale++
	case rewound:
		c.tally.Rewinds++
	}
}

// ask asks the server to lead on from where the viewer is, as the client does
// after a gap.
func (c *crowd) ask(i, k int) {
	s := &c.seats[i]
	s.positions[k].asked = true
	c.tally.Asked++
	if !c.plan.Raw {
		c.say(i, opText, subscription(s.positions[k:k+1], c.name))
	}
}

// behind counts the viewers' positions that are before the heads, and the
// sampled documents whose bytes are not there.
func (c *crowd) behind(heads map[schemas.DocumentID]Head) (positions, unverified uint64) {
	for i := range c.seats {
		s := &c.seats[i]
		if s.state != open {
			continue // counted as absent
		}
		for k := range s.positions {
			p := &s.positions[k]
			head, ok := heads[c.documents[p.document]]
			if ok && p.behind(head) {
				positions++
			}
			if s.sampled && ok && !s.checks[k].holds(p) {
				unverified++
			}
		}
	}
	return positions, unverified
}

// snapshot is the tally as it is now, with heads if they are wanted: there may
// be thousands.
func (c *crowd) snapshot(heads bool) *Tally {
	out := newTally()
	out.Merge(c.tally)
	if !heads {
		return out
	}
	for d, h := range c.heads {
		if h != (Head{}) {
			out.Heads[c.documents[d]] = h
		}
	}
	return out
}
