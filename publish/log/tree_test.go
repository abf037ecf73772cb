package log_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"tallystream/publish/log"
)

func TestAnyBatchesGiveTheRootAndTheFullTilesOfOneBatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		total := rapid.SampledFrom([]int{1, 2, 3, 255, 256, 257, 511, 512, 700, 1025}).Draw(rt, "leaves")
		leaves := leavesOf(total, "a")
		whole := newStore()
		grow(t, &log.Edge{}, whole, leaves...)

		pieces, edge := newStore(), &log.Edge{}
		for at := 0; at < total; {
			n := min(total-at, rapid.IntRange(1, 300).Draw(rt, "batch"))
			edge = grow(t, edge, pieces, leaves[at:at+n]...)
			at += n
			if got, want := edge.Tree(), naiveRoot(leaves[:at]); got.N != int64(at) || got.Hash != want {
				rt.Fatalf("tree of %d: %v, want %v by RFC 6962", at, got, want)
			}
			if rapid.Bool().Draw(rt, "restart") {
				edge = restart(rt, edge, pieces)
			}
		}
		for k, b := range whole.objects {
			if !bytes.Equal(pieces.objects[k], b) {
				rt.Fatalf("%s differs between one batch and several", k)
			}
		}
	})
}

// restart stores the edge as a head would and reads it again.
func restart(t *rapid.T, e *log.Edge, s *store) *log.Edge {
	b, err := e.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	next := new(log.Edge)
	if err := next.UnmarshalText(b); err != nil {
		t.Fatal(err)
	}
	if key := next.Bundle(); key != "" {
		if _, _, err := next.Append([]byte("x")); !errors.Is(err, log.ErrNoBundle) {
			t.Fatalf("appending without the bundle: %v", err)
		}
		if err := next.Resume(s.objects[key]); err != nil {
			t.Fatal(err)
		}
	}
	if next.Tree() != e.Tree() {
		t.Fatalf("tree after restart %v, want %v", next.Tree(), e.Tree())
	}
	return next
}

func TestReplayingABatchWritesTheSameBytes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		before := rapid.IntRange(0, 600).Draw(rt, "before")
		batch := leavesOf(rapid.IntRange(1, 600).Draw(rt, "batch"), "b")
		s := newStore()
		edge := grow(t, &log.Edge{}, s, leavesOf(before, "a")...)
		next, objects, err := edge.Append(batch...)
		if err != nil {
			rt.Fatal(err)
		}
		s.put(t, objects)
		if _, _, err := next.Append([]byte("a later batch, which must not reach into the older edge")); err != nil {
			rt.Fatal(err)
		}
		opened, err := log.NewReader(s, edge.Tree()).OpenEdge(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		for _, from := range []*log.Edge{edge, opened} {
			again, more, err := from.Append(batch...)
			if err != nil {
				rt.Fatal(err)
			}
			if again.Tree() != next.Tree() || len(more) != len(objects) {
				rt.Fatalf("replay gives %v and %d objects, want %v and %d", again.Tree(), len(more), next.Tree(), len(objects))
			}
			s.put(t, more) // fails on other bytes
		}
	})
}

// An edge is a value: a batch that was tried and given up leaves no trace in
// one that was made of the same edge.
func TestTwoBatchesOnOneEdgeDoNotTouchEachOther(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		before := leavesOf(rapid.IntRange(1, 600).Draw(rt, "before"), "a")
		edge := &log.Edge{}
		for _, leaf := range before { // one by one, so that slices have room to spare
			var err error
			if edge, _, err = edge.Append(leaf); err != nil {
				rt.Fatal(err)
			}
		}
		first, second := leavesOf(rapid.IntRange(1, 300).Draw(rt, "first"), "b"), leavesOf(rapid.IntRange(1, 300).Draw(rt, "second"), "c")
		one, objects, err := edge.Append(first...)
		if err != nil {
			rt.Fatal(err)
		}
		kept := newStore()
		kept.put(t, objects)
		if _, _, err := edge.Append(second...); err != nil {
			rt.Fatal(err)
		}
		if one.Tree().Hash != naiveRoot(append(slices.Clone(before), first...)) || edge.Tree().Hash != naiveRoot(before) {
			rt.Fatal("the second batch changed the tree of the first")
		}
		kept.put(t, objects) // fails if their bytes are others now
	})
}

func TestAnEmptyTreeHasTheRootOfNothing(t *testing.T) {
	for hash, ok := range map[tlog.Hash]bool{log.EmptyRoot(): true, {}: false} {
		edge, err := log.NewReader(newStore(), tlog.Tree{Hash: hash}).OpenEdge(t.Context())
		if (err == nil) != ok || (ok && edge.Tree().N != 0) {
			t.Errorf("root %v: %v", hash, err)
		}
	}
}

func TestAForeignBundleIsNotAttached(t *testing.T) {
	s := newStore()
	edge := grow(t, &log.Edge{}, s, leavesOf(10, "a")...)
	b, err := edge.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var again log.Edge
	if err := again.UnmarshalText(b); err != nil {
		t.Fatal(err)
	}
	other := newStore()
	grow(t, &log.Edge{}, other, leavesOf(10, "b")...)
	shorter := newStore()
	grow(t, &log.Edge{}, shorter, leavesOf(9, "a")...)
	for _, bundle := range [][]byte{other.objects[again.Bundle()], shorter.objects["tile/entries/000.p/9"], nil, []byte("x")} {
		if err := again.Resume(bundle); err == nil {
			t.Errorf("%q was attached", bundle)
		}
	}
}

func TestProofsAreThoseOfRFC6962(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 700).Draw(rt, "leaves")
		leaves := leavesOf(n, "a")
		s := newStore()
		edge := &log.Edge{}
		for at := 0; at < n; at += 250 {
			edge = grow(t, edge, s, leaves[at:min(n, at+250)]...)
		}
		r := log.NewReader(s, edge.Tree())
		index := rapid.IntRange(0, n-1).Draw(rt, "index")
		inclusion, err := r.Inclusion(t.Context(), int64(index))
		if err != nil {
			rt.Fatal(err)
		}
		if want := naivePath(index, leaves); !slices.Equal(inclusion, want) {
			rt.Fatalf("inclusion of %d in %d differs from RFC 6962", index, n)
		}
		old := rapid.IntRange(1, n).Draw(rt, "old")
		consistency, err := r.Consistency(t.Context(), int64(old))
		if err != nil {
			rt.Fatal(err)
		}
		if want := naiveConsistency(old, leaves, true); !slices.Equal(consistency, want) {
			rt.Fatalf("consistency of %d with %d differs from RFC 6962", n, old)
		}
		older := tlog.Tree{N: int64(old), Hash: naiveRoot(leaves[:old])}
		if err := log.CheckConsistency(consistency, older, edge.Tree()); err != nil {
			rt.Fatal(err)
		}
		if root, err := r.Root(t.Context(), int64(old)); err != nil || root != older.Hash {
			rt.Fatalf("root of %d: %v, %v", old, root, err)
		}
		if b, err := r.Leaf(t.Context(), int64(index)); err != nil || !bytes.Equal(b, leaves[index]) {
			rt.Fatalf("leaf %d: %q, %v", index, b, err)
		}
	})
}

func TestAForkOrARollbackIsNeverConsistent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 600).Draw(rt, "leaves")
		old := rapid.IntRange(1, n).Draw(rt, "old")
		leaves := leavesOf(n, "a")
		forked := slices.Clone(leaves)
		forked[rapid.IntRange(0, old-1).Draw(rt, "forked leaf")] = []byte("another story")
		s := newStore()
		fork := grow(t, &log.Edge{}, s, forked...)
		seen := tlog.Tree{N: int64(old), Hash: naiveRoot(leaves[:old])}
		proof, err := log.NewReader(s, fork.Tree()).Consistency(t.Context(), int64(old))
		if err != nil {
			rt.Fatal(err)
		}
		if err := log.CheckConsistency(proof, seen, fork.Tree()); err == nil {
			rt.Fatal("a fork passed for an extension")
		}
		for i := range proof { // whatever the proof says
			proof[i][rapid.IntRange(0, 31).Draw(rt, "byte")] ^= 1
		}
		if err := log.CheckConsistency(proof, seen, fork.Tree()); err == nil {
			rt.Fatal("a fork passed with another proof")
		}
		if err := log.CheckConsistency(nil, fork.Tree(), seen); err == nil {
			rt.Fatal("a rollback passed")
		}
	})
}

func entriesOf(ctx context.Context, r *log.Reader, first int64) ([][]byte, error) {
	var out [][]byte
	for e, err := range r.Entries(ctx, first) {
		if err != nil {
			return out, err
		}
		if e.Index != first+int64(len(out)) {
			return out, fmt.Errorf("entry %d came as number %d", e.Index, len(out))
		}
		out = append(out, e.Leaf)
	}
	return out, nil
}

func TestEntriesComeInOrderFromAnyIndex(t *testing.T) {
	leaves := leavesOf(1500, "a")
	s := newStore()
	edge := grow(t, &log.Edge{}, s, leaves[:1000]...)
	edge = grow(t, edge, s, leaves[1000:]...)
	r := log.NewReader(s, edge.Tree())
	for _, first := range []int64{0, 1, 255, 256, 257, 1279, 1280, 1499, 1500} {
		got, err := entriesOf(t.Context(), r, first)
		if err != nil || !slices.EqualFunc(got, leaves[first:], bytes.Equal) {
			t.Errorf("from %d: %d entries, %v", first, len(got), err)
		}
	}
	if _, err := entriesOf(t.Context(), r, 1501); err == nil {
		t.Error("entries behind the end")
	}
	for range r.Entries(t.Context(), 0) {
		break // must not leave anybody running: the race detector and goleak look
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := entriesOf(ctx, r, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled reading: %v", err)
	}
}

func TestAPartialTileThatIsGoneIsCutFromTheFullOne(t *testing.T) {
	leaves := leavesOf(600, "a")
	s := newStore()
	old := grow(t, &log.Edge{}, s, leaves[:300]...)
	grow(t, old, s, leaves[300:]...)
	for _, key := range []string{"tile/0/001.p/44", "tile/entries/001.p/44"} {
		if _, ok := s.objects[key]; !ok {
			t.Fatalf("%s was not written", key)
		}
		delete(s.objects, key)
	}
	got, err := entriesOf(t.Context(), log.NewReader(s, old.Tree()), 0)
	if err != nil || len(got) != 300 {
		t.Errorf("%d entries, %v", len(got), err)
	}
	if _, err := log.NewReader(s, old.Tree()).OpenEdge(t.Context()); err != nil {
		t.Error(err)
	}
}

// Every byte of every object that a reading of the whole log needs.
func TestAFlippedByteIsNeverHandedOn(t *testing.T) {
	leaves := leavesOf(520, "a")
	s := newStore()
	edge := grow(t, &log.Edge{}, s, leaves...)
	rapid.Check(t, func(rt *rapid.T) {
		keys := []string{"tile/0/000", "tile/0/001", "tile/0/002.p/8", "tile/1/000.p/2", "tile/entries/000", "tile/entries/001", "tile/entries/002.p/8"}
		key := rapid.SampledFrom(keys).Draw(rt, "object")
		bad := s.clone()
		b := bytes.Clone(bad.objects[key])
		switch rapid.IntRange(0, 3).Draw(rt, "change") {
		case 0:
			b = b[:rapid.IntRange(0, len(b)-1).Draw(rt, "cut at")]
		case 1:
			b = append(b, 0)
		default:
			b[rapid.IntRange(0, len(b)-1).Draw(rt, "byte")] ^= byte(1 << rapid.IntRange(0, 7).Draw(rt, "bit"))
		}
		bad.objects[key] = b
		got, err := entriesOf(t.Context(), log.NewReader(bad, edge.Tree()), 0)
		if !errors.Is(err, log.ErrTampered) {
			rt.Fatalf("%s changed: %v", key, err)
		}
		for i := range got {
			if !bytes.Equal(got[i], leaves[i]) {
				rt.Fatalf("%s changed: leaf %d was handed on", key, i)
			}
		}
	})
}

func TestALeafHasALengthThatABundleCanState(t *testing.T) {
	edge := &log.Edge{}
	for _, size := range []int{0, log.MaxLeaf + 1} {
		if _, _, err := edge.Append(make([]byte, size)); err == nil {
			t.Errorf("a leaf of %d bytes was appended", size)
		}
	}
	s := newStore()
	edge = grow(t, edge, s, make([]byte, log.MaxLeaf))
	if b, err := log.NewReader(s, edge.Tree()).Leaf(t.Context(), 0); err != nil || len(b) != log.MaxLeaf {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestKeysOfTilesAreThoseOfTheSpecification(t *testing.T) {
	for key, want := range map[string]log.Tile{
		"tile/0/000":                 {Level: 0, N: 0, Width: 256},
		"tile/3/x001/x234/067":       {Level: 3, N: 1234067, Width: 256},
		"tile/0/x001/x234/067.p/8":   {Level: 0, N: 1234067, Width: 8},
		"tile/entries/273.p/112":     {Level: -1, N: 273, Width: 112},
		"tile/entries/x001/000":      {Level: -1, N: 1000, Width: 256},
		"tile/63/000.p/255":          {Level: 63, N: 0, Width: 255},
		"tile/2/x999/999":            {Level: 2, N: 999999, Width: 256},
		"tile/0/x009/x223/x372/036":  {Level: 0, N: 9223372036, Width: 256},
		"tile/entries/x001/000.p/01": {}, "tile/0/0": {}, "tile/0/1000": {}, "tile/0/x000/001": {}, "tile/64/000": {},
		"tile/0/000.p/256": {}, "tile/0/000.p/0": {}, "tile/00/000": {}, "tile/8/0/000": {}, "tile/0/000/": {}, "tile/-1/000": {},
		"tile/entries/+01": {}, "": {}, "checkpoint": {},
	} {
		got, err := log.ParseTile(key)
		if (err != nil) != (want == log.Tile{}) || (err == nil && got != want) {
			t.Errorf("%q: %+v, %v; want %+v", key, got, err, want)
		}
	}
}

func TestExtendKnowsTheTreeThatAppendLeadsTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, more := rapid.IntRange(0, 700).Draw(t, "before"), rapid.IntRange(0, 700).Draw(t, "more")
		leaves := make([][]byte, before+more)
		hashes := make([]tlog.Hash, len(leaves))
		for i := range leaves {
			leaves[i] = fmt.Appendf(nil, "leaf %d", i)
			hashes[i] = tlog.RecordHash(leaves[i])
		}
		edge, _, err := new(log.Edge).Append(leaves[:before]...)
		if err != nil {
			t.Fatal(err)
		}
		old := edge.Tree()
		next, _, err := edge.Append(leaves[before:]...)
		if err != nil {
			t.Fatal(err)
		}
		if got := edge.Extend(hashes[before:]...).Tree(); got != next.Tree() || edge.Tree() != old {
			t.Errorf("a tree of %d leaves, want %d", got.N, next.Tree().N)
		}
	})
}

// TestATreeThatEndsBeforeTheLastLeafIsRead: the tree that a snapshot commits to
// has no partial tiles of its own.
func TestATreeThatEndsBeforeTheLastLeafIsRead(t *testing.T) {
	s, edge := newStore(), &log.Edge{}
	for _, batch := range []int{1, 254, 1, 1, 255, 256, 512, 3, 65536 - 1285, 2, 1} {
		hashes := make([]tlog.Hash, 0, batch)
		leaves := leavesOf(batch, fmt.Sprint(edge.Tree().N))
		for _, leaf := range leaves {
			hashes = append(hashes, tlog.RecordHash(leaf))
		}
		before := edge.Extend(hashes[:batch-1]...).Tree()
		edge = grow(t, edge, s, leaves...)
		r := log.NewReader(s, before)
		if before.N == 0 {
			continue
		}
		if _, err := r.Leaf(t.Context(), before.N-1); err != nil {
			t.Errorf("a tree of %d leaves, published with %d: %v", before.N, edge.Tree().N, err)
		}
		if _, err := r.Inclusion(t.Context(), before.N/2); err != nil {
			t.Errorf("a tree of %d leaves, published with %d: %v", before.N, edge.Tree().N, err)
		}
	}
}
