package schemas

import (
	"fmt"
	"strconv"
)

// MaxIdentifier is the longest identifier, in bytes.
const MaxIdentifier = 96

// Identifiers of one election. Each is a slug of 1 to MaxIdentifier bytes out
// of [a-z0-9._-] that starts with a letter or a digit. Every byte sorts above
// the quotation mark, so sorting document lines by their bytes sorts them by
// (contest, unit).
type (
	// ElectionID names an election, such as "sc-2024-general".
	ElectionID string
	// ContestID names a contest.
	ContestID string
	// SelectionID names a candidate or an answer, unique within its contest.
	SelectionID string
	// UnitID names a reporting unit, unique within the election.
	UnitID string
	// CountyID names a county: the parent of units. A state and the election
	// itself have identifiers of this type too where they head a line.
	CountyID string
	// StyleID names a ballot style: the contests that a unit votes on.
	StyleID string
)

// CountType is a NIST SP 1500-100 v2 CountItemType, or a local one after
// "other-" (the standard's OtherType).
type CountType string

// Count types that the importers and the generator use.
const (
	ElectionDay  CountType = "election-day"
	Early        CountType = "early"
	AbsenteeMail CountType = "absentee-mail"
	Provisional  CountType = "provisional"
	OtherCounts  CountType = "other" // counted, but not split by type at the source
)

// BallotsCast is the reserved contest identifier of the count of ballots
// itself, and Ballots its only selection.
const (
	BallotsCast ContestID   = "ballots-cast"
	Ballots     SelectionID = "ballots"
)

// Overvotes and Undervotes are the reserved selection identifiers under which
// residual votes stand in CSV exports.
const (
	Overvotes  SelectionID = "overvotes"
	Undervotes SelectionID = "undervotes"
)

// ValidIdentifier reports whether s follows the rule of identifiers.
func ValidIdentifier(s string) bool {
	if len(s) == 0 || len(s) > MaxIdentifier {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}

func parseIdentifier[T ~string](kind, s string) (T, error) {
	if !ValidIdentifier(s) {
		return "", fmt.Errorf("%s %s: want 1 to %d of a-z, 0-9, '.', '_', '-', starting with a letter or digit",
			kind, strconv.QuoteToASCII(clip(s)), MaxIdentifier)
	}
	return T(s), nil
}

// ParseElectionID checks and returns s.
func ParseElectionID(s string) (ElectionID, error) { return parseIdentifier[ElectionID]("election", s) }

// ParseContestID checks and returns s.
func ParseContestID(s string) (ContestID, error) { return parseIdentifier[ContestID]("contest", s) }

// ParseSelectionID checks and returns s.
func ParseSelectionID(s string) (SelectionID, error) {
	return parseIdentifier[SelectionID]("selection", s)
}

// ParseUnitID checks and returns s.
func ParseUnitID(s string) (UnitID, error) { return parseIdentifier[UnitID]("unit", s) }

// ParseCountType checks s against the count types of NIST SP 1500-100 v2.
func ParseCountType(s string) (CountType, error) {
	switch s {
	case "absentee", "absentee-fwab", "absentee-in-person", "absentee-mail", "early", "election-day",
		"provisional", "uocava", "write-in", "other":
		return CountType(s), nil
	}
	if len(s) > 6 && s[:6] == "other-" && ValidIdentifier(s) {
		return CountType(s), nil
	}
	return "", fmt.Errorf("count type %s: want a CountItemType of NIST SP 1500-100 v2, or one of our own after \"other-\"",
		strconv.QuoteToASCII(clip(s)))
}

// clip keeps what a stranger sent from filling a log line.
func clip(s string) string {
	if len(s) > MaxIdentifier {
		return s[:MaxIdentifier] + "..."
	}
	return s
}
