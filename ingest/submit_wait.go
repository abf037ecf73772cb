package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"

	"tallystream/schemas"
)

// Proof is what the public log says of a submission, checked.
type Proof struct {
	Bundle  []byte // C2SP tlog-proof: what to keep
	Index   int64  // of the submission's leaf
	Outcome schemas.EntryKind
	Hold    schemas.HoldCode // where it is held
}

// AwaitProof waits until the public log at results has the submission of a
// receipt, and checks that it has. logKey is the log's verifier key; empty: the
// one that results names. main.go binds it to publish/receipts, which lies
// above.
type AwaitProof func(ctx context.Context, results, logKey string, r *schemas.Receipt) (*Proof, error)

// exitUnproven: received, and not proven to be in the log.
const exitUnproven = 4

// waitFlags are those of waiting for the proof.
type waitFlags struct {
	Wait    bool   `help:"Wait until the public log has the submission, check the proof, and keep it beside the receipt."`
	Results string `help:"Address of the published results, where the log is. Needed with --wait." env:"TALLYSTREAM_RESULTS_URL"`
	LogKey  string `help:"Verifier key of the log. Default: what the results say it is." env:"TALLYSTREAM_LOG_KEY"`
}

var errNoResults = errors.New("--wait needs --results, the address of the published results")

// await gets the proof of a receipt, if that was asked for.
func (c *SubmitCommand) await(ctx context.Context, r *schemas.Receipt) (*Proof, error) {
	if !c.Wait {
		return nil, nil
	}
	p, err := c.proofs(ctx, c.Results, c.LogKey, r)
	if err != nil {
		return nil, &exitError{exitUnproven, fmt.Errorf("received, but not proven to be in the public log: %w", err)}
	}
	return p, nil
}

// saveProof keeps the proof beside the receipt.
func (c *SubmitCommand) saveProof(receipt string, p *Proof) (string, error) {
	if receipt == "" {
		return "", nil
	}
	path := receipt + ".proof"
	if err := os.WriteFile(path, p.Bundle, 0o644); err != nil {
		return "", &exitError{exitUsage, fmt.Errorf("the proof could not be saved: %w", err)}
	}
	return path, nil
}

// become is what became of the submission, in words.
func (p *Proof) become() string {
	if p.Outcome == schemas.EntryHeld {
		return fmt.Sprintf("%s (%s)", p.Outcome, p.Hold.Explanation())
	}
	return string(p.Outcome)
}

// in names a file, if there is one.
func in(path string) string {
	if path == "" {
		return ""
	}
	return ", and saved in " + path
}
