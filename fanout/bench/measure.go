package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tallystream/schemas"
	"tallystream/simulator/viewers"
)

// sizes of one measurement.
type sizes struct {
	connections int
	perServer   int           // connections of one server process at most
	bytes       int           // of a delta
	processes   int           // of viewers, at least
	paced       int           // deltas at one a second
	warm        int           // deltas as fast as they are taken, before those that are measured
	saturated   int           // deltas as fast as they are taken
	patience    time.Duration // for stragglers
	resting     time.Duration // before the memory of connections is read
}

// result is a row of the table.
type result struct {
	Kind        string `json:"kind"`
	Connections int    `json:"connections"`
	Servers     int    `json:"servers"`
	Deflate     bool   `json:"deflate"`

	ConnectsPerSecond float64 `json:"connects_per_second"`
	InUseKiB          float64 `json:"in_use_kib"`   // heap and stacks a connection, at rest
	ResidentKiB       float64 `json:"resident_kib"` // a connection, at rest
	ReleasedKiB       float64 `json:"released_kib"` // the same after the runtime gave back what it can

	Paced     spell             `json:"paced"`     // one delta a second
	Saturated spell             `json:"saturated"` // two deltas under way at any time
	Failures  map[string]uint64 `json:"failures,omitempty"`
}

// spell is a time in which deltas were sent.
type spell struct {
	Deltas              int               `json:"deltas"`
	Deliveries          uint64            `json:"deliveries"`
	Missed              uint64            `json:"missed"` // versions that a viewer was not brought to
	DeliveriesPerSecond float64           `json:"deliveries_per_second"`
	ServerSeconds       float64           `json:"server_seconds_per_million"` // CPU of the servers
	ClientSeconds       float64           `json:"client_seconds_per_million"` // of the viewers
	Latency             viewers.Quantiles `json:"latency"`
	Lost                map[string]uint64 `json:"lost,omitempty"`
}

// measurement is one kind with one number of connections.
type measurement struct {
	kind    kind
	sizes   sizes
	deflate bool
	self    makeCommand // makes processes of viewers

	servers servers
	crew    *viewers.Crew
	result  result
}

func (m *measurement) run(ctx context.Context) (_ *result, err error) {
	n := (m.sizes.connections + m.sizes.perServer - 1) / m.sizes.perServer
	m.result = result{Kind: m.kind.name, Connections: m.sizes.connections, Servers: n, Deflate: m.deflate}
	if m.servers, err = startServers(n, setup{Kind: m.kind.name, Deflate: m.deflate, Bytes: m.sizes.bytes}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.servers.close()) }()
	if err := m.connect(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.crew.Close()) }()
	if m.result.Paced, err = m.spell(ctx, m.sizes.paced, m.pace); err != nil {
		return nil, err
	}
	if _, err = m.spell(ctx, m.sizes.warm, m.saturate); err != nil {
		return nil, err
	}
	if m.result.Saturated, err = m.spell(ctx, m.sizes.saturated, m.saturate); err != nil {
		return nil, err
	}
	return &m.result, nil
}

// endBoth ends servers and viewers at once: servers that are about to end need not
// say good-bye to each viewer before.
func (m *measurement) endBoth() error {
	ended := make(chan error, 1)
	go func() { ended <- m.servers.close() }()
	var err error
	if m.crew != nil {
		err = m.crew.Close()
	}
	return errors.Join(err, <-ended)
}

// connect opens all connections and measures what one costs.
func (m *measurement) connect(ctx context.Context) error {
	idle, err := m.memory()
	if err != nil {
		return err
	}
	plan := &viewers.Plan{
		Targets: m.servers.targets(), Viewers: m.sizes.connections, Documents: []schemas.DocumentID{document}, Deflate: m.deflate,
		Raw: m.kind.raw, Seed: uint64(time.Now().UnixNano()),
	}
	plan.Sources = viewers.Sources(plan.Targets, len(plan.Split(m.sizes.processes)))
	begun := time.Now()
	if m.crew, err = viewers.Start(context.WithoutCancel(ctx), plan.Split(m.sizes.processes), m.self); err != nil {
		return err
	}
	wait, cancel := context.WithTimeoutCause(ctx, m.sizes.patience, errors.New("patience is over"))
	defer cancel()
	t, err := m.crew.WaitOpen(wait)
	if err != nil {
		return errors.Join(fmt.Errorf("%s: failures %v: %w", m.kind.name, failures(t), err), m.crew.Close())
	}
	m.result.ConnectsPerSecond = float64(m.sizes.connections) / time.Since(begun).Seconds()
	m.result.Failures = t.Failures
	select {
	case <-ctx.Done():
	case <-time.After(m.sizes.resting):
	}
	full, err := m.memory()
	if err != nil {
		return errors.Join(err, m.crew.Close())
	}
	each := func(full, idle uint64) float64 {
		return (float64(full) - float64(idle)) / 1024 / float64(m.sizes.connections)
	}
	m.result.InUseKiB, m.result.ResidentKiB, m.result.ReleasedKiB = each(full.inUse, idle.inUse), each(full.resident, idle.resident), each(full.released, idle.released)
	return nil
}

func failures(t *viewers.Tally) map[string]uint64 {
	if t == nil {
		return nil
	}
	return t.Failures
}

// memory of all servers, in bytes.
type memory struct{ inUse, resident, released uint64 }

func (m *measurement) memory() (memory, error) {
	before, err := m.servers.usage()
	if err != nil {
		return memory{}, err
	}
	used, err := m.servers.do("memory")
	if err != nil {
		return memory{}, err
	}
	if _, err := m.servers.do("release"); err != nil {
		return memory{}, err
	}
	after, err := m.servers.usage()
	return memory{used.InUse, before.Resident, after.Resident}, err
}

// spell sends deltas as send does, and accounts for what it cost.
func (m *measurement) spell(ctx context.Context, deltas int, send func(context.Context, int) error) (spell, error) {
	s := spell{Deltas: deltas}
	if deltas == 0 {
		return s, nil
	}
	before, err := m.crew.Tally(ctx)
	if err != nil {
		return s, err
	}
	server, err := m.servers.usage()
	if err != nil {
		return s, err
	}
	client, err := viewers.ProcessesUsage(m.crew.Processes()...)
	if err != nil {
		return s, err
	}
	begun := time.Now()
	if err := send(ctx, deltas); err != nil {
		return s, err
	}
	if err := m.await(ctx, before.Advanced+uint64(deltas*m.sizes.connections)); err != nil {
		return s, err
	}
	elapsed := time.Since(begun)
	serverAfter, err := m.servers.usage()
	if err != nil {
		return s, err
	}
	clientAfter, err := viewers.ProcessesUsage(m.crew.Processes()...)
	if err != nil {
		return s, err
	}
	after, err := m.crew.Tally(ctx)
	if err != nil {
		return s, err
	}
	d := after.Since(before)
	s.Deliveries, s.Latency, s.Lost = d.Deliveries, d.Latency.Quantiles(), d.Lost
	if want := uint64(deltas * m.sizes.connections); d.Advanced < want {
		s.Missed = want - d.Advanced
	}
	millions := float64(d.Deliveries) / 1e6
	if millions > 0 {
		s.DeliveriesPerSecond = float64(d.Deliveries) / elapsed.Seconds()
		s.ServerSeconds = (serverAfter.CPUSeconds - server.CPUSeconds) / millions
		s.ClientSeconds = (clientAfter.CPUSeconds - client.CPUSeconds) / millions
	}
	return s, nil
}

// pace sends one delta a second.
func (m *measurement) pace(ctx context.Context, deltas int) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for i := range deltas {
		if i > 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-every.C:
			}
		}
		if _, err := m.servers.do("publish"); err != nil {
			return err
		}
	}
	return nil
}

// window is how many deltas are under way when a server is saturated: one to
// work on and one that waits.
const window = 2

// saturate sends a delta whenever all but the last one have arrived everywhere.
func (m *measurement) saturate(ctx context.Context, deltas int) error {
	begun, err := m.crew.Counts(ctx)
	if err != nil {
		return err
	}
	for i := range deltas {
		if due := i - window + 1; due > 0 {
			if err := m.await(ctx, begun.Advanced+uint64(due*m.sizes.connections)); err != nil {
				return err
			}
		}
		if _, err := m.servers.do("publish"); err != nil {
			return err
		}
	}
	return nil
}

const awaitEvery = 5 * time.Millisecond

// await waits until viewers have come so far, all together, or patience ends:
// what is missed then is counted.
func (m *measurement) await(ctx context.Context, advanced uint64) error {
	for until := time.Now().Add(m.sizes.patience); time.Now().Before(until); {
		t, err := m.crew.Counts(ctx)
		if err != nil {
			return err
		}
		if t.Advanced >= advanced {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(awaitEvery):
		}
	}
	return nil
}
