package schemas_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

// seed adds every good example of a format, and spoilt ones.
func seed(f *testing.F, format string) {
	f.Helper()
	files, err := filepath.Glob("testdata/good/" + format + "*")
	if err != nil || len(files) == 0 {
		f.Fatalf("no examples of %s: %v", format, err)
	}
	for _, file := range files {
		if formatOf(filepath.Base(file)) != format {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		for _, r := range []string{`"`, `""`, `1`, `-1`, `:`, `::`, `[`, `[[],`, `}`, `,"schema":1}`, "\n", "\n\n", `e`, `\u0065`} {
			f.Add([]byte(strings.Replace(string(b), r[:1], r, 1)))
		}
	}
}

// fuzzAgainstSchema checks that whatever the reader accepts the schema accepts:
// the reader is the stricter of the two.
func fuzzAgainstSchema(f *testing.F, format string) {
	f.Helper()
	seed(f, format)
	schema := compiled(f, format)
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := read(t, format, b); err != nil {
			return
		}
		for _, line := range jsonValues(format, b) {
			if err := schemaAccepts(schema, line, false); err != nil {
				t.Errorf("the reader accepts what the schema refuses: %v\n%s", err, line)
			}
		}
	})
}

// jsonValues are the lines of NDJSON, or the whole.
func jsonValues(format string, b []byte) [][]byte {
	if format != "manifest" {
		return [][]byte{b}
	}
	var lines [][]byte
	for line := range bytes.Lines(b) {
		lines = append(lines, line)
	}
	return lines
}

func FuzzDefinition(f *testing.F) { fuzzAgainstSchema(f, "definition") }
func FuzzRoster(f *testing.F)     { fuzzAgainstSchema(f, "roster") }
func FuzzLine(f *testing.F)       { fuzzAgainstSchema(f, "line") }
func FuzzManifest(f *testing.F) {
	f.Add([]byte(""))
	fuzzAgainstSchema(f, "manifest")
}

// generalBody is a body as a general decoder sees it.
type generalBody struct {
	Schema, Election, Definition, Unit string
	Revision                           uint32
	CountTypes                         []string
	Ballots                            []uint32
	Contests                           []struct {
		Contest string
		Votes   []struct {
			Selection string
			Counts    []uint32
		}
		Undervotes, Overvotes []uint32
	}
	Correction *schemas.Correction
}

// understood is what our reader made of a body, in the same form.
func understood(s *schemas.Submission) string {
	type m = map[string]any
	var contests []m
	for _, c := range s.Contests {
		var votes []m
		for _, v := range c.Selections {
			votes = append(votes, m{"s": string(v.Selection), "c": v.Counts})
		}
		contests = append(contests, m{"contest": string(c.Contest), "votes": votes, "u": c.Undervotes, "o": c.Overvotes})
	}
	var types []string
	for _, t := range s.CountTypes {
		types = append(types, string(t))
	}
	b, _ := json.Marshal(m{
		"e": string(s.Election), "d": string(s.Definition), "u": string(s.Unit), "r": s.Revision, "t": types, "b": s.Ballots,
		"c": contests, "x": s.Correction,
	})
	return string(b)
}

func (g *generalBody) understood() string {
	type m = map[string]any
	var contests []m
	for _, c := range g.Contests {
		var votes []m
		for _, v := range c.Votes {
			votes = append(votes, m{"s": v.Selection, "c": v.Counts})
		}
		contests = append(contests, m{"contest": c.Contest, "votes": votes, "u": c.Undervotes, "o": c.Overvotes})
	}
	b, _ := json.Marshal(m{
		"e": g.Election, "d": g.Definition, "u": g.Unit, "r": g.Revision, "t": g.CountTypes, "b": g.Ballots, "c": contests, "x": g.Correction,
	})
	return string(b)
}

func FuzzSubmission(f *testing.F) {
	seed(f, "submission")
	e := goodElection(f)
	schema := compiled(f, "submission")
	var reused schemas.Submission // as every user of it does
	f.Fuzz(func(t *testing.T, b []byte) {
		var s schemas.Submission
		err := s.Decode(b)
		if again := reused.Decode(b); (err == nil) != (again == nil) {
			t.Fatalf("a used Submission decodes differently: %v, %v", err, again)
		}
		if err != nil {
			return
		}
		if !utf8.Valid(b) {
			t.Error("invalid UTF-8 is accepted")
		}
		if diff := cmp.Diff(understood(&s), understood(&reused)); diff != "" {
			t.Errorf("a used Submission understands something else:\n%s", diff)
		}
		var general generalBody
		if err := json.Unmarshal(b, &general); err != nil {
			t.Fatalf("the reader accepts what encoding/json refuses: %v\n%s", err, b)
		}
		if diff := cmp.Diff(general.understood(), understood(&s)); diff != "" {
			t.Errorf("the reader and encoding/json understand something else:\n%s\n%s", b, diff)
		}
		var statement schemas.Statement
		if e.Resolve(&s, &statement) != nil {
			return
		}
		if err := schemaAccepts(schema, b, false); err != nil {
			t.Errorf("the reader accepts what the schema refuses: %v\n%s", err, b)
		}
		writtenAgain(t, e, &s, &statement)
	})
}

// writtenAgain checks that a statement survives being written and read.
func writtenAgain(t *testing.T, e *schemas.Election, s *schemas.Submission, statement *schemas.Statement) {
	types := make([]bool, e.Types())
	for _, stated := range s.CountTypes {
		for i, known := range e.Definition.CountTypes {
			types[i] = types[i] || string(stated) == string(known)
		}
	}
	b := e.AppendBody(nil, statement.Unit, statement.Revision, statement.Cells, types, s.Correction)
	var again schemas.Submission
	var st schemas.Statement
	if err := again.Decode(b); err != nil {
		t.Fatalf("cannot be read again: %v\n%s", err, b)
	}
	if err := e.Resolve(&again, &st); err != nil {
		t.Fatalf("cannot be resolved again: %v\n%s", err, b)
	}
	if diff := cmp.Diff(statement, &st); diff != "" {
		t.Errorf("says something else:\n%s", diff)
	}
	e.Implausible(&st) // must not panic
}

func FuzzEnvelope(f *testing.F) {
	seed(f, "envelope")
	e := goodElection(f)
	schema := compiled(f, "envelope")
	_, key := exampleKey(f, "official-leon")
	verifier, err := note.NewVerifier(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v schemas.Envelope
		if v.Parse(b) != nil {
			return
		}
		if v.Digest != schemas.DigestOf(v.Body) || !bytes.HasSuffix(b, v.Body) || !bytes.HasPrefix(b, v.Text) {
			t.Error("text, body and digest do not belong together")
		}
		if n := len(v.Signatures()); n < 1 || n > schemas.MaxSignatures {
			t.Errorf("%d signatures", n)
		}
		if _, ok := e.Unit(schemas.UnitID(v.Unit)); ok && string(v.Origin) == e.Definition.Origin && utf8.Valid(b) {
			if err := schemaAccepts(schema, b, true); err != nil {
				t.Errorf("the reader accepts what the schema refuses: %v\n%q", err, b)
			}
		}
		// What we verify is a note that others can open, and the other way round.
		opened, err := note.Open(b[:len(b)-len(v.Body)-1], note.VerifierList(verifier))
		ours := false
		for i := range v.Signatures() {
			k, err := schemas.ParseVerifierKey(key)
			if err != nil {
				t.Fatal(err)
			}
			ours = ours || v.Verify(i, &schemas.Key{Name: k.Name, Hash: k.Hash, Public: k.Public})
		}
		if err == nil && (!ours || opened.Text != string(v.Text)) {
			t.Errorf("package note opens what we do not verify: %q", b)
		}
	})
}

// fuzzNote signs fuzzed text, so that the reader gets to see it.
func fuzzNote(f *testing.F, format, key string) {
	f.Helper()
	for _, b := range [][]byte{goodFile(f, format+".txt")} {
		text, _, _ := bytes.Cut(b, []byte("\n\n"))
		f.Add(append(text, '\n'))
		for _, r := range []string{"\n", "\n\n", "1", "01", "-1", "/", " ", "2"} {
			f.Add([]byte(strings.Replace(string(text), r[:1], r, 1) + "\n"))
		}
	}
	signer, _ := exampleKey(f, key)
	schema := compiled(f, format)
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := schemas.AppendNote(nil, text, signer)
		if err != nil {
			t.Fatal(err)
		}
		if read(t, format, b) != nil {
			return
		}
		origin, _, _ := bytes.Cut(text, []byte("\n"))
		if !bytes.HasPrefix(origin, []byte("results.example.org/2026-general/")) {
			return // the origin is held against the election by those who have it
		}
		if err := schemaAccepts(schema, b, true); err != nil {
			t.Errorf("the reader accepts what the schema refuses: %v\n%q", err, b)
		}
	})
}

func FuzzReceipt(f *testing.F)        { fuzzNote(f, "receipt", "ingest") }
func FuzzReleaseText(f *testing.F)    { fuzzNote(f, "release", "supervisor-1") }
func FuzzReleaseReceipt(f *testing.F) { fuzzNote(f, "release-receipt", "ingest") }
func FuzzSnapshot(f *testing.F)       { fuzzNote(f, "snapshot", "publish") }

func FuzzFrame(f *testing.F) {
	seed(f, "frame")
	schema := compiled(f, "frame")
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, joined, err := schemas.ReadDeltaHeader(b); err == nil {
			if lines, err := schemas.SplitLines(nil, joined); err == nil {
				sameDelta(t, b, h, lines)
			}
		}
		if readFrame(b) != nil {
			return
		}
		if err := schemaAccepts(schema, b, false); err != nil && !looseLines(b) {
			t.Errorf("the reader accepts what the schema refuses: %v\n%s", err, b)
		}
	})
}

// looseLines reports whether b is a delta with a line that ParseDelta passes on
// unread: viewers compare the document's hash instead.
func looseLines(b []byte) bool {
	d, err := schemas.ParseDelta(b)
	if err != nil {
		return false
	}
	for _, l := range d.Lines {
		if _, err := schemas.ParseLine(l); err != nil {
			return true
		}
	}
	return false
}

// sameDelta checks that the quick reader and the strict one understand the same
// frame the same way, where both take it.
func sameDelta(t *testing.T, frame []byte, h schemas.DeltaHeader, lines [][]byte) {
	d, err := schemas.ParseDelta(frame)
	if err != nil || looseLines(frame) {
		return
	}
	if d.Header() != h || len(d.Lines) != len(lines) {
		t.Fatalf("understood as %+v with %d lines and as %+v with %d", d.Header(), len(d.Lines), h, len(lines))
	}
	for i := range lines {
		if !bytes.Equal(d.Lines[i], lines[i]) {
			t.Errorf("line %d is %s and %s", i, d.Lines[i], lines[i])
		}
	}
}

func FuzzMovement(f *testing.F) {
	fuzzLine(f, "correction", func(b []byte) ([]byte, error) {
		m, err := schemas.ParseMovement(b)
		if err != nil {
			return nil, err
		}
		return m.AppendLine(nil), nil
	})
}

func FuzzHeldEntry(f *testing.F) {
	fuzzLine(f, "hold", func(b []byte) ([]byte, error) {
		h, err := schemas.ParseHeldEntry(b)
		if err != nil {
			return nil, err
		}
		return h.AppendLine(nil), nil
	})
}

// fuzzLine holds a reader of lines against its schema, and what it read against
// what it reads when that is written again.
func fuzzLine(f *testing.F, format string, again func([]byte) ([]byte, error)) {
	seed(f, format)
	schema := compiled(f, format)
	f.Fuzz(func(t *testing.T, b []byte) {
		line, err := again(b)
		if err != nil {
			return
		}
		if err := schemaAccepts(schema, b, false); err != nil {
			t.Errorf("the reader accepts what the schema refuses: %v\n%s", err, b)
		}
		if twice, err := again(line); err != nil || !bytes.Equal(twice, line) {
			t.Errorf("written and read again it is %s, not %s: %v", twice, line, err)
		}
	})
}

func FuzzClientFrame(f *testing.F) {
	seed(f, "frame")
	schema := compiled(f, "frame")
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := schemas.ParseClientFrame(b); err != nil {
			return
		}
		if err := schemaAccepts(schema, b, false); err != nil {
			t.Errorf("the reader accepts what the schema refuses: %v\n%s", err, b)
		}
	})
}

func FuzzCompactRow(f *testing.F) {
	f.Add(schemas.AppendCells(nil, goodCells))
	f.Add(schemas.AppendRow(nil, []int64{0, 1, 1 << 62}))
	f.Add([]byte{0x80, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for n := range 4 {
			row := make([]int64, n)
			if schemas.ReadRow(b, row) == nil {
				again := make([]int64, n)
				if err := schemas.ReadRow(schemas.AppendRow(nil, row), again); err != nil || cmp.Diff(row, again) != "" {
					t.Errorf("row %v reads back as %v: %v", row, again, err)
				}
			}
			cells := make([]schemas.Count, n)
			if schemas.ReadCells(b, cells) == nil {
				again := make([]schemas.Count, n)
				if err := schemas.ReadCells(schemas.AppendCells(nil, cells), again); err != nil || cmp.Diff(cells, again) != "" {
					t.Errorf("cells %v read back as %v: %v", cells, again, err)
				}
			}
		}
	})
}
