package verify

import (
	"context"
	"log/slog"

	"golang.org/x/mod/sumdb/note"

	"tallystream/infra/functions"
	"tallystream/publish/verify"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// mostRemembered is what is kept of published objects from one invocation to the
// next. The count of a state of 180,000 units needs half a gigabyte beside it.
const mostRemembered = 512 << 20

// New makes the handler as the environment says. The caller sets the clock.
func New(ctx context.Context, e *functions.Environment, log *slog.Logger) (*Handler, error) {
	h := &Handler{Log: log, Key: e.Need("TALLYSTREAM_KEY")}
	if _, err := note.NewVerifier(h.Key); err != nil && h.Key != "" {
		e.Wrong("TALLYSTREAM_KEY", "is no verifier key NAME+HASH+KEY: %v", err)
	}
	site, err := verify.Open(e.Need("TALLYSTREAM_URL"))
	if err != nil {
		e.Wrong("TALLYSTREAM_URL", "%v", err)
	}
	h.Source = Remembering(site, mostRemembered)
	if h.Election, err = schemas.ParseElectionID(e.Need("TALLYSTREAM_ELECTION")); err != nil {
		e.Wrong("TALLYSTREAM_ELECTION", "%v", err)
	}
	states := &S3States{Bucket: e.Need("TALLYSTREAM_STATE_BUCKET"), Key: string(h.Election) + ".state"}
	h.States = states
	if err := e.Err(); err != nil {
		return nil, err
	}
	clients, err := cloud.Open(ctx, cloud.Options{}, cloud.WithLog(log))
	if err != nil {
		return nil, err
	}
	states.Calls = clients.S3
	return h, nil
}
