package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/publish/log/authority"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// changeName is the name in the register under which a change of roster or keys
// waits that enough root keys signed: the signed note, alone.
const changeName = "publication-change"

// DefaultDrain is how long after a change was seen something may still come into
// the stream that was taken without knowing of it: ingest takes nothing on
// knowledge older than 4 s, and an append ends within 15 s, stored or not (10 s of
// tries and one try more, kinesis.DefaultBudget and DefaultAttempt).
const DefaultDrain = 20 * time.Second

// powers is what the sequencer knows of who may sign. Run's goroutine owns it.
type powers struct {
	authority *authority.Authority
	roster    []byte           // in force
	ring      *schemas.Keyring // of it; nil until the first change: ingest checks, and the verifier
	change    *change          // waits to be logged; nil: none
	refused   []byte           // a note that was refused, to say so once
	next      time.Time        // when the register is asked again
}

// change is a statement of root keys on its way to the log.
type change struct {
	statement *leaf.Statement
	leaf      []byte
	roster    []byte // the new one, or that in force
	seen      time.Time
	drained   bool      // what was accepted before it is in the ledger
	said      time.Time // why it waits
}

// PowersError: an entry that counts was signed by keys that were not in force
// any more when it came to its place in the log.
type PowersError struct {
	Partition schemas.Partition
	Seq       uint64
}

func (e *PowersError) Error() string {
	return fmt.Sprintf("entry %d of partition %d is not signed by keys that are in force at its place in the log", e.Seq, e.Partition)
}

// openStatement reads the note of a change.
func openStatement(note []byte) (*leaf.Statement, error) {
	for _, kind := range []leaf.Kind{leaf.KindRoster, leaf.KindKey, leaf.KindRoots} {
		s := leaf.NewStatement(kind, "", 0)
		s.Note = note
		b, err := leaf.Append(nil, s)
		if err != nil {
			continue // of another kind
		}
		if l, err := leaf.Decode(b); err == nil {
			return l.(*leaf.Statement), nil
		}
	}
	return nil, errors.New("want a signed statement of a roster, a key or root keys")
}

// errPowers: a leaf that should say who may sign says something else.
var errPowers = errors.New("who may sign does not follow from the log")

// readAuthority makes the authority of a log from the leaves that say who may
// sign: the first, and those at the indexes that the mark names.
func readAuthority(ctx context.Context, r *log.Reader, indexes []int64) (*authority.Authority, error) {
	a := authority.New()
	for _, index := range append([]int64{0}, indexes...) {
		b, err := r.Leaf(ctx, index)
		if err != nil {
			return nil, fmt.Errorf("reading leaf %d, which says who may sign: %w", index, err)
		}
		l, err := leaf.Decode(b)
		if err == nil {
			err = a.Apply(index, l)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: leaf %d: %w", errPowers, index, err)
		}
	}
	return a, nil
}

// rosterAt is where a roster lies for good.
func rosterAt(f leaf.File) string { return schemas.ContentKey("rosters", f.Digest, ".json") }

// readRoster reads a roster that the log names.
func readRoster(ctx context.Context, b Bucket, f leaf.File) ([]byte, error) {
	roster, err := b.Get(ctx, rosterAt(f))
	if err != nil {
		return nil, fmt.Errorf("reading the roster: %w", err)
	}
	if fileOf(roster) != f {
		return nil, fmt.Errorf("reading the roster: %s has another hash", rosterAt(f))
	}
	return roster, nil
}

// begin puts the first leaf's powers in force, of a log that is empty yet.
func (s *Sequencer) beginPowers() error {
	b, err := s.cfg.definitionLeaf()
	if err != nil {
		return err
	}
	l, err := leaf.Decode(b)
	if err != nil {
		return fmt.Errorf("making the log's first leaf: %w", err)
	}
	s.powers = powers{authority: authority.New(), roster: s.cfg.Roster}
	return s.powers.authority.Apply(0, l)
}

// openPowers holds our election, roster and keys against the log, which says
// which are in force: those of the first leaf, changed by every statement since.
func (s *Sequencer) openPowers(ctx context.Context) error {
	r := log.NewReader(s.cfg.Bucket, s.shelf.edge.Tree())
	first, err := r.Leaf(ctx, 0)
	if err != nil {
		return fmt.Errorf("reading the log's first leaf: %w", err)
	}
	a, err := readAuthority(ctx, r, s.mark.powers)
	if errors.Is(err, errPowers) || errors.Is(err, log.ErrTampered) {
		err = fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if err != nil {
		return err
	}
	p := a.At(s.shelf.edge.Tree().N)
	if err := s.checkConfigured(first, p); err != nil {
		return err
	}
	s.powers = powers{authority: a, roster: s.cfg.Roster}
	if p.Roster != fileOf(s.cfg.Roster) {
		if s.powers.roster, err = readRoster(ctx, s.cfg.Bucket, p.Roster); err != nil {
			return err
		}
	}
	if p.Statements > 0 {
		if s.powers.ring, err = p.Keyring(s.powers.roster, s.cfg.Election); err != nil {
			return fmt.Errorf("%w: %w", ErrForeign, err)
		}
	}
	return nil
}

// checkConfigured wants what this process was started with to be what the log
// began with, or what is in force.
func (s *Sequencer) checkConfigured(first []byte, p *authority.Powers) error {
	ours, err := s.cfg.definitionLeaf()
	if err != nil {
		return err
	}
	if bytes.Equal(first, ours) && p.Statements == 0 {
		return nil
	}
	if p.Threshold == 0 {
		return fmt.Errorf("%w: the log began with another roster or other keys, and has no root keys that could change them", ErrForeign)
	}
	l, err := leaf.Decode(first)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	began := l.(*leaf.Definition)
	given := fileOf(s.cfg.Roster)
	switch d := s.cfg.Election.Definition; {
	case began.Origin != d.Origin, began.Election != d.Election, began.Definition != fileOf(s.cfg.Definition):
		return fmt.Errorf("%w: the log is of another definition", ErrForeign)
	case given != began.Roster && given != p.Roster:
		return fmt.Errorf("%w: the roster given is neither the first one, %s, nor the one in force, %s", ErrForeign, began.Roster.Digest, p.Roster.Digest)
	case len(s.cfg.Roots) > 0 && (s.cfg.Threshold != began.Threshold || !slices.Equal(s.cfg.Roots, began.Roots)):
		return fmt.Errorf("%w: the log began with other root keys", ErrForeign)
	}
	for _, role := range []leaf.KeyRole{leaf.LogKey, leaf.SnapshotKey} {
		if !slices.Contains(p.VerifierKeys(role), s.cfg.VerifierKey) {
			return fmt.Errorf("%w: our key %s is not in force as %s key", ErrForeign, s.cfg.VerifierKey, role)
		}
	}
	return nil
}

// hearChange asks the register for a change that waits. A note that the
// authority refuses changes nothing, and is named once.
func (s *Sequencer) hearChange(ctx context.Context, now time.Time) {
	p := &s.powers
	if s.writing != nil || s.first || s.resting() || p.authority.At(0).Threshold == 0 || now.Before(p.next) {
		return
	}
	p.next = now.Add(s.cfg.PollEvery)
	asking, cancel := context.WithTimeout(ctx, wishPatience)
	defer cancel()
	note, err := s.cfg.Register.Load(asking, changeName)
	switch {
	case err != nil:
		s.cfg.Logger.WarnContext(ctx, "asking for changes of keys failed, trying again", "err", err)
	case note == nil || p.change != nil && bytes.Equal(note, p.change.statement.Note):
		s.drain(ctx, now)
	default:
		c, err := s.openChange(ctx, note)
		if err == nil {
			c.seen, p.change = now, c
			s.cfg.Logger.WarnContext(ctx, "a change of keys waits to be logged", "number", c.statement.Number, "kind", c.statement.Kind())
		} else if !errors.Is(err, errLogged) && !bytes.Equal(note, p.refused) {
			p.refused = note
			s.cfg.Logger.ErrorContext(ctx, "a change of keys is refused", "err", err)
		}
	}
}

var errLogged = errors.New("the statement is in the log")

// openChange checks a change by the powers in force.
func (s *Sequencer) openChange(ctx context.Context, note []byte) (*change, error) {
	st, err := openStatement(note)
	if err != nil {
		return nil, err
	}
	now := s.powers.authority.At(s.shelf.edge.Tree().N)
	if st.Number <= now.Statements {
		return nil, errLogged
	}
	next, err := s.powers.authority.Check(st)
	if err != nil {
		return nil, err
	}
	c := &change{statement: st, roster: s.powers.roster}
	if next.Roster != now.Roster {
		if c.roster, err = readRoster(ctx, s.cfg.Bucket, next.Roster); err != nil {
			return nil, err
		}
	}
	if _, err := next.Keyring(c.roster, s.cfg.Election); err != nil {
		return nil, err
	}
	for _, role := range []leaf.KeyRole{leaf.LogKey, leaf.SnapshotKey} {
		if !slices.Contains(next.VerifierKeys(role), s.cfg.VerifierKey) {
			return nil, fmt.Errorf("it revokes the %s key of this process: start it with the other one first", role)
		}
	}
	c.leaf, err = leaf.Append(nil, st)
	return c, err
}

// drain notes when everything that was accepted before the change is in the
// ledger. Until Drain is over it may still be on its way into the stream; behind
// that it lies there, and Lag says when it was counted. The next view of the
// ledger then holds it, and the change follows the cut that is made of that.
func (s *Sequencer) drain(ctx context.Context, now time.Time) {
	c := s.powers.change
	if c == nil || c.drained {
		return
	}
	taken := c.seen.Add(s.cfg.Drain) // when the last of it is in the stream
	if now.Before(taken) {
		return
	}
	if s.cfg.Lag != nil {
		asking, cancel := context.WithTimeout(ctx, wishPatience)
		defer cancel()
		lag, err := s.cfg.Lag(asking)
		if err != nil || now.Add(-lag).Before(taken) {
			s.sayDraining(ctx, now, lag, err)
			return
		}
	}
	c.drained = true
}

// sayDraining tells every half minute why a change still waits.
func (s *Sequencer) sayDraining(ctx context.Context, now time.Time, lag time.Duration, err error) {
	const every = 30 * time.Second
	if c := s.powers.change; now.Sub(c.said) >= every {
		c.said = now
		s.cfg.Logger.WarnContext(ctx, "a change of keys waits until what was accepted before it is counted", "number", c.statement.Number, "lag", lag, "err", err)
	}
}

// changeDue reports whether the change can be logged behind the next cut.
func (s *Sequencer) changeDue() bool {
	c := s.powers.change
	return c != nil && c.drained && !s.resting() && !s.first && s.head.number > 0
}

// writeChange logs a statement of root keys behind all cuts so far, and puts
// the roster beside it.
func (s *Sequencer) writeChange(ctx, running context.Context, st stage, leaves []log.Hashed, c *change) written {
	d := &decision{stage: st, edge: s.shelf.edge, leaves: leaves}
	d.stage.statement, d.roster = c.leaf, c.roster
	d.stage.tree = d.edge.Tree()
	d.stage.to = d.tree()
	d.power = d.stage.to.N - 1
	err := s.settle(ctx, d, s.mark.note, func(what string, write func() error) error { return s.insist(ctx, running, what, write) })
	return written{err: err, change: c, power: d.power}
}

// empower takes over a change that stands in the log.
func (s *Sequencer) empower(c *change, index int64) error {
	p := &s.powers
	if err := p.authority.Apply(index, c.statement); err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	ring, err := p.authority.At(index+1).Keyring(c.roster, s.cfg.Election)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	p.roster, p.ring, p.change = c.roster, ring, nil
	s.restated = true
	s.cfg.Logger.Warn("a change of keys is in force", "number", c.statement.Number, "leaf", index)
	return nil
}

// inForceFor is nil if an entry that comes behind the newest change names keys
// in force for every seat that has to sign it. Signatures are not verified again:
// ingest did, and every auditor does.
func (s *Sequencer) inForceFor(e *schemas.Entry, record []byte) error {
	if s.powers.ring == nil || e.Hold == schemas.HoldPoison || e.Hold == schemas.HoldRelease {
		return nil
	}
	unit, ok := s.cfg.Election.Unit(e.Unit)
	if !ok {
		return nil // the fold says so, here and below
	}
	var envelope schemas.Envelope
	var release schemas.Release
	var body schemas.Submission
	var refused *schemas.FieldError
	switch {
	case schemas.IsRelease(record):
		if release.Parse(record) != nil {
			return nil
		}
		refused = s.powers.ring.NamesRelease(s.cfg.Election, &release, unit)
	case envelope.Parse(record) != nil, body.Decode(envelope.Body) != nil:
		return nil
	default:
		refused = s.powers.ring.Names(s.cfg.Election, &envelope, unit, body.Correction != nil)
	}
	if refused != nil {
		return &PowersError{e.Partition, e.Seq}
	}
	return nil
}

// Keys tells whoever takes submissions which keys may sign them now: those in
// force, and while a change waits only those that are in force after it, too.
type Keys struct {
	Register Register
	Bucket   Bucket
	Election *schemas.Election
	Roster   []byte // given at the start; in force while the log is empty

	mark, note []byte // that ring is of
	ring       *schemas.Keyring
}

// Keyring reads them. It serves one goroutine.
func (k *Keys) Keyring(ctx context.Context) (*schemas.Keyring, error) {
	// The change first: one that is logged in between is then in the mark.
	note, err := k.Register.Load(ctx, changeName)
	if err != nil {
		return nil, fmt.Errorf("asking for changes of keys: %w", err)
	}
	raw, err := k.Register.Load(ctx, markName)
	if err != nil {
		return nil, fmt.Errorf("reading the publication mark: %w", err)
	}
	var m mark
	if raw != nil {
		read, err := parseMark(raw, k.Election.Definition.Origin)
		if err != nil {
			return nil, fmt.Errorf("reading the publication mark: %w", err)
		}
		m = *read
	}
	of := fmt.Append(nil, m.powers, len(m.note) > 0)
	if k.ring != nil && bytes.Equal(of, k.mark) && bytes.Equal(note, k.note) {
		return k.ring, nil
	}
	ring, err := k.read(ctx, &m, note)
	if err != nil {
		return nil, err
	}
	k.mark, k.note, k.ring = of, note, ring
	return ring, nil
}

func (k *Keys) read(ctx context.Context, m *mark, note []byte) (*schemas.Keyring, error) {
	if len(m.note) == 0 {
		return schemas.OpenRoster(k.Roster, k.Election)
	}
	a, err := publishedAuthority(ctx, k.Bucket, m.powers)
	if errors.Is(err, bucket.ErrNotFound) && len(m.powers) == 0 && note == nil {
		return schemas.OpenRoster(k.Roster, k.Election) // decided, and not public yet
	}
	if err != nil {
		return nil, err
	}
	now := a.At(1 << 62)
	ring, err := k.ringOf(ctx, now)
	if err != nil || note == nil {
		return ring, err
	}
	st, err := openStatement(note)
	if err != nil || st.Number <= now.Statements {
		return ring, nil
	}
	next, err := a.Check(st)
	if err != nil {
		return ring, nil // the sequencer refuses it by the same code
	}
	after, err := k.ringOf(ctx, next)
	if err != nil {
		return nil, err
	}
	return ring.Both(after), nil
}

func (k *Keys) ringOf(ctx context.Context, p *authority.Powers) (*schemas.Keyring, error) {
	roster := k.Roster
	if p.Roster != fileOf(roster) {
		var err error
		if roster, err = readRoster(ctx, k.Bucket, p.Roster); err != nil {
			return nil, err
		}
	}
	return p.Keyring(roster, k.Election)
}

// publishedAuthority makes the authority from the log that is published. What
// the mark decided and is not public yet is left out: its change still waits.
func publishedAuthority(ctx context.Context, b Bucket, indexes []int64) (*authority.Authority, error) {
	tree, err := publishedTree(ctx, b)
	if err != nil {
		return nil, err
	}
	n, _ := slices.BinarySearch(indexes, tree.N)
	return readAuthority(ctx, log.NewReader(b, tree), indexes[:n])
}

// publishedTree is that of the newest checkpoint.
func publishedTree(ctx context.Context, b Bucket) (tlog.Tree, error) {
	raw, err := b.Get(ctx, log.CheckpointKey)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("reading the checkpoint: %w", err)
	}
	c, err := log.PeekCheckpoint(raw)
	if err != nil {
		return tlog.Tree{}, err
	}
	return c.Tree, nil
}
