package suppress

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// SecretSize is the least length of a secret, in bytes.
const SecretSize = 32

// ErrSecret: what was given is no secret.
var ErrSecret = errors.New("want at least 32 random bytes in base64, as `openssl rand -base64 32` prints them")

// Secret is what the salts of sealed leaves are made of. Whoever has it can find
// small numbers by trying: it belongs to the publisher and, after the night, to
// auditors. The same secret gives the same leaves again, which recovery needs.
type Secret struct{ key []byte }

// ParseSecret reads a secret. Errors never repeat what was read.
func ParseSecret(b []byte) (*Secret, error) {
	b = bytes.TrimSpace(b)
	key := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Strict().Decode(key, b)
	if err != nil || n < SecretSize || bytes.Count(key[:n], key[:1]) == n {
		return nil, ErrSecret
	}
	return &Secret{key[:n]}, nil
}

// saltText begins what the salts' HMAC-SHA256 is over.
const saltText = "tallystream/seal-salt/v1"

// Salt is the one of an entry: HMAC-SHA256, under the secret, of the lines
// "tallystream/seal-salt/v1", origin, partition and seq.
func (s *Secret) Salt(origin string, partition schemas.Partition, seq uint64) (salt [leaf.SaltSize]byte) {
	h := hmac.New(sha256.New, s.key)
	fmt.Fprintf(h, "%s\n%s\n%d\n%d\n", saltText, origin, partition, seq)
	h.Sum(salt[:0])
	return salt
}

// Hides reports whether an entry's leaf must be sealed: it is about a unit of a
// remainder, or names no unit at all, and so might be.
func Hides(e *schemas.Election, entry *schemas.Entry) bool {
	if len(e.Remainders) == 0 {
		return false
	}
	u, ok := e.Unit(entry.Unit)
	return !ok || e.RemainderOf(u) >= 0
}

// Seal makes the sealed leaf of an entry's own leaf.
func (s *Secret) Seal(origin string, entry *schemas.Entry, own leaf.Leaf) (*leaf.Sealed, error) {
	return leaf.Seal(own, s.Salt(origin, entry.Partition, entry.Seq))
}
