// Package ledgertest is the conformance suite of ledgers: every adapter passes
// it, so that the fold and the publisher need to know none of them.
package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// Ledger is what the suite asks of an adapter.
type Ledger interface {
	Heads(ctx context.Context) ([]ledger.Head, error)
	View(ctx context.Context) (ledger.View, error)
	Units(ctx context.Context, partitions []schemas.Partition, fn func(schemas.Entry) error) error
	EntriesOf(ctx context.Context, unit schemas.UnitID) ([]schemas.Entry, error)
	Record(ctx context.Context, x schemas.Entry) ([]byte, error)
	Submissions(ctx context.Context, unit schemas.UnitID) ([]schemas.SubmissionState, error)
	// Commit writes each batch whole or not at all.
	Commit(ctx context.Context, batches []ledger.Batch) error
	Room() ledger.Room
	Close() error
}

// Open opens the ledger of e; each time the same one, as another process
// would. Records lie in Stream. The test closes what it opened.
type Open func(e *schemas.Election) (Ledger, error)

// Stream is where an adapter that keeps no records of its own finds those of
// the suite: at each checkpoint its own bytes.
type Stream struct{}

// Get returns the record at a checkpoint.
func (Stream) Get(_ context.Context, at schemas.Checkpoint) ([]byte, error) { return RecordAt(at), nil }

// RecordAt is the record at a checkpoint.
func RecordAt(at schemas.Checkpoint) []byte {
	return fmt.Appendf(nil, "the record at %d, which %s", at, strings.Repeat("goes on, ", int(at%40)))
}

// Run runs the suite. fresh is called once for each test, for an empty store.
func Run(t *testing.T, fresh func(t *testing.T) Open) {
	for name, test := range map[string]func(*fixture){
		"AnEmptyLedgerHasEveryHeadAndZeroTallies": testEmpty,
		"ACommitChangesEverythingAtOnce":          testCommit,
		"AStaleBatchLeavesNothing":                testAtomicity,
		"OnlyTheHeadThatWasReadMayMove":           testConditions,
		"ABatchThatNoFoldProducesIsRefused":       testNonsense,
		"ManyWritersLoseNothingAndDoubleNothing":  testWriters,
		"AViewIsACutWhileOthersWrite":             testView,
		"AUnitsEntriesAreFoundByPartition":        testUnits,
		"RecordsComeBackExactly":                  testRecords,
		"AFullBatchFits":                          testRoom,
		"EntriesComeDenseAndInOrder":              testOrder,
		"AUnitsSubmissionsTellWhatBecameOfThem":   testSubmissions,
		"ReleasesSayOfWhatTheyAre":                testReleases,
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
	b.After.Cursor = fmt.Sprintf("shard-1/%d", b.After.Checkpoint)
	b.Records = records(b.Entries)
	b.Tallies = []ledger.CountyTally{{County: county, Row: f.row(county, int64(b.After.Size))}}
	return b
}

func records(entries []schemas.Entry) (out [][]byte) {
	for i := range entries {
		out = append(out, RecordAt(entries[i].At))
	}
	return out
}

func (f *fixture) row(county schemas.CountyIndex, n int64) []int64 {
	row := make([]int64, f.e.Counties[county].Cells)
	for i := range row {
		row[i] = n * int64(1+i%7)
	}
	return row
}

func (f *fixture) view() ledger.View {
	f.Helper()
	v, err := f.l.View(f.Context())
	f.must(err)
	f.Cleanup(func() {
		if err := v.Close(); err != nil {
			f.Error(err)
		}
	})
	return v
}

func (f *fixture) tally(v ledger.View, county schemas.CountyIndex) ledger.Tally {
	f.Helper()
	got, err := v.Tallies(f.Context(), []schemas.CountyIndex{county})
	f.must(err)
	return got[0]
}

// wantTally checks that the county's row is the one of that size.
func (f *fixture) wantTally(county schemas.CountyIndex, n int64) {
	f.Helper()
	v, err := f.l.View(f.Context())
	f.must(err)
	defer func() { f.must(v.Close()) }()
	if diff := cmp.Diff(f.row(county, n), f.tally(v, county).Row); diff != "" {
		f.Errorf("tally of county %d (-want +got):\n%s", county, diff)
	}
}

// entries reads a view and checks that every record is its entry's.
func (f *fixture) entries(v ledger.View, after []uint64) (out []schemas.Entry) {
	f.Helper()
	f.must(v.Entries(f.Context(), after, func(x schemas.Entry, record []byte) error {
		if !bytes.Equal(record, RecordAt(x.At)) {
			f.Errorf("entry %d of partition %d came with the record %q", x.Seq, x.Partition, record)
		}
		out = append(out, x)
		return nil
	}))
	return out
}

// wantNothing checks that the ledger is as new.
func (f *fixture) wantNothing() {
	f.Helper()
	v := f.view()
	for p, h := range v.Heads() {
		if h != (ledger.Head{Partition: schemas.Partition(p)}) {
			f.Errorf("head %+v, want a new one", h)
		}
	}
	if got := f.entries(v, nil); len(got) != 0 {
		f.Errorf("entries %+v, want none", got)
	}
	for c := range f.e.Counties {
		f.wantTally(schemas.CountyIndex(c), 0)
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
	f.wantTally(0, 3)
	f.wantTally(1, 2)
	f.wantTally(3, 0)
	got, err := f.l.EntriesOf(f.Context(), a.Entries[1].Unit)
	f.must(err)
	if diff := cmp.Diff(a.Entries[1:2], got); diff != "" {
		f.Errorf("entries (-want +got):\n%s", diff)
	}
}

func testAtomicity(f *fixture) {
	stale := f.next(f.head(1), 1, 3, 2)
	stale.Before.Size, stale.After.Size = 7, 9
	stale.Entries[0].Seq, stale.Entries[1].Seq = 8, 9
	if err := f.l.Commit(f.Context(), []ledger.Batch{stale}); !errors.Is(err, ledger.ErrConflict) {
		f.Errorf("commit: %v, want ErrConflict", err)
	}
	f.wantNothing()
	good := f.next(f.head(1), 1, 1, 2)
	f.must(f.l.Commit(f.Context(), []ledger.Batch{good}))
	f.wantTally(1, 2)
}

func testConditions(f *fixture) {
	first := f.next(f.head(0), 0, 5, 1)
	first.After.Epoch = 3
	f.must(f.l.Commit(f.Context(), []ledger.Batch{first}))
	for name, change := range map[string]func(*ledger.Head){
		"checkpoint": func(h *ledger.Head) { h.Checkpoint-- },
		"size":       func(h *ledger.Head) { h.Size++ },
		"epoch":      func(h *ledger.Head) { h.Epoch-- },
		"cursor":     func(h *ledger.Head) { h.Cursor = "shard-2/5" },
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
		"a record is missing":    func(b *ledger.Batch) { b.Records = b.Records[1:] },
		"a gap in seq":           func(b *ledger.Batch) { b.Entries[1].Seq++ },
		"size without entries":   func(b *ledger.Batch) { b.After.Size++ },
		"checkpoint goes back":   func(b *ledger.Batch) { b.Before.Checkpoint = 99 },
		"epoch goes back":        func(b *ledger.Batch) { b.Before.Epoch = 9 },
		"entry beyond the head":  func(b *ledger.Batch) { b.Entries[1].At = 99 },
		"entries not ascending":  func(b *ledger.Batch) { b.Entries[1].At = b.Entries[0].At },
		"another's entry":        func(b *ledger.Batch) { b.Entries[0].Partition = 1 },
		"an unknown kind":        func(b *ledger.Batch) { b.Entries[0].Kind = "counterd" },
		"counted, yet held":      func(b *ledger.Batch) { b.Entries[0].Hold = schemas.HoldLowered },
		"held for nothing":       func(b *ledger.Batch) { b.Entries[0].Kind = schemas.EntryHeld },
		"counted, of another":    func(b *ledger.Batch) { b.Entries[1].Held = 1 },
		"a release of nothing":   func(b *ledger.Batch) { b.Entries[1].Kind = schemas.EntryReleased },
		"a release of itself":    func(b *ledger.Batch) { b.Entries[1].Kind, b.Entries[1].Held = schemas.EntryLapsed, 2 },
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
	f.wantTally(0, writers*commits)
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

// testView reads while another handle writes: what a cut says belongs together,
// or can be followed to where it does.
func testView(f *fixture) {
	writer := f.opened()
	const commits = 30
	done := make(chan struct{})
	go func() {
		defer close(done)
		var heads [2]ledger.Head
		heads[1].Partition = 1
		for at := schemas.Checkpoint(1); at < 4*commits; at += 4 {
			a := f.next(heads[0], 0, at, 2)
			b := f.next(heads[1], 1, at+2, 1)
			if err := writer.Commit(f.Context(), []ledger.Batch{a, b}); err != nil {
				f.Error(err)
				return
			}
			heads[0], heads[1] = a.After, b.After
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
		for p := range schemas.Partition(2) {
			f.wantCut(v, p)
		}
		f.must(v.Close())
		f.must(v.Close()) // twice is fine
	}
}

// wantCut follows partition p, whose every batch changes its county, until the
// county's row is of the cut.
func (f *fixture) wantCut(v ledger.View, p schemas.Partition) {
	f.Helper()
	read := make([]uint64, 3)
	for {
		for _, x := range f.entries(v, read) {
			if read[x.Partition]++; x.Seq != read[x.Partition] {
				f.Fatalf("partition %d: seq %d, want %d", x.Partition, x.Seq, read[x.Partition])
			}
		}
		head := v.Heads()[p]
		if read[p] != head.Size {
			f.Fatalf("partition %d: %d entries, its head says %d", p, read[p], head.Size)
		}
		t := f.tally(v, schemas.CountyIndex(p))
		if diff := cmp.Diff(f.row(schemas.CountyIndex(p), int64(t.Size)), t.Row); diff != "" {
			f.Fatalf("tally as of %d (-want +got):\n%s", t.Size, diff)
		}
		if t.Size <= head.Size {
			if t.Size != head.Size {
				f.Fatalf("partition %d: the tally is of %d, the head of %d", p, t.Size, head.Size)
			}
			return
		}
		f.must(v.Follow(f.Context(), []schemas.Partition{p}))
		if now := v.Heads()[p].Size; now < t.Size {
			f.Fatalf("partition %d: followed to %d, the tally is of %d", p, now, t.Size)
		}
	}
}

func testUnits(f *fixture) {
	for p := range schemas.Partition(3) {
		b := f.next(f.head(p), schemas.CountyIndex(p), schemas.Checkpoint(100*p+1), 7)
		b.Entries[3].Unit, b.Entries[3].Kind, b.Entries[3].Hold = "", schemas.EntryHeld, schemas.HoldPoison
		f.must(f.l.Commit(f.Context(), []ledger.Batch{b}))
	}
	got := map[schemas.UnitID][]schemas.Entry{}
	f.must(f.l.Units(f.Context(), []schemas.Partition{0, 2}, func(x schemas.Entry) error {
		got[x.Unit] = append(got[x.Unit], x)
		return nil
	}))
	want := map[schemas.UnitID][]schemas.Entry{}
	for _, x := range f.entries(f.view(), nil) {
		if x.Unit != "" && x.Partition != 1 {
			want[x.Unit] = append(want[x.Unit], x)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("entries by unit (-want +got):\n%s", diff)
	}
}

func testRecords(f *fixture) {
	b := f.next(f.head(0), 0, 1, 5)
	f.must(f.l.Commit(f.Context(), []ledger.Batch{b}))
	for _, x := range b.Entries {
		got, err := f.l.Record(f.Context(), x)
		f.must(err)
		if !bytes.Equal(got, RecordAt(x.At)) {
			f.Errorf("record of entry %d is %q", x.Seq, got)
		}
	}
}

func testRoom(f *fixture) {
	room := f.l.Room()
	if room.Entries < 1 || room.Bytes < 64<<10 {
		f.Fatalf("room for %+v, want at least one submission", room)
	}
	b := f.next(f.head(0), 0, 1, room.Entries)
	f.must(f.l.Commit(f.Context(), []ledger.Batch{b}))
	if n := len(f.entries(f.view(), nil)); n != room.Entries {
		f.Errorf("%d entries, want %d", n, room.Entries)
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
	v := f.view()
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
	if err := v.Entries(f.Context(), nil, func(schemas.Entry, []byte) error { return stop }); !errors.Is(err, stop) {
		f.Errorf("error %v, want the function's own", err)
	}
}

// become is an entry of one unit, as a story tells it.
type become struct {
	kind     schemas.EntryKind
	hold     schemas.HoldCode
	revision schemas.Revision
	held     uint64
}

// tell commits a story of partition 0's first unit from the first entry on.
func (f *fixture) tell(story []become) []schemas.Entry {
	b := f.next(f.head(0), 0, 1, len(story))
	unit := b.Entries[0].Unit
	for i, x := range story {
		e := &b.Entries[i]
		e.Unit, e.Kind, e.Hold, e.Revision, e.Held = unit, x.kind, x.hold, x.revision, x.held
		if x.held != 0 {
			e.Digest = b.Entries[x.held-1].Digest
		}
	}
	f.must(f.l.Commit(f.Context(), []ledger.Batch{b}))
	return b.Entries
}

func testSubmissions(f *fixture) {
	entries := f.tell([]become{
		{kind: schemas.EntryCounted, revision: 2},
		{kind: schemas.EntrySuperseded, revision: 1},
		{kind: schemas.EntryHeld, hold: schemas.HoldConflict, revision: 2},
		{kind: schemas.EntryCounted, revision: 3},
		{kind: schemas.EntryLapsed, revision: 2, held: 3},
		{kind: schemas.EntryHeld, hold: schemas.HoldLowered, revision: 4},
		{kind: schemas.EntryReleased, revision: 4, held: 6},
		{kind: schemas.EntryHeld, hold: schemas.HoldConflict, revision: 4},
		{kind: schemas.EntryReleased, revision: 4, held: 8},
		{kind: schemas.EntryHeld, hold: schemas.HoldOutlier, revision: 5},
		{kind: schemas.EntryHeld, hold: schemas.HoldRelease, revision: 9},
	})
	got, err := f.l.Submissions(f.Context(), entries[0].Unit)
	f.must(err)
	var want []schemas.SubmissionState
	for _, is := range []struct {
		entry int
		state string
	}{
		{0, "superseded"}, {1, "superseded"}, {2, "lapsed"}, {3, "superseded"}, {5, "superseded"}, {7, "released"}, {9, "held"}, {10, "held"},
	} {
		x := &entries[is.entry]
		s := schemas.SubmissionState{Unit: x.Unit, Revision: x.Revision, Digest: x.Digest, State: is.state, Hold: x.Hold}
		if x.Hold != "" {
			s.Reason = x.Hold.Explanation()
		}
		want = append(want, s)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("submissions (-want +got):\n%s", diff)
	}
	if got, err := f.l.Submissions(f.Context(), "nobody"); err != nil || len(got) != 0 {
		f.Errorf("submissions of an unknown unit: %v, %v; want none", got, err)
	}
}

func testReleases(f *fixture) {
	want := f.tell([]become{
		{kind: schemas.EntryHeld, hold: schemas.HoldOutlier, revision: 1},
		{kind: schemas.EntryHeld, hold: schemas.HoldTwin, revision: 2},
		{kind: schemas.EntryReleased, revision: 2, held: 2},
		{kind: schemas.EntryLapsed, revision: 1, held: 1},
		{kind: schemas.EntryHeld, hold: schemas.HoldDefinition, revision: 3},
		{kind: schemas.EntryHeld, hold: schemas.HoldRelease, revision: 4},
	})
	f.l = f.opened() // as another process reads it
	if diff := cmp.Diff(want, f.entries(f.view(), nil)); diff != "" {
		f.Errorf("entries of a view (-want +got):\n%s", diff)
	}
	got, err := f.l.EntriesOf(f.Context(), want[0].Unit)
	f.must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("entries of the unit (-want +got):\n%s", diff)
	}
	got = nil
	f.must(f.l.Units(f.Context(), []schemas.Partition{0}, func(x schemas.Entry) error {
		got = append(got, x)
		return nil
	}))
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("entries of the partition's units (-want +got):\n%s", diff)
	}
	for _, x := range want {
		record, err := f.l.Record(f.Context(), x)
		f.must(err)
		if !bytes.Equal(record, RecordAt(x.At)) {
			f.Errorf("record of entry %d is %q", x.Seq, record)
		}
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
	f.wantTally(2, 3)
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
