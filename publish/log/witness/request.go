package witness

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
)

// Limits of a request.
const (
	maxProof   = 63                             // hashes (https://c2sp.org/tlog-witness#add-checkpoint)
	MaxRequest = 32 + maxProof*45 + log.MaxNote // bytes
)

// Append writes the body of an add-checkpoint request:
//
//	old <size>
//	<base64 of a hash>     as many as the proof has
//
//	<the checkpoint, a signed note>
func (r *Request) Append(dst []byte) []byte {
	dst = append(dst, "old "...)
	dst = strconv.AppendInt(dst, r.Old, 10)
	dst = append(dst, '\n')
	for i := range r.Proof {
		dst = base64.StdEncoding.AppendEncode(dst, r.Proof[i][:])
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	return append(dst, r.Checkpoint...)
}

// ParseRequest reads the body of a request. Errors wrap ErrMalformed.
func ParseRequest(b []byte) (*Request, error) {
	if len(b) > MaxRequest {
		return nil, fmt.Errorf("%w: want at most %d bytes", ErrMalformed, MaxRequest)
	}
	head, checkpoint, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		return nil, fmt.Errorf("%w: want an empty line before the checkpoint", ErrMalformed)
	}
	lines := bytes.Split(head, []byte{'\n'})
	r := &Request{Checkpoint: checkpoint}
	size, ok := bytes.CutPrefix(lines[0], []byte("old "))
	n, err := strconv.ParseUint(string(size), 10, 64)
	if !ok || err != nil || n > math.MaxInt64 || strconv.FormatUint(n, 10) != string(size) {
		return nil, fmt.Errorf("%w: line 1: want old and a size", ErrMalformed)
	}
	r.Old = int64(n)
	if len(lines)-1 > maxProof {
		return nil, fmt.Errorf("%w: more than %d hashes", ErrMalformed, maxProof)
	}
	for i, line := range lines[1:] {
		raw, err := base64.StdEncoding.Strict().AppendDecode(nil, line)
		if err != nil || len(raw) != tlog.HashSize || bytes.IndexByte(line, '\r') >= 0 {
			return nil, fmt.Errorf("%w: line %d: want 32 bytes in base64", ErrMalformed, i+2)
		}
		r.Proof = append(r.Proof, tlog.Hash(raw))
	}
	if _, err := log.PeekCheckpoint(checkpoint); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r, nil
}
