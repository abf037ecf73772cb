package cdf_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"

	"tallystream/schemas"
	"tallystream/schemas/cdf"
	"tallystream/simulator/elections"
)

// union is the US night at its end: 180,000 units, each drawn when asked for.
var union = sync.OnceValues(func() (*elections.Generated, [][]int64) {
	g, err := elections.Generate(elections.UnionKind, 7)
	if err != nil {
		panic(err)
	}
	e := g.Election()
	rows := make([][]int64, len(e.Counties))
	for c := range rows {
		rows[c] = make([]int64, e.Counties[c].Cells)
	}
	var cells []schemas.Count
	for u := range e.Units {
		cells = g.Cells(schemas.UnitIndex(u), cells)
		e.Fold(rows[e.Units[u].County], schemas.UnitIndex(u), nil, cells)
	}
	return g, rows
})

// counter counts bytes and, where it is told to, looks how large the heap is.
type counter struct {
	every         int64 // bytes between two looks; 0: never
	bytes, looked int64
	peak          uint64
}

func (c *counter) Write(b []byte) (int, error) {
	c.bytes += int64(len(b))
	if c.every > 0 && c.bytes-c.looked > c.every {
		c.look()
	}
	return len(b), nil
}

func (c *counter) look() {
	c.looked = c.bytes
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.peak = max(c.peak, m.HeapAlloc)
}

func heap() uint64 {
	c := counter{}
	c.look()
	return c.peak
}

func BenchmarkUnionExporter(b *testing.B) {
	g, _ := union()
	before := heap()
	var x *cdf.Exporter
	for b.Loop() {
		x = cdf.NewExporter(g.Election())
	}
	b.ReportMetric(float64(heap()-before)/1e6, "heap-MB")
	runtime.KeepAlive(x)
}

func BenchmarkUnionSummary(b *testing.B) {
	g, rows := union()
	x := cdf.NewExporter(g.Election())
	n := counter{}
	for b.Loop() {
		n = counter{}
		if err := x.Summary(&n, facts(cdf.UnofficialComplete), rows); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(n.bytes)
	b.ReportMetric(float64(n.bytes)/1e6, "file-MB")
}

// compactRows are the rows of all units as a publisher keeps them.
var compactRows = sync.OnceValue(func() [][]byte {
	g, _ := union()
	out := make([][]byte, len(g.Election().Units))
	var cells []schemas.Count
	for u := range out {
		cells = g.Cells(schemas.UnitIndex(u), cells)
		out[u] = schemas.AppendCells(nil, cells)
	}
	return out
})

// compactRow reads one of them.
func compactRow(u schemas.UnitIndex, dst []schemas.Count) ([]schemas.Count, error) {
	g, _ := union()
	n := g.Election().Units[u].Style.Cells
	dst = slices.Grow(dst[:0], n)[:n]
	return dst, schemas.ReadCells(compactRows()[u], dst)
}

// BenchmarkUnionByUnit writes the units of every county.
func BenchmarkUnionByUnit(b *testing.B) {
	g, _ := union()
	compactRows()
	x := cdf.NewExporter(g.Election())
	n := counter{}
	for b.Loop() {
		n = counter{}
		for c := range g.Election().Counties {
			if err := x.County(&n, facts(cdf.UnofficialComplete), schemas.CountyIndex(c), compactRow); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.SetBytes(n.bytes)
	b.ReportMetric(float64(n.bytes)/1e6, "files-MB")
}

// BenchmarkLargestCounty writes the county of most units, and says what memory
// that takes. Looking at the heap takes most of its time.
func BenchmarkLargestCounty(b *testing.B) {
	g, _ := union()
	compactRows()
	x := cdf.NewExporter(g.Election())
	largest := 0
	for c := range g.Election().Counties {
		if len(g.Election().Counties[c].Units) > len(g.Election().Counties[largest].Units) {
			largest = c
		}
	}
	before := heap()
	n := counter{}
	for b.Loop() {
		n = counter{every: 4 << 20}
		if err := x.County(&n, facts(cdf.UnofficialComplete), schemas.CountyIndex(largest), compactRow); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(g.Election().Counties[largest].Units)), "units")
	b.ReportMetric(float64(n.bytes)/1e6, "file-MB")
	b.ReportMetric((float64(n.peak)-float64(before))/1e6, "heap-MB")
}

// BenchmarkUnionSummaryGzip says what compressing the summary costs and saves.
func BenchmarkUnionSummaryGzip(b *testing.B) {
	g, rows := union()
	x := cdf.NewExporter(g.Election())
	plain, packed := counter{}, counter{}
	for b.Loop() {
		plain, packed = counter{}, counter{}
		z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(x.Summary(io.MultiWriter(&plain, z), facts(cdf.UnofficialComplete), rows), z.Close()); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(plain.bytes)
	b.ReportMetric(float64(packed.bytes)/1e6, "gzip-MB")
}

func BenchmarkUnionImport(b *testing.B) {
	g, _ := union()
	file := preElection(b, g.Election())
	b.SetBytes(int64(len(file)))
	var d *schemas.Definition
	for b.Loop() {
		var err error
		if d, err = cdf.Import(bytes.NewReader(file), cdf.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	if !reflect.DeepEqual(d, g.Election().Definition) {
		b.Error("the definition that was read is not the one that was written")
	}
	b.ReportMetric(float64(len(file))/1e6, "file-MB")
}
