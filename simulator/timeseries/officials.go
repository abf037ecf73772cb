package timeseries

import (
	"context"
	"fmt"
	"net/http"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"tallystream/ingest/client"
	"tallystream/schemas"
	"tallystream/simulator/elections"
)

// clients is how many connections statements come over.
const clients = 32

// officials sign and send, over HTTP: officials what the series says, two
// supervisors of the county what they decide.
type officials struct {
	election *schemas.Election
	keys     *elections.Keys
	http     *http.Client
	client   *client.Client
	sent     uint64 // records with a receipt, each of which makes an entry
}

func newOfficials(e *schemas.Election, keys *elections.Keys, url string, receipts note.Verifier) (*officials, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = clients
	o := &officials{election: e, keys: keys, http: &http.Client{Transport: transport, Timeout: client.DefaultTimeout}}
	var err error
	o.client, err = client.New(client.Config{URL: url, Verifier: receipts, HTTP: o.http})
	return o, err
}

func (o *officials) close() { o.http.CloseIdleConnections() }

// report sends statements, in any order, and returns when all have receipts.
func (o *officials) report(ctx context.Context, statements []Statement) error {
	return sendAll(ctx, o, statements, func(ctx context.Context, st *Statement) error {
		return o.submit(ctx, st, nil, o.keys.Sign(nil, o.election.Units[st.Unit].County))
	})
}

// sendAll sends to all of a list at once, as far as there are connections.
func sendAll[T any](ctx context.Context, o *officials, all []T, send func(context.Context, *T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	for i := range all {
		g.Go(func() error { return send(ctx, &all[i]) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	o.sent += uint64(len(all))
	return nil
}

func (o *officials) submit(ctx context.Context, st *Statement, c *schemas.Correction, signers []note.Signer) error {
	unit := o.election.Units[st.Unit].ID
	body := o.election.AppendBody(nil, st.Unit, st.Revision, st.Cells, nil, c)
	envelope, err := schemas.AppendEnvelope(nil, o.election.Definition.Origin, unit, st.Revision, body, signers...)
	if err == nil {
		_, err = o.client.Send(ctx, envelope)
	}
	if err != nil {
		return fmt.Errorf("unit %s, revision %s: %w", unit, st.Revision, err)
	}
	return nil
}

// correct sends corrections.
func (o *officials) correct(ctx context.Context, all []correction) error {
	return sendAll(ctx, o, all, func(ctx context.Context, c *correction) error {
		return o.submit(ctx, &c.Statement, &c.why, o.keys.Correct(nil, o.election.Units[c.Unit].County))
	})
}

// release sends releases.
func (o *officials) release(ctx context.Context, all []release) error {
	return sendAll(ctx, o, all, func(ctx context.Context, r *release) error {
		unit, _ := o.election.Unit(r.hold.Unit)
		b, err := schemas.AppendRelease(nil, o.election.Definition.Origin, r.hold.Unit, r.hold.Revision, r.hold.Digest, r.reason, r.text,
			o.keys.Correct(nil, o.election.Units[unit].County)...)
		if err == nil {
			_, err = o.client.SendRelease(ctx, b)
		}
		if err != nil {
			return fmt.Errorf("releasing unit %s, revision %s: %w", r.hold.Unit, r.hold.Revision, err)
		}
		return nil
	})
}
