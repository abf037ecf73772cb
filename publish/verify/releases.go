package verify

import (
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// heldState is an entry that is or was held. Its row is kept while a release
// could make it count: never below a unit's counted revision, which never falls.
type heldState struct {
	Seq      uint64
	Unit     schemas.UnitIndex // -1: it names none
	Revision schemas.Revision
	Digest   schemas.Digest
	Code     schemas.HoldCode
	State    schemas.HoldState
	Cells    []byte // nil: it states no numbers, or they cannot count any more
	Finding  *schemas.OutlierFinding
	Twin     schemas.UnitID
}

// hold remembers what is held, and by which figures where the rules agree.
func (t *tally) hold(x *reading, want verdict) {
	h := heldState{Seq: x.place.seq, Unit: -1, Revision: x.revision, Digest: x.digest, Code: x.outcome.hold, State: schemas.HoldOpen}
	p := x.place.partition
	if x.addressed && x.revision != 0 {
		u := &t.units[x.unit]
		h.Unit = x.unit
		u.Holds = append(u.Holds, len(t.holds[p]))
		if x.revision < u.Revision {
			h.State = schemas.HoldSuperseded
		} else if x.release == nil && releasable(h.Code) && x.poison == "" {
			h.Cells = schemas.AppendCells(nil, x.cells)
		}
		if x.outcome == want {
			t.explain(&h, x)
		}
	}
	t.holds[p] = append(t.holds[p], h)
}

// releasable: two supervisors may let it count; the others state no numbers
// that could.
func releasable(code schemas.HoldCode) bool {
	return code != schemas.HoldPoison && code != schemas.HoldRelease
}

// explain finds the figures of the rules that compare with others.
func (t *tally) explain(h *heldState, x *reading) {
	switch h.Code {
	case schemas.HoldTwin:
		h.Twin = t.twinOf(x.unit, x.cells)
	case schemas.HoldOutlier:
		var before []schemas.Count
		if t.units[x.unit].Revision != 0 {
			before = t.counted(x.unit)
		}
		h.Finding = outlier(t.election, x.unit, t.rows[t.election.Units[x.unit].County], before, x.cells)
	}
}

// judgeRelease looks for the hold that a release names. It counts unless a later
// revision counts already.
func (t *tally) judgeRelease(where string, x *reading) verdict {
	u, p := &t.units[x.unit], x.place.partition
	for _, i := range u.Holds {
		h := &t.holds[p][i]
		if h.Revision != x.revision || h.Digest != x.digest || !releasable(h.Code) {
			continue
		}
		switch {
		case h.State == schemas.HoldReleased || h.State == schemas.HoldLapsed:
			t.report.find(CheckDecision, where, "unit %s revision %d was released before: its release must stand in the log once",
				t.election.Units[x.unit].ID, x.revision)
			return verdict{kind: x.outcome.kind, hold: x.outcome.hold}
		case h.Revision < u.Revision:
			return verdict{kind: schemas.EntryLapsed, of: h}
		case h.Cells == nil:
			return held(schemas.HoldRelease)
		}
		return verdict{kind: schemas.EntryReleased, of: h}
	}
	return held(schemas.HoldRelease)
}

// settle ends a hold.
func (t *tally) settle(x *reading, want verdict) {
	h := want.of
	if want.kind == schemas.EntryLapsed {
		h.State = schemas.HoldLapsed
		return
	}
	cells := make([]schemas.Count, t.election.Units[h.Unit].Style.Cells)
	if schemas.ReadCells(h.Cells, cells) != nil {
		clear(cells) // a state that was edited: every document will differ
	}
	h.State, h.Cells = schemas.HoldReleased, nil
	t.replace(x, h.Revision, cells, schemas.MovementRelease)
}

// supersede closes the unit's holds that a later revision took the place of.
func (t *tally) supersede(unit schemas.UnitIndex) {
	u, p := &t.units[unit], t.election.PartitionOf(unit)
	for _, i := range u.Holds {
		if h := &t.holds[p][i]; h.Revision < u.Revision {
			if h.Cells = nil; h.State == schemas.HoldOpen {
				h.State = schemas.HoldSuperseded
			}
		}
	}
}

// open counts holds by reason that change no number and still could.
func (t *tally) open() map[schemas.HoldCode]uint64 {
	out := map[schemas.HoldCode]uint64{}
	for _, holds := range t.holds {
		for i := range holds {
			if holds[i].State == schemas.HoldOpen {
				out[holds[i].Code]++
			}
		}
	}
	return out
}

// movements counts the entries that lowered a number.
func (t *tally) movements() (n uint64) {
	for _, lines := range t.moves {
		n += uint64(len(lines))
	}
	return n
}

// holdsFile is what the public list of holds must say.
func (t *tally) holdsFile() (out []byte) {
	e := t.election
	for p, holds := range t.holds {
		for i := range holds {
			h := &holds[i]
			line := schemas.HeldEntry{
				Code: h.Code, Why: h.Code.Explanation(), Digest: h.Digest, Partition: schemas.Partition(p), Seq: h.Seq, State: h.State, Finding: h.Finding, Twin: h.Twin,
			}
			if t.hidden != nil && (h.Unit < 0 || t.hides(h.Unit)) {
				line.Digest, line.Finding, line.Twin = schemas.Digest{}, nil, ""
			}
			if h.Unit >= 0 {
				line.Unit, line.County, line.Revision = e.Units[h.Unit].ID, e.Counties[e.Units[h.Unit].County].ID, h.Revision
			}
			out = line.AppendLine(out)
		}
	}
	return out
}

// correctionsFile is what the public list of movements must say.
func (t *tally) correctionsFile() (out []byte) {
	for _, lines := range t.moves {
		for _, line := range lines {
			out = append(out, line...)
		}
	}
	return out
}

// recordFalls records a movement, if an entry lowers a number of its unit.
func (t *tally) recordFalls(x *reading, revision schemas.Revision, before, after []schemas.Count, kind schemas.MovementKind) {
	e := t.election
	place, types := &e.Units[x.unit], len(e.Definition.CountTypes)
	var changes []schemas.Fall
	for i := range place.Style.Sections {
		s := &place.Style.Sections[i]
		known := len(changes)
		for k := range s.Size(types) {
			was, is := before[int(s.Offset)+k], after[int(s.Offset)+k]
			switch {
			case is >= was:
			case k == 0:
				changes = append(changes, schemas.Fall{Contest: e.ContestID(s.Contest), Selection: "reporting", Before: was, After: is})
			default:
				changes = append(changes, schemas.Fall{Contest: e.ContestID(s.Contest), Selection: t.selection(s, (k-1)/types),
					CountType: e.Definition.CountTypes[(k-1)%types], Before: was, After: is})
			}
		}
		if len(changes) > known {
			t.moved[place.County][place.CountySections[i]]++
			t.unitMoved(x.unit)[i]++
		}
	}
	if len(changes) == 0 {
		return
	}
	m := schemas.Movement{
		Unit: place.ID, County: e.Counties[place.County].ID, Revision: revision, Replaces: t.units[x.unit].Revision, Kind: kind,
		Signers: namesOf(signatures(x)), Partition: x.place.partition, Seq: x.place.seq, Changes: changes,
	}
	switch {
	case kind == schemas.MovementRelease:
		m.Reason, m.Text = string(x.release.Reason), string(x.release.Public)
	case x.correction != nil:
		m.Reason, m.Text = string(x.correction.Reason), x.correction.Text
	}
	t.moves[x.place.partition] = append(t.moves[x.place.partition], m.AppendLine(nil))
}

// unitMoved are the movements of a unit, by section of its style.
func (t *tally) unitMoved(u schemas.UnitIndex) []uint32 {
	if t.units[u].Moved == nil {
		t.units[u].Moved = make([]uint32, len(t.election.Units[u].Style.Sections))
	}
	return t.units[u].Moved
}

// signatures are the signature lines of an entry's record.
func signatures(x *reading) []schemas.Signature {
	if x.release != nil {
		return x.release.Signatures()
	}
	of := x.leaf
	if x.inside != nil {
		of = x.inside
	}
	switch l := of.(type) {
	case *leaf.Submission:
		return l.Envelope.Signatures()
	case *leaf.Hold: // that counts by the rules, against the log's word
		v := new(schemas.Envelope)
		if v.Parse(l.Record) == nil {
			return v.Signatures()
		}
	}
	return nil
}

// namesOf lists the names on signature lines, each once.
func namesOf(lines []schemas.Signature) []string {
	seen, out := map[string]bool{}, []string{}
	for i := range lines {
		if name := string(lines[i].Name); !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}
