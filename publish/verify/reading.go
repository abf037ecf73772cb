package verify

import (
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// reading is one leaf as far as it can be read by itself: beside the others, on
// any core. What depends on the leaves before it is left to the count.
type reading struct {
	hash tlog.Hash
	err  error     // it is no leaf
	leaf leaf.Leaf // nil where err is set

	sealed   *leaf.Sealed // the leaf, where it was opened; then inside is what it commits to
	inside   leaf.Leaf
	unopened error // it could not be, though there are openings

	// Of an entry of a ledger: a submission, a hold or a release.
	entry    bool
	outcome  verdict
	place    place
	revision schemas.Revision // of the leaf; 0: names no unit
	digest   schemas.Digest
	record   bool   // its bytes are in the log
	held     uint64 // of a release: the entry that it names

	release    *schemas.Release // its record is one; then revision and digest are those of a hold
	addressed  bool             // the record names this unit of this election, in its partition
	unit       schemas.UnitIndex
	poison     string // why it cannot be counted, "" where it can
	cells      []schemas.Count
	correction *schemas.Correction
	own        schemas.HoldCode // the hold that its own numbers ask for

	ring     *schemas.Keyring    // that its signatures were held against
	unsigned *schemas.FieldError // what is wrong with them
}

// place is where an entry stands in the ledgers.
type place struct {
	partition schemas.Partition
	seq       uint64
}

// readings are those of a bundle.
type readings struct {
	first    int64
	readings []reading
}

// reader reads leaves. Its goroutine owns it.
type reader struct {
	election   *schemas.Election
	ring       *schemas.Keyring
	openings   *suppress.Openings // nil: sealed leaves stay sealed
	submission schemas.Submission
	statement  schemas.Statement
}

// read reads a bundle. All rows of counts share one piece of memory.
func (r *reader) read(b log.Bundle) readings {
	out := readings{first: b.First, readings: make([]reading, len(b.Leaves))}
	var room []schemas.Count
	for i, raw := range b.Leaves {
		x := &out.readings[i]
		x.hash = tlog.RecordHash(raw)
		if x.leaf, x.err = leaf.Decode(raw); x.err != nil || r.election == nil {
			continue
		}
		of := x.leaf
		if sealed, ok := of.(*leaf.Sealed); ok {
			of = r.unseal(x, sealed)
		}
		switch l := of.(type) {
		case *leaf.Submission:
			x.entry, x.outcome, x.place = true, verdict{kind: l.Outcome}, place{l.Partition, l.Seq}
			x.revision, x.digest, x.record = l.Revision, l.Envelope.Digest, true
			r.open(x, &l.Envelope)
		case *leaf.Hold:
			x.entry, x.outcome, x.place = true, held(l.Code), place{l.Partition, l.Seq}
			x.revision, x.digest, x.record = l.Revision, l.Digest, l.Bytes <= leaf.MaxPayload
			r.openHold(x, l)
		case *leaf.Release:
			x.entry, x.outcome, x.place = true, verdict{kind: l.Outcome}, place{l.Partition, l.Seq}
			x.revision, x.digest, x.record, x.held = l.Revision, l.Release.Digest, true, l.Hold
			r.openRelease(x, &l.Release)
		}
		if x.cells != nil {
			if cap(room)-len(room) < len(x.cells) {
				room = make([]schemas.Count, 0, max(len(x.cells), (len(b.Leaves)-i)*len(x.cells)))
			}
			at := len(room)
			room = append(room, x.cells...)
			x.cells = room[at:len(room):len(room)]
		}
	}
	return out
}

func (r *reader) openHold(x *reading, l *leaf.Hold) {
	if !x.record {
		x.poison = "its record is too long for the log"
		return
	}
	if schemas.IsRelease(l.Record) {
		note := new(schemas.Release)
		if err := note.Parse(l.Record); err != nil {
			x.poison = err.Error()
			return
		}
		r.openRelease(x, note)
		return
	}
	var v schemas.Envelope
	if err := v.Parse(l.Record); err != nil {
		x.poison = err.Error()
		return
	}
	r.open(x, &v)
}

// openRelease holds a release against the election: whose hold it names, and
// who signed it.
func (r *reader) openRelease(x *reading, l *schemas.Release) {
	if !r.address(x, l.Origin, l.Unit) {
		return
	}
	if len(l.Signatures()) < 2 { // then it is nobody's
		x.addressed, x.poison = false, "it has fewer signatures than it needs"
		return
	}
	x.release, x.ring = l, r.ring
	x.unsigned = r.ring.AuthorizeRelease(r.election, l, x.unit)
}

// address finds the unit of a record, which must be of this election and
// partition.
func (r *reader) address(x *reading, origin, unit []byte) bool {
	e := r.election
	if string(origin) != e.Definition.Origin {
		x.poison = fmt.Sprintf("it is for %q", origin)
		return false
	}
	var ok bool
	if x.unit, ok = e.Unit(schemas.UnitID(unit)); !ok {
		x.poison = fmt.Sprintf("%q is no unit of this election", unit)
		return false
	}
	if p := e.PartitionOf(x.unit); p != x.place.partition {
		x.poison = fmt.Sprintf("its unit belongs to partition %d", p)
		return false
	}
	x.addressed = true
	return true
}

// open holds an envelope against the election: whose it is, what it counts, and
// who signed it.
func (r *reader) open(x *reading, v *schemas.Envelope) {
	if !r.address(x, v.Origin, v.Unit) {
		return
	}
	x.poison = r.count(x, v)
	x.ring = r.ring
	x.unsigned = authorize(r.election, r.ring, x, v)
}

func authorize(e *schemas.Election, ring *schemas.Keyring, x *reading, v *schemas.Envelope) *schemas.FieldError {
	return ring.Authorize(e, v, x.unit, x.correction != nil)
}

// count reads the body; it returns why it cannot be counted.
func (r *reader) count(x *reading, v *schemas.Envelope) (poison string) {
	if err := r.submission.Decode(v.Body); err != nil {
		return "its body: " + err.Error()
	}
	if c := r.submission.Correction; c != nil {
		own := *c
		x.correction = &own
	}
	if err := r.election.Resolve(&r.submission, &r.statement); err != nil {
		return "its body: " + err.Error()
	}
	if r.statement.Unit != x.unit || r.statement.Revision != v.Revision {
		return "its body names another unit or revision than its note"
	}
	need := r.election.Definition.Signatures
	if x.correction != nil {
		need = 2
	}
	if len(v.Signatures()) < need {
		return "it has fewer signatures than it needs"
	}
	x.cells = r.statement.Cells // moved out by read
	if x.own = implausible(r.election, &r.statement); string(r.submission.Definition) != r.election.Hash.String() {
		x.own = schemas.HoldDefinition
	}
	return ""
}

// verdict is what becomes of a submission or a release.
type verdict struct {
	kind schemas.EntryKind
	hold schemas.HoldCode
	of   *heldState // the hold that a release ends
}

func held(code schemas.HoldCode) verdict { return verdict{kind: schemas.EntryHeld, hold: code} }

func (v verdict) String() string {
	if v.hold != "" {
		return string(v.kind) + " (" + string(v.hold) + ")"
	}
	return string(v.kind)
}

// ruled are the holds that follow from the log alone. Others rest on facts or
// settings that are not in it.
var ruled = []schemas.HoldCode{
	schemas.HoldDefinition, schemas.HoldIdentity, schemas.HoldRegistered, schemas.HoldLowered, schemas.HoldMissing, schemas.HoldTwin, schemas.HoldOutlier,
	schemas.HoldConflict, schemas.HoldRelease, schemas.HoldPoison,
}

func isRuled(code schemas.HoldCode) bool { return slices.Contains(ruled, code) }

// implausible returns the first identity that a statement breaks, or "". It is
// written from the rules' words, not from the pipeline's code.
func implausible(e *schemas.Election, st *schemas.Statement) schemas.HoldCode {
	d := e.Definition
	if !d.Rules.Ballots {
		return ""
	}
	types, unit := len(d.CountTypes), &e.Units[st.Unit]
	cast := int64(0)
	for t := range types {
		cast += int64(st.Cells[1+t])
	}
	if d.Rules.Registered && unit.Registered > 0 && cast > int64(unit.Registered) {
		return schemas.HoldRegistered
	}
	for _, s := range unit.Style.Sections {
		if s.Contest == schemas.BallotsIndex || st.Cells[s.Offset] == 0 {
			continue
		}
		contest := &d.Contests[s.Contest]
		if contest.Residuals == schemas.ResidualsNone {
			continue
		}
		all := int64(0)
		rows := len(contest.Selections) + 2
		for t := range types {
			marks := int64(0)
			for k := range rows {
				marks += int64(st.Cells[int(s.Offset)+1+k*types+t])
			}
			over := marks - int64(st.Cells[1+t])*int64(contest.VotesAllowed)
			if over != 0 && contest.Residuals == schemas.ResidualsByType {
				return schemas.HoldIdentity
			}
			all += over
		}
		if all != 0 {
			return schemas.HoldIdentity
		}
	}
	return ""
}

// lowered compares with the row that counts so far: a contest that is missing
// says more than a lower count; undervotes and overvotes may fall.
func lowered(e *schemas.Election, unit schemas.UnitIndex, before, after []schemas.Count) schemas.HoldCode {
	types := len(e.Definition.CountTypes)
	fell := false
	for _, s := range e.Units[unit].Style.Sections {
		at := int(s.Offset)
		if before[at] == 1 && after[at] == 0 {
			return schemas.HoldMissing
		}
		for k := at + 1; k < at+1+int(s.Selections)*types; k++ {
			fell = fell || after[k] < before[k]
		}
	}
	if fell {
		return schemas.HoldLowered
	}
	return ""
}
