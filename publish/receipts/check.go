package receipts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// Proven is what a proof says of a submission.
type Proven struct {
	Index   int64 // of its leaf
	Outcome schemas.EntryKind
	Hold    schemas.HoldCode // where it is held
	Verdict *log.Verdict     // of the checkpoint
}

// ErrOther: the bundle proves another submission than the receipt's.
var ErrOther = errors.New("the proof is of another submission")

// Check verifies a bundle against a receipt: that its leaf is of that
// submission, that the log has it, and that the policy accepts the checkpoint.
// Keys of the log that are known besides the policy's may be given.
func Check(bundle []byte, r *schemas.Receipt, policy *log.Policy, logs ...note.Verifier) (*Proven, error) {
	p, err := log.ParseProof(bundle)
	if err != nil {
		return nil, err
	}
	v, err := p.Verify(p.Extra, policy, logs...)
	if err != nil {
		return nil, err
	}
	if v.Checkpoint.Origin != r.Origin {
		return nil, fmt.Errorf("%w: the log is %s", ErrOther, v.Checkpoint.Origin)
	}
	l, err := leaf.Decode(p.Extra)
	if err != nil {
		return nil, err
	}
	is, ok := of(l)
	if !ok || is != (submission{r.Unit, r.Revision, r.Digest}) {
		return nil, ErrOther
	}
	out := &Proven{Index: p.Index, Verdict: v, Outcome: schemas.EntryHeld}
	switch l := l.(type) {
	case *leaf.Submission:
		out.Outcome = l.Outcome
	case *leaf.Hold:
		out.Hold = l.Code
	}
	return out, nil
}

// submission is what a receipt names.
type submission struct {
	unit     schemas.UnitID
	revision schemas.Revision
	digest   schemas.Digest
}

// of finds the submission that a leaf is of; others have none.
func of(l leaf.Leaf) (submission, bool) {
	switch l := l.(type) {
	case *leaf.Submission:
		return submission{l.Unit, l.Revision, l.Envelope.Digest}, true
	case *leaf.Hold:
		if l.Unit != "" {
			return submission{l.Unit, l.Revision, l.Digest}, true
		}
		var v schemas.Envelope // what ingest could read and nobody after it
		if v.Parse(l.Record) == nil {
			return submission{schemas.UnitID(v.Unit), v.Revision, v.Digest}, true
		}
	}
	return submission{}, false
}

// path is where a server has the proof.
func path(s submission) string {
	return fmt.Sprintf("/v1/receipts/%s/%s/%s", url.PathEscape(string(s.unit)), s.revision, s.digest)
}

// ErrNotYet: the server's log does not have the submission so far.
var ErrNotYet = errors.New("the submission is not in the log yet")

// Fetch gets the bundle for a receipt from a server, unchecked.
func Fetch(ctx context.Context, client *http.Client, base string, r *schemas.Receipt) (bundle []byte, err error) {
	at := strings.TrimSuffix(base, "/") + path(submission{r.Unit, r.Revision, r.Digest})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fmt.Errorf("getting a proof: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("getting a proof: %w", err)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusServiceUnavailable:
		return nil, fmt.Errorf("getting a proof: %w", ErrNotYet)
	default:
		return nil, fmt.Errorf("getting a proof: the server answered %s", res.Status)
	}
	if bundle, err = io.ReadAll(io.LimitReader(res.Body, log.MaxProof+1)); err != nil {
		return nil, fmt.Errorf("getting a proof: %w", err)
	}
	return bundle, nil
}

// Await fetches the bundle for a receipt again and again until the log has it or
// ctx ends, and checks it.
func Await(ctx context.Context, client *http.Client, base string, r *schemas.Receipt, every time.Duration, policy *log.Policy, logs ...note.Verifier) ([]byte, *Proven, error) {
	for {
		bundle, err := Fetch(ctx, client, base, r)
		if err == nil {
			proven, err := Check(bundle, r, policy, logs...)
			return bundle, proven, err
		}
		if !errors.Is(err, ErrNotYet) {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(every):
		}
	}
}
