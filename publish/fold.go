package publish

import (
	"bytes"
	"slices"

	"tallystream/schemas"
)

// fold counts every submission again, from its exact bytes and the ledger's
// entries alone. It is the publisher's own book: nothing of the aggregators'
// tallies flows into it. One goroutine owns it.
//
// It keeps each unit's counted row in compact form (about 0.9 KB at 30
// contests), to take it out again when a later revision comes and to write the
// files that list units. Memory grows with the election, not with the number
// of submissions.
type fold struct {
	election *schemas.Election
	rows     [][]int64 // by county
	units    []countedUnit
	touched  []schemas.CountyIndex // counties that changed since the last balance
	isOn     []bool                // membership in touched
	changed  []schemas.LogSize     // by county: log size at which a unit's row last changed
	sizes    []uint64              // entries seen, by partition
	entries  uint64                // seen in all
	log      schemas.LogSize       // size of the public log with all of them: other leaves are in it, too
	accepted uint64                // entries that are no holds: counted, superseded, released or lapsed
	held     map[schemas.HoldCode]uint64
	heldAll  uint64 // holds, those that were released since among them
	holds    holdBook
	moves    moveBook
	replaced uint64 // counted rows that another took the place of
	veil     *veil  // nil: every row is shown as it is

	// Scratch of apply.
	record     []byte
	envelope   schemas.Envelope
	submission schemas.Submission
	statement  schemas.Statement
	note       schemas.Release
	before     []schemas.Count
	row        []schemas.Count
	compact    []byte
}

// countedUnit is the row that counts for a unit. cells are never written
// again, so that an export may read them while the fold goes on.
type countedUnit struct {
	cells    []byte // schemas.AppendCells; nil before the first report
	revision schemas.Revision
	holds    bool // there are some of the unit
}

func newFold(e *schemas.Election) *fold {
	f := &fold{
		election: e,
		rows:     make([][]int64, len(e.Counties)),
		units:    make([]countedUnit, len(e.Units)),
		isOn:     make([]bool, len(e.Counties)),
		changed:  make([]schemas.LogSize, len(e.Counties)),
		sizes:    make([]uint64, e.Definition.Partitions),
		held:     make(map[schemas.HoldCode]uint64),
		holds:    newHoldBook(e.Definition.Partitions),
		moves:    newMoveBook(e),
	}
	for i := range f.rows {
		f.rows[i] = make([]int64, e.Counties[i].Cells)
	}
	return f
}

// check refuses an entry that does not follow the last one of its partition.
func (f *fold) check(entry *schemas.Entry) error {
	if int(entry.Partition) >= len(f.sizes) {
		return replayError(entry, "the election has no such partition", nil)
	}
	if want := f.sizes[entry.Partition] + 1; entry.Seq != want {
		return replayError(entry, "entries must be dense", nil)
	}
	return nil
}

// apply takes in one entry with its record's exact bytes. On an error the fold
// must not be used any more.
func (f *fold) apply(entry *schemas.Entry, record []byte) error {
	if err := f.check(entry); err != nil {
		return err
	}
	f.record = record
	if err := f.take(entry, record); err != nil {
		return err
	}
	if entry.Kind != schemas.EntryHeld {
		f.accepted++
	}
	f.sizes[entry.Partition]++
	f.entries++
	f.log++
	return nil
}

func (f *fold) take(entry *schemas.Entry, record []byte) error {
	switch entry.Kind {
	case schemas.EntryCounted:
		return f.count(entry, record)
	case schemas.EntrySuperseded:
		return nil
	case schemas.EntryHeld:
		return f.hold(entry, record)
	case schemas.EntryReleased, schemas.EntryLapsed:
		return f.release(entry, record)
	}
	return replayError(entry, "kind "+string(entry.Kind)+" is not known", nil)
}

// count takes in a submission that counts.
func (f *fold) count(entry *schemas.Entry, record []byte) error {
	if err := f.read(entry, record); err != nil {
		return err
	}
	u := f.statement.Unit
	if entry.Revision <= f.units[u].revision {
		return replayError(entry, "counts, though a later revision counts already", nil)
	}
	if f.statement.OtherDefinition {
		return replayError(entry, "counts, though it was made for another edition of the definition", nil)
	}
	kind := schemas.MovementAdjudication
	if f.statement.Correction {
		kind = schemas.MovementCorrection
	}
	return f.replace(entry, u, f.statement.Cells, kind)
}

// replace replaces the unit's row in its county by another. kind is what this is
// if a number falls by it.
func (f *fold) replace(entry *schemas.Entry, u schemas.UnitIndex, cells []schemas.Count, kind schemas.MovementKind) error {
	before, err := f.counted(u)
	if err != nil {
		return replayError(entry, "reading the row it replaces", err)
	}
	if before != nil {
		f.replaced++
		if schemas.Falls(before, cells) {
			if err := f.move(entry, u, kind, before, cells); err != nil {
				return err
			}
		}
	}
	unit, county := &f.units[u], f.election.Units[u].County
	f.election.Fold(f.rows[county], u, before, cells)
	f.compact = schemas.AppendCells(f.compact[:0], cells)
	unit.cells, unit.revision = bytes.Clone(f.compact), entry.Revision
	if unit.holds {
		f.supersede(u, entry.Revision)
	}
	f.touch(county)
	if f.veil != nil {
		moved, taken, err := f.veil.fold(entry, f.record, u, before, cells)
		if err != nil || !moved {
			return err
		}
		if taken != nil {
			f.moveRemainder(entry, taken)
		}
	}
	f.changed[county] = f.log + 1
	return nil
}

// shown are the rows by county as the public sees them.
func (f *fold) shown() [][]int64 {
	if f.veil == nil {
		return f.rows
	}
	return f.veil.shown
}

// counted expands the row that counts for a unit, nil where none does; valid
// until the next call.
func (f *fold) counted(u schemas.UnitIndex) ([]schemas.Count, error) {
	unit := &f.units[u]
	if unit.cells == nil {
		return nil, nil
	}
	n := f.election.Units[u].Style.Cells
	f.before = slices.Grow(f.before[:0], n)[:n]
	return f.before, schemas.ReadCells(unit.cells, f.before)
}

// open parses the record as the envelope that the entry speaks of.
func (f *fold) open(entry *schemas.Entry, record []byte) error {
	if err := f.envelope.Parse(record); err != nil {
		return replayError(entry, "its record is no envelope", err)
	}
	if f.envelope.Digest != entry.Digest {
		return replayError(entry, "its record has another digest", nil)
	}
	return nil
}

// read decodes the record into f.statement and checks that it is the one the
// entry speaks of. Signatures were checked before the receipt; the public
// verifier checks them again.
func (f *fold) read(entry *schemas.Entry, record []byte) error {
	if err := f.open(entry, record); err != nil {
		return err
	}
	return f.resolve(entry)
}

// resolve holds the opened envelope against the election.
func (f *fold) resolve(entry *schemas.Entry) error {
	if err := f.submission.Decode(f.envelope.Body); err != nil {
		return replayError(entry, "its body cannot be read", err)
	}
	if err := f.election.Resolve(&f.submission, &f.statement); err != nil {
		return replayError(entry, "its body does not fit the election", err)
	}
	if f.statement.Revision != entry.Revision || string(f.submission.Unit) != string(entry.Unit) {
		return replayError(entry, "its body names another unit or revision", nil)
	}
	if f.election.PartitionOf(f.statement.Unit) != entry.Partition {
		return replayError(entry, "its unit belongs to another partition", nil)
	}
	return nil
}

func (f *fold) touch(c schemas.CountyIndex) {
	if !f.isOn[c] {
		f.isOn[c] = true
		f.touched = append(f.touched, c)
	}
}

// settle empties the set of touched counties.
func (f *fold) settle() {
	for _, c := range f.touched {
		f.isOn[c] = false
	}
	f.touched = f.touched[:0]
}

// balance compares a county's own row with the ledger's.
func (f *fold) balance(c schemas.CountyIndex, tally []int64) error {
	row := f.rows[c]
	if slices.Equal(row, tally) {
		return nil
	}
	place := &f.election.Counties[c]
	e := &ImbalanceError{County: place.ID, Log: f.log}
	for i := range place.Sections {
		s := &place.Sections[i]
		from, to := int(s.Offset), int(s.Offset)+s.Size(f.election.Types())
		if len(tally) < to || !slices.Equal(row[from:to], tally[from:to]) {
			e.Contest = f.election.ContestID(s.Contest)
			break
		}
	}
	return e
}

func replayError(entry *schemas.Entry, reason string, err error) error {
	return &ReplayError{Partition: entry.Partition, Seq: entry.Seq, Reason: reason, Err: err}
}
