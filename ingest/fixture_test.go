package ingest_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/ingest"
	"tallystream/schemas"
)

// office is an election with its keys.
type office struct {
	election *schemas.Election
	keyring  *schemas.Keyring
	keys     map[string]note.Signer
	receipts note.Verifier
	vkey     string
}

func seededKey(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	private, public, err := note.GenerateKey(bytes.NewReader(seed[:ed25519.SeedSize]), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, public
}

func openOffice(t testing.TB) *office {
	t.Helper()
	b, err := os.ReadFile("../schemas/testdata/good/definition.json")
	if err != nil {
		t.Fatal(err)
	}
	o := &office{keys: map[string]note.Signer{}}
	if o.election, err = schemas.OpenElection(b); err != nil {
		t.Fatal(err)
	}
	roster := schemas.Roster{Schema: schemas.RosterSchema, Election: o.election.Definition.Election}
	for _, k := range []schemas.KeyEntry{
		{Key: "official-leon", Role: schemas.Official, County: "leon"},
		{Key: "official-sumter", Role: schemas.Official, County: "sumter"},
		{Key: "approver", Role: schemas.Approver},
		{Key: "supervisor-1", Role: schemas.Supervisor},
		{Key: "supervisor-2", Role: schemas.Supervisor},
	} {
		name := k.Key
		o.keys[name], k.Key = seededKey(t, name)
		roster.Keys = append(roster.Keys, k)
	}
	o.keys["stranger"], _ = seededKey(t, "stranger")
	if b, err = json.Marshal(roster); err != nil {
		t.Fatal(err)
	}
	if o.keyring, err = schemas.OpenRoster(b, o.election); err != nil {
		t.Fatal(err)
	}
	o.keys["ingest"], o.vkey = seededKey(t, "ingest")
	if o.receipts, err = note.NewVerifier(o.vkey); err != nil {
		t.Fatal(err)
	}
	return o
}

// unitOf looks up a unit that the definition has.
func (o *office) unit(t testing.TB, id schemas.UnitID) schemas.UnitIndex {
	t.Helper()
	u, ok := o.election.Unit(id)
	if !ok {
		t.Fatalf("no unit %s", id)
	}
	return u
}

// body is a plausible statement of leon-1101: 100, 50 and 10 ballots.
func (o *office) body(t testing.TB, revision schemas.Revision) string {
	u := o.unit(t, "leon-1101")
	cells := []schemas.Count{
		1, 100, 50, 10,
		1, 60, 30, 5, 40, 20, 5, // amendment-1
		1, 90, 40, 9, 60, 30, 6, 30, 20, 3, 20, 10, 2, 0, 0, 0, // council, of 2 each
		1, 55, 20, 4, 40, 28, 6, 2, 1, 0, 2, 1, 0, 1, 0, 0, // president
	}
	return string(o.election.AppendBody(nil, u, revision, cells, nil, nil))
}

// seal signs body for leon-1101 as the named keys.
func (o *office) seal(t testing.TB, revision schemas.Revision, body string, names ...string) []byte {
	t.Helper()
	return o.sealFor(t, o.election.Definition.Origin, "leon-1101", revision, body, names...)
}

func (o *office) sealFor(t testing.TB, origin string, unit schemas.UnitID, revision schemas.Revision, body string, names ...string) []byte {
	t.Helper()
	var signers []note.Signer
	for _, n := range names {
		signers = append(signers, o.keys[n])
	}
	b, err := schemas.AppendEnvelope(nil, origin, unit, revision, []byte(body), signers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// strictStream fails the test on an append that is not wanted, and on a record
// that changes after it was appended.
type strictStream struct {
	t       testing.TB
	mu      sync.Mutex
	forbid  bool
	err     error
	hold    chan struct{} // if set, Append waits for it
	entered chan struct{} // if set, gets one value an Append
	records [][]byte
	sums    []schemas.Digest

	partitions []schemas.Partition // of the records
}

func (s *strictStream) Append(ctx context.Context, p schemas.Partition, record []byte) (schemas.Checkpoint, error) {
	if s.entered != nil {
		s.entered <- struct{}{}
	}
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forbid {
		s.t.Errorf("forbidden append of %d bytes", len(record))
	}
	if s.err != nil {
		return 0, s.err
	}
	s.records = append(s.records, record)
	s.sums = append(s.sums, schemas.DigestOf(record))
	s.partitions = append(s.partitions, p)
	return schemas.Checkpoint(len(s.records)), nil
}

func (s *strictStream) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.records {
		if schemas.DigestOf(r) != s.sums[i] {
			s.t.Errorf("record %d changed after it was appended", i)
		}
	}
}

func (s *strictStream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// ledgerStates is a ledger as ingest sees it.
type ledgerStates map[schemas.UnitID][]schemas.SubmissionState

func (l ledgerStates) Submissions(_ context.Context, unit schemas.UnitID) ([]schemas.SubmissionState, error) {
	return slices.Clone(l[unit]), nil
}

type bench struct {
	*office
	stream  *strictStream
	config  ingest.Config
	handler http.Handler
	server  *ingest.Server
}

func newMetrics() *ingest.Metrics { return ingest.NewMetrics(prometheus.NewRegistry()) }

// newBench makes a server over strict fakes; change adapts its configuration.
func newBench(t testing.TB, change func(*ingest.Config)) *bench {
	t.Helper()
	o := openOffice(t)
	b := &bench{office: o, stream: &strictStream{t: t}}
	t.Cleanup(b.stream.check)
	b.config = ingest.Config{
		Election: o.election, Keyring: o.keyring, Signer: o.keys["ingest"], Verifier: o.vkey,
		Stream: b.stream, States: ledgerStates{}, Metrics: newMetrics(),
	}
	if change != nil {
		change(&b.config)
	}
	var err error
	if b.server, err = ingest.New(b.config); err != nil {
		t.Fatal(err)
	}
	b.handler = b.server.Handler()
	return b
}

func (b *bench) post(envelope []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, ingest.SubmissionsPath, bytes.NewReader(envelope))
	r.Header.Set("Content-Type", ingest.MediaType)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// problem checks that w is a problem of the given code and returns it.
func problem(t testing.TB, w *httptest.ResponseRecorder, code schemas.ProblemCode) schemas.Problem {
	t.Helper()
	var p schemas.Problem
	if w.Header().Get("Content-Type") != schemas.ProblemMediaTypeName {
		t.Fatalf("status %d of type %q, want a problem; body %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if p.Code() != code || p.Status != w.Code || w.Code != ingest.StatusOf(code) {
		t.Fatalf("problem %+v with status %d, want %s", p, w.Code, code)
	}
	if p.Title == "" {
		t.Errorf("problem %s has no title", code)
	}
	return p
}

// receipt checks that w is a receipt for envelope.
func (b *bench) receipt(t testing.TB, w *httptest.ResponseRecorder, envelope []byte) string {
	t.Helper()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != ingest.ReceiptMediaType {
		t.Fatalf("status %d, %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	r, err := schemas.OpenReceipt(w.Body.Bytes(), b.receipts)
	if err != nil {
		t.Fatal(err)
	}
	var v schemas.Envelope
	if err := v.Parse(envelope); err != nil {
		t.Fatal(err)
	}
	if r.Digest != v.Digest || r.Revision != v.Revision || string(r.Unit) != string(v.Unit) || r.Origin != string(v.Origin) {
		t.Fatalf("receipt %+v is for something else", r)
	}
	return w.Body.String()
}

func replace(t testing.TB, s, old, new string) string {
	t.Helper()
	if !strings.Contains(s, old) {
		t.Fatalf("%q is not in %s", old, s)
	}
	return strings.Replace(s, old, new, 1)
}
