package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish"
	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// checkLog verifies the whole log from public data alone: the checkpoint's
// signature, every tile and leaf against its root, that all entries are the
// ledger's, byte by byte and in its order, that every snapshot stands behind the
// tree it commits to, is included, and is consistent with the one before. It
// returns how many snapshots there are.
func checkLog(t testing.TB, b *strictBucket, e *election) int {
	t.Helper()
	signed, err := b.Get(t.Context(), log.CheckpointKey)
	if errors.Is(err, bucket.ErrNotFound) {
		return 0
	}
	c, n, err := log.OpenCheckpoint(signed, e.verifier)
	if err != nil || c.Origin != e.Definition.Origin || len(n.Signatures) != 1 {
		t.Fatalf("checkpoint %q: %v", signed, err)
	}
	r := log.NewReader(b, c.Tree)
	sizes := make([]uint64, e.Definition.Partitions)
	var snapshots []tlog.Tree
	var rest pauses
	changed := uint64(0) // by root keys
	for entry, err := range r.Entries(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := leaf.Decode(entry.Leaf)
		if err != nil {
			t.Fatalf("leaf %d: %v", entry.Index, err)
		}
		rest.take(t, b, e, entry.Index, l)
		switch l := l.(type) {
		case *leaf.Pause:
		case *leaf.Definition:
			if entry.Index != 0 || l.Definition.Digest != e.Hash || l.Origin != e.Definition.Origin {
				t.Errorf("leaf %d is a definition: %+v", entry.Index, l)
			}
		case *leaf.Submission:
			sizes[l.Partition]++
			checkLeaf(t, e.books, sizes, l.Partition, l.Seq, l.Outcome, "", l.Record)
		case *leaf.Hold:
			sizes[l.Partition]++
			checkLeaf(t, e.books, sizes, l.Partition, l.Seq, schemas.EntryHeld, l.Code, l.Record)
		case *leaf.Sealed:
			sizes[l.Partition]++
			checkSealed(t, e, sizes, l)
		case *leaf.Release:
			sizes[l.Partition]++
			checkLeaf(t, e.books, sizes, l.Partition, l.Seq, l.Outcome, "", l.Note)
		case *leaf.Snapshot:
			snapshots = append(snapshots, checkSnapshotLeaf(t, b, e, r, entry.Index, l, snapshots))
		case *leaf.Statement:
			if changed++; l.Number != changed {
				t.Errorf("leaf %d is change %d, want %d", entry.Index, l.Number, changed)
			}
		default:
			t.Errorf("leaf %d is a %s", entry.Index, l.Kind())
		}
		if entry.Index%17 == 0 {
			checkInclusion(t, r, entry.Index, entry.Leaf)
		}
	}
	rest.close(t, b)
	return len(snapshots)
}

// checkLeaf holds a leaf against the ledger's entry.
func checkLeaf(t testing.TB, b *books, sizes []uint64, p schemas.Partition, seq uint64, kind schemas.EntryKind, hold schemas.HoldCode, record []byte) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq != sizes[p] || seq > uint64(len(b.entries[p])) {
		t.Fatalf("entry %d of partition %d in the log, want %d of %d", seq, p, sizes[p], len(b.entries[p]))
	}
	x := b.entries[p][seq-1]
	if x.Kind != kind || x.Hold != hold || !bytes.Equal(b.records[x.At], record) {
		t.Errorf("entry %d of partition %d: the log has %s %s of %d bytes, the ledger %+v", seq, p, kind, hold, len(record), x)
	}
}

// checkSnapshotLeaf returns the tree that the snapshot commits to.
func checkSnapshotLeaf(t testing.TB, b *strictBucket, e *election, r *log.Reader, at int64, l *leaf.Snapshot, before []tlog.Tree) tlog.Tree {
	t.Helper()
	s, err := schemas.OpenSnapshot(l.Note, e.verifier)
	if err != nil {
		t.Fatal(err)
	}
	root, err := r.Root(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	tree := tlog.Tree{N: at, Hash: root}
	if s.Number != schemas.SnapshotNumber(len(before)+1) || int64(s.Log) != at || tlog.Hash(s.Root) != root {
		t.Errorf("leaf %d is snapshot %d of log %d with root %s, want %d and root %x", at, s.Number, s.Log, s.Root, len(before)+1, root)
	}
	if note, err := b.Get(t.Context(), schemas.SnapshotKey(s.Number)); err == nil && !bytes.Equal(note, l.Note) {
		t.Errorf("snapshot %d is another one in the log than in the bucket", s.Number)
	}
	if len(before) > 0 {
		older := before[len(before)-1]
		proof, err := log.NewReader(b, r.Tree()).Consistency(t.Context(), older.N)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.CheckConsistency(proof, older, r.Tree()); err != nil {
			t.Error(err)
		}
	}
	own, err := leaf.Append(nil, l)
	if err != nil {
		t.Fatal(err)
	}
	checkInclusion(t, r, at, own)
	return tree
}

func checkInclusion(t testing.TB, r *log.Reader, at int64, b []byte) {
	t.Helper()
	proof, err := r.Inclusion(t.Context(), at)
	if err == nil {
		err = tlog.CheckRecord(proof, r.Tree().N, r.Tree().Hash, at, tlog.RecordHash(b))
	}
	if err != nil {
		t.Errorf("inclusion of leaf %d: %v", at, err)
	}
}

// TestALogOfManyTilesVerifies: leaves fill bundles and tiles of two levels, in
// stages of any size, over several processes.
func TestALogOfManyTilesVerifies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		next := func() schemas.Count { return 1 }
		revision := schemas.Revision(0)
		for range 3 {
			n := begin(t, b, store.process(nil), newViewer(t, store), nil)
			for range 100 {
				revision++
				for _, u := range e.Definition.Units {
					i, _ := e.Unit(u.ID)
					b.count(u.ID, revision, b.cells(i, next))
				}
				n.hint()
				time.Sleep(130 * time.Millisecond)
			}
			n.mustFinish()
			n.mustEnd()
			checkChain(t, store, e)
		}
		if !slices.Contains(store.keys(), "tile/0/003") || !slices.Contains(store.keys(), "tile/entries/003") {
			t.Error("the log does not fill four tiles")
		}
	})
}

// TestEveryVersionIsACutOfTheLog: whoever tallies the log up to the version of
// a delta comes to the numbers that it brought.
func TestEveryVersionIsACutOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		v := &recorder{viewer: newViewer(t, store), hashes: map[schemas.Version]map[schemas.DocumentID]schemas.Digest{}}
		n := begin(t, b, store.process(nil), v, nil)
		time.Sleep(time.Second)
		count := schemas.Count(0)
		for revision := range schemas.Revision(12) {
			for _, u := range e.Definition.Units {
				i, _ := e.Unit(u.ID)
				b.count(u.ID, revision+1, b.cells(i, func() schemas.Count { count = (count*7 + 3) % 101; return count }))
				n.hint()
				time.Sleep(37 * time.Millisecond)
			}
		}
		n.mustFinish()
		n.mustEnd()
		if compared := tallyAgain(t, store, e, v.hashes); compared < 40 {
			t.Errorf("%d deltas of a county were compared", compared)
		}
	})
}

// recorder keeps which bytes deltas lead to.
type recorder struct {
	*viewer
	hashes map[schemas.Version]map[schemas.DocumentID]schemas.Digest
}

func (r *recorder) Delta(ctx context.Context, document schemas.DocumentID, frame []byte) error {
	d, err := schemas.ParseDelta(frame)
	if err != nil {
		return err
	}
	if r.hashes[d.To] == nil {
		r.hashes[d.To] = map[schemas.DocumentID]schemas.Digest{}
	}
	r.hashes[d.To][document] = d.Hash
	return r.viewer.Delta(ctx, document, frame)
}

// tallyAgain folds the log and compares counties at the versions that were
// seen; it returns how many.
func tallyAgain(t *testing.T, store *strictBucket, e *election, seen map[schemas.Version]map[schemas.DocumentID]schemas.Digest) (compared int) {
	t.Helper()
	c, err := log.PeekCheckpoint(store.must(log.CheckpointKey))
	if err != nil {
		t.Fatal(err)
	}
	rows, latest := make([][]int64, len(e.Counties)), map[schemas.UnitIndex][]schemas.Count{}
	falls := map[place]int64{}
	for i := range rows {
		rows[i] = make([]int64, e.Counties[i].Cells)
	}
	for entry, err := range log.NewReader(store, c.Tree).Entries(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := leaf.Decode(entry.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if l, ok := l.(*leaf.Submission); ok && l.Outcome == schemas.EntryCounted {
			var s schemas.Submission
			var st schemas.Statement
			if err := errors.Join(s.Decode(l.Envelope.Body), e.Resolve(&s, &st)); err != nil {
				t.Fatal(err)
			}
			e.Fold(rows[e.Units[st.Unit].County], st.Unit, latest[st.Unit], st.Cells)
			for k := range fallsBetween(e, st.Unit, latest[st.Unit], st.Cells) {
				falls[k]++
			}
			latest[st.Unit] = st.Cells
		}
		for document, hash := range seen[schemas.Version(entry.Index+1)] {
			id, ok := document.County()
			if !ok {
				continue
			}
			i, _ := e.County(id)
			if got := schemas.DigestOf(countyLines(e, i, rows[i], falls)); got != hash {
				t.Errorf("%s at version %d has another hash than the log up to there says", document, entry.Index+1)
			}
			compared++
		}
	}
	return compared
}

// place is a contest in a county.
type place struct {
	contest schemas.ContestID
	county  schemas.CountyID
}

// fallsBetween are the places in which a unit's row has a lower number than
// before, which may be nil.
func fallsBetween(e *election, u schemas.UnitIndex, before, after []schemas.Count) map[place]bool {
	out := map[place]bool{}
	for _, s := range e.Units[u].Style.Sections {
		for k := s.Offset; before != nil && k < s.Offset+int32(s.Size(e.Types())); k++ {
			if after[k] < before[k] {
				out[place{e.ContestID(s.Contest), e.Counties[e.Units[u].County].ID}] = true
			}
		}
	}
	return out
}

func countyLines(e *election, c schemas.CountyIndex, row []int64, falls map[place]int64) []byte {
	var lines []string
	for i := range e.Counties[c].Sections {
		s := &e.Counties[c].Sections[i]
		lines = append(lines, string(e.AppendLine(nil, s, e.Counties[c].ID, int64(s.Units), falls[place{e.ContestID(s.Contest), e.Counties[c].ID}], row)))
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, ""))
}

// TestABucketThatFailsForLongLosesNoCut: the stage of its many cuts is too
// large for the register, and is finished by another process all the same.
func TestABucketThatFailsForLongLosesNoCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		var broken atomic.Bool
		p := store.process(func(_ int, key string) fault {
			if broken.Load() && key != "register publication" {
				return notStored
			}
			return works
		})
		n := begin(t, b, p, newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		broken.Store(true)
		for i := range 5000 {
			b.count("fir.1", schemas.Revision(i+1), row(1, 9, 9, 1, schemas.Count(i), 2, 2, 2))
			n.hint()
			time.Sleep(101 * time.Millisecond)
		}
		broken.Store(false)
		n.mustFinish()
		n.mustEnd()
		staged := slices.ContainsFunc(store.keys(), func(k string) bool { return strings.HasPrefix(k, "stages/") })
		if !staged {
			t.Error("the stage fitted into the register")
		}
		checkChain(t, store, e)
	})
}

func TestAnotherRosterIsRefusedWithoutRootKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		n.mustFinish()
		n.mustEnd()
		roster := string(store.must(schemas.RosterKey))
		again := begin(t, b, store.process(nil), newViewer(t, store), func(c *publish.Config) { c.Roster = []byte(`{"keys":[1]}`) })
		if err := <-again.done; !errors.Is(err, publish.ErrForeign) {
			t.Errorf("Run returned %v", err)
		}
		if got := string(store.must(schemas.RosterKey)); got != roster {
			t.Errorf("the roster in force is %s", got)
		}
		again.stop()
	})
}

func TestALedgerOfOtherRecordsCannotFinishAStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		p := store.process(func(_ int, key string) fault {
			if strings.HasPrefix(key, "tile/") {
				return crash
			}
			return works
		})
		b.count("fir.1", 1, row(1, 9, 9, 1, 2, 2, 2, 2)) // before the first cut, of which it dies
		n := begin(t, b, p, newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		_ = n.end()
		other := newBooks(t, e)
		other.count("fir.1", 1, row(1, 9, 9, 1, 2, 2, 2, 3))
		again := begin(t, other, store.process(nil), newViewer(t, store), nil)
		if err := <-again.done; !errors.Is(err, publish.ErrForeign) {
			t.Errorf("Run returned %v", err)
		}
		again.stop()
		for _, k := range store.keys() {
			if strings.HasPrefix(k, "tile/") {
				t.Errorf("%s was written", k)
			}
		}
	})
}

// TestASequencerThatSleptAtAnyWriteCannotForkTheLog: the first one falls asleep
// at one write, a second takes over and publishes, then the first goes on from
// there.
func TestASequencerThatSleptAtAnyWriteCannotForkTheLog(t *testing.T) {
	t.Parallel()
	_, writes := unharmed(t)
	for _, at := range writes {
		t.Run(fmt.Sprintf("asleep at write %d", at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := openElection(t, smallElection())
				b, store := newBooks(t, e), newBucket(t)
				wake := make(chan struct{})
				asleep := ""
				p := store.process(func(n int, key string) fault {
					if n == at {
						asleep = key
						<-wake
					}
					return works
				})
				first := begin(t, b, p, newViewer(t, store), withFiles)
				time.Sleep(2 * time.Second)
				b.count("oak.1", 1, oak1)
				first.hint()
				time.Sleep(2 * time.Second)
				go func() { _ = first.Finish(t.Context()) }() // it sleeps, or is fenced
				time.Sleep(time.Second)
				if asleep == "" {
					t.Skip("this run makes fewer writes")
				}
				second := begin(t, b, store.process(nil), newViewer(t, store), withFiles)
				time.Sleep(2 * time.Second)
				b.count("oak.2", 1, row(1, 10, 10, 1, 1, 1, 1, 1, 8, 8, 0, 0, 1, 5, 5, 5, 5))
				second.hint()
				time.Sleep(2 * time.Second)
				checkReadable(t, store, e)
				size, number := found(t, store, e)
				close(wake)
				time.Sleep(time.Second)
				// It asks before each write that leads somewhere, so only the one that it
				// slept at can put back what was there.
				nowSize, nowNumber := found(t, store, e)
				if nowSize < size && asleep != log.CheckpointKey || nowNumber < number && asleep != schemas.LatestKey {
					t.Errorf("it slept at %s, and put a log of %d leaves and snapshot %d back to %d and %d", asleep, size, number, nowSize, nowNumber)
				}
				b.count("ash.1", 1, row(1, 5, 6, 1, 1, 2, 3, 4, 1, 0, 0, 0, 1, 2, 3, 4, 5))
				first.hint()
				second.hint()
				time.Sleep(2 * time.Second)
				// What it replaced may be old for a moment, and is a log all the same.
				checkLog(t, store, e)
				last, over := second, first
				select {
				case err := <-second.done: // the first took no epoch before it slept
					if !errors.Is(err, publish.ErrFenced) {
						t.Errorf("the second ended with %v", err)
					}
					last, over = first, nil
				default:
				}
				if over != nil {
					if err := over.end(); !errors.Is(err, publish.ErrFenced) {
						t.Errorf("the first ended with %v", err)
					}
				}
				rest(t, b, last)
				last.mustEnd()
				checkChain(t, store, e)
				mustVerify(t, store, e)
			})
		})
	}
}

// found is what a reader comes to: the log's size, and the newest snapshot.
func found(t *testing.T, store *strictBucket, e *election) (int64, schemas.SnapshotNumber) {
	t.Helper()
	c, _, err := log.OpenCheckpoint(store.must(log.CheckpointKey), e.verifier)
	if err != nil {
		t.Fatal(err)
	}
	latest, err := schemas.OpenSnapshot(store.must(schemas.LatestKey), e.verifier)
	if err != nil {
		t.Fatal(err)
	}
	return c.Tree.N, latest.Number
}
