package receipts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/ingest"
	"tallystream/publish/log"
	"tallystream/schemas"
)

// Limits of asking a site of published results.
const (
	askEvery    = time.Second
	askFor      = 10 * time.Second // one answer
	maxSettings = 64 << 10
)

// AwaitAt waits until the log of published results has the submission of a
// receipt, and checks the proof with the log's key; empty: the one that the
// site names. It is an ingest.AwaitProof.
func AwaitAt(ctx context.Context, results, logKey string, r *schemas.Receipt) (*ingest.Proof, error) {
	client := &http.Client{Timeout: askFor}
	if logKey == "" {
		var err error
		if logKey, err = keyAt(ctx, client, results); err != nil {
			return nil, err
		}
	}
	key, err := note.NewVerifier(logKey)
	if err != nil {
		return nil, fmt.Errorf("the log's key %q: %w", logKey, err)
	}
	if key.Name() != r.Origin {
		return nil, fmt.Errorf("the log's key is of %s, the receipt of %s", key.Name(), r.Origin)
	}
	bundle, proven, err := Await(ctx, client, results, r, askEvery, &log.Policy{}, key)
	if err != nil {
		return nil, err
	}
	return &ingest.Proof{Bundle: bundle, Index: proven.Index, Outcome: proven.Outcome, Hold: proven.Hold}, nil
}

// keyAt is the key that a site of published results names.
func keyAt(ctx context.Context, client *http.Client, results string) (_ string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(results, "/")+"/"+settingsKey, nil)
	if err != nil {
		return "", fmt.Errorf("asking for the log's key: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking for the log's key: %w", err)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("asking for the log's key: %s answered %s", req.URL, res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxSettings))
	if err != nil {
		return "", fmt.Errorf("asking for the log's key: %w", err)
	}
	key, err := keyOfSite(b)
	if err != nil {
		return "", fmt.Errorf("%s: %w", req.URL, err)
	}
	return key, nil
}

// settingsKey is where a site of published results names its key.
const settingsKey = "config.json"

var errNoKey = errors.New("names no key of the log")

func keyOfSite(settings []byte) (string, error) {
	var site struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(settings, &site); err != nil || site.Key == "" {
		return "", errNoKey
	}
	return site.Key, nil
}
