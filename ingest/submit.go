package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/ingest/client"
	"tallystream/schemas"
)

// SubmitCommand is `tallystream submit`: it signs one submission, sends it
// until it is answered, and keeps the receipt.
//
// Exit status: 0 a receipt (and with --wait a proof), 1 refused, 2 cannot be
// sent at all (usage, files, keys), 3 gave up: it may be stored or not, so send
// it again, 4 a receipt, but no proof.
type SubmitCommand struct {
	waitFlags
	proofs AwaitProof

	File             string        `arg:"" help:"The submission's body as JSON, or a unit's results as CSV with the columns contest, selection, count_type, votes." type:"path"`
	URL              string        `help:"Address of the submission service." required:"" env:"TALLYSTREAM_INGEST_URL"`
	Key              string        `help:"File with the private key that signs." required:"" type:"path" env:"TALLYSTREAM_KEY"`
	SecondKey        string        `help:"File with the key of the second who must sign: an approver, or the other supervisor of a correction." type:"path"`
	Definition       string        `help:"File with the election definition. With it the submission is checked before it is sent. Needed for CSV." type:"path"`
	Origin           string        `help:"Origin of the election, where no definition is given."`
	Unit             string        `help:"The reporting unit. Needed for CSV unless the file has one unit only; otherwise it must be the body's."`
	Revision         uint32        `help:"Number of the unit's statement, from 1. Needed for CSV; otherwise it must be the body's."`
	Zeros            bool          `help:"Take counts that the CSV does not list as 0."`
	CorrectionReason string        `help:"Make it a correction, which may lower counts: transcription, equipment, duplicate, recount or court-order. CSV only."`
	CorrectionText   string        `help:"Public explanation of the correction."`
	ReceiptKey       string        `help:"Verifier key of receipts. Default: what the service says it is." env:"TALLYSTREAM_RECEIPT_KEY"`
	Receipt          string        `help:"File for the receipt; - saves none. Default: UNIT-REVISION.receipt."`
	Keep             string        `help:"File for the submission as it is signed and sent. Where the unit's numbers are hidden from the public, supervisors need it if it is held." type:"path" placeholder:"FILE"`
	Attempts         int           `help:"How often to try." default:"10"`
	Timeout          time.Duration `help:"How long to try in all." default:"5m"`
	JSON             bool          `name:"json" help:"Answer in JSON."`
}

// Exit statuses of SubmitCommand.
const (
	exitRefused = 1
	exitUsage   = 2
	exitGaveUp  = 3
)

// exitError carries an exit status; kong hands it to the shell.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *exitError) Unwrap() error { return e.err }

// ExitCode is the exit status.
func (e *exitError) ExitCode() int { return e.status }

// outcome is what --json prints.
type outcome struct {
	Outcome  string           `json:"outcome"` // receipt, refused, gave-up
	Unit     schemas.UnitID   `json:"unit"`
	Revision schemas.Revision `json:"revision"`
	Digest   schemas.Digest   `json:"sha256"`
	Attempts int              `json:"attempts,omitempty"`
	Receipt  string           `json:"receipt,omitempty"`
	Saved    string           `json:"saved,omitempty"`
	Proof    string           `json:"proof,omitempty"` // where it is saved
	Leaf     *int64           `json:"leaf,omitempty"`  // of the public log
	Became   string           `json:"became,omitempty"`
	Hold     schemas.HoldCode `json:"willBeHeld,omitempty"`
	Problem  *schemas.Problem `json:"problem,omitempty"`
	Error    string           `json:"error,omitempty"`
}

// Run sends the submission.
func (c *SubmitCommand) Run(ctx context.Context, proofs AwaitProof) error {
	c.proofs = proofs
	return c.run(ctx, os.Stdout, os.Stderr)
}

func (c *SubmitCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	if c.Wait && c.Results == "" {
		return &exitError{exitUsage, errNoResults}
	}
	d, err := c.draft()
	if field, ok := errors.AsType[*schemas.FieldError](err); ok {
		// What the service would refuse is not sent.
		p := problemOf(refusalOf(field))
		return c.report(stdout, d, nil, nil, &client.RefusedError{Problem: *p})
	}
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if d.hold != "" {
		fmt.Fprintf(stderr, "This will be held, not counted: %s\n", d.hold.Explanation())
	}
	if c.Keep != "" { // before it is sent: what was received must not be lost here
		if err := os.WriteFile(c.Keep, d.envelope, 0o600); err != nil {
			return &exitError{exitUsage, fmt.Errorf("keeping the submission: %w", err)}
		}
	}
	sender, err := c.client(ctx, stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	receipt, err := sender.Send(ctx, d.envelope)
	if err != nil {
		return c.report(stdout, d, nil, nil, err)
	}
	proof, err := c.await(ctx, &receipt.Receipt)
	return errors.Join(c.report(stdout, d, receipt, proof, nil), err)
}

// draft is a submission ready to be sent.
type draft struct {
	unit     schemas.UnitID
	revision schemas.Revision
	body     []byte
	origin   string
	hold     schemas.HoldCode // why it would be held, where that is known
	envelope []byte
}

// draft reads, checks and signs the submission. A *schemas.FieldError says
// what is wrong with its contents; the draft then tells which one it is.
func (c *SubmitCommand) draft() (*draft, error) {
	d := &draft{origin: c.Origin}
	var election *schemas.Election
	if c.Definition != "" {
		b, err := os.ReadFile(c.Definition)
		if err != nil {
			return d, fmt.Errorf("reading the definition: %w", err)
		}
		if election, err = schemas.OpenElection(b); err != nil {
			return d, err
		}
		d.origin = election.Definition.Origin
	}
	if d.origin == "" {
		return d, errors.New("give --definition or --origin")
	}
	signers, err := c.signers()
	if err != nil {
		return d, err
	}
	if err := c.fill(d, election); err != nil {
		return d, err
	}
	d.envelope, err = schemas.AppendEnvelope(nil, d.origin, d.unit, d.revision, d.body, signers...)
	return d, err
}

func (c *SubmitCommand) signers() ([]note.Signer, error) {
	signer, _, err := client.ReadKey(c.Key)
	if err != nil || c.SecondKey == "" {
		return []note.Signer{signer}, err
	}
	second, _, err := client.ReadKey(c.SecondKey)
	return []note.Signer{signer, second}, err
}

// fill reads the body, or makes it from CSV, and checks it.
func (c *SubmitCommand) fill(d *draft, election *schemas.Election) error {
	b, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("reading the submission: %w", err)
	}
	d.body = b
	if strings.EqualFold(filepath.Ext(c.File), ".csv") {
		if election == nil {
			return errors.New("a CSV needs --definition")
		}
		if d.body, err = c.bodyOfCSV(b, election); err != nil {
			return err
		}
	}
	var s schemas.Submission
	if err := s.Decode(d.body); err != nil {
		return err
	}
	d.unit, d.revision = schemas.UnitID(s.Unit), s.Revision
	if c.Unit != "" && c.Unit != string(d.unit) || c.Revision != 0 && schemas.Revision(c.Revision) != d.revision {
		return fmt.Errorf("the body is %s revision %s, not --unit %s --revision %d", d.unit, d.revision, c.Unit, c.Revision)
	}
	if election == nil {
		return nil
	}
	var statement schemas.Statement
	if err := election.Resolve(&s, &statement); err != nil {
		return err
	}
	d.hold = election.Implausible(&statement)
	return nil
}

func (c *SubmitCommand) bodyOfCSV(b []byte, election *schemas.Election) ([]byte, error) {
	if c.Revision == 0 || schemas.Revision(c.Revision) > schemas.MaxRevision {
		return nil, fmt.Errorf("a CSV needs --revision from 1 to %d", schemas.MaxRevision)
	}
	sheet, err := readSheet(b, election, schemas.UnitID(c.Unit), c.Zeros)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.File, err)
	}
	var correction *schemas.Correction
	if c.CorrectionReason != "" || c.CorrectionText != "" {
		correction = &schemas.Correction{Reason: schemas.CorrectionReason(c.CorrectionReason), Text: c.CorrectionText}
	}
	return election.AppendBody(nil, sheet.unit, schemas.Revision(c.Revision), sheet.cells, sheet.types, correction), nil
}

func (c *SubmitCommand) client(ctx context.Context, stderr io.Writer) (*client.Client, error) {
	sender, err := client.Open(ctx, c.URL, c.ReceiptKey, c.Attempts, stderr)
	if _, unknown := errors.AsType[*client.KeyUnknownError](err); unknown {
		return nil, &exitError{exitGaveUp, err}
	}
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return sender, nil
}

// report saves and shows a receipt, and its proof if it has come, or says why
// there is no receipt.
func (c *SubmitCommand) report(stdout io.Writer, d *draft, receipt *client.Receipt, proof *Proof, failed error) error {
	o := outcome{Unit: d.unit, Revision: d.revision, Digest: schemas.DigestOf(d.body), Hold: d.hold}
	var result error
	switch {
	case failed == nil:
		o.Outcome, o.Attempts, o.Receipt = "receipt", receipt.Attempts, string(receipt.Note)
		o.Saved, result = c.save(d, receipt.Note)
		if proof != nil {
			var err error
			o.Proof, err = c.saveProof(o.Saved, proof)
			o.Leaf, o.Became, result = &proof.Index, proof.become(), errors.Join(result, err)
		}
	default:
		o.Error = failed.Error()
		o.Outcome, result = "gave-up", &exitError{exitGaveUp, failed}
		if gaveUp, ok := errors.AsType[*client.GaveUpError](failed); ok {
			o.Attempts = gaveUp.Attempts
		}
		if refused, ok := failed.(*client.RefusedError); ok { // final: not inside a GaveUpError
			o.Outcome, o.Problem, result = "refused", &refused.Problem, &exitError{exitRefused, failed}
		}
	}
	if c.JSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return errors.Join(result, e.Encode(o))
	}
	if failed == nil {
		fmt.Fprintf(stdout, "%s revision %s is received and durable. Its receipt:\n\n%s", d.unit, d.revision, o.Receipt)
		if o.Saved != "" {
			fmt.Fprintf(stdout, "\nSaved in %s.\n", o.Saved)
		}
		if proof != nil {
			fmt.Fprintf(stdout, "It is leaf %d of the public log: %s. The proof is checked%s.\n", proof.Index, o.Became, in(o.Proof))
		}
	}
	return result
}

// save keeps the receipt in a file, unless told not to.
func (c *SubmitCommand) save(d *draft, receipt []byte) (string, error) {
	path := c.Receipt
	switch path {
	case "-":
		return "", nil
	case "":
		path = string(d.unit) + "-" + d.revision.String() + ".receipt"
	}
	if err := os.WriteFile(path, receipt, 0o644); err != nil {
		return "", &exitError{exitUsage, fmt.Errorf("the submission is received, but its receipt could not be saved: %w", err)}
	}
	return path, nil
}
