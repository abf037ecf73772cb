package schemas

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// Signed notes follow C2SP signed-note (https://c2sp.org/signed-note): text
// that ends in a newline, an empty line, then one line a signature, each an em
// dash, a space, the key name, a space and base64 of key hash and signature.
// golang.org/x/mod/sumdb/note makes and opens them off the hot path; the
// functions here do the same without copying, for submissions and receipts.

// signaturePrefix begins each signature line.
const signaturePrefix = "— "

// MaxSignatures is the most signature lines a submission may carry.
const MaxSignatures = 4

// VerifierKey is a parsed verifier key of Ed25519.
type VerifierKey struct {
	Name   string
	Hash   uint32
	Public ed25519.PublicKey
}

// ParseVerifierKey reads the encoding "name+hash+key" of a verifier key.
func ParseVerifierKey(s string) (VerifierKey, error) {
	v, err := note.NewVerifier(s)
	if err != nil {
		return VerifierKey{}, fmt.Errorf("verifier key: %w", err)
	}
	// NewVerifier checked the form: name+hash+base64(algorithm byte, key).
	raw, err := base64.StdEncoding.DecodeString(s[strings.LastIndexByte(s[:len(v.Name())+10], '+')+1:])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return VerifierKey{}, fmt.Errorf("verifier key %s: want an Ed25519 key", v.Name())
	}
	// Base64 may hide line ends and the hash may be in capitals: one key, one
	// spelling.
	if spelling, err := note.NewEd25519VerifierKey(v.Name(), raw[1:]); err != nil || spelling != s {
		return VerifierKey{}, fmt.Errorf("verifier key %s: is not spelled as it is written", v.Name())
	}
	return VerifierKey{Name: v.Name(), Hash: v.KeyHash(), Public: raw[1:]}, nil
}

// AppendSignature appends one signature line over text.
func AppendSignature(dst, text []byte, signer note.Signer) ([]byte, error) {
	sig, err := signer.Sign(text)
	if err != nil {
		return dst, fmt.Errorf("signing as %s: %w", signer.Name(), err)
	}
	var raw [4 + ed25519.SignatureSize]byte
	if len(sig) != ed25519.SignatureSize {
		return dst, fmt.Errorf("signing as %s: a signature of %d bytes, want %d", signer.Name(), len(sig), ed25519.SignatureSize)
	}
	binary.BigEndian.PutUint32(raw[:], signer.KeyHash())
	copy(raw[4:], sig)
	dst = append(dst, signaturePrefix...)
	dst = append(dst, signer.Name()...)
	dst = append(dst, ' ')
	dst = base64.StdEncoding.AppendEncode(dst, raw[:])
	return append(dst, '\n'), nil
}

// AppendNote appends text, an empty line and the signatures of all signers.
// The text must end in a newline.
func AppendNote(dst, text []byte, signers ...note.Signer) ([]byte, error) {
	dst = append(dst, text...)
	dst = append(dst, '\n')
	for _, s := range signers {
		var err error
		if dst, err = AppendSignature(dst, text, s); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// Signature is one parsed signature line; Name aliases the note.
type Signature struct {
	Name []byte
	Hash uint32
	Sig  [ed25519.SignatureSize]byte
}

// signedText is the text of a parsed note and its signature lines. It aliases
// the note.
type signedText struct {
	Text []byte // what is signed

	signatures [MaxSignatures]Signature
	n          int
}

// Signatures lists the signature lines, unchecked.
func (t *signedText) Signatures() []Signature { return t.signatures[:t.n] }

// Verify checks signature i against key k, whose name and hash must match.
func (t *signedText) Verify(i int, k *Key) bool {
	s := &t.signatures[i]
	return k.Hash == s.Hash && k.Name == string(s.Name) && ed25519.Verify(k.Public, t.Text, s.Sig[:])
}

// isKeyName reports whether b can name a key: UTF-8 without spaces of any kind
// and without '+', as signed-note has it, and without control characters.
func isKeyName(b []byte) bool {
	ascii := true
	for _, c := range b {
		if c <= ' ' || c == '+' || c == 0x7f {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return len(b) > 0 && (ascii || utf8.Valid(b) && !bytes.ContainsFunc(b, unicode.IsSpace))
}

// parseSignatures reads signature lines into out and returns how many.
func parseSignatures(lines []byte, out *[MaxSignatures]Signature) (int, error) {
	n := 0
	for len(lines) > 0 {
		if n == len(out) {
			return n, fmt.Errorf("more than %d signatures", len(out))
		}
		line, rest, ok := bytes.Cut(lines, []byte{'\n'})
		if !ok {
			return n, fmt.Errorf("signature %d does not end in a newline", n+1)
		}
		if err := out[n].parse(line); err != nil {
			return n, fmt.Errorf("signature %d: %w", n+1, err)
		}
		lines = rest
		n++
	}
	if n == 0 {
		return 0, fmt.Errorf("no signature")
	}
	return n, nil
}

func (s *Signature) parse(line []byte) error {
	line, ok := bytes.CutPrefix(line, []byte(signaturePrefix))
	if !ok {
		return fmt.Errorf("want an em dash and a space first")
	}
	name, text, ok := bytes.Cut(line, []byte{' '})
	if !ok || !isKeyName(name) {
		return fmt.Errorf("want a key name and base64")
	}
	const size = 4 + ed25519.SignatureSize
	// One byte more than wanted: text without padding decodes to that, and
	// Decode panics where its room ends.
	var raw [size + 1]byte
	if base64.StdEncoding.EncodedLen(size) != len(text) {
		return fmt.Errorf("want %d bytes in base64", size)
	}
	if n, err := base64.StdEncoding.Strict().Decode(raw[:], text); err != nil || n != size {
		return fmt.Errorf("want %d bytes in base64", size)
	}
	s.Name, s.Hash = name, binary.BigEndian.Uint32(raw[:])
	copy(s.Sig[:], raw[4:])
	return nil
}
