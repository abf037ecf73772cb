package publish_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish"
	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// rootKey is an offline key, the same in every run.
func rootKey(t testing.TB) (note.Signer, string) {
	t.Helper()
	return seat(t, "root")
}

// rosterChange is the first change of a log, to a roster.
func rosterChange(t testing.TB, e *election, roster []byte, root note.Signer) []byte {
	t.Helper()
	s := leaf.NewStatement(leaf.KindRoster, e.Definition.Origin, 1)
	s.File = leaf.File{Digest: schemas.DigestOf(roster), Bytes: uint64(len(roster))}
	signed, err := log.Sign(s.AppendText(nil), root)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestTheDefinitionIsNotAmended, though the log has a format for it and the root
// keys signed: nothing here could follow it.
func TestTheDefinitionIsNotAmended(t *testing.T) {
	e := openElection(t, smallElection())
	store := newBucket(t)
	root, _ := rootKey(t)
	s := leaf.NewStatement(leaf.KindAmendment, e.Definition.Origin, 1)
	s.File = leaf.File{Digest: schemas.DigestOf([]byte("{}")), Bytes: 2}
	signed, err := log.Sign(s.AppendText(nil), root)
	if err != nil {
		t.Fatal(err)
	}
	q := &publish.ChangeRequest{Register: store.process(nil), Bucket: store.process(nil), Election: e.Election, Note: signed}
	if err := q.Send(t.Context()); err == nil || !strings.Contains(err.Error(), "want a signed statement of a roster, a key or root keys") {
		t.Errorf("an amendment is taken: %v", err)
	}
	if len(store.keys()) > 0 {
		t.Errorf("it left %q", store.keys())
	}
}

// TestACrashAtAnyWriteOfAChangeLeavesItInTheLogOnce: whichever process finishes
// it, with the roster beside it.
func TestACrashAtAnyWriteOfAChangeLeavesItInTheLogOnce(t *testing.T) {
	t.Parallel()
	root, vkey := rootKey(t)
	first, next := rosterOf(t, "official.1"), rosterOf(t, "official.2")
	night := func(t *testing.T, decide func(n int, key string) fault) (keys []string) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		rooted := func(c *publish.Config) { c.Roster, c.Threshold, c.Roots = first, 1, []string{vkey} }
		n := begin(t, b, store.process(nil), newViewer(t, store), rooted)
		b.count("oak.1", 1, oak1)
		n.hint()
		time.Sleep(3 * time.Second)
		n.mustEnd()

		signed := rosterChange(t, e, next, root)
		q := &publish.ChangeRequest{Register: store.process(nil), Bucket: store.process(nil), Election: e.Election, Note: signed, Roster: next}
		if err := q.Send(t.Context()); err != nil {
			t.Fatal(err)
		}
		n = begin(t, b, store.process(func(n int, key string) fault {
			keys = append(keys, key)
			if decide != nil {
				return decide(n, key)
			}
			return works
		}), newViewer(t, store), rooted)
		time.Sleep(40 * time.Second)
		_ = n.end() // how a dead process ended does not matter
		checkVerified(t, store, e)

		again := begin(t, b, store.process(nil), newViewer(t, store), rooted)
		time.Sleep(40 * time.Second)
		again.mustFinish()
		again.mustEnd()
		if got := string(store.must(schemas.RosterKey)); got != string(next) {
			t.Errorf("the roster in force is\n%s", got)
		}
		c, err := log.PeekCheckpoint(store.must(log.CheckpointKey))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for entry, err := range log.NewReader(store, c.Tree).Entries(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			if l, err := leaf.Decode(entry.Leaf); err == nil && l.Kind() == leaf.KindRoster {
				found++
			}
		}
		if found != 1 {
			t.Errorf("the change stands %d times in the log", found)
		}
		mustVerify(t, store, e)
		return keys
	}
	var keys []string
	synctest.Test(t, func(t *testing.T) { keys = night(t, nil) })
	if !slices.Contains(keys, schemas.RosterKey) {
		t.Fatalf("the change is not written: %q", keys)
	}
	for _, f := range []fault{crash, crashed} {
		for _, at := range faultsAt(keys) {
			synctest.Test(t, func(t *testing.T) {
				night(t, func(n int, _ string) fault {
					if n == at {
						return f
					}
					return works
				})
			})
		}
	}
}
