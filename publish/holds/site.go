package holds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/publish/receipts"
	"tallystream/publish/verify"
	"tallystream/schemas"
)

// site is what is published, at a URL or in a directory.
type site struct {
	location string
	source   verify.Source
	key      note.Verifier // of snapshots and of the log
	origin   string
	snapshot *schemas.Snapshot
}

// settingsKey is where a site names its key.
const settingsKey = "config.json"

// askFor bounds one answer of a server of proofs.
const askFor = 15 * time.Second

// openSite reads the newest snapshot and checks its signature by key; empty:
// the one that the site names, which told then reports.
func openSite(ctx context.Context, location, key string, told func(key string)) (*site, error) {
	source, err := verify.Open(location)
	if err != nil {
		return nil, err
	}
	s := &site{location: location, source: source}
	if key == "" {
		if key, err = s.namedKey(ctx); err != nil {
			return nil, err
		}
		told(key)
	}
	if s.key, err = note.NewVerifier(key); err != nil {
		return nil, fmt.Errorf("the results' key: %w", err)
	}
	b, err := source.Get(ctx, schemas.LatestKey)
	if err != nil {
		return nil, err
	}
	if s.snapshot, err = schemas.OpenSnapshot(b, s.key); err != nil {
		return nil, err
	}
	s.origin = s.snapshot.Origin
	return s, nil
}

func (s *site) namedKey(ctx context.Context) (string, error) {
	b, err := s.source.Get(ctx, settingsKey)
	if err != nil {
		return "", fmt.Errorf("finding the results' key: %w", err)
	}
	var settings struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(b, &settings); err != nil || settings.Key == "" {
		return "", fmt.Errorf("finding the results' key: %s names none", settingsKey)
	}
	return settings.Key, nil
}

// content gets an object that something signed names by its hash.
func (s *site) content(ctx context.Context, key string, want schemas.Digest) ([]byte, error) {
	b, err := s.source.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if schemas.DigestOf(b) != want {
		return nil, fmt.Errorf("%s does not have the hash that the snapshot leads to", key)
	}
	return b, nil
}

// holds reads what is and was held, as of the newest snapshot.
func (s *site) holds(ctx context.Context) ([]schemas.HeldEntry, error) {
	b, err := s.content(ctx, schemas.ContentKey("manifests", s.snapshot.Manifest, ".ndjson"), s.snapshot.Manifest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	manifest, err := schemas.ParseManifest(b)
	if err != nil {
		return nil, err
	}
	for i := range manifest {
		if manifest[i].Name != schemas.HoldsName {
			continue
		}
		if b, err = s.content(ctx, manifest[i].Key, manifest[i].Hash); err != nil {
			return nil, fmt.Errorf("reading the holds: %w", err)
		}
		return parseHolds(b)
	}
	return nil, fmt.Errorf("snapshot %d lists no %s", s.snapshot.Number, schemas.HoldsName)
}

func parseHolds(b []byte) (out []schemas.HeldEntry, err error) {
	for line := range bytes.Lines(b) {
		h, err := schemas.ParseHeldEntry(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(out)+1, err)
		}
		out = append(out, *h)
	}
	return out, nil
}

// numbers reads the body of a hold out of the public log, with its proof.
func (s *site) numbers(ctx context.Context, h *schemas.HeldEntry) (*schemas.Submission, schemas.Digest, error) {
	receipt := &schemas.Receipt{Origin: s.origin, Unit: h.Unit, Revision: h.Revision, Digest: h.Digest}
	bundle, err := s.bundle(ctx, receipt)
	if err != nil {
		return nil, h.Digest, err
	}
	if _, err := receipts.Check(bundle, receipt, &log.Policy{}, s.key); err != nil {
		return nil, h.Digest, err
	}
	proof, err := log.ParseProof(bundle)
	if err != nil {
		return nil, h.Digest, err
	}
	l, err := leaf.Decode(proof.Extra)
	if err != nil {
		return nil, h.Digest, err
	}
	hold, ok := l.(*leaf.Hold)
	if !ok {
		return nil, h.Digest, errors.New("its leaf of the log is no hold")
	}
	return numbersOf(hold.Record)
}

// numbers reads the body of a hold of a hidden unit from the file that its office
// kept. That it is what is held, the ledger finds: it releases what has this hash
// or nothing.
func (f *statementFlags) numbers(_ context.Context, h *schemas.HeldEntry) (body *schemas.Submission, digest schemas.Digest, err error) {
	if f.Submission == "" {
		return nil, digest, fmt.Errorf("those of %s are hidden from the public: give the submission that is held with --submission", h.Unit)
	}
	b, err := os.ReadFile(f.Submission)
	if err != nil {
		return nil, digest, err
	}
	if body, digest, err = numbersOf(b); err != nil { // the body alone, then
		digest, body = schemas.DigestOf(b), new(schemas.Submission)
		if e := body.Decode(b); e != nil {
			return nil, digest, fmt.Errorf("%s is neither a signed submission (%w) nor the body of one (%w)", f.Submission, err, e)
		}
	}
	if string(body.Unit) != string(h.Unit) || body.Revision != h.Revision {
		return nil, digest, fmt.Errorf("%s is of %s, revision %s", f.Submission, body.Unit, body.Revision)
	}
	return body, digest, nil
}

// numbersOf takes a signed submission apart.
func numbersOf(record []byte) (*schemas.Submission, schemas.Digest, error) {
	var v schemas.Envelope
	if err := v.Parse(record); err != nil {
		return nil, schemas.Digest{}, fmt.Errorf("its record: %w", err)
	}
	body := new(schemas.Submission)
	if err := body.Decode(v.Body); err != nil {
		return nil, v.Digest, fmt.Errorf("its body: %w", err)
	}
	return body, v.Digest, nil
}

// bundle asks the site's server of proofs, or makes the proof out of a
// directory's log.
func (s *site) bundle(ctx context.Context, r *schemas.Receipt) ([]byte, error) {
	if strings.Contains(s.location, "://") {
		return receipts.Fetch(ctx, &http.Client{Timeout: askFor}, s.location, r)
	}
	server := receipts.NewServer(receipts.Config{Bucket: s.source, Key: s.key, Logger: slog.New(slog.DiscardHandler)})
	return server.Prove(ctx, r.Unit, r.Revision, r.Digest)
}
