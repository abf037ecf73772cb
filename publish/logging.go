package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/aggregate/ledger"
	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// decision is a stage that the mark names, or is about to, and the snapshot that
// ends it: everything that
// is left to do follows from it, for the process that decided it and for any
// other that finishes it.
type decision struct {
	stage  stage
	edge   *log.Edge    // of stage.tree, with its bundle
	leaves []log.Hashed // of the ledger, in the order of the log
	note   []byte       // of the snapshot; nil where the stage brings none
	// pause is the signed note of the stage's statement, where that says that
	// publication rests or goes on.
	pause []byte
	// power is the index of the stage's statement, where that is of root keys; 0:
	// it is not. roster is then the one in force.
	power  int64
	roster []byte
}

// tree is the log that the snapshot commits to: all but the snapshot's own
// leaf.
func (d *decision) tree() tlog.Tree {
	e := d.edge
	if len(d.stage.definition) > 0 {
		e = e.Extend(tlog.RecordHash(d.stage.definition))
	}
	hashes := make([]tlog.Hash, len(d.leaves))
	for i := range d.leaves {
		hashes[i] = d.leaves[i].Hash
	}
	e = e.Extend(hashes...)
	if len(d.stage.statement) > 0 {
		e = e.Extend(tlog.RecordHash(d.stage.statement))
	}
	return e.Tree()
}

// doing carries out one write, and again if it likes; what names it for people.
type doing func(what string, write func() error) error

// settle decides and finishes. note is that of the newest snapshot with it.
func (s *Sequencer) settle(ctx context.Context, d *decision, note []byte, do doing) error {
	stage := d.stage.encode()
	if len(stage) > maxStage {
		object := immutable(stageKey(schemas.DigestOf(stage)), stage, typeText)
		if err := do("stage", func() error { return s.cfg.Bucket.PutNew(ctx, object) }); err != nil {
			return err
		}
	}
	// What it names is durable. With the mark it stands: a crash from here on only
	// delays it. A sequencer of a later epoch makes this fail.
	if err := do("mark", func() error { return s.decide(ctx, note, stage, d) }); err != nil {
		return err
	}
	begun := s.cfg.Now()
	edge, err := s.finish(ctx, d, do)
	if err != nil {
		return err
	}
	s.cfg.Metrics.logTime.Observe(s.cfg.Now().Sub(begun).Seconds())
	s.shelf.edge = edge
	return nil
}

// stageKey is where a stage lies that is too large for the mark.
func stageKey(d schemas.Digest) string { return schemas.ContentKey("stages", d, ".txt") }

// writeLog brings leaves to the log that are too many to wait for a snapshot.
func (s *Sequencer) writeLog(ctx, running context.Context, st stage, leaves []log.Hashed) written {
	d := &decision{stage: st, edge: s.shelf.edge, leaves: leaves}
	d.stage.tree = d.edge.Tree()
	d.stage.to = d.tree()
	return written{err: s.settle(ctx, d, s.mark.note, func(what string, write func() error) error { return s.insist(ctx, running, what, write) })}
}

// finish publishes what was decided, in an order in which every name that can
// be found leads to bytes that are durable:
//
//	tiles       of the log; nobody looks for them before
//	checkpoint  the log is found, with the snapshot as its last leaf
//	pause       what the newest statement of a pause says is found
//	note        the snapshot exists
//	latest      the snapshot is found
//
// All of it may be repeated, by any process. It returns the log's new edge.
func (s *Sequencer) finish(ctx context.Context, d *decision, do doing) (edge *log.Edge, err error) {
	err = do("log", func() error {
		edge, err = s.putTiles(ctx, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	checkpoint, err := s.checkpoint(ctx, edge.Tree())
	if err != nil {
		return nil, err
	}
	if err := do("checkpoint", func() error { return s.replace(ctx, log.CheckpointKey, checkpoint) }); err != nil {
		return nil, err
	}
	s.cfg.Metrics.treeSize.Set(float64(edge.Tree().N))
	if d.roster != nil {
		current := mutable(schemas.RosterKey, d.roster, typeJSON)
		if err := do("roster", func() error { return s.replaceObject(ctx, current) }); err != nil {
			return nil, err
		}
	}
	if d.pause != nil {
		if err := do("pause", func() error { return s.replace(ctx, schemas.PauseKey, d.pause) }); err != nil {
			return nil, err
		}
	}
	if d.note == nil {
		return edge, nil
	}
	note := immutable(schemas.SnapshotKey(d.stage.snapshot), d.note, typeText)
	if err := do("snapshot", func() error { return s.cfg.Bucket.PutNew(ctx, note) }); err != nil {
		return nil, err
	}
	return edge, do("latest", func() error { return s.replace(ctx, schemas.LatestKey, d.note) })
}

// replace moves a name to a note, as long as no other sequencer is in force.
func (s *Sequencer) replace(ctx context.Context, key string, note []byte) error {
	return s.replaceObject(ctx, mutable(key, note, typeText))
}

func (s *Sequencer) replaceObject(ctx context.Context, o bucket.Object) error {
	if err := s.inForce(ctx); err != nil {
		return err
	}
	return s.cfg.Bucket.Replace(ctx, o)
}

// checkpoint signs the log's tree, and has it cosigned by the witnesses.
func (s *Sequencer) checkpoint(ctx context.Context, tree tlog.Tree) ([]byte, error) {
	c := log.Checkpoint{Origin: s.cfg.Election.Definition.Origin, Tree: tree}
	b, err := c.Sign(s.cfg.signers()...)
	if err != nil {
		return nil, fmt.Errorf("signing the checkpoint of %d leaves: %w", tree.N, err)
	}
	if len(s.witnesses.clients) == 0 {
		return b, nil
	}
	return s.cosign(ctx, log.NewReader(s.cfg.Bucket, tree), b), nil
}

// tilesAtOnce bounds the bytes of leaves that one call of the bucket carries.
const tilesAtOnce = 16 << 20

// putTiles stores the tiles that the decision brings and returns the edge
// behind them.
func (s *Sequencer) putTiles(ctx context.Context, d *decision) (*log.Edge, error) {
	edge, size := d.edge, 0
	var batch []log.Hashed
	for l, err := range s.leavesOf(ctx, d) {
		if err != nil {
			return nil, err
		}
		batch, size = append(batch, l), size+len(l.Leaf)
		if size >= tilesAtOnce && (edge.Tree().N+int64(len(batch)))%log.TileWidth == 0 {
			if edge, err = s.putBatch(ctx, edge, batch); err != nil {
				return nil, err
			}
			batch, size = nil, 0
		}
	}
	if len(d.stage.statement) > 0 {
		batch = append(batch, hashed(d.stage.statement))
	}
	if d.note != nil {
		own, err := leaf.Append(nil, &leaf.Snapshot{Note: d.note})
		if err != nil {
			return nil, err
		}
		batch = append(batch, hashed(own))
	}
	return s.putBatch(ctx, edge, batch)
}

// putBatch appends leaves and stores the objects. Also those in the middle of a
// decision: they end with a full bundle, so what is partial then are upper
// tiles, and the last batch brings those again only if it changes them.
func (s *Sequencer) putBatch(ctx context.Context, edge *log.Edge, leaves []log.Hashed) (*log.Edge, error) {
	next, tiles, err := edge.AppendHashed(leaves...)
	if err != nil {
		return nil, err
	}
	size := 0
	objects := make([]bucket.Object, 0, len(tiles))
	for _, t := range tiles {
		objects = append(objects, immutable(t.Key, t.Body, log.TileMediaType))
		size += len(t.Body)
	}
	if err := s.cfg.Bucket.PutNew(ctx, objects...); err != nil {
		return nil, err
	}
	s.cfg.Metrics.bytes.WithLabelValues("tile").Add(float64(size))
	s.cfg.Metrics.tiles.Add(float64(len(objects)))
	return next, nil
}

// leavesOf yields the leaves of a decision but for the snapshot's own. Those
// that are not held are made again of the ledger, and must be the same.
func (s *Sequencer) leavesOf(ctx context.Context, d *decision) iter.Seq2[log.Hashed, error] {
	return func(yield func(log.Hashed, error) bool) {
		if len(d.stage.definition) > 0 && !yield(hashed(d.stage.definition), nil) {
			return
		}
		rest := d.leaves
		for _, r := range d.stage.runs() {
			leaves := rest[:r.to-r.after]
			rest = rest[len(leaves):]
			for len(leaves) > 0 {
				if leaves[0].Leaf != nil {
					if !yield(leaves[0], nil) {
						return
					}
					leaves, r.after = leaves[1:], r.after+1
					continue
				}
				n := 1
				for n < len(leaves) && leaves[n].Leaf == nil {
					n++
				}
				missing := run{r.partition, r.after, r.after + uint64(n)}
				more, err := s.again(ctx, missing, leaves[:n], func(l log.Hashed) bool { return yield(l, nil) })
				if err != nil {
					yield(log.Hashed{}, err)
				}
				if err != nil || !more {
					return
				}
				leaves, r.after = leaves[n:], missing.to
			}
		}
	}
}

// again reads a run of leaves from the ledger, which must be those that were
// hashed before.
func (s *Sequencer) again(ctx context.Context, r run, leaves []log.Hashed, yield func(log.Hashed) bool) (more bool, err error) {
	view, err := s.cfg.Ledger.View(ctx)
	if err != nil {
		return false, fmt.Errorf("opening a ledger view: %w", err)
	}
	defer view.Close() // it only reads
	stopped := errors.New("nobody wants more")
	err = s.readRun(ctx, view, r, func(e *schemas.Entry, b []byte) error {
		l := hashed(b)
		if l.Hash != leaves[0].Hash {
			return replayError(e, "the ledger changed after it was read", nil)
		}
		leaves = leaves[1:]
		if !yield(l) {
			return stopped
		}
		return nil
	})
	if errors.Is(err, stopped) {
		return false, nil
	}
	return err == nil, err
}

func hashed(leaf []byte) log.Hashed { return log.Hashed{Leaf: leaf, Hash: tlog.RecordHash(leaf)} }

// errEnough ends a reading.
var errEnough = errors.New("enough entries")

// readRun calls fn with the leaf of each entry of the run.
func (s *Sequencer) readRun(ctx context.Context, view ledger.View, r run, fn func(*schemas.Entry, []byte) error) error {
	heads := view.Heads()
	after := make([]uint64, len(heads))
	for p := range heads {
		after[p] = heads[p].Size // nothing of the others
	}
	if int(r.partition) >= len(heads) || heads[r.partition].Size < r.to {
		return fmt.Errorf("%w: partition %d has less than %d", ErrLedgerBehind, r.partition, r.to)
	}
	after[r.partition] = r.after
	at := r.after
	err := view.Entries(ctx, after, func(e schemas.Entry, record []byte) error {
		at++
		if e.Partition != r.partition || e.Seq != at {
			return replayError(&e, "entries must be dense", nil)
		}
		b, err := s.seals.leafOf(&e, record)
		if err != nil {
			return err
		}
		if err := fn(&e, b); err != nil {
			return err
		}
		if at == r.to {
			return errEnough
		}
		return nil
	})
	if err == nil && at < r.to {
		return fmt.Errorf("%w: partition %d has less than %d", ErrLedgerBehind, r.partition, r.to)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("reading the ledger for the log: %w", err)
	}
	return nil
}

// leafOf makes the leaf of an entry, of bytes of its own.
func leafOf(e *schemas.Entry, record []byte) ([]byte, error) {
	l, err := leaf.OfEntry(e, record)
	if err != nil {
		return nil, replayError(e, "it becomes no leaf of the log", err)
	}
	const head = 400 // bytes before the record
	b, err := leaf.Append(make([]byte, 0, len(record)+head), l)
	if err != nil {
		return nil, replayError(e, "it becomes no leaf of the log", err)
	}
	return b, nil
}

// signers are ours, and while one key is handed over to the next both: a reader
// who knows either verifies what is signed.
func (c *Config) signers() []note.Signer {
	if c.NextSigner == nil {
		return []note.Signer{c.Signer}
	}
	return []note.Signer{c.Signer, c.NextSigner}
}

// definitionLeaf is the first leaf: the election, the roster, and whose keys
// sign. Without root keys all of that is so for good.
func (c *Config) definitionLeaf() ([]byte, error) {
	d := c.Election.Definition
	l := &leaf.Definition{
		Origin: d.Origin, Election: d.Election,
		Definition: fileOf(c.Definition), Roster: fileOf(c.Roster),
		Threshold: c.Threshold, Roots: c.Roots,
		Keys: []leaf.RoleKey{{Role: leaf.LogKey, Key: c.VerifierKey}, {Role: leaf.SnapshotKey, Key: c.VerifierKey}},
	}
	if c.ReceiptKey != "" {
		l.Keys = append(l.Keys, leaf.RoleKey{Role: leaf.ReceiptKey, Key: c.ReceiptKey})
	}
	b, err := leaf.Append(nil, l)
	if err != nil {
		return nil, fmt.Errorf("making the log's first leaf: %w", err)
	}
	return b, nil
}

func fileOf(b []byte) leaf.File { return leaf.File{Digest: schemas.DigestOf(b), Bytes: uint64(len(b))} }
