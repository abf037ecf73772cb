package leaf

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"tallystream/publish/log"
	"tallystream/schemas"
)

// Release is what supervisors signed to let a held submission count, and what
// became of it. Whether two of them did, and whether the hold is there, is for
// the verifier to check against the leaves before this one.
type Release struct {
	// Outcome is released, or lapsed where a later revision counts already.
	Outcome   schemas.EntryKind
	Partition schemas.Partition
	Seq       uint64 // of the release in the partition's ledger
	Unit      schemas.UnitID
	Revision  schemas.Revision
	Hold      uint64 // Seq of the hold in the same partition
	Note      []byte // signed note: see schemas.Release

	// Release is Note, parsed by Decode.
	Release schemas.Release
}

// Kind is KindRelease.
func (*Release) Kind() Kind { return KindRelease }

func (l *Release) fields(w *writer) {
	w.text("outcome", string(l.Outcome))
	w.place(l.Partition, l.Seq, l.Unit, l.Revision)
	w.number("hold", l.Hold)
	w.note(l.Note)
}

func (l *Release) read(r *reader) error {
	l.Outcome = parsed(r, "outcome", parseReleaseOutcome)
	l.Partition, l.Seq, l.Unit, l.Revision = r.place()
	l.Hold = r.number("hold", 1, math.MaxUint64)
	if r.err == nil && l.Hold >= l.Seq {
		r.fail("hold: want an entry before this one, %d", l.Seq)
	}
	l.Note = r.payload(r.number("bytes", 1, schemas.MaxNote))
	if r.err != nil {
		return r.err
	}
	return readRelease(&l.Release, l.Note, l.Unit, l.Revision)
}

func parseReleaseOutcome(s string) (schemas.EntryKind, error) {
	switch k := schemas.EntryKind(s); k {
	case schemas.EntryReleased, schemas.EntryLapsed:
		return k, nil
	}
	return "", errors.New("want released or lapsed")
}

// readRelease parses a release and checks that it is the one that is named.
func readRelease(l *schemas.Release, record []byte, unit schemas.UnitID, revision schemas.Revision) error {
	if err := l.Parse(record); err != nil {
		return fmt.Errorf("its record: %w", err)
	}
	if string(l.Unit) != string(unit) || l.Revision != revision {
		return errors.New("its record is of another unit or revision")
	}
	return nil
}

// note writes a signed note as payload.
func (w *writer) note(b []byte) {
	w.number("bytes", uint64(len(b)))
	w.payload(b)
}

func (r *reader) note() ([]byte, *log.Note) {
	b := r.payload(r.number("bytes", 1, log.MaxNote))
	if r.err != nil {
		return nil, nil
	}
	n, err := log.ParseNote(b)
	if err != nil {
		r.err = err
		return nil, nil
	}
	return b, n
}

// Pause is a signed statement that publication rests, or goes on again. The
// note's text is
//
//	<origin>/pause/v1           or <origin>/resume/v1
//	time 2026-11-03T23:10:00.000Z
//	reason <identifier>
//	text <a sentence for the public, UTF-8, one line>
type Pause struct {
	Resumed bool
	Note    []byte // signed note

	// What the note says; filled by Decode and by NewPause.
	Origin, Time, Reason, Text string
}

// MaxPauseText is the longest sentence for the public, in bytes.
const MaxPauseText = 2000

// Kind is KindPause or KindResume.
func (l *Pause) Kind() Kind {
	if l.Resumed {
		return KindResume
	}
	return KindPause
}

func (l *Pause) suffix() string {
	if l.Resumed {
		return "/resume/v1"
	}
	return "/pause/v1"
}

func (l *Pause) fields(w *writer) { w.note(l.Note) }

func (l *Pause) read(r *reader) error {
	var n *log.Note
	if l.Note, n = r.note(); r.err != nil {
		return r.err
	}
	return l.readText(n.Text)
}

// AppendText appends what is signed.
func (l *Pause) AppendText(dst []byte) []byte {
	w := &writer{b: dst}
	w.b = append(w.b, l.Origin+l.suffix()+"\n"...)
	w.text("time", l.Time)
	w.text("reason", l.Reason)
	w.text("text", l.Text)
	return w.b
}

func (l *Pause) readText(text []byte) error {
	n, err := openStatement(text, l.suffix())
	if err != nil {
		return err
	}
	l.Origin, l.Time, l.Reason, l.Text = n.origin, n.text("time"), n.text("reason"), n.text("text")
	if err := n.end(); err != nil {
		return err
	}
	if t, err := time.Parse(schemas.SnapshotTimeLayout, l.Time); err != nil || t.Format(schemas.SnapshotTimeLayout) != l.Time {
		return fmt.Errorf("time: want %s", schemas.SnapshotTimeLayout)
	}
	if !schemas.ValidIdentifier(l.Reason) {
		return errors.New("reason: want an identifier")
	}
	if l.Text == "" || len(l.Text) > MaxPauseText {
		return fmt.Errorf("text: want 1 to %d bytes", MaxPauseText)
	}
	return nil
}

// Snapshot is a published snapshot: its signed note, which commits to the tree
// before this leaf.
type Snapshot struct {
	Note []byte // signed note

	Snapshot *schemas.Snapshot // what it says; filled by Decode
}

// Kind is KindSnapshot.
func (*Snapshot) Kind() Kind { return KindSnapshot }

func (l *Snapshot) fields(w *writer) { w.note(l.Note) }

func (l *Snapshot) read(r *reader) error {
	var n *log.Note
	if l.Note, n = r.note(); r.err != nil {
		return r.err
	}
	var err error
	if l.Snapshot, err = schemas.PeekSnapshot(l.Note); err != nil {
		return err
	}
	// Peeking reads up to the first empty line; what is signed goes up to the last.
	if !bytes.Equal(l.Snapshot.AppendText(nil), n.Text) {
		return errors.New("its note says more than a snapshot does")
	}
	return nil
}
