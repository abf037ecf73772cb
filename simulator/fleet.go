package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"tallystream/schemas"
	"tallystream/simulator/script"
)

// Pace says when events are sent: as the script's clock times Factor says, or
// at a constant rate, or (both zero) as fast as answers come.
type Pace struct {
	Factor float64 // seconds of the script a second
	Rate   float64 // events a second
}

// due is when event number i of the script is sent, after the start.
func (p Pace) due(i int, offset time.Duration) time.Duration {
	switch {
	case p.Rate > 0:
		return time.Duration(float64(i) / p.Rate * float64(time.Second))
	case p.Factor > 0:
		return time.Duration(float64(offset) / p.Factor)
	}
	return 0
}

// receiptSample is how many receipts go by for each whose signature is
// verified. All are compared word for word; a verification costs as much as
// everything else that a client does.
const receiptSample = 64

// fleet is all clients of a rehearsal: each holds one connection and sends the
// events of its share of the units, one after another.
type fleet struct {
	script   *script.Script
	election *schemas.Election
	addr     string // host:port of ingest
	clients  int
	pace     Pace
	receipts note.Verifier
	tracker  *tracker

	sent, accepted, duplicate, refused, retries atomic.Uint64

	receiptTimes histogram

	mu         sync.Mutex // guards below
	problems   map[string]int
	mismatches []string
}

// run sends the whole script, beginning at start. It returns early only with
// ctx.
func (f *fleet) run(ctx context.Context, start time.Time) error {
	f.problems = map[string]int{}
	g, ctx := errgroup.WithContext(ctx)
	for i := range f.clients {
		g.Go(func() error { return f.client(ctx, i, start) })
	}
	return g.Wait()
}

// client sends one share.
func (f *fleet) client(ctx context.Context, share int, start time.Time) error {
	c := &client{fleet: f, sender: sender{addr: f.addr}}
	defer c.sender.close()
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	for i, event := range f.script.Shard(share, f.clients) {
		if wait := time.Until(start.Add(f.pace.due(i, event.Offset))); f.pace != (Pace{}) && wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := c.send(ctx, event); err != nil {
			return err
		}
	}
	return nil
}

// client is one connection and its buffers.
type client struct {
	fleet    *fleet
	sender   sender
	envelope []byte
	text     []byte
	received uint64
}

func (c *client) send(ctx context.Context, event script.Event) error {
	f := c.fleet
	var err error
	if c.envelope, err = f.script.Envelope(event, c.envelope[:0]); err != nil {
		return fmt.Errorf("making a submission: %w", err)
	}
	var retries uint64
	begun := time.Now()
	a, err := c.sender.deliver(ctx, c.envelope, &retries)
	if err != nil {
		return err
	}
	now := time.Now()
	f.sent.Add(1)
	f.retries.Add(retries)
	f.receiptTimes.add(now.Sub(begun))
	want := event.Outcome()
	switch {
	case a.status == 200 && want.Problem == "":
		return c.accept(event, a.body, now)
	case a.status != 200 && want.Problem != "":
		f.refused.Add(1)
		return f.refusal(event, want, a)
	default:
		f.mismatch("unit %s revision %d (%s): ingest answers %d %s", f.election.Units[event.Unit].ID, event.Revision, event.Kind, a.status, firstLine(a.body))
	}
	return nil
}

// accept checks the receipt against what was sent.
func (c *client) accept(event script.Event, receipt []byte, now time.Time) error {
	f := c.fleet
	if event.Duplicate {
		f.duplicate.Add(1)
	} else {
		f.accepted.Add(1)
		f.tracker.receipt(now)
	}
	var err error
	if c.text, err = c.receiptText(); err != nil {
		return fmt.Errorf("reading what was sent: %w", err)
	}
	if !bytes.HasPrefix(receipt, c.text) {
		f.mismatch("unit %s revision %d: the receipt is for something else", f.election.Units[event.Unit].ID, event.Revision)
		return nil
	}
	if c.received++; c.received%receiptSample == 1 {
		if err := f.open(receipt, schemas.IsRelease(c.envelope)); err != nil {
			f.mismatch("unit %s revision %d: %v", f.election.Units[event.Unit].ID, event.Revision, err)
		}
	}
	return nil
}

// open checks the signature of a receipt.
func (f *fleet) open(receipt []byte, ofRelease bool) (err error) {
	if ofRelease {
		_, err = schemas.OpenReleaseReceipt(receipt, f.receipts)
	} else {
		_, err = schemas.OpenReceipt(receipt, f.receipts)
	}
	return err
}

// receiptText makes the text that the receipt for what was sent must have.
func (c *client) receiptText() ([]byte, error) {
	origin := c.fleet.election.Definition.Origin
	if !schemas.IsRelease(c.envelope) {
		return appendReceiptText(c.text[:0], origin, c.envelope), nil
	}
	var l schemas.Release
	if err := l.Parse(c.envelope); err != nil {
		return nil, err
	}
	r := schemas.ReleaseReceipt{Origin: origin, Unit: schemas.UnitID(l.Unit), Revision: l.Revision, Digest: l.Digest}
	return append(r.AppendText(c.text[:0]), '\n'), nil
}

// appendReceiptText makes the text that a receipt for an envelope has, from the
// envelope's own lines: origin, unit, revision, length, SHA-256.
func appendReceiptText(dst []byte, origin string, envelope []byte) []byte {
	var line [5][]byte
	for i := range line {
		line[i], envelope, _ = bytes.Cut(envelope, []byte{'\n'})
	}
	dst = append(dst, origin...)
	dst = append(dst, "/receipt/v1\n"...)
	for _, l := range [][]byte{line[1], line[2], line[4]} {
		dst = append(append(dst, l...), '\n')
	}
	return append(dst, '\n')
}

// refusal checks that ingest refused for the right reason.
func (f *fleet) refusal(event script.Event, want script.Outcome, a answer) error {
	var p schemas.Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		f.mismatch("unit %s revision %d (%s): a refusal that is no problem document: %v", f.election.Units[event.Unit].ID, event.Revision, event.Kind, err)
		return nil
	}
	if p.Type != want.Problem.URI() {
		f.mismatch("unit %s revision %d (%s): refused as %s, want %s", f.election.Units[event.Unit].ID, event.Revision, event.Kind, p.Type, want.Problem.URI())
	}
	f.mu.Lock()
	f.problems[string(want.Problem)]++
	f.mu.Unlock()
	return nil
}

func (f *fleet) mismatch(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.mismatches) < mostMismatches {
		f.mismatches = append(f.mismatches, fmt.Sprintf(format, args...))
	}
}

func firstLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b, []byte{'\n'})
	return line[:min(len(line), 200)]
}
