package aggregate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate/ledger"
	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// memoryStream is a strict source: it gives what was appended, in order, and
// fails the test for a question that no aggregator should ask.
type memoryStream struct {
	tb      testing.TB
	mu      sync.Mutex
	records []stream.Record // guarded by mu; record i is at checkpoint i+1
	grown   chan struct{}   // closed and replaced when records grow; guarded by mu
	// fault is asked before each operation; nil: none.
	fault func(operation string) error
}

func newMemoryStream(tb testing.TB) *memoryStream {
	return &memoryStream{tb: tb, grown: make(chan struct{}), fault: func(string) error { return nil }}
}

func (s *memoryStream) append(e *schemas.Election, records ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	place := &store{election: e}
	for _, b := range records {
		s.records = append(s.records, stream.Record{Partition: place.partitionOf(b), At: schemas.Checkpoint(len(s.records) + 1), Bytes: b})
	}
	close(s.grown)
	s.grown = make(chan struct{})
}

func (s *memoryStream) Read(_ context.Context, after schemas.Checkpoint, most int) ([]stream.Record, error) {
	if err := s.fault("read"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if most < 1 || int(after) > len(s.records) {
		s.tb.Errorf("read of %d records after %d of %d", most, after, len(s.records))
		return nil, errors.New("bad read")
	}
	return s.records[after:min(len(s.records), int(after)+most)], nil
}

func (s *memoryStream) Wait(ctx context.Context, after schemas.Checkpoint) error {
	if err := s.fault("wait"); err != nil {
		return err
	}
	s.mu.Lock()
	grown, has := s.grown, len(s.records) > int(after)
	s.mu.Unlock()
	if has {
		return nil
	}
	select {
	case <-grown:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *memoryStream) Get(_ context.Context, at schemas.Checkpoint) ([]byte, error) {
	if err := s.fault("get"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at < 1 || int(at) > len(s.records) {
		s.tb.Errorf("get of %d of %d", at, len(s.records))
		return nil, errors.New("bad get")
	}
	return s.records[at-1].Bytes, nil
}

func (s *memoryStream) Last() schemas.Checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return schemas.Checkpoint(len(s.records))
}

// faultyLedger fails before or after what it wraps.
type faultyLedger struct {
	*ledger.SQLite
	fault func(operation string) error
	// onCommit sees every transaction that went through.
	onCommit func([]ledger.Batch)
}

func (l *faultyLedger) View(ctx context.Context) (ledger.View, error) {
	if err := l.fault("view"); err != nil {
		return nil, err
	}
	return l.SQLite.View(ctx)
}

func (l *faultyLedger) EntriesOf(ctx context.Context, unit schemas.UnitID) ([]schemas.Entry, error) {
	if err := l.fault("entries"); err != nil {
		return nil, err
	}
	return l.SQLite.EntriesOf(ctx, unit)
}

func (l *faultyLedger) Commit(ctx context.Context, batches []ledger.Batch) error {
	if err := l.fault("commit, not stored"); err != nil {
		return err
	}
	if err := l.SQLite.Commit(ctx, batches); err != nil {
		return err
	}
	if l.onCommit != nil {
		l.onCommit(batches)
	}
	return l.fault("commit, but stored")
}

func openLedger(tb testing.TB, e *schemas.Election, records ledger.Records) *faultyLedger {
	tb.Helper()
	l, err := ledger.OpenSQLite(filepath.Join(tb.TempDir(), "ledger.db"), e, records)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &faultyLedger{SQLite: l, fault: func(string) error { return nil }}
}

func oneShard(e *schemas.Election, s stream.Ordered) stream.Source {
	return stream.OneShard(s, e.Definition.Partitions, time.Now)
}

// checkpoint is, for a stream with one order, a position up to which all of it
// is in the ledger.
func (a *Aggregator) checkpoint() (at schemas.Checkpoint) {
	a.each(func(w *Worker) { at = max(at, schemas.Checkpoint(w.checkpoint.Load())) })
	return at
}

// start runs an aggregator until the returned function stops it.
func start(tb testing.TB, cfg Config) (*Aggregator, func()) {
	tb.Helper()
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	cfg.Logger = silent()
	a, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := a.Run(ctx); err != nil {
			tb.Error(err)
		}
	})
	return a, sync.OnceFunc(func() { cancel(); running.Wait() })
}

// wantScratch checks that the ledger holds the fold of records from scratch.
func wantScratch(tb testing.TB, e *schemas.Election, l *ledger.SQLite, records [][]byte) {
	tb.Helper()
	want := scratch(tb, e, records)
	v, err := l.View(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := v.Close(); err != nil {
			tb.Error(err)
		}
	}()
	var entries []schemas.Entry
	if err := v.Entries(tb.Context(), nil, func(x schemas.Entry, _ []byte) error { entries = append(entries, x); return nil }); err != nil {
		tb.Fatal(err)
	}
	if diff := cmp.Diff(want.entries, entries); diff != "" {
		tb.Errorf("entries (-scratch +ledger):\n%s", diff)
	}
	for c := range e.Counties {
		tallies, err := v.Tallies(tb.Context(), []schemas.CountyIndex{schemas.CountyIndex(c)})
		if err != nil {
			tb.Fatal(err)
		}
		if diff := cmp.Diff(want.rows[c], tallies[0].Row); diff != "" {
			tb.Errorf("tally of county %d (-scratch +ledger):\n%s", c, diff)
		}
	}
	for p, h := range v.Heads() {
		if h.Size != want.heads[p].Size || h.Checkpoint < want.heads[p].Checkpoint {
			tb.Errorf("head %+v, want at least %+v", h, want.heads[p])
		}
	}
}

// seeded makes a night of n records by seed, with repeats, conflicts and
// poison among them.
func seeded(e *schemas.Election, seed uint64, n int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 0))
	var records [][]byte
	for len(records) < n {
		unit := schemas.UnitIndex(r.IntN(len(e.Units)))
		revision := schemas.Revision(1 + len(records)/(1+len(e.Units)) + r.IntN(3))
		ballots := schemas.Count(uint32(revision)*5) + schemas.Count(r.IntN(4))
		switch r.IntN(12) {
		case 0:
			records = append(records, fmt.Append(nil, "noise ", r.Uint64()))
		case 1, 2:
			if len(records) > 0 {
				records = append(records, records[r.IntN(len(records))])
			}
		case 3:
			records = append(records, send(e, unit, revision, votes(e, unit, ballots/2, 0), true).record)
		default:
			records = append(records, send(e, unit, revision, votes(e, unit, ballots, 0), false).record)
		}
	}
	return records
}
