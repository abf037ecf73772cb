package fanout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"tallystream/fanout"
	"tallystream/schemas"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(crowdEnv); args != "" {
		if err := crowdMain(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// press is a publisher in small: documents whose lines change, the deltas
// between their versions, and a bucket with what was published.
type press struct {
	epoch      schemas.Epoch
	log        schemas.LogSize
	snapshot   schemas.SnapshotNumber
	printedLog schemas.LogSize
	micros     int64
	order      []schemas.DocumentID
	docs       map[schemas.DocumentID]*pressed

	mu      sync.Mutex // guards objects
	objects map[string][]byte
}

// pressed is one document of a press.
type pressed struct {
	id             schemas.DocumentID
	lines          map[string]string // by unit
	version        schemas.Version
	told           schemas.Version // of the newest delta
	touched        map[string]bool // since then
	printed        schemas.Digest
	printedVersion schemas.Version
	rounds         int
}

func newPress(documents ...schemas.DocumentID) *press {
	p := &press{epoch: 1, docs: map[schemas.DocumentID]*pressed{}, objects: map[string][]byte{}, order: documents}
	for _, g := range documents {
		p.docs[g] = &pressed{id: g, lines: map[string]string{}, touched: map[string]bool{}}
	}
	return p
}

// change gives lines of a document new content.
func (p *press) change(g schemas.DocumentID, units ...string) {
	d := p.docs[g]
	p.log++
	d.rounds++
	d.version = p.log
	for _, u := range units {
		d.lines[u] = fmt.Sprintf(`{"contest":"c","unit":"%s","reporting":%d,"units":99,"votes":{"a":[%d]}}`, u, d.rounds%99, d.rounds)
		d.touched[u] = true
	}
}

func (d *pressed) body() []byte {
	var b bytes.Buffer
	for _, u := range d.units(nil) {
		b.WriteString(d.lines[u])
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// units lists the document's units, or those in only, in order.
func (d *pressed) units(only map[string]bool) []string {
	var out []string
	for u := range d.lines {
		if only == nil || only[u] {
			out = append(out, u)
		}
	}
	slices.Sort(out)
	return out
}

// delta is what changed since the last one; nil if nothing did.
func (p *press) delta(g schemas.DocumentID) []byte {
	d := p.docs[g]
	if d.version == d.told {
		return nil
	}
	p.micros++
	out := schemas.Delta{
		Epoch: p.epoch, Document: g, From: d.told, To: d.version, Log: p.log, Micros: p.micros, Hash: schemas.DigestOf(d.body()),
	}
	for _, u := range d.units(d.touched) {
		out.Lines = append(out.Lines, []byte(d.lines[u]))
	}
	d.told, d.touched = d.version, map[string]bool{}
	return out.AppendFrame(nil)
}

// publish writes a snapshot and returns what is announced of it: the documents
// that changed, or all of them.
func (p *press) publish(all bool) schemas.Published {
	p.snapshot++
	p.printedLog = p.log
	out := schemas.Published{Epoch: p.epoch, Log: p.log, Snapshot: p.snapshot, Micros: p.micros}
	var manifest bytes.Buffer
	for _, g := range p.order {
		d := p.docs[g]
		body := d.body()
		hash := schemas.DigestOf(body)
		p.put(fanout.DocumentKey(hash), body)
		fmt.Fprintf(&manifest, `{"name":%q,"version":%d,"key":%q,"sha256":"%s","bytes":%d}`+"\n", g, d.version, fanout.DocumentKey(hash), hash, len(body))
		if all || hash != d.printed {
			out.Documents = append(out.Documents, schemas.Announcement{Document: g, Version: d.version, Hash: hash})
		}
		d.printed, d.printedVersion = hash, d.version
	}
	sum := schemas.DigestOf(manifest.Bytes())
	p.put(schemas.ContentKey("manifests", sum, ".ndjson"), manifest.Bytes())
	s := schemas.Snapshot{Origin: "results.example", Number: p.snapshot, Log: p.log, Manifest: sum, Time: "2026-11-03T21:04:05.123Z"}
	p.put(schemas.LatestKey, append(s.AppendText(nil), "\n— results.example/publish AAAA\n"...))
	return out
}

// restart begins a new epoch, whose first snapshot names every document.
func (p *press) restart() {
	p.epoch++
	for _, d := range p.docs {
		d.told, d.touched = d.version, map[string]bool{} // what was not told goes with the snapshot
	}
}

func (p *press) put(key string, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.objects[key] = body
}

var errNoObject = errors.New("no such object")

// Get implements fanout.Bucket.
func (p *press) Get(_ context.Context, key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.objects[key]; ok {
		return b, nil
	}
	return nil, errNoObject
}

// ServeHTTP serves the bucket.
func (p *press) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := p.Get(r.Context(), strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(b)
}

// someUnits picks units by chance, at least one.
func someUnits(r *rand.Rand, of int) []string {
	var out []string
	for range 1 + r.IntN(4) {
		out = append(out, fmt.Sprintf("u%03d", r.IntN(of)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func newHub(documents int) *fanout.Hub { return fanout.NewHub(documents, false, newMetrics()) }
