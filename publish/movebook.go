package publish

import (
	"slices"

	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// moveBook is what the fold knows of numbers that fell: every movement's line,
// and how many of them lowered a number of each line of the documents. The
// fold's goroutine owns it; what counts holds is never changed once it is
// there, so that a sheet may keep it.
type moveBook struct {
	lines    [][]movement // by partition, in the order of their entries
	total    uint64
	counties [][]uint32                     // by county: movements by section; nil: none
	units    map[schemas.UnitIndex][]uint32 // likewise, by section of the unit's style
}

// movement is a line of the public file, with what its page sorts it by.
type movement struct {
	line   []byte
	county schemas.CountyIndex
	kind   schemas.MovementKind
}

func newMoveBook(e *schemas.Election) moveBook {
	return moveBook{
		lines: make([][]movement, e.Definition.Partitions), counties: make([][]uint32, len(e.Counties)),
		units: make(map[schemas.UnitIndex][]uint32),
	}
}

// move records that an entry lowered numbers of a unit. What asks for two
// supervisors must have come with them: nothing else may lower a count.
func (f *fold) move(entry *schemas.Entry, u schemas.UnitIndex, kind schemas.MovementKind, before, after []schemas.Count) error {
	if kind == schemas.MovementAdjudication && f.election.Lowered(u, before, after) != "" {
		return replayError(entry, "lowers a count, and is neither a correction nor a release", nil)
	}
	if f.veil.hides(u) {
		return nil // what of it is shown moves with its remainder
	}
	place := &f.election.Units[u]
	m := schemas.Movement{
		Unit: place.ID, County: f.election.Counties[place.County].ID, Revision: entry.Revision, Replaces: f.units[u].revision, Kind: kind,
		Partition: entry.Partition, Seq: entry.Seq, Changes: f.election.Fallen(u, before, after),
	}
	switch kind {
	case schemas.MovementCorrection:
		c := f.submission.Correction
		m.Reason, m.Text, m.Signers = string(c.Reason), c.Text, signers(f.envelope.Signatures())
	case schemas.MovementRelease:
		m.Reason, m.Text, m.Signers = string(f.note.Reason), string(f.note.Public), signers(f.note.Signatures())
	default:
		m.Signers = signers(f.envelope.Signatures())
	}
	b := &f.moves
	b.lines[entry.Partition] = append(b.lines[entry.Partition], movement{m.AppendLine(nil), place.County, kind})
	b.total++
	b.countFalls(f.election, u, before, after)
	return nil
}

// moveRemainder records that a remainder was added up to less than before. It says
// nothing but what the two sums say.
func (f *fold) moveRemainder(entry *schemas.Entry, t *suppress.Taking) {
	if !slices.Contains(t.Fell, true) {
		return
	}
	r := &f.election.Remainders[t.Remainder]
	before := f.veil.book.Taken(t.Remainder)[t.Number-2]
	m := schemas.Movement{
		Unit: r.ID, County: f.election.Counties[r.County].ID, Revision: schemas.Revision(t.Number), Replaces: schemas.Revision(before.Number),
		Kind: schemas.MovementRemainder, Signers: []string{}, Partition: entry.Partition, Seq: entry.Seq, Changes: f.election.FallenSums(r.County, before.Row, t.Row),
	}
	b := &f.moves
	b.lines[entry.Partition] = append(b.lines[entry.Partition], movement{m.AppendLine(nil), r.County, m.Kind})
	b.total++
	county := slices.Clone(b.counties[r.County])
	if county == nil {
		county = make([]uint32, len(t.Fell))
	}
	for i, fell := range t.Fell {
		if fell {
			county[i]++
		}
	}
	b.counties[r.County] = county
}

// countFalls adds one to every section in which a cell fell.
func (b *moveBook) countFalls(e *schemas.Election, u schemas.UnitIndex, before, after []schemas.Count) {
	place := &e.Units[u]
	county, unit := b.counties[place.County], b.units[u]
	if county == nil {
		county = make([]uint32, len(e.Counties[place.County].Sections))
	}
	if unit == nil {
		unit = make([]uint32, len(place.Style.Sections))
	}
	county, unit = slices.Clone(county), slices.Clone(unit)
	for i := range place.Style.Sections {
		s := &place.Style.Sections[i]
		from, to := int(s.Offset), int(s.Offset)+s.Size(e.Types())
		if schemas.Falls(before[from:to], after[from:to]) {
			county[place.CountySections[i]]++
			unit[i]++
		}
	}
	b.counties[place.County], b.units[u] = county, unit
}

// signers names the keys of a note's signature lines, each once. Whether they
// may sign was checked before the receipt, and is checked by everybody who
// verifies.
func signers(lines []schemas.Signature) []string {
	var out []string
	for i := range lines {
		if name := string(lines[i].Name); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// corrections is how many movements lowered a number of a section; moved may be
// nil.
func corrections(moved []uint32, section int32) int64 {
	if moved == nil {
		return 0
	}
	return int64(moved[section])
}
