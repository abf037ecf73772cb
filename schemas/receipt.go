package schemas

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// What follows the origin in the first line of receipts.
const (
	receiptKind        = "/receipt/v1"
	releaseReceiptKind = "/release-receipt/v1"
)

// Receipt is the signed promise that a submission is durable in the stream
// and will stand in the ledger, counted or held. It says nothing but what was
// sent, so every copy of ingest gives the same bytes for the same submission,
// at any time, without looking anything up. As a signed note its text is
//
//	<origin>/receipt/v1
//	<unit>
//	<revision>
//	<SHA-256 of the body in base64>
type Receipt struct {
	Origin   string
	Unit     UnitID
	Revision Revision
	Digest   Digest
}

// AppendText appends the text that is signed.
func (r *Receipt) AppendText(dst []byte) []byte { return r.appendText(dst, receiptKind) }

// OpenReceipt checks the signature of a receipt and reads it.
func OpenReceipt(b []byte, verifier note.Verifier) (*Receipt, error) {
	return openReceipt(b, verifier, receiptKind)
}

// ReleaseReceipt is the signed promise that a release of the submission which
// it names is durable in the stream, and that the fold of the stream will
// apply it: the held numbers count, unless a later revision does, or nothing of
// that name is held. Like a Receipt it says nothing but what was sent. Reason
// and text are left out: whichever release of a hold comes first is applied,
// and the promise is the same for all. Its text is that of a Receipt, of
// another kind:
//
//	<origin>/release-receipt/v1
//	<unit>
//	<revision>
//	<SHA-256 of the held body in base64>
type ReleaseReceipt Receipt

// AppendText appends the text that is signed.
func (r *ReleaseReceipt) AppendText(dst []byte) []byte {
	return (*Receipt)(r).appendText(dst, releaseReceiptKind)
}

// OpenReleaseReceipt checks the signature of a release's receipt and reads it.
func OpenReleaseReceipt(b []byte, verifier note.Verifier) (*ReleaseReceipt, error) {
	r, err := openReceipt(b, verifier, releaseReceiptKind)
	return (*ReleaseReceipt)(r), err
}

func (r *Receipt) appendText(dst []byte, kind string) []byte {
	dst = append(dst, r.Origin...)
	dst = append(dst, kind...)
	dst = append(dst, '\n')
	dst = append(dst, r.Unit...)
	dst = append(dst, '\n')
	dst = strconv.AppendUint(dst, uint64(r.Revision), 10)
	dst = append(dst, '\n')
	dst = base64.StdEncoding.AppendEncode(dst, r.Digest[:])
	return append(dst, '\n')
}

func openReceipt(b []byte, verifier note.Verifier, kind string) (*Receipt, error) {
	n, err := note.Open(b, note.VerifierList(verifier))
	if err != nil {
		return nil, fmt.Errorf("opening receipt: %w", err)
	}
	line := strings.Split(n.Text, "\n")
	if len(line) != 5 || line[4] != "" {
		return nil, fmt.Errorf("opening receipt: want 4 lines: origin, unit, revision, SHA-256")
	}
	origin, ok := strings.CutSuffix(line[0], kind)
	if !ok {
		return nil, fmt.Errorf("opening receipt: first line %q, want one that ends in %s", line[0], kind)
	}
	r := &Receipt{Origin: origin}
	if r.Unit, err = ParseUnitID(line[1]); err != nil {
		return nil, fmt.Errorf("opening receipt: %w", err)
	}
	if r.Revision, err = ParseRevision(line[2]); err != nil {
		return nil, fmt.Errorf("opening receipt: %w", err)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(line[3])
	if err != nil || len(raw) != len(r.Digest) {
		return nil, fmt.Errorf("opening receipt: SHA-256: want 32 bytes in base64")
	}
	copy(r.Digest[:], raw)
	if string(r.appendText(nil, kind)) != n.Text { // base64 may hide line ends
		return nil, fmt.Errorf("opening receipt: is not spelled as it is written")
	}
	return r, nil
}
