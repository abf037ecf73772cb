package schemas_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

var update = flag.Bool("update", false, "rewrite the examples in testdata/good")

// compiled returns the JSON Schema of a format.
func compiled(t testing.TB, format string) *jsonschema.Schema {
	t.Helper()
	name := format + ".schema.json"
	b, err := fs.ReadFile(schemas.JSONSchemas(), name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// schemaAccepts holds an example, JSON or a note's text, against a schema.
func schemaAccepts(s *jsonschema.Schema, example []byte, text bool) error {
	if text {
		return s.Validate(string(example))
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(example))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// textual formats are signed notes.
func textual(format string) bool {
	switch format {
	case "envelope", "receipt", "release", "release-receipt", "snapshot":
		return true
	}
	return false
}

// exampleKey is a key pair made of its name: for examples and tests only.
func exampleKey(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	private, public, err := note.GenerateKey(bytes.NewReader(seed[:ed25519.SeedSize]), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, public
}

func goodFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/good", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goodElection is the election of testdata/good/definition.json.
func goodElection(t testing.TB) *schemas.Election {
	t.Helper()
	e, err := schemas.OpenElection(goodFile(t, "definition.json"))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// goodCells is a row of leon-1101 that adds up.
var goodCells = []schemas.Count{
	1, 100, 50, 10,
	1, 60, 30, 5, 40, 20, 5, // amendment-1
	1, 90, 40, 9, 60, 30, 6, 30, 20, 3, 20, 10, 2, 0, 0, 0, // council, of 2 each
	1, 55, 20, 4, 40, 28, 6, 2, 1, 0, 2, 1, 0, 1, 0, 0, // president
}

// written are the examples that our own code writes, by file. The name up to
// the first '.' or '_' is the format.
func written(t testing.TB) map[string][]byte {
	e := goodElection(t)
	unit, _ := e.Unit("leon-1101")
	official, officialKey := exampleKey(t, "official-leon")
	supervisor1, supervisor1Key := exampleKey(t, "supervisor-1")
	supervisor2, supervisor2Key := exampleKey(t, "supervisor-2")
	ingest, _ := exampleKey(t, "ingest")
	publish, _ := exampleKey(t, "publish")
	indent := func(v any) []byte {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return append(b, '\n')
	}
	seal := func(revision schemas.Revision, body []byte, signers ...note.Signer) []byte {
		b, err := schemas.AppendEnvelope(nil, e.Definition.Origin, "leon-1101", revision, body, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sign := func(text []byte, s note.Signer) []byte {
		b, err := schemas.AppendNote(nil, text, s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	body := e.AppendBody(nil, unit, 1, goodCells, nil, nil)
	partial := e.AppendBody(nil, unit, 1, goodCells, []bool{false, true, false}, nil)
	correction := e.AppendBody(nil, unit, 2, goodCells, nil, &schemas.Correction{Reason: schemas.CorrectTranscription, Text: "Two digits were \"swapped\" – corrected."})
	leon, _ := e.County("leon")
	county := &e.Counties[leon]
	row := make([]int64, county.Cells)
	e.Fold(row, unit, nil, goodCells)
	line := func(i int, corrections int64) []byte {
		s := &county.Sections[i]
		return e.AppendLine(nil, s, county.ID, int64(s.Units), corrections, row)
	}
	trim := func(b []byte) []byte { return bytes.TrimSuffix(b, []byte("\n")) }
	digest := schemas.DigestOf(body)
	receipt := schemas.Receipt{Origin: e.Definition.Origin, Unit: "leon-1101", Revision: 1, Digest: digest}
	release, err := schemas.AppendRelease(nil, e.Definition.Origin, "leon-1101", 2, digest, schemas.ReleaseChecked, "Held against the poll tapes – it is right.", supervisor1, supervisor2)
	if err != nil {
		t.Fatal(err)
	}
	released := schemas.ReleaseReceipt(receipt)
	snapshot := schemas.Snapshot{
		Origin: e.Definition.Origin, Number: 12, Log: 40225, Root: schemas.Digest{3}, Manifest: digest, Previous: schemas.Digest{1}, Accepted: 40200, Held: 13,
		Time: "2026-11-03T21:04:05.123Z",
	}
	delta := schemas.Delta{
		Epoch: 3, Document: "county/leon", From: 41, To: 42, Log: 42, Micros: 1793912645123456, Hash: digest,
		Lines: [][]byte{trim(line(1, 0)), trim(line(3, 0))},
	}
	lower := slices.Clone(goodCells)
	lower[1], lower[5], lower[len(lower)-3] = 99, 59, 0
	movement := schemas.Movement{
		Unit: "leon-1101", County: "leon", Revision: 2, Replaces: 1, Kind: schemas.MovementCorrection,
		Reason: string(schemas.CorrectDuplicate), Text: "One \"early\" ballot was counted twice.", Signers: []string{"supervisor-1", "supervisor-2"},
		Partition: 2, Seq: 17, Changes: e.Fallen(unit, goodCells, lower),
	}
	releasing, adjudicated := movement, movement
	releasing.Kind, releasing.Reason = schemas.MovementRelease, string(schemas.ReleaseChecked)
	adjudicated.Kind, adjudicated.Reason, adjudicated.Text, adjudicated.Signers = schemas.MovementAdjudication, "", "", []string{"official-leon"}
	adjudicated.Changes = []schemas.Fall{
		{Contest: "president", Selection: schemas.Undervotes, CountType: schemas.Early, Before: 4, After: 3},
		{Contest: "council", Selection: schemas.Reporting, Before: 1},
	}
	remainder := movement
	remainder.Unit, remainder.Kind, remainder.Reason, remainder.Text, remainder.Signers = "combined-3", schemas.MovementRemainder, "", "", []string{}
	outlier := schemas.HeldEntry{
		Unit: "leon-1101", County: "leon", Revision: 2, Code: schemas.HoldOutlier, Why: schemas.HoldOutlier.Explanation(), Digest: digest, Partition: 2, Seq: 18,
		State: schemas.HoldReleased, Finding: &schemas.OutlierFinding{Rule: "history", Contest: schemas.BallotsCast, Value: 5000, Against: 800, Percent: 300},
	}
	twin := outlier
	twin.Code, twin.Why, twin.Finding, twin.Twin, twin.State = schemas.HoldTwin, schemas.HoldTwin.Explanation(), nil, "leon-1102", schemas.HoldSuperseded
	entry := func(v any) []byte { return append(trim(mustJSON(t, v)), '\n') }
	return map[string][]byte{
		"roster.json": indent(schemas.Roster{Schema: schemas.RosterSchema, Election: e.Definition.Election, Keys: []schemas.KeyEntry{
			{Key: officialKey, Role: schemas.Official, County: "leon"},
			{Key: supervisor1Key, Role: schemas.Supervisor},
			{Key: supervisor2Key, Role: schemas.Supervisor, County: "leon"},
		}}),
		"submission.json":              body,
		"submission_partial.json":      partial,
		"submission_correction.json":   correction,
		"envelope.txt":                 seal(1, body, official),
		"envelope_correction.txt":      seal(2, correction, supervisor1, supervisor2),
		"receipt.txt":                  sign(receipt.AppendText(nil), ingest),
		"snapshot.txt":                 sign(snapshot.AppendText(nil), publish),
		"line.json":                    line(3, 0),
		"line_ballots.json":            line(0, 0),
		"line_no-residuals.json":       line(1, 0),
		"line_corrected.json":          line(3, 2),
		"correction.json":              movement.AppendLine(nil),
		"correction_release.json":      releasing.AppendLine(nil),
		"correction_adjudication.json": adjudicated.AppendLine(nil),
		"correction_remainder.json":    remainder.AppendLine(nil),
		"hold_sealed.json":             (&schemas.HeldEntry{Unit: "leon-1101", County: "leon", Revision: 2, Code: schemas.HoldLowered, Why: schemas.HoldLowered.Explanation(), Partition: 2, Seq: 9, State: schemas.HoldOpen}).AppendLine(nil),
		"hold.json":                    outlier.AppendLine(nil),
		"hold_twin.json":               twin.AppendLine(nil),
		"hold_poison.json":             (&schemas.HeldEntry{Code: schemas.HoldPoison, Why: schemas.HoldPoison.Explanation(), Digest: digest, Partition: 2, Seq: 9, State: schemas.HoldOpen}).AppendLine(nil),
		"release.txt":                  release,
		"release-receipt.txt":          sign(released.AppendText(nil), ingest),
		"manifest_document.json": entry(schemas.ManifestEntry{
			Name: "county/leon", Version: 42, Key: schemas.ContentKey("documents", digest, ".ndjson"), Hash: digest, Bytes: 1234,
		}),
		"manifest_file.json": entry(schemas.ManifestEntry{Name: "csv/leon.csv", Key: "csv/leon.csv", Hash: digest, Bytes: 99}),
		"frame_hello.json":   (&schemas.Hello{Epoch: 3, Log: 42, Snapshot: 12}).AppendFrame(nil),
		"frame_snap.json":    (&schemas.Snap{Epoch: 3, Document: "contest/president", Version: 42, Hash: digest, Key: "documents/x"}).AppendFrame(nil),
		"frame_delta.json":   delta.AppendFrame(nil),
		"frame_ping.json":    (&schemas.Ping{Epoch: 3, Log: 42, Snapshot: 12, Micros: 1793912645123456}).AppendFrame(nil),
		"frame_bye.json":     (&schemas.Bye{Reason: "draining", Milliseconds: 1500}).AppendFrame(nil),
		"frame_sub.json": (&schemas.Subscribe{
			Documents: []schemas.DocumentID{"election", "county/leon"}, Epoch: 3, Versions: map[schemas.DocumentID]schemas.Version{"election": 41},
		}).AppendFrame(nil),
		"frame_unsub.json": (&schemas.Unsubscribe{Documents: []schemas.DocumentID{"county/leon"}}).AppendFrame(nil),
		"problem.json": indent(schemas.Problem{
			Type: schemas.ProblemVotesExceed.URI(), Title: "There are more votes than the ballots could hold.", Status: 422,
			Detail: "more early votes than ballots x 1", Field: "/contests/2/votes",
		}),
		"submission-states.json": indent([]schemas.SubmissionState{
			{Unit: "leon-1101", Revision: 1, Digest: digest, State: string(schemas.EntryCounted)},
			{Unit: "leon-1101", Revision: 2, Digest: schemas.Digest{2}, State: string(schemas.EntryHeld), Hold: schemas.HoldLowered, Reason: schemas.HoldLowered.Explanation()},
			{Unit: "leon-1101", Revision: 3, Digest: schemas.Digest{3}, State: string(schemas.EntryReleased), Hold: schemas.HoldOutlier, Reason: schemas.HoldOutlier.Explanation()},
			{Unit: "leon-1101", Revision: 4, Digest: schemas.Digest{4}, State: schemas.StateReceived},
		}),
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExamplesAreWhatTheCodeWrites(t *testing.T) {
	for name, want := range written(t) {
		path := filepath.Join("testdata/good", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what the code writes (-update rewrites it):\n%s", name, diff)
		}
	}
}

// formatOf is the format that an example's file name begins with.
func formatOf(name string) string {
	if i := strings.IndexAny(name, "._"); i >= 0 {
		return name[:i]
	}
	return name
}

func TestSchemaAndReaderAcceptGoodExamples(t *testing.T) {
	files, err := os.ReadDir("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		format := formatOf(f.Name())
		seen[format] = true
		b := goodFile(t, f.Name())
		if err := schemaAccepts(compiled(t, format), b, textual(format)); err != nil {
			t.Errorf("schema refuses %s: %v", f.Name(), err)
		}
		if err := read(t, format, b); err != nil {
			t.Errorf("reader refuses %s: %v", f.Name(), err)
		}
	}
	for _, format := range formats(t) {
		if !seen[format] {
			t.Errorf("%s has no example", format)
		}
	}
}

// formats lists the public formats.
func formats(t testing.TB) []string {
	t.Helper()
	files, err := fs.ReadDir(schemas.JSONSchemas(), ".")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(f.Name(), ".schema.json"))
	}
	return out
}

// read is the strict reader of a format.
func read(t testing.TB, format string, b []byte) error {
	e := goodElection(t)
	verifier := func(name string) note.Verifier {
		_, key := exampleKey(t, name)
		v, err := note.NewVerifier(key)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var err error
	switch format {
	case "definition":
		_, err = schemas.ParseDefinition(b)
	case "roster":
		_, err = schemas.OpenRoster(b, e)
	case "submission":
		err = readBody(e, b)
	case "envelope":
		var v schemas.Envelope
		err = v.Parse(b)
	case "receipt":
		_, err = schemas.OpenReceipt(b, verifier("ingest"))
	case "release":
		err = new(schemas.Release).Parse(b)
	case "release-receipt":
		_, err = schemas.OpenReleaseReceipt(b, verifier("ingest"))
	case "snapshot":
		_, err = schemas.OpenSnapshot(b, verifier("publish"))
	case "line":
		_, err = schemas.ParseLine(b)
	case "correction":
		_, err = schemas.ParseMovement(b)
	case "hold":
		_, err = schemas.ParseHeldEntry(b)
	case "manifest":
		_, err = schemas.ParseManifest(b)
	case "frame":
		err = readFrame(b)
	case "problem", "submission-states": // our clients read these leniently
	default:
		t.Fatalf("no reader for %s", format)
	}
	return err
}

func readBody(e *schemas.Election, b []byte) error {
	var s schemas.Submission
	if err := s.Decode(b); err != nil {
		return err
	}
	return e.Resolve(&s, new(schemas.Statement))
}

func readFrame(b []byte) error {
	kind, err := schemas.KindOfFrame(b)
	if err != nil {
		return err
	}
	switch kind {
	case schemas.FrameHello:
		_, err = schemas.ParseHello(b)
	case schemas.FrameSnap:
		_, err = schemas.ParseSnap(b)
	case schemas.FrameDelta:
		_, err = schemas.ParseDelta(b)
	case schemas.FramePing:
		_, err = schemas.ParsePing(b)
	case schemas.FrameBye:
		_, err = schemas.ParseBye(b)
	case schemas.FrameSubscribe, schemas.FrameUnsubscribe:
		_, _, err = schemas.ParseClientFrame(b)
	}
	return err
}

// TestBadExamplesAreRefused holds who refuses what. A change turns a good
// example into a bad one; whatever the schema refuses the reader refuses too.
func TestBadExamplesAreRefused(t *testing.T) {
	const both, readerOnly = true, false
	for _, c := range []struct {
		example, name, old, new string
		schemaToo               bool
	}{
		{"submission.json", "no member", `"revision":1,`, ``, both},
		{"submission.json", "unknown member", `"revision":1`, `"revision":1,"total":2`, both},
		{"submission.json", "another version", `submission/1`, `submission/2`, both},
		{"submission.json", "revision 0", `"revision":1`, `"revision":0`, both},
		{"submission.json", "negative", `[60,30,5]`, `[60,-30,5]`, both},
		{"submission.json", "fraction", `[60,30,5]`, `[60,30.5,5]`, both},
		{"submission.json", "huge", `[60,30,5]`, `[60,300000000,5]`, both},
		{"submission.json", "string", `[60,30,5]`, `[60,"30",5]`, both},
		{"submission.json", "null", `[60,30,5]`, `null`, both},
		{"submission.json", "no counts", `[60,30,5]`, `[]`, both},
		{"submission.json", "no selections", `"votes":[{"selection":"yes","counts":[60,30,5]},{"selection":"no","counts":[40,20,5]}]`, `"votes":[]`, both},
		{"submission.json", "bad identifier", `"leon-1101"`, `"Leon 1101"`, both},
		{"submission.json", "bad digest", `"definition":"`, `"definition":"x`, both},
		{"submission.json", "count type twice", `["election-day","early"`, `["early","early"`, both},
		{"submission.json", "unknown count type", `["election-day"`, `["polling-day"`, both},
		{"submission_correction.json", "no reason", `"reason":"transcription",`, ``, both},
		{"submission_correction.json", "unknown reason", `"transcription"`, `"mistake"`, both},
		{"submission_correction.json", "empty text", `"text":"Two digits were \"swapped\" – corrected."`, `"text":""`, both},
		{"submission.json", "member twice", `"revision":1`, `"revision":1,"revision":1`, readerOnly},
		{"submission.json", "whole fraction", `[60,30,5]`, `[60,30.0,5]`, readerOnly},
		{"submission.json", "exponent", `[60,30,5]`, `[6e1,30,5]`, readerOnly},
		{"submission.json", "negative zero", `[60,30,5]`, `[60,30,-0]`, readerOnly},
		{"submission.json", "escaped name", `"revision"`, `"revisi\u006fn"`, readerOnly},
		{"submission.json", "arity", `[60,30,5]`, `[60,30]`, readerOnly},
		{"submission.json", "order of count types", `["election-day","early"`, `["early","election-day"`, readerOnly},
		{"submission.json", "stale definition", `"definition":"`, `"definition":"` + strings.Repeat("0", 64) + `","x":"`, both},
		{"submission.json", "another unit's contest", `"council"`, `"counsel"`, readerOnly},
		{"submission.json", "votes exceed ballots", `[55,20,4]`, `[155,20,4]`, readerOnly},
		{"submission.json", "ballots missing", `"ballots":[100,50,10],`, ``, readerOnly},

		{"definition.json", "another version", `definition/1`, `definition/2`, both},
		{"definition.json", "no member", `"signatures": 1,`, ``, both},
		{"definition.json", "unknown member", `"signatures": 1`, `"signatures": 1, "x": 2`, both},
		{"definition.json", "null", `[{"id": "fl", "name": "Florida"}]`, `null`, both},
		{"definition.json", "bad date", `2026-11-03`, `2026-13-03`, both},
		{"definition.json", "scheme in origin", `"results.example.org/2026-general"`, `"https://results.example.org/a b"`, both},
		{"definition.json", "three signatures", `"signatures": 1`, `"signatures": 3`, both},
		{"definition.json", "kind", `"ballot-measure"`, `"question"`, both},
		{"definition.json", "reserved contest", `"id": "president", "name"`, `"id": "ballots-cast", "name"`, both},
		{"definition.json", "reserved selection", `"id": "smith"`, `"id": "overvotes"`, both},
		{"definition.json", "no selections", `[{"id": "yes", "name": "Yes"}, {"id": "no", "name": "No"}]`, `[]`, both},
		{"definition.json", "member twice", `"signatures": 1`, `"signatures": 1, "signatures": 1`, readerOnly},
		{"definition.json", "no such day", `2026-11-03`, `2026-02-30`, readerOnly},
		{"definition.json", "unit twice", `"leon-1102"`, `"leon-1101"`, readerOnly},
		{"definition.json", "unknown county", `"county": "sumter"`, `"county": "pasco"`, readerOnly},
		{"definition.json", "unsorted style", `["amendment-1", "council", "president"]`, `["council", "amendment-1", "president"]`, readerOnly},
		{"definition.json", "another case", `"signatures"`, `"Signatures"`, both},

		{"roster.json", "role", `"official"`, `"clerk"`, both},
		{"roster.json", "key", `"official-leon+`, `"official leon+`, both},
		{"roster.json", "no keys member", `"keys"`, `"key"`, both},
		{"roster.json", "key of another name", `"official-leon+`, `"official-lion+`, readerOnly},
		{"roster.json", "unknown county", `"leon"`, `"pasco"`, readerOnly},
		{"roster.json", "another election", `2026-general`, `2024-general`, readerOnly},
		{"roster.json", "member twice", `"role": "official"`, `"role": "official", "role": "official"`, readerOnly},

		{"envelope.txt", "no signature", "— official-leon ", "- official-leon ", both},
		{"envelope.txt", "another kind", "/submission/v1", "/receipt/v1", both},
		{"envelope.txt", "revision 0", "leon-1101\n1\n", "leon-1101\n0\n", both},
		{"envelope.txt", "another body", `[60,30,5]`, `[61,30,5]`, readerOnly},
		{"envelope.txt", "another length", `[60,30,5]`, `[6,30,5]`, readerOnly},

		{"receipt.txt", "another kind", "/receipt/v1", "/submission/v1", both},
		{"receipt.txt", "revision 0", "leon-1101\n1\n", "leon-1101\n0\n", both},
		{"receipt.txt", "another unit", "leon-1101", "leon-1102", readerOnly},
		{"release.txt", "another kind", "/release/v1", "/receipt/v1", both},
		{"release.txt", "another reason", "reason checked", "reason fine", both},
		{"release.txt", "no signature", "\n— supervisor-1 ", "\n- supervisor-1 ", both},
		{"release.txt", "a control character", "tapes", "ta\tpes", both},
		{"release-receipt.txt", "another kind", "/release-receipt/v1", "/receipt/v1", both},
		{"release-receipt.txt", "another unit", "leon-1101", "leon-1102", readerOnly},
		{"snapshot.txt", "no number", "number 12\n", "", both},
		{"snapshot.txt", "leading zero", "number 12", "number 012", both},
		{"snapshot.txt", "another number", "number 12", "number 13", readerOnly},

		{"line.json", "negative", `"smith":[55,`, `"smith":[-55,`, both},
		{"line.json", "no votes", `"votes"`, `"vote"`, both},
		{"line.json", "undervotes alone", `,"overvotes":[1,0,0]`, ``, both},
		{"line.json", "bad identifier", `"unit":"leon"`, `"unit":"Leon"`, both},
		{"line.json", "selection twice", `"votes":{`, `"votes":{"smith":[1,2,3],`, readerOnly},
		{"line_corrected.json", "less than no corrections", `"corrections":2`, `"corrections":-2`, both},
		{"line_corrected.json", "half a correction", `"corrections":2`, `"corrections":2.5`, both},
		{"correction.json", "no reason", `"reason":"duplicate",`, ``, both},
		{"correction.json", "another kind's reason", `"duplicate"`, `"checked"`, both},
		{"correction.json", "no text", `"text":"One \"early\" ballot was counted twice.",`, ``, both},
		{"correction.json", "no signers", `["supervisor-1","supervisor-2"]`, `[]`, both},
		{"correction.json", "no changes", `"changes":[`, `"changes":[],"more":[`, both},
		{"correction.json", "an unknown kind", `"kind":"correction"`, `"kind":"mistake"`, both},
		{"correction.json", "nothing fell", `"before":60,"after":59`, `"before":59,"after":59`, readerOnly},
		{"correction.json", "it rose", `"before":60,"after":59`, `"before":60,"after":61`, readerOnly},
		{"correction.json", "less than nothing", `"before":60,"after":59`, `"before":60,"after":-1`, both},
		{"correction.json", "a later revision replaced", `"replaces":1`, `"replaces":3`, readerOnly},
		{"correction.json", "a member twice", `"replaces":1`, `"replaces":1,"replaces":1`, readerOnly},
		{"correction.json", "no unit", `"unit":"leon-1101"`, `"unit":"Leon 1101"`, both},
		{"correction.json", "an unknown count type", `"countType":"election-day"`, `"countType":"polling-day"`, both},
		{"correction_adjudication.json", "with a reason", `"kind":"adjudication"`, `"kind":"adjudication","reason":"duplicate"`, both},
		{"correction_adjudication.json", "a vote of no type", `"selection":"undervotes","countType":"early"`, `"selection":"undervotes"`, both},
		{"correction_remainder.json", "with a name", `"signers":[]`, `"signers":["official-leon"]`, both},
		{"hold.json", "a code that is none", `"code":"outlier"`, `"code":"Odd"`, both},
		{"hold.json", "another code's explanation", `"code":"outlier"`, `"code":"count-lowered"`, both},
		{"hold.json", "a finding of a twin", `"state":"released","finding"`, `"state":"released","twin":"leon-1102","finding"`, both},
		{"hold.json", "an unknown state", `"state":"released"`, `"state":"gone"`, both},
		{"hold.json", "an unknown rule", `"rule":"history"`, `"rule":"feeling"`, both},
		{"hold.json", "no revision", `"revision":2,`, ``, both},
		{"hold_twin.json", "a twin of a bad name", `"twin":"leon-1102"`, `"twin":"Leon 1102"`, both},
		{"hold_poison.json", "a county alone", `{"code"`, `{"county":"leon","code"`, both},
		{"hold_poison.json", "no unit, but well", `"code":"poison","why":"The record could not be read after it was accepted."`, `"code":"count-lowered","why":"A count is lower than before, and the submission is not a correction."`, both},
		{"manifest_file.json", "no hash", `"sha256"`, `"sha1"`, both},
		{"manifest_file.json", "no name", `"csv/leon.csv","key"`, `"","key"`, both},
		{"manifest_file.json", "negative size", `"bytes":99`, `"bytes":-99`, both},
		{"manifest_file.json", "member twice", `"bytes":99`, `"bytes":99,"bytes":99`, readerOnly},
		{"frame_delta.json", "another protocol", `"p":1`, `"p":2`, both},
		{"frame_delta.json", "no hash", `"h":"`, `"H":"`, both},
		{"frame_delta.json", "backwards", `"b":41`, `"b":43`, readerOnly},
		{"frame_delta.json", "a line that is none", `{"contest":"amendment-1"`, `{"kontest":"amendment-1"`, both},
		{"frame_snap.json", "no such document", `"contest/president"`, `"contests"`, both},
		{"frame_bye.json", "negative wait", `"w":1500`, `"w":-1500`, both},
		{"frame_sub.json", "no document", `"g":["election","county/leon"]`, `"g":[]`, both},
		{"frame_hello.json", "unknown kind", `"hello"`, `"hallo"`, both},
	} {
		t.Run(c.example+" "+c.name, func(t *testing.T) {
			format := formatOf(c.example)
			good := string(goodFile(t, c.example))
			if !strings.Contains(good, c.old) {
				t.Fatalf("%q is not in the example", c.old)
			}
			bad := []byte(strings.Replace(good, c.old, c.new, 1))
			if err := read(t, format, bad); err == nil {
				t.Error("the reader accepts it")
			}
			if err := schemaAccepts(compiled(t, format), bad, textual(format)); (err != nil) != c.schemaToo {
				t.Errorf("schema says %v, want refused %t", err, c.schemaToo)
			}
		})
	}
}

func TestSharedDefinitionsOfSchemasAreTheSame(t *testing.T) {
	first := map[string]any{}
	for _, format := range formats(t) {
		b, err := fs.ReadFile(schemas.JSONSchemas(), format+".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Schema string         `json:"$schema"`
			ID     string         `json:"$id"`
			Title  string         `json:"title"`
			Defs   map[string]any `json:"$defs"`
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Schema != "https://json-schema.org/draft/2020-12/schema" || !strings.HasSuffix(doc.ID, ":"+format+":1") || doc.Title == "" {
			t.Errorf("%s: schema %q, id %q, title %q", format, doc.Schema, doc.ID, doc.Title)
		}
		for name, def := range doc.Defs {
			if first[name] == nil {
				first[name] = def
			} else if diff := cmp.Diff(first[name], def); diff != "" {
				t.Errorf("%s: $defs/%s is another than elsewhere:\n%s", format, name, diff)
			}
		}
	}
}
