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
	accepted uint64                // counted or superseded
	held     map[schemas.HoldCode]uint64
	heldAll  uint64
	replaced uint64 // counted rows that a later revision took the place of

	// Scratch of apply.
	envelope   schemas.Envelope
	submission schemas.Submission
	statement  schemas.Statement
	before     []schemas.Count
	compact    []byte
}

// countedUnit is the row that counts for a unit. cells are never written
// again, so that an export may read them while the fold goes on.
type countedUnit struct {
	cells    []byte // schemas.AppendCells; nil before the first report
	revision schemas.Revision
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
	switch entry.Kind {
	case schemas.EntryCounted:
		if err := f.count(entry, record); err != nil {
			return err
		}
		f.accepted++
	case schemas.EntrySuperseded:
		f.accepted++
	case schemas.EntryHeld:
		f.held[entry.Hold]++
		f.heldAll++
	default:
		return replayError(entry, "kind "+string(entry.Kind)+" is not known", nil)
	}
	f.sizes[entry.Partition]++
	f.entries++
	f.log++
	return nil
}

// count replaces the unit's row in its county by the submission's.
func (f *fold) count(entry *schemas.Entry, record []byte) error {
	if err := f.read(entry, record); err != nil {
		return err
	}
	u := f.statement.Unit
	unit := &f.units[u]
	if entry.Revision <= unit.revision {
		return replayError(entry, "counts, though a later revision counts already", nil)
	}
	var before []schemas.Count
	if unit.cells != nil {
		f.before = slices.Grow(f.before[:0], len(f.statement.Cells))[:len(f.statement.Cells)]
		if err := schemas.ReadCells(unit.cells, f.before); err != nil {
			return replayError(entry, "reading the row it replaces", err)
		}
		before = f.before
		f.replaced++
	}
	county := f.election.Units[u].County
	f.election.Fold(f.rows[county], u, before, f.statement.Cells)
	f.compact = schemas.AppendCells(f.compact[:0], f.statement.Cells)
	unit.cells, unit.revision = bytes.Clone(f.compact), entry.Revision
	f.touch(county)
	f.changed[county] = f.log + 1
	return nil
}

// read decodes the record into f.statement and checks that it is the one the
// entry speaks of. Signatures were checked before the receipt; the public
// verifier checks them again.
func (f *fold) read(entry *schemas.Entry, record []byte) error {
	if err := f.envelope.Parse(record); err != nil {
		return replayError(entry, "its record is no envelope", err)
	}
	if f.envelope.Digest != entry.Digest {
		return replayError(entry, "its record has another digest", nil)
	}
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
