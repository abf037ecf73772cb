package elections

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

// Keys are the keys of everyone who signs in a rehearsal: of each county an
// official, two supervisors and, where the election asks for two signatures,
// an approver.
//
// THEY ARE NO SECRET: everyone who knows the seed has them. They are for
// rehearsals only and must never stand in the roster of a real election.
type Keys struct {
	roster    []byte
	perCounty int
	signers   []Signer // perCounty for each county, in the order of seats
}

// Signer signs notes with a rehearsal key. It implements note.Signer.
type Signer struct {
	name string
	hash uint32
	key  ed25519.PrivateKey
}

var _ note.Signer = (*Signer)(nil)

// Name implements note.Signer.
func (s *Signer) Name() string { return s.name }

// KeyHash implements note.Signer.
func (s *Signer) KeyHash() uint32 { return s.hash }

// Sign implements note.Signer.
func (s *Signer) Sign(text []byte) ([]byte, error) { return ed25519.Sign(s.key, text), nil }

// VerifierKey is the public half, as a roster has it.
func (s *Signer) VerifierKey() string {
	public := append([]byte{algorithmEd25519}, s.key.Public().(ed25519.PublicKey)...)
	return fmt.Sprintf("%s+%08x+%s", s.name, s.hash, base64.StdEncoding.EncodeToString(public))
}

// SignerKey is the private half, in the encoding of golang.org/x/mod/sumdb/note.
func (s *Signer) SignerKey() string {
	private := append([]byte{algorithmEd25519}, s.key.Seed()...)
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", s.name, s.hash, base64.StdEncoding.EncodeToString(private))
}

// algorithmEd25519 is the algorithm byte of https://c2sp.org/signed-note.
const algorithmEd25519 = 1

// RehearsalSigner makes the key that seed gives to name. See Keys: it is no
// secret.
func RehearsalSigner(seed uint64, name string) Signer {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("tallystream rehearsal key, no secret\n"+name+"\n"), seed))
	s := Signer{name: name, key: ed25519.NewKeyFromSeed(h[:])}
	text := append([]byte(name+"\n"), algorithmEd25519)
	sum := sha256.Sum256(append(text, s.key.Public().(ed25519.PublicKey)...))
	s.hash = binary.BigEndian.Uint32(sum[:])
	return s
}

// The order of a county's signers.
const (
	seatOfficial = iota
	seatSupervisor
	seatSecondSupervisor
	seatApprover
)

var seatRoles = []struct {
	prefix string
	role   schemas.Role
}{
	{"official", schemas.Official}, {"supervisor-1", schemas.Supervisor}, {"supervisor-2", schemas.Supervisor}, {"approver", schemas.Approver},
}

// NewKeys makes the keys that seed gives to the counties of e. It takes about
// 30 us a key.
func NewKeys(e *schemas.Election, seed uint64) (*Keys, error) {
	k := &Keys{perCounty: seatApprover}
	if e.Definition.Signatures == 2 {
		k.perCounty++
	}
	roster := schemas.Roster{Schema: schemas.RosterSchema, Election: e.Definition.Election}
	for i := range e.Counties {
		county := e.Counties[i].ID
		for _, seat := range seatRoles[:k.perCounty] {
			s := RehearsalSigner(seed, seat.prefix+"."+string(county))
			k.signers = append(k.signers, s)
			roster.Keys = append(roster.Keys, schemas.KeyEntry{Key: s.VerifierKey(), Role: seat.role, County: county})
		}
	}
	var err error
	if k.roster, err = json.Marshal(roster); err != nil {
		return nil, fmt.Errorf("writing the roster: %w", err)
	}
	return k, nil
}

// Roster is the JSON of the roster.
func (k *Keys) Roster() []byte { return k.roster }

// Sign appends to dst who must sign an ordinary submission of county c.
func (k *Keys) Sign(dst []note.Signer, c schemas.CountyIndex) []note.Signer {
	dst = append(dst, k.seat(c, seatOfficial))
	if k.perCounty > seatApprover {
		dst = append(dst, k.seat(c, seatApprover))
	}
	return dst
}

// Correct appends to dst who must sign a correction of county c.
func (k *Keys) Correct(dst []note.Signer, c schemas.CountyIndex) []note.Signer {
	return append(dst, k.seat(c, seatSupervisor), k.seat(c, seatSecondSupervisor))
}

// Official is the signer of county c's official.
func (k *Keys) Official(c schemas.CountyIndex) note.Signer { return k.seat(c, seatOfficial) }

func (k *Keys) seat(c schemas.CountyIndex, seat int) *Signer {
	return &k.signers[int(c)*k.perCounty+seat]
}
