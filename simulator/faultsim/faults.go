package faultsim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// write is a kind of durable write. Every one of them meets every fate.
type write int

// The durable writes of the pipeline, in the order of a submission's way.
const (
	writeStream write = iota
	writeLedger
	writeLease
	writeEpoch
	writeMark
	writeElection
	writeDocument
	writeManifest
	writeTile
	writeCheckpoint
	writeNote
	writeLatest
	writePages
	writes // how many there are
)

var writeNames = [writes]string{
	"stream: record", "ledger: transaction", "register: lease", "register: epoch", "register: mark",
	"bucket: election", "bucket: document", "bucket: manifest", "bucket: tile", "bucket: checkpoint", "bucket: snapshot", "bucket: latest", "bucket: page",
}

func (k write) String() string { return writeNames[k] }

// fate is what befalls one write.
type fate int

// The fates of a write. The writer of an ambiguous one is told of an error
// though it was done; of a late one too, and it is done after that.
const (
	fine fate = iota
	crashBefore
	crashAfter
	ambiguous
	failed
	late
	fates // how many there are
)

var fateNames = [fates]string{"fine", "crash before", "crash after", "done, but an error", "not done, an error", "done after the error"}

func (f fate) String() string { return fateNames[f] }

// fault is a kind of fault that is not a write's.
type fault int

// What else goes wrong.
const (
	faultPause fault = iota
	faultRestart
	faultSkew
	faultStubborn
	faultSplit
	faultMerge
	faultPoison
	faultForeign
	faultThrottle
	faultRecord
	faultRead
	faultStall
	faultRequestLost
	faultAnswerLost
	faultRequestTwice
	faultSentAgain
	faultHintLost
	faultBusLost
	faultBusTwice
	faultBusLate
	faultCut
	faultSlow
	faultKinds
)

var faultNames = [faultKinds]string{
	"process stands still", "process killed at rest", "clock runs at another rate", "works without lease", "shard split", "shards merged",
	"poison record", "foreign record", "throttled call", "record refused within a request", "read fails", "call stalls",
	"request lost", "answer lost", "request delivered twice", "submission sent again", "hint lost", "bus message lost", "bus message twice", "bus message late",
	"viewer cut off", "viewer slow",
}

func (f fault) String() string { return faultNames[f] }

// Count is what befell, over one night or many.
type Count struct {
	Faults [faultKinds]uint64
	Writes [writes][fates]uint64
}

func (c *Count) add(o *Count) {
	for i := range c.Faults {
		c.Faults[i] += o.Faults[i]
	}
	for i := range c.Writes {
		for k := range c.Writes[i] {
			c.Writes[i][k] += o.Writes[i][k]
		}
	}
}

// uncovered lists the writes and fates that never met.
func (c *Count) uncovered() (out []string) {
	for i := range c.Writes {
		for f := crashBefore; f < fates; f++ {
			if c.Writes[i][f] == 0 {
				out = append(out, fmt.Sprintf("%s x %s", write(i), f))
			}
		}
	}
	return out
}

// faults decides what befalls in one night. How much of each kind there is
// differs from night to night: some have few, so that the rest goes far.
type faults struct {
	Count
	rate [faultKinds]int // once in so many; 0: never
	// Each night looks at one write with one fate closer than at others.
	focus     write
	focusFate fate
	writeRate int
}

func newFaults(seed uint64) *faults {
	n := int(seed % (uint64(writes) * uint64(fates-1)))
	return &faults{focus: write(n % int(writes)), focusFate: crashBefore + fate(n/int(writes))}
}

// draw sets how often what happens tonight.
func (f *faults) draw(w *world) {
	usual := [faultKinds]int{
		faultSkew: 3, faultStubborn: 6, faultThrottle: 40, faultRecord: 40, faultRead: 60, faultStall: 80,
		faultRequestLost: 20, faultAnswerLost: 20, faultRequestTwice: 20, faultSentAgain: 8,
		faultHintLost: 4, faultBusLost: 12, faultBusTwice: 20, faultBusLate: 8, faultCut: 60, faultSlow: 25,
	}
	for i, n := range usual {
		switch {
		case n == 0 || w.chance(4):
			f.rate[i] = 0
		default:
			f.rate[i] = max(2, n/2+w.random.IntN(n))
		}
	}
	f.writeRate = []int{15, 30, 60, 120}[w.random.IntN(4)]
}

// befalls decides whether a fault happens here and now, and counts it.
func (w *world) befalls(k fault) bool {
	if !w.faulty || w.faults.rate[k] == 0 || !w.chance(w.faults.rate[k]) {
		return false
	}
	w.faults.Faults[k]++
	return true
}

// count notes a fault that somebody else decided on.
func (w *world) count(k fault) { w.faults.Faults[k]++ }

// fate of a write.
func (w *world) fate(k write) fate {
	f := fine
	switch {
	case !w.faulty:
	case k == w.faults.focus && w.chance(4):
		f = w.faults.focusFate
	case w.chance(w.faults.writeRate):
		f = crashBefore + fate(w.random.IntN(int(fates-crashBefore)))
	}
	w.faults.Writes[k][f]++
	return f
}

// skew gives a process a clock of its own when it boots.
func (f *faults) skew(w *world, p *process) {
	p.offset = w.between(-2*time.Second, 2*time.Second)
	p.rate = 1 + (w.random.Float64()-0.5)*0.02
	if w.befalls(faultSkew) {
		p.rate = []float64{0.6, 0.8, 1.25, 1.6}[w.random.IntN(4)]
	}
}

// Errors of the network and of stores behind it.
var (
	errLost    = errors.New("connection reset by peer")
	errTimeout = errors.New("no answer in time")
	errDown    = errors.New("service unavailable")
)

// travel is a request's way to a store or back.
func (t *task) travel() {
	w := t.world
	d := w.between(time.Millisecond, 15*time.Millisecond)
	if w.chance(40) {
		d = w.between(20*time.Millisecond, 500*time.Millisecond)
	}
	if w.befalls(faultStall) {
		d = w.between(time.Second, 8*time.Second)
	}
	t.pause(d)
}

// read makes a read of a store, which may fail.
func (t *task) read(what string, do func() error) error {
	w := t.world
	t.travel()
	if w.befalls(faultRead) {
		w.note(t.name, "read fails", what)
		t.travel()
		return errDown
	}
	if err := do(); err != nil {
		return err
	}
	t.travel()
	return nil
}

// write makes a durable write. apply does it, all at once, and keeps nothing
// of the writer's memory. It may be called when its writer is no more.
func (t *task) write(k write, what string, apply func() error) error {
	w := t.world
	t.travel()
	f := w.fate(k)
	if f != fine {
		w.note(t.name, f.String(), k.String()+" "+what)
	}
	switch f {
	case crashBefore:
		t.die()
	case failed:
		t.travel()
		return errDown
	case late:
		name := t.name
		w.after(w.between(50*time.Millisecond, 6*time.Second), func() {
			err := apply()
			w.note(name, "arrives late", k.String()+" "+what+outcome(err))
		})
		t.pause(w.between(10*time.Millisecond, 500*time.Millisecond))
		return errTimeout
	}
	err := apply()
	w.note(t.name, k.String(), what+outcome(err))
	switch f {
	case crashAfter:
		t.die()
	case ambiguous:
		t.travel()
		return errLost
	}
	t.travel()
	return err
}

func outcome(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// disaster lets processes stand still and die, for as long as there are faults.
func (w *world) disaster(p []*process) {
	if !w.faulty {
		return
	}
	x := p[w.random.IntN(len(p))]
	switch {
	case x.down:
	case w.chance(2):
		d := w.between(200*time.Millisecond, 9*time.Second)
		w.count(faultPause)
		w.note(x.name, "stands still", d.String())
		x.until = w.now + d
	default:
		w.count(faultRestart)
		w.note(x.name, "is killed", "")
		w.crashed(x)
	}
	w.after(w.between(400*time.Millisecond, 4*time.Second), func() { w.disaster(p) })
}

// calm ends the faults: who stands still goes on, and nobody dies any more.
func (w *world) calm(p []*process) {
	w.faulty = false
	for _, x := range p {
		x.until = min(x.until, w.now)
	}
	w.note("", "faults end", "")
}

func sortedStrings(s []string) []string { slices.Sort(s); return s }
