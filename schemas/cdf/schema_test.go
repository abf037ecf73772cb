package cdf_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

// standard is the JSON schema as NIST publishes it (draft 4).
func standard(t testing.TB) (*jsonschema.Schema, any) {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", "nist-sp1500-100-v2", "NIST_V2_election_results_reporting.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("skipped: the schema of the standard is not on this machine: %v", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("nist.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("nist.json")
	if err != nil {
		t.Fatal(err)
	}
	return s, doc
}

func validate(s *jsonschema.Schema, b []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// reports are files of every format and state of a night.
func reports(t testing.TB) map[string][]byte {
	t.Helper()
	e := open(t, example())
	out := map[string][]byte{"definition": preElection(t, e)}
	for name, reported := range map[string]func(schemas.UnitIndex) bool{
		"none": func(schemas.UnitIndex) bool { return false },
		"some": func(u schemas.UnitIndex) bool { return u%3 != 1 },
		"all":  all,
	} {
		ts := tally(e, reported)
		status := cdf.NewExporter(e).StatusOf(ts.counties)
		if (status == cdf.UnofficialComplete) != (name == "all") {
			t.Errorf("%s reported: status %s", name, status)
		}
		out["summary, "+name] = summary(t, ts, facts(status))
		for c := range e.Counties {
			out[fmt.Sprintf("county %d, %s", c, name)] = county(t, ts, facts(status), schemas.CountyIndex(c))
		}
	}
	return out
}

func TestEveryReportIsValidByTheStandardsSchema(t *testing.T) {
	s, _ := standard(t)
	for name, b := range reports(t) {
		if err := validate(s, b); err != nil {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
	// The oracle must be able to say no.
	good := reports(t)["summary, all"]
	for _, change := range [][2]string{
		{`"Format":"summary-contest"`, `"Format":"summary"`}, {`"Type":"early"`, `"Type":"soon"`}, {`"SequenceEnd":1,`, ``},
		{`"IsTest":true`, `"IsTest":true,"Extra":1`},
	} {
		if bad := strings.Replace(string(good), change[0], change[1], 1); bad == string(good) || validate(s, []byte(bad)) == nil {
			t.Errorf("the schema accepts %s in place of %s", change[1], change[0])
		}
	}
}

func TestTheMembersThatImportKnowsAreTheStandards(t *testing.T) {
	_, doc := standard(t)
	definitions := doc.(map[string]any)["definitions"].(map[string]any)
	for class, members := range cdf.Members() {
		d, ok := definitions["ElectionResults."+class].(map[string]any)
		if !ok {
			t.Errorf("the standard has no class %s", class)
			continue
		}
		required := map[string]bool{}
		for _, name := range d["required"].([]any) {
			required[name.(string)] = true
		}
		for name := range d["properties"].(map[string]any) {
			got, ok := members[name]
			if !ok || name != "@type" && got != required[name] {
				t.Errorf("%s.%s: known %v, required %v, want %v", class, name, ok, got, required[name])
			}
			delete(members, name)
		}
		for name := range members {
			t.Errorf("%s.%s: the standard has no such member", class, name)
		}
	}
}
