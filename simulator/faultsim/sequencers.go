package faultsim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tallystream/aggregate/lease"
	"tallystream/aggregate/ledger"
	"tallystream/publish"
	"tallystream/schemas"
)

// publisher is a process that publishes while it holds the lease, or thinks
// that it does.
type publisher struct {
	*process
	night    *night
	keeper   *lease.Keeper
	stubborn bool
	wake     chan struct{}
	made     int // sequencers in this life
}

// leaseOfPublication is the name of what publishers lease.
const leaseOfPublication = "sequencer"

func (n *night) openPublisher(name string) *publisher {
	b := &publisher{night: n}
	b.process = n.world.process(name, func(p *process) {
		b.keeper, b.wake, b.made = n.keeper(p, "publish/"), make(chan struct{}, 1), 0
		b.stubborn = n.world.befalls(faultStubborn)
		p.start("leads", b.lead)
		p.start("publishes", b.work)
	})
	return b
}

func (b *publisher) lead(t *task) {
	for {
		if _, err := b.keeper.Tick(context.Background(), []string{leaseOfPublication}); err != nil {
			b.world.note(t.name, "lease", err.Error())
		}
		_ = b.sleep(context.Background(), tendEvery)
	}
}

func (b *publisher) leads() bool {
	return b.keeper.Held(leaseOfPublication) || b.stubborn && b.world.faulty
}

func (b *publisher) work(t *task) {
	for {
		if b.leads() {
			if err := b.publish(t); err != nil {
				b.world.note(t.name, "stops", err.Error())
				b.mustNot(err)
				t.pause(b.world.between(200*time.Millisecond, 3*time.Second))
			}
		}
		t.pause(b.world.between(50*time.Millisecond, 300*time.Millisecond))
	}
}

// publish steps a new sequencer until it stops or the lease is gone.
func (b *publisher) publish(t *task) error {
	s, err := publish.New(b.config(t))
	if err != nil {
		return err
	}
	for b.leads() {
		if err := s.Step(context.Background()); err != nil {
			return err
		}
		t.pause(b.world.between(20*time.Millisecond, 400*time.Millisecond))
	}
	return nil
}

// mustNot holds that a sequencer never stops because books differ: no fault
// here may bring that about.
func (b *publisher) mustNot(err error) {
	imbalance, replay := (*publish.ImbalanceError)(nil), (*publish.ReplayError)(nil)
	if errors.As(err, &imbalance) || errors.As(err, &replay) || errors.Is(err, publish.ErrForeign) || errors.Is(err, publish.ErrLedgerBehind) {
		b.world.violate("%s stops: %v", b.name, err)
	}
}

func (b *publisher) config(t *task) publish.Config {
	n := b.night
	book := &logbook{cuts: map[uint64]uint64{}}
	b.made++
	name, nonces := fmt.Sprintf("%s-%d-%d", b.name, b.life, b.made), 0
	return publish.Config{
		Election: n.town.election, Definition: n.town.definition, Roster: n.town.roster,
		Ledger: loggedLedger{n.ledger, book}, Register: loggedRegister{n, book}, Bucket: n.bucket, Announcer: busOf{n, book},
		Signer: &n.town.publisher, ReceiptKey: n.town.receipts.VerifierKey(), VerifierKey: n.town.publisher.VerifierKey(), Wake: b.wake,
		Now:        b.Now,
		Sleep:      func(ctx context.Context, d time.Duration) error { return b.sleep(ctx, d) },
		Nonce:      func() string { nonces++; return fmt.Sprintf("%s-%d", name, nonces) },
		DeltaEvery: 150 * time.Millisecond, SnapshotEvery: 1500 * time.Millisecond, PagesEvery: 20 * time.Second,
		HeartbeatEvery: 8 * time.Second, PollEvery: time.Second, NoCSV: true,
		Metrics: n.meters.publish, Logger: silent,
	}
}

// loggedLedger writes down in which order its reader takes entries.
type loggedLedger struct {
	*simLedger
	book *logbook
}

// View implements publish.Ledger.
func (l loggedLedger) View(ctx context.Context) (ledger.View, error) {
	v, err := l.simLedger.View(ctx)
	if err != nil {
		return nil, err
	}
	v.(*simView).log = l.book.follow
	return v, nil
}

// loggedRegister tells who changes the mark.
type loggedRegister struct {
	night *night
	book  *logbook
}

func (r loggedRegister) Load(ctx context.Context, name string) ([]byte, error) {
	return r.night.register.Load(ctx, name)
}

func (r loggedRegister) Swap(ctx context.Context, name string, before, after []byte) error {
	return r.night.register.swap(ctx, name, before, after, func(now, next []byte) { r.night.publication.onMark(now, next, r.book) })
}

// hint wakes sequencers, unless it gets lost.
func (n *night) hint() {
	for _, b := range n.publishers {
		if b.down || n.world.befalls(faultHintLost) {
			continue
		}
		select {
		case b.wake <- struct{}{}:
		default: // one waits already
		}
	}
}

// busOf is the bus as a sequencer sees it. Messages take different times, so
// they overtake each other; some get lost, some come twice.
type busOf struct {
	night *night
	book  *logbook
}

// Delta implements publish.Announcer.
func (b busOf) Delta(_ context.Context, document schemas.DocumentID, frame []byte) error {
	own := slices.Clone(frame)
	if h, _, err := schemas.ReadDeltaHeader(own); err == nil {
		b.book.cuts[uint64(h.To)] = uint64(len(b.book.partitions)) // it is sent at the cut
	}
	if b.night.plant.frame != nil {
		b.night.publishedDeltas[string(own)] = true
	}
	b.send(func(f *fanNode) { f.hub.OnDelta(own) })
	return b.fails()
}

// Published implements publish.Announcer.
func (b busOf) Published(_ context.Context, p schemas.Published) error {
	p.Documents = slices.Clone(p.Documents)
	b.send(func(f *fanNode) { f.hub.OnPublished(p) })
	return b.fails()
}

func (b busOf) fails() error {
	if b.night.world.befalls(faultBusLost) {
		return errDown
	}
	return nil
}

func (b busOf) send(tell func(*fanNode)) {
	w := b.night.world
	for _, f := range b.night.fans {
		life := f.life
		var arrive func()
		arrive = func() {
			switch {
			case f.down || f.life != life:
			case f.until > w.now:
				w.after(f.until-w.now, arrive)
			default:
				tell(f)
			}
		}
		if !w.befalls(faultBusLost) {
			d := w.between(time.Millisecond, 10*time.Millisecond)
			if w.befalls(faultBusLate) {
				d = w.between(10*time.Millisecond, 3*time.Second)
			}
			w.after(d, arrive)
		}
		if w.befalls(faultBusTwice) {
			w.after(w.between(time.Millisecond, 2*time.Second), arrive)
		}
	}
}
