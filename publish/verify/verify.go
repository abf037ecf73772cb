package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
	"tallystream/publish/log/authority"
	"tallystream/publish/log/leaf"
	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// Options of a verification. Source must be set.
type Options struct {
	Source Source
	// Key is the verifier key (name+hash+key) that the checkpoint must be signed
	// by. Empty: that of the state, or else the one that the site itself names,
	// which protects against nobody who made the whole site.
	Key    string
	Policy *log.Policy // whose cosignatures are wanted; nil: nobody's
	// Unseal are the openings of sealed leaves, for auditors; nil: they stay sealed.
	// Then every leaf is read, so State must be nil.
	Unseal *suppress.Openings
	All    bool   // the documents of every snapshot, not of the newest only
	State  *State // of an earlier run; nil: from the first leaf on
	// Pause is asked now and then whether to stop here, with a state from which
	// the next run goes on; nil: to the end.
	Pause func() bool
	// Progress is told how far it is, from one goroutine; nil: nobody.
	Progress func(Progress)
	Now      func() time.Time // nil: time.Now
}

// Progress is how far a verification is.
type Progress struct {
	Leaves, Of, Resumed int64
	Comparing           bool // documents, at the moment
	Elapsed             time.Duration
}

// Left estimates the time left from the leaves read in this run.
func (p *Progress) Left() time.Duration {
	read := p.Leaves - p.Resumed
	if read <= 0 {
		return 0
	}
	return time.Duration(float64(p.Elapsed) / float64(read) * float64(p.Of-p.Leaves))
}

// ErrState: a state belongs to another election, key or version.
var ErrState = errors.New("the saved state is not of this election and key")

// What ends a verification before its end.
var (
	errStopped = errors.New("stopped") // it cannot go on; why is in the report
	errPaused  = errors.New("paused")  // it was asked to
)

// Run verifies. Its error says that something could not be read, so that
// nothing is known; what is wrong is in the report. The state is for the next
// run: everything it holds is verified. There is one if nothing is wrong, and
// either nothing is left unchecked or the run was paused.
func Run(ctx context.Context, o Options) (*Report, *State, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &verification{
		o: o, begun: o.Now(), report: &Report{Held: map[schemas.HoldCode]uint64{}}, auth: authority.New(),
		due: map[schemas.LogSize][]schemas.ManifestEntry{}, named: map[string]schemas.ManifestEntry{}, fetched: map[schemas.Digest]bool{},
	}
	err := v.run(ctx)
	paused := errors.Is(err, errPaused)
	if paused {
		v.report.leave("everything behind leaf %d: it was asked to pause there", v.frontier.Size-1)
		err = v.objects(ctx) // of the snapshots that the state will hold
	}
	if errors.Is(err, errStopped) {
		if v.report.Found == 0 {
			v.report.leave("everything behind that")
		}
		err = nil
	}
	if err != nil && v.report.Found > 0 && ctx.Err() == nil && !errors.Is(err, ErrState) {
		// Who is found out must not get away with hanging up.
		v.report.leave("everything behind that: %v", err)
		err = nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("verifying: %w", err)
	}
	v.report.finish(o.Now().Sub(v.begun))
	if v.report.Verdict == Verified || paused && v.report.Found == 0 {
		return v.report, v.state(), nil
	}
	return v.report, nil, nil
}

// verification is one run. One goroutine drives it; readers run beside.
type verification struct {
	o      Options
	begun  time.Time
	report *Report
	mu     sync.Mutex // guards report and fetched while documents are compared in parallel

	anchor     note.Verifier
	key        string
	checkpoint []byte
	tree       tlog.Tree
	log        *log.Reader
	auth       *authority.Authority
	powered    []indexed // leaves that auth was fed
	election   *schemas.Election
	definition []byte
	roster     []byte                          // in force for the next leaf
	current    []byte                          // roster.json; nil: it is not there
	ring       atomic.Pointer[schemas.Keyring] // in force for the next leaf

	paused   bool // a pause stands in the log
	frontier frontier
	tally    *tally
	plan     *plan
	sheets   []*sheet
	made     map[schemas.DocumentID]made

	latest     *schemas.Snapshot // that the bucket names; what it says is checked with its leaf
	latestNote []byte
	notes      []schemas.Digest  // of every snapshot's note, in order
	last       *schemas.Snapshot // of notes
	due        map[schemas.LogSize][]schemas.ManifestEntry
	named      map[string]schemas.ManifestEntry // files that the last compared manifest named
	fetched    map[schemas.Digest]bool          // documents whose objects were compared
	compared   schemas.SnapshotNumber           // the last one whose documents were
}

// indexed is a leaf that changes who may sign.
type indexed struct {
	Index int64
	Leaf  []byte
}

// made is a document as the log gives it.
type made struct {
	hash  schemas.Digest
	size  int64
	lines int
}

func (v *verification) run(ctx context.Context) error {
	if err := v.openLatest(ctx); err != nil {
		return err
	}
	if err := v.openCurrent(ctx); err != nil {
		return err
	}
	if err := v.openCheckpoint(ctx); err != nil {
		return err
	}
	if err := v.openElection(ctx); err != nil {
		return err
	}
	if err := v.openRemainders(ctx); err != nil {
		return err
	}
	if err := v.resume(ctx); err != nil {
		return err
	}
	if !v.o.All && v.latest != nil {
		if err := v.expect(ctx); err != nil {
			return err
		}
	}
	if err := v.compareAgain(ctx); err != nil {
		return err
	}
	if err := v.leaves(ctx); err != nil {
		return err
	}
	return v.close(ctx)
}

// compareAgain compares the documents of a snapshot that was verified before, where
// the count still stands there: what is published may have changed since.
func (v *verification) compareAgain(ctx context.Context) error {
	if v.latest == nil || v.o.State == nil || int64(v.latest.Log)+1 != v.frontier.Size {
		return nil
	}
	if n := v.latest.Number; n != v.compared || schemas.DigestOf(v.latestNote) != v.notes[n-1] {
		return nil // found at the end
	}
	return v.compare(ctx, v.latest)
}

// get reads an object that must be there: where it is not, that is a finding.
func (v *verification) get(ctx context.Context, check Check, key string) ([]byte, error) {
	b, err := v.o.Source.Get(ctx, key)
	if errors.Is(err, log.ErrAbsent) {
		v.find(check, key, "is not there")
		return nil, errStopped
	}
	return b, err
}

func (v *verification) find(check Check, where, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.find(check, where, format, args...)
}

// openLatest reads which snapshot is the newest, before the checkpoint, which
// then covers it. Its signature is checked with its leaf.
func (v *verification) openLatest(ctx context.Context) error {
	b, err := v.o.Source.Get(ctx, schemas.LatestKey)
	if errors.Is(err, log.ErrAbsent) {
		v.report.find(CheckChain, schemas.LatestKey, "is not there: no snapshot is published")
		return nil
	}
	if err != nil {
		return err
	}
	v.latestNote = b
	if v.latest, err = peekSnapshot(b); err != nil {
		v.report.find(CheckChain, schemas.LatestKey, "%v", err)
	}
	return nil
}

// openCurrent reads the roster that the bucket says is in force, between latest
// and the checkpoint: it is then at least that of the one, and at most that of the
// other.
func (v *verification) openCurrent(ctx context.Context) (err error) {
	if v.current, err = v.o.Source.Get(ctx, schemas.RosterKey); errors.Is(err, log.ErrAbsent) {
		return nil // found at the end
	}
	return err
}

// peekSnapshot reads a note without checking a signature.
func peekSnapshot(b []byte) (*schemas.Snapshot, error) {
	n, err := log.ParseNote(b)
	if err != nil {
		return nil, err
	}
	return schemas.OpenSnapshot(b, anyone{n.Signatures[0].Name, n.Signatures[0].Hash})
}

// anyone takes a signature as it is.
type anyone struct {
	name string
	hash uint32
}

func (a anyone) Name() string               { return a.name }
func (a anyone) KeyHash() uint32            { return a.hash }
func (a anyone) Verify([]byte, []byte) bool { return true }

// chooseKey finds the key that the checkpoint is held against.
func (v *verification) chooseKey(ctx context.Context) error {
	v.key = v.o.Key
	if v.key == "" && v.o.State != nil {
		v.key = v.o.State.Key
	}
	if v.key == "" {
		b, err := v.get(ctx, CheckCheckpoint, "config.json")
		if err != nil {
			return err
		}
		var config struct{ Key string }
		if err := json.Unmarshal(b, &config); err != nil || config.Key == "" {
			v.report.find(CheckCheckpoint, "config.json", "names no key, and none was given")
			return errStopped
		}
		v.key, v.report.FirstUse = config.Key, true
		v.report.remark("the key is the one that the site itself names: compare it with one from elsewhere, and give it with --key")
	}
	var err error
	if v.anchor, err = note.NewVerifier(v.key); err != nil {
		v.report.find(CheckCheckpoint, "the key", "%v", err)
		return errStopped
	}
	v.report.Key = v.key
	return nil
}

func (v *verification) openCheckpoint(ctx context.Context) error {
	if err := v.chooseKey(ctx); err != nil {
		return err
	}
	var err error
	if v.checkpoint, err = v.get(ctx, CheckCheckpoint, log.CheckpointKey); err != nil {
		return err
	}
	c, _, err := log.OpenCheckpoint(v.checkpoint, v.anchor)
	if err != nil {
		v.report.find(CheckCheckpoint, log.CheckpointKey, "%v (key %s)", err, v.key)
		return errStopped
	}
	if v.o.Policy != nil {
		verdict, err := v.o.Policy.Evaluate(v.checkpoint, v.anchor)
		if err != nil {
			v.report.find(CheckCheckpoint, log.CheckpointKey, "%v", err)
		} else {
			for _, w := range verdict.Witnesses {
				v.report.Witness = append(v.report.Witness, w.Name)
			}
		}
	}
	v.tree, v.report.Origin = c.Tree, c.Origin
	v.report.Leaves, v.report.Root = c.Tree.N, schemas.Digest(c.Tree.Hash).String()
	if v.tree.N == 0 {
		v.report.find(CheckCheckpoint, log.CheckpointKey, "the log is empty")
		return errStopped
	}
	v.log = log.NewReader(v.o.Source, v.tree)
	return nil
}

// openElection reads the first leaf, and the definition and the roster that it
// names by hash.
func (v *verification) openElection(ctx context.Context) error {
	raw, err := v.log.Leaf(ctx, 0)
	if err != nil {
		return v.untrue("leaf 0", err)
	}
	l, err := leaf.Decode(raw)
	if err == nil {
		err = v.auth.Apply(0, l)
	}
	if err != nil {
		v.report.find(CheckAuthority, "leaf 0", "%v", err)
		return errStopped
	}
	v.powered = append(v.powered, indexed{0, raw})
	p := v.auth.At(0)
	if p.Origin != v.report.Origin {
		v.report.find(CheckAuthority, "leaf 0", "is of %q, the checkpoint of %q", p.Origin, v.report.Origin)
	}
	if v.definition, err = v.file(ctx, schemas.DefinitionKey, p.Definition, "the log's first leaf names"); err != nil {
		return err
	}
	if v.election, err = schemas.OpenElection(v.definition); err != nil {
		v.report.find(CheckAuthority, schemas.DefinitionKey, "%v", err)
		return errStopped
	}
	d := v.election.Definition
	if v.report.Election = d.Election; d.Origin != p.Origin {
		v.report.find(CheckAuthority, schemas.DefinitionKey, "is of %q, the log of %q", d.Origin, p.Origin)
	}
	v.plan, v.tally = newPlan(v.election), newTally(v.election, v.report)
	if v.tally.hidden != nil {
		v.tally.hidden.opened = v.o.Unseal != nil
	}
	v.sheets, v.made = make([]*sheet, len(v.election.Counties)), map[schemas.DocumentID]made{}
	return v.openRoster(ctx, p)
}

// openRoster puts the roster in force into force.
func (v *verification) openRoster(ctx context.Context, p *authority.Powers) (err error) {
	key := schemas.ContentKey("rosters", p.Roster.Digest, ".json")
	if v.roster, err = v.file(ctx, key, p.Roster, "the log names"); err != nil {
		return err
	}
	ring, err := p.Keyring(v.roster, v.election)
	if err != nil {
		v.report.find(CheckAuthority, key, "%v", err)
		return errStopped
	}
	v.ring.Store(ring)
	return nil
}

// file reads a file that the log names by its hash.
func (v *verification) file(ctx context.Context, key string, f leaf.File, who string) ([]byte, error) {
	b, err := v.get(ctx, CheckAuthority, key)
	if err != nil {
		return nil, err
	}
	if got := schemas.DigestOf(b); got != f.Digest || uint64(len(b)) != f.Bytes {
		v.report.find(CheckAuthority, key, "has %d bytes with SHA-256 %s, %s one of %d with %s", len(b), got, who, f.Bytes, f.Digest)
		return nil, errStopped
	}
	return b, nil
}

// untrue makes a finding of what is wrong with the tree; other errors stay.
func (v *verification) untrue(where string, err error) error {
	var tampered *log.TamperError
	switch {
	case errors.As(err, &tampered):
		if tampered.Key != "" {
			where = tampered.Key
		}
		if tampered.Index >= 0 {
			where = fmt.Sprintf("leaf %d in %s", tampered.Index, tampered.Key)
		}
		v.report.find(CheckTree, where, "%s", tampered.Reason)
	case errors.Is(err, log.ErrTampered):
		v.report.find(CheckTree, where, "%v", err)
	case errors.Is(err, log.ErrAbsent):
		v.report.find(CheckTree, where, "%v: the log promises it", err)
	default:
		return err
	}
	return errStopped
}
