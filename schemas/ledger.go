package schemas

// HoldCode says why a submission is held. Each has a public explanation.
type HoldCode string

// The reasons for holds.
const (
	HoldDefinition HoldCode = "other-definition"
	HoldIdentity   HoldCode = "identity-broken"
	HoldRegistered HoldCode = "ballots-over-registered"
	HoldLowered    HoldCode = "count-lowered"
	HoldMissing    HoldCode = "contest-missing"
	HoldTwin       HoldCode = "same-as-another"
	HoldOutlier    HoldCode = "outlier"
	HoldConflict   HoldCode = "revision-conflict"
	HoldRelease    HoldCode = "release-of-nothing"
	HoldPoison     HoldCode = "poison"
)

// HoldCodes lists all reasons, for metrics and pages.
var HoldCodes = []HoldCode{
	HoldDefinition, HoldIdentity, HoldRegistered, HoldLowered, HoldMissing, HoldTwin, HoldOutlier, HoldConflict, HoldRelease, HoldPoison,
}

// Releasable reports whether two supervisors may let such a hold count: all
// but those whose record states no numbers that could.
func (c HoldCode) Releasable() bool { return c != HoldPoison && c != HoldRelease }

// Explanation is the public sentence for the reason.
func (c HoldCode) Explanation() string {
	switch c {
	case HoldDefinition:
		return "It was made for another edition of the ballot definition."
	case HoldTwin:
		return "Another unit of the county has exactly the same numbers."
	case HoldOutlier:
		return "The numbers are far above what this unit or its neighbours would lead one to expect."
	case HoldRelease:
		return "A release that names nothing that is held."
	case HoldIdentity:
		return "Votes, undervotes and overvotes do not add up to the ballots cast."
	case HoldRegistered:
		return "More ballots than registered voters."
	case HoldLowered:
		return "A count is lower than before, and the submission is not a correction."
	case HoldMissing:
		return "A contest that was reported before is missing."
	case HoldConflict:
		return "The same revision arrived before with other contents."
	case HoldPoison:
		return "The record could not be read after it was accepted."
	}
	return string(c)
}

// EntryKind says what became of a submission.
type EntryKind string

// The kinds of ledger entries.
const (
	EntryCounted    EntryKind = "counted"    // replaces the unit's numbers
	EntrySuperseded EntryKind = "superseded" // fine, but a later revision already counts
	EntryHeld       EntryKind = "held"       // changes no number; Hold says why
	// The record of these two is a Release; Held says of which entry.
	EntryReleased EntryKind = "released" // the held numbers replace the unit's from here on
	EntryLapsed   EntryKind = "lapsed"   // a later revision counts already: it changes no number
)

// EntryKinds lists them all.
var EntryKinds = []EntryKind{EntryCounted, EntrySuperseded, EntryHeld, EntryReleased, EntryLapsed}

// Entry is one line of a partition's ledger. Seq counts a partition's entries
// densely from 1; nothing in an entry ever changes.
type Entry struct {
	Partition Partition
	Seq       uint64
	Kind      EntryKind
	Hold      HoldCode // for EntryHeld
	Held      uint64   // for EntryReleased and EntryLapsed: Seq of the hold, in the same partition
	Unit      UnitID   // empty for poison that names no unit
	Revision  Revision
	Digest    Digest     // of the body; of a release that of the held body
	At        Checkpoint // where its exact bytes lie in the stream
}

// OfRelease reports whether the entry's record is a release. Such an entry says
// something of a submission, and is none. (Poison that names no unit may be
// anything.)
func (x *Entry) OfRelease() bool {
	return x.Kind == EntryReleased || x.Kind == EntryLapsed || x.Hold == HoldRelease
}

// SubmissionState is what a submitter is told of one revision.
type SubmissionState struct {
	Unit     UnitID   `json:"unit"`
	Revision Revision `json:"revision"`
	Digest   Digest   `json:"sha256,omitzero"` // none where rules.suppression hides the unit
	// State is received (durable, not yet looked at), counted, superseded, held,
	// released (was held, and counts since two supervisors released it) or lapsed
	// (was held, and released after a later revision counted).
	State string `json:"state"`
	// Hold and Reason say why it is held, or was: they stay with what was
	// released, lapsed, or superseded after that.
	Hold   HoldCode `json:"hold,omitempty"`
	Reason string   `json:"reason,omitempty"`
}

// StateReceived is the state before aggregation.
const StateReceived = "received"
