package cloud

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// parsed is the command as kong makes it of arguments.
func parsed(t *testing.T, args ...string) *SetupCommand {
	t.Helper()
	var c SetupCommand
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &c
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestThePlanIsPrintedWithoutAskingAWS(t *testing.T) {
	var out bytes.Buffer
	c := parsed(t, "--plan", "--election", "sc-2024-general", "--aws-region", "us-east-2", "--aws-bucket", "results-of-sc",
		"--aws-endpoint", "http://127.0.0.1:1", "--shards", "6", "--warm-writes", "40000")
	if err := c.run(t.Context(), quiet(), &out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Names Names
		Plan  Plan
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want, err := NamesOf("tallystream", "sc-2024-general", Site{}, "results-of-sc")
	if err != nil || got.Names != want {
		t.Errorf("names %+v, want %+v, %v", got.Names, want, err)
	}
	if got.Plan.Stream.Shards != 6 || got.Plan.Tables[0].WarmWrites != 40000 || got.Plan.Bucket.Region != "us-east-2" {
		t.Errorf("plan %+v", got.Plan)
	}
}

func TestSetupSaysWhatItWants(t *testing.T) {
	for want, args := range map[string][]string{
		"--shards 0":        {"--shards", "0", "--election", "x"},
		"give --election":   {"--data", t.TempDir()},
		"want 1 to 96":      {"--election", "No"},
		"want a URL":        {"--election", "x", "--aws-endpoint", "localhost"},
		"cannot be reach":   {"--election", "x", "--aws-endpoint", "http://127.0.0.1:1"},
		"--aws-prefix \"\"": {"--election", "x", "--aws-endpoint", "http://127.0.0.1:1", "--aws-prefix", "", "--aws-bucket", "b"},
	} {
		if err := parsed(t, args...).run(t.Context(), quiet(), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", args, err, want)
		}
	}
}

func TestFindingsArePrintedFieldByField(t *testing.T) {
	var out bytes.Buffer
	c := SetupCommand{}
	err := c.print(&out, []Finding{
		{Resource: "stream", Name: "s", State: Differs, Differences: []Difference{{"shards", "4", "2"}}, Notes: []string{"a note"}},
		{Resource: "table", Name: "t", State: Completed, Changes: []Difference{{"TTL attribute", "expires", ""}}},
		{Resource: "key", Name: "k", State: Absent},
	})
	want := `stream  s: differs
        shards: want 4, have 2
        a note
table   t: completed
        set TTL attribute to expires, was none
key     k: is missing
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s, want\n%s", err, out.String(), want)
	}
}
