package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
)

// Why a checkpoint is refused. Beside these, errors wrap log.ErrUnsigned and
// log.ErrSignature.
var (
	// ErrUnknownLog: no key is configured for the checkpoint's origin.
	ErrUnknownLog = errors.New("unknown log")
	// ErrMalformed: the request makes no sense, whatever was seen before.
	ErrMalformed = errors.New("malformed request")
	// ErrProof: the consistency proof does not lead from what was seen to the
	// checkpoint. Either may be wrong.
	ErrProof = errors.New("the consistency proof does not verify")
)

// StaleError: the request starts from another size than the last one seen.
type StaleError struct{ Size int64 }

func (e *StaleError) Error() string {
	return fmt.Sprintf("the last checkpoint seen has size %d", e.Size)
}

// RollbackError: a log shows an older checkpoint than it showed before.
type RollbackError struct{ Seen, Shown int64 }

func (e *RollbackError) Error() string {
	return fmt.Sprintf("the log was rolled back: it shows %d leaves and has shown %d", e.Shown, e.Seen)
}

// ForkError: a log signed two checkpoints that do not follow from each other.
// Both stand in the evidence file, for anyone to check.
type ForkError struct {
	Seen, Shown tlog.Tree
	Evidence    string // path; empty if it could not be kept
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("THE LOG FORKED: it signed a tree of %d leaves with root %s and one of %d with root %s, which does not continue it (evidence: %s)",
		e.Seen.N, e.Seen.Hash, e.Shown.N, e.Shown.Hash, strconv.Quote(e.Evidence))
}

// State keeps the last checkpoint of each log. Save must be durable when it
// returns and replace the old one whole or not at all.
type State interface {
	// Load returns the note saved last, or nil for a log never seen.
	Load(origin string) ([]byte, error)
	Save(origin string, checkpoint []byte) error
	// Keep stores evidence and returns where.
	Keep(evidence []byte) (string, error)
}

// Config is what a witness needs.
type Config struct {
	Logs   []note.Verifier // keys; each is named by its log's origin
	Signer *log.Cosigner
	State  State
	Logger *slog.Logger
}

// Witness cosigns. It is safe for concurrent use; it must be the only user of
// its state.
type Witness struct {
	cfg  Config
	logs map[string]*watched
}

// watched is one log.
type watched struct {
	keys []note.Verifier

	mu       sync.Mutex // held from comparing with the state until it is saved
	loaded   bool
	seen     tlog.Tree
	note     []byte // of seen, as it was signed; nil before the first
	cosigned []byte // last answer as a whole note; nil after a start
}

// New makes a witness.
func New(cfg Config) *Witness {
	w := &Witness{cfg: cfg, logs: map[string]*watched{}}
	for _, key := range cfg.Logs {
		l := w.logs[key.Name()]
		if l == nil {
			l = new(watched)
			w.logs[key.Name()] = l
		}
		l.keys = append(l.keys, key)
	}
	return w
}

// Request is a checkpoint and the proof that it continues an older one.
type Request struct {
	Old        int64 // size of the checkpoint that the proof starts from
	Proof      tlog.TreeProof
	Checkpoint []byte // signed note
}

// Add checks a checkpoint, remembers it and returns the witness's signature
// line. Nothing is remembered when there is an error, but that signing failed:
// then the same request with the new size as old succeeds.
func (w *Witness) Add(ctx context.Context, req *Request) ([]byte, error) {
	shown, n, l, err := w.open(req.Checkpoint)
	if err != nil {
		return nil, err
	}
	if req.Old < 0 || req.Old > shown.Tree.N {
		return nil, fmt.Errorf("%w: old size %d, but the checkpoint has %d leaves", ErrMalformed, req.Old, shown.Tree.N)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := w.load(l, shown.Origin); err != nil {
		return nil, err
	}
	if req.Old != l.seen.N {
		return nil, &StaleError{l.seen.N}
	}
	if l.note != nil && shown.Tree.N == l.seen.N && shown.Tree.Hash != l.seen.Hash {
		return nil, w.forked(ctx, l, shown, req.Checkpoint)
	}
	if err := log.CheckConsistency(req.Proof, l.seen, shown.Tree); err != nil {
		w.cfg.Logger.ErrorContext(ctx, "checkpoint refused: its proof does not verify", "log", shown.Origin, "size", shown.Tree.N, "seen", l.seen.N)
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if shown.Tree.N > l.seen.N {
		if err := w.cfg.State.Save(shown.Origin, req.Checkpoint); err != nil {
			return nil, fmt.Errorf("remembering the checkpoint: %w", err)
		}
		// From here on it is durable that this tree was seen: a fork of it will
		// be refused even if we die before the signature is out.
		l.seen, l.note = shown.Tree, req.Checkpoint
	}
	return w.cosign(ctx, l, shown, n)
}

// open checks what does not depend on what was seen before.
func (w *Witness) open(checkpoint []byte) (*log.Checkpoint, *log.Note, *watched, error) {
	peek, err := log.PeekCheckpoint(checkpoint)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	l := w.logs[peek.Origin]
	if l == nil {
		return nil, nil, nil, ErrUnknownLog
	}
	c, n, err := log.OpenCheckpoint(checkpoint, l.keys...)
	return c, n, l, err
}

// load reads the state once; l.mu is held.
func (w *Witness) load(l *watched, origin string) error {
	if l.loaded {
		return nil
	}
	b, err := w.cfg.State.Load(origin)
	if err != nil {
		return fmt.Errorf("reading what was seen: %w", err)
	}
	l.seen = tlog.Tree{Hash: log.EmptyRoot()}
	if b != nil {
		c, err := log.PeekCheckpoint(b)
		if err != nil || c.Origin != origin {
			return fmt.Errorf("reading what was seen of %s: the stored checkpoint is of %v: %w", origin, c, errors.Join(err, errors.New("want it whole")))
		}
		l.seen, l.note = c.Tree, b
	}
	l.loaded = true
	return nil
}

// cosign signs a checkpoint that was checked; l.mu is held.
func (w *Witness) cosign(ctx context.Context, l *watched, shown *log.Checkpoint, n *log.Note) ([]byte, error) {
	sig, err := w.cfg.Signer.Sign(n.Text)
	if err != nil {
		return nil, err
	}
	line := log.Signature{Name: w.cfg.Signer.Name(), Hash: w.cfg.Signer.KeyHash(), Bytes: sig}
	// Only the log's own lines go with it: others were not checked.
	whole := &log.Note{Text: n.Text}
	for i := range n.Signatures {
		for _, key := range l.keys {
			if s := &n.Signatures[i]; s.Name == key.Name() && s.Hash == key.KeyHash() {
				whole.Signatures = append(whole.Signatures, *s)
			}
		}
	}
	whole.Signatures = append(whole.Signatures, line)
	l.cosigned = whole.Append(nil)
	w.cfg.Logger.InfoContext(ctx, "cosigned", "log", shown.Origin, "size", shown.Tree.N, "root", shown.Tree.Hash.String())
	return line.Append(nil), nil
}

// forked keeps the evidence and says so; l.mu is held.
func (w *Witness) forked(ctx context.Context, l *watched, shown *log.Checkpoint, checkpoint []byte) error {
	path, err := w.cfg.State.Keep(append(append([]byte{}, l.note...), checkpoint...))
	e := &ForkError{Seen: l.seen, Shown: shown.Tree, Evidence: path}
	w.cfg.Logger.ErrorContext(ctx, "THE LOG FORKED", "log", shown.Origin, "seen", l.seen.N, "seen_root", l.seen.Hash.String(),
		"shown", shown.Tree.N, "shown_root", shown.Tree.Hash.String(), "evidence", path, "err", err)
	return e
}

// Seen is the last tree that was accepted of a log.
func (w *Witness) Seen(origin string) (tlog.Tree, error) {
	l := w.logs[origin]
	if l == nil {
		return tlog.Tree{}, ErrUnknownLog
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := w.load(l, origin)
	return l.seen, err
}

// Cosigned is the last checkpoint that was cosigned since the start, whole, or
// nil.
func (w *Witness) Cosigned(origin string) []byte {
	l := w.logs[origin]
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cosigned
}
