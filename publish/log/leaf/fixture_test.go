package leaf_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

const origin = "results.example.org/test"

// key makes a key pair of a name: the same each time.
func key(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	seed := sha256.Sum256([]byte("test key " + name))
	private, verifier, err := note.GenerateKey(bytes.NewReader(seed[:]), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

// record is a signed envelope around any body.
func record(t testing.TB, unit schemas.UnitID, revision schemas.Revision, body string) []byte {
	t.Helper()
	signer, _ := key(t, "leon.example.org/official")
	b, err := schemas.AppendEnvelope(nil, origin, unit, revision, []byte(body), signer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// released is a release that two supervisors signed.
func released(t testing.TB, unit schemas.UnitID, revision schemas.Revision, held schemas.Digest) []byte {
	t.Helper()
	one, _ := key(t, "sup/1")
	two, _ := key(t, "sup/2")
	b, err := schemas.AppendRelease(nil, origin, unit, revision, held, schemas.ReleaseChecked, "Held against the tape.", one, two)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func submission(t testing.TB, body string) *leaf.Submission {
	return &leaf.Submission{Outcome: schemas.EntryCounted, Partition: 3, Seq: 17, Unit: "leon-001", Revision: 2, Record: record(t, "leon-001", 2, body)}
}

func signed(t testing.TB, text []byte, names ...string) []byte {
	t.Helper()
	var signers []note.Signer
	for _, name := range names {
		s, _ := key(t, name)
		signers = append(signers, s)
	}
	b, err := log.Sign(text, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func statement(t testing.TB, s *leaf.Statement) *leaf.Statement {
	s.Note = signed(t, s.AppendText(nil), "root.example/1", "root.example/2")
	return s
}

// all is one leaf of each kind, and more of those with two forms.
func all(t testing.TB) map[string]leaf.Leaf {
	t.Helper()
	_, root1 := key(t, "root.example/1")
	_, root2 := key(t, "root.example/2")
	_, logKey := key(t, origin)
	_, snapshotKey := key(t, origin+"/publish")
	digest := schemas.DigestOf([]byte("some file"))
	body := `{"counts":[1,2,3]}`
	sealed, err := leaf.Seal(submission(t, body), [leaf.SaltSize]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	held := record(t, "leon-001", 3, body)
	junk := []byte("\x00 no envelope at all\n\n")
	snapshot := schemas.Snapshot{Origin: origin, Number: 12, Log: 40225, Root: digest, Manifest: digest, Accepted: 40200, Held: 13, Time: "2026-11-03T21:04:05.123Z"}
	pause := &leaf.Pause{Origin: origin, Time: "2026-11-03T23:10:00.000Z", Reason: "books-differ", Text: "The two books differ in León; we look into it."}
	pause.Note = signed(t, pause.AppendText(nil), origin+"/publish")
	resume := &leaf.Pause{Resumed: true, Origin: origin, Time: "2026-11-03T23:20:00.000Z", Reason: "found", Text: "A cable."}
	resume.Note = signed(t, resume.AppendText(nil), origin+"/publish")
	roster := leaf.NewStatement(leaf.KindRoster, origin, 1)
	roster.File = leaf.File{Digest: digest, Bytes: 900}
	change := leaf.NewStatement(leaf.KindKey, origin, 2)
	change.Change, change.Key = leaf.AddKey, leaf.RoleKey{Role: leaf.SnapshotKey, Key: snapshotKey}
	roots := leaf.NewStatement(leaf.KindRoots, origin, 3)
	roots.Threshold, roots.Roots = 2, []string{root1, root2}
	amendment := leaf.NewStatement(leaf.KindAmendment, origin, 4)
	amendment.File = leaf.File{Digest: digest, Bytes: 901}
	release := released(t, "leon-001", 3, schemas.DigestOf([]byte(body)))
	return map[string]leaf.Leaf{
		"definition": &leaf.Definition{
			Origin: origin, Election: "test", Definition: leaf.File{Digest: digest, Bytes: 7}, Roster: leaf.File{Digest: digest, Bytes: 8},
			Threshold: 1, Roots: []string{root1, root2}, Keys: []leaf.RoleKey{{Role: leaf.LogKey, Key: logKey}, {Role: leaf.SnapshotKey, Key: snapshotKey}},
		},
		"definition without roots": &leaf.Definition{
			Origin: origin, Election: "test", Definition: leaf.File{Digest: digest, Bytes: 7}, Roster: leaf.File{Digest: digest, Bytes: 8},
		},
		"submission":     submission(t, body),
		"superseded":     &leaf.Submission{Outcome: schemas.EntrySuperseded, Seq: 1, Unit: "leon-001", Revision: 1, Record: record(t, "leon-001", 1, body)},
		"sealed":         sealed,
		"sealed hold":    &leaf.Sealed{Outcome: schemas.EntryHeld, Code: schemas.HoldLowered, Partition: 3, Seq: 22, Unit: "leon-001", Revision: 3, Commitment: digest},
		"sealed poison":  &leaf.Sealed{Outcome: schemas.EntryHeld, Code: schemas.HoldPoison, Partition: 3, Seq: 23, Commitment: digest},
		"sealed release": &leaf.Sealed{Outcome: schemas.EntryReleased, Hold: 22, Partition: 3, Seq: 24, Unit: "leon-001", Revision: 3, Commitment: digest},
		"hold": &leaf.Hold{Code: schemas.HoldLowered, Partition: 3, Seq: 18, Unit: "leon-001", Revision: 3,
			Digest: schemas.DigestOf([]byte(body)), Bytes: uint64(len(held)), Record: held},
		"poison":           &leaf.Hold{Code: schemas.HoldPoison, Partition: 3, Seq: 19, Digest: schemas.DigestOf(junk), Bytes: uint64(len(junk)), Record: junk},
		"poison too large": &leaf.Hold{Code: schemas.HoldPoison, Partition: 3, Seq: 20, Digest: digest, Bytes: 1 << 20},
		"release":          &leaf.Release{Outcome: schemas.EntryReleased, Partition: 3, Seq: 21, Unit: "leon-001", Revision: 3, Hold: 18, Note: release},
		"lapsed":           &leaf.Release{Outcome: schemas.EntryLapsed, Partition: 3, Seq: 22, Unit: "leon-001", Revision: 3, Hold: 18, Note: release},
		"release of nothing": &leaf.Hold{Code: schemas.HoldRelease, Partition: 3, Seq: 23, Unit: "leon-001", Revision: 3,
			Digest: schemas.DigestOf([]byte(body)), Bytes: uint64(len(release)), Record: release},
		"roster": statement(t, roster), "key": statement(t, change), "roots": statement(t, roots), "amendment": statement(t, amendment),
		"pause": pause, "resume": resume,
		"snapshot": &leaf.Snapshot{Note: signed(t, snapshot.AppendText(nil), origin+"/publish")},
	}
}
