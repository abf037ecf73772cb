package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"tallystream/publish/log"
	"tallystream/publish/log/authority"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// snapshot checks a snapshot's leaf against the log before it and the snapshot
// before it, and where they are due its documents and files.
func (v *verification) snapshot(ctx context.Context, index int64, l *leaf.Snapshot) error {
	where := fmt.Sprintf("snapshot %d (leaf %d)", len(v.notes)+1, index)
	wrong := func(format string, args ...any) { v.report.find(CheckChain, where, format, args...) }
	defer func() { v.notes = append(v.notes, schemas.DigestOf(l.Note)) }()
	var s *schemas.Snapshot
	err := errors.New("no key may sign snapshots")
	for _, key := range v.auth.At(index).Keys(leaf.SnapshotKey) {
		if s, err = schemas.OpenSnapshot(l.Note, key); err == nil {
			break
		}
	}
	if err != nil {
		wrong("is not signed by a key that may sign it: %v", err)
		return nil
	}
	previous := schemas.Digest{}
	if n := len(v.notes); n > 0 {
		previous = v.notes[n-1]
	}
	if want := schemas.SnapshotNumber(len(v.notes) + 1); s.Number != want {
		wrong("has the number %d, want %d", s.Number, want)
	}
	if s.Origin != v.report.Origin {
		wrong("is of %q", s.Origin)
	}
	if s.Previous != previous {
		wrong("names %s as the snapshot before it, which is %s", s.Previous, previous)
	}
	if root := v.frontier.root(); int64(s.Log) != index || s.Root != schemas.Digest(root) {
		wrong("commits to a log of %d leaves with root %s, here it has %d with %s", s.Log, s.Root, index, schemas.Digest(root))
	}
	held := uint64(0)
	for _, n := range v.report.Held {
		held += n
	}
	if accepted := v.report.Counted + v.report.Superseded + v.report.Released + v.report.Lapsed; s.Accepted != accepted || s.Held != held {
		wrong("says %d accepted and %d held, in the log are %d and %d", s.Accepted, s.Held, accepted, held)
	}
	if v.last != nil && s.Time < v.last.Time { // of one layout, so they sort as text
		wrong("was made at %s, before the one before it at %s", s.Time, v.last.Time)
	}
	v.last = s
	if v.o.All || v.latest != nil && s.Number == v.latest.Number && bytes.Equal(l.Note, v.latestNote) {
		v.progress(true)
		if err := v.compare(ctx, s); err != nil {
			return err
		}
	}
	return v.dueFiles(ctx, s)
}

// close checks what can only be told at the end of the log.
func (v *verification) close(ctx context.Context) error {
	if v.report.Sealed = v.tally.hidden.rests(); v.report.Sealed != nil && !v.report.Sealed.Opened {
		v.report.remark("the numbers of hidden units are sealed: their sums are signed by the authority, and were not counted again")
	}
	v.report.Snapshots, v.report.Movements = uint64(len(v.notes)), v.tally.movements()
	for _, n := range v.tally.open() {
		v.report.Open += n
	}
	for _, code := range slices.Sorted(maps.Keys(v.report.Held)) {
		if !isRuled(code) {
			v.report.remark("%d submissions are held as %s, which does not follow from the log alone: that is believed", v.report.Held[code], code)
		}
	}
	powers := v.auth.At(v.tree.N)
	if _, _, err := log.OpenCheckpoint(v.checkpoint, powers.Keys(leaf.LogKey)...); err != nil {
		v.report.find(CheckAuthority, log.CheckpointKey, "is signed by no key that the log itself puts in force: %v", err)
	}
	v.closeRoster(powers)
	for version, files := range v.due {
		for i := range files {
			v.report.find(CheckFile, files[i].Name, "is said to be as of %d leaves, where there is no snapshot", version)
		}
	}
	if v.latest != nil {
		if err := v.closeLatest(ctx); err != nil {
			return err
		}
	}
	return v.objects(ctx)
}

// closeRoster holds roster.json against the log. A change of the roster is found
// there a moment before its file is, and the next snapshot follows both.
func (v *verification) closeRoster(powers *authority.Powers) {
	if v.current != nil && bytes.Equal(v.current, v.roster) {
		return
	}
	named := leaf.File{Digest: schemas.DigestOf(v.current), Bytes: uint64(len(v.current))}
	if v.latest != nil && slices.ContainsFunc(v.auth.Since(int64(v.latest.Log)), func(p *authority.Powers) bool { return p.Roster == named }) {
		v.report.leave("%s: another roster came into the log meanwhile: verify again", schemas.RosterKey)
		return
	}
	v.report.find(CheckAuthority, schemas.RosterKey, "is not the roster in force, whose SHA-256 is %s", powers.Roster.Digest)
}

// closeLatest holds the newest published snapshot against the log. While a
// publisher writes, the log is one ahead.
func (v *verification) closeLatest(ctx context.Context) error {
	number := v.latest.Number
	if v.report.Snapshot = number; number == 0 || uint64(number) > uint64(len(v.notes)) {
		v.report.find(CheckChain, schemas.LatestKey, "is snapshot %d, which is not in the log: it has %d", number, len(v.notes))
		return nil
	}
	if got := schemas.DigestOf(v.latestNote); got != v.notes[number-1] {
		v.report.find(CheckChain, schemas.LatestKey, "is another snapshot %d than the log's: two have one number", number)
		return nil
	}
	if behind := uint64(len(v.notes)) - uint64(number); behind > 0 {
		again, err := v.o.Source.Get(ctx, schemas.LatestKey)
		if err != nil && !errors.Is(err, log.ErrAbsent) {
			return err
		}
		now, err := peekSnapshot(again)
		if err != nil || uint64(now.Number)+1 < uint64(len(v.notes)) {
			v.report.find(CheckChain, schemas.LatestKey, "is snapshot %d, an old one: the log has %d", number, len(v.notes))
		} else {
			v.report.leave("snapshot %d came into the log meanwhile: verify again for its documents", len(v.notes))
		}
	}
	if v.compared < number {
		v.report.leave("the documents of snapshot %d", number)
	}
	return nil
}

// objectsAtOnce bounds the requests for small objects.
const objectsAtOnce = 16

// objects compares every snapshot's own object with its leaf.
func (v *verification) objects(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(objectsAtOnce)
	for i, want := range v.notes {
		number := schemas.SnapshotNumber(i + 1)
		if v.o.State != nil && i < len(v.o.State.Notes) && i+1 < len(v.notes) {
			continue // published bytes never change, and it was compared before
		}
		g.Go(func() error {
			key := schemas.SnapshotKey(number)
			b, err := v.o.Source.Get(ctx, key)
			switch {
			case errors.Is(err, log.ErrAbsent):
				if v.latest == nil || number <= v.latest.Number {
					v.find(CheckChain, key, "is not there, and the log has it")
				} // else it is being written
			case err != nil:
				return err
			case schemas.DigestOf(b) != want:
				v.find(CheckChain, key, "is another snapshot %d than the log's: two have one number", number)
			}
			return nil
		})
	}
	return g.Wait()
}

// resume takes up an earlier run's state, if its log is the beginning of this
// one.
func (v *verification) resume(ctx context.Context) error {
	st := v.o.State
	if st == nil {
		return nil
	}
	if st.Origin != v.report.Origin || st.Key != v.key || st.Definition != v.election.Hash {
		return ErrState
	}
	was := tlog.Tree{N: st.Frontier.Size, Hash: st.Frontier.root()}
	if v.tree.N < was.N {
		v.report.find(CheckState, log.CheckpointKey, "the log was rolled back: it had %d leaves when it was verified before, now it has %d", was.N, v.tree.N)
		return errStopped
	}
	root, err := v.log.Root(ctx, was.N)
	if err != nil {
		return v.untrue("the tree", err)
	}
	if root != was.Hash {
		v.report.find(CheckState, log.CheckpointKey,
			"the log was forked: its first %d leaves have the root %s, when they were verified before it was %s", was.N, schemas.Digest(root), schemas.Digest(was.Hash))
		return errStopped
	}
	if v.latest != nil && v.latest.Number < st.Compared {
		v.report.find(CheckState, schemas.LatestKey, "was rolled back to snapshot %d: %d was verified before", v.latest.Number, st.Compared)
		return errStopped
	}
	return v.restore(ctx, st)
}
