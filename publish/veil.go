package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"tallystream/publish/log/leaf"
	"tallystream/publish/suppress"
	"tallystream/schemas"
	"tallystream/service"
)

// veil lies between what the fold counts and what is shown, in an election that
// hides small units (schemas.SuppressionRule). The fold's own rows stay exact, for
// the double entry; what is rendered is shown: the rows of units that are not
// hidden, and the newest taking of each remainder. The fold's goroutine owns it.
type veil struct {
	election *schemas.Election
	seals    *sealer
	book     *suppress.Book
	shown    [][]int64 // by county; the fold's own row where nobody is hidden
}

// newVeil is nil where nobody is hidden.
func newVeil(e *schemas.Election, seals *sealer, rows [][]int64) *veil {
	if len(e.Remainders) == 0 {
		return nil
	}
	v := &veil{election: e, seals: seals, book: suppress.NewBook(e), shown: slices.Clone(rows)}
	for c := range v.shown {
		if _, of := e.RemaindersOf(schemas.CountyIndex(c)); len(of) > 0 {
			v.shown[c] = make([]int64, e.Counties[c].Cells)
		}
	}
	return v
}

// hides reports whether the unit's numbers are shown in a remainder only.
func (v *veil) hides(u schemas.UnitIndex) bool { return v != nil && v.election.RemainderOf(u) >= 0 }

// fold takes in the row that counts for a unit. It returns whether a row that is
// shown may have changed, and the taking that the entry completes, if it does.
func (v *veil) fold(entry *schemas.Entry, record []byte, u schemas.UnitIndex, before, cells []schemas.Count) (moved bool, taken *suppress.Taking, err error) {
	county := v.election.Units[u].County
	if !v.hides(u) {
		if _, of := v.election.RemaindersOf(county); len(of) > 0 { // else it is the fold's own row
			v.election.Fold(v.shown[county], u, before, cells)
		}
		return true, nil, nil
	}
	sealed, err := v.seals.seal(entry, record)
	if err != nil {
		return false, nil, err
	}
	st := suppress.Statement{Unit: u, Revision: entry.Revision, Seq: entry.Seq, Commitment: sealed.Commitment}
	last := v.book.Last(v.election.RemainderOf(u))
	if taken, err = v.book.Count(st, cells); err != nil || taken == nil {
		return false, nil, err
	}
	row := v.shown[county]
	for i, n := range taken.Row {
		if row[i] += n; last != nil {
			row[i] -= last.Row[i]
		}
	}
	return true, taken, nil
}

// sealer makes the leaves of an election's entries: sealed where they must be.
type sealer struct {
	election *schemas.Election
	secret   *suppress.Secret // nil where nobody is hidden
}

// leafOf makes the leaf of an entry, of bytes of its own.
func (s *sealer) leafOf(e *schemas.Entry, record []byte) ([]byte, error) {
	if !suppress.Hides(s.election, e) {
		return leafOf(e, record)
	}
	sealed, err := s.seal(e, record)
	if err != nil {
		return nil, err
	}
	b, err := leaf.Append(nil, sealed)
	if err != nil {
		return nil, replayError(e, "it becomes no leaf of the log", err)
	}
	return b, nil
}

func (s *sealer) seal(e *schemas.Entry, record []byte) (*leaf.Sealed, error) {
	own, err := leaf.OfEntry(e, record)
	if err == nil {
		var sealed *leaf.Sealed
		if sealed, err = s.secret.Seal(s.election.Definition.Origin, e, own); err == nil {
			return sealed, nil
		}
	}
	return nil, replayError(e, "it becomes no leaf of the log", err)
}

// sealKey names the secret among a service's keys.
const sealKey = "seal"

// OpenSecret reads the secret of an election that hides units, from its variable
// or else its file; nil where none is needed.
func OpenSecret(data service.Data, e *schemas.Election) (*suppress.Secret, error) {
	if len(e.Remainders) == 0 {
		return nil, nil
	}
	from, b := service.KeyVariable(sealKey), []byte(os.Getenv(service.KeyVariable(sealKey)))
	if len(b) == 0 {
		var err error
		if from = data.KeyPath(sealKey); !isThere(from) {
			return nil, fmt.Errorf("rules.suppression hides units of this election, and the secret that seals their leaves is missing: put 32 random bytes into %s or %s (openssl rand -base64 32), and keep them for the auditors",
				from, service.KeyVariable(sealKey))
		}
		if b, err = os.ReadFile(from); err != nil {
			return nil, fmt.Errorf("reading the secret of rules.suppression: %w", err)
		}
	}
	secret, err := suppress.ParseSecret(b)
	if err != nil {
		return nil, fmt.Errorf("reading the secret of rules.suppression from %s: %w", from, err)
	}
	return secret, nil
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// checkSecret refuses to publish what must be hidden without the secret.
func (c *Config) checkSecret() error {
	n := len(c.Election.Remainders)
	if n > 0 && c.Secret == nil {
		return fmt.Errorf("publish: rules.suppression hides units of this election (%d remainders), and Config.Secret, which seals them, is not set", n)
	}
	return nil
}
