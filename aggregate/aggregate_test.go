package aggregate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		fmt.Fprintln(os.Stderr, aggregateUntilKilled(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

var errFault = errors.New("injected fault")

// TestFaultsOfTheStoresChangeNothing fails every operation now and then, the
// commit also after it went through, and compares with the fold from scratch.
func TestFaultsOfTheStoresChangeNothing(t *testing.T) {
	e := smallElection(t)
	for _, operation := range []string{"read", "wait", "get", "view", "entries", "commit, not stored", "commit, but stored", ""} {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const seed = 11
				t.Logf("seed %d", seed)
				records := seeded(e, seed, 200)
				r := rand.New(rand.NewPCG(seed, 1))
				faults := 0
				fault := func(o string) error {
					if faults < 25 && (operation == "" || o == operation) && r.IntN(4) == 0 {
						faults++
						return errFault
					}
					return nil
				}
				source := newMemoryStream(t)
				l := openLedger(t, e, source)
				source.fault, l.fault = fault, fault
				a, stop := start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l, Full: 10})
				for part := range slices.Chunk(records, 20) {
					source.append(e, part...)
					time.Sleep(time.Second)
					if source.Last() == 100 { // a new process forgets the units' rows
						stop()
						a, stop = start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l, Full: 10})
					}
				}
				time.Sleep(5 * time.Minute)
				stop()
				operation = "none any more"
				if faults == 0 {
					t.Error("no fault happened")
				}
				if got := a.checkpoint(); got != source.Last() {
					t.Errorf("checkpoint %d, want %d", got, source.Last())
				}
				if err := a.Ready(); err != nil {
					t.Errorf("not ready in the end: %v", err)
				}
				wantScratch(t, e, l.SQLite, records)
			})
		})
	}
}

// TestRivalsNeverCountTwice runs several aggregators on one ledger file, as
// processes would, none of which knows of the others.
func TestRivalsNeverCountTwice(t *testing.T) {
	e := smallElection(t)
	const seed = 5
	t.Logf("seed %d", seed)
	records := seeded(e, seed, 300)
	source := newMemoryStream(t)
	path := filepath.Join(t.TempDir(), "ledger.db")
	var rivals []*Aggregator
	var stops []func()
	var first *ledger.SQLite
	for range 3 {
		l, err := ledger.OpenSQLite(path, e, source)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		first = l
		a, stop := start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l, Gap: time.Millisecond, Full: 20})
		defer stop()
		rivals, stops = append(rivals, a), append(stops, stop)
	}
	for part := range slices.Chunk(records, 30) {
		source.append(e, part...)
		time.Sleep(time.Millisecond)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if slices.ContainsFunc(rivals, func(a *Aggregator) bool { return a.checkpoint() == source.Last() }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody came to the end")
		}
	}
	for _, stop := range stops {
		stop()
	}
	wantScratch(t, e, first, records)
}

func TestStoppingCommitsWhatIsAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := smallElection(t)
		source := newMemoryStream(t)
		l := openLedger(t, e, source)
		a, stop := start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l, Gap: time.Hour})
		first := send(e, 0, 1, votes(e, 0, 10, 0), false).record
		second := send(e, 0, 2, votes(e, 0, 20, 0), false).record
		source.append(e, first)
		synctest.Wait()
		source.append(e, second)
		synctest.Wait()
		time.Sleep(time.Minute)
		if got := a.checkpoint(); got != 1 {
			t.Errorf("checkpoint %d before the gap is over, want 1", got)
		}
		stop()
		wantScratch(t, e, l.SQLite, [][]byte{first, second})
		heads, err := l.Heads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range heads {
			if h.Checkpoint != 2 {
				t.Errorf("head %+v: the quiet partition was not taken along", h)
			}
		}
	})
}

// transactions records when ledger transactions went through, and how many
// entries each had.
type transactions struct {
	mu    sync.Mutex
	begin time.Time
	at    []time.Duration // guarded by mu
	sizes []int           // guarded by mu
}

func (x *transactions) watch(batches []ledger.Batch) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, b := range batches {
		n += len(b.Entries)
	}
	if n > 0 { // stopping takes quiet heads along
		x.at, x.sizes = append(x.at, time.Since(x.begin)), append(x.sizes, n)
	}
}

func (x *transactions) want(t *testing.T, sizes []int, at ...time.Duration) {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range at {
		at[i] *= time.Millisecond
	}
	if !slices.Equal(x.at, at) || !slices.Equal(x.sizes, sizes) {
		t.Errorf("transactions of %v at %v, want %v at %v", x.sizes, x.at, sizes, at)
	}
}

// TestTransactionsKeepTheirDistance: a lone record does not wait, more of them
// share a transaction a gap, a full one goes at once, and a gap with very many
// stretches.
func TestTransactionsKeepTheirDistance(t *testing.T) {
	for name, c := range map[string]struct {
		full  int
		send  map[int]int // at which millisecond how many
		sizes []int
		at    []time.Duration
	}{
		"alone":   {1000, map[int]int{0: 1}, []int{1}, []time.Duration{0}},
		"calm":    {1000, map[int]int{0: 1, 20: 1, 50: 2, 160: 1}, []int{1, 3, 1}, []time.Duration{0, 100, 200}},
		"full":    {8, map[int]int{0: 1, 50: 20}, []int{1, 8, 8, 4}, []time.Duration{0, 50, 50, 150}},
		"stretch": {1000, map[int]int{0: 1, 50: 200, 150: 50, 180: 60}, []int{1, 310}, []time.Duration{0, 300}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := smallElection(t)
				source := newMemoryStream(t)
				l := openLedger(t, e, source)
				seen := &transactions{begin: time.Now()}
				l.onCommit = seen.watch
				_, stop := start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l, Gap: 100 * time.Millisecond, Full: c.full})
				synctest.Wait()
				revision := schemas.Revision(0)
				for ms := range 1000 {
					var arrived [][]byte
					for range c.send[ms] {
						revision++
						arrived = append(arrived, send(e, 0, revision, votes(e, 0, schemas.Count(revision), 0), false).record)
					}
					if len(arrived) > 0 { // at once, as the stream's groups come
						source.append(e, arrived...)
					}
					time.Sleep(time.Millisecond)
				}
				stop()
				seen.want(t, c.sizes, c.at...)
			})
		})
	}
}

// TestARestartReadsLittleAgain: a partition without records does not hold the
// position of the others back.
func TestARestartReadsLittleAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := smallElection(t)
		source := newMemoryStream(t)
		l := openLedger(t, e, source)
		l.fault = func(o string) error { return nil }
		repeat := send(e, 0, 1, votes(e, 0, 10, 0), false).record // partition 0
		a, stop := start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l})
		var many [][]byte
		for range 3 * carry {
			many = append(many, repeat)
		}
		source.append(e, many...)
		time.Sleep(time.Minute)
		if a.checkpoint() != 3*carry {
			t.Fatalf("checkpoint %d", a.checkpoint())
		}
		heads, err := l.Heads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if behind := 3*carry - heads[1].Checkpoint; behind > carry {
			t.Errorf("the quiet head is %d records behind, want at most %d", behind, carry)
		}
		stop()
		registry := prometheus.NewRegistry()
		source.append(e, send(e, 0, 2, votes(e, 0, 20, 0), false).record)
		_, stop = start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l, Metrics: NewMetrics(registry)})
		defer stop()
		time.Sleep(time.Second)
		for name, want := range map[string]float64{
			"records_total passed":  0, // after a clean stop
			"records_total counted": 1,
			"rows_read_again_total": 1, // the one that was replaced
		} {
			if got := metric(t, registry, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}

// TestAStartFromAQuietHeadPassesTheOthers: after a crash, reading begins far
// before the checkpoints of busy partitions, which must not move back.
func TestAStartFromAQuietHeadPassesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := smallElection(t)
		source := newMemoryStream(t)
		l := openLedger(t, e, source)
		var records [][]byte
		for r := range schemas.Revision(60) {
			records = append(records, send(e, 0, r+1, votes(e, 0, schemas.Count(r), 0), false).record) // partition 0
		}
		source.append(e, records...)
		a, stop := start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l, Full: 10})
		time.Sleep(time.Minute)
		if a.checkpoint() != 60 {
			t.Fatalf("checkpoint %d, want 60", a.checkpoint())
		}
		l.fault = func(o string) error { return errFault } // no clean stop
		stop()
		l.fault = func(o string) error { return nil }
		registry := prometheus.NewRegistry()
		a, stop = start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l, Full: 10, Metrics: NewMetrics(registry)})
		defer stop()
		records = append(records, send(e, 2, 1, votes(e, 2, 10, 0), false).record) // partition 1
		source.append(e, records[60])
		time.Sleep(time.Minute)
		if a.checkpoint() != 61 || a.Ready() != nil {
			t.Errorf("checkpoint %d, ready %v; want 61 and ready", a.checkpoint(), a.Ready())
		}
		if n := metric(t, registry, "records_total counted"); n != 1 {
			t.Errorf("%v counted, want the new one alone", n)
		}
		wantScratch(t, e, l.SQLite, records)
	})
}

// TestALedgerThatIsEmptyAgainIsFoldedAnewWhileNobodySubmits: its table was
// deleted and made again beneath a running process, and no commit comes that
// would find out.
func TestALedgerThatIsEmptyAgainIsFoldedAnewWhileNobodySubmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := smallElection(t)
		source := newMemoryStream(t)
		l := openLedger(t, e, source)
		remade := &remadeLedger{current: l}
		registry := prometheus.NewRegistry()
		_, stop := start(t, Config{Election: e, Source: oneShard(e, source), Ledger: remade, Metrics: NewMetrics(registry)})
		defer stop()
		records := seeded(e, 3, 40)
		source.append(e, records...)
		time.Sleep(time.Minute)
		wantScratch(t, e, l.SQLite, records)
		fresh := openLedger(t, e, source)
		remade.replace(fresh)
		time.Sleep(time.Minute)
		wantScratch(t, e, fresh.SQLite, records)
		if n := metric(t, registry, "restarts_total lost"); n != 1 {
			t.Errorf("%v restarts, want one", n)
		}
	})
}

// remadeLedger is one whose table may be another from one call to the next.
type remadeLedger struct {
	mu      sync.Mutex
	current Ledger
}

func (l *remadeLedger) replace(by Ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = by
}

func (l *remadeLedger) now() Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

func (l *remadeLedger) Heads(ctx context.Context) ([]ledger.Head, error) { return l.now().Heads(ctx) }

func (l *remadeLedger) View(ctx context.Context) (ledger.View, error) { return l.now().View(ctx) }

func (l *remadeLedger) Units(ctx context.Context, partitions []schemas.Partition, fn func(schemas.Entry) error) error {
	return l.now().Units(ctx, partitions, fn)
}

func (l *remadeLedger) EntriesOf(ctx context.Context, unit schemas.UnitID) ([]schemas.Entry, error) {
	return l.now().EntriesOf(ctx, unit)
}

func (l *remadeLedger) Record(ctx context.Context, x schemas.Entry) ([]byte, error) {
	return l.now().Record(ctx, x)
}

func (l *remadeLedger) Commit(ctx context.Context, batches []ledger.Batch) error {
	return l.now().Commit(ctx, batches)
}

func (l *remadeLedger) Room() ledger.Room { return l.now().Room() }
func TestRetriesSlowDownAndReadinessTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := smallElection(t)
		source := newMemoryStream(t)
		l := openLedger(t, e, source)
		var mu sync.Mutex
		var tries []time.Time
		broken := true
		l.fault = func(o string) error {
			mu.Lock()
			defer mu.Unlock()
			if o == "commit, not stored" && broken {
				tries = append(tries, time.Now())
				return errFault
			}
			return nil
		}
		a, stop := start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l})
		defer stop()
		synctest.Wait()
		if err := a.Ready(); err != nil {
			t.Errorf("not ready after loading: %v", err)
		}
		source.append(e, send(e, 0, 1, votes(e, 0, 10, 0), false).record)
		time.Sleep(time.Minute)
		mu.Lock()
		if n := len(tries); n < 10 || n > 40 {
			t.Errorf("%d tries in a minute", n)
		}
		for i := 1; i < len(tries); i++ {
			if d := tries[i].Sub(tries[i-1]); d < minBackoff/2 || d > maxBackoff {
				t.Errorf("try %d after %v", i, d)
			}
		}
		broken = false
		mu.Unlock()
		if err := a.Ready(); !errors.Is(err, errFault) {
			t.Errorf("ready says %v, want the fault", err)
		}
		if records, age := a.Behind(); age < 59*time.Second || records != 1 {
			t.Errorf("%d records behind for %v; want 1 for about a minute", records, age)
		}
		time.Sleep(2 * maxBackoff)
		if records, age := a.Behind(); a.Ready() != nil || age != 0 || records != 0 {
			t.Errorf("after the repair: ready %v, %d records behind for %v", a.Ready(), records, age)
		}
	})
}

func TestMetricsCountWhatIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := smallElection(t)
		source := newMemoryStream(t)
		l := openLedger(t, e, source)
		registry := prometheus.NewRegistry()
		r1 := send(e, 0, 1, votes(e, 0, 10, 0), false).record
		r3 := send(e, 0, 3, votes(e, 0, 30, 0), false).record
		source.append(e, r3, r1, r1, []byte("noise"), send(e, 0, 4, votes(e, 0, 5, 0), false).record)
		failed := false
		l.fault = func(o string) error {
			if o == "commit, not stored" && !failed {
				failed = true
				return errFault
			}
			return nil
		}
		_, stop := start(t, Config{Election: e, Source: oneShard(e, source), Ledger: l, Metrics: NewMetrics(registry)})
		time.Sleep(time.Minute)
		stop()
		for name, want := range map[string]float64{
			"records_total counted": 1, "records_total duplicate": 1, "records_total held": 2,
			"records_total passed": 0, "records_total superseded": 1,
			"holds_total poison": 1, "holds_total count-lowered": 1, "holds_total revision-conflict": 0,
			"restarts_total error": 1,
		} {
			if got := metric(t, registry, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}

// metric reads a counter of this package: its name, and its label's value
// where it has one.
func metric(tb testing.TB, from prometheus.Gatherer, name string) float64 {
	tb.Helper()
	families, err := from.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	name, label, _ := strings.Cut(name, " ")
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tallystream_aggregate_"+name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue()
			}
		}
	}
	tb.Errorf("no metric %s %s", name, label)
	return 0
}

func TestNewRefusesAnIncompleteConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("accepted")
	}
}
