package cdf

import (
	"strings"

	"tallystream/schemas"
)

// classPrefix stands before every class name (JSON member "@type").
const classPrefix = "ElectionResults."

// Prefixes of "@id" by kind of object. What follows is our identifier, so that
// an object has the same @id in every file of an election. All are valid as
// NCName, which the XML form of the standard asks for.
const (
	placePrefix     = "place."    // the election itself, states, counties: they share one space of identifiers
	unitPrefix      = "unit."     // reporting units
	districtPrefix  = "district." // of a contest that no place bounds
	contestPrefix   = "contest."
	candidatePrefix = "candidate."
	selectionPrefix = "selection."
	partyPrefix     = "party." // and a number: our parties are names, not identifiers
)

// ofContest stands between a contest's and a selection's identifier. Neither
// can hold a capital, so the two cannot be cut otherwise.
const ofContest = ".S."

// OtherType values that this package writes and reads.
const (
	administrativeType = "administrative"
	districtType       = "contest-district"
)

// OtherType of an ExternalIdentifier that carries what the standard has no
// member for. Readers other than ours skip them.
const (
	extElection     = "tallystream.election"
	extOrigin       = "tallystream.origin"
	extPartitions   = "tallystream.partitions"
	extSignatures   = "tallystream.signatures"
	extBallots      = "tallystream.rules.ballots"
	extRegistered   = "tallystream.rules.registered"
	extDefinition   = "tallystream.definition" // SHA-256 of the definition's bytes
	extSnapshot     = "tallystream.snapshot"
	extLog          = "tallystream.log"
	extStyle        = "tallystream.style"
	extUnused       = "tallystream.style.unused" // the schema wants a unit of every style
	extResiduals    = "tallystream.residuals"
	extVotesAllowed = "tallystream.votes-allowed"   // of contests that are no CandidateContest
	extName         = "tallystream.selection.name"  // "<selection> <name>", where the class has no member for it
	extParty        = "tallystream.selection.party" // likewise
	extWriteIn      = "tallystream.selection.write-in"
)

// Status is a ResultsStatus of the standard.
type Status string

// The statuses.
const (
	PreElection        Status = "pre-election"
	UnofficialPartial  Status = "unofficial-partial"
	UnofficialComplete Status = "unofficial-complete"
	Certified          Status = "certified"
	Correction         Status = "correction"
	Recount            Status = "recount"
)

// ElectionType is an ElectionType of the standard.
type ElectionType string

// Election types. Ours do not state theirs: without one, OtherElection is
// written.
const (
	GeneralElection ElectionType = "general"
	OtherElection   ElectionType = "other"
)

var electionTypes = []ElectionType{
	GeneralElection, "partisan-primary-closed", "partisan-primary-open", "primary", "runoff", "special", OtherElection,
}

var statuses = []Status{PreElection, UnofficialPartial, UnofficialComplete, Certified, Correction, Recount}

// countItem splits a count type into the standard's Type and OtherType.
func countItem(t schemas.CountType) (item, other string) {
	if rest, ok := strings.CutPrefix(string(t), "other-"); ok {
		return "other", rest
	}
	return string(t), ""
}

// countType is the reverse of countItem.
func countType(item, other string) (schemas.CountType, error) {
	if item != "other" || other == "" {
		return schemas.ParseCountType(item)
	}
	if t, err := schemas.ParseCountType("other-" + other); err == nil {
		return t, nil
	}
	return schemas.ParseCountType("other-" + slug(other))
}

// slug makes an identifier of any text: lower case, other characters to '-'.
// It may still be too long or empty; whoever parses it says so.
func slug(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			c = '-'
		}
		out = append(out, c)
	}
	return strings.TrimLeft(string(out), "._-")
}

// identifier is our identifier of an object: what follows the prefix if we
// named it, otherwise a slug of its @id.
func identifier(id, prefix string) string {
	if rest, ok := strings.CutPrefix(id, prefix); ok && schemas.ValidIdentifier(rest) {
		return rest
	}
	return slug(id)
}
