package log

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// proofKind is the first line of a proof bundle.
const proofKind = "c2sp.org/tlog-proof@v1"

// Limits of a proof bundle.
const (
	MaxExtra  = 64 << 10                    // bytes of extra data
	MaxProof  = MaxNote + 2*MaxExtra        // bytes in all
	maxHashes = 63                          // of any proof: a tree has less than 2^63 leaves
	hashText  = (tlog.HashSize + 2) / 3 * 4 // bytes of a hash in base64
)

// Proof shows without a network that a leaf is in a log
// (https://c2sp.org/tlog-proof):
//
//	c2sp.org/tlog-proof@v1
//	extra <base64>              left out where there is none
//	index <decimal>
//	<base64 of a hash>          as many as the proof has, from the leaf upward
//
//	<the checkpoint, a signed note>
type Proof struct {
	Extra      []byte // not authenticated by anything
	Index      int64
	Hashes     tlog.RecordProof
	Checkpoint []byte
}

// MakeProof makes the bundle for a leaf of the checkpoint's tree. The
// checkpoint is that of the reader's tree, signed and cosigned.
func MakeProof(ctx context.Context, r *Reader, index int64, checkpoint []byte) (*Proof, error) {
	c, err := PeekCheckpoint(checkpoint)
	if err != nil {
		return nil, err
	}
	if c.Tree != r.tree {
		return nil, errors.New("making a proof: the checkpoint is of another tree")
	}
	hashes, err := r.Inclusion(ctx, index)
	if err != nil {
		return nil, err
	}
	return &Proof{Index: index, Hashes: hashes, Checkpoint: checkpoint}, nil
}

// Append appends the bundle.
func (p *Proof) Append(dst []byte) []byte {
	dst = append(dst, proofKind...)
	if len(p.Extra) > 0 {
		dst = append(dst, "\nextra "...)
		dst = base64.StdEncoding.AppendEncode(dst, p.Extra)
	}
	dst = append(dst, "\nindex "...)
	dst = strconv.AppendInt(dst, p.Index, 10)
	dst = append(dst, '\n')
	for i := range p.Hashes {
		dst = base64.StdEncoding.AppendEncode(dst, p.Hashes[i][:])
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	return append(dst, p.Checkpoint...)
}

// ParseProof reads a bundle; it verifies nothing but that every part is in its
// only spelling.
func ParseProof(b []byte) (*Proof, error) {
	if len(b) > MaxProof {
		return nil, fmt.Errorf("reading proof: %d bytes, want at most %d", len(b), MaxProof)
	}
	head, checkpoint, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		return nil, errors.New("reading proof: want an empty line before the checkpoint")
	}
	lines := bytes.Split(head, []byte{'\n'})
	if string(lines[0]) != proofKind {
		return nil, fmt.Errorf("reading proof: line 1: want %s", proofKind)
	}
	p, at := &Proof{Checkpoint: checkpoint}, 1
	if at < len(lines) && bytes.HasPrefix(lines[at], []byte("extra ")) {
		text := lines[at][len("extra "):]
		var err error
		if p.Extra, err = base64.StdEncoding.Strict().AppendDecode(nil, text); err != nil || len(p.Extra) == 0 || len(p.Extra) > MaxExtra || bytes.IndexByte(text, '\r') >= 0 {
			return nil, fmt.Errorf("reading proof: line 2: want 1 to %d bytes in base64 after extra", MaxExtra)
		}
		at++
	}
	if at == len(lines) || !bytes.HasPrefix(lines[at], []byte("index ")) {
		return nil, fmt.Errorf("reading proof: line %d: want index and a number", at+1)
	}
	var err error
	if p.Index, err = parseSize(string(lines[at][len("index "):])); err != nil {
		return nil, fmt.Errorf("reading proof: line %d: index: %w", at+1, err)
	}
	if p.Hashes, err = parseHashLines(lines[at+1:]); err != nil {
		return nil, fmt.Errorf("reading proof: after line %d: %w", at+1, err)
	}
	c, err := PeekCheckpoint(checkpoint)
	if err != nil {
		return nil, fmt.Errorf("reading proof: %w", err)
	}
	if p.Index >= c.Tree.N {
		return nil, fmt.Errorf("reading proof: index %d is not in a tree of %d leaves", p.Index, c.Tree.N)
	}
	return p, nil
}

func parseHashLines(lines [][]byte) ([]tlog.Hash, error) {
	if len(lines) > maxHashes {
		return nil, fmt.Errorf("%d hashes, want at most %d", len(lines), maxHashes)
	}
	var out []tlog.Hash
	for i, line := range lines {
		if len(line) != hashText {
			return nil, fmt.Errorf("hash %d: want 32 bytes in base64", i+1)
		}
		h, err := parseHash(line)
		if err != nil {
			return nil, fmt.Errorf("hash %d: %w", i+1, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// Verify checks that the proof leads from the leaf to the checkpoint's root
// and that the policy accepts the checkpoint.
func (p *Proof) Verify(leaf []byte, policy *Policy, logs ...note.Verifier) (*Verdict, error) {
	v, err := policy.Evaluate(p.Checkpoint, logs...)
	if err != nil {
		return nil, fmt.Errorf("verifying proof: %w", err)
	}
	if err := p.Includes(leaf, v.Checkpoint.Tree); err != nil {
		return nil, err
	}
	return v, nil
}

// Includes checks that the proof leads from the leaf to the root of a tree that
// is trusted already.
func (p *Proof) Includes(leaf []byte, tree tlog.Tree) error {
	if p.Index < 0 || p.Index >= tree.N {
		return fmt.Errorf("verifying proof: leaf %d is not in a tree of %d", p.Index, tree.N)
	}
	if err := tlog.CheckRecord(p.Hashes, tree.N, tree.Hash, p.Index, tlog.RecordHash(leaf)); err != nil {
		return fmt.Errorf("verifying proof of leaf %d: %w", p.Index, ErrTampered)
	}
	return nil
}
