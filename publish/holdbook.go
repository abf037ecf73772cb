package publish

import (
	"bytes"

	"tallystream/schemas"
)

// holdBook is what the fold knows of everything that is held, by partition in
// the order of their entries. The fold's goroutine owns it.
type holdBook struct {
	entries [][]*heldEntry                     // by partition
	ofUnit  map[schemas.UnitIndex][]*heldEntry // in the same order
	open    map[schemas.HoldCode]uint64        // neither released, lapsed nor superseded
	changes uint64                             // new holds and ends of holds, so far
}

// heldEntry is one hold. Its row is kept only while a release could make it
// count: a unit's counted revision never falls, so once that is above the
// hold's, a release can only lapse.
type heldEntry struct {
	seq      uint64
	unit     schemas.UnitIndex // noUnit for poison that names none
	revision schemas.Revision
	digest   schemas.Digest
	code     schemas.HoldCode
	county   schemas.CountyIndex // -1 with noUnit
	state    schemas.HoldState
	cells    []byte                  // schemas.AppendCells; nil where nothing can be released
	finding  *schemas.OutlierFinding // of an outlier
	twin     schemas.UnitID          // of what is the same as another
	line     []byte                  // of the public file; another one with each state
}

// noUnit stands where a hold names none.
const noUnit schemas.UnitIndex = -1

func newHoldBook(partitions int) holdBook {
	return holdBook{
		entries: make([][]*heldEntry, partitions), ofUnit: make(map[schemas.UnitIndex][]*heldEntry), open: make(map[schemas.HoldCode]uint64),
	}
}

func (b *holdBook) add(p schemas.Partition, h *heldEntry) {
	b.entries[p] = append(b.entries[p], h)
	if h.unit != noUnit {
		b.ofUnit[h.unit] = append(b.ofUnit[h.unit], h)
	}
	if h.state == schemas.HoldOpen {
		b.open[h.code]++
	}
	b.changes++
}

// find returns the unit's hold of a sequence number, or nil.
func (b *holdBook) find(u schemas.UnitIndex, seq uint64) *heldEntry {
	for _, h := range b.ofUnit[u] {
		if h.seq == seq {
			return h
		}
	}
	return nil
}

// settleHold ends a hold: its row is not needed any more.
func (f *fold) settleHold(p schemas.Partition, h *heldEntry, state schemas.HoldState) {
	if h.state == schemas.HoldOpen {
		f.holds.open[h.code]--
	}
	f.holds.changes++
	h.state, h.cells = state, nil
	h.line = f.holdLine(p, h)
}

// supersede closes the unit's holds below the revision that counts now.
func (f *fold) supersede(u schemas.UnitIndex, counted schemas.Revision) {
	for _, h := range f.holds.ofUnit[u] {
		if h.revision < counted && h.state == schemas.HoldOpen {
			f.settleHold(f.election.PartitionOf(u), h, schemas.HoldSuperseded)
		}
	}
}

// holdLine is the hold's line in the public file.
func (f *fold) holdLine(p schemas.Partition, h *heldEntry) []byte {
	line := schemas.HeldEntry{
		Code: h.code, Why: h.code.Explanation(), Digest: h.digest, Partition: p, Seq: h.seq, State: h.state, Finding: h.finding, Twin: h.twin,
	}
	if f.veil != nil && (h.unit == noUnit || f.veil.hides(h.unit)) { // its leaf is sealed: nothing of its contents is told
		line.Digest, line.Finding, line.Twin = schemas.Digest{}, nil, ""
	}
	if h.unit != noUnit {
		line.Unit, line.County, line.Revision = f.election.Units[h.unit].ID, f.election.Counties[h.county].ID, h.revision
	}
	return line.AppendLine(nil)
}

// hold takes in an entry that is held.
func (f *fold) hold(entry *schemas.Entry, record []byte) error {
	h := &heldEntry{seq: entry.Seq, unit: noUnit, county: -1, revision: entry.Revision, digest: entry.Digest, code: entry.Hold, state: schemas.HoldOpen}
	if entry.Unit != "" {
		u, ok := f.election.Unit(entry.Unit)
		if !ok || f.election.PartitionOf(u) != entry.Partition {
			return replayError(entry, "holds what is no unit of its partition", nil)
		}
		h.unit, h.county = u, f.election.Units[u].County
	}
	if err := f.keepRow(h, entry, record); err != nil {
		return err
	}
	if h.unit != noUnit {
		unit := &f.units[h.unit]
		unit.holds = true
		if h.revision < unit.revision {
			h.state, h.cells = schemas.HoldSuperseded, nil
		}
	}
	h.line = f.holdLine(entry.Partition, h)
	f.holds.add(entry.Partition, h)
	f.held[entry.Hold]++
	f.heldAll++
	return nil
}

// keepRow reads the row that a release of the hold would make count.
func (f *fold) keepRow(h *heldEntry, entry *schemas.Entry, record []byte) error {
	if !entry.Hold.Releasable() {
		return nil
	}
	if h.unit == noUnit {
		return replayError(entry, "holds no unit's submission", nil)
	}
	if err := f.open(entry, record); err != nil {
		return err
	}
	if err := f.resolve(entry); err != nil {
		if entry.Hold == schemas.HoldConflict {
			return nil // it is held before anybody reads its body: there are no numbers to release
		}
		return err
	}
	h.cells = schemas.AppendCells(nil, f.statement.Cells)
	return f.explain(h, entry)
}

// explain finds, by the rules that the aggregators have, what an outlier broke
// and whose numbers are the same: at this entry, of which nothing is counted.
func (f *fold) explain(h *heldEntry, entry *schemas.Entry) error {
	switch h.code {
	case schemas.HoldOutlier:
		before, err := f.counted(h.unit)
		if err != nil {
			return replayError(entry, "reading the row that counts", err)
		}
		h.finding = f.election.Outlier(h.unit, f.rows[h.county], before, f.statement.Cells)
	case schemas.HoldTwin:
		if other := f.sameRow(h.unit, h.cells); other != noUnit {
			h.twin = f.election.Units[other].ID
		}
	}
	return nil
}

// release applies a release to the hold that it names.
func (f *fold) release(entry *schemas.Entry, record []byte) error {
	if err := f.note.Parse(record); err != nil {
		return replayError(entry, "its record is no release", err)
	}
	if string(f.note.Origin) != f.election.Definition.Origin {
		return replayError(entry, "its release is of another election", nil)
	}
	if string(f.note.Unit) != string(entry.Unit) || f.note.Revision != entry.Revision || f.note.Digest != entry.Digest {
		return replayError(entry, "its release names another unit, revision or digest", nil)
	}
	h, err := f.released(entry)
	if err != nil {
		return err
	}
	unit := &f.units[h.unit]
	if lapses := h.revision < unit.revision; lapses != (entry.Kind == schemas.EntryLapsed) {
		return replayError(entry, "is "+string(entry.Kind)+", against the revision that counts", nil)
	}
	if entry.Kind == schemas.EntryLapsed {
		f.settleHold(entry.Partition, h, schemas.HoldLapsed)
		return nil
	}
	if h.cells == nil {
		return replayError(entry, "releases what states no numbers", nil)
	}
	cells := f.rowOf(h.unit)
	if err := schemas.ReadCells(h.cells, cells); err != nil {
		return replayError(entry, "reading the row that it releases", err)
	}
	f.settleHold(entry.Partition, h, schemas.HoldReleased)
	return f.replace(entry, h.unit, cells, schemas.MovementRelease)
}

// released finds the hold that a release ends, and refuses one that it cannot.
func (f *fold) released(entry *schemas.Entry) (*heldEntry, error) {
	u, ok := f.election.Unit(entry.Unit)
	if !ok {
		return nil, replayError(entry, "releases what is no unit of the election", nil)
	}
	h := f.holds.find(u, entry.Held)
	switch {
	case h == nil || f.election.PartitionOf(u) != entry.Partition:
		return nil, replayError(entry, "releases what is not held", nil)
	case !h.code.Releasable():
		return nil, replayError(entry, "releases what is held as "+string(h.code), nil)
	case h.revision != entry.Revision || h.digest != entry.Digest:
		return nil, replayError(entry, "releases another revision or other bytes than it names", nil)
	case h.state == schemas.HoldReleased || h.state == schemas.HoldLapsed:
		return nil, replayError(entry, "releases what was released before", nil)
	}
	return h, nil
}

// rowOf is scratch for a row of the unit.
func (f *fold) rowOf(u schemas.UnitIndex) []schemas.Count {
	n := f.election.Units[u].Style.Cells
	if cap(f.row) < n {
		f.row = make([]schemas.Count, n)
	}
	return f.row[:n]
}

// sameRow finds the unit of the county whose counted row is the same, as the
// rule against twins has it: of the same ballot style; the first in the
// definition's order.
func (f *fold) sameRow(u schemas.UnitIndex, cells []byte) schemas.UnitIndex {
	style := f.election.Units[u].Style
	for _, other := range f.election.Counties[f.election.Units[u].County].Units {
		if other != u && f.election.Units[other].Style == style && bytes.Equal(f.units[other].cells, cells) {
			return other
		}
	}
	return noUnit
}
