// Package ingest takes signed submissions and releases in over HTTP, checks
// them, and gives receipts.
//
// Invariant: a receipt is only sent after Appender.Append has returned for
// exactly the bytes that the receipt names. Whatever is refused leaves no trace
// but a counter.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

// Appender is the stream as ingest sees it.
type Appender interface {
	// Append returns only after record is durable. It keeps record. After an
	// error the record may be durable or not: the client sends it again.
	Append(ctx context.Context, p schemas.Partition, record []byte) (schemas.Checkpoint, error)
}

// States tells what became of a unit's submissions, from the ledger.
type States interface {
	Submissions(ctx context.Context, unit schemas.UnitID) ([]schemas.SubmissionState, error)
}

// Config is what a Server needs. Fields without a default are required.
type Config struct {
	Election *schemas.Election
	Keyring  *schemas.Keyring
	Signer   note.Signer // signs receipts; deterministic (Ed25519)
	// Verifier is the verifier key of Signer, published at /v1/key so that
	// clients can check receipts. Empty: not published.
	Verifier string
	Stream   Appender
	States   States
	// Keys is the keys that may sign now; nil while that is not known, and then
	// nothing is taken. Default: those of Keyring, for good.
	Keys func() *schemas.Keyring
	// Busy reports whether an error of Stream.Append means that the stream is
	// full for the moment: 503 busy. Any other error is 503 unavailable.
	// Default: none does.
	Busy func(error) bool
	// Behind returns how far the ledger is behind the stream. It is asked for
	// every submission: an atomic load, not a query. Default: never.
	Behind  func() Lag
	Limits  Limits // zero fields take their defaults
	Metrics *Metrics
	Logger  *slog.Logger     // default: discards
	Now     func() time.Time // default: time.Now
}

// Server is the submission API. It is safe for concurrent use.
type Server struct {
	cfg      Config
	peers    *peers    // connections and failures by address
	budgets  *budgets  // accepted submissions by key
	gate     *gate     // closed while the ledger is too far behind
	memory   *memory   // the last durable submission of each unit
	desks    sync.Pool // of *desk
	draining atomic.Bool
	warned   atomic.Int64 // second of the last warning, since 1970
}

// New checks cfg and returns a Server.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Election == nil, cfg.Keyring == nil, cfg.Signer == nil, cfg.Stream == nil, cfg.States == nil, cfg.Metrics == nil:
		return nil, errors.New("ingest: election, keyring, signer, stream, states and metrics are required")
	}
	if cfg.Keys == nil {
		cfg.Keys = func() *schemas.Keyring { return cfg.Keyring }
	}
	if cfg.Busy == nil {
		cfg.Busy = func(error) bool { return false }
	}
	if cfg.Behind == nil {
		cfg.Behind = func() Lag { return Lag{} }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if err := cfg.Limits.validate(); err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	s := &Server{
		cfg:     cfg,
		peers:   newPeers(cfg.Limits, cfg.Metrics, cfg.Now),
		budgets: newBudgets(cfg.Limits, cfg.Now),
		gate:    newGate(cfg.Limits, cfg.Behind),
		memory:  newMemory(len(cfg.Election.Units)),
	}
	s.desks.New = func() any { return new(desk) }
	cfg.Metrics.watch(cfg.Behind)
	return s, nil
}

// Ready says why the server should get no new work now, or nil.
func (s *Server) Ready() error {
	if s.draining.Load() {
		return errors.New("ingest: draining")
	}
	if lag := s.cfg.Behind(); !lag.within(&s.cfg.Limits) {
		return fmt.Errorf("ingest: the ledger is %d records or %s behind the stream, more than %d or %s",
			lag.Records, lag.Age.Round(time.Second), s.cfg.Limits.MaxBehind, s.cfg.Limits.MaxAge)
	}
	return nil
}

// Paths of the API.
const (
	SubmissionsPath = "/v1/submissions"
	ReleasesPath    = "/v1/releases"
	KeyPath         = "/v1/key"
)

// Handler returns the API without the limits that belong to connections,
// which Serve adds.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.route) }

// route is a switch instead of a ServeMux: there are four routes, the first
// of them is hot, and every other answer must be a problem too.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case path == SubmissionsPath:
		if r.Method != http.MethodPost {
			s.refuse(w, r, wrongMethod("POST"))
			return
		}
		s.receive(w, r)
	case len(path) > len(SubmissionsPath) && path[:len(SubmissionsPath)+1] == SubmissionsPath+"/":
		s.read(w, r, func() { s.unitStates(w, r, path[len(SubmissionsPath)+1:]) })
	case path == ReleasesPath:
		if r.Method != http.MethodPost {
			s.refuse(w, r, wrongMethod("POST"))
			return
		}
		s.receiveRelease(w, r)
	case path == KeyPath && s.cfg.Verifier != "":
		s.read(w, r, func() { s.key(w) })
	default:
		s.refuse(w, r, &refusal{code: schemas.ProblemNotFound, detail: "The paths are " + SubmissionsPath + ", " + SubmissionsPath + "/{unit}, " + ReleasesPath + " and " + KeyPath + "."})
	}
}

// read runs answer for GET and HEAD and refuses other methods.
func (s *Server) read(w http.ResponseWriter, r *http.Request, answer func()) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.refuse(w, r, wrongMethod("GET, HEAD"))
		return
	}
	answer()
}
