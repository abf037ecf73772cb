package viewers

import "tallystream/schemas"

// position is what a viewer has of one document, as the sequence of frames
// says. It is the client rule of schemas.FrameKind without the bytes, strict: a
// server keeps each viewer's position itself, so nothing it sends may miss or
// repeat anything.
type position struct {
	epoch    schemas.Epoch
	version  schemas.Version
	document int32 // in the process's list
	known    bool
	// asked: the viewer asked anew after a gap or a wrong hash. Frames that were
	// on their way then may come again; that is nobody's fault.
	asked bool
}

// verdict is what a frame was for a viewer's sequence.
type verdict uint8

const (
	followed verdict = iota // leads on
	excused                 // repeats something after the viewer had asked
	repeated                // says what the viewer has
	stale                   // is of an epoch before the viewer's
	missed                  // begins after what the viewer has
	rewound                 // leads back within an epoch
)

// String is the verdict in a report.
func (v verdict) String() string {
	return [...]string{"followed", "excused", "repeated", "of an epoch that ended", "after a gap", "led back"}[v]
}

// delta takes a delta in. advance is how much of the log it brought.
func (p *position) delta(h *schemas.DeltaHeader) (v verdict, advance uint64) {
	switch {
	case p.known && h.Epoch < p.epoch:
		return p.again(stale), 0
	case !p.known || h.Epoch > p.epoch || h.From > p.version:
		return missed, 0
	case h.To <= p.version:
		return p.again(repeated), 0
	}
	advance = uint64(h.To - p.version)
	p.version, p.asked = h.To, false
	return followed, advance
}

// snap takes a snap in. A snap without an epoch was found in the bucket and may
// come at any time; one of a later epoch begins anew.
func (p *position) snap(s *schemas.Snap) verdict {
	v := followed
	switch {
	case !p.known || s.Epoch == 0:
	case s.Epoch < p.epoch:
		v = p.again(stale)
	case s.Epoch == p.epoch && s.Version < p.version:
		v = p.again(rewound)
	case s.Epoch == p.epoch && s.Version == p.version:
		v = p.again(repeated)
	}
	// Right or wrong, a viewer goes where a snap leads.
	p.known, p.epoch, p.version, p.asked = true, s.Epoch, s.Version, false
	return v
}

// again is v, unless the viewer asked for it.
func (p *position) again(v verdict) verdict {
	if p.asked {
		return excused
	}
	return v
}

// behind reports whether the position is before a head that others reached.
func (p *position) behind(h Head) bool {
	if !p.known || p.epoch != h.Epoch {
		return !p.known || p.epoch < h.Epoch
	}
	return p.version < h.Version
}

// Head is the newest version of a document that any viewer was told of.
type Head struct {
	Epoch   schemas.Epoch   `json:"epoch"`
	Version schemas.Version `json:"version"`
}

func (h Head) after(o Head) bool {
	return h.Epoch > o.Epoch || h.Epoch == o.Epoch && h.Version > o.Version
}

// hashes notes which hash each version of a document was said to have, and for
// how many of the newest versions that is remembered.
type hashes struct {
	last [8]struct {
		at   Head
		hash schemas.Digest
	}
	next int
}

// agree reports whether everybody was told the same hash of that version.
func (s *hashes) agree(at Head, hash schemas.Digest) bool {
	for i := range s.last {
		if s.last[i].at == at && !s.last[i].hash.IsZero() {
			return s.last[i].hash == hash
		}
	}
	s.last[s.next].at, s.last[s.next].hash = at, hash
	s.next = (s.next + 1) % len(s.last)
	return true
}
