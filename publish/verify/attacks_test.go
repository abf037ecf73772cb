package verify_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/publish/verify"
	"tallystream/schemas"
)

// attack changes what is published. Unless it says otherwise the attacker is
// the publisher itself: everything that its key can sign is signed again.
type attack struct {
	name string
	do   func(f *forger)
	// by is the check that must find it, and says what its message must have.
	by   verify.Check
	says string

	state bool // the reader has verified the true night before
	all   bool // the reader looks at every snapshot
	key   string
}

var correctly = &schemas.Correction{Reason: schemas.CorrectEquipment, Text: "A scanner counted twice."}

var attacks = []attack{
	// Files changed by somebody without a key: a cache, a mirror, a disk.
	{name: "one vote in a document", by: verify.CheckDocument, says: "votes of smith", do: func(f *forger) {
		f.replace(f.named("contest/president").Key, oneMore(`"smith":[`))
	}},
	{name: "one vote in a leaf", by: verify.CheckTree, says: "in tile/entries/000: does not lead", do: func(f *forger) {
		f.replace("tile/entries/000", oneMore(`"ballots":[`))
	}},
	{name: "two leaves swapped in their bundle", by: verify.CheckTree, says: "in tile/entries/000: does not lead", do: func(f *forger) {
		f.leaves[1], f.leaves[2] = f.leaves[2], f.leaves[1]
		f.replace("tile/entries/000", func([]byte) (b []byte) {
			for _, l := range f.leaves[:log.TileWidth] {
				b, _ = log.AppendEntry(b, l)
			}
			return b
		})
	}},
	{name: "a truncated tile", by: verify.CheckTree, says: "want 256 hashes", do: func(f *forger) {
		f.replace("tile/0/000", func(b []byte) []byte { return b[:len(b)-32] })
	}},
	{name: "another tile in its place", by: verify.CheckTree, says: "does not lead to the root", do: func(f *forger) {
		f.replace("tile/0/000", func(b []byte) []byte { b[40] ^= 1; return b })
	}},
	{name: "a cut-off entry bundle", by: verify.CheckTree, says: "tile/entries/000", do: func(f *forger) {
		f.replace("tile/entries/000", func(b []byte) []byte { return b[:len(b)/2] })
	}},
	{name: "an entry bundle taken away", by: verify.CheckTree, says: "no such object", do: func(f *forger) { delete(f.site, "tile/entries/000") }},
	{name: "one vote in a CSV file", by: verify.CheckFile, says: "results.csv", do: func(f *forger) {
		f.replace(f.named("results.csv").Key, oneMore("president,smith,early,"))
	}},
	{name: "a county's unit lines", by: verify.CheckFile, says: "units/oak", do: func(f *forger) {
		f.replace(f.named("units/oak").Key, oneMore(`"yes":[`))
	}},
	{name: "a document taken away", by: verify.CheckDocument, says: "is not there", do: func(f *forger) { delete(f.site, f.named("county/oak").Key) }},
	{name: "a manifest that names another document", by: verify.CheckManifest, says: "is not what snapshot", do: func(f *forger) {
		f.replace(schemas.ContentKey("manifests", f.latest().Manifest, ".ndjson"), func(b []byte) []byte {
			return bytes.Replace(b, []byte(f.named("county/oak").Hash.String()), []byte(f.named("county/fir").Hash.String()), 1)
		})
	}},
	{name: "a tampered roster", by: verify.CheckAuthority, says: "rosters/", do: func(f *forger) {
		f.replace(f.named(schemas.RosterKey).Key, func(b []byte) []byte {
			return bytes.Replace(b, []byte(keyOf("official.oak")), []byte(keyOf("intruder")), 1)
		})
	}},
	{name: "a roster that is not the one in force", by: verify.CheckAuthority, says: "is not the roster in force", do: func(f *forger) {
		f.replace(schemas.RosterKey, func(b []byte) []byte { return append(b, '\n') })
	}},
	{name: "a changed definition", by: verify.CheckAuthority, says: "definition.json", do: func(f *forger) {
		f.replace(schemas.DefinitionKey, func(b []byte) []byte { return bytes.Replace(b, []byte("Smith"), []byte("Smyth"), 1) })
	}},
	{name: "another snapshot under a number", by: verify.CheckChain, says: "two have one number", do: func(f *forger) {
		f.site[schemas.SnapshotKey(3)] = f.site[schemas.SnapshotKey(4)]
	}},

	// The publisher itself, with its key, and a log that fits.
	{name: "one vote in a document, signed", by: verify.CheckDocument, says: "votes of smith", do: func(f *forger) {
		f.republish("contest/president", "documents", ".ndjson", oneMore(`"smith":[`)).relog()
	}},
	{name: "one vote in the election's totals, signed", by: verify.CheckDocument, says: "the log gives", do: func(f *forger) {
		f.republish("election", "documents", ".ndjson", oneMore(`"jones":[`)).relog()
	}},
	{name: "a changed CSV, signed", by: verify.CheckFile, says: "the log gives", do: func(f *forger) {
		f.republish("csv/ash.csv", "", "", oneMore("president,jones,early,")).relog()
	}},
	{name: "an unlogged submission in the totals", by: verify.CheckDocument, says: "county/fir: snapshot", do: func(f *forger) {
		at := f.submission("fir.4", 48)
		f.leaves = slices.Delete(f.leaves, at, at+1)
		f.recount(-1, 0, at).relog()
	}},
	{name: "a manifest that names another document, signed", by: verify.CheckDocument, says: "county/oak", do: func(f *forger) {
		f.remanifest(func(entries []schemas.ManifestEntry) []schemas.ManifestEntry {
			fir := *f.named("county/fir")
			for i := range entries {
				if entries[i].Name == "county/oak" {
					fir.Name = entries[i].Name
					entries[i] = fir
				}
			}
			return entries
		}).relog()
	}},
	{name: "a document left out, signed", by: verify.CheckManifest, says: "does not name this document", do: func(f *forger) {
		f.remanifest(func(entries []schemas.ManifestEntry) []schemas.ManifestEntry {
			return slices.DeleteFunc(entries, func(e schemas.ManifestEntry) bool { return e.Name == "county/oak" })
		}).relog()
	}},
	{name: "a manifest that leads out of the bucket, signed", by: verify.CheckFile, says: "is no key", do: func(f *forger) {
		f.remanifest(func(entries []schemas.ManifestEntry) []schemas.ManifestEntry {
			for i := range entries {
				if entries[i].Name == "results.csv" {
					entries[i].Key = "../elsewhere/results.csv"
				}
			}
			return entries
		}).relog()
	}},
	{name: "wrong totals for an hour only", by: verify.CheckDocument, says: "snapshot", all: true, do: func(f *forger) {
		before := f.change
		f.change = func(s *schemas.Snapshot) {
			if before(s); s.Number == 5 { // shows what 10 shows
				other, err := schemas.OpenSnapshot(f.n.late[schemas.SnapshotKey(10)], verifierOf(f.t, origin))
				if err != nil {
					f.t.Fatal(err)
				}
				s.Manifest = other.Manifest
			}
		}
		f.relog()
	}},
	{name: "one vote in a leaf, log made anew", by: verify.CheckSignature, says: "does not verify", do: func(f *forger) {
		at := f.submission("oak.2", 48)
		u, _ := f.n.election.Unit("oak.2")
		own := f.decode(at).(*leaf.Submission).Record
		// The official's signature line on another text.
		changed := envelope(f.n.election, "oak.2", 48, oneVoteMore(numbers(f.n.election, u, 24)), nil, "official.oak")
		f.resubmit(at, withSignaturesOf(changed, own))
		f.relog()
	}},
	{name: "a leaf dropped", by: verify.CheckLeaf, says: "entries are missing", do: func(f *forger) {
		at := f.submission("oak.3", 10)
		f.leaves = slices.Delete(f.leaves, at, at+1)
		f.recount(-1, 0, at).relog()
	}},
	{name: "a leaf added that stands there already", by: verify.CheckDecision, says: "must stand in the log once", do: func(f *forger) {
		at := f.submission("oak.3", 10)
		f.leaves = slices.Insert(f.leaves, at+1, f.leaves[at])
		f.recount(1, 0, at+1).relog()
	}},
	{name: "two leaves swapped, log made anew", by: verify.CheckLeaf, says: "out of order", do: func(f *forger) {
		a, b := f.submission("oak.2", 8), f.submission("oak.3", 8)
		f.leaves[a], f.leaves[b] = f.leaves[b], f.leaves[a]
		f.relog()
	}},
	{name: "a superseded submission that counts", by: verify.CheckDecision, says: "by the rules it is superseded", do: func(f *forger) {
		f.outcome(f.submission("oak.1", 3), schemas.EntryCounted)
	}},
	{name: "a counted submission put aside", by: verify.CheckDecision, says: "by the rules it is counted", do: func(f *forger) {
		f.outcome(f.submission("ash.2", 48), schemas.EntrySuperseded)
	}},
	{name: "a held submission that counts", by: verify.CheckDecision, says: "by the rules it is held (count-lowered)", do: func(f *forger) {
		f.countInstead(schemas.HoldLowered, "oak.1")
	}},
	{name: "an outlier that counts", by: verify.CheckDecision, says: "is counted in the log, by the rules it is held (outlier)", do: func(f *forger) {
		f.countInstead(schemas.HoldOutlier, "ash.1")
	}},
	{name: "a twin that counts", by: verify.CheckDecision, says: "is counted in the log, by the rules it is held (same-as-another)", do: func(f *forger) {
		f.countInstead(schemas.HoldTwin, "ash.2")
	}},
	{name: "a hold for no reason", by: verify.CheckDecision, says: "is held (identity-broken) in the log, by the rules it is counted", do: func(f *forger) {
		f.holdInstead("fir.1", 48, schemas.HoldIdentity)
	}},
	{name: "a hold as an outlier that is none", by: verify.CheckDecision, says: "is held (outlier) in the log, by the rules it is counted", do: func(f *forger) {
		f.holdInstead("fir.4", 48, schemas.HoldOutlier)
	}},
	{name: "a hold as a twin that has none", by: verify.CheckDecision, says: "is held (same-as-another) in the log, by the rules it is counted", do: func(f *forger) {
		f.holdInstead("fir.4", 48, schemas.HoldTwin)
	}},

	// Releases.
	{name: "a release by one supervisor", by: verify.CheckSignature, says: "unit fir.1 revision 50: want signatures by two supervisors", do: func(f *forger) {
		f.rerelease("fir.1", func(r *leaf.Release) { r.Note = releaseOf("fir.1", 50, r.Release.Digest, "supervisor.1", "intruder") })
	}},
	{name: "a release with one signature", by: verify.CheckDecision, says: "fewer signatures than it needs", do: func(f *forger) {
		f.rerelease("fir.1", func(r *leaf.Release) { r.Note = releaseOf("fir.1", 50, r.Release.Digest, "supervisor.1") })
	}},
	{name: "a release by the same supervisor twice", by: verify.CheckSignature, says: "unit fir.1 revision 50: want signatures by two supervisors", do: func(f *forger) {
		f.rerelease("fir.1", func(r *leaf.Release) {
			r.Note = releaseOf("fir.1", 50, r.Release.Digest, "supervisor.1", "supervisor.1")
		})
	}},
	{name: "a release by an official", by: verify.CheckSignature, says: "this key is known and may not sign this", do: func(f *forger) {
		f.rerelease("fir.1", func(r *leaf.Release) {
			r.Note = releaseOf("fir.1", 50, r.Release.Digest, "official.fir", "supervisor.1")
		})
	}},
	{name: "a release by a supervisor whose key was revoked", by: verify.CheckSignature, says: "unit fir.1 revision 50: want signatures by two supervisors", do: func(f *forger) {
		f.root()
		f.leaves = slices.Insert(f.leaves, f.release("fir.1"), f.statement(1, leaf.RevokeKey, leaf.RosterKey, keyOf("supervisor.2")))
		f.relog()
	}},
	{name: "a release with another's text", by: verify.CheckSignature, says: "does not verify", do: func(f *forger) {
		f.rerelease("fir.1", func(r *leaf.Release) { r.Note = bytes.Replace(r.Note, []byte("tape"), []byte("tope"), 1) })
	}},
	{name: "a release of another digest", by: verify.CheckDecision, says: "is released in the log, by the rules it is held (release-of-nothing)", do: func(f *forger) {
		f.rerelease("fir.1", func(r *leaf.Release) {
			r.Note = releaseOf("fir.1", 50, schemas.DigestOf([]byte("other")), "supervisor.1", "supervisor.2")
		})
	}},
	{name: "a release that names another entry", by: verify.CheckDecision, says: ", of entry ", do: func(f *forger) {
		f.rerelease("fir.1", func(r *leaf.Release) { r.Hold-- })
	}},
	{name: "a release without a reason", by: verify.CheckLeaf, says: "/release/reason", do: func(f *forger) {
		at := f.release("fir.1")
		r := f.decode(at).(*leaf.Release)
		text, _, _ := bytes.Cut(r.Note, []byte("\n\n"))
		text = append(bytes.Replace(text, []byte("reason checked\n"), nil, 1), '\n')
		note, err := schemas.AppendNote(nil, text, signerOf("supervisor.1"), signerOf("supervisor.2"))
		if err != nil {
			f.t.Fatal(err)
		}
		head, _, _ := bytes.Cut(f.leaves[at], []byte("bytes "))
		f.leaves[at] = append(fmt.Appendf(bytes.Clone(head), "bytes %d\n\n", len(note)), note...)
		f.relog()
	}},
	{name: "a replayed release", by: verify.CheckDecision, says: "unit fir.1 revision 50 was released before", do: func(f *forger) {
		r := f.decode(f.release("fir.1")).(*leaf.Release)
		r.Seq = f.entries(r.Partition) + 1
		f.leaves = append(f.leaves, f.encode(r))
		f.relog()
	}},
	{name: "a release dropped", by: verify.CheckLeaf, says: "entries are missing", do: func(f *forger) {
		at := f.release("fir.1")
		f.leaves = slices.Delete(f.leaves, at, at+1)
		f.recount(-1, 0, at).relog()
	}},
	{name: "a release put aside", by: verify.CheckDecision, says: "is held (release-of-nothing) in the log, by the rules it is released", do: func(f *forger) {
		at := f.release("fir.1")
		r := f.decode(at).(*leaf.Release)
		f.leaves[at] = f.encode(&leaf.Hold{Code: schemas.HoldRelease, Partition: r.Partition, Seq: r.Seq, Unit: r.Unit, Revision: r.Revision,
			Digest: r.Release.Digest, Bytes: uint64(len(r.Note)), Record: r.Note})
		f.recount(-1, 1, at).relog()
	}},
	{name: "a release that is said to have lapsed", by: verify.CheckDecision, says: "is lapsed in the log, by the rules it is released", do: func(f *forger) {
		f.rerelease("fir.1", func(r *leaf.Release) { r.Outcome = schemas.EntryLapsed })
	}},
	{name: "a lapsed release that counts", by: verify.CheckDecision, says: "is released in the log, by the rules it is lapsed", do: func(f *forger) {
		f.rerelease("oak.1", func(r *leaf.Release) { r.Outcome = schemas.EntryReleased })
	}},

	// Numbers that fell, and what is held.
	{name: "a fallen number without a movement", by: verify.CheckDocument, says: "says corrections 0, the log gives 1", do: func(f *forger) {
		f.republish("county/fir", "documents", ".ndjson", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`,"corrections":1`), nil) }).relog()
	}},
	{name: "a correction too many in a line", by: verify.CheckDocument, says: "the log gives", do: func(f *forger) {
		f.republish("contest/president", "documents", ".ndjson", oneMore(`"corrections":`)).relog()
	}},
	{name: "a movement left out", by: verify.CheckDocument, says: "corrections.ndjson: snapshot", do: func(f *forger) {
		f.republish(schemas.CorrectionsName, "corrections", ".ndjson", func(b []byte) []byte { _, rest, _ := bytes.Cut(b, []byte{'\n'}); return rest }).relog()
	}},
	{name: "a movement by less", by: verify.CheckDocument, says: "corrections.ndjson: snapshot", do: func(f *forger) {
		f.republish(schemas.CorrectionsName, "corrections", ".ndjson", oneMore(`"after":`)).relog()
	}},
	{name: "a movement with another reason", by: verify.CheckDocument, says: "corrections.ndjson: snapshot", do: func(f *forger) {
		f.republish(schemas.CorrectionsName, "corrections", ".ndjson", func(b []byte) []byte { return bytes.Replace(b, []byte(`"equipment"`), []byte(`"recount"`), 1) }).relog()
	}},
	{name: "a movement signed by others", by: verify.CheckDocument, says: "corrections.ndjson: snapshot", do: func(f *forger) {
		f.republish(schemas.CorrectionsName, "corrections", ".ndjson", func(b []byte) []byte { return bytes.Replace(b, []byte(`"supervisor.1"`), []byte(`"supervisor.3"`), 1) }).relog()
	}},
	{name: "a hold said to be open", by: verify.CheckDocument, says: "holds.ndjson: snapshot", do: func(f *forger) {
		f.republish(schemas.HoldsName, "holds", ".ndjson", func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"state":"released"`), []byte(`"state":"open"`), 1)
		}).relog()
	}},
	{name: "a hold with other figures", by: verify.CheckDocument, says: "holds.ndjson: snapshot", do: func(f *forger) {
		f.republish(schemas.HoldsName, "holds", ".ndjson", oneMore(`"against":`)).relog()
	}},
	{name: "a hold as another's twin", by: verify.CheckDocument, says: "holds.ndjson: snapshot", do: func(f *forger) {
		f.republish(schemas.HoldsName, "holds", ".ndjson", oneMore(`"twin":"ash.`)).relog()
	}},
	{name: "a hold left out", by: verify.CheckDocument, says: "holds.ndjson: snapshot", do: func(f *forger) {
		f.republish(schemas.HoldsName, "holds", ".ndjson", func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }).relog()
	}},
	{name: "the list of corrections left out", by: verify.CheckManifest, says: "corrections.ndjson: snapshot", do: func(f *forger) {
		f.remanifest(func(entries []schemas.ManifestEntry) []schemas.ManifestEntry {
			return slices.DeleteFunc(entries, func(e schemas.ManifestEntry) bool { return e.Name == schemas.CorrectionsName })
		}).relog()
	}},
	{name: "a list of corrections that lies elsewhere, changed", by: verify.CheckDocument, says: "corrections.ndjson", do: func(f *forger) {
		f.replace(f.named(schemas.CorrectionsName).Key, oneMore(`"before":`))
	}},
	{name: "a submission by a stranger's key", by: verify.CheckSignature, says: "not in the roster", do: func(f *forger) { f.sign("oak.2", 20, nil, "intruder") }},
	{name: "a submission by another county's official", by: verify.CheckSignature, says: "may not sign this", do: func(f *forger) { f.sign("oak.2", 20, nil, "official.ash") }},
	{name: "a correction by one supervisor", by: verify.CheckSignature, says: "two supervisors", do: func(f *forger) {
		f.sign("oak.2", 20, correctly, "supervisor.1", "intruder")
	}},
	{name: "a correction by the same supervisor twice", by: verify.CheckSignature, says: "two supervisors", do: func(f *forger) {
		f.sign("oak.2", 20, correctly, "supervisor.1", "supervisor.1")
	}},
	{name: "a correction by an official", by: verify.CheckSignature, says: "two supervisors", do: func(f *forger) {
		f.sign("oak.2", 20, correctly, "official.oak", "supervisor.1")
	}},
	{name: "a correction without a reason", by: verify.CheckDecision, says: "reason", do: func(f *forger) {
		f.sign("oak.2", 20, &schemas.Correction{Text: "Because."}, "supervisor.1", "supervisor.2")
	}},
	{name: "two snapshots with one number, logged", by: verify.CheckChain, says: "has the number 4, want 5", do: func(f *forger) {
		f.change = func(s *schemas.Snapshot) {
			if s.Number == 5 {
				s.Number = 4
			}
		}
		f.relog()
	}},
	{name: "a snapshot that names another before it", by: verify.CheckChain, says: "as the snapshot before it", do: func(f *forger) {
		f.change = func(s *schemas.Snapshot) {
			if s.Number == 5 {
				s.Previous[0] ^= 1
			}
		}
		f.relog()
	}},
	{name: "a snapshot of another log", by: verify.CheckChain, says: "commits to a log", do: func(f *forger) {
		f.change = func(s *schemas.Snapshot) {
			if s.Number == 5 {
				s.Root[0] ^= 1
			}
		}
		f.relog()
	}},
	{name: "a snapshot back in time", by: verify.CheckChain, says: "before the one before it", do: func(f *forger) {
		f.change = func(s *schemas.Snapshot) {
			if s.Number == 5 {
				s.Time = "1999-12-31T23:59:59.000Z"
			}
		}
		f.relog()
	}},
	{name: "a snapshot that hides a hold", by: verify.CheckChain, says: "accepted and", do: func(f *forger) { f.recount(0, -1, len(f.leaves)-1).relog() }},

	// Histories and keys.
	{name: "rolled back to an old snapshot", by: verify.CheckState, says: "rolled back", state: true, do: func(f *forger) { f.site = f.n.early }},
	{name: "latest alone rolled back", by: verify.CheckChain, says: "an old one", do: func(f *forger) {
		f.site[schemas.LatestKey] = f.site[schemas.SnapshotKey(4)]
	}},
	{name: "the log forked for one reader", by: verify.CheckState, says: "forked", state: true, do: func(f *forger) {
		u, _ := f.n.election.Unit("oak.2")
		f.resubmit(f.submission("oak.2", 48), envelope(f.n.election, "oak.2", 48, numbers(f.n.election, u, 24), nil, "official.oak", "official.oak"))
		f.relog()
	}},
	{name: "the publisher's key replaced", by: verify.CheckCheckpoint, says: "checkpoint", do: func(f *forger) {
		f.signer = namedAs("thief")
		f.relog()
	}},
	{name: "the publisher's key replaced, for who trusted the first", by: verify.CheckCheckpoint, says: "checkpoint", state: true, do: func(f *forger) {
		f.signer = namedAs("thief")
		f.site["config.json"] = []byte(`{"key":"` + keyAs("thief") + `"}`)
		f.relog()
	}},
	{name: "signed by a key that the log does not name", by: verify.CheckAuthority, says: "no key that the log itself puts in force", key: "thief", do: func(f *forger) {
		f.signer = namedAs("thief")
		f.relog()
	}},
	{name: "signed again with a revoked key", by: verify.CheckAuthority, says: "no key that the log itself puts in force", do: func(f *forger) {
		f.root()
		f.state(1, leaf.AddKey, leaf.LogKey, keyAs("next"))
		f.state(2, leaf.RevokeKey, leaf.LogKey, keyOf(origin))
		f.relog()
	}},
	{name: "a submission by a revoked official", by: verify.CheckSignature, says: "not in the roster", do: func(f *forger) {
		f.root()
		at := f.submission("oak.1", 40)
		f.leaves = slices.Insert(f.leaves, at, f.statement(1, leaf.RevokeKey, leaf.RosterKey, keyOf("official.oak")))
		f.relog()
	}},
	{name: "a roster changed by one root key of two", by: verify.CheckAuthority, says: "too few root keys", do: func(f *forger) {
		f.root()
		d := f.decode(0).(*leaf.Definition)
		d.Threshold, d.Roots = 2, []string{keyOf("root"), keyOf("root.2")}
		f.leaves[0] = f.encode(d)
		s := leaf.NewStatement(leaf.KindRoster, origin, 1)
		next := rosterWith("official.oak/2")
		s.File = leaf.File{Digest: schemas.DigestOf(next), Bytes: uint64(len(next))}
		s.Note = signedChange(s, "root")
		f.leaves = append(f.leaves, f.encode(s))
		f.relog()
	}},
	{name: "a number that moves in a pause", by: verify.CheckPause, says: "counts while publication is paused", do: func(f *forger) {
		f.leaves = slices.Insert(f.leaves, f.submission("oak.1", 40), f.pause(false, origin))
		f.relog()
	}},
	{name: "a pause that nobody of ours signed", by: verify.CheckPause, says: "is not signed by a key", do: func(f *forger) {
		f.leaves = append(f.leaves, f.pause(false, "intruder"))
		f.relog()
	}},
	{name: "the end of a pause that there was not", by: verify.CheckPause, says: "states what is so already", do: func(f *forger) {
		f.leaves = append(f.leaves, f.pause(true, origin))
		f.relog()
	}},
	{name: "a key revoked without the root keys", by: verify.CheckAuthority, says: "too few root keys", do: func(f *forger) {
		f.root()
		s := leaf.NewStatement(leaf.KindKey, origin, 1)
		s.Change, s.Key = leaf.RevokeKey, leaf.RoleKey{Role: leaf.RosterKey, Key: keyOf("official.oak")}
		s.Note, _ = log.Sign(s.AppendText(nil), signerOf("intruder"))
		f.leaves = append(f.leaves, f.encode(s))
		f.relog()
	}},
}

// namedAs is another key by the origin's name.
func namedAs(who string) note.Signer { s, _ := named(who); return s }

func keyAs(who string) string { _, v := named(who); return v }

func named(who string) (note.Signer, string) {
	private, verifier, err := note.GenerateKey(strings.NewReader(strings.Repeat(who, 32)), origin)
	if err != nil {
		panic(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		panic(err)
	}
	return s, verifier
}

func oneVoteMore(cells []schemas.Count) []schemas.Count {
	cells[len(cells)-1]++
	return cells
}

// withSignaturesOf puts the signature lines of one envelope on the text of
// another.
func withSignaturesOf(text, lines []byte) []byte {
	a, b := bytes.SplitN(text, []byte("\n\n"), 3), bytes.SplitN(lines, []byte("\n\n"), 3)
	return bytes.Join([][]byte{a[0], b[1], a[2]}, []byte("\n\n"))
}

// outcome changes what became of a submission, and logs that.
func (f *forger) outcome(at int, kind schemas.EntryKind) {
	s := f.decode(at).(*leaf.Submission)
	s.Outcome = kind
	f.leaves[at] = f.encode(s)
	f.relog()
}

// sign has somebody else sign the same numbers.
func (f *forger) sign(unit schemas.UnitID, revision int, c *schemas.Correction, by ...string) {
	u, _ := f.n.election.Unit(unit)
	f.resubmit(f.submission(unit, schemas.Revision(revision)),
		envelope(f.n.election, unit, revision, numbers(f.n.election, u, revision/2), c, by...))
	f.relog()
}

// pause is the leaf of a pause, or of its end.
func (f *forger) pause(resumed bool, by string) []byte {
	l := &leaf.Pause{Resumed: resumed, Origin: origin, Time: "2000-01-01T00:00:00.000Z", Reason: "court-order", Text: "A court ordered it."}
	var err error
	if l.Note, err = schemas.AppendNote(nil, l.AppendText(nil), signerOf(by)); err != nil {
		f.t.Fatal(err)
	}
	return f.encode(l)
}

// root gives the election a root key from the first leaf on.
func (f *forger) root() {
	d := f.decode(0).(*leaf.Definition)
	d.Threshold, d.Roots = 1, []string{keyOf("root")}
	f.leaves[0] = f.encode(d)
}

func (f *forger) statement(number uint64, change leaf.Change, role leaf.KeyRole, key string) []byte {
	s := leaf.NewStatement(leaf.KindKey, origin, number)
	s.Change, s.Key = change, leaf.RoleKey{Role: role, Key: key}
	var err error
	if s.Note, err = log.Sign(s.AppendText(nil), signerOf("root")); err != nil {
		f.t.Fatal(err)
	}
	return f.encode(s)
}

func (f *forger) state(number uint64, change leaf.Change, role leaf.KeyRole, key string) {
	f.leaves = append(f.leaves, f.statement(number, change, role, key))
}

// TestAttacks prints the table with -v.
func TestAttacks(t *testing.T) {
	t.Parallel()
	n := play(t)
	r, st := check(t, verify.Options{Source: n.late})
	if r.Verdict != verify.Verified {
		t.Fatal(print(r))
	}
	var table strings.Builder
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			f := newForger(t, n)
			a.do(f)
			o := verify.Options{Source: f.site, All: a.all}
			if a.state {
				o.State = st
			}
			if a.key != "" {
				o.Key = keyAs(a.key)
			}
			r, next := check(t, o)
			if r.Verdict != verify.Failed || next != nil {
				t.Fatalf("not detected:\n%s", print(r))
			}
			for i := range r.Findings {
				if x := &r.Findings[i]; x.Check == a.by && strings.Contains(x.String(), a.says) {
					fmt.Fprintf(&table, "| %s | %s | %s: %s |\n", a.name, x.Check, x.Where, x.What)
					return
				}
			}
			t.Errorf("want %s with %q in\n%s", a.by, a.says, print(r))
		})
	}
	t.Logf("%d attacks\n| attack | detected by | message |\n|---|---|---|\n%s", len(attacks), table.String())
}

// TestTheForgersToolsForgeNothingByThemselves: a log that is made anew without a
// change verifies, so what attacks are found by is the attack.
func TestTheForgersToolsForgeNothingByThemselves(t *testing.T) {
	f := newForger(t, play(t))
	same := func(b []byte) []byte { return b }
	f.republish("contest/president", "documents", ".ndjson", same).republish("csv/ash.csv", "csv", ".csv", same).relog()
	if r, _ := check(t, verify.Options{Source: f.site}); r.Verdict != verify.Verified {
		t.Error(print(r))
	}
	f = newForger(t, play(t))
	f.root()
	f.state(1, leaf.AddKey, leaf.LogKey, keyAs("next"))
	f.relog()
	if r, _ := check(t, verify.Options{Source: f.site}); r.Verdict != verify.Verified {
		t.Error(print(r))
	}
}
