package leaf

import (
	"fmt"

	"tallystream/schemas"
)

// OfEntry is the leaf that a ledger's entry becomes: a Submission, a Hold or a
// Release. record is the exact bytes that the entry speaks of. Append finds
// whether they fit each other.
func OfEntry(e *schemas.Entry, record []byte) (Leaf, error) {
	switch e.Kind {
	case schemas.EntryCounted, schemas.EntrySuperseded:
		return &Submission{Outcome: e.Kind, Partition: e.Partition, Seq: e.Seq, Unit: e.Unit, Revision: e.Revision, Record: record}, nil
	case schemas.EntryHeld:
		h := &Hold{
			Code: e.Hold, Partition: e.Partition, Seq: e.Seq, Unit: e.Unit, Revision: e.Revision,
			Digest: e.Digest, Bytes: uint64(len(record)), Record: record,
		}
		if h.Unit == "" {
			h.Revision = 0 // what names no unit has none that means anything
		}
		if len(record) > MaxPayload {
			h.Record = nil
		}
		return h, nil
	case schemas.EntryReleased, schemas.EntryLapsed:
		return &Release{
			Outcome: e.Kind, Partition: e.Partition, Seq: e.Seq, Unit: e.Unit, Revision: e.Revision, Hold: e.Held, Note: record,
		}, nil
	}
	return nil, fmt.Errorf("entry %d of partition %d: kind %q becomes no leaf of its own", e.Seq, e.Partition, e.Kind)
}
