package edge

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// edgeCase is one claim about both edges (testdata/cases.json). Where want has
// an empty field, the case says nothing of it.
type edgeCase struct {
	Name  string `json:"name"`
	Rules string `json:"rules"` // testdata/<rules>.json
	Host  Host   `json:"host"`
	request
	Want response `json:"want"`
}

func readCases(t testing.TB) []edgeCase {
	t.Helper()
	b, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []edgeCase
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if (c.Want.Status == 0) == (c.Want.URI == "") {
			t.Fatalf("case %q wants both or neither of an answer and a request", c.Name)
		}
	}
	return cases
}

func readRules(t testing.TB, name string) Pairs {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pairs, err := ReadPairs(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return pairs
}

// differs says what of an answer is not as wanted.
func (want response) differs(got response, method string) string {
	switch {
	case got.Status != want.Status, got.URI != want.URI:
		return "answer"
	case want.Allow != "" && got.Allow != want.Allow:
		return "Allow"
	case want.Retry != "" && got.Retry != want.Retry:
		return "Retry-After"
	case want.Type != "" && got.Type != want.Type:
		return "Content-Type"
	case want.Body != "" && method != "HEAD" && got.Body != want.Body:
		return "body"
	}
	return ""
}

func TestTheFunctionsAnswerAsTheTableSays(t *testing.T) {
	boxes := map[Host]*sandbox{Results: newSandbox(t, Results), Ingest: newSandbox(t, Ingest)}
	for _, c := range readCases(t) {
		t.Run(strings.ReplaceAll(c.Name, "/", "|"), func(t *testing.T) {
			box := boxes[c.Host]
			box.t, box.store = t, readRules(t, c.Rules)
			got, err := box.run(c.request)
			if err != nil {
				t.Fatal(err)
			}
			if what := c.Want.differs(got, c.Method); what != "" {
				t.Errorf("%s %s: %s differs:\n got %+v\nwant %+v", c.Method, c.Path, what, got, c.Want)
			}
		})
	}
}
