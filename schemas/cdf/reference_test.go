package cdf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// referTo says to which classes each reference may lead (the schema's
// refTypes).
var referTo = map[string][]string{
	"GpUnitId": {"ReportingUnit"}, "GpUnitIds": {"ReportingUnit"}, "ComposingGpUnitIds": {"ReportingUnit"},
	"ElectionScopeId": {"ReportingUnit"}, "ElectionDistrictId": {"ReportingUnit"},
	"CandidateId": {"Candidate"}, "CandidateIds": {"Candidate"}, "PartyId": {"Party"}, "PartyIds": {"Party"},
	"ContestId": {"CandidateContest", "BallotMeasureContest", "RetentionContest", "PartyContest"},
}

// checkReferences returns what is wrong with a report's references: dangling,
// to another class, an @id twice, a repeated member, and objects that nothing
// refers to.
func checkReferences(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	r := references{class: map[string]string{}, used: map[string]bool{}}
	r.collect(v)
	r.resolve(v)
	for id, class := range r.class {
		if !r.used[id] && (class == "Party" || class == "Candidate" || class == "ReportingUnit" && !strings.HasPrefix(id, "place.")) {
			r.errs = append(r.errs, fmt.Errorf("nothing refers to %s %s", class, id))
		}
	}
	return errors.Join(append(r.errs, repeated(json.NewDecoder(bytes.NewReader(b))))...)
}

type references struct {
	class map[string]string
	used  map[string]bool
	errs  []error
}

func (r *references) collect(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			r.collect(x)
		}
	case map[string]any:
		if id, ok := v["@id"].(string); ok {
			if _, twice := r.class[id]; twice {
				r.errs = append(r.errs, fmt.Errorf("@id %s stands twice", id))
			}
			r.class[id] = strings.TrimPrefix(v["@type"].(string), "ElectionResults.")
		}
		for _, x := range v {
			r.collect(x)
		}
	}
}

func (r *references) resolve(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			r.resolve(x)
		}
	case map[string]any:
		for name, x := range v {
			classes, known := referTo[name]
			if !known {
				if name != "@id" && name != "VendorApplicationId" && (strings.HasSuffix(name, "Id") || strings.HasSuffix(name, "Ids")) {
					r.errs = append(r.errs, fmt.Errorf("member %s: this test does not know where it leads", name))
				}
				r.resolve(x)
				continue
			}
			list, ok := x.([]any)
			if !ok {
				list = []any{x}
			}
			for _, id := range list {
				r.used[id.(string)] = true
				if class := r.class[id.(string)]; !slices.Contains(classes, class) {
					r.errs = append(r.errs, fmt.Errorf("%s %s leads to %q, want %v", name, id, class, classes))
				}
			}
		}
	}
}

// repeated finds a member that stands twice in an object.
func repeated(d *json.Decoder) error {
	var objects []map[string]bool // nil: a list
	name := true
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'):
			objects, name = append(objects, map[string]bool{}), true
			continue
		case json.Delim('['):
			objects = append(objects, nil)
			continue
		case json.Delim('}'), json.Delim(']'):
			objects, name = objects[:len(objects)-1], true
			continue
		}
		if len(objects) == 0 || objects[len(objects)-1] == nil {
			continue
		}
		if text, ok := token.(string); name && ok {
			if objects[len(objects)-1][text] {
				return fmt.Errorf("member %s stands twice", text)
			}
			objects[len(objects)-1][text] = true
			name = false
			continue
		}
		name = true
	}
}

func TestEveryReferenceLeadsToAnObjectOfItsClassInTheSameFile(t *testing.T) {
	for name, b := range reports(t) {
		if err := checkReferences(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := string(reports(t)["summary, all"])
	for _, change := range [][2]string{
		{`"GpUnitId":"place.emerald"`, `"GpUnitId":"place.esmerald"`},
		{`"@id":"place.east"`, `"@id":"place.emerald"`}, {`"PartyId":"party.1"`, `"PartyId":"place.oz"`}, {`"IsTest":true`, `"IsTest":true,"IsTest":true`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good || checkReferences([]byte(bad)) == nil {
			t.Errorf("the check accepts %s in place of %s", change[1], change[0])
		}
	}
}
