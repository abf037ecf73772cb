package fanout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"tallystream/fanout/bus"
	"tallystream/publish/bucket"
	"tallystream/schemas"
	"tallystream/service"
)

// Command is `tallystream fanout`: the live tier, the bus of this machine, and
// the published files, at one address for the public.
type Command struct {
	Data      string `help:"Directory with definition.json; nothing else in it is read." type:"path" default:"data" env:"TALLYSTREAM_DATA"`
	Bucket    string `help:"Directory that is published." type:"path" default:"public" env:"TALLYSTREAM_BUCKET"`
	Listen    string `help:"Address for viewers." default:"127.0.0.1:8080"`
	Bus       string `help:"NATS URL of a bus elsewhere; empty: this process is the bus." placeholder:"URL"`
	BusListen string `help:"Where the other services reach this process as their bus." default:"127.0.0.1:4250"`
	Status    string `help:"Address of /healthz, /readyz and /metrics." placeholder:"HOST:PORT"`

	Origin        []string      `help:"Pages of these origins may connect too, such as https://results.example.org; * is all." placeholder:"URL"`
	Host          []string      `help:"Answer for these host names only." placeholder:"NAME"`
	AddressHeader string        `help:"Header in which a proxy before us states the client's address." placeholder:"NAME"`
	MediaKey      []string      `help:"Keys of media, which may follow all documents at once." env:"TALLYSTREAM_MEDIA_KEYS" placeholder:"KEY"`
	MinInterval   time.Duration `help:"Unite a document's deltas for so long." default:"0s"`
	Limits        struct {
		Connections        int `help:"Live connections in all." default:"20000"`
		AddressConnections int `help:"Live connections from one address." default:"512"`
		Documents          int `help:"Documents that one connection may follow." default:"64"`
	} `embed:"" prefix:"limit-"`
}

// Run serves until ctx ends, and then tells viewers when to come back.
func (c *Command) Run(ctx context.Context, log *slog.Logger) (err error) {
	definition, err := c.definition()
	if err != nil {
		return err
	}
	g, ctx := service.NewGroup(ctx)
	wire, closeBus, err := c.connect(definition.Election, bus.NewMetrics(g.Status.Registry), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBus()) }()
	files, err := bucket.OpenDirectory(c.Bucket, bucket.WithMetrics(bucket.NewMetrics(g.Status.Registry)))
	if err != nil {
		return err
	}
	server, err := New(Config{
		Origins: c.Origin, Hosts: c.Host, AddressHeader: c.AddressHeader, MediaKeys: c.MediaKey, MinInterval: c.MinInterval,
		Limits: Limits{
			Connections: c.Limits.Connections, AddressConnections: c.Limits.AddressConnections, Documents: c.Limits.Documents,
		},
		Bucket: files, Metrics: NewMetrics(g.Status.Registry), Logger: log,
	})
	if err != nil {
		return err
	}
	if err := wire.Receive(server); err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listening for viewers: %w", err)
	}
	g.Status.Ready("fanout", server.Ready)
	g.Status.Ready("bus", wire.Ready)
	if err := g.ServeStatus(ctx, c.Status, log); err != nil {
		return errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	server.Register(mux)
	mux.Handle("/", files.Handler())
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return service.Serve(ctx, l, mux) })
	log.InfoContext(ctx, "serving viewers", "addr", "http://"+l.Addr().String(), "election", definition.Election, "bucket", c.Bucket)
	return g.Wait()
}

func (c *Command) definition() (*schemas.Definition, error) {
	path := service.Data{Dir: c.Data}.DefinitionPath()
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening the election: %w", err)
	}
	d, err := schemas.ParseDefinition(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// connect joins the bus, which is this process unless another is named.
func (c *Command) connect(election schemas.ElectionID, m *bus.Metrics, log *slog.Logger) (*bus.Bus, func() error, error) {
	o := bus.Options{URL: c.Bus, Election: election, Name: "fanout", Metrics: m, Logger: log}
	end := func() error { return nil }
	if c.Bus == "" {
		s, err := bus.StartServer(bus.ServerOptions{Listen: c.BusListen})
		if err != nil {
			return nil, nil, err
		}
		o.Server, end = s, s.Close
	}
	b, err := bus.Connect(o)
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return b, func() error { return errors.Join(b.Close(), end()) }, nil
}
