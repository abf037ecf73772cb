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
	Seen     []sighting
	Holds    []int    // of its partition's list
	Moved    []uint32 // movements by section of its style; nil: none
}

// tally is the count so far, made of leaves in their order. One goroutine owns
// it.
type tally struct {
	election *schemas.Election
	report   *Report

	units []unitState
	rows  [][]int64        // by county
	dirty []bool           // by county: its row changed since its document was made
	sizes []uint64         // entries seen, by partition
	moved [][]uint32       // by county: movements by section
	holds [][]heldState    // by partition, in order
	moves [][][]byte       // lines of movements, likewise
	twins []map[rowKey]int // by county: units whose counted row is the same; nil without the rule

	hidden *hidden // nil: nobody is hidden

	exporter func() *cdf.Exporter

	before []schemas.Count // scratch
	packed []byte
}

func newTally(e *schemas.Election, r *Report) *tally {
	t := &tally{
		election: e, report: r, units: make([]unitState, len(e.Units)), rows: make([][]int64, len(e.Counties)),
		dirty: make([]bool, len(e.Counties)), sizes: make([]uint64, e.Definition.Partitions),
		moved: make([][]uint32, len(e.Counties)), holds: make([][]heldState, e.Definition.Partitions), moves: make([][][]byte, e.Definition.Partitions),
	}
	if rules := e.Definition.Rules.Outliers; rules != nil && rules.Twins != nil {
		t.twins = make([]map[rowKey]int, len(e.Counties))
	}
	t.hidden = newHidden(e)
	t.exporter = sync.OnceValue(func() *cdf.Exporter { return cdf.NewExporter(e) })
	for i := range t.rows {
		t.rows[i], t.dirty[i] = make([]int64, e.Counties[i].Cells), true
		t.moved[i] = make([]uint32, len(e.Counties[i].Sections))
	}
	return t
}

// take counts one entry.
func (t *tally) take(index int64, x *reading) {
	where := fmt.Sprintf("leaf %d", index)
	if !t.follows(where, x.place) {
		return
	}
	t.checkSealing(where, x)
	if x.outcome.kind == schemas.EntryHeld && x.addressed != (x.revision != 0) {
		t.report.find(CheckLeaf, where, "the hold names a unit and its record does not, or the other way round")
	}
	want := t.judge(where, x)
	t.compare(where, x, want)
	if x.unsigned != nil && x.outcome.hold != schemas.HoldPoison {
		t.report.find(CheckSignature, where, "unit %s revision %d: %s", t.election.Units[x.unit].ID, x.revision, x.unsigned.Want)
	}
	t.tell(x.outcome)
	t.apply(x, want)
}

// follows reports whether an entry has a place in the ledgers, and finds what is
// wrong with it.
func (t *tally) follows(where string, at place) bool {
	if int(at.partition) >= len(t.sizes) {
		t.report.find(CheckLeaf, where, "the election has no partition %d", at.partition)
		return false
	}
	if want := t.sizes[at.partition] + 1; at.seq != want {
		t.report.find(CheckLeaf, where, "it is entry %d of partition %d, want %d: entries are missing, repeated or out of order", at.seq, at.partition, want)
	}
	t.sizes[at.partition] = at.seq
	return true
}

// tell counts what became of an entry.
func (t *tally) tell(outcome verdict) {
	switch outcome.kind {
	case schemas.EntryCounted:
		t.report.Counted++
	case schemas.EntrySuperseded:
		t.report.Superseded++
	case schemas.EntryReleased:
		t.report.Released++
	case schemas.EntryLapsed:
		t.report.Lapsed++
	default:
		t.report.Held[outcome.hold]++
	}
}

// apply lets the sums follow the rules: what counts against them is a finding,
// and then a difference in every document that it is in.
func (t *tally) apply(x *reading, want verdict) {
	believed := x.outcome.kind == schemas.EntryHeld && !isRuled(x.outcome.hold)
	switch {
	case want.hold == "" && want.of != nil:
		t.settle(x, want)
	case want.kind == schemas.EntryCounted && !believed:
		kind := schemas.MovementAdjudication
		if x.correction != nil {
			kind = schemas.MovementCorrection
		}
		t.replace(x, x.revision, x.cells, kind)
	}
	if x.outcome.kind == schemas.EntryHeld {
		t.hold(x, want)
	}
	if x.addressed && x.revision != 0 && x.release == nil {
		u := &t.units[x.unit]
		u.Seen = append(u.Seen, sighting{x.revision, [16]byte(x.digest[:16])})
	}
}

// judge says what the rules make of an entry.
func (t *tally) judge(where string, x *reading) verdict {
	if !x.addressed {
		return held(schemas.HoldPoison)
	}
	if x.release != nil {
		return t.judgeRelease(where, x)
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
	case x.own != "":
		return held(x.own)
	}
	if x.correction != nil {
		return verdict{kind: schemas.EntryCounted}
	}
	return t.judgeBeside(x)
}

// judgeBeside holds an ordinary submission against what counts already: of its
// unit, and of the county.
func (t *tally) judgeBeside(x *reading) verdict {
	var before []schemas.Count
	if t.units[x.unit].Revision != 0 {
		before = t.counted(x.unit)
		if code := lowered(t.election, x.unit, before, x.cells); code != "" {
			return held(code)
		}
	}
	if t.hasTwin(x.unit, x.cells) {
		return held(schemas.HoldTwin)
	}
	if outlier(t.election, x.unit, t.rows[t.election.Units[x.unit].County], before, x.cells) != nil {
		return held(schemas.HoldOutlier)
	}
	return verdict{kind: schemas.EntryCounted}
}

// compare holds the log's word against the rules'.
func (t *tally) compare(where string, x *reading, want verdict) {
	if x.outcome.kind == want.kind && x.outcome.hold == want.hold && (want.of == nil || want.of.Seq == x.held) {
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
	if want.of != nil && want.of.Seq != x.held {
		why = fmt.Sprintf(", of entry %d, not %d%s", want.of.Seq, x.held, why)
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

// replace makes cells what counts for the unit of an entry. kind is what the
// entry is if a number falls by it.
func (t *tally) replace(x *reading, revision schemas.Revision, cells []schemas.Count, kind schemas.MovementKind) {
	u := &t.units[x.unit]
	if !t.hides(x.unit) {
		if u.Revision != 0 {
			before := t.counted(x.unit)
			t.recordFalls(x, revision, before, cells, kind)
			t.add(x.unit, before, -1)
			t.countRow(x.unit, before, -1)
		}
		t.add(x.unit, cells, 1)
		t.countRow(x.unit, cells, 1)
	}
	t.packed = schemas.AppendCells(t.packed[:0], cells)
	u.Cells, u.Revision = slices.Clone(t.packed), revision
	t.supersede(x.unit)
	if t.hides(x.unit) {
		t.stateOpened(x, revision)
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
