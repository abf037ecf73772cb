package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/witness"
	"tallystream/schemas"
	"tallystream/service"
)

// Link is the bus as a publisher uses it.
type Link interface {
	service.Hints
	Announcer
}

// Connect reaches the bus; main.go binds it to fanout/bus.
type Connect func(at service.BusAddress, election schemas.ElectionID) (Link, error)

// Stores are what the command needs of where things are kept.
type Stores struct {
	Ledger   Ledger
	Register Register
	Bucket   Bucket
	// Signer signs snapshots; Verifier is its verifier key.
	Signer   note.Signer
	Verifier string
	Leases   Leases // nil: a later process takes over from the one before
	Lag      func(context.Context) (time.Duration, error)
	Close    func() error
}

// Leases choose which of several processes publishes. They do not guard what is
// written: the mark does.
type Leases interface {
	Tick(ctx context.Context, wanted []string) (held []string, err error)
	Release(ctx context.Context, names ...string) error
}

// OpenStores opens them; main.go binds it to publish/stores, which lies beside.
type OpenStores func(ctx context.Context, o service.Options, bucket string, opened *service.Opened, registry prometheus.Registerer, log *slog.Logger) (*Stores, error)

// Command is `tallystream publish`.
type Command struct {
	service.Options
	Bucket      string        `help:"Directory that is published; with --stores aws it is in S3." type:"path" default:"public" env:"TALLYSTREAM_BUCKET"`
	ExportEvery time.Duration `help:"Least time between two CSV files of a county; 0 writes them at the close only." default:"60s"`
	ExportRate  float64       `help:"Bytes of CSV a second that are written on average during the night." default:"131072"`
	Heartbeat   time.Duration `help:"Longest time without a new snapshot." default:"60s"`
	Test        string        `help:"Mark reports in the common data format as those of a test, such as \"rehearsal\"." placeholder:"KIND"`
	UnitReports bool          `help:"Write reports by unit in the common data format, too (5.6 GB for the US)."`
	Witness     []string      `help:"Witness to ask for cosignatures: its verifier key, a space, and the URL where it takes checkpoints; may be repeated." sep:"none" placeholder:"'KEY URL'"`
	Roots       string        `help:"File with the root keys that may change roster and keys, for the log's first leaf: {\"threshold\":2,\"roots\":[\"NAME+HASH+KEY\"]}." type:"path"`
	NextKey     string        `help:"Private key file that signs beside the publisher's while one is handed over to the next." type:"path"`
	ReceiptKey  string        `help:"Verifier key of receipts, for the log's first leaf." placeholder:"NAME+HASH+KEY"`
	LiveURL     string        `help:"Where the fanout serves, such as wss://live.example.org; empty: beside the pages."`
}

// Run publishes until ctx ends, and then once more, with everything in it.
func (c *Command) Run(ctx context.Context, log *slog.Logger, open OpenStores, connect Connect) (err error) {
	if err := service.CheckConfiguration(ctx, "publish", c.Options, log); err != nil {
		return err
	}
	opened, err := service.Data{Dir: c.Data}.Open()
	if err != nil {
		return err
	}
	secret, err := OpenSecret(service.Data{Dir: c.Data}, opened.Election)
	if err != nil {
		return err
	}
	link, err := connect(c.BusAt(), opened.Election.Definition.Election)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, link.Close()) }()
	g, ctx := service.NewGroup(ctx)
	stores, err := open(ctx, c.Options, c.Bucket, opened, g.Status.Registry, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.Close()) }()
	witnesses, err := c.witnesses()
	if err != nil {
		return err
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	p := &post{keys: keys, command: c, opened: opened, stores: stores, witnesses: witnesses, secret: secret, link: link, metrics: NewMetrics(g.Status.Registry), log: log, wake: make(chan struct{}, 1)}
	if err := link.OnHint(service.LedgerTopic, p.hint); err != nil {
		return err
	}
	g.Status.Ready("publish", p.Ready)
	if err := g.WatchRelease(ctx, c.Release, c.Cloud, log); err != nil {
		return err
	}
	if err := g.ServeStatus(ctx, c.Status, log); err != nil {
		return err
	}
	log.InfoContext(ctx, "publishing", "election", opened.Election.Definition.Election, "stores", c.Stores)
	g.Go(func() error { return p.run(ctx) })
	return g.Wait()
}

// keys reads the flags --roots and --next-key.
func (c *Command) keys() (k publisherKeys, err error) {
	if c.Roots != "" {
		f, err := ReadRoots(c.Roots)
		if err != nil {
			return k, err
		}
		k.threshold, k.roots = f.Threshold, f.Roots
	}
	if c.NextKey != "" {
		b, err := os.ReadFile(c.NextKey)
		if err != nil {
			return k, fmt.Errorf("--next-key: %w", err)
		}
		if k.next, _, err = schemas.OpenPrivateKey(string(b)); err != nil {
			return k, fmt.Errorf("--next-key: %w", err)
		}
	}
	return k, nil
}

// publisherKeys are the root keys, and the key that comes next.
type publisherKeys struct {
	threshold int
	roots     []string
	next      note.Signer // nil: none is handed over
}

// witnesses reads the flag --witness.
func (c *Command) witnesses() (out []*witness.Client, err error) {
	for _, w := range c.Witness {
		key, url, _ := strings.Cut(w, " ")
		client := &witness.Client{URL: url, HTTP: &http.Client{Timeout: 2 * witnessPatience}}
		if client.Key, err = log.ParseCosignatory(key); err != nil {
			return nil, fmt.Errorf("--witness: %w", err)
		}
		if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
			return nil, fmt.Errorf("--witness: want a URL of http or https behind the key of %s", client.Key.Name())
		}
		out = append(out, client)
	}
	return out, nil
}
