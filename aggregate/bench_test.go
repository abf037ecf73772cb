package aggregate

import (
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/schemas"
)

// benchNight is a night of 40 contests a unit at most, bodies of about 5 KB,
// in a shuffled order that repeats itself for every run.
func benchNight(b *testing.B, counties, revisions int, rules *schemas.OutlierRules) (*schemas.Election, *memoryStream, int) {
	b.Helper()
	e := ledgertest.Election(b, ledgertest.Shape{Counties: counties, UnitsPerCounty: 10, Contests: 40, Partitions: 64, Outliers: rules, History: 900})
	var records [][]byte
	size := 0
	for r := range revisions {
		for i := range e.Units {
			u := schemas.UnitIndex((i*7919 + 1) % len(e.Units))
			n := schemas.Count((r+1)*300 + int(u)%10) // no twins
			record := send(e, u, schemas.Revision(r+1), votes(e, u, n, 20), false).record
			records, size = append(records, record), size+len(record)
		}
	}
	s := newMemoryStream(b)
	s.append(e, records...)
	return e, s, size / len(records)
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkFold decodes and folds, without stores.
func BenchmarkFold(b *testing.B) {
	for name, c := range map[string]struct {
		revisions int
		rules     *schemas.OutlierRules
	}{"first revisions": {1, nil}, "of three revisions": {3, nil}, "first revisions, every rule": {1, everyRule}} {
		b.Run(name, func(b *testing.B) {
			e, s, size := benchNight(b, 300, c.revisions, c.rules)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var partitions []partition
			i, before := len(s.records), cpu(b)
			for b.Loop() {
				if i == len(s.records) {
					partitions, i = newStore(e, nil).load(), 0
				}
				r := &s.records[i]
				p := &partitions[r.Partition]
				if outcome, err := p.fold(b.Context(), r.At, r.Bytes); err != nil || outcome != Counted {
					b.Fatal(outcome, err)
				}
				if len(p.entries) == 100 {
					p.committed()
				}
				i++
			}
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/record")
		})
	}
}

// BenchmarkAggregate runs the whole stage on a real ledger file, in full
// transactions of the given size, and tells what memory a unit takes.
func BenchmarkAggregate(b *testing.B) {
	for _, c := range []struct {
		name            string
		full, revisions int
	}{{"transactions of 300", 300, 1}, {"transactions of 500", 500, 1}, {"transactions of 1000", 1000, 1}, {"three revisions", 500, 3}} {
		b.Run(c.name, func(b *testing.B) {
			e, s, _ := benchNight(b, 2000, c.revisions, nil)
			for b.Loop() {
				benchmarkAggregate(b, e, s, c.full)
			}
		})
	}
}

func benchmarkAggregate(b *testing.B, e *schemas.Election, s *memoryStream, full int) {
	l, err := ledger.OpenSQLite(filepath.Join(b.TempDir(), "ledger.db"), e, s)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	memory := heap()
	done := make(chan struct{})
	finish := sync.OnceFunc(func() { close(done) })
	var a *Aggregator
	before := cpu(b)
	a, stop := start(b, Config{
		Election: e, Source: oneShard(e, s), Ledger: l, Full: full, Metrics: NewMetrics(prometheus.NewRegistry()),
		OnCommit: func() {
			if a.checkpoint() == s.Last() {
				finish()
			}
		},
	})
	<-done
	stop()
	used := cpu(b) - before
	b.ReportMetric(float64(used.Microseconds())/float64(len(s.records)), "cpu-us/record")
	b.ReportMetric(float64(heap()-memory)/float64(len(e.Units)), "B/unit")
	runtime.KeepAlive(a)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// everyRule holds nothing of benchNight.
var everyRule = &schemas.OutlierRules{
	History:    &schemas.HistoryRule{Percent: 300, Least: 1000},
	Neighbours: &schemas.NeighbourRule{Percent: 300, Least: 1000, Units: 3},
	Twins:      &schemas.TwinRule{Least: 100},
}

// BenchmarkLoad reads a ledger of one entry a unit anew, as after an error.
func BenchmarkLoad(b *testing.B) {
	b.Run("heads, rows and units", func(b *testing.B) { benchmarkLoad(b, nil) })
	b.Run("and every unit's row for the twin rule", func(b *testing.B) { benchmarkLoad(b, everyRule) })
}

func benchmarkLoad(b *testing.B, rules *schemas.OutlierRules) {
	e, s, _ := benchNight(b, 2000, 1, rules)
	l, err := ledger.OpenSQLite(filepath.Join(b.TempDir(), "ledger.db"), e, s)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	_, stop := start(b, Config{Election: e, Source: oneShard(e, s), Ledger: l})
	for {
		heads, err := l.Heads(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if sum := func() (n uint64) {
			for _, h := range heads {
				n += h.Size
			}
			return n
		}(); sum == uint64(len(s.records)) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	shards, err := oneShard(e, s).Shards(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	before := cpu(b)
	for b.Loop() {
		w, err := NewWorker(Config{
			Election: e, Source: oneShard(e, s), Ledger: l, Metrics: NewMetrics(prometheus.NewRegistry()), Logger: silent(),
		}, shards[0])
		if err == nil {
			err = w.Load(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N)/float64(len(s.records)), "cpu-us/entry")
}
