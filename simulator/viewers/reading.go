package viewers

import (
	"bytes"
	"hash/maphash"

	"tallystream/schemas"
)

// reading is what a message says. Most viewers get the same bytes, so it is
// made once and shared: the rest of a delivery is a comparison of bytes. It is
// never changed.
type reading struct {
	compressed bool
	payload    []byte // as it came
	frame      []byte // inflated
	kind       schemas.FrameKind
	document   int32 // of delta and snap, in the crowd's list; -1: not in it
	delta      schemas.DeltaHeader
	snap       *schemas.Snap
	bye        *schemas.Bye
}

// reader reads messages.
type reader struct {
	inflater
	seed         maphash.Seed
	recent, past map[uint64]*reading
	bytes        int // of payloads in recent
}

// maxRecent bounds the bytes of the messages that are remembered, twice.
const maxRecent = 4 << 20

func newReader() *reader {
	return &reader{seed: maphash.MakeSeed(), recent: map[uint64]*reading{}, past: map[uint64]*reading{}}
}

// read says what a data message is. fresh: nobody of this process has had
// these bytes lately.
func (r *reader) read(m message) (_ *reading, fresh bool, err error) {
	key := maphash.Bytes(r.seed, m.payload)
	if m.compressed {
		key++
	}
	for _, known := range []map[uint64]*reading{r.recent, r.past} {
		if seen := known[key]; seen != nil && seen.compressed == m.compressed && bytes.Equal(seen.payload, m.payload) {
			return seen, false, nil
		}
	}
	out := &reading{compressed: m.compressed, payload: bytes.Clone(m.payload)}
	out.frame = out.payload
	if m.compressed {
		if out.frame, err = r.inflate(m.payload); err != nil {
			return nil, false, err
		}
	}
	if err := out.parse(); err != nil {
		return nil, false, err
	}
	if out.kind != schemas.FrameBye { // each has a time of its own
		r.remember(key, out)
	}
	return out, true, nil
}

// remember keeps a reading. Nothing is looked up again after two rounds.
func (r *reader) remember(key uint64, out *reading) {
	if r.bytes += len(out.payload) + len(out.frame); r.bytes > maxRecent {
		r.past, r.recent, r.bytes = r.recent, map[uint64]*reading{}, 0
	}
	r.recent[key] = out
}

func (r *reading) parse() (err error) {
	if r.kind, err = schemas.KindOfFrame(r.frame); err != nil {
		return err
	}
	switch r.kind {
	case schemas.FrameHello:
		_, err = schemas.ParseHello(r.frame)
	case schemas.FrameSnap:
		r.snap, err = schemas.ParseSnap(r.frame)
	case schemas.FrameDelta:
		// The lines are read too: each frame is read once for all who get it.
		var d *schemas.Delta
		if d, err = schemas.ParseDelta(r.frame); err == nil {
			r.delta = d.Header()
		}
	case schemas.FramePing:
		_, err = schemas.ParsePing(r.frame)
	case schemas.FrameBye:
		r.bye, err = schemas.ParseBye(r.frame)
	default:
		err = wireError("a server sends a frame of kind %s", r.kind)
	}
	return err
}
