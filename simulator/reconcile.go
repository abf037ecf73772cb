package simulator

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"tallystream/schemas"
)

// Cell names one published number below a county.
type Cell struct {
	Contest   schemas.ContestID
	Selection schemas.SelectionID
	CountType schemas.CountType
}

// Expected tells what a county's published numbers must add up to: for an
// imported election the sums of the input's own rows.
type Expected func(schemas.CountyIndex) map[Cell]int64

// objects reads what was published.
type objects interface {
	Get(ctx context.Context, key string) ([]byte, error)
}

// Reconciliation is the outcome of holding what was published against what
// was sent. It reads public files alone.
type Reconciliation struct {
	Snapshots  uint64
	Log        schemas.LogSize
	Held       uint64
	Accepted   uint64
	Checked    int // sums compared
	Mismatches []string
}

// mostMismatches is how many are told one by one.
const mostMismatches = 50

// reconciler carries one run.
type reconciler struct {
	election *schemas.Election
	bucket   objects
	verifier note.Verifier

	mu  sync.Mutex // guards out
	out Reconciliation
}

// Reconcile checks the chain of snapshots down to the first, every document
// and every county's CSV of the newest one, and that all of them add up to
// what is expected.
func Reconcile(ctx context.Context, e *schemas.Election, b objects, v note.Verifier, expected Expected) (*Reconciliation, error) {
	r := &reconciler{election: e, bucket: b, verifier: v}
	newest, err := r.chain(ctx)
	if err != nil {
		return nil, fmt.Errorf("reconciling: %w", err)
	}
	raw, err := r.content(ctx, schemas.ContentKey("manifests", newest.Manifest, ".ndjson"), newest.Manifest)
	if err != nil {
		return nil, fmt.Errorf("reconciling: %w", err)
	}
	manifest, err := schemas.ParseManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("reconciling: %w", err)
	}
	if err := r.counties(ctx, manifest, expected); err != nil {
		return nil, fmt.Errorf("reconciling: %w", err)
	}
	slices.Sort(r.out.Mismatches)
	return &r.out, nil
}

func (r *reconciler) mismatch(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.out.Mismatches) < mostMismatches {
		r.out.Mismatches = append(r.out.Mismatches, fmt.Sprintf(format, args...))
	}
}

// chain walks from the newest snapshot to the first: numbers dense, each note
// the one that the next names.
func (r *reconciler) chain(ctx context.Context) (*schemas.Snapshot, error) {
	raw, err := r.bucket.Get(ctx, schemas.LatestKey)
	if err != nil {
		return nil, err
	}
	newest, err := schemas.OpenSnapshot(raw, r.verifier)
	if err != nil {
		return nil, err
	}
	r.out.Snapshots, r.out.Log = uint64(newest.Number), newest.Log
	r.out.Accepted, r.out.Held = newest.Accepted, newest.Held
	hash, after := schemas.DigestOf(raw), newest
	for n := newest.Number; n > 0; n-- {
		raw, err := r.bucket.Get(ctx, schemas.SnapshotKey(n))
		if err != nil {
			return nil, fmt.Errorf("snapshot %d: %w", n, err)
		}
		if schemas.DigestOf(raw) != hash {
			r.mismatch("snapshot %d is not the one that snapshot %d names", n, n+1)
		}
		s, err := schemas.OpenSnapshot(raw, r.verifier)
		if err != nil {
			return nil, fmt.Errorf("snapshot %d: %w", n, err)
		}
		if s.Number != n || s.Log > after.Log {
			r.mismatch("snapshot %d says number %d, log %d, before log %d", n, s.Number, s.Log, after.Log)
		}
		hash, after = s.Previous, s
	}
	if !hash.IsZero() {
		r.mismatch("snapshot 1 names a previous one")
	}
	return newest, nil
}

// content reads an object and checks its hash.
func (r *reconciler) content(ctx context.Context, key string, want schemas.Digest) ([]byte, error) {
	b, err := r.bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if schemas.DigestOf(b) != want {
		r.mismatch("%s does not have the hash that the manifest says", key)
	}
	return b, nil
}

// counties checks county by county, on all cores, then the contests.
func (r *reconciler) counties(ctx context.Context, manifest []schemas.ManifestEntry, expected Expected) error {
	byName := make(map[string]*schemas.ManifestEntry, len(manifest))
	for i := range manifest {
		byName[manifest[i].Name] = &manifest[i]
	}
	totals := make(map[Cell]int64)
	var mu sync.Mutex // guards totals
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for c := range r.election.Counties {
		g.Go(func() error {
			want := expected(schemas.CountyIndex(c))
			if err := r.county(each, schemas.CountyIndex(c), byName, want); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for cell, n := range want {
				totals[cell] += n
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.contests(ctx, byName, totals)
}

func (r *reconciler) county(ctx context.Context, c schemas.CountyIndex, byName map[string]*schemas.ManifestEntry, want map[Cell]int64) error {
	id := r.election.Counties[c].ID
	for _, part := range []struct {
		name string
		read func([]byte) (map[Cell]int64, error)
	}{
		{"csv/" + string(id) + ".csv", func(b []byte) (map[Cell]int64, error) { return sumCSV(b, id) }},
		{string(schemas.CountyDocument(id)), func(b []byte) (map[Cell]int64, error) { return r.sumDocument(b, string(id)) }},
	} {
		entry := byName[part.name]
		if entry == nil {
			if len(want) > 0 {
				r.mismatch("the newest manifest does not name %s", part.name)
			}
			continue
		}
		b, err := r.content(ctx, entry.Key, entry.Hash)
		if err != nil {
			return err
		}
		got, err := part.read(b)
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		r.compare(part.name, got, want)
	}
	return nil
}

// contests checks the total line of each contest's document.
func (r *reconciler) contests(ctx context.Context, byName map[string]*schemas.ManifestEntry, totals map[Cell]int64) error {
	byContest := make(map[schemas.ContestID]map[Cell]int64)
	for cell, n := range totals {
		if byContest[cell.Contest] == nil {
			byContest[cell.Contest] = make(map[Cell]int64)
		}
		byContest[cell.Contest][cell] = n
	}
	for contest, want := range byContest {
		entry := byName[string(schemas.ContestDocument(contest))]
		if entry == nil {
			continue // a contest of one county stands in the county's document
		}
		b, err := r.content(ctx, entry.Key, entry.Hash)
		if err != nil {
			return err
		}
		got, err := r.sumDocument(b, string(r.election.Definition.Election))
		if err != nil {
			return fmt.Errorf("%s: %w", entry.Name, err)
		}
		r.compare(entry.Name, got, want)
	}
	return nil
}

// compare holds sums against what is expected; a cell on one side only is
// zero on the other.
func (r *reconciler) compare(where string, got, want map[Cell]int64) {
	for cell, n := range want {
		if got[cell] != n {
			r.mismatch("%s: %s %s %s is %d, want %d", where, cell.Contest, cell.Selection, cell.CountType, got[cell], n)
		}
	}
	for cell, n := range got {
		if _, ok := want[cell]; !ok && n != 0 {
			r.mismatch("%s: %s %s %s is %d, want nothing", where, cell.Contest, cell.Selection, cell.CountType, n)
		}
	}
	r.mu.Lock()
	r.out.Checked += len(want)
	r.mu.Unlock()
}

// sumDocument reads a document's lines of one unit.
func (r *reconciler) sumDocument(b []byte, unit string) (map[Cell]int64, error) {
	out := make(map[Cell]int64)
	for raw := range bytes.Lines(b) {
		l, err := schemas.ParseLine(bytes.TrimSuffix(raw, []byte{'\n'}))
		if err != nil {
			return nil, err
		}
		if l.Unit != unit {
			continue
		}
		put := func(s schemas.SelectionID, counts []int64) {
			for i, n := range counts {
				out[Cell{l.Contest, s, r.election.Definition.CountTypes[i]}] += n
			}
		}
		for s, counts := range l.Votes {
			put(s, counts)
		}
		put(schemas.Undervotes, l.Undervotes)
		put(schemas.Overvotes, l.Overvotes)
	}
	return out, nil
}

// csvHeader is the first line of every results file.
const csvHeader = "county,unit,contest,selection,count_type,votes\n"

// sumCSV adds a county's CSV up over its units. Identifiers need no quoting,
// so a row is split at commas; a night of the whole country has 65 million.
func sumCSV(b []byte, county schemas.CountyID) (map[Cell]int64, error) {
	rest, ok := bytes.CutPrefix(b, []byte(csvHeader))
	if !ok {
		return nil, fmt.Errorf("want the header %q", strings.TrimSpace(csvHeader))
	}
	sums := make(map[string]*int64) // by "contest,selection,count type"
	for line := 2; len(rest) > 0; line++ {
		row, after, ok := bytes.Cut(rest, []byte{'\n'})
		if !ok {
			return nil, fmt.Errorf("line %d does not end in a newline", line)
		}
		rest = after
		key, n, err := splitRow(row, county)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		sum := sums[string(key)]
		if sum == nil {
			sum = new(int64)
			sums[string(key)] = sum
		}
		*sum += n
	}
	out := make(map[Cell]int64, len(sums))
	for key, sum := range sums {
		f := strings.Split(key, ",")
		if len(f) != 3 {
			return nil, fmt.Errorf("a row with %d fields, want 6", len(f)+3)
		}
		out[Cell{schemas.ContestID(f[0]), schemas.SelectionID(f[1]), schemas.CountType(f[2])}] = *sum
	}
	return out, nil
}

// splitRow cuts "county,unit,KEY,votes", where the key has two commas more.
func splitRow(row []byte, county schemas.CountyID) (key []byte, votes int64, err error) {
	head, rest, _ := bytes.Cut(row, []byte{','})
	if string(head) != string(county) {
		return nil, 0, fmt.Errorf("county %q, want %q", head, county)
	}
	_, rest, _ = bytes.Cut(rest, []byte{','})
	i := bytes.LastIndexByte(rest, ',')
	if i < 0 {
		return nil, 0, fmt.Errorf("want 6 fields")
	}
	votes, err = strconv.ParseInt(string(rest[i+1:]), 10, 64)
	if err != nil || votes < 0 {
		return nil, 0, fmt.Errorf("votes %q: want a whole number", rest[i+1:])
	}
	return rest[:i], votes, nil
}
