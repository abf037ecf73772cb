package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/schemas"
)

// sized makes an election of a given size: statewide contests, and local ones
// of each county, about 30 a unit with four selections each.
func sized(tb testing.TB, states, counties, unitsEach int) *schemas.Election {
	tb.Helper()
	const statewide, local = 12, 17
	d := &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "bench", Name: "Bench", Date: "2026-11-03", Origin: "results.example/bench",
		CountTypes: []schemas.CountType{schemas.Early, schemas.ElectionDay, schemas.AbsenteeMail, schemas.Provisional},
		Partitions: 16, Signatures: 1, Rules: schemas.Rules{Ballots: true, Registered: true},
	}
	add := func(id string) schemas.ContestID {
		c := schemas.Contest{ID: schemas.ContestID(id), Name: "Contest " + id, Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsByType}
		for k := range 4 {
			c.Selections = append(c.Selections, schemas.Selection{ID: schemas.SelectionID(fmt.Sprintf("candidate-%d", k)), Name: fmt.Sprintf("Candidate Number %d", k), Party: "Party"})
		}
		d.Contests = append(d.Contests, c)
		return c.ID
	}
	everybody := add("president")
	for s := range states {
		state := schemas.CountyID(fmt.Sprintf("state-%02d", s))
		d.States = append(d.States, schemas.State{ID: state, Name: "State " + string(state)})
		shared := []schemas.ContestID{everybody}
		for i := range statewide {
			shared = append(shared, add(fmt.Sprintf("%s-wide-%02d", state, i)))
		}
		for c := range counties {
			county := schemas.CountyID(fmt.Sprintf("%s-county-%03d", state, c))
			d.Counties = append(d.Counties, schemas.County{ID: county, Name: "County " + string(county), State: state})
			contests := slices.Clone(shared)
			for i := range local {
				contests = append(contests, add(fmt.Sprintf("%s-local-%02d", county, i)))
			}
			slices.Sort(contests)
			style := schemas.StyleID(county)
			d.Styles = append(d.Styles, schemas.Style{ID: style, Contests: contests})
			for u := range unitsEach {
				d.Units = append(d.Units, schemas.Unit{ID: schemas.UnitID(fmt.Sprintf("%s-u%04d", county, u)), Name: "Unit", County: county, Kind: schemas.PrecinctUnit, Style: style, Registered: 3000})
			}
		}
	}
	b, err := json.Marshal(d)
	if err != nil {
		tb.Fatal(err)
	}
	e, err := schemas.OpenElection(b)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// counted makes a unit's row that is plausible for its size, and grows with seed.
func counted(e *schemas.Election, u schemas.UnitIndex, seed int) []schemas.Count {
	cells := make([]schemas.Count, e.Units[u].Style.Cells)
	for i := range cells {
		cells[i] = schemas.Count((i*7+int(u)*13)%250 + seed*3)
	}
	for _, s := range e.Units[u].Style.Sections {
		cells[s.Offset] = 1
	}
	for k := range e.Types() {
		cells[1+k] = 2000
	}
	return cells
}

// benchSigner signs with zeros: the fold does not verify.
type benchSigner struct{}

func (benchSigner) Name() string                { return "bench" }
func (benchSigner) KeyHash() uint32             { return 1 }
func (benchSigner) Sign([]byte) ([]byte, error) { return make([]byte, 64), nil }

var _ note.Signer = benchSigner{}

func record(tb testing.TB, e *schemas.Election, u schemas.UnitIndex, revision schemas.Revision) ([]byte, schemas.Entry) {
	tb.Helper()
	body := e.AppendBody(nil, u, revision, counted(e, u, int(revision)), nil, nil)
	b, err := schemas.AppendEnvelope(nil, e.Definition.Origin, e.Units[u].ID, revision, body, benchSigner{})
	if err != nil {
		tb.Fatal(err)
	}
	return b, schemas.Entry{Kind: schemas.EntryCounted, Partition: e.PartitionOf(u), Unit: e.Units[u].ID, Revision: revision, Digest: schemas.DigestOf(body)}
}

// BenchmarkCountAgain is the second book's cost for one submission of 30
// contests, of which every other replaces an earlier revision.
func BenchmarkCountAgain(b *testing.B) {
	e := sized(b, 1, 10, 20)
	f := newFold(e)
	var records [][]byte
	var entries []schemas.Entry
	for u := range e.Units {
		for r := range schemas.Revision(2) {
			record, entry := record(b, e, schemas.UnitIndex(u), r+1)
			records, entries = append(records, record), append(entries, entry)
		}
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(records[0])))
	i := 0
	for b.Loop() {
		if i == len(records) {
			b.StopTimer()
			f, i = newFold(e), 0
			b.StartTimer()
		}
		entry := entries[i]
		entry.Seq = f.sizes[entry.Partition] + 1
		if err := f.apply(&entry, records[i]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// full is a fold in which every unit has reported, and its edition.
func full(tb testing.TB, e *schemas.Election) (*fold, *renderer) {
	tb.Helper()
	f := newFold(e)
	for u := range e.Units {
		cells := counted(e, schemas.UnitIndex(u), 1)
		e.Fold(f.rows[e.Units[u].County], schemas.UnitIndex(u), nil, cells)
		f.units[u] = countedUnit{cells: schemas.AppendCells(nil, cells), revision: 1}
		f.changed[e.Units[u].County] = 1
	}
	c := newCatalogue(e)
	r := newRenderer(c)
	r.render(f.rows, f.moves.counties, c.allCounties(), 1)
	return f, r
}

// BenchmarkTickOfAState renders, hashes and frames what 50 submissions change
// in a state of 67 counties: a tenth of a second at 500 submissions a second.
func BenchmarkTickOfAState(b *testing.B) {
	e := sized(b, 1, 67, 40)
	f, r := full(b, e)
	b.ReportAllocs()
	n := 0
	var frame []byte
	for b.Loop() {
		n++
		for i := range 50 {
			u := schemas.UnitIndex((i*53 + n) % len(e.Units))
			f.rows[e.Units[u].County][1+n%100]++
			f.touch(e.Units[u].County)
		}
		r.render(f.rows, f.moves.counties, f.touched, schemas.LogSize(n+1))
		f.settle()
		for i, document := range r.changed {
			d := schemas.Delta{Document: r.edition.catalogue.documents[document].id, From: r.from[i], Lines: r.changedLines(nil, document)}
			frame = d.AppendFrame(frame[:0])
		}
	}
}

// BenchmarkTickOfTheUS renders and hashes every document of 3,060 counties.
func BenchmarkTickOfTheUS(b *testing.B) {
	e := sized(b, 51, 60, 1)
	f, r := full(b, e)
	size := int64(0)
	for _, d := range r.edition.documents {
		size += d.size
	}
	b.SetBytes(size)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		for c := range f.rows {
			for i := range f.rows[c] {
				f.rows[c][i]++
			}
		}
		r.render(f.rows, f.moves.counties, r.edition.catalogue.allCounties(), schemas.LogSize(n+1))
	}
}

// BenchmarkCSV writes a county of 200 units on one core.
func BenchmarkCSV(b *testing.B) {
	e := sized(b, 1, 2, 200)
	f, _ := full(b, e)
	reader := unitReader{election: e}
	out, rows, err := reader.appendCSV(nil, 0, f.units)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(out)))
	b.ReportMetric(float64(rows), "rows")
	for b.Loop() {
		if out, _, err = reader.appendCSV(out[:0], 0, f.units); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCountyPage renders the page of a county with 30 contests.
func BenchmarkCountyPage(b *testing.B) {
	e := sized(b, 1, 2, 20)
	_, r := full(b, e)
	ps, err := newPageSet(r.edition.catalogue, &Config{HeartbeatEvery: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	f := &frame{pageSet: ps, edition: r.edition}
	b.SetBytes(int64(len(f.countyPage(0))))
	for b.Loop() {
		f.countyPage(0)
	}
}

func TestAUnitCostsAboutAKilobyteOfMemory(t *testing.T) {
	e := sized(t, 1, 4, 50)
	f, _ := full(t, e)
	size := 0
	for i := range f.units {
		size += len(f.units[i].cells) + 32
	}
	if per := size / len(e.Units); per > 1500 {
		t.Errorf("%d bytes a unit of %d contests", per, strings.Count(string(e.AppendBody(nil, 0, 1, counted(e, 0, 1), nil, nil)), `"contest"`))
	}
}

// nowhere is a bucket that keeps nothing.
type nowhere struct{ Bucket }

func (nowhere) PutNew(context.Context, ...bucket.Object) error { return nil }

// BenchmarkLog is what the log costs a submission of 30 contests, but for
// storing it: its leaf, hashes, bundles and tiles. Stages of 1,000.
func BenchmarkLog(b *testing.B) {
	e := sized(b, 1, 10, 20)
	var records [][]byte
	var entries []schemas.Entry
	for u := range e.Units {
		record, entry := record(b, e, schemas.UnitIndex(u), 1)
		records, entries = append(records, record), append(entries, entry)
	}
	s := &Sequencer{cfg: Config{Bucket: nowhere{}, Metrics: NewMetrics(prometheus.NewRegistry())}}
	s.queue = newQueue(make([]uint64, e.Definition.Partitions))
	sizes, edge := make([]uint64, e.Definition.Partitions), new(log.Edge)
	b.ReportAllocs()
	b.SetBytes(int64(len(records[0])))
	write := func() {
		s.queue.cut(sizes)
		st, leaves := s.queue.take()
		d := &decision{stage: st, edge: edge, leaves: leaves}
		d.stage.to = d.tree()
		var err error
		if edge, err = s.putTiles(b.Context(), d); err != nil || edge.Tree() != d.stage.to {
			b.Fatal(err)
		}
	}
	i := 0
	for b.Loop() {
		entry := entries[i%len(entries)]
		sizes[entry.Partition]++
		entry.Seq = sizes[entry.Partition]
		leaf, err := leafOf(&entry, records[i%len(entries)])
		if err != nil {
			b.Fatal(err)
		}
		s.queue.add(entry.Partition, leaf)
		if i++; i%1000 == 0 {
			write()
		}
	}
	write()
}
