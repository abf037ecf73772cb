package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Count is a number of votes or ballots, of one unit and one count type.
// Sums over units are Tally cells.
type Count uint32

// MaxCount is the largest count a unit may state: above any real unit, and low
// enough that no sum of an election can overflow a tally cell.
const MaxCount Count = 99_999_999

// Revision numbers a unit's statements, from 1. A later one replaces an
// earlier one whole.
type Revision uint32

// MaxRevision bounds what a client may claim.
const MaxRevision Revision = 1_000_000

// ParseRevision reads a decimal revision from 1 to MaxRevision, in its only
// spelling: no sign, no leading zero.
func ParseRevision(s string) (Revision, error) {
	n, err := parseDecimal(s, uint64(MaxRevision))
	if err != nil || n == 0 {
		return 0, fmt.Errorf("revision %s: want a whole number from 1 to %d", strconv.QuoteToASCII(clip(s)), MaxRevision)
	}
	return Revision(n), nil
}

// String is the decimal spelling.
func (r Revision) String() string { return strconv.FormatUint(uint64(r), 10) }

// Partition is a virtual partition of the stream; their number is fixed for
// an election.
type Partition uint16

// String is the decimal spelling.
func (p Partition) String() string { return strconv.FormatUint(uint64(p), 10) }

// Checkpoint is a position in the stream: everything of the partition up to
// and including it is folded. Zero is before the first record. Kinesis
// sequence numbers do not fit; their adapter maps them.
type Checkpoint uint64

// String is the decimal spelling.
func (c Checkpoint) String() string { return strconv.FormatUint(uint64(c), 10) }

// Epoch counts the owners of something that only one process may write.
type Epoch uint64

// String is the decimal spelling.
func (e Epoch) String() string { return strconv.FormatUint(uint64(e), 10) }

// LogSize is a number of leaves of the public log: its size at some moment. The
// definition, every ledger entry and every snapshot is a leaf.
type LogSize uint64

// String is the decimal spelling.
func (n LogSize) String() string { return strconv.FormatUint(uint64(n), 10) }

// Version of a document: the log size at which its bytes last changed.
type Version = LogSize

// SnapshotNumber numbers published snapshots densely from 1.
type SnapshotNumber uint64

// String is the decimal spelling.
func (n SnapshotNumber) String() string { return strconv.FormatUint(uint64(n), 10) }

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// DigestOf hashes b.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// ParseDigest reads 64 lower-case hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) == 2*len(d) && isLowerHex(s) {
		if _, err := hex.Decode(d[:], []byte(s)); err == nil {
			return d, nil
		}
	}
	return Digest{}, fmt.Errorf("digest %s: want 64 lower-case hexadecimal digits", strconv.QuoteToASCII(clip(s)))
}

// String is the lower-case hexadecimal spelling.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether d is not set.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(b []byte) error {
	x, err := ParseDigest(string(b))
	if err == nil {
		*d = x
	}
	return err
}

func isLowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// parseDecimal reads the only spelling of a whole number up to most.
func parseDecimal[T string | []byte](s T, most uint64) (uint64, error) {
	if len(s) == 0 || len(s) > 20 || (s[0] == '0' && len(s) > 1) {
		return 0, strconv.ErrSyntax
	}
	n := uint64(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, strconv.ErrSyntax
		}
		d := uint64(c - '0')
		if n > (most-d)/10 {
			return 0, strconv.ErrRange
		}
		n = n*10 + d
	}
	return n, nil
}
