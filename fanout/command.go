package fanout

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"tallystream/publish/receipts"
	"tallystream/publish/stores"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/cloud"
)

// Command is `tallystream fanout`: the live tier, the bus of this machine, and
// the published files, at one address for the public.
type Command struct {
	Data       string     `help:"Directory with definition.json; nothing else in it is read." type:"path" default:"data" env:"TALLYSTREAM_DATA"`
	Bucket     string     `help:"Directory that is published; with --stores aws it is in S3." type:"path" default:"public" env:"TALLYSTREAM_BUCKET"`
	Listen     string     `help:"Address for viewers." default:"127.0.0.1:8080"`
	Bus        string     `help:"NATS URL of a bus elsewhere; empty: this process is the bus." placeholder:"URL" env:"TALLYSTREAM_BUS"`
	BusListen  string     `help:"Where the other services reach this process as their bus." default:"127.0.0.1:4250"`
	BusOptions BusOptions `embed:"" prefix:"bus-"`
	Status     string     `help:"Address of /healthz, /readyz and /metrics." placeholder:"HOST:PORT"`

	Stores string        `help:"Where the bucket is: embedded (a directory) or aws." enum:"embedded,aws" default:"embedded" env:"TALLYSTREAM_STORES"`
	Cloud  cloud.Options `embed:""`

	Release service.ReleaseOptions `embed:""`

	Origin        []string      `help:"Pages of these origins may connect too, such as https://results.example.org; * is all." placeholder:"URL"`
	Host          []string      `help:"Answer for these host names only." placeholder:"NAME"`
	AddressHeader string        `help:"Header in which a proxy before us states the client's address." placeholder:"NAME"`
	MediaKey      []string      `help:"Keys of media, who get every version and may follow all documents. A file of keys is better: see --media-keys." env:"TALLYSTREAM_MEDIA_KEYS" placeholder:"KEY"`
	MediaKeys     string        `help:"File of media keys, a line each as \"tallystream keys media\" prints it. It is read again every two seconds; connections of a key that is gone are closed." type:"path" env:"TALLYSTREAM_MEDIA_KEYS_FILE" placeholder:"FILE"`
	Engine        string        `help:"What moves frames: epoll (Linux) or portable; auto chooses." enum:"auto,epoll,portable" default:"auto"`
	Listeners     int           `help:"Listening sockets at the address (SO_REUSEPORT)." default:"1"`
	SharePort     bool          `help:"Let other processes listen at the same address (SO_REUSEPORT)."`
	Compress      bool          `help:"Agree to permessage-deflate." default:"true" negatable:""`
	TLSCert       string        `help:"Certificate chain (PEM): speak TLS here instead of in front, with the portable engine." type:"path" placeholder:"FILE"`
	TLSKey        string        `help:"Its private key (PEM)." type:"path" placeholder:"FILE"`
	MinInterval   time.Duration `help:"Unite a document's deltas for the public for so long; media get each at once." default:"1s"`
	Limits        struct {
		Connections        int `help:"Live connections in all." default:"20000"`
		AddressConnections int `help:"Live connections from one address." default:"512"`
		KeyConnections     int `help:"Live connections with one media key." default:"512"`
		PageConnections    int `help:"Connections for pages and events (epoll engine)." default:"4096"`
		Documents          int `help:"Documents that one connection may follow." default:"64"`
	} `embed:"" prefix:"limit-"`
}

// Run serves until ctx ends, and then tells viewers when to come back.
func (c *Command) Run(ctx context.Context, log *slog.Logger) (err error) {
	if err := service.CheckConfiguration(ctx, "fanout", c.options(), log); err != nil {
		return err
	}
	opened, err := c.open()
	if err != nil {
		return err
	}
	election := opened.Election.Definition.Election
	g, ctx := service.NewGroup(ctx)
	wire, closeBus, err := c.connect(election, g.Status.Registry, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBus()) }()
	kept, err := stores.Open(ctx, stores.Config{
		Options: c.options(), Bucket: c.Bucket, Opened: opened,
		Registry: g.Status.Registry, Logger: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	files, err := kept.Bucket(ctx)
	if err != nil {
		return err
	}
	config := Config{
		Engine: c.engine(), Uncompressed: !c.Compress,
		Origins: c.Origin, Hosts: c.Host, AddressHeader: c.AddressHeader, MediaKeys: c.MediaKey, MinInterval: c.MinInterval,
		Limits: Limits{
			Connections: c.Limits.Connections, AddressConnections: c.Limits.AddressConnections, KeyConnections: c.Limits.KeyConnections,
			PageConnections: c.Limits.PageConnections, Documents: c.Limits.Documents,
		},
		Bucket: files, Metrics: NewMetrics(g.Status.Registry), Logger: log,
	}
	if c.MediaKeys != "" {
		config.ReadMediaKeys = MediaKeysFile(c.MediaKeys)
	}
	if config.TLS, err = c.tls(); err != nil {
		return err
	}
	server, err := New(config)
	if err != nil {
		return err
	}
	if err := wire.Receive(server); err != nil {
		return err
	}
	listeners, err := Listen(ctx, c.Listen, c.Listeners, c.SharePort)
	if err != nil {
		return err
	}
	at := listeners[0].Addr().String()
	pages := http.NewServeMux()
	receipts.NewServer(receipts.Config{Bucket: files, Logger: log}).Register(pages)
	pages.Handle("/", files.Handler())
	g.Status.Ready("fanout", server.Ready)
	g.Status.Ready("bus", wire.Ready)
	if err := g.WatchRelease(ctx, c.Release, c.Cloud, log); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	if err := g.ServeStatus(ctx, c.Status, log); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return server.Serve(ctx, pages, listeners...) })
	log.InfoContext(ctx, "serving viewers", "addr", config.scheme()+"://"+at, "election", election, "stores", c.Stores, "engine", server.Engine())
	return g.Wait()
}

// options are the flags that all services have.
func (c *Command) options() service.Options {
	return service.Options{Data: c.Data, Bus: c.Bus, Status: c.Status, Stores: c.Stores, Cloud: c.Cloud, Release: c.Release}
}

// engine is the one that was asked for, or none.
func (c *Command) engine() Engine {
	if c.Engine == "auto" {
		return ""
	}
	return Engine(c.Engine)
}

// tls reads the certificate, if one is named.
func (c *Command) tls() (*tls.Config, error) {
	if c.TLSCert == "" && c.TLSKey == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("opening --tls-cert and --tls-key: %w", err)
	}
	// WebSockets are opened over HTTP/1.1.
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

func (c *Config) scheme() string {
	if c.TLS != nil {
		return "https"
	}
	return "http"
}

func closeAll(listeners []net.Listener) error {
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// open reads the definition. Viewers need no roster.
func (c *Command) open() (*service.Opened, error) {
	path := service.Data{Dir: c.Data}.DefinitionPath()
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening the election: %w", err)
	}
	e, err := schemas.OpenElection(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &service.Opened{Election: e, Definition: b}, nil
}
