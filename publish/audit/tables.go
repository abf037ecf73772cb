package audit

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"tallystream/schemas"
)

// table is a published file that lists units: a CSV of a county or of all, or
// a county's lines by unit.
type table struct {
	*publication
	name     string
	counties []int
	read     func([]byte) error
	got      map[int][]int64 // by unit, in its style's form; absent where a cell is not stated
}

// absent is a cell that a table does not state.
const absent = -1

// table is how to read the file of that name; nil for one that lists no units.
func (p *publication) table(name string) *table {
	t := &table{publication: p, name: name, got: map[int][]int64{}}
	t.read = t.readCSV
	if name == results {
		for c := range p.forms.counties {
			t.counties = append(t.counties, c)
		}
		return t
	}
	id, ok := strings.CutPrefix(name, csvFolder)
	if id, ok = cutBoth(id, ok, ".csv"); !ok {
		if id, ok = strings.CutPrefix(name, unitFolder); !ok {
			return nil
		}
		t.read = t.readLines
	}
	c, ok := p.forms.countyOf[id]
	if !ok {
		return nil
	}
	t.counties = []int{c}
	return t
}

func cutBoth(id string, ok bool, ending string) (string, bool) {
	if !ok {
		return id, false
	}
	return strings.CutSuffix(id, ending)
}

// cells is the unit's row in the table, with nothing stated at first.
func (t *table) cells(county, unit string) (*unitForm, []int64, error) {
	u, ok := t.forms.unitIndex[unit]
	if !ok || string(t.forms.counties[t.forms.units[u].county].id) != county {
		return nil, nil, fmt.Errorf("county %q has no unit %q", county, unit)
	}
	if t.got[u] == nil {
		row := make([]int64, t.forms.units[u].style.cells)
		for i := range row {
			row[i] = absent
		}
		t.got[u] = row
	}
	return &t.forms.units[u], t.got[u], nil
}

// csvHeader is the first line of every results file.
const csvHeader = "county,unit,contest,selection,count_type,votes\n"

// readCSV reads rows of the header's six fields. Identifiers need no quotes.
func (t *table) readCSV(b []byte) error {
	rest, ok := bytes.CutPrefix(b, []byte(csvHeader))
	if !ok {
		return fmt.Errorf("want the header %q", strings.TrimSpace(csvHeader))
	}
	for number := 2; len(rest) > 0; number++ {
		raw, after, ended := bytes.Cut(rest, []byte{'\n'})
		if !ended {
			return fmt.Errorf("line %d does not end in a newline", number)
		}
		rest = after
		if err := t.row(string(raw)); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return nil
}

func (t *table) row(raw string) error {
	var f [6]string
	for i := range f {
		var more bool
		if f[i], raw, more = strings.Cut(raw, ","); more != (i < len(f)-1) {
			return fmt.Errorf("want %d fields", len(f))
		}
	}
	u, row, err := t.cells(f[0], f[1])
	if err != nil {
		return err
	}
	contest, ok := t.forms.contests[f[2]]
	k, there := u.style.index[contest]
	if !ok || !there {
		return fmt.Errorf("unit %s does not vote on contest %q", u.id, f[2])
	}
	s := &u.style.sections[k]
	which, ok := t.forms.row(s, f[3])
	if !ok {
		return fmt.Errorf("contest %s has no selection %q", f[2], f[3])
	}
	kind, ok := t.forms.types[f[4]]
	if !ok {
		return fmt.Errorf("the election has no count type %q", f[4])
	}
	n, err := strconv.ParseInt(f[5], 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("votes %q: want a whole number", f[5])
	}
	at := s.at + 1 + which*t.forms.counts + kind
	if row[at] != absent {
		return fmt.Errorf("unit %s, %s, %s, %s stands twice", u.id, f[2], f[3], f[4])
	}
	row[at] = n
	return nil
}

// readLines reads document lines whose units are units.
func (t *table) readLines(b []byte) error {
	county := string(t.forms.counties[t.counties[0]].id)
	number := 0
	for raw := range bytes.Lines(b) {
		number++
		l, err := schemas.ParseLine(bytes.TrimSuffix(raw, []byte{'\n'}))
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		u, row, err := t.cells(county, l.Unit)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		k, ok := u.style.index[t.forms.contests[string(l.Contest)]]
		if !ok || t.forms.contestID(u.style.sections[k].contest) != l.Contest {
			return fmt.Errorf("line %d: unit %s does not vote on contest %q", number, u.id, l.Contest)
		}
		s := &u.style.sections[k]
		if moved := t.moved(u, k); l.Corrections != moved {
			t.differ(Difference{Kind: KindFile, Where: t.name, Unit: u.id, County: schemas.CountyID(county), Contest: l.Contest, Selection: cellCorrections,
				Recomputed: &moved, Published: &l.Corrections})
		}
		got, err := t.forms.cellsOf(s, l)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if got[0] == 0 && l.Corrections > 0 {
			continue // it was stated, and no table has it any more
		}
		copy(row[s.at+1:], got[1:])
	}
	return nil
}

// moved is how many movements lowered a number of a unit's section.
func (t *table) moved(u *unitForm, section int) int64 {
	fallen := t.count.units[t.forms.unitIndex[string(u.id)]].fallen
	if fallen == nil {
		return 0
	}
	return fallen[section]
}

// compare holds the table against the rows that count.
func (t *table) compare() {
	var room []uint32
	compared := uint64(0)
	for _, c := range t.counties {
		for _, u := range t.forms.counties[c].units {
			if t.count.units[u].counted == 0 && t.got[u] == nil {
				continue
			}
			style := t.forms.units[u].style
			if t.count.units[u].counted == 0 {
				room = append(room[:0], make([]uint32, style.cells)...)
			} else {
				room = t.count.counted(u, room)
			}
			for i := range style.sections {
				compared += t.compareSection(u, &style.sections[i], room)
			}
		}
	}
	t.tell(func(r *Report) { r.Compared += compared })
}

// compareSection compares what a unit states of a contest. A table has every
// cell of a contest that is stated, and none of one that is not.
func (t *table) compareSection(u int, s *section, want []uint32) (compared uint64) {
	got := t.got[u]
	for k := s.at + 1; k < s.at+t.forms.size(s); k++ {
		stated := want[s.at] == 1
		is := int64(absent)
		if got != nil {
			is = got[k]
		}
		compared++
		if stated && is == int64(want[k]) || !stated && is == absent {
			continue
		}
		d := Difference{Kind: KindFile, Where: t.name, Unit: t.forms.units[u].id, County: t.forms.counties[t.forms.units[u].county].id, Contest: t.forms.contestID(s.contest)}
		d.Selection, d.CountType = t.forms.cellName(s, k-s.at)
		if stated {
			n := int64(want[k])
			d.Recomputed = &n
		} else {
			d.What = "the unit does not state this contest"
		}
		if is != absent {
			d.Published = &is
		} else {
			d.What = "the table does not have it"
		}
		t.differ(d)
	}
	return compared
}
