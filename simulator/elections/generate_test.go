package elections_test

import (
	"bytes"
	"fmt"
	"testing"

	"tallystream/schemas"
	"tallystream/simulator/elections"
)

func generate(t testing.TB, kind elections.Kind, seed uint64) *elections.Generated {
	t.Helper()
	g, err := elections.Generate(kind, seed)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// checkUnit reports what does not add up in unit u.
func checkUnit(e *schemas.Election, u schemas.UnitIndex, cells []schemas.Count) error {
	types := e.Types()
	cast := uint64(0)
	for _, n := range cells[1 : 1+types] {
		cast += uint64(n)
	}
	if registered := e.Units[u].Registered; cast > uint64(registered) {
		return fmt.Errorf("%d ballots of %d registered", cast, registered)
	}
	for _, s := range e.Units[u].Style.Sections[1:] {
		c := &e.Definition.Contests[s.Contest]
		for t := range types {
			ballots := uint64(cells[1+t])
			sum := uint64(0)
			for k := range int(s.Selections) + 2 {
				n := uint64(cells[int(s.Offset)+1+k*types+t])
				if k < int(s.Selections) && n > ballots {
					return fmt.Errorf("contest %s: %d votes on %d ballots", c.ID, n, ballots)
				}
				sum += n
			}
			if sum != ballots*uint64(c.VotesAllowed) {
				return fmt.Errorf("contest %s: votes, under- and overvotes are %d, ballots x allowed %d", c.ID, sum, ballots*uint64(c.VotesAllowed))
			}
		}
	}
	st := schemas.Statement{Unit: u, Revision: 1, Cells: cells}
	if hold := e.Implausible(&st); hold != "" {
		return fmt.Errorf("held: %s", hold)
	}
	return nil
}

func TestEveryGeneratedUnitAddsUp(t *testing.T) {
	for _, kind := range []elections.Kind{elections.CountyKind, elections.StateKind} {
		for seed := range uint64(3) {
			g := generate(t, kind, seed)
			var cells []schemas.Count
			for u := range g.Election().Units {
				cells = g.Cells(schemas.UnitIndex(u), cells)
				if err := checkUnit(g.Election(), schemas.UnitIndex(u), cells); err != nil {
					t.Fatalf("%s, seed %d, unit %s: %v", kind, seed, g.Election().Units[u].ID, err)
				}
			}
		}
	}
}

func TestTheSameSeedGivesTheSameElection(t *testing.T) {
	a, b, other := generate(t, elections.StateKind, 7), generate(t, elections.StateKind, 7), generate(t, elections.StateKind, 8)
	if !bytes.Equal(a.Definition(), b.Definition()) {
		t.Error("two definitions of one seed differ")
	}
	if bytes.Equal(a.Definition(), other.Definition()) {
		t.Error("two seeds gave one definition")
	}
}

func TestTheUnionHasItsTrueSize(t *testing.T) {
	if underRace {
		t.Skip("one goroutine, and half a minute under the race detector")
	}
	g := generate(t, elections.UnionKind, 1)
	e := g.Election()
	if n := len(e.Units); n != 180_000 {
		t.Errorf("%d units, want 180,000", n)
	}
	if n := len(e.Counties); n != 3143 {
		t.Errorf("%d counties, want 3,143", n)
	}
	if n := len(e.Definition.States); n != 51 {
		t.Errorf("%d states, want 51", n)
	}
	if n := len(g.Definition()); n > 45<<20 {
		t.Errorf("definition has %d bytes, want at most 45 MiB", n)
	}
	contests, cells, bytes := 0, 0, 0
	var row []schemas.Count
	var body []byte
	var votes uint64
	president, _ := e.Contest("president")
	for u := 0; u < len(e.Units); u += 97 {
		row = g.Cells(schemas.UnitIndex(u), row)
		if err := checkUnit(e, schemas.UnitIndex(u), row); err != nil {
			t.Fatalf("unit %s: %v", e.Units[u].ID, err)
		}
		body = e.AppendBody(body[:0], schemas.UnitIndex(u), 1, row, nil, nil)
		contests += len(e.Units[u].Style.Sections) - 1
		cells += len(row)
		bytes += len(body)
		i, _ := e.Units[u].Style.Find(president)
		s := e.Units[u].Style.Sections[i]
		for _, n := range row[s.Offset+1:][:int(s.Selections)*e.Types()] {
			votes += uint64(n)
		}
	}
	n := (len(e.Units) + 96) / 97
	t.Logf("definition %d bytes, %d contests; a unit: %.1f contests, %d cells, body %d bytes; votes for President %d million",
		len(g.Definition()), len(e.Definition.Contests), float64(contests)/float64(n), cells/n, bytes/n, votes*97/1e6)
	if mean := contests / n; mean < 28 || mean > 32 {
		t.Errorf("%d contests a unit, want about 30", mean)
	}
	if millions := votes * 97 / 1e6; millions < 130 || millions > 190 {
		t.Errorf("%d million votes, want about 158", millions)
	}
}

func BenchmarkCells(b *testing.B) {
	g := generate(b, elections.StateKind, 1)
	var cells []schemas.Count
	u := 0
	for b.Loop() {
		cells = g.Cells(schemas.UnitIndex(u), cells)
		if u++; u == len(g.Election().Units) {
			u = 0
		}
	}
}

func BenchmarkGenerateUnion(b *testing.B) {
	for b.Loop() {
		generate(b, elections.UnionKind, 1)
	}
}
