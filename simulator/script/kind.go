package script

import "tallystream/schemas"

// Kind is what an event sends.
type Kind uint8

// The kinds of events. The first group is accepted and counted, the second
// accepted and held or superseded, the third refused.
const (
	// Report states the count types of its stage truthfully.
	Report Kind = iota
	// Misstated gives one candidate votes of another; a Correction follows.
	Misstated
	// Correction lowers what a Misstated raised, signed by two supervisors.
	Correction

	// Late is a Report that arrives after its successor.
	Late
	// Lowered has one count lower than before and is no correction.
	Lowered
	// Conflict repeats the revision before it with another count.
	Conflict
	// Unbalanced has undervotes that do not add up.
	Unbalanced
	// Overfull has more ballots than registered voters.
	Overfull
	// Missing leaves out a contest that was reported.
	Missing
	// OtherDefinition is made for another edition of the ballot definition.
	OtherDefinition

	// BadSignature is signed over other bytes.
	BadSignature
	// WrongKey has the official's name and a key of nobody's.
	WrongKey
	// WrongRole is signed by a supervisor in the official's place.
	WrongRole
	// Unsigned has no signature line.
	Unsigned
	// OneSupervisor is a correction with one of two signatures.
	OneSupervisor
	// UnknownUnit names a unit that does not exist.
	UnknownUnit
	// UnknownContest names a contest that does not exist.
	UnknownContest
	// WrongElection is made for another election.
	WrongElection
	// VotesExceed has more votes than its ballots hold.
	VotesExceed
	// Truncated is JSON without its end.
	Truncated
	// Negative, Fraction and Huge have a count that is none.
	Negative
	Fraction
	Huge
	// DuplicateKey has a JSON member twice.
	DuplicateKey
	// InvalidUTF8 has a byte that is no text.
	InvalidUTF8

	// The releases of two supervisors let a held submission count, until the
	// unit's next report. That of Overfull comes after it, and lapses.
	ReleaseLowered
	ReleaseConflict
	ReleaseUnbalanced
	ReleaseOverfull
	ReleaseMissing
	ReleaseOtherDefinition

	kinds
)

// Outcome is what must become of an event.
type Outcome struct {
	// Problem is the refusal's code; empty if the submission is accepted.
	Problem schemas.ProblemCode
	// Entry is the kind of the ledger entry of an accepted submission. A
	// duplicate makes none.
	Entry schemas.EntryKind
	// Hold is the reason, for schemas.EntryHeld.
	Hold schemas.HoldCode
}

var outcomes = [kinds]struct {
	name string
	Outcome
}{
	Report:     {"report", counted},
	Misstated:  {"misstated", counted},
	Correction: {"correction", counted},

	Late:            {"late", Outcome{Entry: schemas.EntrySuperseded}},
	Lowered:         {"lowered", held(schemas.HoldLowered)},
	Conflict:        {"conflict", held(schemas.HoldConflict)},
	Unbalanced:      {"unbalanced", held(schemas.HoldIdentity)},
	Overfull:        {"overfull", held(schemas.HoldRegistered)},
	Missing:         {"missing", held(schemas.HoldMissing)},
	OtherDefinition: {"other-definition", held(schemas.HoldDefinition)},

	BadSignature:   {"bad-signature", Outcome{Problem: schemas.ProblemSignature}},
	WrongKey:       {"wrong-key", Outcome{Problem: schemas.ProblemUnknownKey}},
	WrongRole:      {"wrong-role", Outcome{Problem: schemas.ProblemRole}},
	Unsigned:       {"unsigned", malformed},
	OneSupervisor:  {"one-supervisor", Outcome{Problem: schemas.ProblemSignaturesMissing}},
	UnknownUnit:    {"unknown-unit", Outcome{Problem: schemas.ProblemUnknownUnit}},
	UnknownContest: {"unknown-contest", Outcome{Problem: schemas.ProblemContest}},
	WrongElection:  {"wrong-election", Outcome{Problem: schemas.ProblemElection}},
	VotesExceed:    {"votes-exceed", Outcome{Problem: schemas.ProblemVotesExceed}},
	Truncated:      {"truncated", malformed},
	Negative:       {"negative", malformed},
	Fraction:       {"fraction", malformed},
	Huge:           {"huge", malformed},
	DuplicateKey:   {"duplicate-key", malformed},
	InvalidUTF8:    {"invalid-utf8", malformed},

	ReleaseLowered:         {"release-lowered", released},
	ReleaseConflict:        {"release-conflict", released},
	ReleaseUnbalanced:      {"release-unbalanced", released},
	ReleaseOverfull:        {"release-overfull", Outcome{Entry: schemas.EntryLapsed}},
	ReleaseMissing:         {"release-missing", released},
	ReleaseOtherDefinition: {"release-other-definition", released},
}

var (
	counted   = Outcome{Entry: schemas.EntryCounted}
	released  = Outcome{Entry: schemas.EntryReleased}
	malformed = Outcome{Problem: schemas.ProblemMalformed}
)

// releaseOf is the release of each kind that is held.
var releaseOf = map[Kind]Kind{
	Lowered: ReleaseLowered, Conflict: ReleaseConflict, Unbalanced: ReleaseUnbalanced, Overfull: ReleaseOverfull, Missing: ReleaseMissing,
	OtherDefinition: ReleaseOtherDefinition,
}

// Releases is the kind of what an event of kind k releases; false if it is no
// release.
func (k Kind) Releases() (held Kind, ok bool) {
	for held, release := range releaseOf {
		if release == k {
			return held, true
		}
	}
	return 0, false
}

func held(code schemas.HoldCode) Outcome { return Outcome{Entry: schemas.EntryHeld, Hold: code} }

// String is the kind's name in reports.
func (k Kind) String() string {
	if k < kinds {
		return outcomes[k].name
	}
	return "unknown"
}

// Outcome is what must become of an event of this kind.
func (k Kind) Outcome() Outcome { return outcomes[k].Outcome }

// refused and heldKinds list the faults that the script draws from.
var (
	heldKinds    = []Kind{Lowered, Conflict, Unbalanced, Overfull, Missing, OtherDefinition}
	refusedKinds = []Kind{
		BadSignature, WrongKey, WrongRole, Unsigned, OneSupervisor, UnknownUnit, UnknownContest,
		WrongElection, VotesExceed, Truncated, Negative, Fraction, Huge, DuplicateKey, InvalidUTF8,
	}
)
