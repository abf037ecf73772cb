package suppress

import (
	"fmt"

	"tallystream/schemas"
)

// Statement is one that counts for a unit, from one of the ledger's entries on.
type Statement struct {
	Unit       schemas.UnitIndex
	Revision   schemas.Revision
	Seq        uint64         // of the entry, in the ledger of the unit's partition
	Commitment schemas.Digest // of the entry's sealed leaf
}

// Taking is one remainder as it was added up at one entry of the ledger: the
// sum of one statement of each of its units. It is immutable once made.
type Taking struct {
	Remainder int // index in Election.Remainders
	Number    int // of the remainder's takings, from 1
	// Seq is the entry that completed it: the last of its statements' own.
	Seq        uint64
	Statements []Statement // by the remainder's units
	// Row has the county's layout. Its cells are 0 where the remainder does not
	// show them, and its counts of reports say how many of its units vote on a
	// contest: which of them stated it is not told.
	Row []int64
	// Fell says of which of the county's sections some number is lower than in the
	// taking before.
	Fell []bool
	// Moved counts by section how often that was so, this time included.
	Moved []int64
}

// Book decides when a remainder is added up. It is told every statement that
// counts for one of its units, in the ledger's order, and what it answers is a
// function of that order alone: whoever cuts it elsewhere gets the same takings.
// One goroutine owns it.
//
// The rule: a remainder is added up when each of its units has sent a statement
// that counts since it was added up the last time. What comes in between waits.
type Book struct {
	election *schemas.Election
	units    map[schemas.UnitIndex]*waiting
	missing  []int // by remainder: units without a statement since its last taking
	taken    [][]*Taking
}

// waiting is the newest statement of a unit.
type waiting struct {
	Statement
	cells []byte // schemas.AppendCells
	fresh bool   // not in any taking
}

// NewBook is one of an election with remainders, empty.
func NewBook(e *schemas.Election) *Book {
	b := &Book{
		election: e, units: map[schemas.UnitIndex]*waiting{},
		missing: make([]int, len(e.Remainders)), taken: make([][]*Taking, len(e.Remainders)),
	}
	for i := range e.Remainders {
		b.missing[i] = len(e.Remainders[i].Units)
		for _, u := range e.Remainders[i].Units {
			b.units[u] = new(waiting)
		}
	}
	return b
}

// Count takes in the statement that counts for its unit from now on, and its row.
// It returns the taking that this completes, or nil.
func (b *Book) Count(st Statement, cells []schemas.Count) (*Taking, error) {
	w := b.units[st.Unit]
	if w == nil {
		return nil, fmt.Errorf("unit %s belongs to no remainder", b.election.Units[st.Unit].ID)
	}
	i := b.election.RemainderOf(st.Unit)
	if !w.fresh {
		b.missing[i]--
	}
	w.Statement, w.fresh, w.cells = st, true, schemas.AppendCells(nil, cells)
	if b.missing[i] > 0 {
		return nil, nil
	}
	return b.take(i, st.Seq)
}

// Taken are all takings of a remainder, in order. They must not be changed.
func (b *Book) Taken(remainder int) []*Taking { return b.taken[remainder] }

// Last is the newest taking of a remainder, nil before the first.
func (b *Book) Last(remainder int) *Taking {
	if t := b.taken[remainder]; len(t) > 0 {
		return t[len(t)-1]
	}
	return nil
}

// Waiting counts the units of a remainder that sent a statement which is in no
// taking yet.
func (b *Book) Waiting(remainder int) (n int) {
	return len(b.election.Remainders[remainder].Units) - b.missing[remainder]
}

// take adds a remainder up.
func (b *Book) take(remainder int, seq uint64) (*Taking, error) {
	r := &b.election.Remainders[remainder]
	t := &Taking{Remainder: remainder, Number: len(b.taken[remainder]) + 1, Seq: seq, Row: make([]int64, b.election.Counties[r.County].Cells)}
	var cells []schemas.Count
	for _, u := range r.Units {
		w := b.units[u]
		n := b.election.Units[u].Style.Cells
		if cap(cells) < n {
			cells = make([]schemas.Count, n)
		}
		if err := schemas.ReadCells(w.cells, cells[:n]); err != nil {
			return nil, fmt.Errorf("reading the row of unit %s: %w", b.election.Units[u].ID, err)
		}
		b.election.Fold(t.Row, u, nil, cells[:n])
		t.Statements = append(t.Statements, w.Statement)
		w.fresh = false
	}
	Show(b.election, r, t.Row)
	t.compare(b.election, r, b.Last(remainder))
	b.taken[remainder] = append(b.taken[remainder], t)
	b.missing[remainder] = len(r.Units)
	return t, nil
}

// Show leaves in a sum of a remainder's units what the remainder shows.
func Show(e *schemas.Election, r *schemas.Remainder, row []int64) {
	place := &e.Counties[r.County]
	for i := range place.Sections {
		s, shown := &place.Sections[i], r.Sections[i]
		cells := row[s.Offset:][:s.Size(e.Types())]
		switch {
		case !shown.Shown:
			clear(cells)
			continue
		case s.Residuals && !shown.Residuals:
			clear(cells[1+int(s.Selections)*e.Types():])
		}
		cells[0] = int64(shown.Voting)
	}
}

// compare finds what is lower than in the taking before.
func (t *Taking) compare(e *schemas.Election, r *schemas.Remainder, before *Taking) {
	sections := e.Counties[r.County].Sections
	t.Fell, t.Moved = make([]bool, len(sections)), make([]int64, len(sections))
	if before == nil {
		return
	}
	copy(t.Moved, before.Moved)
	for i := range sections {
		s := &sections[i]
		for k := s.Offset; k < s.Offset+int32(s.Size(e.Types())); k++ {
			t.Fell[i] = t.Fell[i] || t.Row[k] < before.Row[k]
		}
		if t.Fell[i] {
			t.Moved[i]++
		}
	}
}
