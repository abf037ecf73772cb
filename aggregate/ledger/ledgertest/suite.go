// Package ledgertest is the conformance suite of ledgers: every adapter passes
// it, so that the fold and the publisher need to know none of them.
package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// Ledger is what the suite asks of an adapter.
type Ledger interface {
	Heads(ctx context.Context) ([]ledger.Head, error)
	Folded(ctx context.Context) (schemas.Checkpoint, error)
	Commit(ctx context.Context, batches []ledger.Batch) error
	Tally(ctx context.Context, county schemas.CountyIndex) ([]int64, error)
	EntriesOf(ctx context.Context, unit schemas.UnitID) ([]schemas.Entry, error)
	Submissions(ctx context.Context, unit schemas.UnitID) ([]schemas.SubmissionState, error)
	View(ctx context.Context) (*ledger.View, error)
	Close() error
}

// Open opens the ledger of e; each time the same one, as another process
// would. The test closes what it opened.
type Open func(e *schemas.Election) (Ledger, error)

// Run runs the suite. fresh is called once for each test, for an empty store.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	for name, test := range map[string]func(*fixture){
		"AnEmptyLedgerHasEveryHeadAndZeroTallies": testEmpty,
		"ACommitChangesEverythingAtOnce":          testCommit,
		"AFailingBatchLeavesNothingOfAny":         testAtomicity,
		"OnlyTheHeadThatWasReadMayMove":           testConditions,
		"ABatchThatNoFoldProducesIsRefused":       testNonsense,
		"ManyWritersLoseNothingAndDoubleNothing":  testWriters,
		"AViewStaysOneCutWhileOthersWrite":        testView,
		"EntriesComeDenseAndInOrder":              testOrder,
		"AUnitsSubmissionsTellWhatBecameOfThem":   testSubmissions,
		"WhatWasCommittedIsThereAfterReopening":   testReopen,
		"AnotherElectionIsRefused":                testElection,
		"AClosedLedgerSaysSo":                     testClosed,
	} {
		t.Run(name, func(t *testing.T) {
			e := Election(t, Shape{Counties: 4, UnitsPerCounty: 3, Contests: 3, Partitions: 3})
			f := &fixture{T: t, e: e, open: fresh(t)}
			f.l = f.opened()
			test(f)
		})
	}
}

// fixture is an election of four counties in three partitions (county 3 is in
// partition 0 again), and one open ledger of it.
type fixture struct {
	*testing.T
	e    *schemas.Election
	open Open
	l    Ledger
}

func (f *fixture) opened() Ledger {
	f.Helper()
	l, err := f.open(f.e)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := l.Close(); err != nil {
			f.Error(err)
		}
	})
	return l
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) head(p schemas.Partition) ledger.Head {
	f.Helper()
	heads, err := f.l.Heads(f.Context())
	f.must(err)
	return heads[p]
}

// next extends head by n entries of a county's units at checkpoints from at,
// with the county's tally filled with the new size.
func (f *fixture) next(head ledger.Head, county schemas.CountyIndex, at schemas.Checkpoint, n int) ledger.Batch {
	b := ledger.Batch{Before: head, After: head}
	units := f.e.Counties[county].Units
	for i := range n {
		b.After.Size++
		b.After.Checkpoint = at + schemas.Checkpoint(i)
		b.Entries = append(b.Entries, schemas.Entry{
			Partition: head.Partition, Seq: b.After.Size, Kind: schemas.EntryCounted,
			Unit: f.e.Units[units[i%len(units)]].ID, Revision: schemas.Revision(b.After.Size),
			Digest: schemas.DigestOf(fmt.Append(nil, head.Partition, b.After.Size)), At: b.After.Checkpoint,
		})
	}
	b.Tallies = []ledger.CountyTally{{County: county, Row: f.row(county, int64(b.After.Size))}}
	return b
}

func (f *fixture) row(county schemas.CountyIndex, n int64) []int64 {
	row := make([]int64, f.e.Counties[county].Cells)
	for i := range row {
		row[i] = n * int64(1+i%7)
	}
	return row
}

func (f *fixture) wantTally(l interface {
	Tally(context.Context, schemas.CountyIndex) ([]int64, error)
}, county schemas.CountyIndex, n int64) {
	f.Helper()
	got, err := l.Tally(f.Context(), county)
	f.must(err)
	if diff := cmp.Diff(f.row(county, n), got); diff != "" {
		f.Errorf("tally of county %d (-want +got):\n%s", county, diff)
	}
}

func (f *fixture) entries(v *ledger.View, after []uint64) (out []schemas.Entry) {
	f.Helper()
	f.must(v.Entries(f.Context(), after, func(x schemas.Entry) error {
		out = append(out, x)
		return nil
	}))
	return out
}

// wantNothing checks that the ledger is as new.
func (f *fixture) wantNothing() {
	f.Helper()
	v, err := f.l.View(f.Context())
	f.must(err)
	defer func() { f.must(v.Close()) }()
	for p, h := range v.Heads() {
		if h != (ledger.Head{Partition: schemas.Partition(p)}) {
			f.Errorf("head %+v, want a new one", h)
		}
	}
	if got := f.entries(v, nil); len(got) != 0 {
		f.Errorf("entries %+v, want none", got)
	}
	for c := range f.e.Counties {
		f.wantTally(v, schemas.CountyIndex(c), 0)
	}
}

func testEmpty(f *fixture) {
	heads, err := f.l.Heads(f.Context())
	f.must(err)
	if len(heads) != 3 {
		f.Errorf("%d heads, want 3", len(heads))
	}
	f.wantNothing()
	if got, err := f.l.EntriesOf(f.Context(), f.e.Units[0].ID); err != nil || len(got) != 0 {
		f.Errorf("entries of a unit: %v, %v; want none", got, err)
	}
}

func testCommit(f *fixture) {
	a := f.next(f.head(0), 0, 10, 3)
	b := f.next(f.head(1), 1, 13, 2)
	b.After.Checkpoint, b.After.Epoch = 20, 5 // passed records that made no entry
	quiet := ledger.Batch{Before: f.head(2), After: ledger.Head{Partition: 2, Checkpoint: 20}}
	f.must(f.l.Commit(f.Context(), []ledger.Batch{a, b, quiet}))
	heads, err := f.l.Heads(f.Context())
	f.must(err)
	if diff := cmp.Diff([]ledger.Head{a.After, b.After, quiet.After}, heads); diff != "" {
		f.Errorf("heads (-want +got):\n%s", diff)
	}
	if at, err := f.l.Folded(f.Context()); err != nil || at != 20 {
		f.Errorf("folded up to %d, %v; want 20", at, err)
	}
	f.wantTally(f.l, 0, 3)
	f.wantTally(f.l, 1, 2)
	f.wantTally(f.l, 3, 0)
	got, err := f.l.EntriesOf(f.Context(), a.Entries[1].Unit)
	f.must(err)
	if diff := cmp.Diff(a.Entries[1:2], got); diff != "" {
		f.Errorf("entries (-want +got):\n%s", diff)
	}
}

func testAtomicity(f *fixture) {
	good := f.next(f.head(0), 0, 1, 2)
	stale := f.next(f.head(1), 1, 3, 2)
	stale.Before.Size, stale.After.Size = 7, 9
	stale.Entries[0].Seq, stale.Entries[1].Seq = 8, 9
	if err := f.l.Commit(f.Context(), []ledger.Batch{good, stale}); !errors.Is(err, ledger.ErrConflict) {
		f.Errorf("commit: %v, want ErrConflict", err)
	}
	f.wantNothing()
	// A position that has an entry already fails in the middle of a batch.
	double := f.next(f.head(1), 1, 2, 2)
	if err := f.l.Commit(f.Context(), []ledger.Batch{good, double}); err == nil || errors.Is(err, ledger.ErrConflict) {
		f.Errorf("commit: %v, want an error that is no conflict", err)
	}
	f.wantNothing()
	f.must(f.l.Commit(f.Context(), []ledger.Batch{good}))
	f.wantTally(f.l, 0, 2)
}

func testConditions(f *fixture) {
	first := f.next(f.head(0), 0, 5, 1)
	first.After.Epoch = 3
	f.must(f.l.Commit(f.Context(), []ledger.Batch{first}))
	for name, change := range map[string]func(*ledger.Head){
		"checkpoint": func(h *ledger.Head) { h.Checkpoint-- },
		"size":       func(h *ledger.Head) { h.Size++ },
		"epoch":      func(h *ledger.Head) { h.Epoch-- },
		"all":        func(h *ledger.Head) { *h = ledger.Head{} },
	} {
		before := first.After
		change(&before)
		b := f.next(before, 0, 9, 1)
		if err := f.l.Commit(f.Context(), []ledger.Batch{b}); !errors.Is(err, ledger.ErrConflict) {
			f.Errorf("another %s: %v, want ErrConflict", name, err)
		}
	}
	if got := f.head(0); got != first.After {
		f.Errorf("head %+v, want %+v", got, first.After)
	}
	f.must(f.l.Commit(f.Context(), []ledger.Batch{f.next(first.After, 0, 9, 1)}))
}

func testNonsense(f *fixture) {
	for name, spoil := range map[string]func(*ledger.Batch){
		"a gap in seq":           func(b *ledger.Batch) { b.Entries[1].Seq++ },
		"size without entries":   func(b *ledger.Batch) { b.After.Size++ },
		"checkpoint goes back":   func(b *ledger.Batch) { b.Before.Checkpoint = 99 },
		"epoch goes back":        func(b *ledger.Batch) { b.Before.Epoch = 9 },
		"entry beyond the head":  func(b *ledger.Batch) { b.Entries[1].At = 99 },
		"entries not ascending":  func(b *ledger.Batch) { b.Entries[1].At = b.Entries[0].At },
		"another's entry":        func(b *ledger.Batch) { b.Entries[0].Partition = 1 },
		"two partitions":         func(b *ledger.Batch) { b.After.Partition = 1 },
		"an unknown partition":   func(b *ledger.Batch) { b.Before.Partition, b.After.Partition = 3, 3 },
		"another's county":       func(b *ledger.Batch) { b.Tallies[0].County = 1 },
		"an unknown county":      func(b *ledger.Batch) { b.Tallies[0].County = 4 },
		"a row of another shape": func(b *ledger.Batch) { b.Tallies[0].Row = b.Tallies[0].Row[1:] },
	} {
		b := f.next(f.head(0), 0, 1, 2)
		spoil(&b)
		if err := f.l.Commit(f.Context(), []ledger.Batch{b}); err == nil {
			f.Errorf("%s: committed", name)
		}
	}
	f.wantNothing()
}

// testWriters lets many writers extend the same head, each reading it before.
func testWriters(f *fixture) {
	const writers, commits = 50, 3
	handles := []Ledger{f.l, f.opened(), f.opened()}
	var at atomicCheckpoint
	var wg sync.WaitGroup
	for w := range writers {
		l := handles[w%len(handles)]
		wg.Go(func() {
			for done := 0; done < commits; {
				heads, err := l.Heads(f.Context())
				if err != nil {
					f.Error(err)
					return
				}
				b := f.next(heads[0], 0, at.next(heads[0].Checkpoint), 1)
				switch err := l.Commit(f.Context(), []ledger.Batch{b}); {
				case err == nil:
					done++
				case !errors.Is(err, ledger.ErrConflict):
					f.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := f.head(0).Size; got != writers*commits {
		f.Errorf("size %d, want %d", got, writers*commits)
	}
	f.wantTally(f.l, 0, writers*commits)
	f.wantDense()
}

// atomicCheckpoint hands out each checkpoint once.
type atomicCheckpoint struct {
	mu   sync.Mutex
	last schemas.Checkpoint // guarded by mu
}

func (a *atomicCheckpoint) next(after schemas.Checkpoint) schemas.Checkpoint {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = max(a.last, after) + 1
	return a.last
}

func (f *fixture) wantDense() {
	f.Helper()
	v, err := f.l.View(f.Context())
	f.must(err)
	defer func() { f.must(v.Close()) }()
	var sizes [3]uint64
	for _, x := range f.entries(v, nil) {
		if sizes[x.Partition]++; x.Seq != sizes[x.Partition] {
			f.Errorf("partition %d: seq %d, want %d", x.Partition, x.Seq, sizes[x.Partition])
		}
	}
	for p, h := range v.Heads() {
		if h.Size != sizes[p] {
			f.Errorf("partition %d: %d entries, head says %d", p, sizes[p], h.Size)
		}
	}
}

// testView reads while another handle writes; whatever cut a View has, its
// heads, entries and tallies belong together.
func testView(f *fixture) {
	writer := f.opened()
	const commits = 30
	done := make(chan struct{})
	go func() {
		defer close(done)
		at := schemas.Checkpoint(0)
		var heads [2]ledger.Head
		heads[1].Partition = 1
		for range commits {
			a := f.next(heads[0], 0, at+1, 2)
			b := f.next(heads[1], 1, at+3, 1)
			if err := writer.Commit(f.Context(), []ledger.Batch{a, b}); err != nil {
				f.Error(err)
				return
			}
			heads[0], heads[1], at = a.After, b.After, at+3
		}
	}()
	for writing := true; writing; {
		select {
		case <-done:
			writing = false
		default:
		}
		v, err := f.l.View(f.Context())
		f.must(err)
		heads := v.Heads()
		if heads[0].Size != 2*heads[1].Size {
			f.Errorf("sizes %d and %d were never committed together", heads[0].Size, heads[1].Size)
		}
		if n := len(f.entries(v, nil)); uint64(n) != heads[0].Size+heads[1].Size {
			f.Errorf("%d entries, heads say %d", n, heads[0].Size+heads[1].Size)
		}
		f.wantTally(v, 0, int64(heads[0].Size))
		f.wantTally(v, 1, int64(heads[1].Size))
		f.must(v.Close())
		f.must(v.Close()) // twice is fine
	}
}

func testOrder(f *fixture) {
	want := make([][]schemas.Entry, 3)
	at := schemas.Checkpoint(1)
	for range 3 {
		for p := range 3 {
			b := f.next(f.head(schemas.Partition(p)), schemas.CountyIndex(p), at, 2)
			b.Entries[1].Kind, b.Entries[1].Hold = schemas.EntryHeld, schemas.HoldLowered
			f.must(f.l.Commit(f.Context(), []ledger.Batch{b}))
			want[p] = append(want[p], b.Entries...)
			at += 2
		}
	}
	v, err := f.l.View(f.Context())
	f.must(err)
	defer func() { f.must(v.Close()) }()
	for _, after := range [][]uint64{nil, {0, 0, 0}, {2, 0, 6}, {6, 6, 5}, {6, 6, 6}, {1}} {
		var all []schemas.Entry
		for p := range want {
			from := uint64(0)
			if p < len(after) {
				from = after[p]
			}
			all = append(all, want[p][from:]...)
		}
		if diff := cmp.Diff(all, f.entries(v, after)); diff != "" {
			f.Errorf("after %v (-want +got):\n%s", after, diff)
		}
	}
	stop := errors.New("enough")
	if err := v.Entries(f.Context(), nil, func(schemas.Entry) error { return stop }); !errors.Is(err, stop) {
		f.Errorf("error %v, want the function's own", err)
	}
}

func testSubmissions(f *fixture) {
	b := f.next(f.head(0), 0, 1, 5)
	unit := b.Entries[0].Unit
	for i, x := range []struct {
		kind     schemas.EntryKind
		hold     schemas.HoldCode
		revision schemas.Revision
	}{
		{schemas.EntryCounted, "", 2},
		{schemas.EntrySuperseded, "", 1},
		{schemas.EntryHeld, schemas.HoldConflict, 2},
		{schemas.EntryCounted, "", 3},
		{schemas.EntryHeld, schemas.HoldLowered, 4},
	} {
		b.Entries[i].Unit, b.Entries[i].Kind, b.Entries[i].Hold, b.Entries[i].Revision = unit, x.kind, x.hold, x.revision
	}
	f.must(f.l.Commit(f.Context(), []ledger.Batch{b}))
	got, err := f.l.Submissions(f.Context(), unit)
	f.must(err)
	for i, want := range []string{"superseded", "superseded", "held", "counted", "held"} {
		x := &b.Entries[i]
		s := schemas.SubmissionState{Unit: unit, Revision: x.Revision, Digest: x.Digest, State: want}
		if want == "held" {
			s.Hold, s.Reason = x.Hold, x.Hold.Explanation()
		}
		if diff := cmp.Diff(s, got[i]); diff != "" {
			f.Errorf("submission %d (-want +got):\n%s", i, diff)
		}
	}
	if got, err := f.l.Submissions(f.Context(), "nobody"); err != nil || len(got) != 0 {
		f.Errorf("submissions of an unknown unit: %v, %v; want none", got, err)
	}
}

func testReopen(f *fixture) {
	b := f.next(f.head(2), 2, 1, 3)
	f.must(f.l.Commit(f.Context(), []ledger.Batch{b}))
	again := f.opened() // while the first is open
	f.must(f.l.Close())
	f.must(again.Close())
	f.l = f.opened()
	if got := f.head(2); got != b.After {
		f.Errorf("head %+v, want %+v", got, b.After)
	}
	f.wantTally(f.l, 2, 3)
	f.wantDense()
}

func testElection(f *fixture) {
	other := Election(f, Shape{Counties: 4, UnitsPerCounty: 3, Contests: 4, Partitions: 3})
	if l, err := f.open(other); !errors.Is(err, ledger.ErrElection) {
		f.Errorf("opened as another definition: %v, want ErrElection", err)
		if err == nil {
			f.must(l.Close())
		}
	}
}

func testClosed(f *fixture) {
	l, err := f.open(f.e)
	f.must(err)
	f.must(l.Close())
	f.must(l.Close())
	if err := l.Commit(f.Context(), nil); !errors.Is(err, ledger.ErrClosed) {
		f.Errorf("commit: %v, want ErrClosed", err)
	}
	if _, err := l.Heads(f.Context()); !errors.Is(err, ledger.ErrClosed) {
		f.Errorf("heads: %v, want ErrClosed", err)
	}
	if _, err := l.View(f.Context()); !errors.Is(err, ledger.ErrClosed) {
		f.Errorf("view: %v, want ErrClosed", err)
	}
}
