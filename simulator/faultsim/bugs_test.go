package faultsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tallystream/aggregate"
	"tallystream/aggregate/ledger"
	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// bugs are mistakes that somebody might make, each in a wrapper that breaks
// one rule and keeps the others. They live in this file only, so that no
// program can have them.
var bugs = []struct {
	name  string
	plant plant
	// seen is what the violation must speak of, so that a bug is not found by
	// accident.
	seen []string
}{
	{"tallies are added to instead of put as absolute values", plant{ledger: adding}, []string{"county"}},
	{"tallies are written outside the transaction", plant{ledger: rowsApart}, []string{"county", "double entry", "differs"}},
	{"a child shard is read before its second parent", plant{source: hasty}, []string{"partition"}},
	{"a receipt is given before the stream has the record", plant{appender: early}, []string{"has a receipt and no entry"}},
	{"the ledger does not compare heads: a stale worker may write", plant{night: func(n *night) { n.ledger.unfenced = true }}, []string{"partition"}},
	{"the register does not compare the mark: a stale sequencer may decide", plant{night: func(n *night) {
		n.register.unfenced = func(name string) bool { return name == publicationMark }
	}}, []string{"epoch", "snapshot"}},
	{"a release is applied though a later revision counts", plant{ledger: appliesLate}, []string{"partition", "row goes back"}},
	{"conflation drops a line", plant{frame: dropsALine}, []string{"leads to other bytes"}},
	{"conflation keeps the older of two lines", plant{frame: keepsOlder}, []string{"leads to other bytes"}},
}

// mostNights is within how many a planted bug must be found.
const mostNights = 300

func TestEveryPlantedBugIsCaught(t *testing.T) {
	if raceEnabled {
		t.Skip("a night has one goroutine: the race detector sees nothing in it, and costs ten times as much")
	}
	var table strings.Builder
	for _, bug := range bugs {
		s, err := New()
		if err != nil {
			t.Fatal(err)
		}
		s.plant = bug.plant
		var caught *Result
		var hits, tried int
		for seed := range uint64(mostNights) {
			r := s.Run(seed)
			tried++
			if r.Violation != nil {
				hits++
				if caught == nil {
					caught = r
				}
			}
			if caught != nil && tried >= 10 {
				break
			}
		}
		if caught == nil {
			t.Errorf("not caught in %d nights: %s", mostNights, bug.name)
			continue
		}
		fmt.Fprintf(&table, "%-70s night %3d, in %d of %d: %v\n", bug.name, caught.Seed+1, hits, tried, caught.Violation)
		if !slices.ContainsFunc(bug.seen, func(word string) bool { return strings.Contains(caught.Violation.Error(), word) }) {
			t.Errorf("%s: was found by something else: %v", bug.name, caught.Violation)
		}
		// Found by a fault in the code under test, not of the simulation: the same
		// night without the bug is fine, and with it the same again.
		if again := s.Run(caught.Seed); again.Hash != caught.Hash {
			t.Errorf("%s: seed %d gives another night the second time", bug.name, caught.Seed)
		}
		s.plant = plant{}
		if r := s.Run(caught.Seed); r.Violation != nil {
			t.Errorf("seed %d without the bug: %v", caught.Seed, r.Violation)
		}
	}
	t.Logf("planted bugs, and the first night that shows them:\n%s", table.String())
}

// ledgerWithRows is a ledger whose rows are not part of the transaction.
type ledgerWithRows struct {
	*simLedger
	write func(ctx context.Context, batches []ledger.Batch) error
}

func (l *ledgerWithRows) Commit(ctx context.Context, batches []ledger.Batch) error {
	return l.write(ctx, batches)
}

// without takes the tallies out of batches.
func without(batches []ledger.Batch) []ledger.Batch {
	out := slices.Clone(batches)
	for i := range out {
		out[i].Tallies = nil
	}
	return out
}

// rememberingView tells which rows a worker starts from.
type rememberingView struct {
	ledger.View
	rows map[schemas.CountyIndex][]int64
}

func (v rememberingView) Tallies(ctx context.Context, counties []schemas.CountyIndex) ([]ledger.Tally, error) {
	tallies, err := v.View.Tallies(ctx, counties)
	for i := range tallies {
		v.rows[counties[i]] = slices.Clone(tallies[i].Row)
	}
	return tallies, err
}

// addingLedger increments rows by what a worker has folded since it last
// wrote, and repeats that when no answer comes.
type addingLedger struct {
	*simLedger
	process *process
	rows    map[schemas.CountyIndex][]int64 // as this process believes that they are
}

func adding(n *night, p *process) aggregate.Ledger {
	return &addingLedger{n.ledger, p, map[schemas.CountyIndex][]int64{}}
}

func (l *addingLedger) View(ctx context.Context) (ledger.View, error) {
	v, err := l.simLedger.View(ctx)
	return rememberingView{v, l.rows}, err
}

func (l *addingLedger) Commit(ctx context.Context, batches []ledger.Batch) error {
	for i := range batches {
		for _, t := range batches[i].Tallies {
			if err := l.add(t.County, t.Row, batches[i].After.Size); err != nil {
				return err
			}
		}
	}
	return l.simLedger.Commit(ctx, without(batches))
}

func (l *addingLedger) add(county schemas.CountyIndex, to []int64, size uint64) (err error) {
	delta := slices.Clone(to)
	for k, was := range l.rows[county] {
		delta[k] -= was
	}
	l.rows[county] = slices.Clone(to)
	for range 4 {
		err = l.process.world.current.write(writeLedger, fmt.Sprintf("ADD to county %d", county), func() error {
			row := slices.Clone(l.simLedger.rows[county].Row)
			for k := range row {
				row[k] += delta[k]
			}
			l.simLedger.rows[county] = ledger.Tally{Row: row, Size: size}
			return nil
		})
		if err == nil {
			break
		}
	}
	return err
}

// rowsApart puts absolute rows, but before the transaction that they follow
// from.
func rowsApart(n *night, p *process) aggregate.Ledger {
	l := &ledgerWithRows{simLedger: n.ledger}
	l.write = func(ctx context.Context, batches []ledger.Batch) error {
		for i := range batches {
			for _, t := range batches[i].Tallies {
				county, row := t.County, ledger.Tally{Row: slices.Clone(t.Row), Size: batches[i].After.Size}
				put := func() error { n.ledger.rows[county] = row; return nil }
				if err := p.world.current.write(writeLedger, fmt.Sprintf("row of county %d", county), put); err != nil {
					return err
				}
			}
		}
		return n.ledger.Commit(ctx, without(batches))
	}
	return l
}

// appliesLate lets a hold count, whatever counts by then.
func appliesLate(n *night, p *process) aggregate.Ledger {
	l := &ledgerWithRows{simLedger: n.ledger}
	l.write = func(ctx context.Context, batches []ledger.Batch) error {
		batches = slices.Clone(batches)
		for i := range batches {
			applyLapsed(n, &batches[i])
		}
		return n.ledger.Commit(ctx, batches)
	}
	return l
}

// applyLapsed makes released of each lapsed entry, and its row the unit's.
func applyLapsed(n *night, b *ledger.Batch) {
	b.Entries = slices.Clone(b.Entries)
	for i := range b.Entries {
		x := &b.Entries[i]
		if x.Kind != schemas.EntryLapsed {
			continue
		}
		x.Kind = schemas.EntryReleased
		e := n.town.election
		u, _ := e.Unit(x.Unit)
		county := e.Units[u].County
		at := slices.IndexFunc(b.Tallies, func(t ledger.CountyTally) bool { return t.County == county })
		if at < 0 {
			at = len(b.Tallies)
			b.Tallies = append(slices.Clone(b.Tallies), ledger.CountyTally{County: county, Row: n.ledger.rows[county].Row})
		}
		row := slices.Clone(b.Tallies[at].Row)
		held := n.town.known[string(b.Records[i])].releases
		e.Fold(row, u, n.town.cells(u, n.oracle.books[b.Before.Partition].latest[x.Unit].counts), n.town.cells(u, held.counts))
		b.Tallies[at].Row = row
	}
}

// hastySource takes a merged shard for readable when its first parent is read,
// whatever is left in the second.
type hastySource struct {
	stream.Source
	night *night
}

func hasty(n *night, s stream.Source) stream.Source { return hastySource{s, n} }

func (h hastySource) Shards(ctx context.Context, at []stream.Position) ([]stream.Shard, error) {
	return h.Source.Shards(ctx, h.believed(at))
}

func (h hastySource) Open(ctx context.Context, s stream.Shard, at []stream.Position) (stream.Reader, error) {
	return h.Source.Open(ctx, s, h.believed(at))
}

// believed are positions in which a second parent counts as read.
func (h hastySource) believed(at []stream.Position) []stream.Position {
	at = slices.Clone(at)
	if h.night.kinesis == nil {
		return at
	}
	for _, x := range h.night.kinesis.OpenShards() {
		if x.Adjacent == "" || !slices.ContainsFunc(at, func(p stream.Position) bool { return p.Cursor == "k1/"+x.Parent+"/end" }) {
			continue
		}
		for p := range at {
			if strings.HasPrefix(at[p].Cursor, "k1/"+x.Adjacent+"/") {
				at[p].Cursor = "k1/" + x.Adjacent + "/end"
			}
		}
	}
	return at
}

// earlyAppender says that a record is stored, and then stores it.
type earlyAppender struct {
	ingest.Appender
	process *process
}

func early(_ *night, p *process, a ingest.Appender) ingest.Appender { return earlyAppender{a, p} }

func (e earlyAppender) Append(ctx context.Context, p schemas.Partition, record []byte) (schemas.Checkpoint, error) {
	e.process.start("appends", func(t *task) {
		if _, err := e.Appender.Append(ctx, p, record); err != nil {
			t.world.note(t.name, "append fails", err.Error())
		}
	})
	return 0, nil
}

var errFrame = errors.New("a frame of ours cannot be read")

// united returns a delta that stands for several, with its lines; false for
// others. Those that the publisher sends lead from one document version to the
// next, so a united one has a line that an earlier one changed as well, or
// more than one step. The simulation knows the steps.
func united(n *night, frame []byte) (*schemas.Delta, bool) {
	kind, err := schemas.KindOfFrame(frame)
	if err != nil || kind != schemas.FrameDelta {
		return nil, false
	}
	d, err := schemas.ParseDelta(frame)
	if err != nil {
		n.world.violate("%v: %v", errFrame, err)
		return nil, false
	}
	return d, !n.publishedDeltas[string(frame)] && len(d.Lines) > 1
}

// dropsALine is what a conflation does that forgets the last line.
func dropsALine(n *night, frame []byte) []byte {
	d, ok := united(n, frame)
	if !ok {
		return frame
	}
	d.Lines = d.Lines[:len(d.Lines)-1]
	return d.AppendFrame(nil)
}

// keepsOlder is what a conflation does that takes the older line of two.
func keepsOlder(n *night, frame []byte) []byte {
	d, ok := united(n, frame)
	if !ok {
		return frame
	}
	for i, line := range d.Lines {
		key, _ := schemas.LineKey(line)
		for published := range n.publishedDeltas {
			x, err := schemas.ParseDelta([]byte(published))
			if err != nil || x.Document != d.Document || x.Epoch != d.Epoch || x.From != d.From {
				continue
			}
			for _, old := range x.Lines {
				if k, _ := schemas.LineKey(old); bytes.Equal(k, key) && !bytes.Equal(old, line) {
					d.Lines[i] = old
				}
			}
		}
	}
	return d.AppendFrame(nil)
}
