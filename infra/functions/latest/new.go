package latest

import (
	"context"
	"log/slog"

	"golang.org/x/mod/sumdb/note"

	"tallystream/infra/functions"
	"tallystream/schemas"
	"tallystream/service/cloud"
	"tallystream/service/register"
)

// New makes the handler as the environment says.
func New(ctx context.Context, e *functions.Environment, log *slog.Logger) (*Handler, error) {
	h := &Handler{Log: log}
	var err error
	if h.Key, err = note.NewVerifier(e.Need("TALLYSTREAM_KEY")); err != nil {
		e.Wrong("TALLYSTREAM_KEY", "is no verifier key NAME+HASH+KEY: %v", err)
	}
	election, err := schemas.ParseElectionID(e.Need("TALLYSTREAM_ELECTION"))
	if err != nil {
		e.Wrong("TALLYSTREAM_ELECTION", "%v", err)
	}
	o := cloud.Options{Prefix: "tallystream", Bucket: e.Need("TALLYSTREAM_AWS_BUCKET")}
	if err := e.Err(); err != nil {
		return nil, err
	}
	clients, err := cloud.Open(ctx, o, cloud.WithLog(log))
	if err != nil {
		return nil, err
	}
	names, err := clients.Names(ctx, o, election)
	if err != nil {
		return nil, err
	}
	h.Bucket = NewS3Bucket(clients.S3, names.Bucket)
	h.Register, err = register.NewDynamoDB(clients.DynamoDB, names.Control, string(election))
	return h, err
}
