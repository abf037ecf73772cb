package log

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// Limits of a signed note (https://c2sp.org/signed-note).
const (
	MaxNote       = 32 << 10 // bytes
	MaxSignatures = 100      // lines; the specification asks for 16 at least
)

// signaturePrefix begins each signature line: an em dash and a space.
const signaturePrefix = "— "

// What a caller decides on.
var (
	// ErrUnsigned: no signature by a key that is known.
	ErrUnsigned = errors.New("not signed by a known key")
	// ErrSignature: a signature by a known key does not verify.
	ErrSignature = errors.New("signature does not verify")
)

// Note is a parsed signed note. Its fields alias the bytes it was read from.
type Note struct {
	Text       []byte // what is signed, with its last newline
	Signatures []Signature
}

// Signature is one line of a note, unchecked.
type Signature struct {
	Name  string
	Hash  uint32 // the key ID
	Bytes []byte // behind the key ID
}

// ParseNote reads a signed note and checks no signature. It accepts what
// golang.org/x/mod/sumdb/note does but for a second spelling: base64 with
// stray bits, or lines after which the note would be written otherwise.
func ParseNote(b []byte) (*Note, error) {
	if len(b) > MaxNote {
		return nil, fmt.Errorf("note: %d bytes, want at most %d", len(b), MaxNote)
	}
	if err := checkText(b); err != nil {
		return nil, err
	}
	split := bytes.LastIndex(b, []byte("\n\n"))
	if split < 0 {
		return nil, errors.New("note: no empty line between the text and its signatures")
	}
	n := &Note{Text: b[:split+1]}
	var err error
	if n.Signatures, err = ParseSignatures(b[split+2:]); err != nil {
		return nil, err
	}
	return n, nil
}

// checkText refuses what no note may hold.
func checkText(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("note: want UTF-8")
	}
	for i, c := range b {
		if c < ' ' && c != '\n' {
			return fmt.Errorf("note: control character at byte %d", i)
		}
	}
	return nil
}

// ParseSignatures reads signature lines, such as a witness answers with.
func ParseSignatures(lines []byte) ([]Signature, error) {
	var out []Signature
	for len(lines) > 0 {
		line, rest, ok := bytes.Cut(lines, []byte{'\n'})
		if !ok {
			return nil, fmt.Errorf("note: signature %d does not end in a newline", len(out)+1)
		}
		if len(out) == MaxSignatures {
			return nil, fmt.Errorf("note: more than %d signatures", MaxSignatures)
		}
		s, err := parseSignature(line)
		if err != nil {
			return nil, fmt.Errorf("note: signature %d: %w", len(out)+1, err)
		}
		out, lines = append(out, s), rest
	}
	if len(out) == 0 {
		return nil, errors.New("note: no signature")
	}
	return out, nil
}

func parseSignature(line []byte) (Signature, error) {
	line, ok := bytes.CutPrefix(line, []byte(signaturePrefix))
	if !ok {
		return Signature{}, errors.New("want an em dash and a space first")
	}
	name, text, ok := bytes.Cut(line, []byte{' '})
	if !ok || !validKeyName(string(name)) {
		return Signature{}, errors.New("want a key name and base64")
	}
	raw, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	// The decoder skips line ends, which no line of a note can hold but one of
	// a witness's answer may.
	if err != nil || len(raw) < 5 || bytes.ContainsAny(text, "\r\n") {
		return Signature{}, errors.New("want a key ID and a signature in base64")
	}
	return Signature{Name: string(name), Hash: binary.BigEndian.Uint32(raw), Bytes: raw[4:]}, nil
}

func validKeyName(name string) bool {
	return name != "" && utf8.ValidString(name) && strings.IndexFunc(name, unicode.IsSpace) < 0 && !strings.Contains(name, "+")
}

// Append appends the line.
func (s *Signature) Append(dst []byte) []byte {
	dst = append(dst, signaturePrefix...)
	dst = append(dst, s.Name...)
	dst = append(dst, ' ')
	raw := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(s.Bytes)), s.Hash)
	dst = base64.StdEncoding.AppendEncode(dst, append(raw, s.Bytes...))
	return append(dst, '\n')
}

// Append appends the note as ParseNote reads it.
func (n *Note) Append(dst []byte) []byte {
	dst = append(dst, n.Text...)
	dst = append(dst, '\n')
	for i := range n.Signatures {
		dst = n.Signatures[i].Append(dst)
	}
	return dst
}

// SignedBy reports whether a key signed the note, and whether all lines that
// claim to be its verify: a note with a false one of a known key is refused
// whole, as the specification advises.
func (n *Note) SignedBy(v note.Verifier) (bool, error) {
	signed := false
	for i := range n.Signatures {
		s := &n.Signatures[i]
		if s.Name != v.Name() || s.Hash != v.KeyHash() {
			continue
		}
		if signed {
			continue // a second line by one key says nothing
		}
		if !v.Verify(n.Text, s.Bytes) {
			return false, fmt.Errorf("key %s+%08x: %w", v.Name(), v.KeyHash(), ErrSignature)
		}
		signed = true
	}
	return signed, nil
}

// Sign makes a note of text, which must end in a newline.
func Sign(text []byte, signers ...note.Signer) ([]byte, error) {
	n := &Note{Text: text}
	for _, s := range signers {
		sig, err := s.Sign(text)
		if err != nil {
			return nil, fmt.Errorf("signing as %s: %w", s.Name(), err)
		}
		n.Signatures = append(n.Signatures, Signature{Name: s.Name(), Hash: s.KeyHash(), Bytes: sig})
	}
	b := n.Append(nil)
	if _, err := ParseNote(b); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return b, nil
}
