package aggregate

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate/ledger"
	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// victimDir names the variable that turns the test binary into an aggregator
// of the stream and ledger in that directory.
const victimDir = "TALLYSTREAM_TEST_AGGREGATE"

// aggregateUntilKilled prints the checkpoint after each transaction.
func aggregateUntilKilled(dir string) error {
	e := smallElection(&testing.T{})
	source, err := openStream(dir, true)
	if err != nil {
		return err
	}
	l, err := ledger.OpenSQLite(filepath.Join(dir, "ledger.db"), e, source)
	if err != nil {
		return err
	}
	var a *Aggregator
	a, err = New(Config{
		Election: e, Source: oneShard(e, source), Ledger: l, Metrics: NewMetrics(prometheus.NewRegistry()), Logger: silent(),
		Gap: time.Millisecond, Full: 7,
		OnCommit: func() { fmt.Println(uint64(a.checkpoint())) },
	})
	if err != nil {
		return err
	}
	return a.Run(context.Background())
}

func openStream(dir string, reader bool) (*stream.SQLite, error) {
	cfg := stream.Config{Path: filepath.Join(dir, "stream.db"), Metrics: stream.NewMetrics(prometheus.NewRegistry()), Logger: silent()}
	if reader {
		return stream.OpenSQLiteReader(cfg)
	}
	return stream.OpenSQLite(cfg)
}

// TestAKilledAggregatorCountsEverythingOnce kills an aggregating process with
// SIGKILL again and again, until one comes to the end of the stream.
func TestAKilledAggregatorCountsEverythingOnce(t *testing.T) {
	e, dir := smallElection(t), t.TempDir()
	const seed = 3
	t.Logf("seed %d", seed)
	records := seeded(e, seed, 250)
	s, err := openStream(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	var appending sync.WaitGroup
	place := &store{election: e}
	order := make([][]byte, len(records))
	for _, r := range records {
		appending.Go(func() {
			at, err := s.Append(t.Context(), place.partitionOf(r), r)
			if err != nil {
				t.Error(err)
				return
			}
			order[at-1] = r
		})
	}
	appending.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	runs := 0
	for at := schemas.Checkpoint(0); at < schemas.Checkpoint(len(records)); runs++ {
		at = runVictim(t, dir, schemas.Checkpoint(len(records)))
	}
	t.Logf("%d processes", runs)
	if s, err = openStream(dir, true); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := ledger.OpenSQLite(filepath.Join(dir, "ledger.db"), e, s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	wantScratch(t, e, l, order)
}

// runVictim aggregates in another process and kills it after a few commits or
// at the end of the stream.
func runVictim(t *testing.T, dir string, end schemas.Checkpoint) (at schemas.Checkpoint) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.CommandContext(t.Context(), self)
	victim.Env = append(os.Environ(), victimDir+"="+dir)
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for commits := 1; lines.Scan(); commits++ {
		n, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		at = schemas.Checkpoint(n)
		if commits == 7 || at == end {
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := victim.Wait(); err == nil || at == 0 {
		t.Fatalf("the process ended by itself, at %d", at)
	}
	return at
}
