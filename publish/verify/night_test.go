package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate/ledger"
	"tallystream/publish"
	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/publish/verify"
	"tallystream/schemas"
)

const origin = "results.example/test-2026"

// signer makes the same key in every run.
func signer(name string) (note.Signer, string) {
	private, verifier := generate(name)
	s, err := note.NewSigner(private)
	if err != nil {
		panic(err)
	}
	return s, verifier
}

func generate(name string) (private, verifier string) {
	var seed [32]byte
	copy(seed[:], schemas.DigestOf([]byte(name)).String())
	private, verifier, err := note.GenerateKey(rand.NewChaCha8(seed), name)
	if err != nil {
		panic(err)
	}
	return private, verifier
}

func privateOf(name string) string { p, _ := generate(name); return p }

func signerOf(name string) note.Signer { s, _ := signer(name); return s }

func keyOf(name string) string { _, v := signer(name); return v }

// definition has two states, contests of one county, of one state and of all,
// and every form of residuals.
func definition() *schemas.Definition {
	d := &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "test-2026", Name: "Test", Date: "2026-11-03", Origin: origin,
		CountTypes: []schemas.CountType{schemas.Early, schemas.ElectionDay}, Partitions: 2, Signatures: 1,
		Rules: schemas.Rules{Ballots: true, Registered: true, Outliers: &schemas.OutlierRules{
			History: &schemas.HistoryRule{Percent: 500, Least: 100}, Neighbours: &schemas.NeighbourRule{Percent: 300, Least: 1000, Units: 3},
			Twins: &schemas.TwinRule{Least: 100},
		}},
		States:   []schemas.State{{ID: "north", Name: "North"}, {ID: "south", Name: "South"}},
		Counties: []schemas.County{{ID: "oak", Name: "Oak", State: "north"}, {ID: "ash", Name: "Ash", State: "north"}, {ID: "fir", Name: "Fir", State: "south"}},
		Contests: []schemas.Contest{
			{ID: "president", Name: "President", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone,
				Selections: []schemas.Selection{{ID: "smith", Name: "Smith"}, {ID: "jones", Name: "Jones"}}},
			{ID: "governor", Name: "Governor", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsTotal,
				Selections: []schemas.Selection{{ID: "lee", Name: "Lee"}, {ID: "kim", Name: "Kim"}}},
			{ID: "bond", Name: "Bond", Kind: schemas.BallotMeasureContest, VotesAllowed: 1, Residuals: schemas.ResidualsByType,
				Selections: []schemas.Selection{{ID: "yes", Name: "Yes"}, {ID: "no", Name: "No"}}},
		},
		Styles: []schemas.Style{
			{ID: "north", Contests: []schemas.ContestID{"governor", "president"}},
			{ID: "bonded", Contests: []schemas.ContestID{"bond", "governor", "president"}},
			{ID: "south", Contests: []schemas.ContestID{"president"}},
		},
	}
	for i, style := range []schemas.StyleID{"bonded", "north", "south"} {
		for k := range 4 {
			c := d.Counties[i].ID
			d.Units = append(d.Units, schemas.Unit{
				ID: schemas.UnitID(fmt.Sprintf("%s.%d", c, k+1)), Name: fmt.Sprint(k + 1), County: c, Kind: schemas.PrecinctUnit, Style: style, Registered: 10_000, History: []int{1000, 1000, 0}[i],
			})
		}
	}
	return d
}

func roster() []byte {
	r := schemas.Roster{Schema: schemas.RosterSchema, Election: "test-2026"}
	for _, c := range []schemas.CountyID{"oak", "ash", "fir"} {
		r.Keys = append(r.Keys, schemas.KeyEntry{Key: keyOf("official." + string(c)), Role: schemas.Official, County: c})
	}
	r.Keys = append(r.Keys,
		schemas.KeyEntry{Key: keyOf("supervisor.1"), Role: schemas.Supervisor}, schemas.KeyEntry{Key: keyOf("supervisor.2"), Role: schemas.Supervisor})
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return b
}

// objects is a bucket in memory, and the publisher's register.
type objects struct {
	mu     sync.Mutex
	byKey  map[string][]byte
	values map[string][]byte
}

func (o *objects) PutNew(ctx context.Context, all ...bucket.Object) error {
	return o.Replace(ctx, all...)
}

func (o *objects) Replace(_ context.Context, all ...bucket.Object) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range all {
		o.byKey[all[i].Key] = bytes.Clone(all[i].Body)
	}
	return nil
}

func (o *objects) Get(_ context.Context, key string) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b, ok := o.byKey[key]; ok {
		return b, nil
	}
	return nil, bucket.ErrNotFound
}

func (o *objects) Load(_ context.Context, name string) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.values[name], nil
}

func (o *objects) Swap(_ context.Context, name string, _, after []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.values[name] = bytes.Clone(after)
	return nil
}

// site is what is published at one moment, as verify reads it.
type site map[string][]byte

func (s site) Get(_ context.Context, key string) ([]byte, error) {
	if b, ok := s[key]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("getting %s: %w", key, log.ErrAbsent)
}

// books are the ledgers in memory. They take what the script says.
type books struct {
	e *schemas.Election

	mu      sync.Mutex
	entries [][]schemas.Entry
	records map[schemas.Checkpoint][]byte
	rows    [][]int64
	counted map[schemas.UnitIndex][]schemas.Count
}

func (b *books) add(x schemas.Entry, record []byte, cells []schemas.Count) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x.At = schemas.Checkpoint(len(b.records) + 1)
	x.Seq = uint64(len(b.entries[x.Partition]) + 1)
	b.records[x.At] = record
	b.entries[x.Partition] = append(b.entries[x.Partition], x)
	if x.Kind == schemas.EntryCounted || x.Kind == schemas.EntryReleased {
		u, _ := b.e.Unit(x.Unit)
		b.e.Fold(b.rows[b.e.Units[u].County], u, b.counted[u], cells)
		b.counted[u] = cells
	}
}

func (b *books) View(context.Context) (ledger.View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &view{records: maps.Clone(b.records)}
	for p := range b.entries {
		v.entries = append(v.entries, slices.Clone(b.entries[p]))
		v.heads = append(v.heads, ledger.Head{Partition: schemas.Partition(p), Size: uint64(len(b.entries[p]))})
	}
	for i := range b.rows {
		v.tallies = append(v.tallies, ledger.Tally{Row: slices.Clone(b.rows[i]), Size: uint64(len(b.entries[b.e.Counties[i].Partition]))})
	}
	return v, nil
}

type view struct {
	heads   []ledger.Head
	entries [][]schemas.Entry
	records map[schemas.Checkpoint][]byte
	tallies []ledger.Tally
}

func (v *view) Heads() []ledger.Head { return v.heads }

func (v *view) Entries(_ context.Context, after []uint64, fn func(schemas.Entry, []byte) error) error {
	for p := range v.entries {
		for _, x := range v.entries[p][after[p]:] {
			if err := fn(x, v.records[x.At]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *view) Tallies(_ context.Context, counties []schemas.CountyIndex) (out []ledger.Tally, err error) {
	for _, c := range counties {
		out = append(out, v.tallies[c])
	}
	return out, nil
}

func (v *view) Follow(context.Context, []schemas.Partition) error { return nil }

func (v *view) Close() error { return nil }

type silent struct{}

func (silent) Delta(context.Context, schemas.DocumentID, []byte) error { return nil }
func (silent) Published(context.Context, schemas.Published) error      { return nil }

// night is a played election: what was published in the middle and at the end.
type night struct {
	election    *schemas.Election
	definition  []byte
	early, late site
	leaves      [][]byte // of late's log; nobody changes them
}

// numbers are counts of a unit that rise with the revision and add up.
func numbers(e *schemas.Election, u schemas.UnitIndex, revision int) []schemas.Count {
	style := e.Units[u].Style
	out := make([]schemas.Count, style.Cells)
	n := schemas.Count(10*revision + int(u))
	for i := range style.Sections {
		s := &style.Sections[i]
		out[s.Offset] = 1
		for t := range 2 {
			at := int(s.Offset) + 1 + t
			switch {
			case s.Contest == schemas.BallotsIndex:
				out[at] = 4 * n
			default:
				out[at], out[at+2] = n, 2*n
				if s.Residuals {
					out[at+4] = n // undervotes; nobody overvotes
				}
			}
		}
	}
	return out
}

// envelope signs a submission.
func envelope(e *schemas.Election, unit schemas.UnitID, revision int, cells []schemas.Count, c *schemas.Correction, by ...string) []byte {
	u, _ := e.Unit(unit)
	body := e.AppendBody(nil, u, schemas.Revision(revision), cells, nil, c)
	var signers []note.Signer
	for _, name := range by {
		signers = append(signers, signerOf(name))
	}
	record, err := schemas.AppendEnvelope(nil, origin, unit, schemas.Revision(revision), body, signers...)
	if err != nil {
		panic(err)
	}
	return record
}

// entry is the ledger's line of a record.
func entry(e *schemas.Election, record []byte, kind schemas.EntryKind, hold schemas.HoldCode) schemas.Entry {
	var v schemas.Envelope
	if err := v.Parse(record); err != nil {
		return schemas.Entry{Kind: kind, Hold: hold, Digest: schemas.DigestOf(record)}
	}
	u, _ := e.Unit(schemas.UnitID(v.Unit))
	return schemas.Entry{
		Partition: e.PartitionOf(u), Kind: kind, Hold: hold, Unit: schemas.UnitID(v.Unit), Revision: v.Revision, Digest: v.Digest,
	}
}

// releaseOf signs a release of a hold.
func releaseOf(unit schemas.UnitID, revision schemas.Revision, digest schemas.Digest, by ...string) []byte {
	var signers []note.Signer
	for _, name := range by {
		signers = append(signers, signerOf(name))
	}
	record, err := schemas.AppendRelease(nil, origin, unit, revision, digest, schemas.ReleaseChecked, `Held against the "tape" & found <right>.`, signers...)
	if err != nil {
		panic(err)
	}
	return record
}

// play plays the night once for all tests: 12 units, 24 revisions, and one of
// everything that can become of a submission. Its log fills a bundle.
func play(t testing.TB) *night {
	t.Helper()
	playing.Lock()
	defer playing.Unlock()
	if played == nil {
		t, ok := t.(*testing.T)
		if !ok {
			return nil
		}
		synctest.Test(t, func(t *testing.T) { played = perform(t) })
	}
	return played
}

var (
	playing sync.Mutex
	played  *night
)

// stage is a publisher at work over ledgers in memory.
type stage struct {
	t       *testing.T
	e       *schemas.Election
	bytes   []byte
	store   *objects
	ledgers *books
	s       *publish.Sequencer
	ctx     context.Context
	stop    func()
	done    chan error
}

func open(t *testing.T, change ...func(*publish.Config)) *stage {
	return openAs(t, definition(), change...)
}

// openAs opens a stage for an election.
func openAs(t *testing.T, d *schemas.Definition, change ...func(*publish.Config)) *stage {
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := schemas.OpenElection(b)
	if err != nil {
		t.Fatal(err)
	}
	store := &objects{byKey: map[string][]byte{}, values: map[string][]byte{}}
	ledgers := &books{e: e, entries: make([][]schemas.Entry, 2), records: map[schemas.Checkpoint][]byte{}, counted: map[schemas.UnitIndex][]schemas.Count{}}
	for i := range e.Counties {
		ledgers.rows = append(ledgers.rows, make([]int64, e.Counties[i].Cells))
	}
	x := &stage{t: t, e: e, bytes: b, store: store, ledgers: ledgers}
	x.start(change...)
	return x
}

// start begins a publisher over what is there.
func (x *stage) start(change ...func(*publish.Config)) {
	x.t.Helper()
	c := publish.Config{
		Election: x.e, Definition: x.bytes, Roster: roster(), Ledger: x.ledgers, Register: x.store, Bucket: x.store, Announcer: silent{},
		Signer: signerOf(origin), VerifierKey: keyOf(origin), ExportEvery: 3 * time.Second, UnitLines: true, UnitReports: true, Test: "rehearsal",
		Metrics: publish.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	if x.s, err = publish.New(c); err != nil {
		x.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(x.t.Context())
	done := make(chan error, 1)
	go func() { done <- x.s.Run(ctx) }()
	x.ctx, x.stop, x.done = ctx, stop, done
}

// restart ends the publisher as a kill would, and begins another.
func (x *stage) restart(change ...func(*publish.Config)) {
	x.t.Helper()
	x.stop()
	if err := <-x.done; err != nil {
		x.t.Fatal(err)
	}
	x.start(change...)
	time.Sleep(3 * time.Second)
}

// close publishes everything and ends.
func (x *stage) close() site {
	if err := x.s.Finish(x.ctx); err != nil {
		x.t.Fatal(err, <-x.done)
	}
	x.stop()
	<-x.done
	return x.store.copy()
}

// script plays a night, entry by entry.
type script struct{ *stage }

func (x script) submit(kind schemas.EntryKind, hold schemas.HoldCode, unit schemas.UnitID, revision int, cells []schemas.Count, c *schemas.Correction, by ...string) held {
	record := envelope(x.e, unit, revision, cells, c, by...)
	u, _ := x.e.Unit(unit)
	line := entry(x.e, record, kind, hold)
	line.Seq = uint64(len(x.ledgers.entries[x.e.PartitionOf(u)]) + 1)
	x.ledgers.add(line, record, cells)
	return held{line, cells}
}

// held is a hold with its row.
type held struct {
	entry schemas.Entry
	cells []schemas.Count
}

func (x script) release(h held, kind schemas.EntryKind) {
	line := h.entry
	line.Kind, line.Hold, line.Held = kind, "", h.entry.Seq
	x.ledgers.add(line, releaseOf(line.Unit, line.Revision, line.Digest, "supervisor.1", "supervisor.2"), h.cells)
}

// numbers are those of a unit by its name.
func (x script) numbers(unit schemas.UnitID, revision int) []schemas.Count {
	u, _ := x.e.Unit(unit)
	return numbers(x.e, u, revision)
}

// perform is the script of the night.
func perform(t *testing.T) *night {
	x := script{open(t)}
	n := &night{election: x.e, definition: x.bytes}
	var early []held
	for revision := 1; revision <= 24; revision++ {
		for u := range x.e.Units {
			unit := &x.e.Units[u]
			cells := numbers(x.e, schemas.UnitIndex(u), revision)
			if unit.ID == "fir.2" && revision == 10 {
				cells = numbers(x.e, schemas.UnitIndex(u), 8)
				x.submit(schemas.EntryCounted, "", unit.ID, revision*2, cells, correctly, "supervisor.1", "supervisor.2")
				continue
			}
			x.submit(schemas.EntryCounted, "", unit.ID, revision*2, cells, nil, "official."+string(x.e.Counties[unit.County].ID))
		}
		if revision == 11 {
			early = append(early,
				x.submit(schemas.EntryHeld, schemas.HoldLowered, "ash.4", 90, x.numbers("ash.4", 10), nil, "official.ash"),
				x.submit(schemas.EntryHeld, schemas.HoldConflict, "fir.3", 22, x.numbers("fir.3", 10), nil, "official.fir"))
		}
		time.Sleep(1100 * time.Millisecond)
		if revision == 12 {
			n.early = x.store.copy()
		}
	}
	x.release(early[0], schemas.EntryReleased)
	x.release(early[1], schemas.EntryLapsed)
	x.holds()
	x.others()
	time.Sleep(1100 * time.Millisecond)
	n.late = x.close()
	return n
}

// holds are those of one unit, for every reason that it can have alone.
func (x script) holds() {
	x.submit(schemas.EntrySuperseded, "", "oak.1", 3, x.numbers("oak.1", 1), nil, "official.oak")
	x.submit(schemas.EntryHeld, schemas.HoldConflict, "oak.1", 48, x.numbers("oak.1", 25), nil, "official.oak")
	lowered := x.submit(schemas.EntryHeld, schemas.HoldLowered, "oak.1", 50, x.numbers("oak.1", 20), nil, "official.oak")
	broken := x.numbers("oak.1", 26)
	oak, _ := x.e.Unit("oak.1")
	broken[x.e.Units[oak].Style.Sections[1].Offset+1]++
	x.submit(schemas.EntryHeld, schemas.HoldIdentity, "oak.1", 51, broken, nil, "official.oak")
	x.submit(schemas.EntryHeld, schemas.HoldRegistered, "oak.1", 52, x.numbers("oak.1", 9000), nil, "official.oak")
	x.submit(schemas.EntryCounted, "", "oak.1", 53, x.numbers("oak.1", 22), correctly, "supervisor.1", "supervisor.2")
	x.release(lowered, schemas.EntryLapsed)
	poison := []byte("no envelope at all")
	x.ledgers.add(entry(x.e, poison, schemas.EntryHeld, schemas.HoldPoison), poison, nil)
}

// others are holds that compare with others, and what lowers numbers.
func (x script) others() {
	hold := func(code schemas.HoldCode, unit schemas.UnitID, revision int, cells []schemas.Count) held {
		u, _ := x.e.Unit(unit)
		return x.submit(schemas.EntryHeld, code, unit, revision, cells, nil, "official."+string(x.e.Counties[x.e.Units[u].County].ID))
	}
	x.release(hold(schemas.HoldOutlier, "fir.1", 50, x.numbers("fir.1", 90)), schemas.EntryReleased) // above 300% of its neighbours
	x.release(hold(schemas.HoldTwin, "ash.2", 50, x.numbers("ash.3", 24)), schemas.EntryReleased)
	x.release(hold(schemas.HoldConflict, "oak.3", 48, x.numbers("oak.3", 20)), schemas.EntryReleased) // the lower ones are right
	hold(schemas.HoldOutlier, "ash.1", 50, x.numbers("ash.1", 65))                                    // above 500% of its history; stays
	x.ledgers.add(schemas.Entry{Kind: schemas.EntryHeld, Hold: schemas.HoldRelease, Unit: "fir.3", Revision: 77, Digest: schemas.DigestOf(nil)},
		releaseOf("fir.3", 77, schemas.DigestOf(nil), "supervisor.1", "supervisor.2"), nil)
	// A voter's two marks for governor turn out to be one.
	governor := func(unit schemas.UnitID, cells []schemas.Count) (lee, undervotes *schemas.Count) {
		u, _ := x.e.Unit(unit)
		k, _ := x.e.Contest("governor")
		at, _ := x.e.Units[u].Style.Find(k)
		first := x.e.Units[u].Style.Sections[at].Offset + 1
		return &cells[first], &cells[first+4]
	}
	adjudicated := x.numbers("ash.1", 24)
	lee, undervotes := governor("ash.1", adjudicated)
	*lee, *undervotes = *lee+1, *undervotes-1
	x.submit(schemas.EntryCounted, "", "ash.1", 49, adjudicated, nil, "official.ash")
	// A contest was never on this ballot.
	less := x.numbers("oak.4", 24)
	oak, _ := x.e.Unit("oak.4")
	bond := x.e.Units[oak].Style.Sections[1]
	clear(less[bond.Offset:][:bond.Size(2)])
	x.submit(schemas.EntryCounted, "", "oak.4", 50, less, correctly, "supervisor.2", "supervisor.1")
}

func (o *objects) copy() site {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.byKey)
}

// check verifies a site with the publisher's key.
func check(t testing.TB, o verify.Options) (*verify.Report, *verify.State) {
	t.Helper()
	if o.Key == "" && o.State == nil {
		o.Key = keyOf(origin)
	}
	r, st, err := verify.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r, st
}

func print(r *verify.Report) string {
	var b bytes.Buffer
	_ = r.Print(&b) // to memory
	return b.String()
}
