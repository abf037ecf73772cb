package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"tallystream/aggregate/ledger"
	"tallystream/publish/bucket"
	"tallystream/schemas"
)

// publication is what the newest snapshot names, being compared. mu guards the
// report and rows; everything else is fixed while objects are read side by side.
type publication struct {
	*auditor
	snapshot *schemas.Snapshot
	objects  map[string]*schemas.ManifestEntry
	expected map[schemas.DocumentID][]line

	corrections, holds [][]byte // lines of the two lists

	mu   sync.Mutex
	rows [][]int64 // by county: what its document says; nil: not known
}

// published compares everything that the snapshot names, and returns what
// each county's document says in the county's form.
func (a *auditor) published(ctx context.Context, s *schemas.Snapshot) ([][]int64, error) {
	p := &publication{auditor: a, snapshot: s, rows: make([][]int64, len(a.forms.counties))}
	if s == nil {
		return p.rows, nil
	}
	a.report.Snapshot, a.report.Log = s.Number, s.Log
	p.figures()
	if err := p.manifest(ctx); err != nil {
		return nil, err
	}
	p.expected = a.count.lines()
	p.corrections, p.holds = a.count.corrections(), a.count.holdLines()
	p.named()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, o := range p.objects {
		g.Go(func() error { return p.object(ctx, o) })
	}
	return p.rows, g.Wait()
}

// differ adds a difference from any goroutine.
func (p *publication) differ(d Difference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.add(d)
}

// tell adds to the report's counts from any goroutine.
func (p *publication) tell(change func(*Report)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p.report)
}

// publishedBefore compares the documents of counties whose partitions have
// entries behind those that the snapshot shows, now that the count stands where
// it does, and takes them out: what the ledger has of them is of a later cut.
func (a *auditor) publishedBefore(heads []ledger.Head, published [][]int64) {
	for c := range published {
		if p := a.forms.counties[c].partition; heads[p].Size > a.count.at[p] {
			a.compareCounty(c, nil, published[c])
			published[c] = nil
		}
	}
}

// figures compares the numbers in the note itself.
func (p *publication) figures() {
	for _, f := range []struct {
		what      string
		says, are uint64
	}{{"accepted", p.snapshot.Accepted, p.report.Accepted}, {"held", p.snapshot.Held, p.report.Held}} {
		if f.says != f.are {
			says, are := int64(f.says), int64(f.are)
			p.report.add(Difference{Kind: KindSnapshot, Where: where(p.snapshot), What: "submissions " + f.what, Recomputed: &are, Published: &says})
		}
	}
}

// manifest reads the list of everything. Without it nothing can be compared.
func (p *publication) manifest(ctx context.Context) error {
	key := schemas.ContentKey("manifests", p.snapshot.Manifest, ".ndjson")
	b, err := p.cfg.Bucket.Get(ctx, key)
	if err == nil && schemas.DigestOf(b) != p.snapshot.Manifest {
		err = errors.New("it has another hash")
	}
	var entries []schemas.ManifestEntry
	if err == nil {
		entries, err = schemas.ParseManifest(b)
	}
	if err != nil {
		return fmt.Errorf("reading the manifest of snapshot %d, %s: %w", p.snapshot.Number, key, err)
	}
	p.objects = make(map[string]*schemas.ManifestEntry, len(entries))
	for i := range entries {
		e := &entries[i]
		if p.objects[e.Name] != nil {
			p.differ(Difference{Kind: KindObject, Where: e.Name, What: "the manifest names it twice"})
		}
		p.objects[e.Name] = e
	}
	return nil
}

// named checks that the manifest names every document, and no other.
func (p *publication) named() {
	for id := range p.expected {
		if p.objects[string(id)] == nil {
			p.differ(Difference{Kind: KindDocument, Where: string(id), What: "the manifest does not name it"})
		}
	}
	for _, name := range []string{schemas.CorrectionsName, schemas.HoldsName} {
		if p.objects[name] == nil {
			p.differ(Difference{Kind: KindListing, Where: name, What: "the manifest does not name it"})
		}
	}
	for name := range p.objects {
		if id, err := schemas.ParseDocumentID(name); err == nil && p.expected[id] == nil {
			p.differ(Difference{Kind: KindDocument, Where: name, What: "the manifest names it, and there is nothing to say in it"})
		}
	}
	if p.cfg.Final {
		p.complete()
	}
}

// Names of tables by unit in a manifest.
const (
	csvFolder  = "csv/"
	unitFolder = "units/"
	results    = "results.csv"
)

// complete checks that the close left a table of every county that reported,
// where there are tables at all.
func (p *publication) complete() {
	for _, kind := range []struct{ folder, ending string }{{csvFolder, ".csv"}, {unitFolder, ""}} {
		some := false
		for name := range p.objects {
			some = some || strings.HasPrefix(name, kind.folder)
		}
		for c := range p.forms.counties {
			name := kind.folder + string(p.forms.counties[c].id) + kind.ending
			if some && p.count.rows[c][0] > 0 && p.objects[name] == nil {
				p.differ(Difference{Kind: KindFile, Where: name, What: "the manifest does not name it, though units have reported"})
			}
		}
	}
}

// object reads one object, holds it against its hash and compares what it says.
func (p *publication) object(ctx context.Context, o *schemas.ManifestEntry) error {
	b, err := p.cfg.Bucket.Get(ctx, o.Key)
	if errors.Is(err, bucket.ErrNotFound) {
		p.differ(Difference{Kind: KindObject, Where: o.Name, What: "the bucket does not have " + o.Key})
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", o.Key, err)
	}
	if got := schemas.DigestOf(b); got != o.Hash || int64(len(b)) != o.Bytes {
		p.differ(Difference{Kind: KindObject, Where: o.Name,
			What: fmt.Sprintf("%s has %d bytes with the hash %s, the manifest says %d and %s", o.Key, len(b), got, o.Bytes, o.Hash)})
	}
	if id, err := schemas.ParseDocumentID(o.Name); err == nil {
		p.document(id, b)
		return nil
	}
	switch o.Name {
	case schemas.CorrectionsName:
		p.listing(o.Name, b, p.corrections, readMovement)
		return nil
	case schemas.HoldsName:
		p.listing(o.Name, b, p.holds, readHold)
		return nil
	}
	return p.other(o, b)
}

// other compares what is no document.
func (p *publication) other(o *schemas.ManifestEntry, b []byte) error {
	t := p.table(o.Name)
	switch {
	case o.Name == schemas.DefinitionKey && schemas.DigestOf(b) != p.cfg.Election.Hash:
		p.differ(Difference{Kind: KindObject, Where: o.Name, What: "it is not the definition that the ledger was opened with"})
		return nil
	case t == nil:
		p.tell(func(r *Report) { r.HashOnly++ })
		return nil
	case !p.fresh(o, t.counties):
		p.tell(func(r *Report) { r.Stale++ })
		if p.cfg.Final {
			p.differ(Difference{Kind: KindFile, Where: o.Name, What: fmt.Sprintf("it is as of log size %d, its counties are not", o.Version)})
		}
		return nil
	}
	p.tell(func(r *Report) { r.Files++ })
	if err := t.read(b); err != nil {
		p.differ(Difference{Kind: KindFile, Where: o.Name, What: err.Error()})
		return nil
	}
	t.compare()
	return nil
}

// fresh says that no document of the counties changed after the file was made,
// and that the file is of the snapshot's cut: one may run ahead.
func (p *publication) fresh(o *schemas.ManifestEntry, counties []int) bool {
	if o.Version > p.snapshot.Log {
		return false
	}
	for _, c := range counties {
		d := p.objects[string(schemas.CountyDocument(p.forms.counties[c].id))]
		if d != nil && d.Version > o.Version {
			return false
		}
	}
	return true
}
