package verify_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// forger is somebody who holds a copy of what is published, and the
// publisher's key: whatever can be signed again is.
type forger struct {
	t testing.TB
	site
	n      *night
	leaves [][]byte
	signer note.Signer // of checkpoints and snapshots
	// change changes snapshots before they are signed again.
	change func(*schemas.Snapshot)
}

func newForger(t testing.TB, n *night) *forger {
	f := &forger{t: t, site: maps.Clone(n.late), n: n, signer: signerOf(origin), change: func(*schemas.Snapshot) {}}
	if n.leaves == nil {
		n.leaves = leavesOf(t, n.late)
	}
	f.leaves = slices.Clone(n.leaves)
	return f
}

func leavesOf(t testing.TB, s site) (out [][]byte) {
	c, err := log.PeekCheckpoint(s[log.CheckpointKey])
	if err != nil {
		t.Fatal(err)
	}
	for x, err := range log.NewReader(s, c.Tree).Entries(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, bytes.Clone(x.Leaf))
	}
	return out
}

func (f *forger) decode(i int) leaf.Leaf {
	l, err := leaf.Decode(f.leaves[i])
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

func (f *forger) encode(l leaf.Leaf) []byte {
	b, err := leaf.Append(nil, l)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// find is the index of the first leaf, from one on, that is wanted.
func (f *forger) find(from int, wanted func(leaf.Leaf) bool) int {
	for i := from; i < len(f.leaves); i++ {
		if wanted(f.decode(i)) {
			return i
		}
	}
	f.t.Fatal("no such leaf")
	return -1
}

func (f *forger) submission(unit schemas.UnitID, revision schemas.Revision) int {
	return f.find(0, func(l leaf.Leaf) bool {
		s, ok := l.(*leaf.Submission)
		return ok && s.Unit == unit && s.Revision == revision
	})
}

// hold is the index of a unit's hold.
func (f *forger) hold(code schemas.HoldCode, unit schemas.UnitID) int {
	return f.find(0, func(l leaf.Leaf) bool { h, ok := l.(*leaf.Hold); return ok && h.Code == code && h.Unit == unit })
}

// release is the index of a unit's release.
func (f *forger) release(unit schemas.UnitID) int {
	return f.find(0, func(l leaf.Leaf) bool { r, ok := l.(*leaf.Release); return ok && r.Unit == unit })
}

// entries counts those of a partition.
func (f *forger) entries(p schemas.Partition) (n uint64) {
	see := func(in schemas.Partition, seq uint64) {
		if in == p {
			n = max(n, seq)
		}
	}
	for i := range f.leaves {
		switch l := f.decode(i).(type) {
		case *leaf.Submission:
			see(l.Partition, l.Seq)
		case *leaf.Hold:
			see(l.Partition, l.Seq)
		case *leaf.Release:
			see(l.Partition, l.Seq)
		}
	}
	return n
}

// rerelease changes a unit's release.
func (f *forger) rerelease(unit schemas.UnitID, change func(r *leaf.Release)) {
	at := f.release(unit)
	r := f.decode(at).(*leaf.Release)
	change(r)
	f.leaves[at] = f.encode(r)
	f.relog()
}

// holdInstead makes a hold of a submission that counts.
func (f *forger) holdInstead(unit schemas.UnitID, revision schemas.Revision, code schemas.HoldCode) {
	at := f.submission(unit, revision)
	s := f.decode(at).(*leaf.Submission)
	f.leaves[at] = f.encode(&leaf.Hold{Code: code, Partition: s.Partition, Seq: s.Seq, Unit: s.Unit, Revision: s.Revision,
		Digest: s.Envelope.Digest, Bytes: uint64(len(s.Record)), Record: s.Record})
	f.recount(-1, 1, at).relog()
}

// countInstead makes a submission that counts of a hold.
func (f *forger) countInstead(code schemas.HoldCode, unit schemas.UnitID) {
	at := f.hold(code, unit)
	h := f.decode(at).(*leaf.Hold)
	f.leaves[at] = f.encode(&leaf.Submission{Outcome: schemas.EntryCounted, Partition: h.Partition, Seq: h.Seq, Unit: h.Unit, Revision: h.Revision, Record: h.Record})
	f.recount(1, -1, at).relog()
}

// resubmit puts another record into a submission's leaf.
func (f *forger) resubmit(i int, record []byte) {
	s := f.decode(i).(*leaf.Submission)
	s.Record = record
	f.leaves[i] = f.encode(s)
}

func verifierOf(t testing.TB, name string) note.Verifier {
	v, err := note.NewVerifier(keyOf(name))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// relog makes the whole log anew of the leaves: roots, snapshots and checkpoint
// fit each other, and are signed.
func (f *forger) relog() *forger {
	maps.DeleteFunc(f.site, func(key string, _ []byte) bool { return strings.HasPrefix(key, "tile/") })
	edge, previous, batch := new(log.Edge), schemas.Digest{}, [][]byte(nil)
	flush := func() {
		next, tiles, err := edge.Append(batch...)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, o := range tiles {
			f.site[o.Key] = o.Body
		}
		edge, batch = next, nil
	}
	for i, raw := range f.leaves {
		if l, err := leaf.Decode(raw); err == nil && l.Kind() == leaf.KindSnapshot {
			s, err := schemas.OpenSnapshot(l.(*leaf.Snapshot).Note, verifierOf(f.t, origin))
			if err != nil {
				f.t.Fatal(err)
			}
			flush()
			s.Log, s.Root, s.Previous = schemas.LogSize(i), schemas.Digest(edge.Tree().Hash), previous
			f.change(s)
			b, err := schemas.AppendNote(nil, s.AppendText(nil), f.signer)
			if err != nil {
				f.t.Fatal(err)
			}
			previous = schemas.DigestOf(b)
			f.site[schemas.SnapshotKey(s.Number)], f.site[schemas.LatestKey] = b, b
			f.leaves[i] = f.encode(&leaf.Snapshot{Note: b})
		}
		batch = append(batch, f.leaves[i])
	}
	flush()
	c := &log.Checkpoint{Origin: origin, Tree: edge.Tree()}
	b, err := c.Sign(f.signer)
	if err != nil {
		f.t.Fatal(err)
	}
	f.site[log.CheckpointKey] = b
	return f
}

// latest is the newest snapshot, as it was published.
func (f *forger) latest() *schemas.Snapshot {
	s, err := schemas.OpenSnapshot(f.n.late[schemas.LatestKey], verifierOf(f.t, origin))
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *forger) manifest() []schemas.ManifestEntry {
	entries, err := schemas.ParseManifest(f.site[schemas.ContentKey("manifests", f.latest().Manifest, ".ndjson")])
	if err != nil {
		f.t.Fatal(err)
	}
	return entries
}

func (f *forger) named(name string) *schemas.ManifestEntry {
	entries := f.manifest()
	i := slices.IndexFunc(entries, func(e schemas.ManifestEntry) bool { return e.Name == name })
	if i < 0 {
		f.t.Fatalf("the manifest does not name %s", name)
	}
	return &entries[i]
}

// replace changes an object in its place.
func (f *forger) replace(key string, change func([]byte) []byte) *forger {
	before, ok := f.site[key]
	if !ok {
		f.t.Fatalf("there is no %s", key)
	}
	if f.site[key] = change(bytes.Clone(before)); bytes.Equal(before, f.site[key]) {
		f.t.Fatalf("%s did not change", key)
	}
	return f
}

// remanifest has the newest snapshot sign another manifest.
func (f *forger) remanifest(change func([]schemas.ManifestEntry) []schemas.ManifestEntry) *forger {
	entries := change(f.manifest())
	slices.SortFunc(entries, func(a, b schemas.ManifestEntry) int { return cmp.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	for _, e := range entries {
		if err := json.NewEncoder(&b).Encode(e); err != nil {
			f.t.Fatal(err)
		}
	}
	digest := schemas.DigestOf(b.Bytes())
	f.site[schemas.ContentKey("manifests", digest, ".ndjson")] = b.Bytes()
	last, before := f.latest().Number, f.change
	f.change = func(s *schemas.Snapshot) {
		if before(s); s.Number == last {
			s.Manifest = digest
		}
	}
	return f
}

// republish puts another object under a name, and has the newest snapshot sign
// it.
func (f *forger) republish(name, kind, extension string, change func([]byte) []byte) *forger {
	old := f.named(name)
	b := change(bytes.Clone(f.site[old.Key]))
	e := *old
	e.Hash, e.Bytes = schemas.DigestOf(b), int64(len(b))
	if kind != "" {
		e.Key = schemas.ContentKey(kind, e.Hash, extension)
	} else {
		e.Key += ".forged"
	}
	f.site[e.Key] = b
	return f.remanifest(func(entries []schemas.ManifestEntry) []schemas.ManifestEntry {
		for i := range entries {
			if entries[i].Name == name {
				entries[i] = e
			}
		}
		return entries
	})
}

// oneMore adds one to the first digit below 9 behind a text.
func oneMore(behind string) func([]byte) []byte {
	return func(b []byte) []byte {
		at := bytes.Index(b, []byte(behind))
		if at < 0 {
			return b
		}
		for i := at + len(behind); i < len(b); i++ {
			if b[i] >= '0' && b[i] < '9' {
				b[i]++
				break
			}
		}
		return b
	}
}

// recount fits what snapshots say of their entries to the leaves.
func (f *forger) recount(accepted, held int64, from int) *forger {
	before := f.change
	f.change = func(s *schemas.Snapshot) {
		if before(s); int(s.Log) >= from {
			s.Accepted, s.Held = uint64(int64(s.Accepted)+accepted), uint64(int64(s.Held)+held)
		}
	}
	return f
}
