package ledger_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/schemas"
)

func TestSQLiteConforms(t *testing.T) {
	defer goleak.VerifyNone(t)
	ledgertest.Run(t, func(t *testing.T) ledgertest.Open {
		path := filepath.Join(t.TempDir(), "ledger.db")
		return func(e *schemas.Election) (ledgertest.Ledger, error) {
			return ledger.OpenSQLite(path, e, ledgertest.Stream{})
		}
	})
}

func openSmall(t *testing.T) (*schemas.Election, *ledger.SQLite) {
	t.Helper()
	e := ledgertest.Election(t, killShape)
	l, err := ledger.OpenSQLite(filepath.Join(t.TempDir(), "ledger.db"), e, ledgertest.Stream{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, l
}

func heads(t *testing.T, l *ledger.SQLite) []ledger.Head {
	t.Helper()
	h, err := l.Heads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAllBatchesOfOneCommitAreOneTransaction(t *testing.T) {
	e, l := openSmall(t)
	before := heads(t, l)
	good := extend(e, before[0], 2)
	stale := extend(e, ledger.Head{Partition: 1, Checkpoint: 1}, 2)
	if err := l.Commit(t.Context(), []ledger.Batch{good, stale}); !errors.Is(err, ledger.ErrConflict) {
		t.Errorf("commit with a stale batch: %v, want ErrConflict", err)
	}
	// A position that has an entry already fails in the middle of a batch.
	double := extend(e, before[1], 2)
	double.Entries[1].At = good.Entries[1].At
	double.Entries[0].At = double.Entries[1].At - 1
	if err := l.Commit(t.Context(), []ledger.Batch{good, double}); err == nil || errors.Is(err, ledger.ErrConflict) {
		t.Errorf("commit with a double position: %v, want an error that is no conflict", err)
	}
	if got := heads(t, l); got[0] != before[0] || got[1] != before[1] {
		t.Errorf("heads %+v, want %+v", got, before)
	}
	if at, err := l.Folded(t.Context()); err != nil || at != 0 {
		t.Errorf("folded up to %d, %v; want nothing", at, err)
	}
}

func TestFoldedIsTheNewestCheckpoint(t *testing.T) {
	e, l := openSmall(t)
	for range 3 {
		h := heads(t, l)
		a, b := extend(e, h[0], 2), extend(e, h[1], 1)
		if err := l.Commit(t.Context(), []ledger.Batch{a, b}); err != nil {
			t.Fatal(err)
		}
		want := max(a.After.Checkpoint, b.After.Checkpoint)
		if at, err := l.Folded(t.Context()); err != nil || at != want {
			t.Errorf("folded up to %d, %v; want %d", at, err, want)
		}
	}
}

func TestAViewIsOneCutOverAllPartitions(t *testing.T) {
	e, writer := openSmall(t)
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			var h [2]ledger.Head
			h[1].Partition = 1
			for range 30 {
				a, b := extend(e, h[0], 2), extend(e, h[1], 1)
				if err := writer.Commit(t.Context(), []ledger.Batch{a, b}); err != nil {
					return err
				}
				h[0], h[1] = a.After, b.After
			}
			return nil
		}()
	}()
	for writing := true; writing; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			writing = false
		default:
		}
		if err := oneCut(t, writer); err != nil {
			t.Fatal(err)
		}
	}
}

func oneCut(t *testing.T, l *ledger.SQLite) (err error) {
	v, err := l.View(t.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	h := v.Heads()
	if h[0].Size != 2*h[1].Size {
		return fmt.Errorf("sizes %d and %d were never committed together", h[0].Size, h[1].Size)
	}
	tallies, err := v.Tallies(t.Context(), []schemas.CountyIndex{0, 1})
	if err != nil {
		return err
	}
	for p, tally := range tallies {
		if uint64(tally.Row[0]) != h[p].Size {
			return fmt.Errorf("tally %d of partition %d at size %d", tally.Row[0], p, h[p].Size)
		}
	}
	return nil
}

func TestAFileOfAnotherVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sqlitex.ExecuteScript(c, "CREATE TABLE entry(at INTEGER PRIMARY KEY); PRAGMA user_version=2;", nil), c.Close()); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.OpenSQLite(path, ledgertest.Election(t, killShape), nil)
	if err == nil {
		t.Fatal("opened", l.Close())
	}
	if !strings.Contains(err.Error(), "file version is 2, this program knows 3") {
		t.Errorf("error %v, want one that names both versions", err)
	}
}
