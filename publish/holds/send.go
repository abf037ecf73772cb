package holds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"tallystream/ingest/client"
	"tallystream/schemas"
)

// sendFlags are those of sending a release.
type sendFlags struct {
	URL        string        `help:"Address of the submission service." required:"" env:"TALLYSTREAM_INGEST_URL"`
	ReceiptKey string        `help:"Verifier key of receipts. Default: what the service says it is." env:"TALLYSTREAM_RECEIPT_KEY"`
	Receipt    string        `help:"File for the receipt; - saves none. Default: UNIT-REVISION.release-receipt." placeholder:"FILE"`
	Attempts   int           `help:"How often to try." default:"10"`
	Timeout    time.Duration `help:"How long to try, and to wait, in all." default:"5m"`
	Wait       bool          `help:"Wait until the ledger says what became of it."`
	JSON       bool          `name:"json" help:"Answer in JSON."`
}

// SendCommand is `tallystream holds send`.
type SendCommand struct {
	sendFlags
	File string `arg:"" help:"The release that two supervisors signed." type:"existingfile"`
}

// Run sends the release.
func (c *SendCommand) Run(ctx context.Context) error { return c.run(ctx, standard()) }

func (c *SendCommand) run(ctx context.Context, t *terminal) error {
	b, _, err := readRelease(c.File)
	if err != nil {
		return err
	}
	return c.send(ctx, t, b)
}

// sent is what --json prints.
type sent struct {
	Outcome  string           `json:"outcome"` // receipt, refused, gave-up
	Unit     schemas.UnitID   `json:"unit"`
	Revision schemas.Revision `json:"revision"`
	Digest   schemas.Digest   `json:"sha256"`
	Attempts int              `json:"attempts,omitempty"`
	Receipt  string           `json:"receipt,omitempty"`
	Saved    string           `json:"saved,omitempty"`
	Became   string           `json:"became,omitempty"` // with --wait
	Problem  *schemas.Problem `json:"problem,omitempty"`
	Error    string           `json:"error,omitempty"`
}

// send sends a signed release until it is answered, keeps the receipt and, if
// asked, waits for the ledger.
func (f *sendFlags) send(ctx context.Context, t *terminal, release []byte) error {
	var l schemas.Release
	if err := l.Parse(release); err != nil {
		return exit{err, exitUsage}
	}
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	sender, err := f.client(ctx, t)
	if err != nil {
		return err
	}
	o := sent{Unit: schemas.UnitID(l.Unit), Revision: l.Revision, Digest: l.Digest}
	receipt, err := sender.SendRelease(ctx, release)
	if err != nil {
		return errors.Join(o.failed(err), f.print(t, &o))
	}
	o.Outcome, o.Attempts, o.Receipt = "receipt", receipt.Attempts, string(receipt.Note)
	saved, result := f.save(&o, receipt.Note)
	o.Saved = saved
	if result == nil && f.Wait {
		o.Became, result = await(ctx, sender, &o)
	}
	return errors.Join(result, f.print(t, &o))
}

func (f *sendFlags) client(ctx context.Context, t *terminal) (*client.Client, error) {
	sender, err := client.Open(ctx, f.URL, f.ReceiptKey, f.Attempts, t.err)
	if _, unknown := errors.AsType[*client.KeyUnknownError](err); unknown {
		return nil, exit{err, exitGaveUp}
	}
	if err != nil {
		return nil, exit{err, exitUsage}
	}
	return sender, nil
}

// failed notes why there is no receipt.
func (o *sent) failed(err error) error {
	o.Error = err.Error()
	if refused, ok := err.(*client.RefusedError); ok { // final: not inside a GaveUpError
		o.Outcome, o.Problem = "refused", &refused.Problem
		return exit{err, exitRefused}
	}
	o.Outcome = "gave-up"
	if gaveUp, ok := errors.AsType[*client.GaveUpError](err); ok {
		o.Attempts = gaveUp.Attempts
	}
	return exit{err, exitGaveUp}
}

// save keeps the receipt in a file, unless told not to.
func (f *sendFlags) save(o *sent, receipt []byte) (string, error) {
	path := f.Receipt
	switch path {
	case "-":
		return "", nil
	case "":
		path = fmt.Sprintf("%s-%s.release-receipt", o.Unit, o.Revision)
	}
	if err := os.WriteFile(path, receipt, 0o644); err != nil {
		return "", exit{fmt.Errorf("the release is received, but its receipt could not be saved: %w", err), exitUsage}
	}
	return path, nil
}

func (f *sendFlags) print(t *terminal, o *sent) error {
	if f.JSON {
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		return e.Encode(o)
	}
	if o.Receipt == "" {
		return nil
	}
	fmt.Fprintf(t.out, "The release of %s revision %s is received and durable. Its receipt:\n\n%s", o.Unit, o.Revision, o.Receipt)
	if o.Saved != "" {
		fmt.Fprintf(t.out, "\nSaved in %s.\n", o.Saved)
	}
	if o.Became != "" {
		fmt.Fprintf(t.out, "The ledger says: %s.\n", o.Became)
	}
	return nil
}

// askEvery is how often the ledger is asked.
const askEvery = time.Second

// await asks the ledger until it says what became of the release. An error
// says that it did not release anything.
func await(ctx context.Context, c *client.Client, o *sent) (became string, err error) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		states, err := c.States(ctx, o.Unit)
		if err == nil {
			if became = o.becameOf(states); became != "" {
				return became, verdict(became)
			}
		}
		select {
		case <-ctx.Done():
			return "", exit{fmt.Errorf("received, but the ledger did not say what became of it: %w", errors.Join(ctx.Err(), err)), exitUnreleased}
		case <-tick.C:
		}
	}
}

// becameOf is what the states say of the hold: empty as long as they say
// nothing that lasts. A release of nothing may be an earlier one's, so a hold
// beside it is waited for. Of a hidden unit no hash is told: its hold is that of
// the revision.
func (o *sent) becameOf(states []schemas.SubmissionState) (became string) {
	for i := range states {
		s := &states[i]
		if s.Revision != o.Revision || s.Digest != o.Digest && !s.Digest.IsZero() {
			continue
		}
		switch {
		case s.Hold == schemas.HoldRelease:
			became = string(schemas.HoldRelease)
		case s.Hold == "" || !s.Hold.Releasable():
		case s.State == string(schemas.EntryHeld):
			return ""
		default:
			return s.State
		}
	}
	return became
}

// verdict is nil if the held numbers count, or did.
func verdict(became string) error {
	switch became {
	case string(schemas.EntryReleased), string(schemas.EntrySuperseded):
		return nil
	case string(schemas.EntryLapsed):
		return exit{errors.New("it lapsed: a later revision counts"), exitUnreleased}
	}
	return exit{fmt.Errorf("nothing was released: %s", became), exitUnreleased}
}
