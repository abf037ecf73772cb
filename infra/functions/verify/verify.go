// Package verify checks each new snapshot from public files, as anybody could:
// the Lambda function `verify`.
//
// Invariant: an invocation ends without error only if everything that is
// published at that moment was verified, by this run or one before it. So the
// function's error metric is the alarm, and a run that could not tell is none
// that found nothing.
package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"tallystream/publish/verify"
	"tallystream/schemas"
)

// Version names the bytes of a saved state, so that two runs cannot undo each other.
type Version string

// Errors of States that the handler decides on.
var (
	ErrNone  = errors.New("no state is saved yet")
	ErrMoved = errors.New("another run saved a state meanwhile")
)

// States keep what the last run verified.
type States interface {
	// Load reads the state; ErrNone if there is none.
	Load(context.Context) ([]byte, Version, error)
	// Save replaces the version that was loaded ("" for none), or fails with ErrMoved.
	Save(ctx context.Context, state []byte, replaces Version) error
}

// How an invocation ends that did not verify.
var (
	ErrFailed     = errors.New("what is published does not verify")
	ErrUnfinished = errors.New("not everything could be verified in time")
)

const (
	// confirmations are how often a failure must be found to be told: a cache
	// that is a second behind looks like one, and published bytes do not change.
	confirmations = 3
	// between two of them a cache's copy of `latest` and checkpoint grows old.
	betweenTries = 7 * time.Second
	// saveTime is kept back of an invocation's time, to save what was verified.
	saveTime = 45 * time.Second
)

// Handler verifies. It serves one invocation at a time, as Lambda calls it.
type Handler struct {
	Source verify.Source
	Key    string // verifier key (name+hash+key) that the checkpoint must be signed by
	// Election is what must be published there; "": any.
	Election schemas.ElectionID
	States   States
	Log      *slog.Logger
	Now      func() time.Time
	Sleep    func(context.Context, time.Duration) error
}

// Result is what an invocation says; on success Lambda hands it to notify.
type Result struct {
	Election schemas.ElectionID     `json:"election,omitempty"`
	Snapshot schemas.SnapshotNumber `json:"snapshot"`
	Leaves   int64                  `json:"leaves,omitempty"`
	// Before says that an earlier run verified the snapshot that this one was called for.
	Before bool   `json:"before,omitempty"`
	News   []News `json:"news,omitempty"`
}

// Handle takes an event of S3, or anything else as a wish to verify now.
func (h *Handler) Handle(ctx context.Context, event json.RawMessage) (*Result, error) {
	asked, err := h.askedFor(event)
	if err != nil {
		return nil, err
	}
	saved, state, err := h.load(ctx)
	if err != nil {
		return nil, err
	}
	if asked != 0 && state != nil && state.Compared >= asked {
		h.Log.InfoContext(ctx, "verified before", "snapshot", asked, "newest", state.Compared)
		return &Result{Snapshot: state.Compared, Before: true}, nil
	}
	report, next, err := h.insist(ctx, state)
	if err != nil {
		return nil, err
	}
	if err := h.save(ctx, next, saved); err != nil {
		return nil, err
	}
	if report.Verdict != verify.Verified {
		return nil, fmt.Errorf("%w: %d of %d leaves are; the next run goes on there", ErrUnfinished, next.Frontier.Size, report.Leaves)
	}
	return &Result{Election: report.Election, Snapshot: report.Snapshot, Leaves: report.Leaves, News: newsOf(state, next, report.Snapshot)}, nil
}

// askedFor is the newest snapshot that an event of S3 speaks of; 0 for any other
// event: a person, or the clock.
func (h *Handler) askedFor(event json.RawMessage) (newest schemas.SnapshotNumber, err error) {
	if len(event) == 0 {
		return 0, nil
	}
	var e events.S3Event
	if err := json.Unmarshal(event, &e); err != nil {
		return 0, fmt.Errorf("reading the event: %w: want one of the bucket's notifications, or {}", err)
	}
	for i, r := range e.Records {
		key, err := url.QueryUnescape(r.S3.Object.Key)
		digits, ok := strings.CutPrefix(key, "snapshots/")
		n, wrong := strconv.ParseUint(digits, 10, 63)
		if err != nil || !ok || wrong != nil || schemas.SnapshotKey(schemas.SnapshotNumber(n)) != key {
			return 0, fmt.Errorf("reading the event: record %d is of the object %q, want snapshots/ and nine digits: look at the bucket's notifications", i, clip(r.S3.Object.Key))
		}
		newest = max(newest, schemas.SnapshotNumber(n))
	}
	return newest, nil
}

func clip(s string) string { return s[:min(len(s), 100)] }

// load reads the state. One of another election is an error like a damaged one:
// to begin anew unasked would forget what a publisher could roll back.
func (h *Handler) load(ctx context.Context) (Version, *verify.State, error) {
	b, version, err := h.States.Load(ctx)
	if errors.Is(err, ErrNone) {
		h.Log.WarnContext(ctx, "no state is saved: everything is verified from the first leaf on")
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("loading what was verified before: %w", err)
	}
	state, err := verify.DecodeState(b, "the saved object")
	return version, state, err
}

// save keeps the state. If another run has saved one meanwhile, that one stays:
// what this run has verified the next one verifies again.
func (h *Handler) save(ctx context.Context, st *verify.State, replaces Version) error {
	b, err := st.Encode()
	if err != nil {
		return err
	}
	err = h.States.Save(ctx, b, replaces)
	if errors.Is(err, ErrMoved) {
		h.Log.InfoContext(ctx, "another run saved its state first")
		return nil
	}
	if err != nil {
		return fmt.Errorf("saving what was verified: %w", err)
	}
	return nil
}

// insist verifies until that works, fails for certain, or time is up.
func (h *Handler) insist(ctx context.Context, st *verify.State) (*verify.Report, *verify.State, error) {
	failed := 0
	for {
		report, next, err := verify.Run(ctx, verify.Options{Source: h.Source, Key: h.Key, State: st, Pause: func() bool { return h.late(ctx) }})
		if err != nil {
			return nil, nil, err
		}
		h.tell(ctx, report)
		if h.Election != "" && report.Election != "" && report.Election != h.Election {
			return nil, nil, fmt.Errorf("%w: it is the election %s, want %s", ErrFailed, report.Election, h.Election)
		}
		if next != nil {
			return report, next, nil
		}
		if report.Verdict == verify.Failed {
			if f, ok := h.Source.(interface{ Forget() }); ok {
				f.Forget() // what is wrong may be what was read, not what is there
			}
			if failed++; failed == confirmations {
				return nil, nil, fmt.Errorf("%w: %d findings, the first: %s", ErrFailed, report.Found, &report.Findings[0])
			}
		}
		if h.late(ctx) {
			return nil, nil, fmt.Errorf("%w: %s", ErrUnfinished, why(report))
		}
		if err := h.Sleep(ctx, betweenTries); err != nil {
			return nil, nil, err
		}
	}
}

func why(r *verify.Report) string {
	if r.Found > 0 {
		return r.Findings[0].String()
	}
	return strings.Join(r.Unchecked, "; ")
}

// late says that the invocation should come to its end.
func (h *Handler) late(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ok && end.Sub(h.Now()) < saveTime
}

func (h *Handler) tell(ctx context.Context, r *verify.Report) {
	h.Log.InfoContext(ctx, "verification", "verdict", r.Verdict, "snapshot", r.Snapshot, "leaves", r.Leaves, "resumed", r.Resumed,
		"documents", r.Documents, "files", r.Files, "seconds", r.Seconds)
	for i := range r.Findings {
		h.Log.ErrorContext(ctx, "wrong", "finding", r.Findings[i].String())
	}
	for _, s := range r.Unchecked {
		h.Log.WarnContext(ctx, "not checked", "what", s)
	}
}
