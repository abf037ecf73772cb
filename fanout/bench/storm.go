package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"tallystream/schemas"
	"tallystream/simulator/viewers"
)

// stormCommand is `bench storm`.
type stormCommand struct {
	Connections int           `help:"How many." default:"200000"`
	PerServer   int           `help:"Connections of one server process at most." default:"19000"`
	Bytes       int           `help:"Size of a delta." default:"576"`
	Every       time.Duration `help:"Time between deltas, from the calm on. One a second to 200,000 is more than two cores can deliver." default:"10s"`
	Calm        time.Duration `help:"How long is looked at before the storm." default:"10s"`
	Spread      time.Duration `help:"Time within which viewers knock again: 250ms is the client's own first wait." default:"250ms"`
	InFlight    int           `help:"Handshakes of a process at a time." default:"256"`
	Patience    time.Duration `help:"How long connections are waited for." default:"5m"`
	Force       bool          `help:"Try though a limit is too low."`
	JSON        bool          `help:"Write JSON to standard output."`
}

// stormReport is what the run printed.
type stormReport struct {
	Connections int `json:"connections"`
	Servers     int `json:"servers"`

	Dropped     uint64  `json:"dropped"`
	BackSeconds float64 `json:"back_seconds"` // from the cut until all were back
	Missing     uint64  `json:"missing"`
	// Failures are attempts that were repeated, Lost are connections that ended
	// in the storm beside those that were cut.
	Failures map[string]uint64 `json:"failures"`
	Lost     map[string]uint64 `json:"lost"`
	Gaps     uint64            `json:"gaps"`
	Behind   uint64            `json:"behind"` // at the end

	Frames    uint64 `json:"frames"`
	Different uint64 `json:"different_frames"` // by process of viewers, added up
	Snaps     uint64 `json:"snaps"`

	CalmSeconds  float64           `json:"calm_seconds"`
	CalmReads    uint64            `json:"calm_bucket_reads"`
	StormReads   uint64            `json:"storm_bucket_reads"`
	Latency      viewers.Quantiles `json:"latency"` // of deltas while they came back
	ServerCPU    float64           `json:"server_cpu_seconds"`
	ClientCPU    float64           `json:"client_cpu_seconds"`
	ServerBytes  uint64            `json:"server_resident_bytes"`
	RegularReads float64           `json:"regular_bucket_reads"` // by the clock, at most
}

// Run exits with an error if anybody was lost, refused or left behind, or if
// nodes read the bucket more often than by the clock.
func (c *stormCommand) Run(ctx context.Context) error {
	if c.Connections < 1 || c.PerServer < 1 {
		return errors.New("connections and connections of a server want numbers above 0")
	}
	if err := checkLimits(c.Connections, c.PerServer, c.Force); err != nil {
		return err
	}
	r, err := c.play(ctx)
	if r == nil {
		return err
	}
	return errors.Join(err, show(os.Stdout, r, c.JSON), r.verdict())
}

// storm is one run.
type storm struct {
	measurement
	flags  *stormCommand
	report *stormReport
	next   time.Time // delta
}

func (c *stormCommand) play(ctx context.Context) (_ *stormReport, err error) {
	self, err := crowdCommand()
	if err != nil {
		return nil, err
	}
	n := (c.Connections + c.PerServer - 1) / c.PerServer
	s := &storm{flags: c, report: &stormReport{Connections: c.Connections, Servers: n}}
	if s.servers, err = startServers(n, setup{Kind: stormKind, Bytes: c.Bytes}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.endBoth()) }()
	plan := &viewers.Plan{
		Targets: s.servers.targets(), Viewers: c.Connections, Documents: []schemas.DocumentID{document},
		InFlight: c.InFlight, Seed: uint64(time.Now().UnixNano()), Handshake: c.Patience,
	}
	plan.Sources = viewers.Sources(plan.Targets, len(plan.Split(1)))
	if s.crew, err = viewers.Start(context.WithoutCancel(ctx), plan.Split(1), self); err != nil {
		return nil, err
	}
	if _, err := s.until(ctx, "connected", c.Patience, func(t viewers.Counts) bool { return t.Open == t.Viewers }); err != nil {
		return nil, err
	}
	if err := s.strike(ctx); err != nil {
		return nil, err
	}
	return s.report, nil
}

const stormKind = "epoll"

// until publishes now and then, if that has begun, and shows how far viewers are, until done says
// so. Whether that was in time is told.
func (s *storm) until(ctx context.Context, word string, patience time.Duration, done func(viewers.Counts) bool) (bool, error) {
	begun, shown := time.Now(), time.Time{}
	for {
		if now := time.Now(); !s.next.IsZero() && now.After(s.next) {
			s.next = now.Add(s.flags.Every)
			if _, err := s.servers.do("publish"); err != nil {
				return false, err
			}
		}
		t, err := s.crew.Counts(ctx)
		if err != nil {
			return false, err
		}
		finished := done(t)
		if finished || time.Since(shown) > time.Second {
			shown = time.Now()
			fmt.Fprintf(os.Stderr, "%6.1f s  %d %s\n", time.Since(begun).Seconds(), t.Open, word)
		}
		if finished || time.Since(begun) > patience {
			return finished, nil
		}
		select {
		case <-ctx.Done():
			return false, errors.New("interrupted")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// strike looks at the calm, cuts everybody off and waits until they are back.
func (s *storm) strike(ctx context.Context) error {
	r := s.report
	s.next = time.Now() // deltas begin
	reads, err := s.servers.do("reads")
	if err != nil {
		return err
	}
	begun := time.Now()
	if _, err := s.until(ctx, "in the calm", s.flags.Calm, func(viewers.Counts) bool { return false }); err != nil {
		return err
	}
	r.CalmSeconds = time.Since(begun).Seconds()
	calm, err := s.servers.do("reads")
	if err != nil {
		return err
	}
	read := time.Now()
	r.CalmReads = calm.Reads - reads.Reads
	before, err := s.crew.Tally(ctx)
	if err != nil {
		return err
	}
	server, err := s.servers.usage()
	if err != nil {
		return err
	}
	client, err := viewers.ProcessesUsage(s.crew.Processes()...)
	if err != nil {
		return err
	}
	begun = time.Now()
	if err := s.crew.Storm(ctx, 1, s.flags.Spread); err != nil {
		return err
	}
	if _, err := s.until(ctx, "are back", s.flags.Patience, func(t viewers.Counts) bool { return t.Missing == 0 && t.Open == t.Viewers }); err != nil {
		return err
	}
	r.BackSeconds = time.Since(begun).Seconds()
	now, err := s.servers.do("reads")
	if err != nil {
		return err
	}
	r.StormReads, r.RegularReads = now.Reads-calm.Reads, regularReads(r.Servers, time.Since(read))
	return s.account(ctx, before, server, client)
}

// regularReads is how often so many nodes read the bucket, at most, if they go by
// the clock: a look each time, and one more that began before.
func regularReads(servers int, passed time.Duration) float64 {
	return float64(servers) * (passed.Seconds()/bucketEvery.Seconds() + 1)
}

func (s *storm) account(ctx context.Context, before *viewers.Tally, server, client viewers.Usage) error {
	r := s.report
	after, err := s.crew.Settle(ctx, max(settlePatience, s.flags.Patience/5))
	if err != nil {
		return err
	}
	d := after.Since(before)
	r.Dropped, r.Missing, r.Failures, r.Lost, r.Gaps, r.Behind = d.Dropped, after.Missing, d.Failures, d.Lost, d.Gaps, after.Behind
	r.Frames, r.Different, r.Snaps, r.Latency = d.Frames, d.Different, d.Snaps, d.Latency.Quantiles()
	serverNow, err := s.servers.usage()
	if err != nil {
		return err
	}
	clientNow, err := viewers.ProcessesUsage(s.crew.Processes()...)
	if err != nil {
		return err
	}
	r.ServerCPU, r.ClientCPU, r.ServerBytes = serverNow.CPUSeconds-server.CPUSeconds, clientNow.CPUSeconds-client.CPUSeconds, serverNow.Resident
	return nil
}

// verdict says what was wrong, if anything was.
func (r *stormReport) verdict() error {
	switch {
	case r.Missing > 0 || r.Behind > 0 || r.Gaps > 0 || r.Dropped < uint64(r.Connections):
		return errors.New("not everybody is back, or at the newest version")
	case len(r.Failures) > 0 || len(r.Lost) > 0:
		return errors.New("connections failed")
	case float64(r.StormReads) > r.RegularReads:
		return errors.New("nodes read the bucket more often than by the clock")
	}
	return nil
}

// String is the report for people.
func (r *stormReport) String() string {
	return fmt.Sprintf(`%d connections to %d servers, all cut off at once; all back after %.1f s; missing %d, behind %d, gaps %d
errors %v, lost %v
frames %d, of which %d different, pings aside (by process of viewers); %d snaps
bucket read %d times by the nodes, %.0f at most by the clock; in the calm %d times in %.1f s
deltas meanwhile: latency p50 %.0f ms, p99 %.0f ms; CPU of the servers %.1f s, of the viewers %.1f s; servers %.1f MB resident
`, r.Dropped, r.Servers, r.BackSeconds, r.Missing, r.Behind, r.Gaps, r.Failures, r.Lost, r.Frames, r.Different, r.Snaps,
		r.StormReads, r.RegularReads, r.CalmReads, r.CalmSeconds, r.Latency.P50, r.Latency.P99, r.ServerCPU, r.ClientCPU, float64(r.ServerBytes)/1e6)
}
