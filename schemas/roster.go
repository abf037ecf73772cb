package schemas

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
)

// RosterSchema is the version that every roster carries.
const RosterSchema = "tallystream.roster/1"

// Role is what a key may do.
type Role string

// The roles of keys.
const (
	Official   Role = "official"   // signs a unit's submissions
	Approver   Role = "approver"   // signs second where the election asks for two
	Supervisor Role = "supervisor" // signs corrections (and releases), two of them each time
)

// Roster names the keys that may sign submissions. It is a document of its
// own, so that keys can change without touching the ballot-definition hash.
type Roster struct {
	Schema   string     `json:"schema"`
	Election ElectionID `json:"election"`
	Keys     []KeyEntry `json:"keys"`
}

// KeyEntry gives a key its role, within a county or, where that is empty, in
// the whole election.
type KeyEntry struct {
	// Key is a verifier key as in golang.org/x/mod/sumdb/note: name+hash+key.
	Key    string   `json:"key"`
	Role   Role     `json:"role"`
	County CountyID `json:"county,omitempty"`
}

// Key is a roster entry ready for verifying.
type Key struct {
	Name   string
	Hash   uint32
	Public ed25519.PublicKey
	Role   Role
	County CountyIndex // AnyCounty: the whole election
}

// AnyCounty marks a key of the whole election.
const AnyCounty CountyIndex = -1

// Keyring is a compiled roster. It is immutable and safe for concurrent use.
type Keyring struct{ byName map[string]*Key }

// OpenRoster parses a roster and checks it against the election.
func OpenRoster(b []byte, e *Election) (*Keyring, error) {
	var r Roster
	if err := readJSON(b, &r); err != nil {
		return nil, fmt.Errorf("reading roster: %w", err)
	}
	if r.Schema != RosterSchema {
		return nil, fmt.Errorf("roster: schema is %q, want %q", r.Schema, RosterSchema)
	}
	if r.Election != e.Definition.Election {
		return nil, fmt.Errorf("roster: is for election %q, want %q", r.Election, e.Definition.Election)
	}
	ring := &Keyring{byName: make(map[string]*Key, len(r.Keys))}
	for i := range r.Keys {
		k, err := e.openKey(&r.Keys[i])
		if err != nil {
			return nil, fmt.Errorf("roster: key %d: %w", i, err)
		}
		if ring.byName[k.Name] != nil {
			return nil, fmt.Errorf("roster: key %d: name %q twice", i, k.Name)
		}
		ring.byName[k.Name] = k
	}
	return ring, nil
}

func (e *Election) openKey(entry *KeyEntry) (*Key, error) {
	v, err := ParseVerifierKey(entry.Key)
	if err != nil {
		return nil, err
	}
	k := &Key{Name: v.Name, Hash: v.Hash, Public: v.Public, Role: entry.Role, County: AnyCounty}
	switch entry.Role {
	case Official, Approver, Supervisor:
	default:
		return nil, fmt.Errorf("role %q: want official, approver or supervisor", entry.Role)
	}
	if entry.County != "" {
		c, ok := e.County(entry.County)
		if !ok {
			return nil, fmt.Errorf("county %q is not defined", entry.County)
		}
		k.County = c
	}
	return k, nil
}

// Lookup finds a key by its name; nil if there is none.
func (r *Keyring) Lookup(name []byte) *Key { return r.byName[string(name)] }

// Both returns the keys that are in both rosters, in the same role and for the
// same counties.
func (r *Keyring) Both(other *Keyring) *Keyring {
	both := &Keyring{byName: map[string]*Key{}}
	for name, key := range r.byName {
		if o := other.byName[name]; o != nil && o.Hash == key.Hash && o.Role == key.Role && o.County == key.County && bytes.Equal(o.Public, key.Public) {
			both.byName[name] = key
		}
	}
	return both
}

// Covers reports whether k may sign for county c.
func (k *Key) Covers(c CountyIndex) bool { return k.County == AnyCounty || k.County == c }
