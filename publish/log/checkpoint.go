package log

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// CheckpointKey is where the newest checkpoint lies in the bucket. All other
// objects of the log are written once.
const CheckpointKey = "checkpoint"

// Checkpoint is what a log says of its tree (https://c2sp.org/tlog-checkpoint).
// Its text has exactly three lines:
//
//	<origin>
//	<size of the tree, decimal>
//	<root hash, base64>
//
// The specification lets more lines follow; ours never do, and are refused,
// because no monitor could audit them.
type Checkpoint struct {
	Origin string
	Tree   tlog.Tree
}

// AppendText appends what is signed.
func (c *Checkpoint) AppendText(dst []byte) []byte {
	dst = append(dst, c.Origin...)
	dst = append(dst, '\n')
	dst = strconv.AppendInt(dst, c.Tree.N, 10)
	dst = append(dst, '\n')
	dst = base64.StdEncoding.AppendEncode(dst, c.Tree.Hash[:])
	return append(dst, '\n')
}

// ParseCheckpoint reads the text of a checkpoint.
func ParseCheckpoint(text []byte) (*Checkpoint, error) {
	if err := checkText(text); err != nil {
		return nil, fmt.Errorf("reading checkpoint: %w", err)
	}
	lines := bytes.SplitAfter(text, []byte{'\n'})
	if len(lines) != 4 || len(lines[3]) != 0 {
		return nil, errors.New("reading checkpoint: want three lines: origin, size, root hash")
	}
	for i := range lines {
		lines[i] = bytes.TrimSuffix(lines[i], []byte{'\n'})
	}
	c := &Checkpoint{Origin: string(lines[0])}
	if c.Origin == "" {
		return nil, errors.New("reading checkpoint: line 1: want an origin")
	}
	var err error
	if c.Tree.N, err = parseSize(string(lines[1])); err != nil {
		return nil, fmt.Errorf("reading checkpoint: line 2: %w", err)
	}
	if c.Tree.Hash, err = parseHash(lines[2]); err != nil {
		return nil, fmt.Errorf("reading checkpoint: line 3: %w", err)
	}
	if c.Tree.N == 0 && c.Tree.Hash != EmptyRoot() {
		return nil, errors.New("reading checkpoint: line 3: an empty tree has another root hash")
	}
	return c, nil
}

// parseSize reads the only spelling of a whole number.
func parseSize(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > math.MaxInt64 || strconv.FormatUint(n, 10) != s {
		return 0, errors.New("want a whole number without leading zeros")
	}
	return int64(n), nil
}

// parseHash reads the only spelling of a hash.
func parseHash(text []byte) (tlog.Hash, error) {
	var h tlog.Hash
	raw, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if err != nil || len(raw) != len(h) || bytes.ContainsAny(text, "\r\n") {
		return h, errors.New("want 32 bytes in base64")
	}
	copy(h[:], raw)
	return h, nil
}

// Sign makes the checkpoint a signed note.
func (c *Checkpoint) Sign(signers ...note.Signer) ([]byte, error) {
	text := c.AppendText(nil)
	if _, err := ParseCheckpoint(text); err != nil {
		return nil, err
	}
	return Sign(text, signers...)
}

// OpenCheckpoint reads a checkpoint that at least one of the log's keys
// signed. A key speaks for the origin that it is named by, and for no other.
// Errors wrap ErrUnsigned or ErrSignature where that is what is wrong.
func OpenCheckpoint(b []byte, keys ...note.Verifier) (*Checkpoint, *Note, error) {
	n, c, err := parseCheckpointNote(b)
	if err != nil {
		return nil, nil, err
	}
	signed := false
	for _, key := range keys {
		if key.Name() != c.Origin {
			continue
		}
		ok, err := n.SignedBy(key)
		if err != nil {
			return nil, nil, fmt.Errorf("opening checkpoint: %w", err)
		}
		signed = signed || ok
	}
	if !signed {
		return nil, nil, fmt.Errorf("opening checkpoint of %s: %w", strconv.QuoteToASCII(c.Origin), ErrUnsigned)
	}
	return c, n, nil
}

func parseCheckpointNote(b []byte) (*Note, *Checkpoint, error) {
	n, err := ParseNote(b)
	if err != nil {
		return nil, nil, fmt.Errorf("opening checkpoint: %w", err)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return nil, nil, err
	}
	return n, c, nil
}

// PeekCheckpoint reads a checkpoint without checking a signature, for those
// who only want to know where to look next.
func PeekCheckpoint(b []byte) (*Checkpoint, error) {
	_, c, err := parseCheckpointNote(b)
	return c, err
}

// AddSignatures puts signature lines by keys that are given and that verify
// behind those of a note, one a key, and returns how many were new. It is how
// a log takes over what its witnesses answer; other lines are left out.
func AddSignatures(b, lines []byte, keys ...note.Verifier) ([]byte, int, error) {
	n, err := ParseNote(b)
	if err != nil {
		return nil, 0, err
	}
	more, err := ParseSignatures(lines)
	if err != nil {
		return nil, 0, err
	}
	added := 0
	for _, key := range keys {
		if signed, _ := n.SignedBy(key); signed {
			continue
		}
		for i := range more {
			s := &more[i]
			if s.Name == key.Name() && s.Hash == key.KeyHash() && key.Verify(n.Text, s.Bytes) {
				n.Signatures = append(n.Signatures, *s)
				added++
				break
			}
		}
	}
	out := n.Append(nil)
	if _, err := ParseNote(out); err != nil {
		return nil, 0, err
	}
	return out, added, nil
}
