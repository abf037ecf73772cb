package log

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Signature types of verifier keys (https://c2sp.org/signed-note#signature-types).
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04
)

// cosignatureSize: time (8 bytes, big endian, seconds since 1970) and Ed25519.
const cosignatureSize = 8 + ed25519.SignatureSize

// cosigned is the message of a cosignature
// (https://c2sp.org/tlog-cosignature#ed25519-signed-message).
func cosigned(text []byte, seconds uint64) []byte {
	b := append(make([]byte, 0, 40+len(text)), "cosignature/v1\ntime "...)
	b = strconv.AppendUint(b, seconds, 10)
	b = append(b, '\n')
	return append(b, text...)
}

// keyID is the key ID of signed-note: the first four bytes of the hash.
func keyID(name string, kind byte, public []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', kind})
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// vkey spells a verifier key: name+hash+key.
func vkey(name string, kind byte, public []byte) string {
	raw := append([]byte{kind}, public...)
	return fmt.Sprintf("%s+%08x+%s", name, keyID(name, kind, public), base64.StdEncoding.EncodeToString(raw))
}

// parseVKey reads a verifier key of Ed25519 of the type wanted, in its only
// spelling.
func parseVKey(s string, kind byte) (name string, public ed25519.PublicKey, err error) {
	want := "name+hash+key of an Ed25519 log key (type 1)"
	if kind == typeCosignature {
		want = "name+hash+key of an Ed25519 witness key (type 4)"
	}
	part := strings.SplitN(s, "+", 3) // the key's base64 may hold more of them
	if len(part) != 3 || !validKeyName(part[0]) {
		return "", nil, fmt.Errorf("verifier key: want %s", want)
	}
	raw, err := base64.StdEncoding.DecodeString(part[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != kind {
		return "", nil, fmt.Errorf("verifier key %s: want %s", strconv.QuoteToASCII(part[0]), want)
	}
	if vkey(part[0], kind, raw[1:]) != s {
		return "", nil, fmt.Errorf("verifier key %s: its hash or its base64 is not right; want %s", strconv.QuoteToASCII(part[0]), want)
	}
	return part[0], raw[1:], nil
}

// Cosigner signs checkpoints as a witness: a note.Signer of type 4.
type Cosigner struct {
	inner  note.Signer
	public ed25519.PublicKey
	now    func() time.Time
}

// NewCosigner makes a witness's signer of an Ed25519 signer and its verifier
// key (as schemas.OpenPrivateKey returns them). The key must sign nothing
// else: the message of a cosignature does not name its signer.
func NewCosigner(signer note.Signer, verifierKey string, now func() time.Time) (*Cosigner, error) {
	name, public, err := parseVKey(verifierKey, typeEd25519)
	if err != nil {
		return nil, err
	}
	if name != signer.Name() {
		return nil, fmt.Errorf("cosigner %s: the verifier key is that of %s", signer.Name(), name)
	}
	return &Cosigner{inner: signer, public: public, now: now}, nil
}

// Name is the witness's name.
func (c *Cosigner) Name() string { return c.inner.Name() }

// KeyHash is the key ID of type 4.
func (c *Cosigner) KeyHash() uint32 { return keyID(c.Name(), typeCosignature, c.public) }

// VerifierKey is what a policy names the witness by.
func (c *Cosigner) VerifierKey() string { return vkey(c.Name(), typeCosignature, c.public) }

// Sign cosigns the text of a checkpoint as of now.
func (c *Cosigner) Sign(text []byte) ([]byte, error) {
	if _, err := ParseCheckpoint(text); err != nil {
		return nil, fmt.Errorf("cosigning: %w", err)
	}
	at := c.now().Unix()
	if at < 0 {
		return nil, errors.New("cosigning: the clock is before 1970")
	}
	sig, err := c.inner.Sign(cosigned(text, uint64(at)))
	if err != nil {
		return nil, fmt.Errorf("cosigning: %w", err)
	}
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)), sig...), nil
}

// Cosignatory verifies the cosignatures of one witness: a note.Verifier.
type Cosignatory struct {
	name   string
	hash   uint32
	public ed25519.PublicKey
}

// ParseCosignatory reads a verifier key of type 4.
func ParseCosignatory(s string) (*Cosignatory, error) {
	name, public, err := parseVKey(s, typeCosignature)
	if err != nil {
		return nil, err
	}
	return &Cosignatory{name: name, hash: keyID(name, typeCosignature, public), public: public}, nil
}

// Name is the witness's name.
func (v *Cosignatory) Name() string { return v.name }

// KeyHash is the key ID.
func (v *Cosignatory) KeyHash() uint32 { return v.hash }

// VerifierKey is how a policy names the witness.
func (v *Cosignatory) VerifierKey() string { return vkey(v.name, typeCosignature, v.public) }

// Verify checks a cosignature.
func (v *Cosignatory) Verify(text, sig []byte) bool {
	if len(sig) != cosignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig)
	return seconds <= math.MaxInt64 && ed25519.Verify(v.public, cosigned(text, seconds), sig[8:])
}

// CosignedAt finds when the witness cosigned the note, if it did.
func (v *Cosignatory) CosignedAt(n *Note) (at time.Time, ok bool, err error) {
	if ok, err = n.SignedBy(v); err != nil || !ok {
		return time.Time{}, false, err
	}
	for i := range n.Signatures {
		if s := &n.Signatures[i]; s.Name == v.name && s.Hash == v.hash {
			return time.Unix(int64(binary.BigEndian.Uint64(s.Bytes)), 0).UTC(), true, nil
		}
	}
	return time.Time{}, false, nil
}

// LogKey is the key of a log: a note.Verifier of type 1 with its public key.
type LogKey struct {
	note.Verifier
	Public ed25519.PublicKey
}

// ParseLogKey reads a verifier key of type 1.
func ParseLogKey(s string) (*LogKey, error) {
	_, public, err := parseVKey(s, typeEd25519)
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(s)
	if err != nil {
		return nil, fmt.Errorf("verifier key: %w", err)
	}
	return &LogKey{Verifier: v, Public: public}, nil
}
