//go:build unix

package stream_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// processTime is the CPU time that the process has used, the kernel's work for
// it included.
func processTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

const nightRecord = 5 << 10 // a submission of 30 contests with its envelope

func openBench(b *testing.B, cfg stream.Config) *stream.SQLite {
	b.Helper()
	cfg.Path = filepath.Join(b.TempDir(), "stream.sqlite")
	s, err := stream.OpenSQLite(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkAppend appends records of 5 KB from so many goroutines, each of
// which waits for its record to be durable. -benchtime 180000x is a whole
// night.
func BenchmarkAppend(b *testing.B) {
	for _, appenders := range []int{1, 16, 64, 256, 1024} {
		b.Run(strconv.Itoa(appenders), func(b *testing.B) {
			var slowest atomic.Int64
			s := openBench(b, stream.Config{})
			b.SetParallelism(max(appenders/2, 1))
			b.SetBytes(nightRecord)
			cpu := processTime(b)
			b.RunParallel(func(pb *testing.PB) {
				random := rand.New(rand.NewPCG(1, 2))
				for pb.Next() {
					record := make([]byte, nightRecord)
					for i := 0; i < len(record); i += 64 {
						record[i] = byte(random.Uint32())
					}
					began := time.Now()
					if _, err := s.Append(b.Context(), schemas.Partition(random.UintN(64)), record); err != nil {
						b.Error(err)
					}
					took := int64(time.Since(began))
					for old := slowest.Load(); took > old && !slowest.CompareAndSwap(old, took); old = slowest.Load() {
					}
				}
			})
			b.ReportMetric(float64((processTime(b)-cpu).Nanoseconds())/1e3/float64(b.N), "cpu-us/record")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(slowest.Load())/1e6, "slowest-ms")
		})
	}
}

// BenchmarkArrivals lets 4,000 records a second arrive, one by one, as on a
// machine that is busy with all the other stages of a whole night. It is what
// the linger is for: the CPU time of a record by linger.
func BenchmarkArrivals(b *testing.B) {
	for _, linger := range []time.Duration{-1, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond} {
		b.Run(fmt.Sprint(max(linger, 0)), func(b *testing.B) {
			s := openBench(b, stream.Config{Linger: linger})
			var appends sync.WaitGroup
			cpu, began := processTime(b), time.Now()
			for n := range b.N {
				time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / 4000)))
				appends.Go(func() {
					if _, err := s.Append(b.Context(), 1, make([]byte, nightRecord)); err != nil {
						b.Error(err)
					}
				})
			}
			appends.Wait()
			b.ReportMetric(float64((processTime(b)-cpu).Nanoseconds())/1e3/float64(b.N), "cpu-us/record")
		})
	}
}

// fill appends n records of a night.
func fill(b *testing.B, s *stream.SQLite, n int) {
	b.Helper()
	const appenders = 256
	errs := make(chan error, appenders)
	for range appenders {
		go func() {
			var failed error
			for range n / appenders {
				if _, err := s.Append(b.Context(), 1, make([]byte, nightRecord)); err != nil {
					failed = err
				}
			}
			errs <- failed
		}()
	}
	for range appenders {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}

const filled = 20 * 256

// BenchmarkRead reads in order, in batches; from memory as aggregation does
// that keeps up, and from the file.
func BenchmarkRead(b *testing.B) {
	for name, cacheBytes := range map[string]int{"Memory": 0, "File": -1} {
		for _, batch := range []int{1, 16, 500} {
			b.Run(fmt.Sprint(name, batch), func(b *testing.B) {
				s := openBench(b, stream.Config{CacheBytes: cacheBytes})
				fill(b, s, filled)
				b.ReportAllocs()
				n, after := 0, schemas.Checkpoint(0)
				for b.Loop() {
					records, err := s.Read(b.Context(), after, batch)
					if err != nil {
						b.Fatal(err)
					}
					n += len(records)
					if after += schemas.Checkpoint(len(records)); len(records) < batch {
						after = 0
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
			})
		}
	}
}

// BenchmarkGet reads single records, one after the other.
func BenchmarkGet(b *testing.B) {
	for name, cacheBytes := range map[string]int{"Memory": 0, "File": -1} {
		b.Run(name, func(b *testing.B) {
			s := openBench(b, stream.Config{CacheBytes: cacheBytes})
			fill(b, s, filled)
			b.ReportAllocs()
			at := schemas.Checkpoint(0)
			for b.Loop() {
				at = at%filled + 1
				if _, err := s.Get(b.Context(), at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
