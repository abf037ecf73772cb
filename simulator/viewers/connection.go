package viewers

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"syscall"
	"time"

	"tallystream/schemas"
)

// dial says which viewer connects now, where, and from which address; ok is
// false when none does.
func (c *crowd) dial(now time.Time) (i int, t Target, from netip.Addr, ok bool) {
	if c.inFlight >= c.plan.InFlight || now.Before(c.pace) {
		return 0, t, from, false
	}
	if n, due := c.back.due(now); due {
		i = int(n)
	} else {
		if c.fresh >= len(c.seats) || c.plan.Ramp > 0 && float64(c.fresh) > c.plan.Ramp*now.Sub(c.begun).Seconds() {
			return 0, t, from, false
		}
		i = c.fresh
		c.fresh++
	}
	if c.plan.Gentle {
		c.pace = now.Add(time.Duration(float64(time.Second) / c.plan.Ramp))
	}
	s := &c.seats[i]
	s.generation++
	s.stream, s.state, s.upgraded, s.deflate, s.hello = stream{}, dialing, false, false, false
	s.begunAt, s.comeAt = c.since(now), 0
	s.heardAt, s.pingedAt = s.begunAt, s.begunAt
	c.inFlight++
	c.asked = append(c.asked, overdue{i, s.generation, now.Add(c.plan.Handshake)})
	n := c.plan.First + i
	if len(c.plan.Sources) > 0 {
		from = c.plan.Sources[n%len(c.plan.Sources)]
	}
	return i, c.target(i), from, true
}

func (c *crowd) target(i int) Target {
	return c.plan.Targets[(c.plan.First+i+int(c.seats[i].shift))%len(c.plan.Targets)]
}

// since is a time as seats have it.
func (c *crowd) since(now time.Time) uint32 { return uint32(max(now.Sub(c.begun).Milliseconds(), 0)) }

// connected says what a new connection sends first.
func (c *crowd) connected(i int) []byte {
	s := &c.seats[i]
	s.state = asking
	if c.plan.Raw {
		s.deflate = c.plan.Deflate
		return nil
	}
	if c.plan.All {
		c.sit(s, i) // versions of everything do not fit into a subscription
	}
	for k := range s.positions {
		s.positions[k].asked = false // nothing of before is on its way
	}
	t := c.target(i)
	return appendRequest(nil, t.Host, c.plan.query(t.Path, s.positions), c.key(i), c.plan.Key, c.plan.Deflate)
}

func (c *crowd) key(i int) string {
	return handshakeKey(c.plan.Seed, uint32(c.plan.First+i), c.seats[i].generation)
}

// received takes bytes in that the server sent. An error is why the connection
// must end; the driver closes it and calls ended with that error.
func (c *crowd) received(i int, b []byte, now time.Time) error {
	s := &c.seats[i]
	c.tally.Bytes += uint64(len(b))
	s.heardAt = c.since(now)
	if !s.upgraded && !c.plan.Raw {
		rest, err := c.handshake(i, b)
		if err != nil || !s.upgraded {
			return err
		}
		b = rest
	}
	return s.feed(b, s.deflate, func(m message) error { return c.message(i, m, now) })
}

// handshake reads the answer to the request. Until it is whole, what came is
// kept where parts of frames are.
func (c *crowd) handshake(i int, b []byte) (rest []byte, err error) {
	s := &c.seats[i]
	if s.partial != nil {
		b = append(s.partial.raw, b...)
		s.partial = nil
	}
	n, deflate, err := readAnswer(b, c.key(i), c.plan.Deflate)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		s.partial = &partial{raw: append([]byte(nil), b...)}
		return nil, nil
	}
	s.upgraded, s.deflate = true, deflate
	if len(s.positions) > maxInQuery && !c.plan.All {
		c.say(i, opText, subscription(s.positions, c.name))
	}
	return b[n:], nil
}

func (c *crowd) name(d int32) schemas.DocumentID { return c.documents[d] }

// arrived counts a connection as open.
func (c *crowd) arrived(s *seat, now time.Time) {
	c.inFlight--
	s.state = open
	if s.missing {
		s.missing = false
		c.tally.Missing--
	}
	c.tally.Open++
	c.tally.Connects++
	if s.deflate {
		c.tally.Deflated++
	}
	c.tally.Connect.Add(time.Duration(c.since(now)-s.begunAt) * time.Millisecond)
}

// Why connections end, beside what the network and frames say.
var (
	errStorm    = errors.New("storm")
	errTimeout  = errors.New("no answer in time")
	errSilent   = errors.New("silent")
	errSnapshot = errors.New("snapshot not to be had")
)

// ended says that a connection is closed, and why. The viewer comes back: at the
// time it was told, or later and later.
func (c *crowd) ended(i int, why error, now time.Time) {
	s := &c.seats[i]
	var no *refused
	switch {
	case s.state == away:
		return
	case s.state != open:
		c.inFlight--
		count(c.tally.Failures, reasonOf(why))
		s.shift++
		if errors.As(why, &no) && no.retryAfter > 0 {
			s.comeAt = c.since(now.Add(no.retryAfter + time.Duration(c.random.Float64()*float64(no.retryAfter)/2)))
		}
	case errors.Is(why, errStorm):
		c.tally.Open--
		c.tally.Dropped++
	case s.comeAt > 0: // it was told to go
		c.tally.Open--
	default:
		c.tally.Open--
		count(c.tally.Lost, reasonOf(why))
		s.shift++
	}
	at := now.Add(backoff(s.attempt, c.random))
	if s.comeAt > 0 {
		at = c.begun.Add(time.Duration(s.comeAt) * time.Millisecond)
	} else if s.attempt < 255 {
		s.attempt++
	}
	s.state, s.stream, s.comeAt = away, stream{}, 0
	c.back.add(at, int32(i))
}

// reasonOf is an error in a word or two, without addresses.
func reasonOf(err error) string {
	var number syscall.Errno
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return "closed without a word"
	case errors.As(err, &number):
		return number.Error()
	}
	return err.Error()
}

// storm cuts a share of the open connections off. Each viewer comes back at a
// time of its own within the spread.
func (c *crowd) storm(share float64, within time.Duration, now time.Time) {
	for i := range c.seats {
		s := &c.seats[i]
		if s.state != open || c.random.Float64() >= share {
			continue
		}
		s.missing = true
		c.tally.Missing++
		s.comeAt = max(c.since(now.Add(time.Duration(c.random.Float64()*float64(within)))), 1)
		c.closes = append(c.closes, closing{i, errStorm})
	}
}

// sweepEvery and sweepParts: each seat is looked at for silence every 8 s.
const (
	sweepEvery = 250 * time.Millisecond
	sweepParts = 32
)

// tick closes connections whose handshake takes too long or that are silent,
// and asks sampled ones for a round trip.
func (c *crowd) tick(now time.Time) {
	for len(c.asked) > 0 {
		first := c.asked[0]
		s := &c.seats[first.seat]
		waits := s.generation == first.generation && (s.state == dialing || s.state == asking)
		if waits && now.Before(first.by) {
			break
		}
		if waits {
			c.closes = append(c.closes, closing{first.seat, errTimeout})
		}
		c.asked = c.asked[1:]
	}
	if now.Sub(c.sweptAt) < sweepEvery {
		return
	}
	c.sweptAt = now
	at := c.since(now)
	for range (len(c.seats) + sweepParts - 1) / sweepParts {
		s := &c.seats[c.swept]
		switch {
		case s.state != open:
		case at-s.heardAt > uint32(c.plan.Silence.Milliseconds()):
			c.closes = append(c.closes, closing{c.swept, errSilent})
		case s.sampled && !c.plan.Raw && at-s.pingedAt > uint32(c.plan.PingEvery.Milliseconds()):
			s.pingedAt = at
			c.say(c.swept, opPing, binary.BigEndian.AppendUint64(nil, uint64(now.UnixMicro())))
		}
		c.swept = (c.swept + 1) % len(c.seats)
	}
}

// mostWait bounds how long a driver sleeps: it also looks for orders and
// snapshots then.
const mostWait = 50 * time.Millisecond

// wait is how long nothing is due.
func (c *crowd) wait(now time.Time) time.Duration {
	least := mostWait
	if c.inFlight >= c.plan.InFlight {
		return least
	}
	if len(c.back) > 0 {
		least = min(least, c.back[0].at.Sub(now))
	}
	if c.fresh < len(c.seats) {
		next := time.Duration(0)
		if c.plan.Ramp > 0 {
			next = time.Duration(float64(c.fresh)/c.plan.Ramp*float64(time.Second)) - now.Sub(c.begun)
		}
		least = min(least, next)
	}
	return max(least, min(c.pace.Sub(now), mostWait), 0)
}
