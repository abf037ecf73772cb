package receipts_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/publish/receipts"
	"tallystream/schemas"
)

const origin = "results.example.org/test"

func key(t *testing.T, name string) (note.Signer, note.Verifier) {
	t.Helper()
	seed := sha256.Sum256([]byte("test key " + name))
	private, verifier, err := note.GenerateKey(bytes.NewReader(seed[:]), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(verifier)
	if err != nil {
		t.Fatal(err)
	}
	return signer, v
}

// publication is a log in memory.
type publication struct {
	t    *testing.T
	edge *log.Edge
	seq  uint64

	mu      sync.Mutex
	objects map[string][]byte
}

func (p *publication) Get(_ context.Context, key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.objects[key]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("%s: %w", key, log.ErrAbsent)
}

// add logs submissions and publishes a checkpoint.
func (p *publication) add(more ...leaf.Leaf) {
	p.t.Helper()
	var leaves [][]byte
	for _, l := range more {
		b, err := leaf.Append(nil, l)
		if err != nil {
			p.t.Fatal(err)
		}
		leaves = append(leaves, b)
	}
	edge, objects, err := p.edge.Append(leaves...)
	if err != nil {
		p.t.Fatal(err)
	}
	signer, _ := key(p.t, origin)
	checkpoint, err := (&log.Checkpoint{Origin: origin, Tree: edge.Tree()}).Sign(signer)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edge = edge
	for _, o := range objects {
		p.objects[o.Key] = o.Body
	}
	p.objects[log.CheckpointKey] = checkpoint
}

func (p *publication) entry(kind schemas.EntryKind, hold schemas.HoldCode, unit schemas.UnitID, body string) (leaf.Leaf, *schemas.Receipt) {
	p.t.Helper()
	official, _ := key(p.t, "official")
	record, err := schemas.AppendEnvelope(nil, origin, unit, 1, []byte(body), official)
	if err != nil {
		p.t.Fatal(err)
	}
	p.seq++
	r := &schemas.Receipt{Origin: origin, Unit: unit, Revision: 1, Digest: schemas.DigestOf([]byte(body))}
	l, err := leaf.OfEntry(&schemas.Entry{Partition: 1, Seq: p.seq, Kind: kind, Hold: hold, Unit: unit, Revision: 1, Digest: r.Digest}, record)
	if err != nil {
		p.t.Fatal(err)
	}
	return l, r
}

// serve begins a server; now is its clock.
func serve(t *testing.T, p *publication, now func() time.Time) string {
	t.Helper()
	_, v := key(t, origin)
	mux := http.NewServeMux()
	receipts.NewServer(receipts.Config{Bucket: p, Key: v, Now: now, Logger: slog.New(slog.DiscardHandler)}).Register(mux)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// ticking is a clock that is a minute on each time it is asked.
func ticking() func() time.Time {
	var mu sync.Mutex
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Minute)
		return at
	}
}

func newPublication(t *testing.T) *publication {
	return &publication{t: t, edge: &log.Edge{}, objects: map[string][]byte{}}
}

func TestAReceiptLeadsToAProofThatChecks(t *testing.T) {
	p := newPublication(t)
	url := serve(t, p, ticking())
	_, v := key(t, origin)
	policy := &log.Policy{}
	counted, first := p.entry(schemas.EntryCounted, "", "oak.1", "one")
	held, second := p.entry(schemas.EntryHeld, schemas.HoldLowered, "oak.2", "two")
	if _, err := receipts.Fetch(t.Context(), http.DefaultClient, url, first); !errors.Is(err, receipts.ErrNotYet) {
		t.Errorf("before there is a log: %v", err)
	}
	p.add(counted)
	if _, err := receipts.Fetch(t.Context(), http.DefaultClient, url, second); !errors.Is(err, receipts.ErrNotYet) {
		t.Errorf("before it is logged: %v", err)
	}
	for i := range 300 { // others, over two bundles
		l, _ := p.entry(schemas.EntrySuperseded, "", schemas.UnitID(fmt.Sprintf("ash.%d", i)), "x")
		p.add(l)
	}
	p.add(held)
	for _, c := range []struct {
		receipt *schemas.Receipt
		want    receipts.Proven
	}{{first, receipts.Proven{Index: 0, Outcome: schemas.EntryCounted}}, {second, receipts.Proven{Index: 301, Outcome: schemas.EntryHeld, Hold: schemas.HoldLowered}}} {
		_, got, err := receipts.Await(t.Context(), http.DefaultClient, url, c.receipt, time.Second, policy, v)
		if err != nil {
			t.Fatal(err)
		}
		if got.Index != c.want.Index || got.Outcome != c.want.Outcome || got.Hold != c.want.Hold {
			t.Errorf("%s: %+v, want %+v", c.receipt.Unit, got, c.want)
		}
	}
}

func TestAProofIsOfItsReceiptAlone(t *testing.T) {
	p := newPublication(t)
	url := serve(t, p, ticking())
	_, v := key(t, origin)
	_, stranger := key(t, "other.example.org/test")
	l, r := p.entry(schemas.EntryCounted, "", "oak.1", "one")
	other, _ := p.entry(schemas.EntryCounted, "", "oak.2", "two")
	p.add(l, other)
	bundle, err := receipts.Fetch(t.Context(), http.DefaultClient, url, r)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*schemas.Receipt){
		"unit":     func(r *schemas.Receipt) { r.Unit = "oak.2" },
		"revision": func(r *schemas.Receipt) { r.Revision = 2 },
		"body":     func(r *schemas.Receipt) { r.Digest[0]++ },
		"election": func(r *schemas.Receipt) { r.Origin += "2" },
	} {
		changed := *r
		change(&changed)
		if _, err := receipts.Check(bundle, &changed, &log.Policy{}, v); !errors.Is(err, receipts.ErrOther) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := receipts.Check(bundle, r, &log.Policy{}, stranger); !errors.Is(err, log.ErrUnsigned) {
		t.Errorf("another log's key: %v", err)
	}
	for at := range bundle {
		broken := bytes.Clone(bundle)
		broken[at] ^= 1
		if _, err := receipts.Check(broken, r, &log.Policy{}, v); err == nil {
			t.Errorf("byte %d may be anything", at)
		}
	}
}

func TestALogThatBreaksItsPromiseIsNotProven(t *testing.T) {
	p := newPublication(t)
	url := serve(t, p, ticking())
	l, r := p.entry(schemas.EntryCounted, "", "oak.1", "one")
	p.add(l)
	if _, err := receipts.Fetch(t.Context(), http.DefaultClient, url, r); err != nil {
		t.Fatal(err)
	}
	fork := newPublication(t)
	another, hidden := fork.entry(schemas.EntryCounted, "", "oak.2", "two")
	more, _ := fork.entry(schemas.EntryCounted, "", "oak.3", "three")
	fork.add(another, more)
	p.mu.Lock()
	p.objects = fork.objects
	p.mu.Unlock()
	res, err := http.Get(url + fmt.Sprintf("/v1/receipts/oak.2/1/%s", hidden.Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the server answered %s", res.Status)
	}
}

func TestWhatIsNoReceiptIsRefusedWithAProblem(t *testing.T) {
	url := serve(t, newPublication(t), time.Now)
	for _, path := range []string{"oak.1/0/" + strings.Repeat("0", 64), "oak.1/1/abc", "-/1/" + strings.Repeat("0", 64), "oak.1/x/" + strings.Repeat("0", 64)} {
		res, err := http.Get(url + "/v1/receipts/" + path)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusBadRequest || res.Header.Get("Content-Type") != schemas.ProblemMediaTypeName {
			t.Errorf("%s: %s of %s", path, res.Status, res.Header.Get("Content-Type"))
		}
		res.Body.Close()
	}
}
