package kinesis_test

import (
	"fmt"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// cpu is what the whole process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchService(b *testing.B) (*kinesistest.Service, kinesis.Config) {
	b.Helper()
	service := kinesistest.New(kinesistest.Options{Shards: 4, Unlimited: true})
	server := httptest.NewServer(service.Handler())
	b.Cleanup(server.Close)
	c, err := cloud.Open(b.Context(), cloud.Options{Endpoint: server.URL, Region: cloud.EmulatorRegion, Prefix: "tallystream"}, cloud.WithKeys("test", "test"))
	if err != nil {
		b.Fatal(err)
	}
	return service, config(c.Kinesis)
}

// BenchmarkAppend puts records of 5 KB through the SDK over loopback, the
// service's side included.
func BenchmarkAppend(b *testing.B) {
	for _, appenders := range []int{2, 64, 1024} {
		b.Run(fmt.Sprint(appenders), func(b *testing.B) {
			service, cfg := benchService(b)
			p := kinesis.NewProducer(cfg)
			record := make([]byte, 5<<10)
			used := cpu()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range appenders {
				wg.Go(func() {
					for n := i; n < b.N; n += appenders {
						if _, err := p.Append(b.Context(), schemas.Partition(n%partitions), record); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(cpu()-used)/1000/float64(b.N), "cpu-us/record")
			b.ReportMetric(float64(b.N)/float64(max(1, service.Count("PutRecords"))), "records/request")
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkRead reads records of 5 KB through the SDK over loopback, by a
// clock that does not wait for the shard's limits.
func BenchmarkRead(b *testing.B) {
	service, cfg := benchService(b)
	for i := range b.N {
		p := schemas.Partition(i % partitions)
		service.Put(p.String(), kinesis.PointOf(p, partitions), make([]byte, 5<<10))
	}
	cfg.Clock = newHandClock()
	source := kinesis.NewSource(cfg)
	at := make([]stream.Position, partitions)
	shards, err := source.Shards(b.Context(), at)
	if err != nil {
		b.Fatal(err)
	}
	used := cpu()
	b.ResetTimer()
	for _, s := range shards {
		r, err := source.Open(b.Context(), s, at)
		if err != nil {
			b.Fatal(err)
		}
		for want := b.N/partitions + min(1, b.N%partitions); want > 0; {
			records, err := r.Read(b.Context(), 1000)
			if err == nil && len(records) == 0 {
				if _, age := r.Behind(); age == 0 {
					break
				}
			}
			if err == nil {
				err = r.Wait(b.Context())
			}
			if err != nil {
				b.Fatal(err)
			}
			want -= len(records)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu()-used)/1000/float64(b.N), "cpu-us/record")
}

// BenchmarkShards asks which shards can be read, with as many partitions as an
// election may have.
func BenchmarkShards(b *testing.B) {
	service := kinesistest.New(kinesistest.Options{Shards: 32})
	cfg := config(service)
	cfg.Partitions = schemas.MaxPartitions
	source := kinesis.NewSource(cfg)
	at := make([]stream.Position, cfg.Partitions)
	for p := range at {
		at[p].Cursor = fmt.Sprintf("k1/shardId-%012d/49570000000000000000000000000000000000000000000000000001", p/128)
	}
	for b.Loop() {
		if shards, err := source.Shards(b.Context(), at); err != nil || len(shards) != 32 {
			b.Fatal(len(shards), err)
		}
	}
}
