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

// millionCommand is `bench million`.
type millionCommand struct {
	Connections int           `help:"How many." default:"1000000"`
	Kind        string        `help:"Which server." enum:"write(2),send(2),epoll,portable,gorilla,coder" default:"epoll"`
	Bytes       int           `help:"Size of a delta." default:"576"`
	Deltas      int           `help:"Deltas that each viewer gets." default:"3"`
	Every       time.Duration `help:"Time between them at least; the one before arrives everywhere first." default:"1s"`
	PerServer   int           `help:"Connections of one server process at most." default:"19000"`
	InFlight    int           `help:"Handshakes of a process at a time: more of them are fewer turns of the processors." default:"256"`
	Patience    time.Duration `help:"How long connections, and deliveries, are waited for." default:"10m"`
	Force       bool          `help:"Try though a limit is too low."`
	JSON        bool          `help:"Write JSON to standard output."`
}

// millionReport is what the run printed.
type millionReport struct {
	Connections    int     `json:"connections"`
	Kind           string  `json:"kind"`
	Servers        int     `json:"servers"`
	ConnectSeconds float64 `json:"connect_seconds"`

	Failures map[string]uint64 `json:"failures"` // attempts that were repeated
	Lost     map[string]uint64 `json:"lost"`
	Open     uint64            `json:"open"` // at the end
	Wanted   uint64            `json:"deliveries_wanted"`
	Made     uint64            `json:"deliveries"`
	Missed   uint64            `json:"missed"`
	Gaps     uint64            `json:"gaps"`
	Behind   uint64            `json:"behind"`

	DeltaSeconds []float64         `json:"delta_seconds"` // until the last viewer had it
	Latency      viewers.Quantiles `json:"latency"`

	Server          viewers.Usage `json:"server"`
	Client          viewers.Usage `json:"client"`
	ServerIdleBytes uint64        `json:"server_idle_bytes"` // resident before the first connection
	KernelBytes     uint64        `json:"kernel_bytes"`      // what is gone from the machine's memory beside what both hold privately
	ServerSeconds   float64       `json:"server_seconds_per_million"`
}

// Run checks the machine's limits first, and prints what forbids the run.
func (c *millionCommand) Run(ctx context.Context) error {
	k, err := kindNamed(c.Kind)
	if err != nil {
		return err
	}
	if c.Connections < 1 || c.PerServer < 1 || c.Deltas < 1 {
		return errors.New("connections, connections of a server and deltas want numbers above 0")
	}
	n := (c.Connections + c.PerServer - 1) / c.PerServer
	if err := checkLimits(c.Connections, c.PerServer, c.Force); err != nil {
		return err
	}
	r, err := c.play(ctx, k, n)
	if r == nil {
		return err
	}
	err = errors.Join(err, show(os.Stdout, r, c.JSON)) // however the processes ended
	if err == nil && (r.Missed > 0 || len(r.Lost) > 0 || r.Behind > 0 || r.Gaps > 0 || r.Open < uint64(c.Connections)) {
		err = errors.New("something was lost")
	}
	return err
}

// million is one run.
type million struct {
	measurement
	flags  *millionCommand
	report *millionReport
	free   uint64 // bytes of the machine before
}

func (c *millionCommand) play(ctx context.Context, k kind, n int) (_ *millionReport, err error) {
	self, err := crowdCommand()
	if err != nil {
		return nil, err
	}
	m := &million{flags: c, report: &millionReport{Connections: c.Connections, Kind: k.name, Servers: n}}
	m.measurement = measurement{kind: k, self: self, sizes: sizes{connections: c.Connections, perServer: c.PerServer, bytes: c.Bytes, patience: c.Patience}}
	if m.free, err = available(); err != nil {
		return nil, err
	}
	if m.servers, err = startServers(n, setup{Kind: k.name, Bytes: c.Bytes, Quiet: true}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.endBoth()) }()
	idle, err := m.servers.usage()
	if err != nil {
		return nil, err
	}
	m.report.ServerIdleBytes = idle.Resident
	if err := m.gather(ctx); err != nil {
		return nil, err
	}
	if err := m.send(ctx); err != nil {
		return nil, err
	}
	return m.report, nil
}

// gather opens the connections.
func (m *million) gather(ctx context.Context) (err error) {
	plan := &viewers.Plan{
		Targets: m.servers.targets(), Viewers: m.sizes.connections, Documents: []schemas.DocumentID{document}, Raw: m.kind.raw,
		InFlight: m.flags.InFlight, Seed: uint64(time.Now().UnixNano()), Handshake: m.flags.Patience, Silence: quiet,
	}
	plans := plan.Split(1)
	plan.Sources = viewers.Sources(plan.Targets, len(plans))
	begun := time.Now()
	if m.crew, err = viewers.Start(context.WithoutCancel(ctx), plan.Split(1), m.self); err != nil {
		return err
	}
	for {
		t, err := m.crew.Counts(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%6.0f s  %d connected\n", time.Since(begun).Seconds(), t.Open)
		if t.Open == t.Viewers {
			m.report.ConnectSeconds = time.Since(begun).Seconds()
			return nil
		}
		if time.Since(begun) > m.flags.Patience {
			now := m.crew.Latest()
			return fmt.Errorf("%d of %d connected; failures %v, lost %v", t.Open, t.Viewers, now.Failures, now.Lost)
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted")
		case <-time.After(time.Second):
		}
	}
}

// send sends the deltas and waits for each to arrive everywhere.
func (m *million) send(ctx context.Context) error {
	before, err := m.crew.Tally(ctx)
	if err != nil {
		return err
	}
	used, err := m.servers.usage()
	if err != nil {
		return err
	}
	for i := range m.flags.Deltas {
		begun := time.Now()
		if _, err := m.servers.do("publish"); err != nil {
			return err
		}
		if err := m.await(ctx, before.Advanced+uint64((i+1)*m.sizes.connections)); err != nil {
			return err
		}
		took := time.Since(begun)
		m.report.DeltaSeconds = append(m.report.DeltaSeconds, took.Seconds())
		fmt.Fprintf(os.Stderr, "delta %d of %d: everywhere after %.2f s\n", i+1, m.flags.Deltas, took.Seconds())
		select {
		case <-ctx.Done():
			return errors.New("interrupted")
		case <-time.After(max(m.flags.Every-took, 0)):
		}
	}
	return m.account(ctx, before, used)
}

func (m *million) account(ctx context.Context, before *viewers.Tally, used viewers.Usage) error {
	r := m.report
	after, err := m.crew.Settle(ctx, settlePatience)
	if err != nil {
		return err
	}
	d := after.Since(before)
	r.Failures, r.Lost, r.Open, r.Gaps, r.Behind = after.Failures, after.Lost, after.Open, after.Gaps, after.Behind
	r.Wanted, r.Made, r.Latency = uint64(m.flags.Deltas*m.sizes.connections), d.Deliveries, d.Latency.Quantiles()
	if d.Advanced < r.Wanted {
		r.Missed = r.Wanted - d.Advanced
	}
	if r.Server, err = m.servers.usage(); err != nil {
		return err
	}
	if r.Client, err = viewers.ProcessesUsage(m.crew.Processes()...); err != nil {
		return err
	}
	if r.Made > 0 {
		r.ServerSeconds = (r.Server.CPUSeconds - used.CPUSeconds) * 1e6 / float64(r.Made)
	}
	free, err := available()
	if err != nil {
		return err
	}
	own, err := private(append(m.servers.processes(), m.crew.Processes()...))
	if err != nil {
		return err
	}
	if taken := int64(m.free) - int64(free) - int64(own); taken > 0 {
		r.KernelBytes = uint64(taken)
	}
	return nil
}

const (
	settlePatience = 10 * time.Second
	// quiet is the time between pings, and how long viewers wait for them: a
	// million pings each 20 s would be a load of their own.
	quiet = 30 * time.Minute
)

// String is the report for people.
func (r *millionReport) String() string {
	each := func(b uint64) float64 { return float64(b) / 1024 / float64(r.Connections) }
	return fmt.Sprintf(`%d connections to %d servers (%s), connected in %.1f s; %d open at the end
failures that were repeated %v, lost %v, gaps %d, behind at the end %d
deliveries %d of %d, missed %d; a delta was everywhere after %.2f s; latency p50 %.0f ms, p99 %.0f ms
server  %8.1f MB resident, %.2f KiB a connection (%.1f MB before the first); %.1f s CPU in all, %.2f s for a million deliveries
client  %8.1f MB resident, %.2f KiB a connection; %.1f s CPU
kernel  %8.1f MB, %.2f KiB a connection, both ends
`, r.Connections, r.Servers, r.Kind, r.ConnectSeconds, r.Open, r.Failures, r.Lost, r.Gaps, r.Behind, r.Made, r.Wanted, r.Missed, r.DeltaSeconds,
		r.Latency.P50, r.Latency.P99, float64(r.Server.Resident)/1e6, each(r.Server.Resident), float64(r.ServerIdleBytes)/1e6, r.Server.CPUSeconds, r.ServerSeconds,
		float64(r.Client.Resident)/1e6, each(r.Client.Resident), r.Client.CPUSeconds, float64(r.KernelBytes)/1e6, each(r.KernelBytes))
}
