package leaf_test

import (
	"bytes"
	"testing"

	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

func TestEveryEntryOfALedgerHasItsLeaf(t *testing.T) {
	good := record(t, "leon-001", 3, "{}")
	digest := schemas.DigestOf([]byte("{}"))
	release := released(t, "leon-001", 3, digest)
	huge := bytes.Repeat([]byte("x"), 1<<20)
	for name, c := range map[string]struct {
		entry  schemas.Entry
		record []byte
		kind   leaf.Kind
	}{
		"counted":    {schemas.Entry{Kind: schemas.EntryCounted, Unit: "leon-001", Revision: 3, Digest: digest}, good, leaf.KindSubmission},
		"superseded": {schemas.Entry{Kind: schemas.EntrySuperseded, Unit: "leon-001", Revision: 3, Digest: digest}, good, leaf.KindSubmission},
		"held":       {schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldConflict, Unit: "leon-001", Revision: 3, Digest: digest}, good, leaf.KindHold},
		"poison":     {schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldPoison, Digest: schemas.DigestOf([]byte("?"))}, []byte("?"), leaf.KindHold},
		"poison that is an envelope": {
			schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldPoison, Digest: digest}, good, leaf.KindHold},
		"poison of a known unit": {
			schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldPoison, Unit: "leon-001", Revision: 3, Digest: digest}, good, leaf.KindHold},
		"nothing at all":          {schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldPoison, Digest: schemas.DigestOf(nil)}, nil, leaf.KindHold},
		"a whole record":          {schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldPoison, Digest: schemas.DigestOf(huge)}, huge, leaf.KindHold},
		"released":                {schemas.Entry{Kind: schemas.EntryReleased, Held: 4, Unit: "leon-001", Revision: 3, Digest: digest}, release, leaf.KindRelease},
		"lapsed":                  {schemas.Entry{Kind: schemas.EntryLapsed, Held: 4, Unit: "leon-001", Revision: 3, Digest: digest}, release, leaf.KindRelease},
		"release of nothing":      {schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldRelease, Unit: "leon-001", Revision: 3, Digest: digest}, release, leaf.KindHold},
		"release of nowhere":      {schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldPoison, Digest: schemas.DigestOf(release)}, release, leaf.KindHold},
		"a release of itself":     {schemas.Entry{Kind: schemas.EntryReleased, Held: 9, Unit: "leon-001", Revision: 3, Digest: digest}, release, ""},
		"a release of none":       {schemas.Entry{Kind: schemas.EntryReleased, Unit: "leon-001", Revision: 3, Digest: digest}, release, ""},
		"released otherwise":      {schemas.Entry{Kind: schemas.EntryReleased, Held: 4, Unit: "leon-001", Revision: 4, Digest: digest}, release, ""},
		"released by an envelope": {schemas.Entry{Kind: schemas.EntryReleased, Held: 4, Unit: "leon-001", Revision: 3, Digest: digest}, good, ""},
		"counted by a release":    {schemas.Entry{Kind: schemas.EntryCounted, Unit: "leon-001", Revision: 3, Digest: digest}, release, ""},
		"another body's release of nothing": {
			schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldRelease, Unit: "leon-001", Revision: 3, Digest: schemas.DigestOf(nil)}, release, ""},
		"counted as junk": {schemas.Entry{Kind: schemas.EntryCounted, Unit: "leon-001", Revision: 3}, []byte("?"), ""},
		"another unit's":  {schemas.Entry{Kind: schemas.EntryCounted, Unit: "leon-002", Revision: 3}, good, ""},
		"another digest":  {schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldLowered, Unit: "leon-001", Revision: 3}, good, ""},
		"no kind":         {schemas.Entry{Unit: "leon-001", Revision: 3}, good, ""},
	} {
		c.entry.Partition, c.entry.Seq = 2, 9
		var b []byte
		l, err := leaf.OfEntry(&c.entry, c.record)
		if err == nil {
			b, err = leaf.Append(nil, l)
		}
		if (err == nil) != (c.kind != "") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (l.Kind() != c.kind || len(b) > len(c.record)+400) {
			t.Errorf("%s: %s of %d bytes", name, l.Kind(), len(b))
		}
	}
}
