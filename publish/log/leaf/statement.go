package leaf

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"tallystream/publish/log"
	"tallystream/schemas"
)

// KeyRole is what a key of the authority is for.
type KeyRole string

// The roles of keys. Keys of officials and supervisors stand in rosters.
const (
	LogKey      KeyRole = "log"      // signs checkpoints
	SnapshotKey KeyRole = "snapshot" // signs snapshots and pauses
	ReceiptKey  KeyRole = "receipt"  // signs receipts
	RosterKey   KeyRole = "roster"   // a key of the roster; can only be revoked here
)

// Definition is the first leaf: it binds the election to its definition and
// roster and says who may change what.
type Definition struct {
	Origin     string // first line of every note of the election
	Election   schemas.ElectionID
	Definition File
	Roster     File
	// Threshold of the roots must sign each Statement. 0: there are no roots,
	// and roster and keys are fixed for good.
	Threshold int
	Roots     []string // verifier keys
	Keys      []RoleKey
}

// File is a published file by its content: too large for a leaf, and found by
// its hash.
type File struct {
	Digest schemas.Digest
	Bytes  uint64
}

// RoleKey is a verifier key with its role.
type RoleKey struct {
	Role KeyRole
	Key  string // name+hash+key
}

// Limits of key sets.
const (
	MaxRoots = 32
	MaxKeys  = 64
)

// Kind is KindDefinition.
func (*Definition) Kind() Kind { return KindDefinition }

func (l *Definition) fields(w *writer) {
	w.text("origin", l.Origin)
	w.text("election", string(l.Election))
	w.file("definition", l.Definition)
	w.file("roster", l.Roster)
	w.number("threshold", uint64(l.Threshold))
	for _, key := range l.Roots {
		w.text("root", key)
	}
	for _, k := range l.Keys {
		w.text("key", string(k.Role)+" "+k.Key)
	}
}

func (l *Definition) read(r *reader) error {
	l.Origin = r.text("origin")
	l.Election = parsed(r, "election", schemas.ParseElectionID)
	l.Definition, l.Roster = r.file("definition"), r.file("roster")
	l.Threshold = int(r.number("threshold", 0, MaxRoots))
	l.Roots = r.roots(l.Threshold)
	for r.has("key") {
		role, key, _ := strings.Cut(r.text("key"), " ")
		l.Keys = append(l.Keys, RoleKey{KeyRole(role), key})
	}
	if r.err != nil {
		return r.err
	}
	if err := checkOrigin(l.Origin); err != nil {
		return err
	}
	return checkKeys(l.Keys)
}

// checkKeys wants keys of known roles, each once.
func checkKeys(keys []RoleKey) error {
	if len(keys) > MaxKeys {
		return fmt.Errorf("%d keys, want at most %d", len(keys), MaxKeys)
	}
	seen := map[RoleKey]bool{}
	for _, k := range keys {
		if k.Role == RosterKey || !k.Role.valid() {
			return errors.New("key: want log, snapshot or receipt, and a verifier key")
		}
		if _, err := schemas.ParseVerifierKey(k.Key); err != nil {
			return err
		}
		if seen[k] {
			return fmt.Errorf("key %s stands twice", k.Key)
		}
		seen[k] = true
	}
	return nil
}

func (k KeyRole) valid() bool {
	switch k {
	case LogKey, SnapshotKey, ReceiptKey, RosterKey:
		return true
	}
	return false
}

// checkOrigin wants what can begin a note.
func checkOrigin(origin string) error {
	odd := func(c rune) bool { return c <= ' ' || c == '+' || unicode.IsSpace(c) || unicode.IsControl(c) }
	if origin == "" || len(origin) > maxOrigin || !utf8.ValidString(origin) || strings.IndexFunc(origin, odd) >= 0 {
		return fmt.Errorf("origin: want a URL without its scheme, of at most %d bytes", maxOrigin)
	}
	return nil
}

// maxOrigin is the longest origin, in bytes.
const maxOrigin = 255

func (w *writer) file(field string, f File) {
	w.text(field, f.Digest.String())
	w.number(field+"-bytes", f.Bytes)
}

func (r *reader) file(field string) File {
	return File{Digest: parsed(r, field, schemas.ParseDigest), Bytes: r.number(field+"-bytes", 1, math.MaxInt64)}
}

// roots reads the root keys, of which threshold must sign.
func (r *reader) roots(threshold int) []string {
	var out []string
	for r.has("root") {
		out = append(out, r.text("root"))
		if len(out) > MaxRoots {
			r.fail("more than %d root keys", MaxRoots)
			return nil
		}
	}
	if r.err == nil {
		if err := checkRoots(threshold, out); err != nil {
			r.fail("%v", err)
		}
	}
	return out
}

// checkRoots wants different keys, and no more signatures than there are keys.
func checkRoots(threshold int, roots []string) error {
	if threshold > len(roots) || (threshold == 0) != (len(roots) == 0) {
		return fmt.Errorf("threshold %d of %d root keys: want 1 to all of them, or 0 of none", threshold, len(roots))
	}
	var seen []ed25519.PublicKey
	names := map[string]bool{}
	for _, s := range roots {
		v, err := schemas.ParseVerifierKey(s)
		if err != nil {
			return err
		}
		for _, k := range seen {
			if bytes.Equal(k, v.Public) {
				return fmt.Errorf("root key %s stands twice", v.Name)
			}
		}
		if names[v.Name] {
			return fmt.Errorf("two root keys named %s", v.Name)
		}
		seen, names[v.Name] = append(seen, v.Public), true
	}
	return nil
}

// Statement is a change that the holders of root keys signed. The note's text
// begins with
//
//	<origin>/roster/v1          or /key/v1, /roots/v1, /amendment/v1
//	number 3                    counts the statements from 1, without gaps
//
// so that none can be used twice or out of order, and goes on with
//
//	roster:     roster <SHA-256>, roster-bytes <length>
//	key:        change add|revoke, role <role>, key <verifier key>
//	roots:      threshold <k>, then root <verifier key> for each
//	amendment:  definition <SHA-256>, definition-bytes <length>
//
// It takes effect for the leaves behind its own.
type Statement struct {
	kind Kind
	Note []byte // signed note
	// What the note says; filled by Decode and by whoever writes one.
	Origin string
	Number uint64
	File   File    // roster, amendment: the new file
	Change Change  // key
	Key    RoleKey // key
	// Threshold and Roots: roots.
	Threshold int
	Roots     []string
}

// Change is what happens to a key.
type Change string

// The changes of a key.
const (
	AddKey    Change = "add"
	RevokeKey Change = "revoke"
)

// NewStatement begins a statement of one of the four kinds.
func NewStatement(kind Kind, origin string, number uint64) *Statement {
	return &Statement{kind: kind, Origin: origin, Number: number}
}

// Kind is KindRoster, KindKey, KindRoots or KindAmendment.
func (l *Statement) Kind() Kind { return l.kind }

func (l *Statement) suffix() string { return "/" + name(l.kind) + "/v1" }

func (l *Statement) fields(w *writer) { w.note(l.Note) }

func (l *Statement) read(r *reader) error {
	var n *log.Note
	if l.Note, n = r.note(); r.err != nil {
		return r.err
	}
	return l.readText(n.Text)
}

// AppendText appends what is signed.
func (l *Statement) AppendText(dst []byte) []byte {
	w := &writer{b: dst}
	w.b = append(w.b, l.Origin+l.suffix()+"\n"...)
	w.number("number", l.Number)
	switch l.kind {
	case KindRoster:
		w.file("roster", l.File)
	case KindAmendment:
		w.file("definition", l.File)
	case KindKey:
		w.text("change", string(l.Change))
		w.text("role", string(l.Key.Role))
		w.text("key", l.Key.Key)
	case KindRoots:
		w.number("threshold", uint64(l.Threshold))
		for _, key := range l.Roots {
			w.text("root", key)
		}
	}
	return w.b
}

func (l *Statement) readText(text []byte) error {
	n, err := openStatement(text, l.suffix())
	if err != nil {
		return err
	}
	l.Origin, l.Number = n.origin, n.number("number", 1, math.MaxInt64)
	switch l.kind {
	case KindRoster:
		l.File = n.file("roster")
	case KindAmendment:
		l.File = n.file("definition")
	case KindKey:
		l.Change = Change(n.text("change"))
		l.Key = RoleKey{KeyRole(n.text("role")), n.text("key")}
	case KindRoots:
		l.Threshold = int(n.number("threshold", 1, MaxRoots))
		l.Roots = n.roots(l.Threshold)
	}
	if err := n.end(); err != nil {
		return err
	}
	if l.kind == KindKey {
		return l.checkKey()
	}
	return nil
}

func (l *Statement) checkKey() error {
	if l.Change != AddKey && l.Change != RevokeKey {
		return errors.New("change: want add or revoke")
	}
	if !l.Key.Role.valid() {
		return errors.New("role: want log, snapshot, receipt or roster")
	}
	if l.Key.Role == RosterKey && l.Change == AddKey {
		return errors.New("a key is added to the roster by a new roster")
	}
	_, err := schemas.ParseVerifierKey(l.Key.Key)
	return err
}

// statementReader reads the text of a note of ours.
type statementReader struct {
	reader
	origin string
}

// openStatement reads the first line, which must end in suffix.
func openStatement(text []byte, suffix string) (*statementReader, error) {
	first, rest, ok := bytes.Cut(text, []byte{'\n'})
	origin, is := bytes.CutSuffix(first, []byte(suffix))
	if !ok || !is {
		return nil, fmt.Errorf("its note: want a first line that ends in %s", suffix)
	}
	if err := checkOrigin(string(origin)); err != nil {
		return nil, fmt.Errorf("its note: %w", err)
	}
	return &statementReader{reader{b: rest, line: 1}, string(origin)}, nil
}

// end wants nothing more.
func (r *statementReader) end() error {
	if r.err != nil {
		return fmt.Errorf("its note: %w", r.err)
	}
	if len(r.b) > 0 {
		return fmt.Errorf("its note: more than %d lines", r.line)
	}
	return nil
}
