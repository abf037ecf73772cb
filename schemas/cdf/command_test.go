package cdf_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

// convert runs `convert` with arguments.
func convert(t *testing.T, args ...string) error {
	t.Helper()
	var cli struct {
		Convert cdf.ConvertCommand `cmd:""`
	}
	parser, err := kong.New(&cli, kong.Name("tallystream"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := parser.Parse(append([]string{"convert"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return c.Run(slog.New(slog.DiscardHandler))
}

func TestConvertGoesThereAndBack(t *testing.T) {
	dir := t.TempDir()
	in, report, out := filepath.Join(dir, "definition.json"), filepath.Join(dir, "report.json"), filepath.Join(dir, "again.json")
	definition, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, definition, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := convert(t, in, "--out", report, "--election-type", "general", "--generated", "2026-10-01T12:00:00Z", "--test", "rehearsal"); err != nil {
		t.Fatal(err)
	}
	if err := convert(t, report, "--out", out); err != nil {
		t.Fatal(err)
	}
	if got := file(t, out); !bytes.Equal(got, definition) {
		t.Errorf("got  %s\nwant %s", got, definition)
	}
	if b := string(file(t, report)); !strings.Contains(b, `"GeneratedDate":"2026-10-01T12:00:00Z"`) || !strings.Contains(b, `"Type":"general"`) {
		t.Errorf("the report does not say what was asked for: %.400s", b)
	}
	if err := convert(t, report, "--out", out); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("a file that is there: %v", err)
	}
}

func TestConvertTakesWhatAReportDoesNotSayFromFlags(t *testing.T) {
	out := filepath.Join(t.TempDir(), "definition.json")
	args := []string{"testdata/foreign.json", "--out", out, "--origin", "results.example/leon", "--count-types", "early,election-day", "--partitions", "3"}
	if err := convert(t, args...); err == nil || !strings.Contains(err.Error(), "no state was given") {
		t.Errorf("without a state: %v", err)
	}
	if err := convert(t, append(args, "--state", "fl")...); err == nil || !strings.Contains(err.Error(), "want ID:NAME") {
		t.Errorf("with half a state: %v", err)
	}
	if err := convert(t, append(args, "--state", "fl:Florida")...); err != nil {
		t.Fatal(err)
	}
	e, err := schemas.OpenElection(file(t, out))
	if err != nil {
		t.Fatal(err)
	}
	if d := e.Definition; len(d.Units) != 2 || d.Partitions != 3 || d.States[0].Name != "Florida" || len(d.CountTypes) != 2 {
		t.Errorf("got %+v", d)
	}
}

func TestConvertSaysWhatItCannotRead(t *testing.T) {
	for content, want := range map[string]string{
		`[]`: "is no JSON object", `{}`: "want a member @type", `{"schema":"tallystream.definition/2"}`: "want a member @type",
		`{"schema":"tallystream.definition/1"}`: "missing", `{"@type":"ElectionResults.Party"}`: "want ElectionReport",
	} {
		path := filepath.Join(t.TempDir(), "in.json")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := convert(t, path, "--out", path+".out"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", content, err, want)
		}
		if _, err := os.Stat(path + ".out"); err == nil {
			t.Errorf("%s: a file was written", content)
		}
	}
}
