package receipts

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

const (
	// lookEvery is the least time between two looks for a newer checkpoint.
	lookEvery = time.Second
	// answersAtOnce bounds the bundles of leaves in memory: about 1.3 MB each.
	answersAtOnce = 16
	// patience bounds one answer. A log that is read for the first time may take
	// several: what was read stays.
	patience = 10 * time.Second
)

// Config of a Server. What has no default must be set.
type Config struct {
	Bucket log.Tiles // what is published
	// Key is the log's, named as its origin; nil: the one that the bucket's
	// configuration names. Who gets a proof checks it with a key of their own.
	Key    note.Verifier
	Now    func() time.Time
	Logger *slog.Logger
}

// Server answers receipts with proofs out of a published log, which it reads
// when the first receipt is asked for, and goes on reading when others are. It
// remembers 24 bytes a submission and some for the map. Any number of them may
// serve one log; they hold no secret.
type Server struct {
	cfg    Config
	places chan struct{} // answers that are being made

	turn chan struct{} // held by whoever reads the log; it guards what follows
	seen time.Time     // last look
	next int64         // first leaf that is not in the index

	mu         sync.RWMutex // guards what follows; written by the holder of turn
	index      map[[16]byte]int64
	checkpoint []byte
	reader     *log.Reader // of the checkpoint's tree
}

// NewServer reads nothing yet.
func NewServer(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{
		cfg: cfg, places: make(chan struct{}, answersAtOnce), turn: make(chan struct{}, 1), index: map[[16]byte]int64{},
		reader: log.NewReader(cfg.Bucket, tlog.Tree{Hash: log.EmptyRoot()}),
	}
}

// Register adds GET /v1/receipts/{unit}/{revision}/{sha256} to mux.
func (s *Server) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/receipts/{unit}/{revision}/{sha256}", s.serve)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	want, err := asked(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, schemas.ProblemMalformed, "want unit, revision and SHA-256 of a receipt", err)
		return
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, schemas.ProblemBusy, "Too many proofs are asked for at once.", nil)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	bundle, err := s.Prove(ctx, want.unit, want.revision, want.digest)
	switch {
	case errors.Is(err, ErrNotYet):
		w.Header().Set("Cache-Control", "no-store")
		refuse(w, http.StatusNotFound, schemas.ProblemNotFound, "The log does not have this submission, or not yet.", nil)
	case err != nil:
		s.cfg.Logger.WarnContext(ctx, "a proof was not made", "unit", want.unit, "err", err)
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, schemas.ProblemUnavailable, "The log cannot be read now.", nil)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=3600") // it stays true
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = w.Write(bundle) // whoever went away asks again
	}
}

func asked(r *http.Request) (want submission, err error) {
	if want.unit, err = schemas.ParseUnitID(r.PathValue("unit")); err != nil {
		return want, err
	}
	if want.revision, err = schemas.ParseRevision(r.PathValue("revision")); err != nil {
		return want, err
	}
	want.digest, err = schemas.ParseDigest(r.PathValue("sha256"))
	return want, err
}

// refuse answers with a problem (RFC 9457).
func refuse(w http.ResponseWriter, status int, code schemas.ProblemCode, title string, why error) {
	p := schemas.Problem{Type: code.URI(), Title: title, Status: status}
	if why != nil {
		p.Detail = why.Error()
	}
	b, err := json.Marshal(p)
	if err != nil {
		http.Error(w, title, status)
		return
	}
	w.Header().Set("Content-Type", schemas.ProblemMediaTypeName)
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// Prove makes the bundle of a submission, with its leaf as extra data.
// ErrNotYet if the log, as far as it is published, does not have it.
func (s *Server) Prove(ctx context.Context, unit schemas.UnitID, revision schemas.Revision, digest schemas.Digest) ([]byte, error) {
	key := keyOf(submission{unit, revision, digest})
	at, reader, checkpoint, ok := s.find(key)
	if !ok {
		if err := s.look(ctx); err != nil {
			return nil, err
		}
		if at, reader, checkpoint, ok = s.find(key); !ok {
			return nil, ErrNotYet
		}
	}
	p, err := log.MakeProof(ctx, reader, at, checkpoint)
	if err != nil {
		return nil, err
	}
	if p.Extra, err = reader.Leaf(ctx, at); err != nil {
		return nil, err
	}
	return p.Append(nil), nil
}

func (s *Server) find(key [16]byte) (at int64, r *log.Reader, checkpoint []byte, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, ok = s.index[key]
	return at, s.reader, s.checkpoint, ok
}

// keyOf shortens what is remembered. Two submissions that share a key would
// get each other's proof, which Check refuses; nobody can make such a pair.
func keyOf(x submission) [16]byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%s", x.unit, x.revision, x.digest))
	return [16]byte(sum[:])
}

// look reads what the log has gained. Concurrent callers wait for one reading.
func (s *Server) look(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for the log to be read: %w", ctx.Err())
	}
	if s.next == s.reader.Tree().N { // else the last look was cut short
		if s.cfg.Now().Sub(s.seen) < lookEvery {
			return nil
		}
		if err := s.advance(ctx); err != nil {
			return err
		}
	}
	for entry, err := range s.reader.Entries(ctx, s.next) {
		if err != nil {
			return err
		}
		l, err := leaf.Decode(entry.Leaf)
		if err != nil {
			return fmt.Errorf("leaf %d: %w", entry.Index, err)
		}
		if x, ok := of(l); ok {
			s.mu.Lock()
			s.index[keyOf(x)] = entry.Index
			s.mu.Unlock()
		}
		s.next = entry.Index + 1
	}
	return nil
}

// key is the one that checkpoints must be signed by.
func (s *Server) key(ctx context.Context) (note.Verifier, error) {
	if s.cfg.Key != nil {
		return s.cfg.Key, nil
	}
	b, err := s.cfg.Bucket.Get(ctx, settingsKey)
	if err != nil {
		return nil, fmt.Errorf("reading the log's key: %w", err)
	}
	key, err := keyOfSite(b)
	if err != nil {
		return nil, fmt.Errorf("%s of the bucket: %w", settingsKey, err)
	}
	return note.NewVerifier(key)
}

// advance moves on to the newest checkpoint, if it continues the one before.
func (s *Server) advance(ctx context.Context) error {
	b, err := s.cfg.Bucket.Get(ctx, log.CheckpointKey)
	if err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	key, err := s.key(ctx)
	if err != nil {
		return err
	}
	c, _, err := log.OpenCheckpoint(b, key)
	if err != nil {
		return err
	}
	s.seen = s.cfg.Now()
	before := s.reader.Tree()
	if c.Tree.N < before.N {
		return nil // an old copy
	}
	reader := log.NewReader(s.cfg.Bucket, c.Tree)
	proof, err := reader.Consistency(ctx, before.N)
	if err == nil {
		err = log.CheckConsistency(proof, before, c.Tree)
	}
	if err != nil {
		return fmt.Errorf("the log does not continue what it was: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reader, s.checkpoint = reader, b
	return nil
}
