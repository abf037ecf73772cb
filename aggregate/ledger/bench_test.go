package ledger_test

import (
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/schemas"
)

// cpu is what the process used so far: other processes of the machine and
// waiting for the disk do not count.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkCommit(b *testing.B) {
	// Counties and rows as a whole US night has them: 3,000 rows of some 700
	// cells, hit at random.
	e := ledgertest.Election(b, ledgertest.Shape{Counties: 3000, UnitsPerCounty: 4, Contests: 40, Partitions: 64})
	for _, size := range []int{50, 300, 1000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { benchmarkCommit(b, e, size) })
	}
}

func benchmarkCommit(b *testing.B, e *schemas.Election, size int) {
	l, err := ledger.OpenSQLite(filepath.Join(b.TempDir(), "ledger.db"), e, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	heads, err := l.Heads(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	rows := make([][]int64, len(e.Counties))
	for c := range rows {
		rows[c] = make([]int64, e.Counties[c].Cells)
		for i := range rows[c] {
			rows[c][i] = int64(i % 400)
		}
	}
	at, unit := schemas.Checkpoint(0), 0
	done, start := 0, cpu(b)
	for b.Loop() {
		batches := make([]ledger.Batch, len(heads))
		for p := range heads {
			batches[p] = ledger.Batch{Before: heads[p], After: heads[p]}
		}
		touched := map[schemas.CountyIndex]bool{}
		for range size {
			at, unit = at+1, (unit+7919)%len(e.Units)
			p := &batches[e.PartitionOf(schemas.UnitIndex(unit))]
			p.After.Size++
			p.After.Checkpoint = at
			p.Entries = append(p.Entries, schemas.Entry{
				Partition: p.Before.Partition, Seq: p.After.Size, Kind: schemas.EntryCounted,
				Unit: e.Units[unit].ID, Revision: 1, At: at,
			})
			p.Records = append(p.Records, nil) // they stay in the stream
			if c := e.Units[unit].County; !touched[c] {
				touched[c] = true
				p.Tallies = append(p.Tallies, ledger.CountyTally{County: c, Row: rows[c]})
			}
		}
		if err := l.Commit(b.Context(), batches); err != nil {
			b.Fatal(err)
		}
		for p := range heads {
			heads[p] = batches[p].After
		}
		done += size
	}
	b.ReportMetric(float64((cpu(b)-start).Microseconds())/float64(done), "cpu-us/entry")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(done), "us/entry")
}
