package timeseries

import (
	"encoding/json"
	"fmt"
	"time"

	"tallystream/schemas"
)

// Series is a night as it was reported, ready to be replayed. It is immutable.
type Series struct {
	Definition []byte
	Election   *schemas.Election
	Moments    []Moment
	Places     []Place // by unit
	Changes    int     // rows of the source
}

// Place is where a unit is from.
type Place struct {
	Label    string // the county's name at the source; one county may have several
	Precinct string
	// CopyOf is the unit of the same county and precinct that came first under
	// another label, or the unit itself.
	CopyOf schemas.UnitIndex
}

// Moment is everything that changed at one time.
type Moment struct {
	At         time.Time
	Statements []Statement // at most one of each unit, in the order of the source
}

// Statement is a unit's whole statement as of a moment.
type Statement struct {
	Unit     schemas.UnitIndex
	Revision schemas.Revision
	Cells    []schemas.Count // in the layout of its style
	Fell     int             // series of it whose votes are fewer than before
}

// Options of an import.
type Options struct {
	// Twins is the least of the rule that holds units with the same numbers; 0:
	// no rule.
	Twins int
}

// DefaultTwins holds from the first vote on: see the README for what other
// figures find and what they hold by chance.
const DefaultTwins = 1

// Import reads a time series: a file, plain or gzip, or the directory of one.
func Import(path string, o Options) (*Series, error) {
	t, err := read(path)
	if err != nil {
		return nil, err
	}
	return assemble(t, o)
}

func assemble(t *table, o Options) (*Series, error) {
	b, err := newBallot(t, o)
	if err != nil {
		return nil, err
	}
	s := &Series{Places: b.places, Changes: len(t.changes)}
	if s.Definition, err = json.Marshal(&b.definition); err != nil {
		return nil, fmt.Errorf("writing the definition: %w", err)
	}
	if s.Election, err = schemas.OpenElection(s.Definition); err != nil {
		return nil, fmt.Errorf("%s: the definition made of it: %w", t.file, err)
	}
	s.Moments, err = moments(t, b.unitOf, s.Election)
	return s, err
}

// The vote types of the source.
const (
	totalType       = "total"
	absenteeType    = "absentee"
	electionDayType = "electionday"
)

// The count types of the definition, in its order. A unit of which the source
// has only a total states it as "other": counted, but not split.
var countTypes = []schemas.CountType{schemas.ElectionDay, "absentee", schemas.OtherCounts}

// unitSeries are the newest rows of a unit, by vote type.
type unitSeries struct {
	revision schemas.Revision
	rows     map[string]change
	moment   int // of which statement is the newest one
	at       int // its place there
}

// moments groups changes by time, and of each time the series of a unit into
// one statement.
func moments(t *table, unitOf map[[2]string]schemas.UnitIndex, e *schemas.Election) ([]Moment, error) {
	var out []Moment
	units := make([]unitSeries, len(e.Units))
	for i := 0; i < len(t.changes); {
		m := Moment{At: t.changes[i].at}
		var last []change // of each statement: the row that completes it, for errors
		for ; i < len(t.changes) && t.changes[i].at.Equal(m.At); i++ {
			c := t.changes[i]
			u := unitOf[[2]string{c.label, c.precinct}]
			series := &units[u]
			if series.revision == 0 || series.moment != len(out) {
				series.revision++
				series.moment, series.at = len(out), len(m.Statements)
				m.Statements = append(m.Statements, Statement{Unit: u, Revision: series.revision})
				last = append(last, c)
			}
			if err := series.take(t, c, &m.Statements[series.at]); err != nil {
				return nil, err
			}
			last[series.at] = c
		}
		for k := range m.Statements {
			st := &m.Statements[k]
			var err error
			if st.Cells, err = cells(e, units[st.Unit].rows, len(t.selections)); err != nil {
				return nil, t.wrong(last[k].line, "%v", err)
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// take lets a row replace the one before it of its series.
func (u *unitSeries) take(t *table, c change, st *Statement) error {
	switch c.kind {
	case totalType, absenteeType, electionDayType:
	default:
		return t.wrong(c.line, "vote_type %.40q: want %s, %s or %s", c.kind, totalType, absenteeType, electionDayType)
	}
	before, ok := u.rows[c.kind]
	if ok && before.at.Equal(c.at) {
		return t.wrong(c.line, "%s of %s in %s stands twice at this time, first in line %d", c.kind, c.precinct, c.label, before.line)
	}
	if ok && c.votes < before.votes {
		st.Fell++
	}
	if u.rows == nil {
		u.rows = map[string]change{}
	}
	u.rows[c.kind] = c
	return nil
}

// cells are a unit's row: its parts by count type, and what its total has more
// than they as other.
func cells(e *schemas.Election, rows map[string]change, selections int) ([]schemas.Count, error) {
	style := e.Units[0].Style // all units share it
	out := make([]schemas.Count, style.Cells)
	at := int(style.Sections[1].Offset)
	out[0], out[at] = 1, 1
	at++
	total, split := rows[totalType]
	for k := range selections {
		to := out[at+k*len(countTypes):][:len(countTypes)]
		for i, kind := range []string{electionDayType, absenteeType} {
			if c, ok := rows[kind]; ok {
				to[i] = c.counts[k]
			}
		}
		if parts := to[0] + to[1]; split {
			if total.counts[k] < parts {
				return nil, fmt.Errorf("its total has %d votes of a candidate, its parts have %d", total.counts[k], parts)
			}
			to[2] = total.counts[k] - parts
		}
	}
	return out, nil
}

// Last returns the last row of every unit; nil for one that never says anything.
func (s *Series) Last() [][]schemas.Count {
	out := make([][]schemas.Count, len(s.Places))
	for i := range s.Moments {
		for k := range s.Moments[i].Statements {
			st := &s.Moments[i].Statements[k]
			out[st.Unit] = st.Cells
		}
	}
	return out
}

// Statements counts them.
func (s *Series) Statements() int {
	n := 0
	for i := range s.Moments {
		n += len(s.Moments[i].Statements)
	}
	return n
}

// votes of a row.
func votes(cells []schemas.Count) (sum int64) {
	for _, n := range cells[2:] { // behind the two cells that count reports
		sum += int64(n)
	}
	return sum
}
