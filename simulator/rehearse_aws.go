package simulator

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"

	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/cloud"
)

// awsFlags choose a rehearsal on AWS.
type awsFlags struct {
	Stores string `help:"Rehearse on the embedded engines, or on aws. With --aws-endpoint it is aws." enum:"embedded,aws" default:"embedded"`
	Shards int    `help:"Shards of the stream." default:"2" group:"aws"`
	cloud.Options
}

func (f *awsFlags) isAWS() bool { return f.Stores == service.AWS || f.Endpoint != "" }

// defaultPrefix is that of cloud.Options. A rehearsal does not use it: it must
// not touch what belongs to a night.
const defaultPrefix = "tallystream"

// prepare makes stream, tables, bucket and key under names of their own, which
// hold a new night, and says where they are. Nothing is removed afterwards.
func (f *awsFlags) prepare(ctx context.Context, election schemas.ElectionID, out io.Writer) (service.Options, error) {
	if f.Prefix == defaultPrefix {
		f.Prefix = "rehearsal-" + strings.ToLower(rand.Text()[:8])
	}
	clients, err := cloud.Open(ctx, f.Options)
	if err != nil {
		return service.Options{}, err
	}
	names, err := clients.Names(ctx, f.Options, election)
	if err != nil {
		return service.Options{}, err
	}
	setup := cloud.Setup{
		Clients: clients, Plan: names.Plan(cloud.Size{Shards: f.Shards}, clients.Region),
		Progress: func(text string) { fmt.Fprintln(out, text) },
	}
	findings, err := setup.Run(ctx)
	if err != nil {
		return service.Options{}, fmt.Errorf("preparing AWS for the rehearsal: %w", err)
	}
	for _, found := range findings {
		if found.State == cloud.Right {
			return service.Options{}, usageError{fmt.Errorf("--aws-prefix %s: %s %s exists already; a rehearsal needs new ones", f.Prefix, found.Resource, found.Name)}
		}
	}
	fmt.Fprintf(out, "AWS      %s, %s, %s, %s, %s in %s (they stay; remove them when you have seen enough)\n",
		names.Stream, names.Ledger, names.Control, names.Bucket, names.Key, clients.Region)
	return service.Options{Stores: service.AWS, Cloud: f.Options}, nil
}
