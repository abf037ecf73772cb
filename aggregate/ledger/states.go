package ledger

import "tallystream/schemas"

// States tells a submitter what became of a unit's submissions: its entries,
// in order, but that a counted one is superseded once a later one counts.
func States(entries []schemas.Entry) []schemas.SubmissionState {
	latest := schemas.Revision(0)
	for i := range entries {
		if entries[i].Kind == schemas.EntryCounted {
			latest = entries[i].Revision
		}
	}
	states := make([]schemas.SubmissionState, len(entries))
	for i := range entries {
		x := &entries[i]
		s := schemas.SubmissionState{Unit: x.Unit, Revision: x.Revision, Digest: x.Digest, State: string(x.Kind)}
		switch {
		case x.Kind == schemas.EntryCounted && x.Revision < latest:
			s.State = string(schemas.EntrySuperseded)
		case x.Kind == schemas.EntryHeld:
			s.Hold, s.Reason = x.Hold, x.Hold.Explanation()
		}
		states[i] = s
	}
	return states
}
