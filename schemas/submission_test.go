package schemas_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"tallystream/schemas"
)

func body(e *schemas.Election) string {
	return string(e.AppendBody(nil, 0, 3, exampleCells(), nil, nil))
}

func resolve(e *schemas.Election, body string) (*schemas.Statement, error) {
	var s schemas.Submission
	if err := s.Decode([]byte(body)); err != nil {
		return nil, err
	}
	st := new(schemas.Statement)
	return st, e.Resolve(&s, st)
}

func TestWhatAClientWritesIsWhatTheReaderUnderstands(t *testing.T) {
	e := open(t, exampleDefinition())
	st, err := resolve(e, body(e))
	if err != nil {
		t.Fatal(err)
	}
	want := &schemas.Statement{Unit: 0, Revision: 3, Cells: exampleCells()}
	if d := cmp.Diff(want, st); d != "" {
		t.Error(d)
	}
	if hold := e.Implausible(st); hold != "" {
		t.Errorf("held: %s", hold)
	}
}

func TestWhiteSpaceAndMemberOrderDoNotMatter(t *testing.T) {
	e := open(t, exampleDefinition())
	spaced := strings.NewReplacer(",", " ,\n\t", ":", " : ", "[", " [ ", "]", " ]", "{", "{ ", "}", " } ").Replace(body(e))
	st, err := resolve(e, spaced)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(st.Cells, exampleCells()) {
		t.Error("cells differ")
	}
	moved := `{"revision":3,` + strings.Replace(strings.TrimPrefix(body(e), "{"), `"revision":3,`, "", 1)
	if _, err := resolve(e, moved); err != nil {
		t.Error(err)
	}
}

func TestACountTypeNotStatedIsZero(t *testing.T) {
	e := open(t, exampleDefinition())
	st, err := resolve(e, string(e.AppendBody(nil, 0, 1, exampleCells(), []bool{true, false, true}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if got := st.Cells[1:4]; !slices.Equal(got, []schemas.Count{40, 0, 10}) {
		t.Errorf("ballots %v", got)
	}
}

func TestEachBadBodyIsRefusedWithItsField(t *testing.T) {
	e := open(t, exampleDefinition())
	for _, c := range []struct {
		name, old, new string
		code           schemas.ProblemCode
		field          string
	}{
		{"negative", "[20,30,5]", "[20,-30,5]", schemas.ProblemMalformed, "/contests/0/votes/0/counts/1"},
		{"fraction", "[20,30,5]", "[20,30.0,5]", schemas.ProblemMalformed, "/contests/0/votes/0/counts/1"},
		{"exponent", "[20,30,5]", "[20,3e1,5]", schemas.ProblemMalformed, "/contests/0/votes/0/counts/1"},
		{"huge", "[20,30,5]", "[20,30,100000000]", schemas.ProblemMalformed, "/contests/0/votes/0/counts/2"},
		{"overflowing", "[20,30,5]", "[20,30,18446744073709551621]", schemas.ProblemMalformed, "/contests/0/votes/0/counts/2"},
		{"leading zero", "[20,30,5]", "[20,030,5]", schemas.ProblemMalformed, "/contests/0/votes/0/counts/1"},
		{"string for a count", "[20,30,5]", `[20,"30",5]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/1"},
		{"null for a count", "[20,30,5]", `[20,null,5]`, schemas.ProblemMalformed, "/contests/0/votes/0/counts/1"},
		{"too few counts", "[20,30,5]", "[20,30]", schemas.ProblemMalformed, "/contests/0/votes/0/counts"},
		{"too many counts", "[20,30,5]", "[20,30,5,1]", schemas.ProblemMalformed, "/contests/0/votes/0/counts"},
		{"no counts", "[20,30,5]", "[]", schemas.ProblemMalformed, "/contests/0/votes/0/counts"},
		{"duplicate member", `"unit":"leon.1"`, `"unit":"leon.1","unit":"sumter.1"`, schemas.ProblemMalformed, "/unit"},
		{"duplicate in a contest", `{"contest":"amendment-1"`, `{"contest":"amendment-1","contest":"amendment-1"`, schemas.ProblemMalformed, "/contests/0"},
		{"missing member", `"unit":"leon.1",`, ``, schemas.ProblemMalformed, "/unit"},
		{"unknown member", `"unit":`, `"extra":1,"unit":`, schemas.ProblemMalformed, ""},
		{"invalid UTF-8", `"leon.1"`, "\"leon\xff1\"", schemas.ProblemMalformed, ""},
		{"escape in an identifier", `"leon.1"`, `"leon\u002e1"`, schemas.ProblemMalformed, "/unit"},
		{"revision zero", `"revision":3`, `"revision":0`, schemas.ProblemMalformed, "/revision"},
		{"data after the end", `"overvotes":[0,1,0]}]}`, `"overvotes":[0,1,0]}]} x`, schemas.ProblemMalformed, ""},
		{"wrong version", `submission/1`, `submission/9`, schemas.ProblemMalformed, "/schema"},
		{"wrong election", `"election":"test-2026"`, `"election":"test-2022"`, schemas.ProblemElection, "/election"},
		{"stale definition", `"definition":"`, `"definition":"0`, schemas.ProblemDefinition, "/definition"},
		{"unknown unit", `"unit":"leon.1"`, `"unit":"leon.9"`, schemas.ProblemUnknownUnit, "/unit"},
		{"unknown contest", `"contest":"amendment-1"`, `"contest":"amendment-9"`, schemas.ProblemContest, "/contests/0/contest"},
		{"contest twice", `"contest":"council"`, `"contest":"amendment-1"`, schemas.ProblemMalformed, "/contests/1/contest"},
		{"unknown selection", `"selection":"no"`, `"selection":"maybe"`, schemas.ProblemContest, "/contests/0/votes/1/selection"},
		{"selection missing", `,{"selection":"no","counts":[15,20,5]}`, ``, schemas.ProblemContest, "/contests/0/votes"},
		{"unknown count type", `"early"`, `"earlier"`, schemas.ProblemMalformed, "/countTypes/0"},
		{"votes exceed ballots", "[25,40,2]", "[25,140,2]", schemas.ProblemVotesExceed, "/contests/2/votes"},
		{"votes exceed ballots in all", "[40,50,10]", "[40,150,10]", schemas.ProblemVotesExceed, "/contests/1/votes"},
		{"residuals where none are stated", `"counts":[15,20,5]}]`, `"counts":[15,20,5]}],"undervotes":[0,0,0]`, schemas.ProblemMalformed, "/contests/0/undervotes"},
		{"cut off", `"overvotes":[0,1,0]}]}`, `"overvotes":[0,1`, schemas.ProblemMalformed, "/contests/2/overvotes"},
		{"correction without text", `"overvotes":[0,1,0]}]}`, `"overvotes":[0,1,0]}],"correction":{"reason":"recount"}}`, schemas.ProblemMalformed, "/correction"},
		{"correction for no known reason", `"overvotes":[0,1,0]}]}`, `"overvotes":[0,1,0]}],"correction":{"reason":"because","text":"x"}}`, schemas.ProblemMalformed, "/correction"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(body(e), c.old, c.new, 1)
			if bad == body(e) {
				t.Fatal("the case changes nothing")
			}
			_, err := resolve(e, bad)
			fe, ok := errors.AsType[*schemas.FieldError](err)
			if !ok {
				t.Fatalf("got %v, want a FieldError", err)
			}
			if fe.Code != c.code || fe.Field != c.field {
				t.Errorf("got %s at %q (%v), want %s at %q", fe.Code, fe.Field, err, c.code, c.field)
			}
		})
	}
}

func TestImplausibleStatementsAreHeldNotRefused(t *testing.T) {
	e := open(t, exampleDefinition())
	for _, c := range []struct {
		name string
		cell int
		to   schemas.Count
		want schemas.HoldCode
	}{
		{"an undervote too few", 34, 0, schemas.HoldIdentity},
		{"a total that misses two votes", 11 + 4, 9, schemas.HoldIdentity},
		{"more ballots than voters", 2, 600, schemas.HoldRegistered},
	} {
		t.Run(c.name, func(t *testing.T) {
			cells := exampleCells()
			cells[c.cell] = c.to
			if got := e.Implausible(&schemas.Statement{Unit: 0, Cells: cells}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestOnlyVotesAndBallotsCannotFall(t *testing.T) {
	e := open(t, exampleDefinition())
	before := exampleCells()
	lower := func(cell int) []schemas.Count {
		after := exampleCells()
		after[cell]--
		return after
	}
	for cell, want := range map[int]schemas.HoldCode{
		1: schemas.HoldLowered, 5: schemas.HoldLowered, 4: schemas.HoldMissing, 27: schemas.HoldMissing,
		34: "" /* undervote */, 38: "", /* overvote */
	} {
		if got := e.Lowered(0, before, lower(cell)); got != want {
			t.Errorf("cell %d: got %q, want %q", cell, got, want)
		}
	}
	if got := e.Lowered(0, before, before); got != "" {
		t.Errorf("unchanged: %q", got)
	}
}

func TestFoldIsExactWhateverReplacesWhat(t *testing.T) {
	e := open(t, exampleDefinition())
	row := make([]int64, e.Counties[0].Cells)
	zero := make([]int64, len(row))
	a, b := exampleCells(), exampleCells()
	b[1] += 7
	e.Fold(row, 0, nil, a)
	e.Fold(row, 1, nil, a)
	e.Fold(row, 0, a, b)
	e.Fold(row, 1, a, nil)
	for i := range b {
		if row[i] != int64(b[i]) {
			t.Fatalf("cell %d: %d, want %d", i, row[i], b[i])
		}
	}
	e.Fold(row, 0, b, nil)
	if !slices.Equal(row, zero) {
		t.Errorf("not empty: %v", row)
	}
}

func TestCompactRowsReadBack(t *testing.T) {
	cells := exampleCells()
	got := make([]schemas.Count, len(cells))
	b := schemas.AppendCells(nil, cells)
	if err := schemas.ReadCells(b, got); err != nil || !slices.Equal(got, cells) {
		t.Fatal(got, err)
	}
	for n := range b {
		if schemas.ReadCells(b[:n], got) == nil {
			t.Fatalf("a row cut to %d bytes was read", n)
		}
	}
	if schemas.ReadCells(append(b, 0), got) == nil {
		t.Error("a row with a byte too many was read")
	}
}

func BenchmarkDecodeAndResolve(b *testing.B) {
	e := open(b, exampleDefinition())
	raw := []byte(body(e))
	var s schemas.Submission
	var st schemas.Statement
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Decode(raw); err != nil {
			b.Fatal(err)
		}
		if err := e.Resolve(&s, &st); err != nil {
			b.Fatal(err)
		}
	}
}
