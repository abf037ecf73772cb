package schemas

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// releaseKind is what follows the origin in the first line of a release.
const releaseKind = "/release/v1"

// Release is what two supervisors sign to let a held submission count. It is a
// C2SP signed note, and travels and is stored as such, beside submissions. Its
// text is
//
//	<origin>/release/v1
//	unit leon-001
//	revision 3
//	sha256 <of the held body, hexadecimal>
//	reason checked
//	text <a sentence for the public, one line, at most MaxText characters>
//
// Unit, revision and digest name the hold: no two entries of a unit have the
// same. What Parse fills aliases the parsed bytes.
type Release struct {
	signedText
	Origin   []byte
	Unit     []byte
	Revision Revision
	Digest   Digest
	Reason   ReleaseReason
	Public   []byte // the sentence
}

// ReleaseReason is the typed reason of a release.
type ReleaseReason string

// The reasons for releases.
const (
	ReleaseChecked      ReleaseReason = "checked"           // held against paper or tape: the numbers are right
	ReleaseRegistration ReleaseReason = "registration-list" // the list of voters was short or old
	ReleaseEquipment    ReleaseReason = "equipment"         // a machine counted or sent wrongly before
	ReleaseDuplicate    ReleaseReason = "duplicate"         // what counted before counted something twice
	ReleaseRecount      ReleaseReason = "recount"
	ReleaseCourtOrder   ReleaseReason = "court-order"
)

// ReleaseReasons lists them all.
var ReleaseReasons = []ReleaseReason{
	ReleaseChecked, ReleaseRegistration, ReleaseEquipment, ReleaseDuplicate, ReleaseRecount, ReleaseCourtOrder,
}

// IsRelease reports whether a record of the stream claims to be a release. It
// looks at the first line only.
func IsRelease(record []byte) bool {
	first, _, ok := bytes.Cut(record, []byte{'\n'})
	return ok && bytes.HasSuffix(first, []byte(releaseKind))
}

// Parse reads a release. It checks no signature. Errors are *FieldError.
func (l *Release) Parse(b []byte) error {
	if len(b) > MaxNote {
		return fieldError("/release", "%d bytes, want at most %d", len(b), MaxNote)
	}
	text, lines, ok := cutAfter(b, "\n\n")
	if !ok {
		return fieldError("/release", "want a signed note: no empty line after its text")
	}
	n, err := parseSignatures(lines, &l.signatures)
	if err != nil {
		return fieldError("/release/signatures", "%v", err)
	}
	l.Text, l.n = text, n
	return l.parseText()
}

func (l *Release) parseText() error {
	first, rest, _ := bytes.Cut(l.Text, []byte{'\n'})
	origin, ok := bytes.CutSuffix(first, []byte(releaseKind))
	if !ok {
		return fieldError("/release/origin", "want a first line that ends in %s", releaseKind)
	}
	var value [5][]byte
	for i, name := range []string{"unit", "revision", "sha256", "reason", "text"} {
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		if value[i], ok = bytes.CutPrefix(line, []byte(name+" ")); !ok {
			return fieldError("/release/"+name, "want line %d to be %q and its value", i+2, name)
		}
		rest = after
	}
	if len(rest) > 0 {
		return fieldError("/release", "the note has more than 6 lines")
	}
	l.Origin, l.Unit, l.Reason, l.Public = origin, value[0], ReleaseReason(value[3]), value[4]
	if !ValidIdentifier(string(l.Unit)) {
		return fieldError("/release/unit", "want an identifier")
	}
	var err error
	if l.Revision, err = ParseRevision(string(value[1])); err != nil {
		return fieldError("/release/revision", "%v", err)
	}
	if l.Digest, err = ParseDigest(string(value[2])); err != nil {
		return fieldError("/release/sha256", "%v", err)
	}
	if !l.Reason.valid() {
		return fieldError("/release/reason", "want one of %s", ReleaseReasons)
	}
	return publicSentence("/release/text", l.Public)
}

func (r ReleaseReason) valid() bool {
	for _, known := range ReleaseReasons {
		if r == known {
			return true
		}
	}
	return false
}

// publicSentence checks a sentence that pages will show.
func publicSentence(field string, b []byte) error {
	if !utf8.Valid(b) {
		return fieldError(field, "want UTF-8")
	}
	if n := utf8.RuneCount(b); n == 0 || n > MaxText {
		return fieldError(field, "%d characters, want 1 to %d", n, MaxText)
	}
	if bytes.ContainsFunc(b, unicode.IsControl) {
		return fieldError(field, "want no control characters")
	}
	return nil
}

// AppendReleaseText appends the text that supervisors sign, each on their own
// machine if they like: AppendSignature adds a line to what others signed.
func AppendReleaseText(dst []byte, origin string, unit UnitID, revision Revision, held Digest, reason ReleaseReason, public string) ([]byte, error) {
	start := len(dst)
	dst = append(dst, origin...)
	dst = append(dst, releaseKind...)
	dst = append(dst, "\nunit "...)
	dst = append(dst, unit...)
	dst = append(dst, "\nrevision "...)
	dst = strconv.AppendUint(dst, uint64(revision), 10)
	dst = append(dst, "\nsha256 "...)
	dst = append(dst, held.String()...)
	dst = append(dst, "\nreason "...)
	dst = append(dst, reason...)
	dst = append(dst, "\ntext "...)
	dst = append(dst, public...)
	dst = append(dst, '\n')
	if err := (&Release{signedText: signedText{Text: dst[start:]}}).parseText(); err != nil {
		return dst[:start], fmt.Errorf("writing release: %w", err)
	}
	return dst, nil
}

// AppendRelease appends a release that all signers signed.
func AppendRelease(dst []byte, origin string, unit UnitID, revision Revision, held Digest, reason ReleaseReason, public string, signers ...note.Signer) ([]byte, error) {
	text, err := AppendReleaseText(nil, origin, unit, revision, held, reason, public)
	if err != nil {
		return dst, err
	}
	return AppendNote(dst, text, signers...)
}
