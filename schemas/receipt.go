package schemas

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

const receiptKind = "/receipt/v1"

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
func (r *Receipt) AppendText(dst []byte) []byte {
	dst = append(dst, r.Origin...)
	dst = append(dst, receiptKind...)
	dst = append(dst, '\n')
	dst = append(dst, r.Unit...)
	dst = append(dst, '\n')
	dst = strconv.AppendUint(dst, uint64(r.Revision), 10)
	dst = append(dst, '\n')
	dst = base64.StdEncoding.AppendEncode(dst, r.Digest[:])
	return append(dst, '\n')
}

// OpenReceipt checks the signature of a receipt and reads it.
func OpenReceipt(b []byte, verifier note.Verifier) (*Receipt, error) {
	n, err := note.Open(b, note.VerifierList(verifier))
	if err != nil {
		return nil, fmt.Errorf("opening receipt: %w", err)
	}
	line := strings.Split(n.Text, "\n")
	if len(line) != 5 || line[4] != "" {
		return nil, fmt.Errorf("opening receipt: want 4 lines: origin, unit, revision, SHA-256")
	}
	origin, ok := strings.CutSuffix(line[0], receiptKind)
	if !ok {
		return nil, fmt.Errorf("opening receipt: first line %q, want one that ends in %s", line[0], receiptKind)
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
	if string(r.AppendText(nil)) != n.Text { // base64 may hide line ends
		return nil, fmt.Errorf("opening receipt: is not spelled as it is written")
	}
	return r, nil
}
