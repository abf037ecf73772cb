package service

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"tallystream/service/cloud"
)

// Where an election's stores are.
const (
	Embedded = "embedded" // files of this machine
	AWS      = "aws"      // Kinesis, DynamoDB, S3 and KMS
)

// Options are the flags of every service that runs as a process of its own.
type Options struct {
	Data     string `help:"Private directory with definition.json, roster.json and keys; embedded, also with stream and ledger." type:"path" default:"data" env:"TALLYSTREAM_DATA"`
	Bus      string `help:"NATS of the fanout service, for wake-ups and deltas." default:"nats://127.0.0.1:4250" env:"TALLYSTREAM_BUS"`
	BusTLSCA string `name:"bus-tls-ca" help:"Who may sign the certificate of a bus at tls://...: PEM, or a file of it. Empty: whom the system trusts." env:"TALLYSTREAM_BUS_TLS_CA" placeholder:"PEM|FILE"`
	Status   string `help:"Address of /healthz, /readyz and /metrics." placeholder:"HOST:PORT"`

	Stores string        `help:"Where stream, ledger and bucket are: embedded (files of this machine) or aws." enum:"embedded,aws" default:"embedded" env:"TALLYSTREAM_STORES"`
	Cloud  cloud.Options `embed:""`

	Release ReleaseOptions `embed:""`
}

// BusAt is where the bus is.
func (o *Options) BusAt() BusAddress { return BusAddress{URL: o.Bus, Authorities: o.BusTLSCA} }

// Group runs the parts of a process until one fails or ctx ends.
type Group struct {
	*errgroup.Group
	Status *Status
}

// NewGroup makes a group and the context that its parts end with.
func NewGroup(ctx context.Context) (*Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return &Group{g, NewStatus()}, ctx
}

// ServeStatus answers the status pages on addr, if it is set.
func (g *Group) ServeStatus(ctx context.Context, addr string, log *slog.Logger) error {
	if addr == "" {
		return nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening for status pages: %w", err)
	}
	mux := http.NewServeMux()
	g.Status.Register(mux)
	log.InfoContext(ctx, "status pages", "addr", l.Addr().String())
	g.Go(func() error { return Serve(ctx, l, mux) })
	return nil
}
