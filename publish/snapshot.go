package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// head is the newest snapshot of the chain. Run's goroutine owns it.
type head struct {
	number schemas.SnapshotNumber
	note   schemas.Digest // of the note's bytes: the next one's previous
	log    schemas.LogSize
	// entries of the ledgers that it shows.
	entries uint64
	epoch   schemas.Epoch // 0 if another process made it
	begun   time.Time
}

// shelf is what the writing of snapshots remembers from one to the next. The
// goroutine that writes owns it.
type shelf struct {
	stored  []schemas.Digest // by document: bytes known to be durable
	exports *exports
	edge    *log.Edge // of the log
	// remainders are the files by name whose bytes are known to be durable.
	remainders map[string]schemas.Digest
	// listings that were written last.
	listings storedListing
}

// plan is one snapshot before it is written. Everything in it is fixed when it
// is made, so that writing it again after an error writes the same bytes.
type plan struct {
	snapshot   schemas.Snapshot // Root and Manifest are filled in by write
	stage      stage            // its tree and the definition too
	leaves     []log.Hashed
	edition    *edition
	listings   *listings
	announced  []int32 // documents that changed since the last snapshot of this epoch
	final      bool    // asked for by Finish
	serves     []*finish
	exports    *exportPlan // nil when none are due
	remainders []*remainderFile
	pagesDue   bool        // all pages that show less than this; otherwise only the first
	pause      *leaf.Pause // in force; nil: publication does not rest
	begun      time.Time

	note []byte // once signed
}

// catchUp writes the pages that were not due when their snapshot was written.
func (s *Sequencer) catchUp(ctx, running context.Context, p *plan) written {
	w := written{plan: p, onlyPages: true}
	p.pagesDue = true
	w.pagesBehind, w.err = s.writePages(ctx, running, p)
	return w
}

// written is the outcome of a plan.
type written struct {
	plan  *plan       // nil: leaves of the log only
	pause *leaf.Pause // the statement that is in the log now; nil: none
	// change is a statement of root keys that is in the log now, at index power;
	// nil: none.
	change *change
	power  int64
	note   schemas.Digest
	took   time.Duration // of documents, manifest, note and latest
	bytes  int64
	// pagesBehind: pages that show less than the plan says were not due yet.
	// onlyPages: the plan was published before, and its pages were caught up.
	pagesBehind, onlyPages bool

	err error
}

// begin starts to write, beside the loop; turn by turn, it also ends it.
func (s *Sequencer) begin(ctx context.Context, write func(ctx, running context.Context) written) {
	out := make(chan written, 1)
	if s.stepwise {
		out <- write(ctx, ctx)
		s.writing = out
		return
	}
	s.writing = out
	// What is half written when Run is told to stop may come to its end.
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })
	go func() {
		defer cancel()
		defer stop()
		out <- write(writing, ctx)
	}()
}

// plan makes a snapshot of the last cut. Its own leaf comes behind it in the
// log, before those of the next cut.
func (s *Sequencer) plan(now time.Time) *plan {
	others := s.fold.log - schemas.LogSize(s.fold.entries) // leaves that are no entries
	p := &plan{
		snapshot: schemas.Snapshot{
			Origin: s.cfg.Election.Definition.Origin, Number: s.head.number + 1, Previous: s.head.note,
			Log: others + schemas.LogSize(s.cut.entries), Accepted: s.cut.accepted, Held: s.cut.held,
			Time: s.cfg.Now().UTC().Format(schemas.SnapshotTimeLayout),
		},
		edition:  s.renderer.edition.picture(),
		listings: s.cut.listings, remainders: s.cut.remainders,
		final: len(s.waiting) > 0, serves: s.waiting,
		begun: now,
	}
	if s.paused() {
		p.pause = s.pause
	}
	s.waiting, s.restated = nil, false
	for i := range p.edition.documents {
		if s.head.epoch != s.epoch || p.edition.documents[i].version > s.head.log {
			p.announced = append(p.announced, int32(i))
		}
	}
	p.pagesDue = p.final || !now.Before(s.pagesAt())
	if !s.behind() && !s.paused() {
		p.exports = s.shelf.exports.plan(now, p.final, s.fold)
	}
	p.stage, p.leaves = s.queue.take()
	s.fold.log++
	return p
}

// closed takes over what a finished writing says.
func (s *Sequencer) closed(w written) error {
	s.writing = nil
	s.broken = s.broken || w.err != nil
	if w.plan == nil { // leaves of the log only
		if w.err == nil && w.pause != nil {
			s.restate(w.pause)
		}
		if w.err == nil && w.change != nil {
			return s.empower(w.change, w.power)
		}
		return w.err
	}
	if w.err != nil {
		if !w.onlyPages {
			s.waiting = append(w.plan.serves, s.waiting...) // to be told by abandon
		}
		return w.err
	}
	p := w.plan
	if s.behindBy = nil; w.pagesBehind {
		s.behindBy = p
	}
	if w.onlyPages {
		return nil
	}
	s.head = head{number: p.snapshot.Number, note: w.note, log: p.snapshot.Log, entries: p.snapshot.Entries(), epoch: s.epoch, begun: p.begun}
	s.snapshot.next = s.snapshot.pace.next(p.begun, w.took, w.bytes)
	for _, f := range p.serves {
		f.done <- nil
	}
	return nil
}

// write publishes a plan. Its steps are ordered so that at each moment every
// name that can be found leads to bytes that are durable:
//
//	documents, files  content-addressed or under this snapshot's number; if the
//	                  process dies here they are orphans, and do no harm
//	manifest          content-addressed; the same
//	stage             of a snapshot with too many cuts for the mark; the same
//	mark              the snapshot and its leaves are decided: recovery finishes
//	                  them with the same bytes (finish), and no other sequencer
//	                  can decide this number, or another log
//	tiles, checkpoint, note, latest
//	bus, pages        hints and convenience; the next snapshot renews them
//
// Every step may be repeated: after an error whose outcome is not known the
// same bytes are written again, until that works or Run is told to stop.
func (s *Sequencer) write(ctx, running context.Context, p *plan) written {
	w := written{plan: p}
	begun := s.cfg.Now()
	if w.bytes, w.err = s.writeDocuments(ctx, running, p); w.err != nil {
		return w
	}
	listed, err := s.writeListings(ctx, running, p)
	if w.bytes += listed; err != nil {
		w.err = err
		return w
	}
	if w.err = s.writeRemainders(ctx, running, p); w.err != nil {
		return w
	}
	exporting := s.cfg.Now()
	if w.err = s.writeExports(ctx, running, p); w.err != nil {
		return w
	}
	exported := s.cfg.Now().Sub(exporting)
	if w.err = s.writeManifest(ctx, running, p); w.err != nil {
		return w
	}
	if w.err = s.writeNote(ctx, running, p); w.err != nil {
		return w
	}
	w.note = schemas.DigestOf(p.note)
	w.took = s.cfg.Now().Sub(begun) - exported
	s.published(ctx, p, w.took)
	s.announce(ctx, p)
	w.pagesBehind, w.err = s.writePages(ctx, running, p)
	return w
}

// putAtOnce bounds the bytes that one call of the bucket carries, and with
// that the memory that a snapshot of everything takes.
const putAtOnce = 32 << 20

// writeDocuments stores the documents whose bytes are not known to be stored.
func (s *Sequencer) writeDocuments(ctx, running context.Context, p *plan) (int64, error) {
	var objects []bucket.Object
	var batch []int32
	size, total := 0, int64(0)
	flush := func() error {
		if err := s.insist(ctx, running, "documents", func() error { return s.cfg.Bucket.PutNew(ctx, objects...) }); err != nil {
			return err
		}
		for _, i := range batch {
			s.shelf.stored[i] = p.edition.documents[i].hash
		}
		s.cfg.Metrics.documents.Add(float64(len(batch)))
		s.cfg.Metrics.bytes.WithLabelValues("document").Add(float64(size))
		total += int64(size)
		objects, batch, size = objects[:0], batch[:0], 0
		return nil
	}
	for i := range p.edition.documents {
		d := &p.edition.documents[i]
		if s.shelf.stored[i] == d.hash {
			continue
		}
		objects = append(objects, immutable(schemas.ContentKey("documents", d.hash, ".ndjson"), p.edition.body(int32(i)), typeNDJSON))
		batch = append(batch, int32(i))
		if size += int(d.size); size >= putAtOnce {
			if err := flush(); err != nil {
				return total, err
			}
		}
	}
	if len(batch) == 0 {
		return total, nil
	}
	return total, flush()
}

// writeManifest stores the list of everything that the snapshot names.
func (s *Sequencer) writeManifest(ctx, running context.Context, p *plan) error {
	b := appendManifest(nil, s.manifest(p))
	p.snapshot.Manifest = schemas.DigestOf(b)
	object := immutable(schemas.ContentKey("manifests", p.snapshot.Manifest, ".ndjson"), b, typeNDJSON)
	s.cfg.Metrics.bytes.WithLabelValues("manifest").Add(float64(len(b)))
	return s.insist(ctx, running, "manifest", func() error { return s.cfg.Bucket.PutNew(ctx, object) })
}

// writeNote decides the snapshot and finishes it.
func (s *Sequencer) writeNote(ctx, running context.Context, p *plan) error {
	d, err := s.decision(p)
	if err != nil {
		return err
	}
	return s.settle(ctx, d, d.note, func(what string, write func() error) error { return s.insist(ctx, running, what, write) })
}

// decision fixes what a plan brings: the root, and with it the note, which is
// signed once, whatever the signer does.
func (s *Sequencer) decision(p *plan) (*decision, error) {
	d := &decision{stage: p.stage, edge: s.shelf.edge, leaves: p.leaves}
	p.leaves = nil // they may go when they are written, before the plan does
	d.stage.tree = d.edge.Tree()
	if d.stage.tree.N == 0 {
		var err error
		if d.stage.definition, err = s.cfg.definitionLeaf(); err != nil {
			return nil, err
		}
	}
	tree := d.tree()
	if tree.N != int64(p.snapshot.Log) {
		return nil, fmt.Errorf("snapshot %d is of a log of %d leaves, which has %d", p.snapshot.Number, p.snapshot.Log, tree.N)
	}
	d.stage.to, d.stage.snapshot = tree, p.snapshot.Number
	p.snapshot.Root = schemas.Digest(tree.Hash)
	var err error
	if p.note, err = schemas.AppendNote(nil, p.snapshot.AppendText(nil), s.cfg.signers()...); err != nil {
		return nil, fmt.Errorf("signing snapshot %d: %w", p.snapshot.Number, err)
	}
	d.note = p.note
	return d, nil
}

// published says that the snapshot stands.
func (s *Sequencer) published(ctx context.Context, p *plan, took time.Duration) {
	s.report(func(st *status) { st.latest, st.bucket = p.snapshot, nil })
	m := s.cfg.Metrics
	m.snapshot.Set(float64(p.snapshot.Number))
	m.snapshotLog.Set(float64(p.snapshot.Log))
	m.snapshotStamp.Set(float64(s.cfg.Now().UnixMilli()) / 1000)
	m.snapshotTime.Observe(took.Seconds())
	s.cfg.Logger.DebugContext(ctx, "snapshot published", "snapshot", p.snapshot.Number, "log", p.snapshot.Log,
		"documents", len(p.announced), "elapsed", took)
}

// insist repeats a write until it works. Other bytes under our key mean that
// somebody else publishes: then nothing more is written.
func (s *Sequencer) insist(ctx, running context.Context, what string, write func() error) error {
	const longest = 5 * time.Second
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, longest) {
		err := write()
		switch {
		case err == nil:
			s.report(func(st *status) { st.bucket = nil })
			return nil
		case errors.Is(err, bucket.ErrDiffers):
			return fmt.Errorf("writing %s: %w: %w", what, ErrFenced, err)
		case fatal(err), ctx.Err() != nil, running.Err() != nil:
			return fmt.Errorf("writing %s: %w", what, err)
		}
		s.cfg.Metrics.bucketErr.Inc()
		s.report(func(st *status) { st.bucket = err })
		s.cfg.Logger.WarnContext(ctx, "writing to the bucket failed, trying again", "object", what, "err", err)
		if s.cfg.Sleep(running, wait) != nil {
			return fmt.Errorf("writing %s: %w", what, err)
		}
	}
}

// Media types and caching of objects.
const (
	typeNDJSON = "application/x-ndjson"
	typeText   = "text/plain; charset=utf-8"
	typeJSON   = "application/json"
	typeSchema = "application/schema+json"
	typeCSV    = "text/csv; charset=utf-8"
	typeGzip   = "application/gzip"
	typeHTML   = "text/html; charset=utf-8"

	cacheForever = "public, max-age=31536000, immutable"
	cacheShortly = "public, max-age=1, stale-while-revalidate=5"
)

func immutable(key string, body []byte, contentType string) bucket.Object {
	return bucket.Object{Key: key, Body: body, ContentType: contentType, CacheControl: cacheForever}
}

func mutable(key string, body []byte, contentType string) bucket.Object {
	return bucket.Object{Key: key, Body: body, ContentType: contentType, CacheControl: cacheShortly}
}
