package publish

import (
	"bytes"
	"slices"

	"tallystream/schemas"
)

// sheet is a county at one cut: its row of tallies and its document's bytes.
// It is immutable once made, so that snapshots and pages may read it while the
// fold goes on; a change makes a new one.
//
// Keeping the rendered bytes costs about 18 KB a county at 60 contests and
// makes hashing a contest's document a walk over lines that are there already.
type sheet struct {
	row   []int64
	moved []uint32 // movements by section; nil: none
	bytes []byte   // the county's document: lines in order
	spans []span   // of each section's line in bytes
}

type span struct{ from, to int32 }

// line is a section's line with its newline.
func (s *sheet) line(section int32) []byte {
	at := s.spans[section]
	return s.bytes[at.from:at.to:at.to]
}

// sums is a contest over counties at one cut: rows and lines by state, and the
// total last. It is immutable once made.
type sums struct {
	rows  [][]int64
	moved []int64  // movements by line
	lines [][]byte // each with its newline
}

// edition is a whole cut, rendered: what every document, page and snapshot is
// made of. The slices belong to the sequencer's loop; what they point to is
// immutable, so a copy of the slices is a picture that stays.
type edition struct {
	catalogue *catalogue
	sheets    []*sheet
	sums      []*sums // by contest plan; nil where they are not needed
	documents []published
}

// published is what is known of one document's bytes.
type published struct {
	version schemas.Version // log size at which the bytes last changed
	hash    schemas.Digest
	size    int64
}

func newEdition(c *catalogue) *edition {
	return &edition{
		catalogue: c,
		sheets:    make([]*sheet, len(c.counties)),
		sums:      make([]*sums, len(c.contests)),
		documents: make([]published, len(c.documents)),
	}
}

// picture is a copy that later changes of ed do not reach.
func (ed *edition) picture() *edition {
	return &edition{
		catalogue: ed.catalogue,
		sheets:    slices.Clone(ed.sheets),
		sums:      slices.Clone(ed.sums),
		documents: slices.Clone(ed.documents),
	}
}

// line is the line that r points to, with its newline.
func (ed *edition) line(r lineRef) []byte {
	if r.county >= 0 {
		return ed.sheets[r.county].line(r.at)
	}
	return ed.sums[r.plan].lines[r.at]
}

// lines lists the lines of a document; a county's document is one piece.
func (ed *edition) refs(d *documentPlan) []lineRef {
	if d.kind == frontDocument {
		return ed.catalogue.front
	}
	return ed.catalogue.contests[d.of].lines
}

// body is the document's bytes. A county's are shared and must not be changed.
func (ed *edition) body(document int32) []byte {
	d := &ed.catalogue.documents[document]
	if d.kind == countyDocument {
		return ed.sheets[d.of].bytes
	}
	out := make([]byte, 0, ed.documents[document].size)
	for _, r := range ed.refs(d) {
		out = append(out, ed.line(r)...)
	}
	return out
}

// renderSheet makes a county's sheet of a row, which it copies, and of its
// movements, which it keeps.
func (c *catalogue) renderSheet(county schemas.CountyIndex, row []int64, moved []uint32, scratch []byte) (*sheet, []byte) {
	place := &c.election.Counties[county]
	s := &sheet{row: slices.Clone(row), moved: moved, spans: make([]span, len(place.Sections))}
	scratch = scratch[:0]
	for _, i := range c.counties[county].order {
		from := len(scratch)
		section := &place.Sections[i]
		scratch = c.election.AppendLine(scratch, section, place.ID, int64(section.Units), corrections(moved, i), row)
		s.spans[i] = span{int32(from), int32(len(scratch))}
	}
	s.bytes = bytes.Clone(scratch)
	return s, scratch
}

// renderSums adds a contest up over the counties' sheets.
func (ed *edition) renderSums(k int32) *sums {
	c := ed.catalogue
	p := &c.contests[k]
	size := p.section.Size(c.election.Types())
	s := &sums{rows: make([][]int64, p.sumLines()), moved: make([]int64, p.sumLines()), lines: make([][]byte, p.sumLines())}
	cells := make([]int64, size*p.sumLines())
	for i := range s.rows {
		s.rows[i] = cells[i*size:][:size:size]
	}
	all := len(p.states)
	for _, at := range p.places {
		place, of := &c.election.Counties[at.county], ed.sheets[at.county]
		row, moved := of.row[place.Sections[at.section].Offset:][:size], corrections(of.moved, at.section)
		addTo(s.rows[all], row)
		s.moved[all] += moved
		if i := slices.IndexFunc(p.states, func(s stateShare) bool { return s.state == place.State }); i >= 0 {
			addTo(s.rows[i], row)
			s.moved[i] += moved
		}
	}
	for i := range s.rows {
		units := int64(p.section.Units)
		if i < len(p.states) {
			units = p.states[i].units
		}
		s.lines[i] = c.election.AppendLine(nil, &p.section, c.sumPlace(p, i), units, s.moved[i], s.rows[i])
	}
	return s
}

func addTo(sum, row []int64) {
	for i, n := range row {
		sum[i] += n
	}
}
