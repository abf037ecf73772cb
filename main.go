// Tallystream is a real-time election results pipeline: signed submissions of
// precincts in, exact tallies, signed snapshots and live deltas out.
//
// This file only composes the commands that the directories define, and ties
// what a lower one needs from an upper one.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"tallystream/aggregate"
	"tallystream/fanout"
	"tallystream/fanout/bus"
	"tallystream/ingest"
	"tallystream/publish"
	"tallystream/publish/audit"
	"tallystream/publish/holds"
	"tallystream/publish/log/witness"
	"tallystream/publish/receipts"
	"tallystream/publish/stores"
	"tallystream/publish/verify"
	"tallystream/schemas"
	"tallystream/schemas/cdf"
	"tallystream/service"
	"tallystream/service/cloud"
	"tallystream/simulator"
	"tallystream/simulator/capacity"
	"tallystream/simulator/faultsim"
	"tallystream/simulator/timeseries"
	"tallystream/simulator/viewers"
)

// commands is the command line.
type commands struct {
	service.LogOptions
	Config kong.ConfigFlag `help:"JSON file with flags, such as {\"listen\": \"127.0.0.1:8081\"}." placeholder:"FILE" env:"TALLYSTREAM_CONFIG"`

	Rehearse simulator.RehearseCommand `cmd:"" help:"Run a whole election night on this machine and check every number." group:"rehearse"`
	Simulate simulator.SimulateCommand `cmd:"" help:"Drive running services from outside, as their clients and viewers would." group:"rehearse"`
	Replay   timeseries.Command        `cmd:"" help:"Replay a real night by its time stamps, and show what is held." group:"rehearse"`
	Viewers  viewers.ViewersCommand    `cmd:"" help:"Load the live tier with many viewers and check what they get." group:"rehearse"`

	Ingest    ingest.Command    `cmd:"" help:"Take signed submissions in and give receipts." group:"services"`
	Aggregate aggregate.Command `cmd:"" help:"Fold the stream into the ledger." group:"services"`
	Publish   publish.Services  `cmd:"" help:"Publish signed snapshots, pages and deltas; pause and resume." group:"services"`
	Fanout    fanout.Command    `cmd:"" help:"Push live deltas to viewers and serve the pages." group:"services"`

	Submit ingest.SubmitCommand `cmd:"" help:"Sign and send a submission, and keep the receipt." group:"people"`
	Holds  holds.Command        `cmd:"" help:"See what is held, and let it count: two supervisors sign." group:"people"`
	Watch  fanout.WatchCommand  `cmd:"" help:"Follow contests live in the terminal." group:"people"`
	Keys   keysCommand          `cmd:"" help:"Make and show keys and rosters." group:"people"`
	Verify verify.Command       `cmd:"" help:"Check everything that is published from public files alone, and count it again." group:"people"`
	Audit  audit.Command        `cmd:"" help:"Count everything again from the ledger, and compare with what is stored and published." group:"people"`

	SimulateFaults faultsim.Command `cmd:"" help:"Run whole nights in one thread with every fault, and check the promises after every step." group:"rehearse"`
	Capacity       capacity.Command `cmd:"" help:"Say what a night needs on AWS, and what it costs." group:"rehearse"`

	Openings publish.OpeningsCommand `cmd:"" help:"Write what opens the sealed leaves of hidden units, for auditors." group:"people"`

	Setup   cloud.SetupCommand `cmd:"" help:"Create or check stream, tables, bucket and key on AWS." group:"services"`
	Witness witness.Command    `cmd:"" help:"Cosign a log's checkpoints after checking that each continues the last." group:"people"`
	Convert cdf.ConvertCommand `cmd:"" help:"Convert a NIST SP 1500-100 v2 pre-election report to an election definition, or back." group:"people"`

	Version versionCommand `cmd:"" help:"Print the version." group:"people"`
}

func main() {
	var cli commands
	parser := kong.Must(&cli, options()...)
	cmd, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	// The second Ctrl-C ends the process at once: NotifyContext lets go after the first.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	cmd.BindTo(ctx, (*context.Context)(nil))
	cmd.Bind(cli.Logger(os.Stderr), ingest.OpenStores(stores.ForIngest), ingest.AwaitProof(receipts.AwaitAt), aggregate.OpenStores(stores.ForAggregate), publish.OpenStores(stores.ForPublish), publish.OpenRegister(stores.ForOperators), publish.OpenPublication(stores.ForPublication), ingest.OpenKeys(stores.KeysForIngest), publish.CommandPath(cmd.Command()), service.Connect(connect), publish.Connect(connectAnnouncer))
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "tallystream:", err)
		os.Exit(exitCode(err))
	}
}

// options of the command line.
func options() []kong.Option {
	return []kong.Option{
		kong.Name("tallystream"),
		kong.Description("A real-time election results pipeline: exact, signed, live, and provable by anyone."),
		kong.Configuration(kong.JSON, "tallystream.json"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "rehearse", Title: "Rehearse"},
			{Key: "services", Title: "Run the services"},
			{Key: "people", Title: "Send, watch, and keep keys"},
			{Key: "aws", Title: "AWS"},
		}),
	}
}

// exitCode is 1 unless the error says otherwise.
func exitCode(err error) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return 1
}

// keysCommand is `tallystream keys`.
type keysCommand struct {
	ingest.KeysCommand
	Change publish.KeysChangeCommand `cmd:"" help:"Write a change of roster or keys, for root keys to sign."`
	Sign   publish.KeysSignCommand   `cmd:"" help:"Add a root key's signature to a change."`
	Submit publish.KeysSubmitCommand `cmd:"" help:"Hand a signed change to whoever publishes, and wait until it is in the log."`
	Media  fanout.MediaKeyCommand    `cmd:"" help:"Make a key for a medium, and the line of the media keys file that knows it."`
}

// versionCommand is `tallystream version`.
type versionCommand struct{}

// Run prints the module version, the commit and the Go release.
func (versionCommand) Run(*slog.Logger) error {
	version, commit := "(devel)", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	if r, ok := service.ThisRelease(); ok {
		version = string(r)
	}
	_, err := fmt.Printf("tallystream %s commit %s %s %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func connect(at service.BusAddress, election schemas.ElectionID) (service.Hints, error) {
	return reach(at, election)
}

func connectAnnouncer(at service.BusAddress, election schemas.ElectionID) (publish.Link, error) {
	return reach(at, election)
}

func reach(at service.BusAddress, election schemas.ElectionID) (*bus.Bus, error) {
	o := bus.Options{URL: at.URL, Election: election}
	if files := (bus.TLSFiles{Authorities: at.Authorities}); files.Set() {
		var err error
		if o.TLS, err = files.Client(); err != nil {
			return nil, fmt.Errorf("--bus-tls-ca: %w", err)
		}
	}
	return bus.Connect(o)
}
