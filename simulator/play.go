package simulator

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

// target is a pipeline that a night is played against: in this process or
// somewhere else.
type target interface {
	IngestAddr() string // host:port
	PublicURL() string
	MediaKey() string // for viewers that get every version; empty: they are the public, who hear once a second
	Objects() objects // what is published
	Receipts() note.Verifier
	Snapshots() note.Verifier
	// Progress is how far the ledger is; false where it cannot be seen.
	Progress() (inLedger, behind uint64, ok bool)
	// Holds counts held submissions by reason; nil where it cannot be seen.
	Holds(ctx context.Context) (map[schemas.HoldCode]int, error)
	// Finish returns when everything is published, CSV included.
	Finish(ctx context.Context, entries uint64) error
}

const (
	snapshotPoll = 50 * time.Millisecond
	// stallAfter is how long nothing may move before the night is given up.
	stallAfter = 5 * time.Minute
	// viewersCatchUp bounds how long viewers may take after the last snapshot.
	viewersCatchUp = 30 * time.Second
)

// performance is one night being played.
type performance struct {
	*drive
	target   target
	fleet    *fleet
	tracker  *tracker
	audience *audience
	started  time.Time
	latest   atomic.Pointer[schemas.Snapshot]
}

// play sends the script, waits until all of it is published, closes the night,
// and reconciles.
func (d *drive) play(ctx context.Context, t target) (*Report, error) {
	p := &performance{drive: d, target: t}
	first, err := p.firstSnapshot(ctx)
	if err != nil {
		return nil, err
	}
	p.tracker = newTracker(first.Entries())
	heapBefore := heapBytes()
	if p.audience, err = d.seat(ctx, t, p); err != nil {
		return nil, err
	}
	defer p.audience.leave()
	p.fleet = &fleet{
		script: d.script, election: d.truth.Election(), addr: t.IngestAddr(), clients: d.flags.Clients, pace: d.pace,
		receipts: t.Receipts(), tracker: p.tracker,
	}
	report := d.newReport()
	cpu := cpuSeconds()
	var profile stageProfile
	profile.start()
	p.started = time.Now()
	if err := p.night(ctx); err != nil {
		return nil, err
	}
	report.Seconds = round(time.Since(p.started).Seconds(), 3)
	report.CPUSeconds = round(cpuSeconds()-cpu, 2)
	stages, err := profile.stop()
	if err != nil {
		return nil, err
	}
	if d.flags.Profile != "" {
		if err := profile.write(d.flags.Profile); err != nil {
			return nil, err
		}
	}
	report.Stages = stageCosts(stages, p.fleet.sent.Load(), report.Calibration)
	heap := heapBytes()
	report.BytesPerUnit = (heap - min(heapBefore, heap)) / uint64(max(report.Units, 1))
	report.PeakRSS = peakRSS()
	if err := p.close(ctx, report); err != nil {
		return nil, err
	}
	return report, p.reconcile(ctx, report)
}

func (d *drive) newReport() *Report {
	e := d.truth.Election()
	return &Report{
		Election: e.Definition.Name, Seed: d.seed, Units: len(e.Units), Contests: d.contests, Warnings: d.warnings,
		Calibration: calibrate(), Mismatches: []string{},
	}
}

// firstSnapshot waits for the pipeline to publish anything at all.
func (p *performance) firstSnapshot(ctx context.Context) (*schemas.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, stallAfter)
	defer cancel()
	for {
		s, err := p.look(ctx)
		if err == nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the first snapshot: %w", err)
		case <-time.After(snapshotPoll):
		}
	}
}

// entriesIn is how many of a log's leaves are ledger entries, as the newest
// snapshot lets one tell: it is a leaf itself, and so are those before it. A
// snapshot that is younger than the last look counts as an entry for a moment.
func (p *performance) entriesIn(n schemas.LogSize) uint64 {
	s := p.latest.Load()
	others := uint64(s.Log) - s.Entries()
	if n > s.Log {
		others++
	}
	return uint64(n) - min(others, uint64(n))
}

// look reads the newest snapshot.
func (p *performance) look(ctx context.Context) (*schemas.Snapshot, error) {
	raw, err := p.target.Objects().Get(ctx, schemas.LatestKey)
	if err != nil {
		return nil, err
	}
	s, err := schemas.OpenSnapshot(raw, p.target.Snapshots())
	if err != nil {
		return nil, err
	}
	p.latest.Store(s)
	return s, nil
}

// night runs the clients and returns when a signed snapshot and the viewers
// have everything that was acknowledged.
func (p *performance) night(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make(chan error, 1)
	go func() {
		sent <- inStage(ctx, "client", func(ctx context.Context) error { return p.fleet.run(ctx, p.started) })
	}()
	display := newDisplay(p.out)
	moved := watchdog{at: time.Now()}
	tick := time.NewTicker(snapshotPoll)
	defer tick.Stop()
	for sending := true; ; {
		select {
		case err := <-sent:
			if err != nil {
				return fmt.Errorf("sending: %w", err)
			}
			sending, sent = false, nil
		case <-tick.C:
		}
		s, err := p.look(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted: %w", ctx.Err())
		case err == nil:
			p.tracker.seenSnapshot(s.Entries(), time.Now())
		}
		m := p.moment(sending)
		display.show(m)
		if !sending && p.latest.Load().Entries() >= p.tracker.entries() {
			return nil
		}
		if moved.stalled(m.sent+m.receipts+m.inLedger+m.published, time.Now()) {
			return fmt.Errorf("nothing has moved for %s: sent %d, receipts %d, in the ledger %d, published %d of %d entries", stallAfter, m.sent, m.receipts,
				m.inLedger, m.published, p.tracker.entries())
		}
	}
}

// watchdog notices when a number stops changing.
type watchdog struct {
	last uint64
	at   time.Time
}

func (w *watchdog) stalled(n uint64, now time.Time) bool {
	if n != w.last {
		w.last, w.at = n, now
	}
	return now.Sub(w.at) > stallAfter
}

func (p *performance) moment(sending bool) moment {
	s := p.latest.Load()
	m := moment{
		elapsed: time.Since(p.started), total: uint64(p.script.Len()), sent: p.fleet.sent.Load(),
		receipts: p.fleet.accepted.Load() + p.fleet.duplicate.Load(), refused: p.fleet.refused.Load(),
		inLedger: s.Entries(), held: s.Held, snapshot: uint64(s.Number), published: s.Entries(),
		viewers: p.flags.Viewers, deltas: p.audience.deltas(), live: p.tracker.liveTimes.quantiles(),
	}
	if in, behind, ok := p.target.Progress(); ok {
		m.inLedger, m.behind = in, behind
	}
	switch {
	case !sending:
		m.left = time.Second
	case p.pace.Factor > 0:
		m.left = max(p.pace.due(0, p.script.Span())-m.elapsed, time.Second)
	}
	return m
}

// close publishes everything once more, with CSV and pages.
func (p *performance) close(ctx context.Context, report *Report) error {
	fmt.Fprintf(p.out, "Closing: CSV files and pages.\n")
	begun := time.Now()
	if err := p.target.Finish(ctx, p.tracker.entries()); err != nil {
		return fmt.Errorf("closing the night: %w", err)
	}
	report.ClosingSeconds = round(time.Since(begun).Seconds(), 3)
	if _, err := p.look(ctx); err != nil {
		return fmt.Errorf("closing the night: %w", err)
	}
	return nil
}

// reconcile holds everything against everything and fills the report in.
func (p *performance) reconcile(ctx context.Context, report *Report) error {
	fmt.Fprintf(p.out, "Reconciling what was published with what was sent.\n")
	r, err := Reconcile(ctx, p.truth.Election(), p.target.Objects(), p.target.Snapshots(), p.sums)
	if err != nil {
		return err
	}
	report.Mismatches = append(report.Mismatches, p.fleet.mismatches...)
	report.Mismatches = append(report.Mismatches, r.Mismatches...)
	report.Checked, report.Snapshots = r.Checked, r.Snapshots
	holds, err := p.target.Holds(ctx)
	if err != nil {
		return err
	}
	report.Submissions = p.submissions(r, holds)
	report.Mismatches = append(report.Mismatches, p.unexpected(report.Submissions, holds)...)
	wait, cancel := context.WithTimeout(ctx, viewersCatchUp)
	defer cancel()
	report.Mismatches = append(report.Mismatches, p.audience.compare(wait, p.target.Objects(), p.latest.Load())...)
	report.Viewers = p.audience.report()
	if n := report.Viewers.HashMismatches; n > 0 {
		report.Mismatches = append(report.Mismatches, fmt.Sprintf("viewers found %d documents with another hash than the delta said", n))
	}
	report.Latency = Latencies{
		Receipt: p.fleet.receiptTimes.quantiles(), Live: p.tracker.liveTimes.quantiles(), Snapshot: p.tracker.snapshotTimes.quantiles(),
	}
	report.SubmissionsPerSecond = round(float64(report.Submissions.Sent)/report.Seconds, 1)
	report.Reconciled = len(report.Mismatches) == 0
	return nil
}

func (p *performance) submissions(r *Reconciliation, holds map[schemas.HoldCode]int) Submissions {
	f := p.fleet
	s := Submissions{
		Sent: f.sent.Load(), Accepted: f.accepted.Load(), Duplicate: f.duplicate.Load(), Refused: f.refused.Load(), Retries: f.retries.Load(),
		Held: r.Held, Counted: r.Accepted, ByProblem: f.problems, ByHold: map[string]int{},
	}
	for code, n := range holds {
		s.ByHold[string(code)] = n
	}
	return s
}

// unexpected compares outcomes with the script's. Every acknowledged
// submission must be an entry of the ledger, counted or held.
func (p *performance) unexpected(s Submissions, holds map[schemas.HoldCode]int) []string {
	x := p.script.Expected()
	var out []string
	check := func(what string, got, want uint64) {
		if got != want {
			out = append(out, fmt.Sprintf("%s: %d, want %d", what, got, want))
		}
	}
	check("submissions sent", s.Sent, uint64(x.Sent))
	check("accepted", s.Accepted, uint64(x.Accepted))
	check("duplicates", s.Duplicate, uint64(x.Duplicate))
	check("refused", s.Refused, uint64(x.Refused))
	check("held", s.Held, uint64(x.Held))
	check("acknowledged submissions in the log", s.Counted+s.Held, uint64(x.Accepted))
	if holds != nil {
		for _, code := range schemas.HoldCodes {
			check("held as "+string(code), uint64(holds[code]), uint64(x.Holds[code]))
		}
	}
	return out
}

// print writes the report for people.
func (r *Report) print(out io.Writer) {
	s := r.Submissions
	fmt.Fprintf(out, "\n%s units, %s contests\n", grouped(r.Units), grouped(r.Contests))
	fmt.Fprintf(out, "sent %s: accepted %s, duplicate %s, refused %s; held %s\n", grouped(s.Sent), grouped(s.Accepted), grouped(s.Duplicate), grouped(s.Refused),
		grouped(s.Held))
	fmt.Fprintf(out, "%.1f s (%.0f submissions/s, CPU %.1f s), closing %.1f s, %s snapshots, peak memory %s MB, %s bytes a unit\n", r.Seconds,
		r.SubmissionsPerSecond, r.CPUSeconds, r.ClosingSeconds, grouped(r.Snapshots), grouped(r.PeakRSS>>20), grouped(r.BytesPerUnit))
	fmt.Fprintf(out, "latency, ms      p50     p99     max\n")
	for _, l := range []struct {
		name string
		q    Quantiles
	}{{"receipt", r.Latency.Receipt}, {"viewer", r.Latency.Live}, {"snapshot", r.Latency.Snapshot}} {
		fmt.Fprintf(out, "  %-10s %7.0f %7.0f %7.0f\n", l.name, l.q.P50, l.q.P99, l.q.Max)
	}
	fmt.Fprintf(out, "%s viewers (%s): %s deltas, %s resyncs, %s hash mismatches\n", grouped(r.Viewers.Count), r.Viewers.Class, grouped(r.Viewers.Deltas), grouped(r.Viewers.Resyncs),
		grouped(r.Viewers.HashMismatches))
	if len(r.Stages) > 0 {
		fmt.Fprintf(out, "CPU us a submission (and in Ed25519 verifications of %.0f us):", r.Calibration.Verify)
		for _, c := range r.Stages {
			fmt.Fprintf(out, "  %s %.0f (%.2f)", c.Stage, c.Micros, c.Verifys)
		}
		fmt.Fprintln(out)
	}
	if r.Reconciled {
		fmt.Fprintf(out, "RECONCILED: %s published sums equal what was sent.\n", grouped(r.Checked))
		return
	}
	fmt.Fprintf(out, "NOT RECONCILED: %d mismatches\n", len(r.Mismatches))
	for _, m := range r.Mismatches {
		fmt.Fprintf(out, "  %s\n", m)
	}
}
