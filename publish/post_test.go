package publish_test

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate/lease"
	"tallystream/publish"
	"tallystream/schemas"
	"tallystream/service"
)

// List makes a strict bucket's register one that leases can use.
func (b *strictBucket) List(_ context.Context, prefix string) (map[string][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := maps.Clone(b.values)
	maps.DeleteFunc(out, func(name string, _ []byte) bool { return !strings.HasPrefix(name, prefix) })
	return out, nil
}

// wire is a bus that nobody listens to but the viewer.
type wire struct{ *viewer }

func (wire) Hint(string) error           { return nil }
func (wire) OnHint(string, func()) error { return nil }
func (wire) Close() error                { return nil }

// copyOf starts a copy of the publishing service; the returned function stops
// it and gives its end.
func copyOf(t *testing.T, b *books, store *strictBucket, data, name string) func() error {
	t.Helper()
	p := store.process(nil)
	keeper, err := lease.New(lease.Config{
		Register: p, Prefix: "publish/", Name: name, TTL: 8 * time.Second, Now: lease.Monotonic(),
	})
	if err != nil {
		t.Fatal(err)
	}
	open := func(context.Context, service.Options, string, *service.Opened, prometheus.Registerer, *slog.Logger) (*publish.Stores, error) {
		return &publish.Stores{
			Ledger: b, Register: p, Bucket: p, Signer: b.e.signer, Verifier: b.e.vkey, Leases: keeper,
			Close: func() error { return nil },
		}, nil
	}
	connect := func(service.BusAddress, schemas.ElectionID) (publish.Link, error) {
		return wire{newViewer(t, store)}, nil
	}
	command := publish.Command{Options: service.Options{Data: data}, Heartbeat: time.Minute}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- command.Run(ctx, slog.New(slog.DiscardHandler), open, connect) }()
	return func() error {
		stop()
		return <-done
	}
}

// markOf is the publication's mark.
func markOf(t *testing.T, store *strictBucket) string {
	t.Helper()
	b, err := store.Load(t.Context(), "publication")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOfSeveralPublishersOneWorksAndTheNextTakesOver: the one that leaves makes
// its last snapshot and hands the lease over; nobody ends with an error.
func TestOfSeveralPublishersOneWorksAndTheNextTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		data := service.Data{Dir: t.TempDir()}
		if err := data.Create(e.definition, []byte(`{"schema":"tallystream.roster/1","election":"test-2026","keys":[]}`)); err != nil {
			t.Fatal(err)
		}
		first := copyOf(t, b, store, data.Dir, "first")
		time.Sleep(5 * time.Second)
		second := copyOf(t, b, store, data.Dir, "second")
		b.count("oak.1", 1, oak1)
		time.Sleep(20 * time.Second)
		if mark := markOf(t, store); !strings.Contains(mark, "\nepoch 1\n") {
			t.Errorf("another took over while the first worked:\n%s", mark)
		}
		if err := first(); err != nil {
			t.Errorf("the first ended with %v", err)
		}
		b.count("fir.1", 1, row(1, 9, 9, 1, 2, 2, 2, 2))
		time.Sleep(20 * time.Second)
		if mark := markOf(t, store); !strings.Contains(mark, "\nepoch 2\n") {
			t.Errorf("nobody took over:\n%s", mark)
		}
		if err := second(); err != nil {
			t.Errorf("the second ended with %v", err)
		}
		chain := checkChain(t, store, e)
		if last := chain[len(chain)-1]; last.Accepted != 2 {
			t.Errorf("last snapshot %+v, want both submissions", last)
		}
	})
}

// TestThePauseCommandsReachWhoeverPublishes: they need the data directory and
// the register alone, and end when the statement is decided.
func TestThePauseCommandsReachWhoeverPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		data := service.Data{Dir: t.TempDir()}
		if err := data.Create(e.definition, []byte(`{"schema":"tallystream.roster/1","election":"test-2026","keys":[]}`)); err != nil {
			t.Fatal(err)
		}
		stop := copyOf(t, b, store, data.Dir, "first")
		time.Sleep(5 * time.Second)
		closed := 0
		open := func(context.Context, service.Options, *service.Opened, prometheus.Registerer, *slog.Logger) (publish.Register, func() error, error) {
			return store.process(nil), func() error { closed++; return nil }, nil
		}
		log := slog.New(slog.DiscardHandler)
		pause := publish.PauseCommand{}
		pause.Data, pause.Reason, pause.Text, pause.Wait = data.Dir, "court-order", "A court ordered it.", time.Minute
		if err := pause.Run(t.Context(), log, open); err != nil {
			t.Fatal(err)
		}
		if mark := markOf(t, store); !strings.Contains(mark, "/pause/v1\n") {
			t.Errorf("the command ended, and the mark says\n%s", mark)
		}
		resume := publish.ResumeCommand{}
		resume.Data, resume.Reason, resume.Text, resume.Wait = data.Dir, "court-order", "It was lifted.", time.Minute
		if err := resume.Run(t.Context(), log, open); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		// Nobody publishes any more: the command says so, and the request stays.
		pause.Wait = 5 * time.Second
		if err := pause.Run(t.Context(), log, open); err == nil || !strings.Contains(err.Error(), "nobody has published it yet") {
			t.Errorf("%v", err)
		}
		if closed != 3 {
			t.Errorf("the register was closed %d times of 3", closed)
		}
		checkChain(t, store, e)
	})
}
