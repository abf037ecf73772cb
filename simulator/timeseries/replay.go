package timeseries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"tallystream/publish/verify"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/simulator"
	"tallystream/simulator/elections"
)

// ReplayConfig says how a series is replayed.
type ReplayConfig struct {
	Series *Series
	Seed   uint64 // of the rehearsal keys
	Data   string // directory for stream, ledger and keys; empty or new
	Bucket string // directory for what is published; likewise
	Listen string // address of the pages
	// Factor is how many seconds of the series pass in one; 0: as fast as answers
	// come.
	Factor float64
	// Every is after how many moments a snapshot with all of them is awaited. With
	// 1 each moment is seen by itself; after moments with a decrease it is awaited in
	// any case.
	Every int
	// Copies lets supervisors release what was sent twice, too, when everything
	// else is done: what a sum says that nobody looked at.
	Copies bool
	Out    io.Writer
	Logger *slog.Logger
}

// Report is how a replay went.
type Report struct {
	Statements  int             `json:"statements"`
	Moments     int             `json:"moments"`
	Replayed    Standing        `json:"replayed"`        // when the series had ended
	Ended       Standing        `json:"ended"`           // when supervisors had decided
	Twice       *Standing       `json:"twice,omitempty"` // when they had released copies, too
	Movements   Movements       `json:"movements"`       // up to the end
	Falls       int             `json:"falls"`           // of them, those before supervisors decided
	Holds       *HoldTable      `json:"holds"`
	Releases    int             `json:"releases"`
	Corrections int             `json:"corrections"`
	Copies      int             `json:"copies"` // statements that stay held
	Mismatches  []string        `json:"mismatches"`
	Verdict     verify.Verdict  `json:"verdict"`
	Seconds     float64         `json:"seconds"`
	Moved       []MovementCount `json:"moved"`
}

// Standing is the published line of the whole election.
type Standing struct {
	Snapshot  schemas.SnapshotNumber        `json:"snapshot"`
	Reporting int64                         `json:"reporting"`
	Votes     map[schemas.SelectionID]int64 `json:"votes"`
}

// MovementCount counts entries that lowered a number, by kind and reason.
type MovementCount struct {
	Kind   schemas.MovementKind `json:"kind"`
	Reason string               `json:"reason"`
	Count  int                  `json:"count"`
}

// replay is one run.
type replay struct {
	ReplayConfig
	night     *simulator.Night
	officials *officials
	public    *public
	script    *script
	decided   int // numbers that fell because supervisors decided
	begun     time.Time
	report    Report
}

const (
	snapshotPoll = 20 * time.Millisecond
	// stallAfter is how long a snapshot may take before the replay is given up.
	stallAfter = 2 * time.Minute
)

// Replay plays the series, lets supervisors decide, and holds what is published
// against the series. Its error says that the pipeline failed; what does not agree
// is in the report.
func Replay(ctx context.Context, c ReplayConfig) (*Report, error) {
	r := &replay{ReplayConfig: c, script: newScript(c.Series), begun: time.Now(), report: Report{Mismatches: []string{}}}
	keys, err := r.start(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.play(ctx, keys), r.night.Close()); err != nil {
		return nil, err
	}
	r.report.Seconds = time.Since(r.begun).Seconds()
	return &r.report, r.verify(ctx)
}

// start writes the election and starts the pipeline.
func (r *replay) start(ctx context.Context) (*elections.Keys, error) {
	e := r.Series.Election
	keys, err := elections.NewKeys(e, r.Seed)
	if err != nil {
		return nil, err
	}
	data := service.Data{Dir: r.Data}
	if err := data.Create(r.Series.Definition, keys.Roster()); err != nil {
		return nil, err
	}
	for _, s := range []string{"ingest", "publish"} {
		if err := data.NewKey(s, e.Definition.Origin); err != nil {
			return nil, err
		}
	}
	// Services outlive the signal: what is at hand is finished first.
	r.night, err = simulator.StartNight(context.WithoutCancel(ctx), simulator.NightOptions{
		Data: data, Bucket: r.Bucket, Listen: r.Listen, Eager: true, Logger: r.Logger,
	})
	return keys, err
}

func (r *replay) play(ctx context.Context, keys *elections.Keys) (err error) {
	e := r.Series.Election
	r.public = &public{election: e, bucket: r.night.Objects(), verifier: r.night.Snapshots()}
	if r.officials, err = newOfficials(e, keys, r.night.IngestURL(), r.night.Receipts()); err != nil {
		return err
	}
	defer r.officials.close()
	d := e.Definition
	fmt.Fprintf(r.Out, "%s: %d changes at %d times, %d statements of %d units in %d counties\nPages    %s\n", d.Name, r.Series.Changes, len(r.Series.Moments),
		r.Series.Statements(), len(d.Units), len(d.Counties), r.night.PublicURL())
	if err := r.moments(ctx); err != nil {
		return err
	}
	r.report.Replayed, r.report.Falls = r.standing(), r.public.Seen.Fell-r.decided
	if err := r.settle(ctx); err != nil {
		return err
	}
	r.report.Ended = r.standing()
	r.report.Holds = tabulate(r.Series, r.public.holds)
	r.report.Moved = r.moved()
	r.compare()
	if r.Copies {
		if err := r.countCopies(ctx); err != nil {
			return fmt.Errorf("counting copies: %w", err)
		}
	}
	if err := r.night.Finish(ctx, r.officials.sent); err != nil {
		return fmt.Errorf("closing the replay: %w", err)
	}
	if err := r.public.follow(ctx); err != nil {
		return err
	}
	r.report.Movements = r.public.Seen
	for _, w := range r.public.Seen.Wrong {
		r.mismatch("%s", w)
	}
	return nil
}

// moments sends everything, in the order of time.
func (r *replay) moments(ctx context.Context) error {
	cuts := newRounds(r.Series.Election)
	all := r.Series.Moments
	for i := range all {
		m := &all[i]
		if err := r.wait(ctx, m.At.Sub(all[0].At)); err != nil {
			return err
		}
		if err := r.settleBefore(ctx, m); err != nil {
			return err
		}
		for _, round := range cuts.cut(m.Statements) {
			if err := r.officials.report(ctx, round); err != nil {
				return fmt.Errorf("replaying %s: %w", m.At.Format(time.RFC3339), err)
			}
		}
		r.report.Moments++
		r.report.Statements += len(m.Statements)
		if i+1 < len(all) && !m.fell() && (i+1)%max(r.Every, 1) != 0 {
			continue
		}
		if err := r.published(ctx); err != nil {
			return fmt.Errorf("replaying %s: %w", m.At.Format(time.RFC3339), err)
		}
		r.progress(m)
	}
	return nil
}

func (m *Moment) fell() bool {
	for i := range m.Statements {
		if m.Statements[i].Fell > 0 {
			return true
		}
	}
	return false
}

// wait until it is time, where the replay has a pace.
func (r *replay) wait(ctx context.Context, offset time.Duration) error {
	if r.Factor <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Until(r.begun.Add(time.Duration(float64(offset) / r.Factor))))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// published waits until a snapshot has everything that has a receipt, and looks
// at each up to it.
func (r *replay) published(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stallAfter)
	defer cancel()
	tick := time.NewTicker(snapshotPoll)
	defer tick.Stop()
	for {
		s, err := r.public.newest(ctx)
		if err == nil && s.Entries() >= r.officials.sent {
			return r.public.follow(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a snapshot with %d entries: %w", r.officials.sent, ctx.Err())
		}
	}
}

func (r *replay) progress(m *Moment) {
	s := r.public.snapshot
	fmt.Fprintf(r.Out, "%s  %3d/%d  %6d sent  %5d held  snapshot %4s  %s\n", m.At.Format("2006-01-02 15:04Z"), r.report.Moments, len(r.Series.Moments),
		r.report.Statements, s.Held, s.Number, r.standing())
}

// settleBefore lets the supervisors of a county decide before it comes a second
// time.
func (r *replay) settleBefore(ctx context.Context, m *Moment) error {
	if !slices.ContainsFunc(m.Statements, func(st Statement) bool { return st.Revision == 1 && r.script.isCopy(st.Unit) }) {
		return nil
	}
	if err := r.published(ctx); err != nil {
		return err
	}
	fell := r.public.Seen.Fell
	if err := r.carryOut(ctx, r.script.before(m, r.public.open())); err != nil {
		return err
	}
	r.decided += r.public.Seen.Fell - fell
	return nil
}

// settle lets the supervisors of one county after the other decide.
func (r *replay) settle(ctx context.Context) error {
	all, err := r.script.decide(r.public.open())
	if err != nil {
		return err
	}
	return r.carryOut(ctx, all)
}

// carryOut signs and sends what was decided, and waits until it is published.
func (r *replay) carryOut(ctx context.Context, all []decisions) error {
	for i := range all {
		d := &all[i]
		if err := r.officials.release(ctx, d.releases); err != nil {
			return err
		}
		if err := r.officials.correct(ctx, d.corrections); err != nil {
			return err
		}
		if err := r.published(ctx); err != nil {
			return err
		}
		r.report.Releases += len(d.releases)
		r.report.Corrections += len(d.corrections)
		r.report.Copies += d.copies
		fmt.Fprintf(r.Out, "supervisors of %s: %d releases, %d corrections, %d copies stay held  %s\n", d.county, len(d.releases), len(d.corrections), d.copies,
			r.standing())
	}
	return nil
}

// countCopies sends the copies again that were taken back, which are held now
// that everything else stands as it should, and releases all.
func (r *replay) countCopies(ctx context.Context) error {
	if err := r.officials.report(ctx, r.script.again()); err != nil {
		return err
	}
	if err := r.published(ctx); err != nil {
		return err
	}
	if err := r.officials.release(ctx, r.script.copies(r.public.open())); err != nil {
		return err
	}
	if err := r.published(ctx); err != nil {
		return err
	}
	twice := r.standing()
	r.report.Twice = &twice
	return nil
}

// verify reads everything again, as an auditor who has the bucket alone.
func (r *replay) verify(ctx context.Context) error {
	source, err := verify.Open(r.Bucket)
	if err != nil {
		return err
	}
	v, _, err := verify.Run(ctx, verify.Options{Source: source, All: true})
	if err != nil {
		return err
	}
	r.report.Verdict = v.Verdict
	for i := range v.Findings {
		r.report.Mismatches = append(r.report.Mismatches, "verify: "+v.Findings[i].String())
	}
	for _, u := range v.Unchecked {
		r.report.Mismatches = append(r.report.Mismatches, "verify: not checked: "+u)
	}
	return nil
}
