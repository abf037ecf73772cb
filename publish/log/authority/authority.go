package authority

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// What a caller decides on. All mean that the leaf is invalid: a sequencer
// must not log it, a verifier must name it.
var (
	// ErrGenesis: leaf 0 is not a definition, or another leaf is one.
	ErrGenesis = errors.New("the definition is the first leaf and no other")
	// ErrFixed: the election has no root keys, so nothing may change.
	ErrFixed = errors.New("the election has no root keys: roster and keys are fixed")
	// ErrThreshold: fewer different root keys signed than must.
	ErrThreshold = errors.New("too few root keys signed")
	// ErrOrder: the statement's number is not the next one.
	ErrOrder = errors.New("statements are numbered from 1 without gaps")
	// ErrLast: the statement revokes the last key of its role. Another must be
	// added first, or nobody could sign any more.
	ErrLast = errors.New("the last key of a role cannot be revoked")
	// ErrNoChange: the statement states what is so already.
	ErrNoChange = errors.New("the statement changes nothing")
)

// Powers is who may sign what, for one stretch of the log. It is never changed
// once it is made.
type Powers struct {
	Origin     string
	Definition leaf.File
	Roster     leaf.File
	Threshold  int
	// Statements is how many took effect so far; the next one's number is one
	// more.
	Statements uint64

	roots   []note.Verifier
	keys    map[leaf.KeyRole][]string // verifier keys
	revoked []string                  // roster keys, sorted
}

// Keys lists the keys of a role.
func (p *Powers) Keys(role leaf.KeyRole) []note.Verifier {
	v, _ := verifiers(p.keys[role]) // each was opened when it came
	return v
}

// VerifierKeys lists them as they are written, name+hash+key.
func (p *Powers) VerifierKeys(role leaf.KeyRole) []string { return slices.Clone(p.keys[role]) }

// Roots lists the root keys.
func (p *Powers) Roots() []note.Verifier { return slices.Clone(p.roots) }

// Revoked reports whether a key of the roster (name+hash+key) may sign no
// more. A new roster does not bring it back.
func (p *Powers) Revoked(key string) bool {
	_, found := slices.BinarySearch(p.revoked, key)
	return found
}

// RevokedKeys lists them, sorted.
func (p *Powers) RevokedKeys() []string { return slices.Clone(p.revoked) }

// Authority is the state after some leaves. Apply feeds it; it is not safe for
// concurrent use while it is fed.
type Authority struct {
	from   []int64 // first index at which powers[i] are in force, rising
	powers []*Powers
	last   int64 // index of the last leaf applied
}

// New makes an authority without any leaf. Apply the first one next.
func New() *Authority { return &Authority{last: -1} }

// Check returns the powers that a statement would bring as the next one, and
// changes nothing.
func (a *Authority) Check(s *leaf.Statement) (*Powers, error) {
	if len(a.powers) == 0 {
		return nil, ErrGenesis
	}
	return a.powers[len(a.powers)-1].change(s)
}

// Apply takes in the leaf at an index. Indexes rise; leaves that change no
// power may be left out. On an error nothing has changed.
func (a *Authority) Apply(index int64, l leaf.Leaf) error {
	if index <= a.last {
		return fmt.Errorf("applying leaf %d: leaf %d was applied before", index, a.last)
	}
	if err := a.apply(index, l); err != nil {
		return fmt.Errorf("applying leaf %d: %w", index, err)
	}
	a.last = index
	return nil
}

func (a *Authority) apply(index int64, l leaf.Leaf) error {
	d, isDefinition := l.(*leaf.Definition)
	if isDefinition != (index == 0) || (index > 0 && len(a.powers) == 0) {
		return ErrGenesis
	}
	if isDefinition {
		p, err := found(d)
		if err != nil {
			return err
		}
		a.enforce(0, p) // the definition is in force for its own leaf too: nobody came before
		return nil
	}
	s, ok := l.(*leaf.Statement)
	if !ok {
		return nil
	}
	next, err := a.powers[len(a.powers)-1].change(s)
	if err != nil {
		return err
	}
	a.enforce(index+1, next)
	return nil
}

func (a *Authority) enforce(from int64, p *Powers) {
	a.from, a.powers = append(a.from, from), append(a.powers, p)
}

// At returns the powers in force for the leaf at index, and for checkpoints
// and snapshots of a tree of that size: those after all leaves before it. It
// is nil before the definition was applied. An index beyond the leaves applied
// so far gets the latest.
func (a *Authority) At(index int64) *Powers {
	i := sort.Search(len(a.from), func(i int) bool { return a.from[i] > index })
	if i == 0 {
		return nil
	}
	return a.powers[i-1]
}

// Since returns the powers in force at an index, and those that followed.
func (a *Authority) Since(index int64) []*Powers {
	i := sort.Search(len(a.from), func(i int) bool { return a.from[i] > index })
	return slices.Clone(a.powers[max(i-1, 0):])
}

// found makes the first powers.
func found(d *leaf.Definition) (*Powers, error) {
	p := &Powers{
		Origin: d.Origin, Definition: d.Definition, Roster: d.Roster, Threshold: d.Threshold,
		keys: map[leaf.KeyRole][]string{},
	}
	var err error
	if p.roots, err = verifiers(d.Roots); err != nil {
		return nil, err
	}
	for _, k := range d.Keys {
		if _, err := note.NewVerifier(k.Key); err != nil {
			return nil, fmt.Errorf("key %s: %w", k.Key, err)
		}
		p.keys[k.Role] = append(p.keys[k.Role], k.Key)
	}
	return p, nil
}

func verifiers(keys []string) ([]note.Verifier, error) {
	var out []note.Verifier
	for _, key := range keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", key, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// change returns the powers after a statement.
func (p *Powers) change(s *leaf.Statement) (*Powers, error) {
	if p.Threshold == 0 {
		return nil, ErrFixed
	}
	n, err := log.ParseNote(s.Note)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(n.Text, s.AppendText(nil)) {
		return nil, errors.New("the statement says otherwise than its note")
	}
	if s.Origin != p.Origin {
		return nil, fmt.Errorf("the statement is of %q, want %q", s.Origin, p.Origin)
	}
	if s.Number != p.Statements+1 {
		return nil, fmt.Errorf("%w: number %d, want %d", ErrOrder, s.Number, p.Statements+1)
	}
	if err := signedBy(n, p.roots, p.Threshold); err != nil {
		return nil, err
	}
	next := *p
	next.Statements = s.Number
	switch s.Kind() {
	case leaf.KindRoster:
		err = replace(&next.Roster, s.File)
	case leaf.KindAmendment:
		err = replace(&next.Definition, s.File)
	case leaf.KindRoots:
		err = next.reroot(n, s)
	case leaf.KindKey:
		err = next.rekey(s)
	default:
		err = fmt.Errorf("a statement of kind %s", s.Kind())
	}
	if err != nil {
		return nil, err
	}
	return &next, nil
}

func replace(file *leaf.File, by leaf.File) error {
	if *file == by {
		return ErrNoChange
	}
	*file = by
	return nil
}

// signedBy wants the signatures of threshold different keys.
func signedBy(n *log.Note, keys []note.Verifier, threshold int) error {
	count := 0
	for _, key := range keys {
		ok, err := n.SignedBy(key)
		if err != nil {
			return err
		}
		if ok {
			count++
		}
	}
	if count < threshold {
		return fmt.Errorf("%w: %d, want %d of %d", ErrThreshold, count, threshold, len(keys))
	}
	return nil
}

// reroot replaces the root keys. A threshold of the new ones must have signed
// as well, so that nobody hands over to keys that cannot sign.
func (p *Powers) reroot(n *log.Note, s *leaf.Statement) error {
	roots, err := verifiers(s.Roots)
	if err != nil {
		return err
	}
	if err := signedBy(n, roots, s.Threshold); err != nil {
		return fmt.Errorf("the new root keys: %w", err)
	}
	p.roots, p.Threshold = roots, s.Threshold
	return nil
}

// rekey adds or revokes a key. Several keys of a role may be in force at once:
// that is how one overlaps the next.
func (p *Powers) rekey(s *leaf.Statement) error {
	role, key := s.Key.Role, s.Key.Key
	if role == leaf.RosterKey {
		at, found := slices.BinarySearch(p.revoked, key)
		if found {
			return ErrNoChange
		}
		p.revoked = slices.Insert(slices.Clone(p.revoked), at, key)
		return nil
	}
	if _, err := note.NewVerifier(key); err != nil {
		return fmt.Errorf("key %s: %w", key, err)
	}
	held := p.keys[role]
	at := slices.Index(held, key)
	switch {
	case s.Change == leaf.AddKey && at < 0:
		if len(held) == leaf.MaxKeys {
			return fmt.Errorf("more than %d keys of role %s", leaf.MaxKeys, role)
		}
		held = append(slices.Clip(held), key)
	case s.Change == leaf.RevokeKey && at >= 0 && len(held) == 1:
		return ErrLast
	case s.Change == leaf.RevokeKey && at >= 0:
		held = slices.Delete(slices.Clone(held), at, at+1)
	default:
		return ErrNoChange
	}
	p.keys = maps.Clone(p.keys)
	p.keys[role] = held
	return nil
}

// Keyring opens the bytes of the roster in force, without the keys that were
// revoked one by one.
func (p *Powers) Keyring(roster []byte, e *schemas.Election) (*schemas.Keyring, error) {
	if uint64(len(roster)) != p.Roster.Bytes || schemas.DigestOf(roster) != p.Roster.Digest {
		return nil, fmt.Errorf("opening the roster: these are not the bytes in force, %s", p.Roster.Digest)
	}
	ring, err := schemas.OpenRoster(roster, e)
	if err != nil || len(p.revoked) == 0 {
		return ring, err
	}
	var r schemas.Roster
	if err := json.Unmarshal(roster, &r); err != nil {
		return nil, fmt.Errorf("opening the roster: %w", err)
	}
	r.Keys = slices.DeleteFunc(r.Keys, func(k schemas.KeyEntry) bool { return p.Revoked(k.Key) })
	if roster, err = json.Marshal(r); err != nil {
		return nil, fmt.Errorf("opening the roster: %w", err)
	}
	return schemas.OpenRoster(roster, e)
}
