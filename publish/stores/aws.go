package stores

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate/lease"
	"tallystream/aggregate/ledger/dynamodb"
	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/publish/bucket"
	"tallystream/service"
	"tallystream/service/cloud"
	"tallystream/service/notary"
	"tallystream/service/register"
)

// leaseTTL is how long the work of a process that died lies still. A tick
// comes each second.
const leaseTTL = 8 * time.Second

// aws keeps everything in Kinesis, DynamoDB, S3 and KMS, under the names that
// `tallystream setup` gives them.
type aws struct {
	stores  *Stores
	clients *cloud.Clients
	names   cloud.Names
	checked bool
	metrics *kinesis.Metrics // of both sides of the stream; nil: neither is open
}

func openAWS(ctx context.Context, s *Stores) (*aws, error) {
	clients, err := cloud.Open(ctx, s.cfg.Options.Cloud, s.cfg.Cloud...)
	if err != nil {
		return nil, err
	}
	names, err := clients.Names(ctx, s.cfg.Options.Cloud, s.cfg.Opened.Election.Definition.Election)
	if err != nil {
		return nil, err
	}
	return &aws{stores: s, clients: clients, names: names}, nil
}

func (a *aws) stream() kinesis.Config {
	if a.metrics == nil {
		a.metrics = kinesis.NewMetrics(a.stores.cfg.Registry)
	}
	choices := a.stores.cfg.Stream
	cfg := kinesis.Config{
		API: a.clients.Kinesis, Stream: a.names.Stream, Partitions: a.stores.cfg.Opened.Election.Definition.Partitions,
		Metrics: a.metrics, Logger: a.stores.cfg.Logger,
		SkipExpired: choices.SkipExpired,
	}
	if choices.Consumer != "" {
		cfg.Consumer, cfg.Subscriber = choices.Consumer, kinesis.ClientSubscriber{Client: a.clients.Kinesis}
	}
	return cfg
}

// check asks once whether the stream can be used.
func (a *aws) check(ctx context.Context) error {
	if a.checked {
		return nil
	}
	d, err := kinesis.Check(ctx, a.clients.Kinesis, a.names.Stream, kinesis.Expect{
		Partitions: a.stores.cfg.Opened.Election.Definition.Partitions, Retention: 24 * time.Hour,
	})
	if err != nil {
		return cloud.Explain(err)
	}
	for _, w := range d.Warnings {
		a.stores.cfg.Logger.WarnContext(ctx, "the stream is not as it should be", "stream", a.names.Stream, "why", w)
	}
	a.checked = true
	return nil
}

func (a *aws) writer(ctx context.Context, _ func()) (ingest.Appender, error) {
	if err := a.check(ctx); err != nil {
		return nil, err
	}
	p := kinesis.NewProducer(a.stream())
	a.stores.later(p.Close)
	return p, nil
}

func (a *aws) source(ctx context.Context) (stream.Source, func(), error) {
	if err := a.check(ctx); err != nil {
		return nil, nil, err
	}
	return kinesis.NewSource(a.stream()), func() {}, nil // readers poll
}

func (a *aws) ledger(ctx context.Context) (Ledger, error) {
	o := a.stores.cfg.Opened
	return dynamodb.Open(ctx, o.Election, o.Definition, dynamodb.Config{
		Client: a.clients.DynamoDB, Table: a.names.Ledger, Metrics: dynamodb.NewMetrics(a.stores.cfg.Registry), Logger: a.stores.cfg.Logger,
	})
}

func (a *aws) register(context.Context) (Register, error) {
	return register.NewDynamoDB(a.clients.DynamoDB, a.names.Control, string(a.stores.cfg.Opened.Election.Definition.Election))
}

func (a *aws) bucket(context.Context) (Bucket, error) {
	return served{bucket.NewS3(a.clients.S3, a.names.Bucket, bucket.NewMetrics(a.stores.cfg.Registry))}, nil
}

// signer is the key in KMS, or where the data directory holds one, that file:
// an emulator may have no such keys, and some authorities keep theirs on paper.
func (a *aws) signer(ctx context.Context) (note.Signer, string, error) {
	if _, err := os.Stat(a.stores.data.KeyPath("publish")); err == nil {
		return a.stores.data.Signer("publish")
	}
	origin := a.stores.cfg.Opened.Election.Definition.Origin
	k, err := notary.Open(context.WithoutCancel(ctx), a.clients.KMS, a.names.Key, service.KeyName("publish", origin))
	if err != nil {
		return nil, "", err
	}
	return k, k.VerifierKey(), nil
}

func (a *aws) verifier(ctx context.Context) (string, error) {
	if _, err := os.Stat(a.stores.data.KeyPath("publish")); err == nil {
		_, verifier, err := a.stores.data.Signer("publish")
		return verifier, err
	}
	origin := a.stores.cfg.Opened.Election.Definition.Origin
	return notary.VerifierKey(ctx, a.clients.KMS, a.names.Key, service.KeyName("publish", origin))
}

func (a *aws) leases(ctx context.Context, prefix string) (Leases, error) {
	return a.stores.keeper(ctx, prefix)
}

// lag is what the owners of shards say of themselves.
func (a *aws) lag(ctx context.Context) (func(context.Context) (ingest.Lag, error), error) {
	r, err := a.stores.Register(ctx)
	if err != nil {
		return nil, err
	}
	observer := lease.NewObserver(r, shardLeases, lease.Monotonic())
	return func(ctx context.Context) (ingest.Lag, error) {
		behind, err := observer.Behind(ctx)
		var worst time.Duration
		for _, d := range behind {
			worst = max(worst, d)
		}
		return ingest.Lag{Age: worst}, err
	}, nil
}

// processName is one that no other process has, and that a person can find.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed"
	}
	return strings.ReplaceAll(host, "/", "-") + "-" + rand.Text()[:8]
}
