package ledger_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/schemas"
)

// victimPath names the variable that turns the test binary into a process
// that commits to the ledger there until it is killed.
const victimPath = "TALLYSTREAM_TEST_LEDGER"

var killShape = ledgertest.Shape{Counties: 2, UnitsPerCounty: 2, Contests: 2, Partitions: 2}

func TestMain(m *testing.M) {
	if path := os.Getenv(victimPath); path != "" {
		if err := commitForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// commitForever extends both partitions with each transaction and prints the
// size once it is durable.
func commitForever(path string) error {
	e := ledgertest.Election(&testing.T{}, killShape)
	l, err := ledger.OpenSQLite(path, e, ledgertest.Stream{})
	if err != nil {
		return err
	}
	for {
		heads, err := l.Heads(context.Background())
		if err != nil {
			return err
		}
		var batches []ledger.Batch
		for _, h := range heads {
			batches = append(batches, extend(e, h, 3))
		}
		if err := l.Commit(context.Background(), batches); err != nil {
			return err
		}
		fmt.Println(batches[0].After.Size)
	}
}

// extend adds n entries to a partition and makes its county's tally their sum.
func extend(e *schemas.Election, h ledger.Head, n int) ledger.Batch {
	b := ledger.Batch{Before: h, After: h}
	county := schemas.CountyIndex(h.Partition)
	for range n {
		b.After.Size++
		b.After.Checkpoint = schemas.Checkpoint(2*b.After.Size) + schemas.Checkpoint(h.Partition)
		b.Entries = append(b.Entries, schemas.Entry{
			Partition: h.Partition, Seq: b.After.Size, Kind: schemas.EntryCounted,
			Unit: e.Units[e.Counties[county].Units[0]].ID, Revision: schemas.Revision(b.After.Size), At: b.After.Checkpoint,
		})
		b.Records = append(b.Records, ledgertest.RecordAt(b.After.Checkpoint))
	}
	row := make([]int64, e.Counties[county].Cells)
	for i := range row {
		row[i] = int64(b.After.Size)
	}
	b.Tallies = []ledger.CountyTally{{County: county, Row: row}}
	return b
}

// TestAKilledWriterLosesNothingItCommitted kills a writing process with
// SIGKILL several times and reads what it left.
func TestAKilledWriterLosesNothingItCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	e := ledgertest.Election(t, killShape)
	for round := range 6 {
		promised := runVictim(t, path, 5+7*round)
		l, err := ledger.OpenSQLite(path, e, ledgertest.Stream{})
		if err != nil {
			t.Fatal(err)
		}
		checkCut(t, e, l, promised)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runVictim lets a process commit some transactions, kills it, and returns the
// largest size that it promised.
func runVictim(t *testing.T, path string, commits int) (promised uint64) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.CommandContext(t.Context(), self)
	victim.Env = append(os.Environ(), victimPath+"="+path)
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		if promised, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if i == commits {
			if err := victim.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := victim.Wait(); err == nil || promised == 0 {
		t.Fatalf("the process ended by itself, with size %d", promised)
	}
	return promised
}

func checkCut(t *testing.T, e *schemas.Election, l *ledger.SQLite, promised uint64) {
	t.Helper()
	v, err := l.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}()
	seen := make([]uint64, len(v.Heads()))
	err = v.Entries(t.Context(), nil, func(x schemas.Entry, _ []byte) error {
		if seen[x.Partition]++; x.Seq != seen[x.Partition] {
			return fmt.Errorf("partition %d: seq %d, want %d", x.Partition, x.Seq, seen[x.Partition])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for p, h := range v.Heads() {
		if h.Size < promised || h.Size != seen[p] || h.Size != v.Heads()[0].Size {
			t.Errorf("partition %d: size %d with %d entries, promised %d", p, h.Size, seen[p], promised)
		}
		tallies, err := v.Tallies(t.Context(), []schemas.CountyIndex{schemas.CountyIndex(p)})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range tallies[0].Row {
			if uint64(n) != h.Size {
				t.Fatalf("partition %d: tally %d at size %d", p, n, h.Size)
			}
		}
	}
}

// TestTwoProcessesMayCreateTheFile opens a new ledger from several processes'
// worth of handles at once.
func TestTwoProcessesMayCreateTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	e := ledgertest.Election(t, killShape)
	type opened struct {
		l   *ledger.SQLite
		err error
	}
	all := make(chan opened)
	for range 8 {
		go func() {
			l, err := ledger.OpenSQLite(path, e, ledgertest.Stream{})
			all <- opened{l, err}
		}()
	}
	for range 8 {
		o := <-all
		if o.err != nil {
			t.Error(o.err)
			continue
		}
		if heads, err := o.l.Heads(t.Context()); err != nil || len(heads) != 2 {
			t.Errorf("heads %v, %v", heads, err)
		}
		if err := o.l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestANewerFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	e := ledgertest.Election(t, killShape)
	l, err := ledger.OpenSQLite(path, e, ledgertest.Stream{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ledger.SetFileVersion(t, path, 99)
	if _, err := ledger.OpenSQLite(path, e, ledgertest.Stream{}); err == nil {
		t.Error("opened")
	}
}
