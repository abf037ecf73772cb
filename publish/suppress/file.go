package suppress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"tallystream/schemas"
)

// Folder begins the names of the files of remainders in a manifest; the county's
// identifier follows. Such a file has a line for each taking of the county's
// remainders, from the first of the night on, in the order in which they were
// made. The snapshot's note signs the manifest's hash, the manifest names the
// file's: so every sum in it is signed by the authority.
//
//	{"remainder":"combined-3","number":2,"partition":1,"seq":44,
//	 "statements":[{"unit":"leon-001","revision":3,"seq":41,"commitment":"<hash>"},...],
//	 "hidden":["bond"],"lines":[<document line>,...]}
//
// (in one line). seq is the entry of the partition's ledger that completed it. The
// statements are those that the lines add up, each by the entry and the commitment
// of its sealed leaf. The lines are like those of a document, in the order of the
// county's contests, with the remainder as their unit, as units and as reporting
// those that vote on the contest, and without undervotes and overvotes where these
// are not shown. hidden are the contests that are not shown at all.
const Folder = "remainders/"

// Append appends the line of a taking.
func Append(dst []byte, e *schemas.Election, t *Taking) []byte {
	r := &e.Remainders[t.Remainder]
	place := &e.Counties[r.County]
	dst = fmt.Appendf(dst, `{"remainder":"%s","number":%d,"partition":%d,"seq":%d,"statements":[`, r.ID, t.Number, place.Partition, t.Seq)
	for i := range t.Statements {
		st := &t.Statements[i]
		dst = fmt.Appendf(comma(dst, i), `{"unit":"%s","revision":%d,"seq":%d,"commitment":"%s"}`, e.Units[st.Unit].ID, st.Revision, st.Seq, st.Commitment)
	}
	dst = append(dst, `],"hidden":[`...)
	for i, c := range Hidden(e, r) {
		dst = strconv.AppendQuote(comma(dst, i), string(c))
	}
	dst = append(dst, `],"lines":[`...)
	n := 0
	for i := range place.Sections {
		if s, ok := section(place, r, i); ok {
			dst = bytes.TrimSuffix(e.AppendLine(comma(dst, n), &s, schemas.CountyID(r.ID), int64(s.Units), 0, t.Row), []byte{'\n'})
			n++
		}
	}
	return append(dst, "]}\n"...)
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// section is a section of the county's row as a remainder shows it, if it does.
func section(place *schemas.CountyPlace, r *schemas.Remainder, i int) (s schemas.Section, ok bool) {
	s = place.Sections[i]
	s.Units, s.Residuals = r.Sections[i].Voting, s.Residuals && r.Sections[i].Residuals
	return s, r.Sections[i].Shown
}

// Sections yields the sections of the county's row that a remainder shows, as it
// shows them, with their index.
func Sections(e *schemas.Election, r *schemas.Remainder) func(yield func(int, *schemas.Section) bool) {
	place := &e.Counties[r.County]
	return func(yield func(int, *schemas.Section) bool) {
		for i := range place.Sections {
			if s, ok := section(place, r, i); ok && !yield(i, &s) {
				return
			}
		}
	}
}

// Hidden are the contests of a remainder's units of which nothing is shown.
func Hidden(e *schemas.Election, r *schemas.Remainder) (out []schemas.ContestID) {
	for i, s := range r.Sections {
		if s.Voting > 0 && !s.Shown {
			out = append(out, e.ContestID(e.Counties[r.County].Sections[i].Contest))
		}
	}
	return out
}

// line is what Parse reads of one.
type line struct {
	Remainder  schemas.UnitID    `json:"remainder"`
	Number     int               `json:"number"`
	Partition  schemas.Partition `json:"partition"`
	Seq        uint64            `json:"seq"`
	Statements []struct {
		Unit       schemas.UnitID   `json:"unit"`
		Revision   schemas.Revision `json:"revision"`
		Seq        uint64           `json:"seq"`
		Commitment schemas.Digest   `json:"commitment"`
	} `json:"statements"`
	Hidden []schemas.ContestID `json:"hidden"`
	Lines  []schemas.Line      `json:"lines"`
}

// Parse reads the file of a county's remainders. What it accepts, Append writes
// again to the same bytes; Fell and Moved are those that follow.
func Parse(e *schemas.Election, county schemas.CountyIndex, b []byte) (out []*Taking, err error) {
	first, of := e.RemaindersOf(county)
	last := make([]*Taking, len(of))
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	for at := int64(0); ; at = d.InputOffset() + 1 {
		var l line
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading line %d of remainders: %w", len(out)+1, err)
		}
		t, err := l.taking(e, first, of)
		if err != nil {
			return nil, fmt.Errorf("reading line %d of remainders: %w", len(out)+1, err)
		}
		before := &last[t.Remainder-first]
		if spelled := Append(nil, e, t); !bytes.HasPrefix(b[min(at, int64(len(b))):], spelled) {
			return nil, fmt.Errorf("reading line %d of remainders: is not spelled as it is written", len(out)+1)
		}
		if n := len(out); n > 0 && out[n-1].Seq >= t.Seq {
			return nil, fmt.Errorf("reading line %d of remainders: is not sorted by seq", n+1)
		}
		if t.Number != 1 && (*before == nil || (*before).Number != t.Number-1) || t.Number == 1 && *before != nil {
			return nil, fmt.Errorf("reading line %d of remainders: is taking %d of %s out of turn", len(out)+1, t.Number, l.Remainder)
		}
		t.compare(e, &e.Remainders[t.Remainder], *before)
		*before = t
		out = append(out, t)
	}
}

// taking holds a line against the election.
func (l *line) taking(e *schemas.Election, first int, of []schemas.Remainder) (*Taking, error) {
	i := slices.IndexFunc(of, func(r schemas.Remainder) bool { return r.ID == l.Remainder })
	if i < 0 {
		return nil, fmt.Errorf("%q is no remainder of the county", l.Remainder)
	}
	r := &of[i]
	t := &Taking{Remainder: first + i, Number: l.Number, Seq: l.Seq, Row: make([]int64, e.Counties[r.County].Cells)}
	if len(l.Statements) != len(r.Units) {
		return nil, fmt.Errorf("%d statements, want one of each of the %d units of %s", len(l.Statements), len(r.Units), r.ID)
	}
	for k, u := range r.Units {
		st := &l.Statements[k]
		if st.Unit != e.Units[u].ID {
			return nil, fmt.Errorf("statement %d is of %q, want one of %s", k+1, st.Unit, e.Units[u].ID)
		}
		t.Statements = append(t.Statements, Statement{u, st.Revision, st.Seq, st.Commitment})
	}
	n := 0
	for k, s := range Sections(e, r) {
		if n == len(l.Lines) {
			return nil, fmt.Errorf("%d lines, want one for each contest that %s shows", n, r.ID)
		}
		if err := fill(t.Row[e.Counties[r.County].Sections[k].Offset:], e, s, &l.Lines[n]); err != nil {
			return nil, fmt.Errorf("the line of %s: %w", e.ContestID(s.Contest), err)
		}
		n++
	}
	return t, nil
}

// fill puts a line's numbers into a row at its section.
func fill(row []int64, e *schemas.Election, s *schemas.Section, l *schemas.Line) error {
	types := e.Types()
	put := func(k int, counts []int64) error {
		if len(counts) != types || slices.Min(counts) < 0 {
			return fmt.Errorf("want %d numbers of 0 or more for each selection", types)
		}
		copy(row[1+k*types:], counts)
		return nil
	}
	row[0] = int64(s.Units)
	for k := range int(s.Selections) {
		id := schemas.Ballots
		if s.Contest != schemas.BallotsIndex {
			id = e.Definition.Contests[s.Contest].Selections[k].ID
		}
		if err := put(k, l.Votes[id]); err != nil {
			return err
		}
	}
	if !s.Residuals {
		return nil
	}
	return errors.Join(put(int(s.Selections), l.Undervotes), put(int(s.Selections)+1, l.Overvotes))
}
