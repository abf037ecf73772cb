package faultsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// Command is `tallystream simulate-faults`.
type Command struct {
	Seeds uint64  `help:"How many nights to simulate, each from a seed of its own." default:"10000"`
	First uint64  `help:"First of the seeds." default:"0"`
	Seed  *uint64 `help:"Simulate the night of this seed only, and show how it ended." placeholder:"SEED"`
	Trace bool    `help:"With --seed: print every step as it happens."`
	JSON  bool    `name:"json" help:"Report in JSON."`
}

// Help is the longer text of --help.
func (Command) Help() string {
	return `Runs whole election nights of the real services on simulated stores, network and clocks, with crashes, pauses, lost answers, two owners at once, splits and
merges, poison and more, and checks after every step that the promises hold. Everything follows from the seed: a night that failed fails again.

  tallystream simulate-faults --seeds 100000
  tallystream simulate-faults --seed 4711 --trace

Exit status: 0 if every promise held and every durable write met every fate, 1 if not.`
}

// Errors of Command.Run.
var (
	// ErrViolated: a promise did not hold.
	ErrViolated = errors.New("a promise does not hold")
	// ErrUncovered: some write never met some fate, so that too little is known.
	ErrUncovered = errors.New("some writes never met some fates: simulate more nights")
)

// Run simulates.
func (c *Command) Run(ctx context.Context, _ *slog.Logger) error {
	return c.run(ctx, os.Stdout, os.Stderr)
}

func (c *Command) run(ctx context.Context, stdout, stderr io.Writer) error {
	if c.Seed != nil {
		return c.one(stdout)
	}
	if c.Trace {
		return errors.New("--trace needs --seed")
	}
	if c.Seeds == 0 {
		return errors.New("--seeds: want at least 1")
	}
	campaign, err := RunMany(ctx, c.First, c.Seeds, progress(stderr, c.Seeds))
	if err != nil {
		return err
	}
	if err := c.show(stdout, campaign); err != nil {
		return err
	}
	switch {
	case campaign.Bad > 0:
		return fmt.Errorf("%w in %d of %d nights", ErrViolated, campaign.Bad, campaign.Seeds)
	case ctx.Err() != nil:
		return fmt.Errorf("ended after %d of %d nights: %w", campaign.Seeds, c.Seeds, ctx.Err())
	case len(campaign.Count.uncovered()) > 0:
		return fmt.Errorf("%w (%s)", ErrUncovered, strings.Join(campaign.Count.uncovered(), ", "))
	}
	return nil
}

// progressEvery is how often a line of progress is written.
const progressEvery = 2 * time.Second

// progress writes how far a campaign is and how long it may still take.
func progress(out io.Writer, seeds uint64) func(uint64) {
	var mu sync.Mutex // guards last
	began, last := time.Now(), time.Now()
	return func(done uint64) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) < progressEvery || done == 0 {
			return
		}
		last = time.Now()
		each := time.Since(began) / time.Duration(done)
		fmt.Fprintf(out, "%d of %d nights, %.0f/s, %v left\n", done, seeds, float64(time.Second)/float64(each), (each * time.Duration(seeds-done)).Round(time.Second))
	}
}

func (c *Command) show(out io.Writer, campaign *Campaign) error {
	if c.JSON {
		return encode(out, campaign.report(c.First))
	}
	fmt.Fprint(out, campaign.table())
	fmt.Fprintf(out, "\n%d nights, %d steps, %d violations, %.0f nights a second\n", campaign.Seeds, campaign.Steps, campaign.Bad, campaign.perSecond())
	for _, r := range campaign.Failed {
		fmt.Fprintf(out, "\nseed %d: %v\n", r.Seed, r.Violation)
		for _, line := range r.Trace[max(0, len(r.Trace)-30):] {
			fmt.Fprintln(out, line)
		}
		fmt.Fprintf(out, "replay: tallystream simulate-faults --seed %d --trace\n", r.Seed)
	}
	return nil
}

func encode(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// one shows a single night.
func (c *Command) one(out io.Writer) error {
	s, err := New()
	if err != nil {
		return err
	}
	if c.Trace && !c.JSON {
		s.Trace = out
	}
	r := s.Run(*c.Seed)
	campaign := &Campaign{}
	campaign.add(r)
	if c.JSON {
		if err := encode(out, campaign.report(r.Seed)); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "seed %d: %d steps, trace %016x\n", r.Seed, r.Steps, r.Hash)
	}
	if r.Violation != nil {
		return fmt.Errorf("%w: %w", ErrViolated, r.Violation)
	}
	return nil
}
