package verify

import (
	"fmt"
	"slices"
	"sync"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

// sighting is one entry of a unit: what a later one of the same revision is
// held against. Half a digest tells two apart.
type sighting struct {
	Revision schemas.Revision
	Digest   [16]byte
}

// unitState is what is remembered of a unit.
type unitState struct {
	Revision schemas.Revision // that counts; 0: none
	Cells    []byte           // its row
	At       int64            // its leaf
	Before   int64            // the leaf that counted before; -1: none
	Reason   schemas.CorrectionReason
	Seen     []sighting
}

// tally is the count so far, made of leaves in their order. One goroutine owns
// it.
type tally struct {
	election *schemas.Election
	report   *Report

	units []unitState
	rows  [][]int64 // by county
	dirty []bool    // by county: its row changed since its document was made
	sizes []uint64  // entries seen, by partition

	exporter func() *cdf.Exporter

	before []schemas.Count // scratch
	packed []byte
}

func newTally(e *schemas.Election, r *Report) *tally {
	t := &tally{
		election: e, report: r, units: make([]unitState, len(e.Units)), rows: make([][]int64, len(e.Counties)),
		dirty: make([]bool, len(e.Counties)), sizes: make([]uint64, e.Definition.Partitions),
	}
	t.exporter = sync.OnceValue(func() *cdf.Exporter { return cdf.NewExporter(e) })
	for i := range t.rows {
		t.rows[i], t.dirty[i] = make([]int64, e.Counties[i].Cells), true
	}
	return t
}

// take counts one entry.
func (t *tally) take(index int64, x *reading) {
	where := fmt.Sprintf("leaf %d", index)
	if int(x.place.partition) >= len(t.sizes) {
		t.report.find(CheckLeaf, where, "the election has no partition %d", x.place.partition)
		return
	}
	if want := t.sizes[x.place.partition] + 1; x.place.seq != want {
		t.report.find(CheckLeaf, where, "it is entry %d of partition %d, want %d: entries are missing, repeated or out of order",
			x.place.seq, x.place.partition, want)
	}
	t.sizes[x.place.partition] = x.place.seq
	if x.outcome.kind == schemas.EntryHeld && x.addressed != (x.revision != 0) {
		t.report.find(CheckLeaf, where, "the hold names a unit and its record does not, or the other way round")
	}
	want := t.judge(where, x)
	t.compare(where, x, want)
	if x.unsigned != nil && x.outcome.hold != schemas.HoldPoison {
		t.report.find(CheckSignature, where, "unit %s revision %d: %s", t.election.Units[x.unit].ID, x.revision, x.unsigned.Want)
	}
	switch x.outcome.kind {
	case schemas.EntryCounted:
		t.report.Counted++
	case schemas.EntrySuperseded:
		t.report.Superseded++
	default:
		t.report.Held[x.outcome.hold]++
	}
	// The sums follow the rules: what counts against them is a finding, and then
	// a difference in every document that it is in.
	if want.kind == schemas.EntryCounted && (x.outcome.kind == schemas.EntryCounted || isRuled(x.outcome.hold)) {
		t.replace(index, x)
	}
	if x.addressed && x.revision != 0 {
		u := &t.units[x.unit]
		u.Seen = append(u.Seen, sighting{x.revision, [16]byte(x.digest[:16])})
	}
}

// judge says what the rules make of an entry.
func (t *tally) judge(where string, x *reading) verdict {
	if !x.addressed {
		return held(schemas.HoldPoison)
	}
	u := &t.units[x.unit]
	for i := range u.Seen {
		if u.Seen[i].Revision != x.revision {
			continue
		}
		if slices.ContainsFunc(u.Seen, func(s sighting) bool {
			return s.Revision == x.revision && s.Digest == [16]byte(x.digest[:16])
		}) {
			t.report.find(CheckDecision, where, "unit %s revision %d has a leaf before this one: it must stand in the log once",
				t.election.Units[x.unit].ID, x.revision)
		}
		return held(schemas.HoldConflict)
	}
	switch {
	case x.poison != "":
		return held(schemas.HoldPoison)
	case x.revision < u.Revision:
		return verdict{kind: schemas.EntrySuperseded}
	case x.hold != "":
		return held(x.hold)
	}
	if u.Revision != 0 && x.correction == nil {
		if code := lowered(t.election, x.unit, t.counted(x.unit), x.cells); code != "" {
			return held(code)
		}
	}
	return verdict{kind: schemas.EntryCounted}
}

// compare holds the log's word against the rules'.
func (t *tally) compare(where string, x *reading, want verdict) {
	if x.outcome == want {
		return
	}
	if x.outcome.kind == schemas.EntryHeld && !isRuled(x.outcome.hold) {
		return // counted in the report by its code
	}
	why := ""
	if x.poison != "" {
		why = ": " + x.poison
	}
	unit := "an unknown unit"
	if x.addressed {
		unit = fmt.Sprintf("unit %s revision %d", t.election.Units[x.unit].ID, x.revision)
	}
	t.report.find(CheckDecision, where, "%s is %s in the log, by the rules it is %s%s", unit, x.outcome, want, why)
}

// counted expands the row that counts for a unit; valid until the next call.
func (t *tally) counted(u schemas.UnitIndex) []schemas.Count {
	t.before = t.expand(t.before, u)
	return t.before
}

// expand expands the row that counts for a unit into room, or into more.
func (t *tally) expand(room []schemas.Count, u schemas.UnitIndex) []schemas.Count {
	n := t.election.Units[u].Style.Cells
	room = slices.Grow(room[:0], n)[:n]
	if schemas.ReadCells(t.units[u].Cells, room) != nil {
		clear(room) // a state that was edited: every document will differ
	}
	return room
}

// replace makes the reading what counts for its unit.
func (t *tally) replace(index int64, x *reading) {
	u := &t.units[x.unit]
	if u.Before = -1; u.Revision != 0 {
		t.add(x.unit, t.counted(x.unit), -1)
		u.Before = u.At
	}
	t.add(x.unit, x.cells, 1)
	t.packed = schemas.AppendCells(t.packed[:0], x.cells)
	u.Cells, u.Revision, u.At, u.Reason = slices.Clone(t.packed), x.revision, index, ""
	if x.correction != nil {
		u.Reason = x.correction.Reason
	}
}

// add adds a unit's row to its county's, sign times.
func (t *tally) add(unit schemas.UnitIndex, cells []schemas.Count, sign int64) {
	u := &t.election.Units[unit]
	row := t.rows[u.County]
	types := len(t.election.Definition.CountTypes)
	for i := range u.Style.Sections {
		s := &u.Style.Sections[i]
		to := row[u.Offsets[i]:]
		for k, n := range cells[s.Offset:][:s.Size(types)] {
			to[k] += sign * int64(n)
		}
	}
	t.dirty[u.County] = true
}
