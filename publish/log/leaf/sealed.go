package leaf

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"

	"tallystream/schemas"
)

// SaltSize is the length of a seal's salt.
const SaltSize = 32

// sealPrefix begins what a commitment hashes.
const sealPrefix = "tallystream/seal/v1\n"

// Sealed stands in the log for the leaf of an entry about a unit whose counts are
// suppressed: a Submission, a Hold or a Release. It commits to that leaf and shows
// of it what became of the entry, and whose it is. The salt keeps small counts from
// being found by trying them all, so it must be secret and random, or made of a
// secret, one for each leaf.
type Sealed struct {
	Outcome   schemas.EntryKind
	Code      schemas.HoldCode // of what is held
	Hold      uint64           // Seq of the hold that was released, or lapsed
	Partition schemas.Partition
	Seq       uint64
	// Unit and Revision are empty and 0 for poison that names none.
	Unit       schemas.UnitID
	Revision   schemas.Revision
	Commitment schemas.Digest // SHA-256 of "tallystream/seal/v1\n", salt, the leaf's bytes
}

// Kind is KindSealed.
func (*Sealed) Kind() Kind { return KindSealed }

func (s *Sealed) fields(w *writer) {
	w.text("outcome", string(s.Outcome))
	switch s.Outcome {
	case schemas.EntryHeld:
		w.text("code", string(s.Code))
	case schemas.EntryReleased, schemas.EntryLapsed:
		w.number("hold", s.Hold)
	}
	unit := s.Unit
	if unit == "" {
		unit = noUnit
	}
	w.place(s.Partition, s.Seq, unit, s.Revision)
	w.text("commitment", s.Commitment.String())
}

func (s *Sealed) read(r *reader) error {
	s.Outcome = parsed(r, "outcome", parseEntryKind)
	switch s.Outcome {
	case schemas.EntryHeld:
		s.Code = parsed(r, "code", parseHoldCode)
	case schemas.EntryReleased, schemas.EntryLapsed:
		s.Hold = r.number("hold", 1, math.MaxUint64)
	}
	s.Partition = schemas.Partition(r.number("partition", 0, math.MaxUint16))
	s.Seq = r.number("seq", 1, math.MaxUint64)
	unit := r.text("unit")
	s.Revision = schemas.Revision(r.number("revision", 0, uint64(schemas.MaxRevision)))
	s.Commitment = parsed(r, "commitment", schemas.ParseDigest)
	if r.err != nil {
		return r.err
	}
	if s.Hold >= s.Seq {
		return fmt.Errorf("hold: want an entry before this one, %d", s.Seq)
	}
	// What names no unit is poison, here as in a hold.
	named := Hold{Code: s.Code, Revision: s.Revision}
	err := named.readUnit(unit)
	s.Unit = named.Unit
	return err
}

func parseEntryKind(s string) (schemas.EntryKind, error) {
	for _, k := range schemas.EntryKinds {
		if s == string(k) {
			return k, nil
		}
	}
	return "", fmt.Errorf("want one of %s", schemas.EntryKinds)
}

// errUnsealable: a leaf that is no ledger's entry.
var errUnsealable = errors.New("only submissions, holds and releases can be sealed")

// shown is what a seal shows of a leaf.
func shown(l Leaf) (*Sealed, error) {
	switch l := l.(type) {
	case *Submission:
		return &Sealed{Outcome: l.Outcome, Partition: l.Partition, Seq: l.Seq, Unit: l.Unit, Revision: l.Revision}, nil
	case *Hold:
		return &Sealed{Outcome: schemas.EntryHeld, Code: l.Code, Partition: l.Partition, Seq: l.Seq, Unit: l.Unit, Revision: l.Revision}, nil
	case *Release:
		return &Sealed{Outcome: l.Outcome, Hold: l.Hold, Partition: l.Partition, Seq: l.Seq, Unit: l.Unit, Revision: l.Revision}, nil
	}
	return nil, errUnsealable
}

// Seal commits to a leaf.
func Seal(l Leaf, salt [SaltSize]byte) (*Sealed, error) {
	s, err := shown(l)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	b, err := Append(nil, l)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	s.Commitment = commit(b, salt)
	return s, nil
}

func commit(leaf []byte, salt [SaltSize]byte) (d schemas.Digest) {
	h := sha256.New()
	h.Write([]byte(sealPrefix))
	h.Write(salt[:])
	h.Write(leaf)
	h.Sum(d[:0])
	return d
}

// ErrSeal: this is not what was sealed.
var ErrSeal = errors.New("does not open the seal")

// Open checks that a salt and the bytes of a leaf are what was sealed, and
// returns the leaf.
func (s *Sealed) Open(leaf []byte, salt [SaltSize]byte) (Leaf, error) {
	got := commit(leaf, salt)
	if subtle.ConstantTimeCompare(got[:], s.Commitment[:]) != 1 {
		return nil, fmt.Errorf("opening the seal of unit %s: %w", s.Unit, ErrSeal)
	}
	l, err := Decode(leaf)
	if err != nil {
		return nil, fmt.Errorf("opening the seal of unit %s: %w", s.Unit, err)
	}
	own, err := shown(l)
	if err != nil {
		return nil, fmt.Errorf("opening the seal of unit %s: %w", s.Unit, err)
	}
	if own.Commitment = s.Commitment; *own != *s {
		return nil, fmt.Errorf("opening the seal of unit %s: the leaf in it says otherwise than the seal: %w", s.Unit, ErrSeal)
	}
	return l, nil
}
