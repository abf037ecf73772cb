package timeseries

import (
	"fmt"
	"slices"

	"tallystream/schemas"
)

// release is what two supervisors sign to let a hold count.
type release struct {
	hold   *schemas.HeldEntry
	reason schemas.ReleaseReason
	text   string
}

// correction is a statement that two supervisors sign.
type correction struct {
	Statement
	why schemas.Correction
}

// decisions of a county's supervisors, and what they leave as it is.
type decisions struct {
	county      schemas.CountyID
	releases    []release
	corrections []correction
	copies      int // statements that stay held: their votes count already
}

// smallFall is up to how many votes a fall is written anew by supervisors, as a
// correction. What is more is the officials' statement, held against paper and
// released: two ways to the same numbers.
const smallFall = 10

// script is how a night ends: every unit at the last row of its series, and what
// was sent twice counted once.
type script struct {
	series *Series
	last   [][]schemas.Count
	newest []schemas.Revision // that the series has sent
	// takenBack are copies that counted until supervisors corrected them.
	takenBack []bool
}

func newScript(s *Series) *script {
	c := &script{series: s, last: s.Last(), newest: make([]schemas.Revision, len(s.Places)), takenBack: make([]bool, len(s.Places))}
	for i := range s.Moments {
		for k := range s.Moments[i].Statements {
			st := &s.Moments[i].Statements[k]
			c.newest[st.Unit] = st.Revision
		}
	}
	return c
}

// decide reads what is published at the end of the series: of the units whose
// last statement is held, and of copies that count. What came before a unit's last
// statement does not matter any more.
func (c *script) decide(open []schemas.HeldEntry) ([]decisions, error) {
	out := make([]decisions, len(c.series.Election.Counties))
	held := map[schemas.UnitIndex]bool{}
	for i := range open {
		h := &open[i]
		u, ok := c.series.Election.Unit(h.Unit)
		if !ok {
			return nil, fmt.Errorf("%s is held and is no unit of the series", h.Unit)
		}
		if h.Revision == c.newest[u] {
			held[u] = true
			c.hold(&out[c.series.Election.Units[u].County], u, h)
		}
	}
	for u := range c.series.Places {
		unit := schemas.UnitIndex(u)
		if c.isCopy(unit) && !held[unit] && votes(c.last[u]) > 0 {
			d := &out[c.series.Election.Units[u].County]
			d.corrections = append(d.corrections, c.nothing(unit))
			c.takenBack[u] = true
		}
	}
	for i := range out {
		out[i].county = c.series.Election.Counties[i].ID
	}
	return slices.DeleteFunc(out, func(d decisions) bool { return len(d.releases)+len(d.corrections)+d.copies == 0 }), nil
}

// before decides about what is held of a county's units that have stated their
// last, ahead of a moment in which the county comes under another label: so the
// rule of twins has the first statements at their last numbers.
func (c *script) before(m *Moment, open []schemas.HeldEntry) (out []decisions) {
	e := c.series.Election
	for county := range e.Counties {
		if !c.comesAgain(m, schemas.CountyIndex(county)) {
			continue
		}
		d := decisions{county: e.Counties[county].ID}
		for i := range open {
			h := &open[i]
			if u, ok := e.Unit(h.Unit); ok && e.Units[u].County == schemas.CountyIndex(county) && !c.isCopy(u) && h.Revision == c.newest[u] {
				c.hold(&d, u, h)
			}
		}
		if len(d.releases)+len(d.corrections) > 0 {
			out = append(out, d)
		}
	}
	return out
}

// comesAgain reports whether a moment has the first statement of a copy.
func (c *script) comesAgain(m *Moment, county schemas.CountyIndex) bool {
	return slices.ContainsFunc(m.Statements, func(st Statement) bool {
		return st.Revision == 1 && c.isCopy(st.Unit) && c.series.Election.Units[st.Unit].County == county
	})
}

// isCopy reports whether another label of the county has the precinct, and had
// it first.
func (c *script) isCopy(u schemas.UnitIndex) bool { return c.series.Places[u].CopyOf != u }

// hold decides about the last statement of a unit.
func (c *script) hold(d *decisions, u schemas.UnitIndex, h *schemas.HeldEntry) {
	switch {
	case c.isCopy(u):
		d.copies++
	case h.Code == schemas.HoldTwin:
		d.releases = append(d.releases, release{h, schemas.ReleaseChecked,
			fmt.Sprintf("Two precincts with the same numbers by chance: the tape says what was sent, and so does that of %s.", h.Twin)})
	case c.fall(u, h.Revision) <= smallFall:
		d.corrections = append(d.corrections, correction{
			Statement{Unit: u, Revision: h.Revision + 1, Cells: c.last[u]},
			schemas.Correction{Reason: schemas.CorrectTranscription, Text: "A number was copied wrongly from the tape; this is what the tape says."},
		})
	default:
		d.releases = append(d.releases, release{h, schemas.ReleaseEquipment, "What was sent before was withdrawn by the county; this is what it reports."})
	}
}

// fall is by how many votes a unit's last statement is below the most that it
// stated before.
func (c *script) fall(u schemas.UnitIndex, last schemas.Revision) int64 {
	most := int64(0)
	for i := range c.series.Moments {
		for k := range c.series.Moments[i].Statements {
			if st := &c.series.Moments[i].Statements[k]; st.Unit == u && st.Revision < last {
				most = max(most, votes(st.Cells))
			}
		}
	}
	return most - votes(c.last[u])
}

// nothing takes back a copy that counts.
func (c *script) nothing(u schemas.UnitIndex) correction {
	cells := make([]schemas.Count, len(c.last[u]))
	cells[0], cells[1] = 1, 1
	of := c.series.Election.Units[c.series.Places[u].CopyOf].ID
	return correction{
		Statement{Unit: u, Revision: c.newest[u] + 1, Cells: cells},
		schemas.Correction{Reason: schemas.CorrectDuplicate, Text: fmt.Sprintf("These are the votes of %s, which count there.", of)},
	}
}

// again states once more the copies that were taken back.
func (c *script) again() []Statement {
	var out []Statement
	for u, taken := range c.takenBack {
		if taken {
			out = append(out, Statement{Unit: schemas.UnitIndex(u), Revision: c.newest[u] + 2, Cells: c.last[u]})
		}
	}
	return out
}

// copies releases every copy that is held.
func (c *script) copies(open []schemas.HeldEntry) []release {
	var out []release
	for i := range open {
		h := &open[i]
		if u, ok := c.series.Election.Unit(h.Unit); ok && c.isCopy(u) {
			out = append(out, release{h, schemas.ReleaseChecked, "A rehearsal: what the sum is if these votes count twice."})
		}
	}
	return out
}

// end is what every county must add up to when the script is done, as a row of
// its layout.
func (c *script) end() [][]int64 {
	e := c.series.Election
	rows := make([][]int64, len(e.Counties))
	for i := range rows {
		rows[i] = make([]int64, e.Counties[i].Cells)
	}
	for u, cells := range c.last {
		unit := schemas.UnitIndex(u)
		if c.isCopy(unit) {
			cells = c.nothing(unit).Cells
		}
		e.Fold(rows[e.Units[u].County], unit, nil, cells)
	}
	return rows
}
