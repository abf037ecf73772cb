package schemas

import (
	"fmt"
	"strings"
)

// FieldError says which field of what was sent is wrong, as a JSON Pointer
// (RFC 6901; "/envelope/..." for the note around the body), and what was
// expected there. It never repeats counts.
type FieldError struct {
	Field string
	Want  string
	// Code tells classes of errors apart; ProblemMalformed unless said.
	Code ProblemCode
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Want }

func fieldError(field, format string, args ...any) *FieldError {
	return &FieldError{Field: field, Want: fmt.Sprintf(format, args...), Code: ProblemMalformed}
}

// ProblemCode is the last element of a problem's type URI.
type ProblemCode string

// The problems that a submission can be refused for, and nothing of it kept.
const (
	ProblemMalformed         ProblemCode = "malformed"            // not the format
	ProblemTooLarge          ProblemCode = "too-large"            // above a limit of size
	ProblemMediaType         ProblemCode = "media-type"           // compressed, or of another type
	ProblemElection          ProblemCode = "wrong-election"       // another election's origin or identifier
	ProblemDefinition        ProblemCode = "stale-definition"     // another ballot definition
	ProblemUnknownUnit       ProblemCode = "unknown-unit"         //
	ProblemContest           ProblemCode = "unknown-contest"      // or selection, or not on the unit's ballot
	ProblemUnknownKey        ProblemCode = "unknown-key"          // no signature by a key of the roster
	ProblemRole              ProblemCode = "wrong-role"           // key known, not allowed to sign this
	ProblemSignature         ProblemCode = "bad-signature"        // does not verify
	ProblemSignaturesMissing ProblemCode = "signatures-missing"   // fewer than are asked for
	ProblemVotesExceed       ProblemCode = "votes-exceed-ballots" // more votes than the ballots could hold
	ProblemRateLimited       ProblemCode = "rate-limited"         // Retry-After says when
	ProblemBusy              ProblemCode = "busy"                 // the stream is behind; Retry-After says when
	ProblemUnavailable       ProblemCode = "unavailable"          // the stream failed: send again
	ProblemNotFound          ProblemCode = "not-found"
	ProblemMethod            ProblemCode = "method-not-allowed"
	ProblemTimeout           ProblemCode = "timeout" // the request came too slowly
)

// Problem is an error answer after RFC 9457, media type
// application/problem+json.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Field is a JSON Pointer to what is wrong, where one field is.
	Field string `json:"field,omitempty"`
}

// ProblemMediaTypeName is the media type of a Problem.
const ProblemMediaTypeName = "application/problem+json"

// problemBase begins every type URI; a relative reference would change its
// meaning with the host that answers (RFC 9457 section 3.1.1).
const problemBase = "tag:tallystream,2026:problem:"

// URI is the type of the problem.
func (c ProblemCode) URI() string { return problemBase + string(c) }

// Code is the code in the problem's type; empty if the type is not ours.
func (p *Problem) Code() ProblemCode {
	if code, ok := strings.CutPrefix(p.Type, problemBase); ok {
		return ProblemCode(code)
	}
	return ""
}
