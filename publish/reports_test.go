package publish_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish"
	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

func TestTheReportOfASnapshotIsWhatItsDocumentsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), func(c *publish.Config) { c.UnitReports, c.Test = true, "rehearsal" })
		for i, u := range e.Definition.Units {
			b.count(u.ID, 1, b.cells(schemas.UnitIndex(i), func() schemas.Count { return 7 }))
		}
		n.mustFinish()
		n.mustEnd()
		chain := checkChain(t, store, e)
		last := chain[len(chain)-1]
		rows := make([][]int64, len(e.Counties))
		keys := map[string]string{}
		for _, m := range manifestOf(t, store, last) {
			keys[m.Name] = m.Key
		}
		for c := range e.Counties {
			id := e.Counties[c].ID
			row, err := cdf.RowOf(e.Election, schemas.CountyIndex(c), store.must(keys[string(schemas.CountyDocument(id))]))
			if err != nil {
				t.Fatal(err)
			}
			rows[c] = row
			if keys["cdf/"+string(id)+".json.gz"] == "" {
				t.Errorf("no report of county %s by unit", id)
			}
		}
		at, err := time.Parse(schemas.SnapshotTimeLayout, last.Time)
		if err != nil {
			t.Fatal(err)
		}
		x := cdf.NewExporter(e.Election)
		var want bytes.Buffer
		if err := x.Summary(&want, &cdf.Facts{Status: x.StatusOf(rows), Test: "rehearsal", Time: at, Snapshot: last.Number, Log: last.Log}, rows); err != nil {
			t.Fatal(err)
		}
		if got := unpacked(t, store.must(keys["results.cdf.json.gz"])); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("got  %s\nwant %s", got, want.Bytes())
		}
	})
}
