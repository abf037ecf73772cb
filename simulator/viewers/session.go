package viewers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"time"
)

// session is one load from its first connection to its report.
type session struct {
	plans    []*Plan
	targets  []string
	viewers  int
	ramp     float64
	hold     time.Duration
	patience time.Duration

	storms []time.Duration
	share  float64
	spread time.Duration

	server func(context.Context) (Usage, error) // nil: not asked for
	self   func() *exec.Cmd                     // nil: viewers live in this process
	out    io.Writer

	crew  *Crew
	shown *display
	begun time.Time
	all   time.Time // when all were there, or not waited for any more

	unread error // why the servers' account is not known to the end

	usage [3]sides // at the beginning, when all were there, at the end
	held  *Tally   // when all were there
	storm []StormReport
}

// sides are what both sides used until then.
type sides struct{ client, server Usage }

// serverUsage reads what servers used, from their metrics pages or from /proc.
func serverUsage(pages []string, pids []int) func(context.Context) (Usage, error) {
	if len(pages)+len(pids) == 0 {
		return nil
	}
	client := &http.Client{CheckRedirect: stay}
	return func(ctx context.Context) (Usage, error) {
		sum, err := ProcessesUsage(pids...)
		if err != nil {
			return sum, err
		}
		for _, page := range pages {
			u, err := scrapeUsage(ctx, client, page)
			if err != nil {
				return sum, err
			}
			sum = sum.plus(u)
		}
		return sum, nil
	}
}

// run connects, holds, storms, settles and reports. Ctrl-C shortens it; an
// error is one of this side.
func (s *session) run(ctx context.Context) (_ *Report, err error) {
	// What is said to processes and servers outlives Ctrl-C.
	lasting := context.WithoutCancel(ctx)
	if s.server != nil {
		if s.usage[0].server, err = s.server(lasting); err != nil {
			return nil, usageError{err}
		}
	}
	s.begun, s.shown = time.Now(), newDisplay(s.out)
	if s.crew, err = Start(lasting, s.plans, s.self); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.crew.Close()) }()
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	s.all = time.Now()
	if s.held, err = s.crew.Tally(lasting); err != nil {
		return nil, err
	}
	if err := s.account(lasting, 1); err != nil {
		return nil, err
	}
	nobody := s.held.Open == 0 && s.held.Connects == 0
	if !nobody {
		if err := s.stay(ctx); err != nil {
			return nil, err
		}
	}
	patience := s.patience
	if nobody || ctx.Err() != nil {
		patience = min(patience, shortPatience)
	}
	end := time.Now()
	t, err := s.crew.Settle(lasting, patience)
	if err != nil {
		return nil, err
	}
	if err := s.account(lasting, 2); err != nil {
		return nil, err
	}
	return s.report(t, end, ctx.Err() != nil), nil
}

// shortPatience is how long the last deltas are waited for after Ctrl-C, or where
// nobody came.
const shortPatience = 2 * time.Second

func (s *session) account(ctx context.Context, at int) (err error) {
	if s.usage[at].client, err = s.crew.Usage(); err != nil && len(s.crew.Processes()) > 0 {
		return err
	}
	s.usage[at].server = s.served(ctx)
	return nil
}

// served is what the servers used until now. One that is so full that it cannot
// say so does not end the run: that is what it was made to find out.
func (s *session) served(ctx context.Context) Usage {
	if s.server == nil || s.unread != nil {
		return Usage{}
	}
	u, err := s.server(ctx)
	s.unread = err
	return u
}

// connect waits until all are there, or no longer.
func (s *session) connect(ctx context.Context) error {
	most := s.patience
	if s.ramp > 0 {
		most += time.Duration(float64(s.viewers) / s.ramp * float64(time.Second))
	} else {
		most += time.Duration(s.viewers) * slowConnect
	}
	_, err := s.watch(ctx, s.begun.Add(most), func(t *Tally) bool { return t.Open == t.Viewers })
	return err
}

// slowConnect bounds the wait where no ramp says how long it takes.
const slowConnect = time.Millisecond

// stay holds all connections, with storms.
func (s *session) stay(ctx context.Context) error {
	for _, at := range slices.Sorted(slices.Values(s.storms)) {
		if at > s.hold {
			break
		}
		if _, err := s.watch(ctx, s.all.Add(at), nil); err != nil || ctx.Err() != nil {
			return err
		}
		if err := s.strike(ctx); err != nil {
			return err
		}
	}
	_, err := s.watch(ctx, s.all.Add(s.hold), nil)
	return err
}

// strike is one storm, until all are back.
func (s *session) strike(ctx context.Context) error {
	lasting := context.WithoutCancel(ctx)
	before, err := s.crew.Tally(lasting)
	if err != nil {
		return err
	}
	r := StormReport{AtSeconds: time.Since(s.all).Seconds(), SpreadSeconds: s.spread.Seconds()}
	used := s.served(lasting)
	begun := time.Now()
	if err := s.crew.Storm(lasting, s.share, s.spread); err != nil {
		return err
	}
	back, err := s.watch(ctx, begun.Add(s.spread+s.patience), func(t *Tally) bool { return t.Missing == 0 })
	if err != nil {
		return err
	}
	r.BackSeconds = time.Since(begun).Seconds()
	d := back.Since(before)
	r.Dropped, r.Missing, r.Failures, r.GapsMeanwhile, r.CaughtUp, r.SnapsMeanwhile = d.Dropped, back.Missing, d.Failures, d.Gaps, d.CaughtUp, d.Snaps
	if now := s.served(lasting); s.unread == nil {
		r.ServerCPU = now.CPUSeconds - used.CPUSeconds
	}
	s.storm = append(s.storm, r)
	return nil
}

// watch shows progress until done says so, the time is over or ctx ends.
func (s *session) watch(ctx context.Context, until time.Time, done func(*Tally) bool) (*Tally, error) {
	for {
		t, err := s.crew.Tally(context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		s.shown.show(moment{time.Since(s.begun), t, len(s.plans), time.Until(s.all.Add(s.hold)), !s.all.IsZero()})
		if done != nil && done(t) || !time.Now().Before(until) || ctx.Err() != nil {
			return t, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(s.crew.pollEvery(), max(time.Until(until), 0))):
		}
	}
}

func (s *session) report(t *Tally, end time.Time, interrupted bool) *Report {
	d, held := t.Since(s.held), end.Sub(s.all)
	r := &Report{
		Targets: s.targets, Processes: len(s.plans), Problems: problems(t, interrupted && s.held.Open < s.held.Viewers), Interrupted: interrupted,
		ConnectSeconds: s.all.Sub(s.begun).Seconds(), HoldSeconds: held.Seconds(), ConnectsPerSecond: perSecond(s.held.Connects, s.all.Sub(s.begun)),
		Counts: t.Counts, Failures: t.Failures, Lost: t.Lost, Byes: t.Byes,
		Connect: t.Connect.Quantiles(), Latency: d.Latency.Quantiles(), RoundTrip: t.RoundTrip.Quantiles(),
		DeliveriesPerSecond: perSecond(d.Deliveries, held), Storms: s.storm,
		Client: costOf(s.usage[0].client, s.usage[1].client, s.usage[2].client, d.Deliveries, t.Viewers),
	}
	for _, storm := range s.storm {
		if storm.Missing > 0 {
			r.Problems = append(r.Problems, fmt.Sprintf("%s viewers were not back %.0f s after a storm", grouped(storm.Missing), storm.BackSeconds))
		}
	}
	switch {
	case s.unread != nil:
		r.ServerUnread = s.unread.Error()
	case s.server != nil:
		server := costOf(s.usage[0].server, s.usage[1].server, s.usage[2].server, d.Deliveries, t.Viewers)
		r.Server = &server
	}
	r.Good = len(r.Problems) == 0
	return r
}
