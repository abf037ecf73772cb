package publish

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tallystream/publish/bucket"
	"tallystream/publish/suppress"
	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

// Names of exported files in a manifest. The keys of CSV files carry the
// number of the snapshot that first named them, so that people find them, and
// the epoch, so that a process that died before that snapshot stood leaves
// nothing in the way of the next one.
const (
	resultsName    = "results.csv"
	csvFolder      = "csv/"
	unitLineFolder = "units/"
)

// exports knows which files that list units exist and how old they are. It is
// part of the shelf.
type exports struct {
	cfg       *Config
	catalogue *catalogue
	files     map[string]schemas.ManifestEntry // the newest of each name
	made      []schemas.LogSize                // by county: cut of its newest files
	rows      []int                            // by county: CSV rows then
	reports   *cdf.Exporter
	when      schedule
}

func newExports(cfg *Config, c *catalogue) *exports {
	return &exports{
		cfg: cfg, catalogue: c,
		files:   make(map[string]schemas.ManifestEntry),
		made:    make([]schemas.LogSize, len(c.counties)),
		rows:    make([]int, len(c.counties)),
		reports: cdf.NewExporter(c.election),
		// The first files of a night are not worth more than later ones.
		when: schedule{
			pace: pace{least: cfg.ExportEvery, most: time.Hour, share: exportShare, rate: cfg.ExportRate},
			next: cfg.Now().Add(cfg.ExportEvery),
		},
	}
}

// remember takes over a file that an earlier process made.
func (x *exports) remember(e schemas.ManifestEntry) {
	if e.Name == resultsName || strings.HasPrefix(e.Name, csvFolder) || strings.HasPrefix(e.Name, unitLineFolder) ||
		e.Name == reportName || strings.HasPrefix(e.Name, reportFolder) {
		x.files[e.Name] = e
	}
}

// named lists the newest file of each name.
func (x *exports) named() []schemas.ManifestEntry {
	out := make([]schemas.ManifestEntry, 0, len(x.files))
	for _, e := range x.files {
		out = append(out, e)
	}
	return out
}

// exportPlan is what one snapshot exports.
type exportPlan struct {
	counties []schemas.CountyIndex
	units    []countedUnit // at the snapshot's cut
	moved    map[schemas.UnitIndex][]uint32
	rows     [][]int64          // by county, likewise, as they are shown
	newest   []*suppress.Taking // by remainder, likewise
	log      schemas.LogSize
	whole    bool // afterwards no county's files are out of date
}

// plan picks counties whose files are out of date: all of them at the end, and
// during the night those that waited longest, as many as the budget of one
// interval holds. So a state's files are minutes old, and the US, which would
// write gigabytes, is spared.
func (x *exports) plan(now time.Time, final bool, f *fold) *exportPlan {
	if x.cfg.NoCSV && !x.cfg.UnitLines {
		return nil
	}
	if !final && (x.cfg.ExportEvery <= 0 || now.Before(x.when.next)) {
		return nil
	}
	p := &exportPlan{log: f.log, whole: true, counties: x.outOfDate(f)}
	if len(p.counties) == 0 {
		return nil
	}
	p.units, p.moved, p.rows, p.newest = f.shownUnits(), maps.Clone(f.moves.units), cloneRows(f.shown()), f.veil.newest()
	if !final {
		x.cut(p, int64(x.cfg.ExportRate*x.cfg.ExportEvery.Seconds()))
	}
	return p
}

// outOfDate lists the counties that changed since their files were written.
func (x *exports) outOfDate(f *fold) (out []schemas.CountyIndex) {
	for c, changed := range f.changed {
		if changed > x.made[c] {
			out = append(out, schemas.CountyIndex(c))
		}
	}
	return out
}

// at is when files must be written during the night: a snapshot is made for
// them even if nothing else changed.
func (x *exports) at(f *fold) (time.Time, bool) {
	if x.cfg.ExportEvery <= 0 || x.cfg.NoCSV && !x.cfg.UnitLines || len(x.outOfDate(f)) == 0 {
		return time.Time{}, false
	}
	return x.when.next, true
}

// cut leaves the counties that waited longest, at least one, within a budget
// of bytes.
func (x *exports) cut(p *exportPlan, budget int64) {
	slices.SortStableFunc(p.counties, func(a, b schemas.CountyIndex) int { return cmp.Compare(x.made[a], x.made[b]) })
	size := int64(0)
	for i, c := range p.counties {
		if size += x.estimate(c, p.units); size > budget && i > 0 {
			p.counties, p.whole = p.counties[:i], false
			return
		}
	}
}

// bytesPerCell is about what one count takes in a CSV file.
const bytesPerCell = 64

// estimate guesses the size of a county's CSV file.
func (x *exports) estimate(c schemas.CountyIndex, units []countedUnit) int64 {
	n := 0
	for _, u := range x.catalogue.election.Counties[c].Units {
		if units[u].cells != nil {
			n += x.catalogue.election.Units[u].Style.Cells
		}
	}
	return int64(n) * bytesPerCell
}

// exporting is one writing of files.
type exporting struct {
	*exports
	*exportPlan
	number schemas.SnapshotNumber
	epoch  schemas.Epoch
	about  *cdf.Facts
	put    func(kind string, objects []bucket.Object) error

	objects []bucket.Object
	size    int
	bytes   int64
}

// countyFiles are the files of one county, rendered.
type countyFiles struct {
	county     schemas.CountyIndex
	csv, lines []byte
	report     []byte // in the common data format
	rows       int
	err        error
}

// writeExports stores the files that the plan asks for.
func (s *Sequencer) writeExports(ctx, running context.Context, p *plan) error {
	if p.exports == nil {
		return nil
	}
	begun := s.cfg.Now()
	w := &exporting{exports: s.shelf.exports, exportPlan: p.exports, number: p.snapshot.Number, epoch: s.epoch}
	w.put = func(kind string, objects []bucket.Object) error {
		return s.insist(ctx, running, kind, func() error { return s.cfg.Bucket.PutNew(ctx, objects...) })
	}
	var err error
	if w.about, err = w.facts(p); err != nil {
		return err
	}
	if err := w.renderAll(ctx); err != nil {
		return err
	}
	if err := w.results(); err != nil {
		return err
	}
	if err := w.report(); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	for _, c := range w.counties {
		w.made[c] = w.log
	}
	took := s.cfg.Now().Sub(begun)
	w.when.next = w.when.pace.next(begun, took, w.bytes)
	s.cfg.Metrics.exportTime.Observe(took.Seconds())
	s.cfg.Metrics.bytes.WithLabelValues("export").Add(float64(w.bytes))
	s.cfg.Logger.InfoContext(ctx, "unit files written", "snapshot", w.number, "counties", len(w.counties), "bytes", w.bytes, "elapsed", took)
	return nil
}

// exportWorkers render counties side by side; the night's end waits for them.
const exportWorkers = 2

// renderAll renders the counties in parallel and stores them as they come.
func (w *exporting) renderAll(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	next, done := make(chan schemas.CountyIndex), make(chan countyFiles)
	var workers sync.WaitGroup
	defer workers.Wait() // after cancel: nobody may read the plan any more
	defer cancel()
	workers.Go(func() {
		defer close(next)
		for _, c := range w.exportPlan.counties {
			select {
			case next <- c:
			case <-ctx.Done():
				return
			}
		}
	})
	for range exportWorkers {
		workers.Go(func() {
			reader := unitReader{election: w.catalogue.election, newest: w.newest}
			for c := range next {
				select {
				case done <- w.render(&reader, c):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for range w.exportPlan.counties {
		select {
		case files := <-done:
			if err := w.take(files); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("writing unit files: %w", ctx.Err())
		}
	}
	return nil
}

func (w *exporting) render(r *unitReader, c schemas.CountyIndex) countyFiles {
	f := countyFiles{county: c}
	if !w.cfg.NoCSV {
		if f.csv, f.rows, f.err = r.appendCSV([]byte(csvHeader), c, w.units); f.err != nil {
			return f
		}
	}
	if w.cfg.UnitLines {
		if f.lines, f.err = r.appendUnitLines(nil, c, w.units, w.moved); f.err != nil {
			return f
		}
	}
	if w.cfg.UnitReports {
		f.report, f.err = w.countyReport(r, c)
	}
	return f
}

func (w *exporting) take(f countyFiles) error {
	if f.err != nil {
		return f.err
	}
	id := string(w.catalogue.election.Counties[f.county].ID)
	w.exports.rows[f.county] = f.rows
	if !w.cfg.NoCSV {
		if err := w.add(csvFolder+id+".csv", w.csvKey(id), f.csv, typeCSV); err != nil {
			return err
		}
	}
	if w.cfg.UnitReports {
		if err := w.add(reportFolder+id+".json.gz", w.countyReportKey(id), f.report, typeGzip); err != nil {
			return err
		}
	}
	if !w.cfg.UnitLines {
		return nil
	}
	return w.add(unitLineFolder+id, schemas.ContentKey("units", schemas.DigestOf(f.lines), ".ndjson"), f.lines, typeNDJSON)
}

// csvKey is where a CSV file of this snapshot lies.
func (w *exporting) csvKey(name string) string {
	return fmt.Sprintf("%s%09d-%d/%s.csv", csvFolder, w.number, w.epoch, name)
}

// add names a file and puts it with the next batch, unless the same bytes are
// named already.
func (w *exporting) add(name, key string, body []byte, contentType string) error {
	e := schemas.ManifestEntry{Name: name, Version: w.log, Key: key, Hash: schemas.DigestOf(body), Bytes: int64(len(body))}
	if old := w.files[name]; old.Hash == e.Hash {
		old.Version = w.log
		w.files[name] = old
		return nil
	}
	w.files[name] = e
	w.objects = append(w.objects, immutable(key, body, contentType))
	w.bytes += e.Bytes
	if w.size += len(body); w.size < putAtOnce {
		return nil
	}
	return w.flush()
}

func (w *exporting) flush() error {
	if len(w.objects) == 0 {
		return nil
	}
	if err := w.put("unit files", w.objects); err != nil {
		return err
	}
	w.objects, w.size = nil, 0
	return nil
}

// results writes the one file with everything, as long as it is a size that a
// spreadsheet takes, and every county's file is as new. A county of that name
// takes its place.
func (w *exporting) results() error {
	if !w.whole {
		return nil
	}
	total := 0
	for _, n := range w.exports.rows {
		total += n
	}
	_, taken := w.catalogue.election.County("results")
	if w.cfg.NoCSV || taken || total > w.cfg.ResultsRows {
		delete(w.files, resultsName)
		return nil
	}
	reader := unitReader{election: w.catalogue.election, newest: w.newest}
	body := []byte(csvHeader)
	for c := range w.catalogue.counties {
		var err error
		if body, _, err = reader.appendCSV(body, schemas.CountyIndex(c), w.units); err != nil {
			return err
		}
	}
	return w.add(resultsName, w.csvKey("results"), body, typeCSV)
}
