package fanout

import (
	"fmt"

	"tallystream/schemas"
)

// Position is what a viewer has of a document: nothing (the zero Position), or
// its bytes at a version of an epoch.
type Position struct {
	Known   bool
	Epoch   schemas.Epoch
	Version schemas.Version
}

// Trail is what there is to tell of one document: where its newest published
// bytes lie, and the deltas since those published before, so that a viewer who
// fetched either can be led to the newest version. It is a value: no clock, no
// lock, no network.
//
// Deltas carry whole lines. So one that leads from b to v leads there from
// any version between the two as well, and the union of a run of deltas leads
// from the first one's b to the last one's v.
type Trail struct {
	document schemas.DocumentID
	epoch    schemas.Epoch
	head     schemas.Version // the newest version heard of in this epoch

	published bool // the newest published bytes:
	version   schemas.Version
	hash      schemas.Digest
	before    schemas.Version // the version published before
	log       schemas.LogSize // of the snapshot, where the epoch is not known

	held   []held // without a gap between them; the last leads to head
	bytes  int    // of all held frames
	packed int    // bytes of the oldest held frame, if it is a union made by pack

	snap   *Frame // built when first asked for
	unions []held // built when first asked for; all lead to head
}

// held is a delta frame.
type held struct {
	from, to schemas.Version
	frame    *Frame
}

// Bytes of deltas that are held without a look at whether they repeat lines:
// of a document that somebody watches, and of one that nobody does (there are
// 7,000 of those in a national night).
const (
	slackBytes     = 16 << 10
	unwatchedBytes = 8 << 10
)

// NewTrail is the trail of a document of which nothing is known.
func NewTrail(d schemas.DocumentID) *Trail { return &Trail{document: d} }

// Empty reports whether nothing is known of the document.
func (t *Trail) Empty() bool { return !t.published && len(t.held) == 0 }

// Outcome says what became of a delta or an announcement.
type Outcome string

// What becomes of deltas and announcements.
const (
	Extended   Outcome = "extended"   // the trail leads on
	Broken     Outcome = "broken"     // it begins after a gap: viewers before it need the next snapshot
	Repeated   Outcome = "repeated"   // it says nothing new
	Superseded Outcome = "superseded" // it is of an epoch that ended, or older than restated bytes
	Early      Outcome = "early"      // it does not lead on from restated bytes: an announcement will come
)

// Add takes a delta frame with its header in, and keeps the frame. watched
// says that the document has viewers: without any, old deltas are not worth the
// work of uniting them.
func (t *Trail) Add(h *schemas.DeltaHeader, frame []byte, watched bool) Outcome {
	if h.Epoch < t.epoch {
		return Superseded
	}
	switch {
	case h.Epoch > t.epoch && t.epoch == 0 && t.published && h.From == t.version:
		// It leads on from the restated bytes: they are of its epoch.
		t.epoch, t.snap = h.Epoch, nil
	case h.Epoch > t.epoch && t.epoch == 0 && t.published:
		// Perhaps of a sequencer that does not know that it was replaced. If not,
		// its next snapshot names the document.
		return Early
	case h.Epoch > t.epoch:
		t.reset(h.Epoch)
	case h.To <= t.head:
		return Repeated
	}
	outcome := Extended
	if h.From > t.head {
		outcome = Broken
		t.drop(len(t.held))
	}
	t.held = append(t.held, held{h.From, h.To, newFrame(frame, h.Micros)})
	t.bytes += len(frame)
	t.head = h.To
	t.unions = nil
	switch {
	case !watched && t.bytes > unwatchedBytes:
		t.trim()
	case watched && t.bytes > 2*t.packed+slackBytes:
		t.pack()
	}
	return outcome
}

// Announce takes in which bytes are published.
func (t *Trail) Announce(epoch schemas.Epoch, version schemas.Version, hash schemas.Digest) Outcome {
	if epoch < t.epoch {
		return Superseded
	}
	if t.epoch == 0 && t.published && version <= t.log && hash != t.hash {
		return Superseded // by the snapshot that was restated: its epoch is later
	}
	if epoch > t.epoch {
		t.reset(epoch)
	}
	if t.published && version <= t.version {
		return Repeated
	}
	t.before = t.version
	if !t.published {
		t.before = version
	}
	t.published, t.version, t.hash, t.snap = true, version, hash, nil
	outcome := Extended
	if version > t.head {
		// The deltas up to here did not come. Those before lead nowhere.
		if t.head > 0 {
			outcome = Broken
		}
		t.head = version
		t.drop(len(t.held))
	}
	passed := 0
	for passed < len(t.held) && t.held[passed].to <= t.before {
		passed++
	}
	t.drop(passed)
	return outcome
}

// Restate takes in bytes that were found in the bucket, whose epoch is not
// known, and reports whether that was news. If a held delta leads to them,
// they are of this epoch. Otherwise viewers of any epoch fetch them, unless
// theirs are the same.
//
// log is the size of the log at that snapshot. A viewer of an epoch whose
// version is beyond it knows more than the snapshot, and is left alone. If the
// trail itself does, the snapshot is old: a later one was announced while it
// was read.
func (t *Trail) Restate(log schemas.LogSize, version schemas.Version, hash schemas.Digest) bool {
	if t.published && t.version > log {
		return false
	}
	if t.published && t.hash == hash {
		t.log = log
		return t.epoch == 0 // those who were left alone may be covered now
	}
	for _, h := range t.held {
		if head, _, err := schemas.ReadDeltaHeader(h.frame.Text()); err == nil && head.Hash == hash {
			return t.Announce(t.epoch, h.to, hash) == Extended
		}
	}
	t.reset(0)
	t.published, t.version, t.before, t.hash, t.head, t.log = true, version, version, hash, version, log
	return true
}

func (t *Trail) reset(epoch schemas.Epoch) { *t = Trail{document: t.document, epoch: epoch} }

// drop forgets the oldest n held frames.
func (t *Trail) drop(n int) {
	if n == 0 {
		return
	}
	for _, h := range t.held[:n] {
		t.bytes -= len(h.frame.Text())
	}
	rest := copy(t.held, t.held[n:])
	clear(t.held[rest:]) // let go of the frames
	t.held = t.held[:rest]
	t.packed, t.unions = 0, nil
}

// trim drops the oldest frames, but never the newest. A viewer that comes
// to a document nobody watched may then wait for its next snapshot.
func (t *Trail) trim() {
	n, left := 0, t.bytes
	for left > unwatchedBytes && n < len(t.held)-1 {
		left -= len(t.held[n].frame.Text())
		n++
	}
	t.drop(n)
}

// pack unites all held frames but the newest, which those who are up to date
// need as it is. Lines that several of them carry are then held once, so
// what is held stays below about twice the document, plus the slack.
func (t *Trail) pack() {
	last := len(t.held) - 1
	if last < 1 {
		return
	}
	frame, err := unite(t.held[:last])
	if err != nil {
		t.drop(last) // not frames of ours; those before the newest need a snapshot
		return
	}
	united := held{t.held[0].from, t.held[last-1].to, frame}
	newest := t.held[last]
	t.drop(last + 1)
	t.held = append(t.held, united, newest)
	t.packed, t.bytes = len(frame.Text()), len(frame.Text())+len(newest.frame.Text())
}

// Pending reports whether Next has something for a viewer at p.
func (t *Trail) Pending(p Position) bool {
	if p.Known && p.Epoch == t.epoch {
		return p.Version < t.head && (t.firstHeld(p.Version) >= 0 || t.published && t.version > p.Version)
	}
	if t.epoch == 0 && p.Known && p.Version > t.log {
		return false // the deltas or the announcement of its epoch will come
	}
	return t.published
}

// Next returns the frame that leads a viewer at p on, and where it is then.
// There is none when the viewer is up to date, or when what it misses was
// lost and is not published yet.
func (t *Trail) Next(p Position) (frame *Frame, after Position, ok bool) {
	if !t.Pending(p) {
		return nil, p, false
	}
	if p.Known && p.Epoch == t.epoch {
		if first := t.firstHeld(p.Version); first >= 0 {
			if frame := t.union(first); frame != nil {
				return frame, Position{true, t.epoch, t.head}, true
			}
			return nil, p, false
		}
	}
	if t.snap == nil {
		s := schemas.Snap{Epoch: t.epoch, Document: t.document, Version: t.version, Hash: t.hash, Key: DocumentKey(t.hash)}
		t.snap = newFrame(s.AppendFrame(nil), 0)
	}
	return t.snap, Position{true, t.epoch, t.version}, true
}

// DocumentKey is where a document's bytes lie in the bucket.
func DocumentKey(hash schemas.Digest) string { return schemas.ContentKey("documents", hash, ".ndjson") }

// firstHeld is the first held frame that a viewer at v needs, or -1 if held
// frames do not lead on from v.
func (t *Trail) firstHeld(v schemas.Version) int {
	for i := range t.held {
		if t.held[i].to > v {
			if t.held[i].from > v {
				return -1
			}
			return i
		}
	}
	return -1
}

// union returns a frame that does what the held ones from first on do. It is
// made once for everybody who is there.
func (t *Trail) union(first int) *Frame {
	if first == len(t.held)-1 {
		return t.held[first].frame
	}
	from := t.held[first].from
	for _, u := range t.unions {
		if u.from == from {
			return u.frame
		}
	}
	frame, err := unite(t.held[first:])
	if err != nil {
		t.drop(len(t.held)) // not frames of ours: the next snapshot leads on
		return nil
	}
	t.unions = append(t.unions, held{from, t.head, frame})
	return frame
}

func (t *Trail) String() string {
	return fmt.Sprintf("%s: epoch %d, head %d, published %d, %d deltas of %d bytes",
		t.document, t.epoch, t.head, t.version, len(t.held), t.bytes)
}
