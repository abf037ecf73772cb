package cdf_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzImport: whatever is read is a valid definition that can be written, read
// again, and then is the same.
func FuzzImport(f *testing.F) {
	foreign := file(f, "testdata/foreign.json")
	for _, b := range [][]byte{foreign, preElection(f, open(f, example()))} {
		f.Add(b)
		for _, change := range [][2]string{
			{`"`, `""`}, {`1`, `-1`}, {`:`, `::`}, {`[`, `[[],`}, {`}`, `,"a":1}`}, {`e`, `\u0065`}, {`"unit.`, `"place.`}, {`[{`, `[[{`}, {`county`, `state`},
		} {
			f.Add([]byte(strings.Replace(string(b), change[0], change[1], 1)))
		}
	}
	options := cdf.Options{
		Origin: "a.example/b", CountTypes: []schemas.CountType{schemas.OtherCounts}, State: schemas.State{ID: "st", Name: "State"},
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := cdf.Import(bytes.NewReader(b), options)
		if err != nil {
			return
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		e, err := schemas.OpenElection(text)
		if err != nil {
			t.Fatalf("it was read, but is no definition: %v", err)
		}
		if err := checkRoundTrip(e); err != nil {
			t.Fatal(err)
		}
	})
}
