package verify

import (
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
)

// rest takes in a statement that publication rests, or goes on: by a key that
// may sign snapshots, and never what is so already. That no number moves between
// the two follows from there being no entry.
func (v *verification) rest(index int64, l *leaf.Pause) {
	where := fmt.Sprintf("leaf %d", index)
	if l.Origin != v.report.Origin {
		v.report.find(CheckPause, where, "is of %q", l.Origin)
	}
	if !signedByAny(l.Note, v.auth.At(index).Keys(leaf.SnapshotKey)) {
		v.report.find(CheckPause, where, "is not signed by a key that may sign it")
		return // it takes no effect
	}
	if l.Resumed != v.paused {
		v.report.find(CheckPause, where, "%s states what is so already", l.Kind())
		return
	}
	v.paused = !l.Resumed
	if v.paused {
		v.report.remark("publication was paused at %s (leaf %d): %s: %s", l.Time, index, l.Reason, l.Text)
	} else {
		v.report.remark("publication went on at %s (leaf %d): %s: %s", l.Time, index, l.Reason, l.Text)
	}
}

func signedByAny(signed []byte, keys []note.Verifier) bool {
	n, err := log.ParseNote(signed)
	return err == nil && slices.ContainsFunc(keys, func(k note.Verifier) bool {
		ok, err := n.SignedBy(k)
		return ok && err == nil
	})
}

// moves is called for each leaf: none of an entry may come while publication
// rests.
func (v *verification) moves(index int64, l leaf.Leaf) {
	switch l.(type) {
	case *leaf.Snapshot, *leaf.Statement, *leaf.Pause, *leaf.Definition:
		return
	}
	if v.paused {
		v.report.find(CheckPause, fmt.Sprintf("leaf %d", index), "counts while publication is paused")
	}
}
