package timeseries

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"

	"tallystream/schemas"
)

// HoldRow says what was held of a county, as the source names it, for one
// reason.
type HoldRow struct {
	Code  schemas.HoldCode `json:"code"`
	Label string           `json:"label"`
	Holds int              `json:"holds"`
	// Decreases counts series whose votes fell with a held statement; Below the
	// statements that are held though nothing fell with them: they rose, and not to
	// what counts.
	Decreases int `json:"decreases"`
	Below     int `json:"below"`
	// Copies are of precincts that another label of the county has; Chance those
	// that only have the same numbers as another precinct.
	Copies     int `json:"copies"`
	Chance     int `json:"chance"`
	Open       int `json:"open"`
	Released   int `json:"released"`
	Superseded int `json:"superseded"`
}

// HoldTable holds what is published as held against the series.
type HoldTable struct {
	Rows []HoldRow `json:"rows"`
	// Decreases of the series, all of them, in how many statements, and those that
	// were not held, each by its unit and revision.
	Decreases  int      `json:"decreases"`
	Statements int      `json:"statements"`
	NotHeld    []string `json:"notHeld,omitempty"`
	// Others are holds of what the series did not send.
	Others int `json:"others"`
}

// statementKey names a statement.
type statementKey struct {
	unit     schemas.UnitID
	revision schemas.Revision
}

// tabulate makes the table.
func tabulate(s *Series, holds []schemas.HeldEntry) *HoldTable {
	fell := map[statementKey]int{}
	for i := range s.Moments {
		for k := range s.Moments[i].Statements {
			st := &s.Moments[i].Statements[k]
			fell[statementKey{s.Election.Units[st.Unit].ID, st.Revision}] = st.Fell
		}
	}
	type key struct {
		code  schemas.HoldCode
		label string
	}
	t, rows := &HoldTable{}, map[key]*HoldRow{}
	held := map[statementKey]bool{}
	for i := range holds {
		h := &holds[i]
		st := statementKey{h.Unit, h.Revision}
		n, ok := fell[st]
		if !ok {
			t.Others++
			continue
		}
		held[st] = true
		u, _ := s.Election.Unit(h.Unit)
		p := &s.Places[u]
		k := key{h.Code, p.Label}
		if rows[k] == nil {
			rows[k] = &HoldRow{Code: h.Code, Label: p.Label}
		}
		rows[k].add(h, n, p.CopyOf != u)
	}
	for st, n := range fell {
		if n > 0 {
			t.Decreases += n
			t.Statements++
		}
		if n > 0 && !held[st] {
			t.NotHeld = append(t.NotHeld, fmt.Sprintf("%s revision %s", st.unit, st.revision))
		}
	}
	slices.Sort(t.NotHeld)
	for _, r := range rows {
		t.Rows = append(t.Rows, *r)
	}
	slices.SortFunc(t.Rows, func(a, b HoldRow) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(b.Holds, a.Holds), cmp.Compare(a.Label, b.Label))
	})
	return t
}

// add counts a hold with which n series fell.
func (r *HoldRow) add(h *schemas.HeldEntry, n int, isCopy bool) {
	r.Holds++
	r.Decreases += n
	switch {
	case h.Code == schemas.HoldTwin && isCopy:
		r.Copies++
	case h.Code == schemas.HoldTwin:
		r.Chance++
	case n == 0:
		r.Below++
	}
	switch h.State {
	case schemas.HoldOpen:
		r.Open++
	case schemas.HoldReleased:
		r.Released++
	case schemas.HoldSuperseded:
		r.Superseded++
	}
}

// total of all rows.
func (t *HoldTable) total() (sum HoldRow) {
	for _, r := range t.Rows {
		sum.Holds += r.Holds
		sum.Decreases += r.Decreases
		sum.Below += r.Below
		sum.Copies += r.Copies
		sum.Chance += r.Chance
		sum.Open += r.Open
		sum.Released += r.Released
		sum.Superseded += r.Superseded
	}
	return sum
}

// print writes the table for people.
func (t *HoldTable) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "held as\tof\tholds\tdecreases\tstill below\tcopies\tby chance\topen\treleased\tsuperseded\t")
	line := func(code, label string, r HoldRow) {
		fmt.Fprintf(w, "%s\t%s\t", code, label)
		for _, n := range []int{r.Holds, r.Decreases, r.Below, r.Copies, r.Chance, r.Open, r.Released, r.Superseded} {
			fmt.Fprintf(w, "%s\t", blank(n))
		}
		fmt.Fprintln(w)
	}
	for _, r := range t.Rows {
		line(string(r.Code), r.Label, r)
	}
	line("all", "", t.total())
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "The series has %d decreases, in %d statements; %d of these are not held.\n", t.Decreases, t.Statements, len(t.NotHeld))
	for _, s := range t.NotHeld {
		_, err = fmt.Fprintf(out, "  not held: %s\n", s)
	}
	return err
}

// blank leaves noughts out.
func blank(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
