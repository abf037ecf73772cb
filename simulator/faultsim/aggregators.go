package faultsim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tallystream/aggregate"
	"tallystream/aggregate/lease"
	"tallystream/aggregate/ledger"
	"tallystream/ingest/stream"
)

// How often aggregators and sequencers look after their leases.
const (
	leaseTTL  = 3 * time.Second
	tendEvery = 750 * time.Millisecond
)

// counter is an aggregator: a task that looks after shards and leases, as
// aggregate.Aggregator's Run does with goroutines, and one for each shard that
// drives the real worker turn by turn.
type counter struct {
	*process
	night    *night
	config   aggregate.Config
	keeper   *lease.Keeper
	stubborn bool // works on every shard, whoever holds the lease
	workers  map[string]*shardWork
}

// shardWork is a worker that is driven by a task.
type shardWork struct {
	stop, done bool
}

func (n *night) openCounter(name string) *counter {
	c := &counter{night: n}
	c.process = n.world.process(name, func(p *process) { c.boot(p) })
	return c
}

func (c *counter) boot(p *process) {
	n := c.night
	c.workers = map[string]*shardWork{}
	c.stubborn = n.world.befalls(faultStubborn)
	c.config = aggregate.Config{
		Election: n.town.election, Source: n.tape.source(p), Ledger: n.ledgerOf(p),
		OnCommit: n.hint, Metrics: n.meters.aggregate, Logger: silent, Now: p.Now, Full: 4 + n.world.random.IntN(30),
	}
	c.keeper = n.keeper(p, "aggregate/")
	p.start("tends", func(t *task) {
		for {
			if err := c.tend(t); err != nil {
				n.world.note(t.name, "tending fails", err.Error())
			}
			_ = p.sleep(context.Background(), tendEvery)
		}
	})
}

// ledgerOf is the ledger as a process sees it.
func (n *night) ledgerOf(p *process) aggregate.Ledger {
	if n.plant.ledger != nil {
		return n.plant.ledger(n, p)
	}
	return n.ledger
}

// keeper makes the keeper of a process's life.
func (n *night) keeper(p *process, prefix string) *lease.Keeper {
	k, err := lease.New(lease.Config{
		Register: n.register, Prefix: prefix, Name: fmt.Sprintf("%s-%d", p.name, p.life), TTL: leaseTTL, Now: p.since, Metrics: n.meters.lease,
	})
	if err != nil {
		n.world.violate("a keeper does not start: %v", err)
	}
	return k
}

// tend makes the workers those of the shards that can be read and are held.
func (c *counter) tend(t *task) error {
	ctx := context.Background()
	heads, err := c.night.ledger.Heads(ctx)
	if err != nil {
		return fmt.Errorf("reading heads: %w", err)
	}
	source := c.source()
	shards, err := source.Shards(ctx, positions(heads))
	if err != nil {
		return fmt.Errorf("listing shards: %w", err)
	}
	held := make([]string, len(shards))
	for i := range shards {
		held[i] = shards[i].ID
	}
	leased, err := c.keeper.Tick(ctx, held)
	if err != nil {
		return fmt.Errorf("renewing leases: %w", err)
	}
	if !c.stubborn || !c.world.faulty {
		held = leased
	}
	c.stopOthers(t, held)
	for _, s := range shards {
		if slices.Contains(held, s.ID) {
			c.work(s)
		}
	}
	return nil
}

func (c *counter) source() stream.Source {
	if c.night.plant.source != nil {
		return c.night.plant.source(c.night, c.config.Source)
	}
	return c.config.Source
}

func positions(heads []ledger.Head) []stream.Position {
	at := make([]stream.Position, len(heads))
	for i := range heads {
		at[i] = stream.Position{Checkpoint: heads[i].Checkpoint, Cursor: heads[i].Cursor}
	}
	return at
}

// stopOthers waits until the workers of other shards have ended.
func (c *counter) stopOthers(t *task, held []string) {
	for _, id := range sortedKeys(c.workers) {
		if slices.Contains(held, id) {
			continue
		}
		w := c.workers[id]
		for w.stop = true; !w.done; {
			t.pause(20 * time.Millisecond)
		}
		delete(c.workers, id)
	}
}

// work begins to work on a shard, unless that goes on already.
func (c *counter) work(s stream.Shard) {
	if w := c.workers[s.ID]; w != nil && !w.done {
		return
	}
	run := &shardWork{}
	c.workers[s.ID] = run
	c.world.note(c.name, "works on", fmt.Sprintf("%s %v", s.ID, s.Partitions))
	c.start(s.ID[max(0, len(s.ID)-3):], func(t *task) {
		c.drive(t, s, run)
		run.done = true
	})
}

// drive does what Worker.run does, by the world's clock.
func (c *counter) drive(t *task, s stream.Shard, run *shardWork) {
	source := &readers{Source: c.source()}
	config := c.config
	config.Source = source
	worker, err := aggregate.NewWorker(config, s)
	if err != nil {
		c.world.violate("a worker does not start: %v", err)
		return
	}
	for pause := 100 * time.Millisecond; !run.stop; pause = min(2*pause, 3*time.Second) {
		err := c.follow(t, worker, run)
		if closing := source.close(); err == nil && closing == nil {
			return
		}
		if err != nil {
			c.world.note(t.name, "starts again", err.Error())
		}
		t.pause(c.world.between(pause/2, pause))
	}
}

// follow loads the ledger and folds until the shard has ended, an error, or
// the end of the lease.
func (c *counter) follow(t *task, worker *aggregate.Worker, run *shardWork) error {
	ctx := context.Background()
	if err := worker.Load(ctx); err != nil {
		return fmt.Errorf("loading ledger: %w", err)
	}
	for {
		t.pause(c.world.between(50*time.Millisecond, 400*time.Millisecond))
		for more := true; more; {
			var err error
			if more, err = worker.Take(ctx); err != nil {
				return err
			}
			if c.world.chance(4) {
				t.pause(c.world.between(0, 50*time.Millisecond))
				more = more || c.world.chance(2)
			}
		}
		ended, err := worker.Settle(ctx)
		if err != nil || ended || run.stop {
			return err
		}
	}
}
