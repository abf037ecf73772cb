package viewers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"time"

	"tallystream/schemas"
)

// ViewersCommand is `tallystream viewers`.
type ViewersCommand struct {
	URL     []string      `arg:"" optional:"" name:"url" help:"Live servers, such as ws://127.0.0.1:8080; viewers are spread over several."`
	Viewers int           `short:"n" help:"How many." default:"1000"`
	Ramp    float64       `help:"Connections a second; 0 is as fast as they are answered." default:"1000"`
	For     time.Duration `help:"How long all of them stay." default:"1m"`
	Wait    time.Duration `help:"How long stragglers are waited for: at the start, after a storm, at the end." default:"30s"`

	Document []string `help:"Follow these instead of all that the newest snapshot names." placeholder:"NAME"`
	Follow   int      `help:"Documents that each viewer follows, of these in turn." default:"1"`
	All      bool     `help:"Each follows everything with one subscription, as media with a --key do."`
	Key      string   `help:"Key of media." env:"TALLYSTREAM_MEDIA_KEY"`
	Deflate  bool     `help:"Offer compression, as browsers do." default:"true" negatable:""`

	Sample float64 `help:"Share of viewers that keep their documents and check every hash." default:"0.01"`
	Bucket string  `help:"Where snapshots lie; by default the first server has them." placeholder:"URL"`

	StormAt     []time.Duration `help:"Cut connections off then, after all are there." placeholder:"30s"`
	StormShare  float64         `help:"Share that a storm cuts off." default:"1"`
	StormSpread time.Duration   `help:"Time over which they come back." default:"10s"`

	Status []string `help:"Metrics pages of the servers, for their CPU and memory." placeholder:"URL"`
	PID    []int    `help:"Processes of the servers on this machine, for the same." placeholder:"N"`

	IOperate  []string `help:"You operate this host of a URL, and mean to load it; wanted for every host that is not of this machine or a private network." placeholder:"HOST"`
	Processes int      `help:"Processes at least; there are as many as the limit of open files wants." default:"1"`
	InFlight  int      `help:"Handshakes of a process at a time." default:"256"`
	JSON      bool     `help:"Write the report as JSON to standard output."`

	Worker bool `hidden:"" help:"Be one of the processes."`
}

// Help is the longer text of --help.
func (ViewersCommand) Help() string {
	return `Opens many live connections with little memory and checks what comes over them: the sequence of versions for every viewer, the hash of every version
for a sample. Progress goes to standard error, the report to standard output.

  tallystream viewers ws://127.0.0.1:8080 -n 10000 --ramp 2000 --for 1m --status http://127.0.0.1:9090/metrics
  tallystream viewers https://live.example.org --i-operate live.example.org -n 200000 --storm-at 30s

Latency is from the time in a delta (the publisher's clock) until it was read here: let clocks agree. Round trips need no clock.

Exit status: 0 if nothing was lost or wrong, 1 if anything was, 2 for bad flags or a target that is not yours, 130 if it was interrupted.`
}

// usageError is an error in flags or targets.
type usageError struct{ error }

// ExitCode is that of a bad command line.
func (usageError) ExitCode() int { return 2 }

func (e usageError) Unwrap() error { return e.error }

// ErrNotGood is returned when anything was lost or wrong.
var ErrNotGood = errors.New("viewers lost something, or got something wrong")

// errInterrupted is returned when nothing was wrong until Ctrl-C.
type errInterrupted struct{}

func (errInterrupted) Error() string { return "interrupted" }

// ExitCode is what shells give for SIGINT.
func (errInterrupted) ExitCode() int { return 130 }

// Run loads the servers and reports.
func (c *ViewersCommand) Run(ctx context.Context, _ *slog.Logger) error {
	if c.Worker {
		// The parent ends this process by closing its input: after the report.
		return Work(context.WithoutCancel(ctx), os.Stdin, os.Stdout)
	}
	s, err := c.session(ctx, net.DefaultResolver.LookupNetIP)
	if err != nil {
		return usageError{err}
	}
	if s.self, err = self(); err != nil {
		return err
	}
	report, err := s.run(ctx)
	if err != nil {
		return err
	}
	write := report.WriteText
	if c.JSON {
		write = report.WriteJSON
	}
	if err := write(os.Stdout); err != nil {
		return err
	}
	switch {
	case !report.Good:
		return ErrNotGood
	case report.Interrupted:
		return errInterrupted{}
	}
	return nil
}

// self makes the command of another process of this program.
func self() (func() *exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	return func() *exec.Cmd { return exec.Command(program, "viewers", "--worker") }, nil
}

// session checks everything before anything is connected to.
func (c *ViewersCommand) session(ctx context.Context, find lookup) (*session, error) {
	g := guard{operated: c.IOperate, lookup: find}
	targets, err := g.targets(ctx, c.URL, load{viewers: c.Viewers, ramp: c.Ramp, storms: len(c.StormAt) > 0})
	if err != nil {
		return nil, err
	}
	bucket := c.Bucket
	if bucket == "" {
		bucket = pageURL(targets[0])
	}
	for _, page := range append([]string{bucket}, c.Status...) {
		if err := g.other(ctx, page, targets); err != nil {
			return nil, err
		}
	}
	plan := &Plan{
		Targets: targets, Viewers: c.Viewers, Follow: c.Follow, All: c.All, Key: c.Key, Deflate: c.Deflate,
		Ramp: c.Ramp, InFlight: c.InFlight, Sample: c.Sample, Bucket: bucket, Seed: rand.Uint64(), Gentle: g.stranger,
	}
	if plan.Documents, err = c.documents(ctx, bucket); err != nil {
		return nil, err
	}
	if c.Viewers < 1 || c.For < 0 || c.Wait < 0 || c.StormShare < 0 || c.StormShare > 1 || c.StormSpread < 0 || c.Processes < 1 {
		return nil, errors.New("viewers, times, shares and processes want numbers above 0")
	}
	plan.Sources = Sources(targets, len(plan.Split(c.Processes)))
	plans := plan.Split(c.Processes)
	for _, p := range plans {
		if err := p.Validate(); err != nil {
			return nil, err
		}
	}
	return &session{
		plans: plans, viewers: c.Viewers, ramp: c.Ramp, hold: c.For, patience: c.Wait, targets: c.URL,
		storms: c.StormAt, share: c.StormShare, spread: c.StormSpread, server: serverUsage(c.Status, c.PID), out: os.Stderr,
	}, nil
}

func pageURL(t Target) string {
	u := url.URL{Scheme: "http", Host: t.Host}
	if t.TLS {
		u.Scheme = "https"
	}
	return u.String()
}

// documents are those that viewers follow.
func (c *ViewersCommand) documents(ctx context.Context, bucket string) ([]schemas.DocumentID, error) {
	var out []schemas.DocumentID
	for _, name := range c.Document {
		g, err := schemas.ParseDocumentID(name)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	if len(out) > 0 || c.All {
		return out, nil
	}
	return documentsOf(ctx, bucket)
}
