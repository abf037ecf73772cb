package schemas

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/note"
)

// Limits of one submission as it travels.
const (
	MaxBody     = 48 << 10              // bytes of the body
	MaxNote     = 2 << 10               // bytes of the note before it
	MaxEnvelope = MaxNote + 1 + MaxBody // bytes in all
)

// submissionKind is what follows the origin in the first line of the note.
const submissionKind = "/submission/v1"

// Envelope is a submission as it is sent, stored and published: a C2SP signed
// note, an empty line, then the exact bytes of the body. The note's text is
//
//	<origin>/submission/v1
//	<unit>
//	<revision>
//	<length of the body in bytes>
//	<SHA-256 of the body in base64>
//
// Exact bytes are signed: nobody has to agree on a canonical JSON.
// Every field aliases the parsed bytes.
type Envelope struct {
	signedText
	Origin   []byte
	Unit     []byte
	Revision Revision
	Body     []byte
	Digest   Digest // of Body, checked
}

// Parse reads an envelope and checks that length and digest fit the body. It
// checks no signature. Errors are *FieldError.
func (v *Envelope) Parse(b []byte) error {
	if len(b) > MaxEnvelope {
		return fieldError("/envelope", "%d bytes, want at most %d", len(b), MaxEnvelope)
	}
	text, rest, ok := cutAfter(b, "\n\n")
	if !ok {
		return fieldError("/envelope", "want a signed note: no empty line after its text")
	}
	lines, body, ok := cutAfter(rest, "\n\n")
	if !ok {
		return fieldError("/envelope", "want an empty line between the signatures and the body")
	}
	if len(b)-len(body) > MaxNote+1 {
		return fieldError("/envelope", "want at most %d bytes before the body", MaxNote)
	}
	n, err := parseSignatures(lines, &v.signatures)
	if err != nil {
		return fieldError("/envelope/signatures", "%v", err)
	}
	v.Text, v.Body, v.n = text, body, n
	return v.parseText()
}

// cutAfter cuts b behind the first byte of sep, which both halves then lack
// but for that byte: "a\n\nb" gives "a\n" and "b".
func cutAfter(b []byte, sep string) (before, after []byte, ok bool) {
	i := bytes.Index(b, []byte(sep))
	if i < 0 {
		return nil, nil, false
	}
	return b[:i+1], b[i+len(sep):], true
}

func (v *Envelope) parseText() error {
	var line [5][]byte
	rest := v.Text
	for i := range line {
		var ok bool
		if line[i], rest, ok = bytes.Cut(rest, []byte{'\n'}); !ok {
			return fieldError("/envelope", "the note has %d lines, want 5: origin, unit, revision, length, SHA-256", i)
		}
	}
	if len(rest) > 0 {
		return fieldError("/envelope", "the note has more than 5 lines: origin, unit, revision, length, SHA-256")
	}
	origin, ok := bytes.CutSuffix(line[0], []byte(submissionKind))
	if !ok {
		return fieldError("/envelope/origin", "want a first line that ends in %s", submissionKind)
	}
	revision, err := ParseRevision(string(line[2]))
	if err != nil {
		return fieldError("/envelope/revision", "%v", err)
	}
	length, err := parseDecimal(line[3], MaxBody)
	if err != nil || length == 0 {
		return fieldError("/envelope/length", "want a whole number from 1 to %d", MaxBody)
	}
	if int(length) != len(v.Body) {
		return fieldError("/envelope/length", "says %d bytes, the body has %d", length, len(v.Body))
	}
	v.Digest = DigestOf(v.Body)
	var want [44]byte
	base64.StdEncoding.Encode(want[:], v.Digest[:])
	if !bytes.Equal(want[:], line[4]) {
		return fieldError("/envelope/sha256", "is not the SHA-256 of the body")
	}
	v.Origin, v.Unit, v.Revision = origin, line[1], revision
	return nil
}

// AppendEnvelope signs body for a unit and revision and appends the envelope.
func AppendEnvelope(dst []byte, origin string, unit UnitID, revision Revision, body []byte, signers ...note.Signer) ([]byte, error) {
	if len(body) == 0 || len(body) > MaxBody {
		return dst, fmt.Errorf("body has %d bytes, want 1 to %d", len(body), MaxBody)
	}
	start := len(dst)
	digest := DigestOf(body)
	dst = append(dst, origin...)
	dst = append(dst, submissionKind...)
	dst = append(dst, '\n')
	dst = append(dst, unit...)
	dst = append(dst, '\n')
	dst = strconv.AppendUint(dst, uint64(revision), 10)
	dst = append(dst, '\n')
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, '\n')
	dst = base64.StdEncoding.AppendEncode(dst, digest[:])
	dst = append(dst, '\n')
	end := len(dst)
	dst = append(dst, '\n')
	for _, s := range signers {
		var err error
		if dst, err = AppendSignature(dst, dst[start:end:end], s); err != nil {
			return dst, err
		}
	}
	dst = append(dst, '\n')
	return append(dst, body...), nil
}
