package publish

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tallystream/schemas"
)

// ledgerPen writes entries of a ledger with their records, as the aggregators
// would, in one partition.
type ledgerPen struct {
	tb  testing.TB
	e   *schemas.Election
	seq uint64
}

func (l *ledgerPen) entry(kind schemas.EntryKind, u schemas.UnitIndex, revision schemas.Revision, digest schemas.Digest) *schemas.Entry {
	l.seq++
	return &schemas.Entry{Kind: kind, Partition: l.e.PartitionOf(u), Seq: l.seq, Unit: l.e.Units[u].ID, Revision: revision, Digest: digest}
}

func (l *ledgerPen) submission(kind schemas.EntryKind, code schemas.HoldCode, u schemas.UnitIndex, revision schemas.Revision, cells []schemas.Count, c *schemas.Correction) (*schemas.Entry, []byte) {
	l.tb.Helper()
	body := l.e.AppendBody(nil, u, revision, cells, nil, c)
	record, err := schemas.AppendEnvelope(nil, l.e.Definition.Origin, l.e.Units[u].ID, revision, body, benchSigner{}, benchSigner{})
	if err != nil {
		l.tb.Fatal(err)
	}
	x := l.entry(kind, u, revision, schemas.DigestOf(body))
	x.Hold = code
	return x, record
}

func (l *ledgerPen) release(kind schemas.EntryKind, hold *schemas.Entry) (*schemas.Entry, []byte) {
	l.tb.Helper()
	note, err := schemas.AppendRelease(nil, l.e.Definition.Origin, hold.Unit, hold.Revision, hold.Digest, schemas.ReleaseChecked,
		"Held against the tape.", benchSigner{}, benchSigner{})
	if err != nil {
		l.tb.Fatal(err)
	}
	u, _ := l.e.Unit(hold.Unit)
	x := l.entry(kind, u, hold.Revision, hold.Digest)
	x.Held = hold.Seq
	return x, note
}

// TestAReleasedHoldCountsFromThenOn plays random ledgers of one county and
// holds the fold against a count that keeps every row of every revision.
func TestAReleasedHoldCountsFromThenOn(t *testing.T) {
	e := sized(t, 1, 1, 3)
	rapid.Check(t, func(rt *rapid.T) {
		f, pen := newFold(e), &ledgerPen{tb: t, e: e}
		type held struct {
			entry *schemas.Entry
			cells []schemas.Count
			over  bool
		}
		var holds []*held
		counts := map[schemas.UnitIndex][]schemas.Count{}
		at := map[schemas.UnitIndex]schemas.Revision{}
		apply := func(x *schemas.Entry, record []byte) {
			if err := f.apply(x, record); err != nil {
				rt.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			u := schemas.UnitIndex(rapid.IntRange(0, len(e.Units)-1).Draw(rt, "unit"))
			cells := counted(e, u, rapid.IntRange(0, 50).Draw(rt, "seed"))
			switch rapid.IntRange(0, 2).Draw(rt, "kind") {
			case 0:
				at[u] += schemas.Revision(rapid.IntRange(1, 2).Draw(rt, "step"))
				counts[u] = cells
				apply(pen.submission(schemas.EntryCounted, "", u, at[u], cells, &schemas.Correction{Reason: schemas.CorrectRecount, Text: "Counted again."}))
			case 1:
				revision := schemas.Revision(rapid.IntRange(1, int(at[u])+2).Draw(rt, "revision"))
				x, record := pen.submission(schemas.EntryHeld, schemas.HoldConflict, u, revision, cells, nil)
				apply(x, record)
				holds = append(holds, &held{entry: x, cells: cells})
			case 2:
				open := slices.DeleteFunc(slices.Clone(holds), func(h *held) bool { return h.over })
				if len(open) == 0 {
					continue
				}
				h := rapid.SampledFrom(open).Draw(rt, "hold")
				u, _ := e.Unit(h.entry.Unit)
				kind := schemas.EntryLapsed
				if h.over = true; h.entry.Revision >= at[u] {
					kind, at[u], counts[u] = schemas.EntryReleased, h.entry.Revision, h.cells
				}
				apply(pen.release(kind, h.entry))
			}
		}
		want := make([]int64, e.Counties[0].Cells)
		for u, cells := range counts {
			e.Fold(want, u, nil, cells)
			if f.units[u].revision != at[u] {
				rt.Fatalf("unit %d: revision %d, want %d", u, f.units[u].revision, at[u])
			}
		}
		if !slices.Equal(want, f.rows[0]) {
			rt.Fatalf("row %v, want %v", f.rows[0], want)
		}
		open := uint64(0)
		for _, h := range holds {
			u, _ := e.Unit(h.entry.Unit)
			kept := f.holds.find(u, h.entry.Seq)
			if could := !h.over && h.entry.Revision >= at[u]; (kept.cells != nil) != could || (kept.state == schemas.HoldOpen) != could {
				rt.Errorf("hold %d of revision %d, %d counts, over %v: %s, %d bytes", h.entry.Seq, h.entry.Revision, at[u], h.over, kept.state, len(kept.cells))
			} else if could {
				open++
			}
		}
		if f.holds.open[schemas.HoldConflict] != open || f.heldAll != uint64(len(holds)) || f.accepted+f.heldAll != f.entries {
			rt.Errorf("%d open, want %d; accepted %d + held %d of %d entries", f.holds.open[schemas.HoldConflict], open, f.accepted, f.heldAll, f.entries)
		}
	})
}

func TestAReleaseThatDoesNotFitIsRefused(t *testing.T) {
	e := sized(t, 1, 2, 2)
	for name, c := range map[string]struct {
		play func(pen *ledgerPen) (entries []*schemas.Entry, records [][]byte)
		want string // "": it fits
	}{
		"of what is held": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) { return pen.heldAndReleased(nil) }, ""},
		"of another digest": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			return pen.heldAndReleased(func(hold, release *schemas.Entry) { release.Digest = schemas.DigestOf(nil) })
		}, "names another unit, revision or digest"},
		"that names another digest": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			return pen.heldAndReleasedAs(func(named *schemas.Entry) { named.Digest = schemas.DigestOf(nil) })
		}, "other bytes than it names"},
		"of another revision": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			return pen.heldAndReleasedAs(func(named *schemas.Entry) { named.Revision++ })
		}, "another revision"},
		"of another unit": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			return pen.heldAndReleasedAs(func(named *schemas.Entry) { named.Unit = pen.e.Units[1].ID })
		}, "what is not held"},
		"of no entry": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			return pen.heldAndReleased(func(hold, release *schemas.Entry) { release.Held = 17 })
		}, "what is not held"},
		"of no unit": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			return pen.heldAndReleasedAs(func(named *schemas.Entry) { named.Unit = "nowhere" })
		}, "no unit of the election"},
		"that lapses, though nothing later counts": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			return pen.heldAndReleased(func(hold, release *schemas.Entry) { release.Kind = schemas.EntryLapsed })
		}, "is lapsed, against the revision that counts"},
		"of what was released before": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			entries, records := pen.heldAndReleased(nil)
			again, record := pen.release(schemas.EntryReleased, entries[0])
			return append(entries, again), append(records, record)
		}, "released before"},
		"of a revision below the one that counts": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			hold, held := pen.submission(schemas.EntryHeld, schemas.HoldOutlier, 0, 1, counted(pen.e, 0, 1), nil)
			count, later := pen.submission(schemas.EntryCounted, "", 0, 2, counted(pen.e, 0, 2), nil)
			release, note := pen.release(schemas.EntryReleased, hold)
			return []*schemas.Entry{hold, count, release}, [][]byte{held, later, note}
		}, "against the revision that counts"},
		"of poison": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			return pen.heldAndReleased(func(hold, release *schemas.Entry) { hold.Hold = schemas.HoldPoison })
		}, "held as poison"},
		"by a submission": {func(pen *ledgerPen) ([]*schemas.Entry, [][]byte) {
			entries, records := pen.heldAndReleased(nil)
			records[1] = records[0]
			return entries, records
		}, "its record is no release"},
	} {
		t.Run(name, func(t *testing.T) {
			f, pen := newFold(e), &ledgerPen{tb: t, e: e}
			entries, records := c.play(pen)
			var err error
			for i := range entries {
				if err = f.apply(entries[i], records[i]); err != nil && i < len(entries)-1 {
					t.Fatalf("entry %d: %v", i+1, err)
				}
			}
			var refused *ReplayError
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// heldAndReleased is a hold and its release, whose entries change may spoil.
func (l *ledgerPen) heldAndReleased(change func(hold, release *schemas.Entry)) ([]*schemas.Entry, [][]byte) {
	hold, held := l.submission(schemas.EntryHeld, schemas.HoldOutlier, 0, 1, counted(l.e, 0, 1), nil)
	release, note := l.release(schemas.EntryReleased, hold)
	if change != nil {
		change(hold, release)
	}
	return []*schemas.Entry{hold, release}, [][]byte{held, note}
}

// heldAndReleasedAs is a hold and the release of what change makes of it: note
// and entry agree with each other.
func (l *ledgerPen) heldAndReleasedAs(change func(named *schemas.Entry)) ([]*schemas.Entry, [][]byte) {
	hold, held := l.submission(schemas.EntryHeld, schemas.HoldOutlier, 0, 1, counted(l.e, 0, 1), nil)
	named := *hold
	change(&named)
	note, err := schemas.AppendRelease(nil, l.e.Definition.Origin, named.Unit, named.Revision, named.Digest, schemas.ReleaseChecked, "Checked.", benchSigner{})
	if err != nil {
		l.tb.Fatal(err)
	}
	release := l.entry(schemas.EntryReleased, 0, named.Revision, named.Digest)
	release.Unit, release.Held = named.Unit, hold.Seq
	return []*schemas.Entry{hold, release}, [][]byte{held, note}
}
