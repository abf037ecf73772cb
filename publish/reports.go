package publish

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
)

// Names of reports in the common data format (NIST SP 1500-100 v2) in a
// manifest. They are compressed: repetitive as they are, they shrink to a
// twelfth.
const (
	reportName   = "results.cdf.json.gz"
	reportFolder = "cdf/"
)

// facts of the reports that a plan's snapshot names.
func (x *exports) facts(p *plan) (*cdf.Facts, error) {
	at, err := time.Parse(schemas.SnapshotTimeLayout, p.snapshot.Time)
	if err != nil {
		return nil, fmt.Errorf("writing reports: %w", err)
	}
	return &cdf.Facts{
		Status: x.reports.StatusOf(p.exports.rows), Test: x.cfg.Test, Time: at,
		Snapshot: p.snapshot.Number, Log: p.snapshot.Log, Holds: p.listings.open, Movements: p.listings.moved, Remainder: p.exports.remainder,
	}, nil
}

// cloneRows keeps the rows at a cut while the fold goes on.
func cloneRows(rows [][]int64) [][]int64 {
	out := make([][]int64, len(rows))
	for i := range rows {
		out[i] = slices.Clone(rows[i])
	}
	return out
}

// report writes the election by county.
func (w *exporting) report() error {
	body, err := compressed(func(to io.Writer) error { return w.reports.Summary(to, w.about, w.exportPlan.rows) })
	if err != nil {
		return err
	}
	return w.add(reportName, fmt.Sprintf("%s%09d-%d.json.gz", reportFolder, w.number, w.epoch), body, typeGzip)
}

// countyReport renders one county by unit.
func (w *exporting) countyReport(r *unitReader, c schemas.CountyIndex) ([]byte, error) {
	return compressed(func(to io.Writer) error {
		return w.reports.County(to, w.about, c, func(u schemas.UnitIndex, _ []schemas.Count) ([]schemas.Count, error) {
			if w.units[u].cells == nil {
				return nil, nil
			}
			return r.read(u, w.units[u])
		})
	})
}

func (w *exporting) countyReportKey(id string) string {
	return fmt.Sprintf("%s%09d-%d/%s.json.gz", reportFolder, w.number, w.epoch, id)
}

// compressed is what write writes, as gzip without a time.
func compressed(write func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(write(z), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
