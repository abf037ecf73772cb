package faultsim

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate"
	"tallystream/aggregate/lease"
	"tallystream/fanout"
	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/publish"
	"tallystream/schemas"
)

var silent = slog.New(slog.DiscardHandler)

// How long a night is, by the world's clock.
const (
	// faultTime is how long faults befall.
	faultTime = 18 * time.Second
	// restTime is how long after that everything may take to come to rest. A
	// sequencer's pauses and two heartbeats are in it.
	restTime = 3 * time.Minute
	// afterwards the night goes on for a while, to see that rest is rest.
	afterTime = 4 * time.Second
	healTime  = 20 * time.Second
)

// night is one election night: actors, stores and who watches them.
type night struct {
	world  *world
	town   *town
	meters *meters
	read   *readings
	plant  plant

	tape        tape
	kinesis     *simStream // the tape, in the cloud; nil: this night is embedded
	ledger      *simLedger
	register    *simRegister
	bucket      *simBucket
	oracle      *oracle
	publication *publication

	desks      []*desk
	officials  []*official
	counters   []*counter
	publishers []*publisher
	fans       []*fanNode
	watchers   []*watcher
	receipts   map[*meaning]string

	publishedDeltas map[string]bool // kept for planted bugs of conflation only
}

// plant holds the switches of planted bugs. They are set by tests of this
// package and by nothing else: they show that the checks see what they are for.
type plant struct {
	appender func(*night, *process, ingest.Appender) ingest.Appender
	ledger   func(*night, *process) aggregate.Ledger
	source   func(*night, stream.Source) stream.Source
	frame    func(*night, []byte) []byte // on its way to a viewer
	night    func(*night)                // changes stores before anything begins
}

// meters are the metrics that nights of one goroutine share: making them costs
// more than a night's tenth, and nobody reads them.
type meters struct {
	kinesis   *kinesis.Metrics
	ingest    *ingest.Metrics
	aggregate *aggregate.Metrics
	lease     *lease.Metrics
	publish   *publish.Metrics
	fanout    *fanout.Metrics
}

func newMeters() *meters {
	r := func() prometheus.Registerer { return prometheus.NewRegistry() }
	return &meters{
		kinesis.NewMetrics(r()), ingest.NewMetrics(r()), aggregate.NewMetrics(r()), lease.NewMetrics(r()), publish.NewMetrics(r()), fanout.NewMetrics(r()),
	}
}

// readings are what was read before, by its exact bytes: nights have much in
// common, and reading it is a good part of their cost.
type readings struct {
	lines    map[schemas.Digest][]publicLine
	receipts map[receiptKey]*schemas.Receipt
}

// receiptKey is a receipt's bytes, and whether it must be one of a release.
type receiptKey struct {
	note    string
	release bool
}

func newReadings() *readings {
	return &readings{map[schemas.Digest][]publicLine{}, map[receiptKey]*schemas.Receipt{}}
}

// mostReadings bounds what is kept.
const mostReadings = 20_000

func (r *readings) shrink() {
	if len(r.lines)+len(r.receipts) > mostReadings {
		*r = *newReadings()
	}
}

// receipt checks the signature of a receipt for m.
func (r *readings) receipt(t *town, m *meaning, b []byte) (*schemas.Receipt, error) {
	key := receiptKey{string(b), m.releases != nil}
	if x, ok := r.receipts[key]; ok {
		return x, nil
	}
	x, err := openReceipt(t, m, b)
	if err == nil {
		r.receipts[key] = x
	}
	return x, err
}

// openReceipt reads a receipt of the kind that m gets.
func openReceipt(t *town, m *meaning, b []byte) (*schemas.Receipt, error) {
	if m.releases == nil {
		return schemas.OpenReceipt(b, t.verifier)
	}
	x, err := schemas.OpenReleaseReceipt(b, t.verifier)
	return (*schemas.Receipt)(x), err
}

// Result of one night.
type Result struct {
	Seed      uint64
	Violation error // the first promise that did not hold; nil: all did
	Hash      uint64
	Steps     int
	Trace     []string // the last lines
	Count     Count
}

// Simulator runs nights, one after the other, in one goroutine.
type Simulator struct {
	town   *town
	meters *meters
	read   *readings
	plant  plant
	// Trace gets every line of the trace; nil: nobody.
	Trace io.Writer
}

// New makes a simulator.
func New() (*Simulator, error) {
	t, err := oneTown()
	if err != nil {
		return nil, err
	}
	return &Simulator{town: t, meters: newMeters(), read: newReadings()}, nil
}

// Run simulates the night of a seed. Equal seeds give equal nights.
func (s *Simulator) Run(seed uint64) *Result {
	f := newFaults(seed)
	w := newWorld(seed, f)
	w.trace.out = s.Trace
	f.draw(w)
	s.read.shrink()
	n := &night{world: w, town: s.town, meters: s.meters, read: s.read, plant: s.plant, receipts: map[*meaning]string{}, publishedDeltas: map[string]bool{}}
	n.stores(seed)
	if n.plant.night != nil {
		n.plant.night(n)
	}
	n.open()
	n.play()
	w.end(n.processes())
	return &Result{
		Seed: seed, Violation: w.broken, Hash: w.trace.hash.Sum64(), Steps: w.steps, Trace: w.trace.last(traceLines), Count: f.Count,
	}
}

func (n *night) stores(seed uint64) {
	w := n.world
	if w.chance(4) {
		n.tape = &simOrder{world: w, town: n.town}
	} else {
		n.kinesis = newStream(w, n.town, n.meters, seed)
		n.tape = n.kinesis
	}
	n.oracle = newOracle(w, n.town, n.tape.records)
	n.ledger = newLedger(w, n.town, n.oracle)
	n.ledger.whole, n.ledger.end = n.kinesis == nil, n.tape.end
	n.register = newRegister(w)
	n.bucket = newBucket(w)
	n.publication = newPublication(w, n.town, n.oracle, n.bucket, n.read)
	n.bucket.onPut = n.publication.onPut
}

// open starts the actors.
func (n *night) open() {
	w := n.world
	for i := range 2 {
		n.desks = append(n.desks, n.openDesk(fmt.Sprintf("ingest%d", i)))
	}
	for i := range 2 + w.random.IntN(2) {
		n.counters = append(n.counters, n.openCounter(fmt.Sprintf("aggregate%d", i)))
	}
	for i := range 2 {
		n.publishers = append(n.publishers, n.openPublisher(fmt.Sprintf("publish%d", i)))
	}
	for i := range 2 {
		n.fans = append(n.fans, n.openFan(fmt.Sprintf("fanout%d", i)))
	}
	for i, documents := range [][]schemas.DocumentID{
		{"election", "contest/governor"}, {"county/birch", "contest/bond"}, {"county/ash", "contest/governor", "contest/" + schemas.DocumentID(schemas.BallotsCast)},
	} {
		n.watchers = append(n.watchers, n.openWatcher(fmt.Sprintf("viewer%d", i), documents))
	}
	units := w.random.Perm(len(n.town.units))
	for i := range 3 {
		n.officials = append(n.officials, n.hire(fmt.Sprintf("official%d", i), units[i*len(units)/3:(i+1)*len(units)/3]))
	}
}

// services are what faults befall.
func (n *night) services() (out []*process) {
	for _, x := range n.desks {
		out = append(out, x.process)
	}
	for _, x := range n.counters {
		out = append(out, x.process, x.process)
	}
	for _, x := range n.publishers {
		out = append(out, x.process, x.process)
	}
	for _, x := range n.fans {
		out = append(out, x.process)
	}
	return out
}

func (n *night) processes() []*process {
	out := n.services()
	for _, x := range n.officials {
		out = append(out, x.process)
	}
	for _, x := range n.watchers {
		out = append(out, x.process)
	}
	return out
}

// play runs the night: with faults, until rest, and a little longer.
func (n *night) play() {
	w := n.world
	w.after(w.between(time.Second, 4*time.Second), func() { w.disaster(n.services()) })
	if n.kinesis != nil {
		n.repeat(time.Second, 5*time.Second, n.reshard)
	}
	n.repeat(time.Second, 8*time.Second, n.intrude)
	w.run(faultTime, func() bool { return false })
	if w.broken != nil {
		return
	}
	w.calm(n.services())
	w.run(w.now+restTime, n.isAtRest)
	n.mustRest("come to")
	if w.broken == nil {
		w.run(w.now+afterTime, func() bool { return false })
		// What was late may have moved latest back: the next heartbeat mends that.
		w.run(w.now+healTime, n.isAtRest)
		n.mustRest("stay at")
	}
}

// mustRest holds that everything promised has come.
func (n *night) mustRest(what string) {
	if n.world.broken != nil {
		return
	}
	if err := n.unrest(); err != nil {
		n.world.violate("the night does not %s rest: %v", what, err)
	}
}

// repeat does something every now and then while there are faults.
func (n *night) repeat(least, most time.Duration, do func()) {
	n.world.after(n.world.between(least, most), func() {
		if n.world.faulty {
			do()
			n.repeat(least, most, do)
		}
	})
}

// isAtRest looks closely only now and then: a look costs more than a step.
func (n *night) isAtRest() bool { return n.world.steps%64 == 0 && n.unrest() == nil }

var errSending = errors.New("submissions are being sent")

// unrest is why the night is not at rest: something that was promised has not
// come yet.
func (n *night) unrest() error {
	for _, o := range n.officials {
		if !o.done {
			return errSending
		}
	}
	for p, part := range n.ledger.parts {
		records := n.tape.records(schemas.Partition(p))
		if last := len(records) - 1; last >= 0 && part.head.Checkpoint < records[last].at {
			return fmt.Errorf("partition %d is at checkpoint %d of %d", p, part.head.Checkpoint, records[last].at)
		}
	}
	if lost := n.unkept(); lost != "" {
		return errors.New(lost)
	}
	newest := n.publication.newest
	if newest == nil || int(newest.entries()) != n.ledger.size() {
		return fmt.Errorf("the newest snapshot is %+v, the ledger has %d entries", newest, n.ledger.size())
	}
	if latest := n.bucket.objects[schemas.LatestKey]; schemas.DigestOf(latest) != newest.hash {
		return errors.New("latest is not the newest snapshot")
	}
	return n.viewersBehind(newest)
}

// viewersBehind names a viewer that does not have the newest bytes.
func (n *night) viewersBehind(newest *publicNote) error {
	files, err := n.publication.manifest(newest)
	if err != nil {
		return err
	}
	for _, f := range files {
		for _, v := range n.watchers {
			if d := v.have[schemas.DocumentID(f.Name)]; d != nil && (!d.Known() || d.Hash() != f.Hash) {
				return fmt.Errorf("%s has version %d of epoch %d of %s, the newest is %d", v.name, d.Version(), d.Epoch(), f.Name, f.Version)
			}
		}
	}
	return nil
}
