package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"tallystream/publish/log"
	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// documentsAtOnce bounds the documents that are fetched and compared at a time.
func documentsAtOnce() int { return max(2*runtime.GOMAXPROCS(0), 8) }

// filesAtOnce does the same for files, of which one may have a hundred
// megabytes.
func filesAtOnce() int { return max(runtime.GOMAXPROCS(0), 4) }

// manifest reads what a snapshot names. A nil list says that it cannot be read.
func (v *verification) manifest(ctx context.Context, s *schemas.Snapshot) ([]schemas.ManifestEntry, error) {
	key := schemas.ContentKey("manifests", s.Manifest, ".ndjson")
	b, err := v.o.Source.Get(ctx, key)
	if errors.Is(err, log.ErrAbsent) {
		v.report.find(CheckManifest, key, "is not there, and snapshot %d names it", s.Number)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if got := schemas.DigestOf(b); got != s.Manifest {
		v.report.find(CheckManifest, key, "has the SHA-256 %s: it is not what snapshot %d signed", got, s.Number)
		return nil, nil
	}
	entries, err := schemas.ParseManifest(b)
	if err == nil && !sortedByName(entries) {
		err = errors.New("its names are not sorted, or stand twice")
	}
	if err != nil {
		v.report.find(CheckManifest, key, "%v", err)
		return nil, nil
	}
	return entries, nil
}

// expect notes which files of the newest snapshot are as of which leaf, so
// that they are compared when the count comes by.
func (v *verification) expect(ctx context.Context) error {
	entries, err := v.manifest(ctx, v.latest)
	if err != nil || entries == nil {
		return err
	}
	for _, e := range entries {
		if !isFile(e.Name) {
			continue
		}
		if int64(e.Version) < v.frontier.Size {
			if v.named[e.Name] != e {
				v.report.find(CheckFile, e.Name, "is another file as of %d leaves than when that was verified before", e.Version)
			}
			continue
		}
		v.due[e.Version] = append(v.due[e.Version], e)
	}
	return nil
}

// dueFiles compares the files that are as of this snapshot.
func (v *verification) dueFiles(ctx context.Context, s *schemas.Snapshot) error {
	files := v.due[s.Log]
	delete(v.due, s.Log)
	if err := v.compareAll(ctx, s, files); err != nil {
		return err
	}
	for _, e := range files { // a run that goes on behind here must not ask for them again
		v.named[e.Name] = e
	}
	return nil
}

// compareAll compares files side by side; the tally stands still meanwhile.
func (v *verification) compareAll(ctx context.Context, s *schemas.Snapshot, files []schemas.ManifestEntry) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(filesAtOnce())
	for i := range files {
		g.Go(func() error { return v.compareFile(ctx, s, &files[i]) })
	}
	return g.Wait()
}

// compare holds everything that a snapshot names against the count, which
// stands at its log.
func (v *verification) compare(ctx context.Context, s *schemas.Snapshot) error {
	entries, err := v.manifest(ctx, s)
	if err != nil || entries == nil {
		return err
	}
	v.render()
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(documentsAtOnce())
	seen := map[schemas.DocumentID]bool{}
	named, listed := map[string]schemas.ManifestEntry{}, map[string]bool{}
	remainders := map[string]*schemas.ManifestEntry{}
	for i := range entries {
		e := &entries[i]
		_, isDocument := v.plan.of[schemas.DocumentID(e.Name)]
		switch {
		case isDocument:
			seen[schemas.DocumentID(e.Name)] = true
			g.Go(func() error { return v.compareDocument(running, s, e) })
		case isFile(e.Name):
			named[e.Name] = *e
		case strings.HasPrefix(e.Name, suppress.Folder):
			remainders[e.Name] = e
		case e.Name == schemas.CorrectionsName:
			listed[e.Name] = true
			g.Go(func() error { return v.compareListing(running, s, e, "corrections", v.tally.correctionsFile()) })
		case e.Name == schemas.HoldsName:
			listed[e.Name] = true
			g.Go(func() error { return v.compareListing(running, s, e, "holds", v.tally.holdsFile()) })
		case e.Name == schemas.DefinitionKey:
			v.same(s, e, schemas.DigestOf(v.definition), len(v.definition))
		case e.Name == schemas.RosterKey:
			v.same(s, e, schemas.DigestOf(v.roster), len(v.roster))
		default:
			v.find(CheckManifest, e.Name, "snapshot %d names it, and no rule says what it is", s.Number)
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := v.compareRemainders(ctx, s, remainders); err != nil {
		return err
	}
	for _, id := range v.plan.names {
		if !seen[id] {
			v.report.find(CheckManifest, string(id), "snapshot %d does not name this document", s.Number)
		}
	}
	for _, name := range []string{schemas.CorrectionsName, schemas.HoldsName} {
		if !listed[name] {
			v.report.find(CheckManifest, name, "snapshot %d does not name it", s.Number)
		}
	}
	if v.o.All {
		if err := v.compareFiles(ctx, s, named); err != nil {
			return err
		}
	}
	v.named, v.compared = named, s.Number
	return nil
}

// compareFiles compares the files that are new with this snapshot; the others
// must be those that were there before.
func (v *verification) compareFiles(ctx context.Context, s *schemas.Snapshot, named map[string]schemas.ManifestEntry) error {
	var files []schemas.ManifestEntry
	for name, e := range named {
		switch {
		case v.named[name] == e:
		case e.Version == s.Log:
			files = append(files, e)
		default:
			v.report.find(CheckFile, name, "snapshot %d of %d leaves names it as of %d, and no snapshot did before", s.Number, s.Log, e.Version)
		}
	}
	return v.compareAll(ctx, s, files)
}

func (v *verification) same(s *schemas.Snapshot, e *schemas.ManifestEntry, want schemas.Digest, size int) {
	if e.Hash != want || e.Bytes != int64(size) {
		v.find(CheckManifest, e.Name, "snapshot %d names one with SHA-256 %s, in force is %s", s.Number, e.Hash, want)
	}
}

// render makes the sheets of counties that changed, and forgets the documents
// that show them.
func (v *verification) render() {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	changed := map[int]bool{}
	for c := range v.sheets {
		if v.sheets[c] != nil && !v.tally.dirty[c] {
			continue
		}
		changed[c], v.tally.dirty[c] = true, false
		g.Go(func() error {
			v.sheets[c] = v.plan.sheet(c, v.tally.rows[c], v.tally.moved[c])
			return nil
		})
	}
	_ = g.Wait() // nothing in it fails
	for id := range v.made {
		d := v.plan.of[id]
		stale := d.county < 0 && d.contest < 0 && len(changed) > 0 || d.county >= 0 && changed[d.county]
		if d.contest >= 0 {
			for _, at := range v.plan.contests[d.contest].places {
				stale = stale || changed[at.county]
			}
		}
		if stale {
			delete(v.made, id)
		}
	}
}

// compareDocument holds one document against what the log gives.
func (v *verification) compareDocument(ctx context.Context, s *schemas.Snapshot, e *schemas.ManifestEntry) error {
	id := schemas.DocumentID(e.Name)
	v.mu.Lock()
	want, ok := v.made[id]
	v.mu.Unlock()
	var body []byte
	if !ok {
		body = v.plan.document(id, v.sheets, v.tally.rows, v.tally.moved)
		want = made{schemas.DigestOf(body), int64(len(body)), bytes.Count(body, []byte{'\n'})}
	}
	v.mu.Lock()
	known := v.fetched[e.Hash]
	v.made[id] = want
	v.report.Documents++
	v.report.Lines += want.lines
	v.report.Bytes += want.size
	if e.Version > s.Log {
		v.report.find(CheckManifest, e.Name, "snapshot %d of %d leaves names it as of %d", s.Number, s.Log, e.Version)
	}
	v.mu.Unlock()
	if known && e.Hash == want.hash && e.Bytes == want.size {
		return nil // these bytes lie there: they were fetched for an earlier snapshot
	}
	published, err := v.object(ctx, CheckDocument, s, e, schemas.ContentKey("documents", e.Hash, ".ndjson"))
	if err != nil {
		return err
	}
	if e.Hash != want.hash || e.Bytes != want.size {
		if body == nil {
			body = v.plan.document(id, v.sheets, v.tally.rows, v.tally.moved)
		}
		v.find(CheckDocument, e.Name, "snapshot %d: it is not what the log's submissions add up to: %s", s.Number, describe(published, body))
		return nil
	}
	if published != nil {
		v.mu.Lock()
		v.fetched[e.Hash] = true
		v.mu.Unlock()
	}
	return nil
}

// compareListing holds one of the two lists, of corrections and of holds, against
// what the log gives.
func (v *verification) compareListing(ctx context.Context, s *schemas.Snapshot, e *schemas.ManifestEntry, folder string, want []byte) error {
	published, err := v.object(ctx, CheckDocument, s, e, schemas.ContentKey(folder, e.Hash, ".ndjson"))
	if err != nil || published == nil {
		return err
	}
	v.mu.Lock()
	v.report.Documents++
	v.report.Lines += bytes.Count(want, []byte{'\n'})
	v.report.Bytes += e.Bytes
	v.mu.Unlock()
	if !bytes.Equal(published, want) {
		v.find(CheckDocument, e.Name, "snapshot %d: it is not what the log gives: %s", s.Number, listingDifference(published, want))
	}
	return nil
}

// listingDifference says in which line a list differs first, and where in it.
func listingDifference(published, want []byte) string {
	return firstDifference(published, want, func(x, y []byte) string {
		at := 0
		for at < len(x) && at < len(y) && x[at] == y[at] {
			at++
		}
		at = max(0, at-40)
		return fmt.Sprintf("is %s, the log gives %s", clip(x[min(at, len(x)):]), clip(y[min(at, len(y)):]))
	})
}

func describe(published, want []byte) string {
	if published == nil {
		return fmt.Sprintf("SHA-256 is to be %s", schemas.DigestOf(want))
	}
	return difference(published, want)
}

// object reads what a manifest names and holds it against hash and size; nil,
// and a finding, where it does not fit. key is where it must lie; "" anywhere.
func (v *verification) object(ctx context.Context, check Check, s *schemas.Snapshot, e *schemas.ManifestEntry, key string) ([]byte, error) {
	if key != "" && e.Key != key {
		v.find(check, e.Name, "snapshot %d says that it lies at %s, by its hash it lies at %s", s.Number, e.Key, key)
	}
	if !fs.ValidPath(e.Key) || strings.ContainsAny(e.Key, "\\\x00") {
		v.find(check, e.Name, "snapshot %d says that it lies at %q, which is no key", s.Number, e.Key)
		return nil, nil
	}
	b, err := v.o.Source.Get(ctx, e.Key)
	if errors.Is(err, log.ErrAbsent) {
		v.find(check, e.Name, "%s is not there, and snapshot %d names it", e.Key, s.Number)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if got := schemas.DigestOf(b); got != e.Hash || int64(len(b)) != e.Bytes {
		what := ""
		if check == CheckDocument && bytes.HasSuffix(b, []byte{'\n'}) {
			id := schemas.DocumentID(e.Name)
			if _, ok := v.plan.of[id]; ok {
				what = ": " + difference(b, v.plan.document(id, v.sheets, v.tally.rows, v.tally.moved))
			}
		}
		v.find(check, e.Name, "%s has %d bytes with SHA-256 %s, snapshot %d names %d with %s%s", e.Key, len(b), got, s.Number, e.Bytes, e.Hash, what)
		return nil, nil
	}
	return b, nil
}

// compareFile holds a table or a report against the count, which stands at the
// snapshot that first named it.
func (v *verification) compareFile(ctx context.Context, s *schemas.Snapshot, e *schemas.ManifestEntry) error {
	key := ""
	if strings.HasPrefix(e.Name, unitFolder) {
		key = schemas.ContentKey("units", e.Hash, ".ndjson")
	}
	published, err := v.object(ctx, CheckFile, s, e, key)
	if err != nil || published == nil {
		return err
	}
	v.mu.Lock()
	v.report.Files++
	v.report.Bytes += e.Bytes
	v.mu.Unlock()
	if e.Name == reportName || strings.HasPrefix(e.Name, reportFolder) {
		if published, err = unpack(published); err != nil {
			v.find(CheckFile, e.Name, "cannot be unpacked: %v", err)
			return nil
		}
	}
	w := fileWriter{tally: v.tally}
	want, err := w.file(e.Name, s, published)
	if err != nil {
		v.find(CheckFile, e.Name, "%v", err)
		return nil
	}
	if !bytes.Equal(published, want) {
		v.find(CheckFile, e.Name, "%s: it is not what the log's submissions say: %s", e.Key, fileDifference(published, want))
	}
	return nil
}

// fileDifference says where two files differ first: a line of a table, or the
// bytes around of a report of one line.
func fileDifference(a, b []byte) string {
	at := 0
	for at < len(a) && at < len(b) && a[at] == b[at] {
		at++
	}
	around := func(s []byte) []byte {
		from := bytes.LastIndexByte(s[:min(at, len(s))], '\n') + 1
		from = max(from, at-60)
		to := min(at+60, len(s))
		if from >= to {
			return nil
		}
		if i := bytes.IndexByte(s[min(at, len(s)):to], '\n'); i >= 0 {
			to = at + i
		}
		return s[from:to]
	}
	return fmt.Sprintf("line %d is %s, the log gives %s", 1+bytes.Count(a[:at], []byte{'\n'}), clip(around(a)), clip(around(b)))
}
