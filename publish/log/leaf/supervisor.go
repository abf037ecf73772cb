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

// Release counts a submission that was held. The supervisors' signed note is
// carried as it is; whether it says so, and whether two of them signed, is for
// the verifier to check against the roster in force at the leaf's index.
type Release struct {
	Partition schemas.Partition
	Seq       uint64 // of the release in the partition's ledger
	Unit      schemas.UnitID
	Revision  schemas.Revision
	Hold      uint64 // index of the hold's leaf in the log
	Note      []byte // signed note
}

// Kind is KindRelease.
func (*Release) Kind() Kind { return KindRelease }

func (l *Release) fields(w *writer) {
	w.place(l.Partition, l.Seq, l.Unit, l.Revision)
	w.number("hold", l.Hold)
	w.note(l.Note)
}

func (l *Release) read(r *reader) error {
	l.Partition, l.Seq, l.Unit, l.Revision = r.place()
	l.Hold = r.number("hold", 0, math.MaxInt64)
	l.Note, _ = r.note()
	return r.err
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

// Correction links the correcting submission with the one whose numbers it
// replaces. Its reason and public text stand in the submission's body, signed
// by two supervisors; the reason is repeated so that the log can be listed.
type Correction struct {
	Unit       schemas.UnitID
	Revision   schemas.Revision // of the correcting submission
	Submission uint64           // index of the correcting submission's leaf, below this one's
	Replaces   uint64           // index of the leaf whose numbers counted until then
	Reason     schemas.CorrectionReason
}

// Kind is KindCorrection.
func (*Correction) Kind() Kind { return KindCorrection }

func (l *Correction) fields(w *writer) {
	w.text("unit", string(l.Unit))
	w.text("revision", l.Revision.String())
	w.number("submission", l.Submission)
	w.number("replaces", l.Replaces)
	w.text("reason", string(l.Reason))
}

func (l *Correction) read(r *reader) error {
	l.Unit = parsed(r, "unit", schemas.ParseUnitID)
	l.Revision = parsed(r, "revision", schemas.ParseRevision)
	l.Submission = r.number("submission", 0, math.MaxInt64)
	l.Replaces = r.number("replaces", 0, math.MaxInt64)
	reason := r.text("reason")
	if r.err != nil {
		return r.err
	}
	if !schemas.ValidIdentifier(reason) {
		r.fail("reason: want an identifier")
	}
	if l.Replaces >= l.Submission {
		r.fail("replaces: want a leaf before that of the submission")
	}
	l.Reason = schemas.CorrectionReason(reason)
	return r.err
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
