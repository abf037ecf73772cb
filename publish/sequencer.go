package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate/ledger"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// Sequencer publishes one election. Only one may run per bucket; a second one
// stops the first (see epoch in recovery.go).
//
// One goroutine, Run's, owns the books (fold, renderer, cut). While a snapshot
// is being written, its own goroutine owns the shelf; between snapshots Run's
// does. So deltas never wait for documents to be written.
type Sequencer struct {
	cfg       Config
	verifier  note.Verifier
	catalogue *catalogue
	pages     *pageSet

	finishing chan *finish
	done      chan struct{} // closed when Run returns

	status status // has its own lock

	// Of Run's goroutine.
	seals    *sealer
	fold     *fold
	renderer *renderer
	cut      cut
	first    bool // no cut was made yet
	stepwise bool // driven by Step: nothing runs beside it
	epoch    schemas.Epoch
	mark     mark // as the register has it; while a snapshot is written, its goroutine's
	head     head
	shelf    *shelf
	queue    *queue
	// Of the goroutine that writes snapshots, as the shelf.
	witnesses witnesses
	hinted    bool
	nextRead  time.Time // not before this, though hinted
	lastRead  time.Time
	grown     time.Time // when the ledger last held something new
	still     bool      // the last look at the ledger found nothing new
	tick      schedule
	snapshot  schedule
	writing   chan written // nil: no snapshot is being written
	waiting   []*finish    // to be served by the next snapshot
	pause     *leaf.Pause  // the newest statement of a pause in the log; nil: none
	wish      *wish        // what an operator wants, and is not in the log yet; nil: nothing
	nextWish  time.Time    // when the register is asked for one
	powers    powers
	broken    bool  // a writing failed: what was decided may not be finished
	restated  bool  // a statement stands in the log that no snapshot follows yet
	behindBy  *plan // the newest snapshot, while some pages show less than it says; else nil
}

// drainTime is how long a snapshot that is being written may take to its end
// after Run was told to stop.
const drainTime = 10 * time.Second

// cut is what the last rendered edition says of the ledgers.
type cut struct {
	log            schemas.LogSize
	entries        uint64
	accepted, held uint64
	listings       *listings
	remainders     []*remainderFile // by county
}

// finish is a wish for a last snapshot with everything in it.
type finish struct {
	done chan error // buffered
}

// status is what other goroutines may ask for.
type status struct {
	mu                      sync.Mutex
	latest                  schemas.Snapshot
	ledger, bucket, stopped error // why it is not ready
}

// New checks the configuration. It touches nothing.
func New(cfg Config) (*Sequencer, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(cfg.VerifierKey)
	if err != nil {
		return nil, fmt.Errorf("publish: Config.VerifierKey: %w", err)
	}
	if verifier.Name() != cfg.Signer.Name() || verifier.KeyHash() != cfg.Signer.KeyHash() {
		return nil, fmt.Errorf("publish: Config.VerifierKey is of %s, Config.Signer is %s", verifier.Name(), cfg.Signer.Name())
	}
	c := newCatalogue(cfg.Election)
	pages, err := newPageSet(c, &cfg)
	if err != nil {
		return nil, err
	}
	most := cfg.HeartbeatEvery / 2
	seals := &sealer{cfg.Election, cfg.Secret}
	s := &Sequencer{
		cfg: cfg, seals: seals, verifier: verifier, catalogue: c,
		pages:     pages,
		finishing: make(chan *finish),
		done:      make(chan struct{}),
		fold:      newFold(cfg.Election),
		renderer:  newRenderer(c),
		witnesses: witnesses{cfg.Witnesses, make([]time.Time, len(cfg.Witnesses))},
		first:     true,
		hinted:    true,
		tick:      schedule{pace: pace{least: cfg.DeltaEvery, most: most, share: cmp.Or(cfg.Share, deltaShare)}},
		snapshot:  schedule{pace: pace{least: cfg.SnapshotEvery, most: most, share: cmp.Or(cfg.Share, snapshotShare), rate: cfg.DocumentRate}},
	}
	s.fold.veil = newVeil(cfg.Election, seals, s.fold.rows)
	return s, nil
}

// Ready is nil while snapshots are published: after the first one, and until
// the bucket fails or the sequencer stops.
func (s *Sequencer) Ready() error {
	s.status.mu.Lock()
	defer s.status.mu.Unlock()
	if s.status.latest.Number == 0 {
		return cmp.Or(s.status.stopped, s.status.bucket, s.status.ledger, errNoSnapshot)
	}
	return cmp.Or(s.status.stopped, s.status.bucket, s.status.ledger)
}

var errNoSnapshot = errors.New("no snapshot is published yet")

// Latest is the newest snapshot that is published; its Number is 0 before any.
func (s *Sequencer) Latest() schemas.Snapshot {
	s.status.mu.Lock()
	defer s.status.mu.Unlock()
	return s.status.latest
}

// report changes the status under its lock.
func (s *Sequencer) report(change func(*status)) {
	s.status.mu.Lock()
	defer s.status.mu.Unlock()
	change(&s.status)
}

// Run publishes until ctx is done, which is no error, or until something that
// it must not go on after. It runs once.
func (s *Sequencer) Run(ctx context.Context) error {
	defer close(s.done)
	err := s.open(ctx)
	if err == nil {
		err = s.loop(ctx)
	}
	s.abandon(err)
	s.pauseFor(ctx, err)
	if ctx.Err() != nil && !fatal(err) {
		s.report(func(st *status) { st.stopped = ErrStopped })
		return nil
	}
	s.cfg.Metrics.stopped.Set(1)
	s.report(func(st *status) { st.stopped = fmt.Errorf("%w: %w", ErrStopped, err) })
	s.cfg.Logger.ErrorContext(ctx, "publishing stopped, the last snapshot stays", "epoch", s.epoch, "log", s.cut.log, "err", err)
	return err
}

// abandon lets the snapshot at hand come to its end and answers those who wait.
func (s *Sequencer) abandon(err error) {
	if s.writing != nil {
		_ = s.closed(<-s.writing) // whoever waits for it is told, or told below
	}
	for _, f := range s.waiting {
		f.done <- fmt.Errorf("finishing: %w: %w", ErrStopped, err)
	}
}

// Finish publishes everything that the ledger holds by now, with CSV files,
// unit lines and all pages, in one snapshot more. Run must be running, and
// goes on afterwards. It may be called again.
func (s *Sequencer) Finish(ctx context.Context) error {
	f := &finish{done: make(chan error, 1)}
	select {
	case s.finishing <- f:
	case <-s.done:
		return fmt.Errorf("finishing: %w", ErrStopped)
	case <-ctx.Done():
		return fmt.Errorf("finishing: %w", ctx.Err())
	}
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("finishing: %w", ctx.Err())
	}
}

func (s *Sequencer) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := s.turn(ctx); err != nil {
			return err
		}
		timer.Reset(s.due().Sub(s.cfg.Now()))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.cfg.Wake:
			s.hinted = true
		case <-timer.C:
		case f := <-s.finishing:
			s.waiting = append(s.waiting, f)
			s.hinted, s.nextRead = true, time.Time{}
		case w := <-s.writing:
			if err := s.closed(w); err != nil {
				return err
			}
		}
	}
}

// Step does what is due and returns, for whoever drives a sequencer turn by
// turn instead of Run: a snapshot is written whole. The first step opens the
// bucket. After an error another sequencer has to be made.
func (s *Sequencer) Step(ctx context.Context) error {
	if !s.stepwise {
		s.stepwise = true
		if err := s.open(ctx); err != nil {
			return err
		}
	}
	select {
	case <-s.cfg.Wake:
		s.hinted = true
	default:
	}
	if err := s.turn(ctx); err != nil || s.writing == nil {
		return err
	}
	return s.closed(<-s.writing)
}

// turn does what is due.
func (s *Sequencer) turn(ctx context.Context) error {
	now := s.cfg.Now()
	s.hear(ctx, now)
	s.hearChange(ctx, now)
	if s.changeDue() && s.writing == nil {
		s.hinted, s.nextRead = true, time.Time{} // it follows a cut
	}
	if s.readDue(now) {
		if err := s.read(ctx, now); err != nil {
			if (fatal(err) && !s.heldBack(err)) || ctx.Err() != nil {
				return err
			}
			s.cfg.Metrics.ledgerErr.Inc()
			s.cfg.Logger.WarnContext(ctx, "reading the ledger failed, trying again", "err", err)
			s.report(func(st *status) { st.ledger = err })
			s.nextRead = now.Add(s.cfg.PollEvery)
			return nil
		}
		s.report(func(st *status) { st.ledger = nil })
	}
	switch {
	case s.writing != nil:
	case s.wish != nil && s.rests():
		st := s.declare(s.wish)
		s.wish = nil
		s.begin(ctx, func(ctx, running context.Context) written { return s.writePause(ctx, running, st) })
	case s.changeDue() && !s.behind():
		st, leaves := s.queue.take()
		c := s.powers.change
		s.fold.log++
		s.begin(ctx, func(ctx, running context.Context) written { return s.writeChange(ctx, running, st, leaves, c) })
	case s.snapshotDue(now):
		p := s.plan(now)
		s.begin(ctx, func(ctx, running context.Context) written { return s.write(ctx, running, p) })
	case s.queue.ready >= s.cfg.LogBytes && s.head.number > 0:
		st, leaves := s.queue.take()
		s.begin(ctx, func(ctx, running context.Context) written { return s.writeLog(ctx, running, st, leaves) })
	case s.behindBy != nil && !now.Before(s.pagesAt()):
		p := s.behindBy
		s.begin(ctx, func(ctx, running context.Context) written { return s.catchUp(ctx, running, p) })
	}
	return nil
}

// read takes a view of the ledger, counts what is new in it and, when a tick
// is due, checks the double entry at that cut and sends the changes. Counting
// happens more often than ticking: it must be done for each submission
// anyway, in small pieces and while the record is still in memory.
func (s *Sequencer) read(ctx context.Context, now time.Time) error {
	s.hinted, s.lastRead, s.nextRead = false, now, now.Add(s.cfg.DeltaEvery)
	view, err := s.cfg.Ledger.View(ctx)
	if err != nil {
		return fmt.Errorf("opening a ledger view: %w", err)
	}
	defer view.Close() // it only reads
	before := s.fold.entries
	err = s.count(ctx, view)
	if s.still = s.fold.entries == before; !s.still {
		s.grown = s.cfg.Now()
	}
	if err != nil {
		return err
	}
	s.cfg.Metrics.readTime.Observe(s.cfg.Now().Sub(now).Seconds())
	if !s.cutWanted() || !s.tickDue(now) {
		return nil
	}
	return s.makeCut(ctx, view)
}

// count folds the view's new entries. After an error that is not fatal the
// fold stands behind the last entry that it took.
func (s *Sequencer) count(ctx context.Context, view ledger.View) error {
	m := s.cfg.Metrics
	logged := s.first && s.paused() // the numbers that stand, and none beyond them
	err := view.Entries(ctx, slices.Clone(s.fold.sizes), func(entry schemas.Entry, record []byte) error {
		if logged && !s.queue.has(&entry) {
			return nil
		}
		if !s.queue.has(&entry) {
			if err := s.inForceFor(&entry, record); err != nil {
				return err
			}
		}
		if err := s.fold.apply(&entry, record); err != nil {
			return err
		}
		if !s.queue.has(&entry) {
			leaf, err := s.seals.leafOf(&entry, record)
			if err != nil {
				return err
			}
			s.queue.add(entry.Partition, leaf)
		}
		m.entries.WithLabelValues(string(entry.Kind)).Inc()
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	m.logSize.Set(float64(s.fold.log))
	return nil
}

// makeCut makes the view's cut the one that is published next: both books
// agree on it, and its changes go out as deltas.
func (s *Sequencer) makeCut(ctx context.Context, view ledger.View) error {
	begun := s.cfg.Now()
	if s.first {
		for p, size := range s.queue.before {
			if s.fold.sizes[p] < size {
				return fmt.Errorf("%w: partition %d has %d entries, the log has %d", ErrLedgerBehind, p, s.fold.sizes[p], size)
			}
		}
	}
	standing := s.first && s.paused()
	if !standing { // else the ledger is ahead of the numbers that stand
		if err := s.balance(ctx, view); err != nil {
			return err
		}
	}
	s.renderer.render(s.fold.shown(), s.fold.moves.counties, s.changed(), s.fold.log)
	if standing {
		if err := s.unmoved(); err != nil {
			return err
		}
	}
	s.fold.settle()
	s.queue.cut(s.fold.sizes)
	s.cut = cut{
		log: s.fold.log, entries: s.fold.entries, accepted: s.fold.accepted, held: s.fold.heldAll,
		listings: s.fold.listed(s.cut.listings), remainders: s.fold.veil.cutFiles(s.cut.remainders, s.fold.log),
	}
	for code, n := range s.cut.listings.open {
		s.cfg.Metrics.holds.WithLabelValues(string(code)).Set(float64(n))
	}
	if !s.first {
		s.sendDeltas(ctx)
	}
	s.first = false
	took := s.cfg.Now().Sub(begun)
	s.tick.next = s.tick.pace.next(begun, took, 0)
	s.cfg.Metrics.tickTime.Observe(took.Seconds())
	s.cfg.Metrics.tickEvery.Set(s.tick.next.Sub(begun).Seconds())
	return nil
}

// changed are the counties whose rows may differ from the last edition.
func (s *Sequencer) changed() []schemas.CountyIndex {
	if s.first {
		return s.catalogue.allCounties() // those without entries too
	}
	return s.fold.touched
}

// mostFollowing bounds how often one cut follows a ledger that moves on while
// its tallies are read.
const mostFollowing = 20

// balance is the double entry: the ledger's tallies at the cut must equal our
// own fold of the same entries. Where the ledger moved on before its tallies
// were read, the cut follows it there.
func (s *Sequencer) balance(ctx context.Context, view ledger.View) error {
	counties := s.changed()
	for range mostFollowing {
		moved, err := s.compare(ctx, view, counties)
		if err != nil || len(moved) == 0 {
			return err
		}
		if err := view.Follow(ctx, moved); err != nil {
			return fmt.Errorf("following the ledger: %w", err)
		}
		if err := s.count(ctx, view); err != nil {
			return err
		}
		counties = nil
		for _, c := range s.changed() {
			if slices.Contains(moved, s.cfg.Election.Counties[c].Partition) {
				counties = append(counties, c)
			}
		}
	}
	return errors.New("the ledger moves on faster than its tallies can be read")
}

// compare holds the counties' rows against the ledger's. It returns the
// partitions of those whose tallies are already of entries behind the cut.
func (s *Sequencer) compare(ctx context.Context, view ledger.View, counties []schemas.CountyIndex) (moved []schemas.Partition, err error) {
	tallies, err := view.Tallies(ctx, counties)
	if err != nil {
		return nil, fmt.Errorf("reading tallies: %w", err)
	}
	for i, c := range counties {
		place := &s.cfg.Election.Counties[c]
		if tallies[i].Size > s.fold.sizes[place.Partition] {
			if !slices.Contains(moved, place.Partition) {
				moved = append(moved, place.Partition)
			}
			continue
		}
		if err := s.fold.balance(c, tallies[i].Row); err != nil {
			s.cfg.Metrics.balanced.Set(0)
			s.cfg.Logger.ErrorContext(ctx, "double entry does not balance", "county", place.ID, "log", s.fold.log, "err", err)
			return nil, err
		}
	}
	return moved, nil
}
