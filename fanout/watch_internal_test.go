package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

// smallDefinition is an election of one county; the mayor's contest is
// everybody's, the school board is not asked for.
const smallDefinition = `{"schema":"tallystream.definition/1","election":"small-2026","name":"Small election","date":"2026-11-03",
"origin":"results.example/small-2026","countTypes":["election-day","early"],"partitions":1,"signatures":1,
"rules":{"ballots":false,"registered":false},"states":[{"id":"st","name":"State"}],"counties":[{"id":"leon","name":"Leon","state":"st"}],
"contests":[{"id":"mayor","name":"Mayor","kind":"candidate","votesAllowed":1,"residuals":"none","selections":[
{"id":"smith","name":"Ann Smith","party":"RED"},{"id":"jones","name":"Bo Jones"},{"id":"c3","name":"C"},{"id":"c4","name":"D"},{"id":"c5","name":"E"}]},
{"id":"board","name":"School board","kind":"candidate","votesAllowed":1,"residuals":"none","selections":[{"id":"x","name":"X"}]}],
"styles":[{"id":"all","contests":["board","mayor"]}],
"units":[{"id":"u1","name":"One","county":"leon","kind":"precinct","style":"all"}]}`

func smallElection(t *testing.T) *schemas.Election {
	t.Helper()
	e, err := schemas.OpenElection([]byte(smallDefinition))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mayorLine(unit string, smith int) string {
	return fmt.Sprintf(`{"contest":"mayor","unit":"%s","reporting":999,"units":1000,"corrections":2,"votes":{"smith":[%d,1],"jones":[30,0],"c3":[5,0],"c4":[4,0],"c5":[1,0]}}`, unit, smith)
}

// changeOf is what a viewer says after it fetched a document of these lines.
func changeOf(t *testing.T, g schemas.DocumentID, lines ...string) viewer.Change {
	t.Helper()
	body := []byte(strings.Join(lines, "\n") + "\n")
	d := viewer.NewDocument(g)
	if err := d.Replace(&schemas.Snap{Epoch: 1, Document: g, Version: 5, Hash: schemas.DigestOf(body)}, body); err != nil {
		t.Fatal(err)
	}
	return viewer.Change{Document: d}
}

func TestTheBoardShowsTotalsAndLeaders(t *testing.T) {
	e := smallElection(t)
	races, documents, err := pickRaces(e, nil, "")
	if err != nil || len(documents) != 1 || documents[0] != schemas.ElectionDocument {
		t.Fatalf("%v, %v", documents, err)
	}
	b := newBoard(e, races)
	b.take(changeOf(t, schemas.ElectionDocument, mayorLine("leon", 7), mayorLine("small-2026", 59)))
	b.at.Connected = true
	got := strings.Join(b.draw(80, 24, false), "\n")
	for _, want := range []string{"Small election", "live", "Mayor", "999 of 1,000 units (99.9%), 2 corrections", "Ann Smith (RED)", "60.0%", "2 others", "5.0%"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "School board") {
		t.Errorf("a contest without a line is shown\n%s", got)
	}
	for _, line := range strings.Split(got, "\n") {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("%d runes wide: %s", n, line)
		}
	}
}

func TestTheBoardFitsAnyWindow(t *testing.T) {
	e := smallElection(t)
	races, _, err := pickRaces(e, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	b := newBoard(e, races)
	b.take(changeOf(t, schemas.ElectionDocument, mayorLine("small-2026", 59)))
	for width := range 120 {
		for height := range 20 {
			if got := b.draw(width, height, true); len(got) > max(height, 6) {
				t.Fatalf("%d lines in a window of %d", len(got), height)
			}
		}
	}
}

func TestContestsAreFoundByAPartOfTheirName(t *testing.T) {
	e := smallElection(t)
	for name, want := range map[string]string{"mayor": "mayor", "MAY": "mayor", "school": "board", "o": "", "nobody": ""} {
		races, documents, err := pickRaces(e, []string{name}, "")
		if (err != nil) != (want == "") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		// A contest of one county stands in the county's document.
		if string(races[0].contest.ID) != want || races[0].unit != "leon" || documents[0] != "county/leon" {
			t.Errorf("%s: %s of %s in %v", name, races[0].contest.ID, races[0].unit, documents)
		}
	}
	if _, _, err := pickRaces(e, nil, "nowhere"); err == nil {
		t.Error("a county that does not exist is taken")
	}
}

func TestLinesAreWrittenNoMoreOftenThanAsked(t *testing.T) {
	e := smallElection(t)
	races, _, err := pickRaces(e, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 3, 21, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	o := &lineOutput{board: newBoard(e, races), out: &out, every: time.Second, now: func() time.Time { return now }, next: map[*race]time.Time{}}
	o.state(viewer.State{Connected: true})
	for smith := range 5 {
		o.change(changeOf(t, schemas.ElectionDocument, mayorLine("small-2026", 100+smith)))
	}
	o.flush(false)
	now = now.Add(time.Second)
	o.flush(false)
	o.flush(false)
	want := []string{"21:04:05 connected", "Ann Smith (RED) 101 (", "Ann Smith (RED) 105 ("}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != len(want) {
		t.Fatalf("wrote\n%s", out.String())
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("line %d is %q, want %q in it", i, got[i], want[i])
		}
	}
}

func TestProgramsGetTheLinesAsPublished(t *testing.T) {
	var out bytes.Buffer
	ctx, stop := context.WithCancelCause(t.Context())
	o := &jsonOutput{out: &out, stop: stop}
	whole := changeOf(t, schemas.ElectionDocument, mayorLine("a", 1), mayorLine("b", 2))
	o.change(whole)
	part := whole
	part.Lines, part.Micros = [][]byte{[]byte(mayorLine("b", 2))}, 17
	o.change(part)
	dec := json.NewDecoder(&out)
	for _, want := range []struct {
		whole bool
		lines int
	}{{true, 2}, {false, 1}} {
		var got jsonChange
		if err := dec.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got.Whole != want.whole || len(got.Lines) != want.lines || got.Version != 5 || string(got.Lines[want.lines-1]) != mayorLine("b", 2) {
			t.Errorf("%+v", got)
		}
	}
	o.out = failing{}
	o.change(part)
	if context.Cause(ctx) == nil {
		t.Error("goes on though nobody reads it")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fmt.Errorf("broken pipe") }

func TestTheScreenIsDrawnWholeAndOnlyWhenSomethingIsNew(t *testing.T) {
	e := smallElection(t)
	races, _, err := pickRaces(e, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := &screen{out: &out, board: newBoard(e, races), size: func() (int, int) { return 80, 24 }}
	s.draw()
	if !strings.Contains(out.String(), "Nothing is published yet.") {
		t.Errorf("drew %q", out.String())
	}
	out.Reset()
	s.draw()
	if out.Len() > 0 {
		t.Errorf("drew again: %q", out.String())
	}
	s.change(changeOf(t, schemas.ElectionDocument, mayorLine("small-2026", 59)))
	s.draw()
	if !strings.HasPrefix(out.String(), "\x1b[3F\x1b[J") || !strings.Contains(out.String(), "Ann Smith") {
		t.Errorf("drew %q", out.String())
	}
}

func TestNamesCannotCommandTheTerminal(t *testing.T) {
	if got := clipped("a\x1b[2Jb\u009bc\nd", 20); got != "a[2Jbcd" {
		t.Errorf("got %q", got)
	}
}

func TestNumbersAreGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
