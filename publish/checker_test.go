package publish_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"tallystream/schemas"
)

// checkChain verifies a bucket from its public objects alone: numbers are
// dense, each snapshot names its predecessor's hash, latest is the last one,
// and everything that a snapshot names has the bytes that it says.
func checkChain(t testing.TB, b *strictBucket, e *election) []*schemas.Snapshot {
	t.Helper()
	var chain []*schemas.Snapshot
	var previous schemas.Digest
	var last []byte
	statements := uint64(0)
	for {
		note, err := b.Get(context.Background(), schemas.SnapshotKey(schemas.SnapshotNumber(len(chain)+1)))
		if err != nil {
			break
		}
		s, err := schemas.OpenSnapshot(note, e.verifier)
		if err != nil {
			t.Fatal(err)
		}
		if s.Number != schemas.SnapshotNumber(len(chain)+1) || s.Previous != previous || s.Origin != e.Definition.Origin {
			t.Fatalf("snapshot %d does not continue the chain: %+v", len(chain)+1, s)
		}
		// Besides entries there are the definition, the snapshots before, and
		// statements, which do not become fewer.
		if uint64(s.Log) < s.Entries()+uint64(s.Number) || len(chain) > 0 && uint64(s.Log)-s.Entries()-uint64(s.Number) < statements {
			t.Errorf("snapshot %d: log %d, accepted %d, held %d", s.Number, s.Log, s.Accepted, s.Held)
		}
		if len(chain) > 0 && s.Log <= chain[len(chain)-1].Log {
			t.Errorf("snapshot %d has no larger log than the one before", s.Number)
		}
		statements = uint64(s.Log) - s.Entries() - uint64(s.Number)
		checkManifest(t, b, s)
		previous, last = schemas.DigestOf(note), note
		chain = append(chain, s)
	}
	numbered := 0
	for _, k := range b.keys() {
		if strings.HasPrefix(k, "snapshots/") {
			numbered++
		}
	}
	if numbered != len(chain) {
		t.Errorf("%d snapshots lie in the bucket, %d of them in a row", numbered, len(chain))
	}
	if len(chain) > 0 && !bytes.Equal(b.must(schemas.LatestKey), last) {
		t.Errorf("latest is not snapshot %d", len(chain))
	}
	if logged := checkLog(t, b, e); logged != len(chain) {
		t.Errorf("the log has %d snapshots, the bucket %d", logged, len(chain))
	}
	return chain
}

func checkManifest(t testing.TB, b *strictBucket, s *schemas.Snapshot) {
	t.Helper()
	for _, m := range manifestOf(t, b, s) {
		body := b.must(m.Key)
		if schemas.DigestOf(body) != m.Hash || int64(len(body)) != m.Bytes {
			t.Errorf("snapshot %d: %s has other bytes than the manifest says", s.Number, m.Name)
		}
		if _, err := schemas.ParseDocumentID(m.Name); err == nil {
			checkDocument(t, m.Name, body)
		}
	}
}

func manifestOf(t testing.TB, b *strictBucket, s *schemas.Snapshot) []schemas.ManifestEntry {
	t.Helper()
	raw := b.must(schemas.ContentKey("manifests", s.Manifest, ".ndjson"))
	if schemas.DigestOf(raw) != s.Manifest {
		t.Fatalf("snapshot %d: manifest has another hash", s.Number)
	}
	entries, err := schemas.ParseManifest(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(entries, func(a, b schemas.ManifestEntry) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("snapshot %d: manifest is not sorted", s.Number)
	}
	return entries
}

// checkDocument checks that lines are readable, sorted by their bytes and each
// key stands once.
func checkDocument(t testing.TB, name string, body []byte) {
	t.Helper()
	var before []byte
	for line := range bytes.Lines(body) {
		key, err := schemas.LineKey(line)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := schemas.ParseLine(line); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if bytes.Compare(before, key) >= 0 {
			t.Errorf("%s: line %s stands after %s", name, key, before)
		}
		before = key
	}
}

// document reads a document as the latest snapshot has it.
func document(t testing.TB, b *strictBucket, e *election, name string) string {
	t.Helper()
	s, err := schemas.OpenSnapshot(b.must(schemas.LatestKey), e.verifier)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifestOf(t, b, s) {
		if m.Name == name {
			return string(b.must(m.Key))
		}
	}
	t.Fatalf("snapshot %d does not name %s", s.Number, name)
	return ""
}
