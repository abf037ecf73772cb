package publish_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate/ledger"
	"tallystream/publish"
	"tallystream/schemas"
)

// smallElection has two states, contests of one county, of one state and of
// all, and names that would break a careless page.
func smallElection() *schemas.Definition {
	yes := []schemas.Selection{{ID: "yes", Name: "Yes"}, {ID: "no", Name: "No"}}
	return &schemas.Definition{
		Schema: schemas.DefinitionSchema, Election: "test-2026", Name: `Test <script>alert("1")</script> & more`, Date: "2026-11-03",
		Origin: "results.example/test-2026", CountTypes: []schemas.CountType{schemas.Early, schemas.ElectionDay},
		Partitions: 2, Signatures: 1, Rules: schemas.Rules{Ballots: true},
		States:   []schemas.State{{ID: "north", Name: "North"}, {ID: "south", Name: "South"}},
		Counties: []schemas.County{{ID: "oak", Name: "Oak", State: "north"}, {ID: "ash", Name: "Ash & Elm", State: "north"}, {ID: "fir", Name: "Fir", State: "south"}},
		Contests: []schemas.Contest{
			{ID: "president", Name: "President", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone,
				Selections: []schemas.Selection{{ID: "smith", Name: `O'Smith "Sam"`, Party: "A"}, {ID: "jones", Name: "Jones", Party: "<B>"}}},
			{ID: "governor", Name: "Governor of North", Kind: schemas.CandidateContest, VotesAllowed: 1, Residuals: schemas.ResidualsTotal,
				Selections: []schemas.Selection{{ID: "lee", Name: "Lee"}, {ID: "kim", Name: "Kim"}}},
			{ID: "bond", Name: "School bond", Kind: schemas.BallotMeasureContest, VotesAllowed: 1, Residuals: schemas.ResidualsNone, Selections: yes},
		},
		Styles: []schemas.Style{
			{ID: "north", Contests: []schemas.ContestID{"governor", "president"}},
			{ID: "bonded", Contests: []schemas.ContestID{"bond", "governor", "president"}},
			{ID: "south", Contests: []schemas.ContestID{"president"}},
		},
		Units: []schemas.Unit{
			{ID: "oak.1", Name: "1", County: "oak", Kind: schemas.PrecinctUnit, Style: "bonded"},
			{ID: "oak.2", Name: "2", County: "oak", Kind: schemas.PrecinctUnit, Style: "north"},
			{ID: "ash.1", Name: "1", County: "ash", Kind: schemas.PrecinctUnit, Style: "north"},
			{ID: "fir.1", Name: "1", County: "fir", Kind: schemas.PrecinctUnit, Style: "south"},
		},
	}
}

// election is an open election and the key of its publisher.
type election struct {
	*schemas.Election
	definition            []byte
	roster                []byte
	official, supervisors []note.Signer
	signer                note.Signer
	verifier              note.Verifier
	vkey                  string
	books                 *books // the first that were opened
}

// seeded is a source of bytes for keys that are the same in every run.
type seeded struct{ *rand.ChaCha8 }

func openElection(t testing.TB, d *schemas.Definition) *election {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	e, err := schemas.OpenElection(b)
	if err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := note.GenerateKey(seeded{rand.NewChaCha8([32]byte{1})}, d.Origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return &election{
		Election: e, definition: b, roster: rosterOf(t, official, supervisors...), signer: signer, verifier: verifier, vkey: vkey,
		official: seats(t, official), supervisors: seats(t, supervisors...),
	}
}

// Who signs in these elections, so that what is published can be verified.
const official = "official.1"

var supervisors = []string{"supervisor.1", "supervisor.2"}

// seat is the key of whoever has that name, the same in every run.
func seat(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	private, verifier, err := note.GenerateKey(seeded{rand.NewChaCha8([32]byte(slices.Concat([]byte(name), make([]byte, 32))[:32]))}, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func seats(t testing.TB, names ...string) (out []note.Signer) {
	t.Helper()
	for _, name := range names {
		signer, _ := seat(t, name)
		out = append(out, signer)
	}
	return out
}

// rosterOf is a roster of an official and these supervisors.
func rosterOf(t testing.TB, official string, supervisors ...string) []byte {
	t.Helper()
	roster := schemas.Roster{Schema: schemas.RosterSchema, Election: "test-2026"}
	for i, name := range append([]string{official}, supervisors...) {
		_, verifier := seat(t, name)
		role := schemas.Supervisor
		if i == 0 {
			role = schemas.Official
		}
		roster.Keys = append(roster.Keys, schemas.KeyEntry{Key: verifier, Role: role})
	}
	b, err := json.Marshal(roster)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// books is a stream and a ledger in memory, as the aggregators keep them. It
// counts on its own, by identifiers, so that a mistake of the code under test
// does not hide in code that both use.
type books struct {
	t testing.TB
	e *election

	mu      sync.Mutex
	records map[schemas.Checkpoint][]byte
	entries [][]schemas.Entry // by partition
	latest  map[schemas.UnitIndex][]schemas.Count
	counted map[schemas.UnitIndex]schemas.Revision
	held    []*held
	tallies [][]int64
	failing error  // of every view
	moves   func() // called once, before the next tallies are read
}

func newBooks(t testing.TB, e *election) *books {
	b := &books{
		t: t, e: e, records: map[schemas.Checkpoint][]byte{}, entries: make([][]schemas.Entry, e.Definition.Partitions),
		latest: map[schemas.UnitIndex][]schemas.Count{}, counted: map[schemas.UnitIndex]schemas.Revision{},
	}
	for i := range e.Counties {
		b.tallies = append(b.tallies, make([]int64, e.Counties[i].Cells))
	}
	if e.books == nil {
		e.books = b
	}
	return b
}

// cells makes a row of the unit: stated everywhere, each count from next.
func (b *books) cells(u schemas.UnitIndex, next func() schemas.Count) []schemas.Count {
	style := b.e.Units[u].Style
	out := make([]schemas.Count, style.Cells)
	for i := range out {
		out[i] = next()
	}
	for i := range style.Sections {
		out[style.Sections[i].Offset] = 1
	}
	// Ballots that hold all votes.
	for k := range b.e.Types() {
		out[1+k] += 10_000
	}
	return out
}

// submit puts a submission into the stream and, as kind says, the ledger.
func (b *books) submit(unit schemas.UnitID, revision schemas.Revision, cells []schemas.Count, kind schemas.EntryKind, hold schemas.HoldCode) {
	b.t.Helper()
	u, ok := b.e.Unit(unit)
	if !ok {
		b.t.Fatalf("no unit %s", unit)
	}
	correction, signers := b.correction(u, cells, kind), b.e.official
	if correction != nil {
		signers = b.e.supervisors
	}
	body := b.e.AppendBody(nil, u, revision, cells, nil, correction)
	record, err := schemas.AppendEnvelope(nil, b.e.Definition.Origin, unit, revision, body, signers...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := schemas.Checkpoint(len(b.records) + 1)
	b.records[at] = record
	p := b.e.PartitionOf(u)
	b.entries[p] = append(b.entries[p], schemas.Entry{
		Partition: p, Seq: uint64(len(b.entries[p]) + 1), Kind: kind, Hold: hold, Unit: unit, Revision: revision,
		Digest: schemas.DigestOf(body), At: at,
	})
	if kind == schemas.EntryCounted {
		b.tally(u, b.latest[u], -1)
		b.tally(u, cells, 1)
		b.latest[u], b.counted[u] = cells, revision
	}
	if kind == schemas.EntryHeld {
		b.held = append(b.held, &held{unit: u, cells: cells, entry: b.entries[p][len(b.entries[p])-1]})
	}
}

// held is a hold, and what was decided of it.
type held struct {
	unit     schemas.UnitIndex
	cells    []schemas.Count
	entry    schemas.Entry
	released schemas.HoldState // "" if it was not
}

// state is what the public is told of a hold now.
func (b *books) state(h *held) schemas.HoldState {
	switch {
	case h.released != "":
		return h.released
	case h.entry.Revision < b.counted[h.unit]:
		return schemas.HoldSuperseded
	}
	return schemas.HoldOpen
}

// release puts a release of the hold into the stream and, as the aggregators
// would, the ledger.
func (b *books) release(h *held, reason schemas.ReleaseReason, text string) {
	b.t.Helper()
	id := b.e.Units[h.unit].ID
	note, err := schemas.AppendRelease(nil, b.e.Definition.Origin, id, h.entry.Revision, h.entry.Digest, reason, text, b.e.supervisors...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at, p, kind := schemas.Checkpoint(len(b.records)+1), h.entry.Partition, schemas.EntryLapsed
	h.released = schemas.HoldLapsed
	if h.entry.Revision >= b.counted[h.unit] {
		kind, h.released = schemas.EntryReleased, schemas.HoldReleased
		b.tally(h.unit, b.latest[h.unit], -1)
		b.tally(h.unit, h.cells, 1)
		b.latest[h.unit], b.counted[h.unit] = h.cells, h.entry.Revision
	}
	b.records[at] = note
	b.entries[p] = append(b.entries[p], schemas.Entry{
		Partition: p, Seq: uint64(len(b.entries[p]) + 1), Kind: kind, Held: h.entry.Seq, Unit: id, Revision: h.entry.Revision, Digest: h.entry.Digest, At: at,
	})
}

// correction is what a submission that counts must be where it lowers votes.
func (b *books) correction(u schemas.UnitIndex, cells []schemas.Count, kind schemas.EntryKind) *schemas.Correction {
	b.mu.Lock()
	defer b.mu.Unlock()
	if before := b.latest[u]; kind != schemas.EntryCounted || before == nil || b.e.Lowered(u, before, cells) == "" {
		return nil
	}
	return &schemas.Correction{Reason: schemas.CorrectRecount, Text: "Counted <again> & \"again\"."}
}

func (b *books) count(unit schemas.UnitID, revision schemas.Revision, cells []schemas.Count) {
	b.t.Helper()
	b.submit(unit, revision, cells, schemas.EntryCounted, "")
}

// tally adds a unit's cells to its county, contest by contest.
func (b *books) tally(u schemas.UnitIndex, cells []schemas.Count, sign int64) {
	if cells == nil {
		return
	}
	c := b.e.Units[u].County
	for _, s := range b.e.Units[u].Style.Sections {
		i, ok := b.e.Counties[c].Find(s.Contest)
		if !ok {
			b.t.Fatal("county without the contest of its unit")
		}
		to := b.e.Counties[c].Sections[i].Offset
		for k := range int32(s.Size(b.e.Types())) {
			b.tallies[c][to+k] += sign * int64(cells[s.Offset+k])
		}
	}
}

func (b *books) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing = err
}

// View implements publish.Ledger: a copy at this moment.
func (b *books) View(context.Context) (ledger.View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failing != nil {
		return nil, b.failing
	}
	v := &view{books: b}
	for p, entries := range b.entries {
		v.entries = append(v.entries, slices.Clone(entries))
		v.heads = append(v.heads, ledger.Head{Partition: schemas.Partition(p), Size: uint64(len(entries))})
	}
	for _, row := range b.tallies {
		v.tallies = append(v.tallies, slices.Clone(row))
	}
	return v, nil
}

type view struct {
	books   *books
	heads   []ledger.Head
	entries [][]schemas.Entry
	tallies [][]int64
}

func (v *view) Heads() []ledger.Head { return v.heads }

func (v *view) Entries(_ context.Context, after []uint64, fn func(schemas.Entry, []byte) error) error {
	for p, entries := range v.entries {
		for _, e := range entries[after[p]:] {
			v.books.mu.Lock()
			record, ok := v.books.records[e.At]
			v.books.mu.Unlock()
			if !ok {
				return fmt.Errorf("no record at %d", e.At)
			}
			if err := fn(e, record); err != nil {
				return err
			}
		}
	}
	return nil
}

// Tallies are, where the books say so, of entries that the view does not have.
func (v *view) Tallies(_ context.Context, counties []schemas.CountyIndex) (out []ledger.Tally, err error) {
	v.books.mu.Lock()
	moves := v.books.moves
	v.books.moves = nil
	v.books.mu.Unlock()
	if moves != nil {
		moves()
		fresh, err := v.books.View(context.Background())
		if err != nil {
			return nil, err
		}
		v.tallies = fresh.(*view).tallies
		for _, c := range counties {
			p := v.books.e.Counties[c].Partition
			out = append(out, ledger.Tally{Row: v.tallies[c], Size: fresh.Heads()[p].Size})
		}
		return out, nil
	}
	for _, c := range counties {
		out = append(out, ledger.Tally{Row: v.tallies[c], Size: v.heads[v.books.e.Counties[c].Partition].Size})
	}
	return out, nil
}

func (v *view) Follow(ctx context.Context, partitions []schemas.Partition) error {
	fresh, err := v.books.View(ctx)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		v.heads[p], v.entries[p] = fresh.Heads()[p], fresh.(*view).entries[p]
	}
	return nil
}

func (v *view) Close() error { return nil }

// config is a configuration over the books, with what a test does not care
// about filled in.
func (b *books) config(store interface {
	publish.Bucket
	publish.Register
}, announcer publish.Announcer, wake <-chan struct{}) publish.Config {
	return publish.Config{
		Election: b.e.Election, Definition: b.e.definition, Roster: b.e.roster,
		Ledger: b, Register: store, Bucket: store, Announcer: announcer,
		Signer: b.e.signer, VerifierKey: b.e.vkey, Wake: wake,
		Metrics: publish.NewMetrics(prometheus.NewRegistry()),
		Logger:  slog.New(slog.NewTextHandler(testWriter{b.t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// row is a row of counts, for tests that name their numbers.
func row(n ...schemas.Count) []schemas.Count { return n }
