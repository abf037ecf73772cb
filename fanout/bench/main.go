package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"tallystream/simulator/viewers"
)

// commands is the command line.
type commands struct {
	Compare compareCommand `cmd:"" default:"withargs" help:"Hold the kinds against each other (the default)."`
	Million millionCommand `cmd:"" help:"Open a million connections on this machine, viewers included, and count every delivery."`
	Storm   stormCommand   `cmd:"" help:"Drop all connections at once, and see them come back."`
	Hostile hostileCommand `cmd:"" help:"Measure honest viewers alone and beside hostile ones."`
	Mob     mobCommand     `cmd:"" hidden:"" help:"Be a process of hostile clients."`
	Server  serverCommand  `cmd:"" hidden:"" help:"Be a server process."`
	Viewers viewersCommand `cmd:"" hidden:"" help:"Be a process of viewers."`
}

func main() {
	var cli commands
	parser := kong.Must(&cli, kong.Name("bench"), kong.Description("What a delivery costs, by the way it is made."))
	cmd, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd.BindTo(ctx, (*context.Context)(nil))
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type serverCommand struct{}

// Run ends with its input, not with the terminal's Ctrl-C: the parent ends it.
func (serverCommand) Run(ctx context.Context) error {
	signal.Ignore(os.Interrupt)
	return serve(context.WithoutCancel(ctx), os.Stdin, os.Stdout)
}

type viewersCommand struct{}

// Run ends with its input.
func (viewersCommand) Run(ctx context.Context) error {
	return viewers.Work(context.WithoutCancel(ctx), os.Stdin, os.Stdout)
}

// compareCommand is `bench`.
type compareCommand struct {
	Connections []int         `help:"Connections." default:"10000,50000"`
	Kinds       []string      `help:"Only these." enum:"write(2),send(2),epoll,portable,gorilla,coder" default:"write(2),send(2),epoll,portable,gorilla,coder"`
	Bytes       int           `help:"Size of a delta." default:"576"`
	Paced       int           `help:"Deltas at one a second." default:"10"`
	Deliveries  int           `help:"Deliveries when saturated, about." default:"2500000"`
	Warm        int           `help:"Deltas before those, which are not measured: see README, quick acknowledgements." default:"40"`
	PerServer   int           `help:"Connections of one server process at most." default:"19000"`
	Processes   int           `help:"Processes of viewers, at least." default:"1"`
	Rounds      int           `help:"Times that the kinds take turns; medians are printed." default:"1"`
	Patience    time.Duration `help:"How long connections and deliveries are waited for." default:"60s"`
	Deflate     bool          `help:"Measure compression too." default:"true" negatable:""`
	JSON        bool          `help:"Write JSON."`
}

// Run measures and prints.
func (c *compareCommand) Run(ctx context.Context) error {
	self, err := crowdCommand()
	if err != nil {
		return err
	}
	r := &report{Machine: fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()), Bytes: c.Bytes}
	for _, n := range c.Connections {
		for range max(c.Rounds, 1) {
			if err := c.round(ctx, r, n, self); err != nil {
				return err
			}
		}
	}
	return show(os.Stdout, r, c.JSON)
}

// round runs every kind once. One that cannot be measured is named in the report.
func (c *compareCommand) round(ctx context.Context, r *report, n int, self makeCommand) error {
	for _, k := range kinds() {
		if !slices.Contains(c.Kinds, k.name) {
			continue
		}
		if err := c.measure(ctx, r, k, n, self); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s with %d connections: %v", k.name, n, err))
		}
	}
	return nil
}

// measure runs one kind, plain and deflated.
func (c *compareCommand) measure(ctx context.Context, r *report, k kind, n int, self makeCommand) error {
	for _, deflate := range []bool{false, true} {
		if deflate && !c.Deflate {
			continue
		}
		m := measurement{kind: k, deflate: deflate, self: self, sizes: sizes{
			connections: n, perServer: c.PerServer, bytes: c.Bytes, processes: c.Processes, paced: c.Paced, warm: c.Warm, saturated: max(c.Deliveries/n, 2*window), patience: c.Patience, resting: time.Second,
		}}
		if deflate {
			m.sizes.paced = 0 // the latency of a smaller frame says nothing new
		}
		fmt.Fprintf(os.Stderr, "%s  %-9s %d connections, deflate %v\n", time.Now().Format(time.TimeOnly), k.name, n, deflate)
		result, err := m.run(ctx)
		if err != nil {
			return err
		}
		r.Results = append(r.Results, *result)
	}
	return nil
}
