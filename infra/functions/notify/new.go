package notify

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"tallystream/infra/functions"
	"tallystream/schemas"
)

// New makes the handler as the environment says.
func New(ctx context.Context, e *functions.Environment, log *slog.Logger) (*Handler, error) {
	h := &Handler{Log: log, Site: e.Need("TALLYSTREAM_URL"), Send: Post(http.DefaultTransport)}
	secret := &Secret{Name: e.Need("TALLYSTREAM_NOTIFY_SECRET"), HTTP: &http.Client{Timeout: sendTimeout}, Now: time.Now}
	var err error
	if h.Election, err = schemas.ParseElectionID(e.Need("TALLYSTREAM_ELECTION")); err != nil {
		e.Wrong("TALLYSTREAM_ELECTION", "%v", err)
	}
	if err := e.Err(); err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	secret.Region, secret.Credentials, secret.Endpoint = cfg.Region, cfg.Credentials, aws.ToString(cfg.BaseEndpoint)
	h.Targets = secret.Targets
	return h, nil
}
