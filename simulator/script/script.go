package script

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"tallystream/schemas"
	"tallystream/simulator/elections"
)

// Config says what night to write.
type Config struct {
	Truth elections.Truth
	Keys  *elections.Keys
	Seed  uint64
	// Revisions of each unit, 1 to 100, by count type; see stagesOf.
	Revisions int
	Rates     Rates
	// Span is when the last ordinary submission arrives, after the polls
	// close. Zero is DefaultSpan.
	Span time.Duration
}

// MaxRevisions bounds Config.Revisions.
const MaxRevisions = 100

// Rates says how often what goes wrong. Duplicates is a share of submissions,
// Released one of those held, the others are shares of units. A unit meets at most one of Reordered,
// Corrections and Held, which therefore add up to at most 1.
type Rates struct {
	Duplicates  float64 // the same bytes sent again
	Reordered   float64 // a revision sent after its successor
	Corrections float64 // a wrong number, later corrected by two supervisors
	Held        float64 // well signed and implausible
	Refused     float64 // malformed, unauthorized or impossible
	Released    float64 // of what is held: two supervisors let it count
}

// DefaultRates has some of everything, and little of it.
var DefaultRates = Rates{Duplicates: 0.005, Reordered: 0.005, Corrections: 0.004, Held: 0.003, Refused: 0.004}

func (r Rates) validate() error {
	for _, x := range []float64{r.Duplicates, r.Reordered, r.Corrections, r.Held, r.Refused, r.Released, r.Reordered + r.Corrections + r.Held} {
		if !(x >= 0 && x <= 1) {
			return fmt.Errorf("rates %+v: want shares from 0 to 1, and reordered, corrections and held at most 1 together", r)
		}
	}
	return nil
}

// Script is a night, written. It is safe for concurrent use.
type Script struct {
	truth    elections.Truth
	election *schemas.Election
	keys     *elections.Keys
	seed     uint64
	rates    Rates
	stages   []stage
	curves   curves
	events   []event // by time
	scratch  sync.Pool
}

// Event is one request that a client sends.
type Event struct {
	Offset   time.Duration // after the polls close
	Unit     schemas.UnitIndex
	Revision schemas.Revision
	Kind     Kind
	// Duplicate marks bytes that were sent before: ingest must answer with
	// the same receipt, and the ledger must not get an entry.
	Duplicate bool

	stage uint8
}

// What random numbers are drawn for.
const (
	drawPlan uint64 = iota + 101
	drawAlter
)

// New writes the night.
func New(cfg Config) (*Script, error) {
	if cfg.Revisions < 1 || cfg.Revisions > MaxRevisions {
		return nil, fmt.Errorf("writing the night: %d revisions, want 1 to %d", cfg.Revisions, MaxRevisions)
	}
	if err := cfg.Rates.validate(); err != nil {
		return nil, fmt.Errorf("writing the night: %w", err)
	}
	e := cfg.Truth.Election()
	s := &Script{
		truth: cfg.Truth, election: e, keys: cfg.Keys, seed: cfg.Seed, rates: cfg.Rates,
		stages: stagesOf(e.Definition.CountTypes, cfg.Revisions), curves: newCurves(cmp.Or(cfg.Span, DefaultSpan)),
	}
	s.scratch.New = func() any { return new(scratch) }
	s.events = make([]event, 0, len(e.Units)*cfg.Revisions*21/20)
	p := plan{s: s}
	for u := range e.Units {
		p.write(schemas.UnitIndex(u))
		s.events = append(s.events, p.events...)
	}
	// A unit's events have different times: sorting keeps their order.
	slices.SortFunc(s.events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.unit, b.unit))
	})
	return s, nil
}

// possible returns k if unit u can give occasion for it at a stage, or else
// Report.
func (s *Script) possible(u schemas.UnitIndex, stage int, k Kind) Kind {
	w := s.scratch.Get().(*scratch)
	defer s.scratch.Put(w)
	if !s.cells(w, &Event{Unit: u, Kind: k, stage: uint8(stage)}) {
		return Report
	}
	return k
}

// lastFresh is the last stage that states a count type for the first time; it
// states all of them.
func (s *Script) lastFresh() int {
	for i := len(s.stages) - 1; i > 0; i-- {
		if slices.Contains(s.stages[i].fresh, true) {
			return i
		}
	}
	return 0
}

// Len is the number of events.
func (s *Script) Len() int { return len(s.events) }

// Span is the offset of the last event.
func (s *Script) Span() time.Duration {
	if len(s.events) == 0 {
		return 0
	}
	return time.Duration(s.events[len(s.events)-1].at) * time.Millisecond
}

// All yields every event in the order of time.
func (s *Script) All() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for _, e := range s.Shard(0, 1) {
			if !yield(e) {
				return
			}
		}
	}
}

// Shard yields part i of n, in the order of time, with each event's number in
// the whole script: all events of the units that fall to the part. A client
// that sends a part's events one after another, each after the answer to the
// one before, keeps the order that outcomes rely on.
func (s *Script) Shard(i, n int) iter.Seq2[int, Event] {
	return func(yield func(int, Event) bool) {
		for k := range s.events {
			if e := &s.events[k]; int(e.unit)%n == i && !yield(k, e.open()) {
				return
			}
		}
	}
}

func (e *event) open() Event {
	return Event{
		Offset: time.Duration(e.at) * time.Millisecond, Unit: e.unit, Revision: schemas.Revision(e.revision), Kind: e.kind,
		Duplicate: e.stage&duplicateBit != 0, stage: e.stage &^ duplicateBit,
	}
}

// Outcome is what must become of the event.
func (e *Event) Outcome() Outcome {
	o := e.Kind.Outcome()
	if e.Duplicate {
		o.Entry, o.Hold = "", ""
	}
	return o
}

// Expected counts what must become of a night.
type Expected struct {
	Sent       int // Accepted + Duplicate + Refused
	Accepted   int // Counted + Superseded + Held + Released + Lapsed: each makes a ledger entry
	Duplicate  int
	Refused    int
	Counted    int
	Superseded int
	Held       int // those that are released among them
	Released   int // releases that let a hold count
	Lapsed     int // and that came too late
	Holds      map[schemas.HoldCode]int
	Problems   map[schemas.ProblemCode]int
	Kinds      map[string]int // without duplicates
}

// Expected counts the outcomes of all events.
func (s *Script) Expected() Expected {
	x := Expected{Holds: map[schemas.HoldCode]int{}, Problems: map[schemas.ProblemCode]int{}, Kinds: map[string]int{}}
	var byKind [kinds]int
	for i := range s.events {
		if s.events[i].stage&duplicateBit != 0 {
			x.Duplicate++
			continue
		}
		byKind[s.events[i].kind]++
	}
	for k, n := range byKind {
		if n == 0 {
			continue
		}
		o := Kind(k).Outcome()
		x.Kinds[Kind(k).String()] = n
		switch {
		case o.Problem != "":
			x.Refused += n
			x.Problems[o.Problem] += n
		case o.Hold != "":
			x.Held += n
			x.Holds[o.Hold] += n
		case o.Entry == schemas.EntrySuperseded:
			x.Superseded += n
		case o.Entry == schemas.EntryReleased:
			x.Released += n
		case o.Entry == schemas.EntryLapsed:
			x.Lapsed += n
		default:
			x.Counted += n
		}
	}
	x.Accepted = x.Counted + x.Superseded + x.Held + x.Released + x.Lapsed
	x.Sent = x.Accepted + x.Duplicate + x.Refused
	return x
}
