package aggregate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/schemas"
)

// scribble is a signer whose signatures nobody verifies: the fold does not.
type scribble string

func (s scribble) Name() string              { return string(s) }
func (scribble) KeyHash() uint32             { return 7 }
func (scribble) Sign([]byte) ([]byte, error) { return make([]byte, 64), nil }

var (
	one = []note.Signer{scribble("official")}
	two = []note.Signer{scribble("sup-1"), scribble("sup-2")}
)

func smallElection(tb testing.TB) *schemas.Election {
	return ledgertest.Election(tb, ledgertest.Shape{Counties: 3, UnitsPerCounty: 2, Contests: 3, Partitions: 2})
}

// watchful is a small election with every rule against the unlikely: 300 % of
// the 60 ballots of last time, and of the neighbours' mean once two count; equal
// rows.
func watchful(tb testing.TB) *schemas.Election {
	return ledgertest.Election(tb, ledgertest.Shape{
		Counties: 2, UnitsPerCounty: 3, Contests: 2, Partitions: 2, History: 60,
		Outliers: &schemas.OutlierRules{
			History:    &schemas.HistoryRule{Percent: 300, Least: 100},
			Neighbours: &schemas.NeighbourRule{Percent: 200, Least: 60, Units: 2},
			Twins:      &schemas.TwinRule{Least: 10},
		},
	})
}

// votes returns a unit's row in which everything adds up: ballots of each
// type, all of them for selection a but for the given undervotes.
func votes(e *schemas.Election, unit schemas.UnitIndex, ballots, undervotes schemas.Count) []schemas.Count {
	style, types := e.Units[unit].Style, e.Types()
	cells := make([]schemas.Count, style.Cells)
	for i := range style.Sections {
		s := &style.Sections[i]
		at := int(s.Offset)
		cells[at] = 1
		for t := range types {
			if i == 0 {
				cells[at+1+t] = ballots
				continue
			}
			cells[at+1+t] = ballots - undervotes
			if s.Residuals {
				cells[at+1+(int(s.Selections))*types+t] = undervotes
			}
		}
	}
	return cells
}

// sent is a submission as the tests know it: what the fold has to find out.
type sent struct {
	unit       schemas.UnitIndex
	revision   schemas.Revision
	cells      []schemas.Count
	correction bool
	record     []byte
	poison     bool // the note reads, the body does not
	releases   *sent
}

func (s *sent) digest() schemas.Digest {
	var v schemas.Envelope
	if err := v.Parse(s.record); err != nil {
		return schemas.DigestOf(s.record)
	}
	return v.Digest
}

func send(e *schemas.Election, unit schemas.UnitIndex, revision schemas.Revision, cells []schemas.Count, correction bool) *sent {
	var c *schemas.Correction
	signers := one
	if correction {
		c, signers = &schemas.Correction{Reason: schemas.CorrectRecount, Text: "counted again"}, two
	}
	body := e.AppendBody(nil, unit, revision, cells, nil, c)
	return &sent{unit: unit, revision: revision, cells: cells, correction: correction, record: envelope(e, e.Units[unit].ID, revision, body, signers)}
}

func sendPoison(e *schemas.Election, unit schemas.UnitIndex, revision schemas.Revision, body string) *sent {
	return &sent{unit: unit, revision: revision, poison: true, record: envelope(e, e.Units[unit].ID, revision, []byte(body), one)}
}

// release lets another submission count.
func release(e *schemas.Election, of *sent, text string, signers ...note.Signer) *sent {
	b, err := schemas.AppendRelease(nil, e.Definition.Origin, e.Units[of.unit].ID, of.revision, of.digest(), schemas.ReleaseChecked, text, signers...)
	if err != nil {
		panic(err)
	}
	return &sent{unit: of.unit, revision: of.revision, record: b, releases: of}
}

func envelope(e *schemas.Election, unit schemas.UnitID, revision schemas.Revision, body []byte, signers []note.Signer) []byte {
	b, err := schemas.AppendEnvelope(nil, e.Definition.Origin, unit, revision, body, signers...)
	if err != nil {
		panic(err)
	}
	return b
}

// store stands for stream and ledger in tests of the fold alone: what is in it
// survives a crash.
type store struct {
	election *schemas.Election
	records  [][]byte // record i is at checkpoint i+1
	heads    []ledger.Head
	entries  []schemas.Entry
	rows     [][]int64
}

func newStore(e *schemas.Election, records [][]byte) *store {
	s := &store{election: e, records: records, heads: make([]ledger.Head, e.Definition.Partitions)}
	for p := range s.heads {
		s.heads[p].Partition = schemas.Partition(p)
	}
	for c := range e.Counties {
		s.rows = append(s.rows, make([]int64, e.Counties[c].Cells))
	}
	return s
}

func (s *store) EntriesOf(_ context.Context, unit schemas.UnitID) (out []schemas.Entry, err error) {
	for _, x := range s.entries {
		if x.Unit == unit {
			out = append(out, x)
		}
	}
	return out, nil
}

func (s *store) Record(_ context.Context, x schemas.Entry) ([]byte, error) {
	if x.At == 0 || int(x.At) > len(s.records) {
		return nil, errors.New("no such record")
	}
	return s.records[x.At-1], nil
}

// load gives the memory that a new process has.
func (s *store) load() []partition {
	m := &memory{
		election: s.election, history: s, metrics: NewMetrics(prometheus.NewRegistry()),
		onPoison: func(schemas.Partition, schemas.Checkpoint, error) {},
		book:     newBook(s.election),
	}
	for c, row := range s.rows {
		m.forget(s.election, schemas.CountyIndex(c))
		m.rows[c] = slices.Clone(row)
	}
	for i := range s.entries {
		m.recall(&s.entries[i])
	}
	for i := range s.entries {
		if hasTwinRule(s.election) {
			if _, err := m.recallRow(&s.entries[i], s.records[s.entries[i].At-1]); err != nil {
				panic(err)
			}
		}
	}
	partitions := make([]partition, len(s.heads))
	for i, h := range s.heads {
		partitions[i] = partition{shared: m, head: h, next: h}
	}
	return partitions
}

// fold folds records from..to-1, each into its partition.
func (s *store) fold(partitions []partition, from, to int) error {
	for i := from; i < to; i++ {
		p := &partitions[s.partitionOf(s.records[i])]
		if _, err := p.fold(context.Background(), schemas.Checkpoint(i+1), s.records[i]); err != nil {
			return err
		}
	}
	return nil
}

// partitionOf is where ingest puts a record; what names no unit goes to 0.
func (s *store) partitionOf(record []byte) schemas.Partition {
	var v schemas.Envelope
	var l schemas.Release
	id := schemas.UnitID("")
	switch {
	case schemas.IsRelease(record) && l.Parse(record) == nil:
		id = schemas.UnitID(l.Unit)
	case v.Parse(record) == nil:
		id = schemas.UnitID(v.Unit)
	}
	if id != "" {
		if u, ok := s.election.Unit(id); ok {
			return s.election.PartitionOf(u)
		}
	}
	return 0
}

// commit takes what the partitions have at hand.
func (s *store) commit(partitions []partition) error {
	for i := range partitions {
		p := &partitions[i]
		b := p.batch()
		if b.Before != s.heads[i] {
			return fmt.Errorf("partition %d: head %+v, want %+v: %w", i, s.heads[i], b.Before, ledger.ErrConflict)
		}
		s.heads[i] = b.After
		s.entries = append(s.entries, b.Entries...)
		for _, t := range b.Tallies {
			copy(s.rows[t.County], t.Row)
		}
		p.committed()
	}
	return nil
}

// scratch folds all records at once from nothing.
func scratch(tb testing.TB, e *schemas.Election, records [][]byte) *store {
	tb.Helper()
	s := newStore(e, records)
	partitions := s.load()
	if err := s.fold(partitions, 0, len(records)); err != nil {
		tb.Fatal(err)
	}
	if err := s.commit(partitions); err != nil {
		tb.Fatal(err)
	}
	s.sort()
	return s
}

// sort orders the entries by (partition, seq).
func (s *store) sort() {
	slices.SortStableFunc(s.entries, func(a, b schemas.Entry) int { return int(a.Partition) - int(b.Partition) })
}

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
