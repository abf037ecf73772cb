package audit

import (
	"bytes"
	"fmt"

	"tallystream/schemas"
)

// line is what a document must say of one contest in one place.
type line struct {
	contest int
	place   string
	units   int64   // that vote on it there
	moved   int64   // movements that lowered a number of it
	cells   []int64 // as in a section; of the count, not to be changed
	of      *section
	county  int // whose line it is; -1: a sum
}

func (l *line) key(f *forms) string { return string(f.contestID(l.contest)) + "\n" + l.place }

// lines are all lines of all documents, by the rules of publish/README.md: of
// each county; of each contest that several counties vote on, with its states'
// and its total; and of the election those of contests that every county of
// their states votes on.
func (c *count) lines() map[schemas.DocumentID][]line {
	out := map[schemas.DocumentID][]line{}
	byContest := make(map[int][]line)
	for i := range c.counties {
		county := &c.counties[i]
		id := schemas.CountyDocument(county.id)
		for k := range county.sections {
			s := &county.sections[k]
			l := line{contest: s.contest, place: string(county.id), units: s.units, moved: c.fallen[i][k], cells: c.rows[i][s.at:][:c.size(s)], of: s, county: i}
			out[id] = append(out[id], l)
			byContest[s.contest] = append(byContest[s.contest], l)
		}
	}
	front := []line{} // there is always such a document
	for contest, places := range byContest {
		sums, everywhere := c.sums(places)
		if len(places) > 1 {
			out[schemas.ContestDocument(c.contestID(contest))] = append(places, sums...)
		}
		if everywhere || contest == ballots {
			front = append(front, sums...)
		}
	}
	out[schemas.ElectionDocument] = front
	return out
}

// sums adds a contest's counties up: by state where there are several, and in
// all. everywhere says that each county with units in its states votes on it.
func (c *count) sums(places []line) (sums []line, everywhere bool) {
	sum := func(name string) *line {
		for i := range sums {
			if sums[i].place == name {
				return &sums[i]
			}
		}
		sums = append(sums, line{contest: places[0].contest, place: name, of: places[0].of, cells: make([]int64, len(places[0].cells)), county: -1})
		return &sums[len(sums)-1]
	}
	voting := map[string]int{} // counties with units, by state
	for i := range places {
		l := &places[i]
		into := []string{string(c.Election)}
		if len(c.counties[l.county].units) > 0 {
			state := c.counties[l.county].state
			voting[state]++
			if len(c.States) > 1 {
				into = append(into, state)
			}
		}
		for _, name := range into {
			to := sum(name)
			to.units += l.units
			to.moved += l.moved
			for k, n := range l.cells {
				to.cells[k] += n
			}
		}
	}
	everywhere = len(voting) > 0
	for state, n := range voting {
		everywhere = everywhere && n == c.peopled[state]
	}
	return sums, everywhere
}

// document compares a document's lines with those that it must have.
func (p *publication) document(id schemas.DocumentID, b []byte) {
	p.tell(func(r *Report) { r.Documents++ })
	want := make(map[string]*line)
	for i := range p.expected[id] {
		want[p.expected[id][i].key(p.forms)] = &p.expected[id][i]
	}
	fault := func(format string, args ...any) {
		p.differ(Difference{Kind: KindDocument, Where: string(id), What: fmt.Sprintf(format, args...)})
	}
	var before []byte
	number := 0
	for raw := range bytes.Lines(b) {
		number++
		raw, ended := bytes.CutSuffix(raw, []byte{'\n'})
		if !ended || bytes.Compare(before, raw) >= 0 {
			fault("line %d is not ended, or not in order", number)
		}
		before = raw
		l, err := schemas.ParseLine(raw)
		if err != nil {
			fault("line %d: %v", number, err)
			continue
		}
		key := string(l.Contest) + "\n" + l.Unit
		if want[key] == nil {
			fault("line %d is of contest %s and unit %s: it does not belong there, or stands twice", number, l.Contest, l.Unit)
			continue
		}
		p.line(id, want[key], l, fault)
		delete(want, key)
	}
	for _, l := range want {
		fault("there is no line of contest %s and unit %s", p.forms.contestID(l.contest), l.place)
	}
}

// line compares one line. That of a county in its own document is kept, to be
// named together with the ledger's number.
func (p *publication) line(id schemas.DocumentID, want *line, l *schemas.Line, fault func(string, ...any)) {
	got, err := p.forms.cellsOf(want.of, l)
	if err != nil {
		fault("the line of contest %s and unit %s: %v", l.Contest, l.Unit, err)
		return
	}
	if l.Units != want.units {
		p.differ(Difference{Kind: KindDocument, Where: string(id), County: schemas.CountyID(want.place), Contest: l.Contest, Selection: cellUnits,
			Recomputed: &want.units, Published: &l.Units})
	}
	if l.Corrections != want.moved {
		p.differ(Difference{Kind: KindDocument, Where: string(id), County: schemas.CountyID(want.place), Contest: l.Contest, Selection: cellCorrections,
			Recomputed: &want.moved, Published: &l.Corrections})
	}
	if want.county >= 0 && id == schemas.CountyDocument(p.forms.counties[want.county].id) {
		p.keep(want, got)
		return
	}
	for k := range got {
		p.tell(func(r *Report) { r.Compared++ })
		if got[k] != want.cells[k] {
			s, t := p.forms.cellName(want.of, k)
			p.differ(Difference{Kind: KindDocument, Where: string(id), County: schemas.CountyID(want.place), Contest: l.Contest, Selection: s, CountType: t,
				Recomputed: &want.cells[k], Published: &got[k]})
		}
	}
}

// keep remembers what a county's document says of a contest; what it does not
// say is the count's own, so that it is named once, as a missing line.
func (p *publication) keep(want *line, got []int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rows[want.county] == nil {
		p.rows[want.county] = append([]int64(nil), p.count.rows[want.county]...)
	}
	copy(p.rows[want.county][want.of.at:], got)
}

// cellsOf reads a line's numbers in the order of a section's cells.
func (f *forms) cellsOf(s *section, l *schemas.Line) ([]int64, error) {
	out := make([]int64, f.size(s))
	out[0] = l.Reporting
	put := func(row int, counts []int64) error {
		if len(counts) != f.counts {
			return fmt.Errorf("it has %d numbers for %d count types", len(counts), f.counts)
		}
		copy(out[1+row*f.counts:], counts)
		return nil
	}
	if len(l.Votes) != s.selections || (l.Undervotes != nil) != s.residuals {
		return nil, fmt.Errorf("it has %d selections, want %d, and undervotes only where they are known", len(l.Votes), s.selections)
	}
	for id, counts := range l.Votes {
		row, ok := f.row(s, string(id))
		if !ok || row >= s.selections {
			return nil, fmt.Errorf("it has the selection %s, which is not on the ballot", id)
		}
		if err := put(row, counts); err != nil {
			return nil, err
		}
	}
	if !s.residuals {
		return out, nil
	}
	if err := put(s.selections, l.Undervotes); err != nil {
		return nil, err
	}
	return out, put(s.selections+1, l.Overvotes)
}
