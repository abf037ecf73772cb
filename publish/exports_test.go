package publish_test

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tallystream/publish"
	"tallystream/schemas"
)

// sumCSV adds up the rows of a file by county, contest, selection and count
// type, with a general CSV reader.
func sumCSV(t testing.TB, sums map[string]int64, file string) int {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(rows[0], ","); got != "county,unit,contest,selection,count_type,votes" {
		t.Fatalf("header is %s", got)
	}
	seen := map[string]bool{}
	for _, r := range rows[1:] {
		n, err := strconv.ParseInt(r[5], 10, 64)
		if err != nil || n < 0 {
			t.Fatalf("row %v: %v", r, err)
		}
		if key := strings.Join(r[:5], ","); seen[key] {
			t.Fatalf("row %s stands twice", key)
		} else {
			seen[key] = true
		}
		sums[strings.Join([]string{r[0], r[2], r[3], r[4]}, ",")] += n
	}
	return len(rows) - 1
}

// tallySums spells the ledger's tallies in the same way.
func tallySums(b *books) map[string]int64 {
	out := map[string]int64{}
	types := b.e.Definition.CountTypes
	for c := range b.e.Counties {
		place := &b.e.Counties[c]
		for i := range place.Sections {
			s := &place.Sections[i]
			cells := b.tallies[c][s.Offset+1:]
			var names []schemas.SelectionID
			if s.Contest == schemas.BallotsIndex {
				names = []schemas.SelectionID{schemas.Ballots}
			} else {
				for _, x := range b.e.Definition.Contests[s.Contest].Selections {
					names = append(names, x.ID)
				}
			}
			if s.Residuals {
				names = append(names, schemas.Undervotes, schemas.Overvotes)
			}
			for k, name := range names {
				for j, ct := range types {
					if n := cells[k*len(types)+j]; n > 0 {
						out[fmt.Sprintf("%s,%s,%s,%s", place.ID, b.e.ContestID(s.Contest), name, ct)] = n
					}
				}
			}
		}
	}
	return out
}

func TestCSVFilesAddUpToTheTallies(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		// rapid runs the property on this goroutine; the bubble is inside it.
		script := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 12).Draw(rt, "units")
		counts := rapid.SliceOfN(rapid.Uint32Range(0, 5000), 8, 40).Draw(rt, "counts")
		synctest.Test(t, func(t *testing.T) { checkCSV(t, script, counts) })
	})
}

func checkCSV(t *testing.T, script []int, counts []uint32) {
	e := openElection(t, smallElection())
	b, store := newBooks(t, e), newBucket(t)
	n := begin(t, b, store.process(nil), newViewer(t, store), nil)
	i := 0
	next := func() schemas.Count { i++; return schemas.Count(counts[i%len(counts)]) }
	revisions := map[int]schemas.Revision{}
	for _, u := range script {
		revisions[u]++
		cells := b.cells(schemas.UnitIndex(u), next)
		if style := e.Units[u].Style; i%3 == 0 { // a contest that is not stated yet
			last := style.Sections[len(style.Sections)-1]
			clear(cells[last.Offset:])
		}
		b.count(e.Units[u].ID, revisions[u], cells)
	}
	n.mustFinish()
	n.mustEnd()
	want := tallySums(b)
	byCounty, all := map[string]int64{}, map[string]int64{}
	rows := 0
	for c := range e.Counties {
		id := string(e.Counties[c].ID)
		named := false
		for _, u := range e.Counties[c].Units {
			named = named || revisions[int(u)] > 0
		}
		if named {
			rows += sumCSV(t, byCounty, document(t, store, e, "csv/"+id+".csv"))
		}
	}
	if got := sumCSV(t, all, document(t, store, e, "results.csv")); got != rows {
		t.Errorf("results.csv has %d rows, the counties' files %d", got, rows)
	}
	for _, sums := range []map[string]int64{byCounty, all} {
		for k, n := range sums {
			if want[k] != n {
				t.Errorf("%s: files say %d, tallies %d", k, n, want[k])
			}
		}
		for k, n := range want {
			if sums[k] != n {
				t.Errorf("%s: tallies say %d, files %d", k, n, sums[k])
			}
		}
	}
}

func TestFilesByUnitKeepTheirPaceAndAreNamedByEachSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), func(c *publish.Config) { c.ExportEvery = time.Minute })
		for i := range 200 { // ten minutes
			b.count("fir.1", schemas.Revision(i+1), row(1, 9, schemas.Count(i+10), 1, 2, 2, 2, schemas.Count(i)))
			n.hint()
			time.Sleep(3 * time.Second)
		}
		n.mustEnd()
		files := 0
		for _, k := range store.keys() {
			if strings.HasPrefix(k, "csv/") && strings.HasSuffix(k, "/fir.csv") {
				files++
			}
		}
		if files < 9 || files > 10 {
			t.Errorf("%d files in ten minutes, want one a minute", files)
		}
		chain := checkChain(t, store, e)
		for _, s := range chain[len(chain)-100:] {
			named := 0
			for _, m := range manifestOf(t, store, s) {
				if strings.HasSuffix(m.Name, ".csv") {
					named++
				}
			}
			if named != 2 { // fir.csv and results.csv
				t.Errorf("snapshot %d names %d files", s.Number, named)
			}
		}
	})
}

func TestResultsInOneFileStopAtTheRowsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), func(c *publish.Config) { c.ResultsRows = 5 })
		b.count("fir.1", 1, row(1, 9, 9, 1, 2, 2, 2, 2)) // six rows
		n.mustFinish()
		n.mustEnd()
		chain := checkChain(t, store, e)
		for _, m := range manifestOf(t, store, chain[len(chain)-1]) {
			if m.Name == "results.csv" {
				t.Error("results.csv is there")
			}
		}
	})
}

func TestDuringTheNightFilesStayWithinTheirBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), func(c *publish.Config) {
			c.ExportEvery, c.ExportRate = time.Minute, 1 // sixty bytes a minute: less than any file
		})
		for i, u := range e.Definition.Units {
			b.count(u.ID, 1, b.cells(schemas.UnitIndex(i), func() schemas.Count { return 7 }))
		}
		n.hint()
		csv := func() (files []string) {
			for _, k := range store.keys() {
				if strings.HasPrefix(k, "csv/") {
					files = append(files, k)
				}
			}
			return files
		}
		time.Sleep(2*time.Minute + time.Second)
		if got := csv(); len(got) != 1 {
			t.Errorf("after two minutes: %v, want one county's file", got)
		}
		n.mustFinish()
		if got := csv(); len(got) != 4 { // oak, ash, fir, results
			t.Errorf("at the end: %v, want the other counties' and results.csv", got)
		}
		n.mustEnd()
		checkChain(t, store, e)
	})
}
