package viewers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"tallystream/schemas"
)

// crowd is the viewers of one process: when each connects, what it says, and
// whether what it hears is right. It knows no network and no clock: a driver
// tells it what happened when, and does what it says. It is used by one
// goroutine at a time.
type crowd struct {
	plan   *Plan
	random *rand.Rand
	begun  time.Time
	reader *reader

	seats    []seat
	fresh    int // seats from here on never connected
	back     comebacks
	pace     time.Time // of a gentle plan: nobody connects before
	inFlight int
	asked    []overdue // handshakes, the oldest first
	swept    int       // the next seat that is looked at for silence
	sweptAt  time.Time

	documents []schemas.DocumentID
	numbers   map[schemas.DocumentID]int32
	hashes    map[int32]*hashes

	tally *Tally
	heads []Head // by document

	// Work for the driver.
	answers []answer
	closes  []closing
	wants   []want
}

// answer is bytes that a connection must send.
type answer struct {
	seat  int
	bytes []byte
}

// closing is a connection that must be closed, and why.
type closing struct {
	seat int
	why  error
}

// overdue is a handshake that must be answered by then.
type overdue struct {
	seat       int
	generation uint32
	by         time.Time
}

// errWrong is in every error about a server that breaks the live protocol.
var errWrong = errors.New("live protocol")

func newCrowd(plan *Plan, now time.Time) *crowd {
	plan = plan.withDefaults()
	c := &crowd{
		plan: plan, random: rand.New(rand.NewPCG(plan.Seed, uint64(plan.First))), begun: now, sweptAt: now, reader: newReader(),
		seats: make([]seat, plan.Viewers), documents: slices.Clone(plan.Documents),
		numbers: map[schemas.DocumentID]int32{}, hashes: map[int32]*hashes{}, tally: newTally(),
		heads: make([]Head, len(plan.Documents)),
	}
	for i, g := range plan.Documents {
		c.numbers[g] = int32(i)
	}
	c.tally.Viewers = uint64(plan.Viewers)
	for i := range c.seats {
		s := &c.seats[i]
		s.sampled = plan.sampled(plan.First + i)
		if s.sampled {
			c.tally.Sampled++
		}
		c.sit(s, i)
	}
	return c
}

// sit gives a viewer its documents, of which it has nothing.
func (c *crowd) sit(s *seat, i int) {
	follows := c.plan.documentsOf(c.plan.First + i)
	s.positions, s.checks = make([]position, len(follows)), nil
	for k, d := range follows {
		s.positions[k].document = d
		if s.sampled {
			s.checks = append(s.checks, newCheck(c.documents[d]))
		}
	}
}

// say sends a frame.
func (c *crowd) say(i int, op opcode, payload []byte) {
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], c.random.Uint32())
	c.answers = append(c.answers, answer{i, appendClientFrame(nil, op, payload, mask)})
}

// closedError is a close frame of the server.
type closedError struct{ code int }

func (e *closedError) Error() string { return fmt.Sprintf("closed with %d", e.code) }

// message takes one message or control frame.
func (c *crowd) message(i int, m message, now time.Time) error {
	switch m.op {
	case opText:
	case opPing:
		c.say(i, opPong, m.payload)
		return nil
	case opPong:
		if len(m.payload) == 8 {
			sent := time.UnixMicro(int64(binary.BigEndian.Uint64(m.payload)))
			c.tally.RoundTrip.Add(now.Sub(sent))
		}
		return nil
	case opClose:
		c.say(i, opClose, m.payload[:min(len(m.payload), 2)])
		return &closedError{closeCode(m.payload)}
	default:
		return wireError("a server sends a frame with opcode %d", m.op)
	}
	r, fresh, err := c.reader.read(m)
	if err != nil {
		return err
	}
	if fresh {
		c.note(r)
		if r.kind != schemas.FramePing {
			c.tally.Different++
		}
	}
	c.tally.Frames++
	return c.frame(i, r, now)
}

// note looks at a message once for all viewers: which document it is of, how
// far that is, and whether its hash is the one that others were told.
func (c *crowd) note(r *reading) {
	var at Head
	var hash schemas.Digest
	switch r.kind {
	case schemas.FrameDelta:
		r.document, at, hash = c.number(r.delta.Document), Head{r.delta.Epoch, r.delta.To}, r.delta.Hash
	case schemas.FrameSnap:
		r.document, at, hash = c.number(r.snap.Document), Head{r.snap.Epoch, r.snap.Version}, r.snap.Hash
	default:
		return
	}
	if r.document < 0 {
		return
	}
	if at.after(c.heads[r.document]) {
		c.heads[r.document] = at
	}
	known := c.hashes[r.document]
	if known == nil {
		known = new(hashes)
		c.hashes[r.document] = known
	}
	if !known.agree(at, hash) {
		c.tally.Disagreed++
	}
}

// number finds a document; -1: it is not in the list.
func (c *crowd) number(g schemas.DocumentID) int32 {
	n, ok := c.numbers[g]
	switch {
	case ok:
		return n
	case !c.plan.All:
		return -1
	}
	n = int32(len(c.documents))
	c.documents, c.heads = append(c.documents, g), append(c.heads, Head{})
	c.numbers[g] = n
	return n
}
