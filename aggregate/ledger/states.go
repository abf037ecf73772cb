package ledger

import "tallystream/schemas"

// States tells submitters what became of a unit's submissions: each as its
// entry says, but that only the last one that was counted or released counts,
// and that releases say what became of holds. A release of nothing is told to
// whoever sent it.
func States(entries []schemas.Entry) []schemas.SubmissionState {
	releases := make(map[uint64]schemas.EntryKind) // by seq of the hold
	counts := uint64(0)                            // seq of the submission that does
	for i := range entries {
		switch x := &entries[i]; x.Kind {
		case schemas.EntryCounted:
			counts = x.Seq
		case schemas.EntryReleased:
			counts, releases[x.Held] = x.Held, x.Kind
		case schemas.EntryLapsed:
			releases[x.Held] = x.Kind
		}
	}
	states := make([]schemas.SubmissionState, 0, len(entries))
	for i := range entries {
		x := &entries[i]
		if x.Kind == schemas.EntryReleased || x.Kind == schemas.EntryLapsed {
			continue // shows in what it released
		}
		kind := x.Kind
		if became, ok := releases[x.Seq]; ok {
			kind = became
		}
		if (kind == schemas.EntryCounted || kind == schemas.EntryReleased) && x.Seq != counts {
			kind = schemas.EntrySuperseded
		}
		s := schemas.SubmissionState{Unit: x.Unit, Revision: x.Revision, Digest: x.Digest, State: string(kind)}
		if x.Kind == schemas.EntryHeld {
			s.Hold, s.Reason = x.Hold, x.Hold.Explanation()
		}
		states = append(states, s)
	}
	return states
}
