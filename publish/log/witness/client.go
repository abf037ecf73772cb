package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"tallystream/publish/log"
)

// Client asks a witness for cosignatures: the side of a log.
type Client struct {
	URL  string // submission prefix
	Key  *log.Cosignatory
	HTTP *http.Client // with a timeout

	seen int64 // what the witness saw last, as far as we know
}

// attempts bounds how often a stale size is corrected in one call.
const attempts = 3

// Cosign gets the witness's signature line for a checkpoint of the reader's
// tree. The line has been verified. Not safe for concurrent use.
func (c *Client) Cosign(ctx context.Context, r *log.Reader, checkpoint []byte) ([]byte, error) {
	n, err := log.ParseNote(checkpoint)
	if err != nil {
		return nil, err
	}
	for range attempts {
		c.seen = min(c.seen, r.Tree().N)
		proof, err := r.Consistency(ctx, c.seen)
		if err != nil {
			return nil, err
		}
		lines, stale, err := c.post(ctx, &Request{Old: c.seen, Proof: proof, Checkpoint: checkpoint})
		if err != nil {
			return nil, fmt.Errorf("asking witness %s: %w", c.Key.Name(), err)
		}
		if stale != nil {
			if stale.Size > r.Tree().N || stale.Size == c.seen {
				return nil, fmt.Errorf("asking witness %s: it refuses a tree of %d: %w", c.Key.Name(), r.Tree().N, stale)
			}
			c.seen = stale.Size
			continue
		}
		line, err := c.find(n, lines)
		if err == nil {
			c.seen = r.Tree().N
		}
		return line, err
	}
	return nil, fmt.Errorf("asking witness %s: it says another size each time", c.Key.Name())
}

// find takes the witness's own line out of an answer.
func (c *Client) find(n *log.Note, lines []byte) ([]byte, error) {
	got, err := log.ParseSignatures(lines)
	if err != nil {
		return nil, fmt.Errorf("answer of witness %s: %w", c.Key.Name(), err)
	}
	for i := range got {
		s := &got[i]
		if s.Name == c.Key.Name() && s.Hash == c.Key.KeyHash() && c.Key.Verify(n.Text, s.Bytes) {
			return s.Append(nil), nil
		}
	}
	return nil, fmt.Errorf("answer of witness %s: no cosignature of its key", c.Key.Name())
}

func (c *Client) post(ctx context.Context, body *Request) (lines []byte, stale *StaleError, err error) {
	url := strings.TrimSuffix(c.URL, "/") + "/add-checkpoint"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body.Append(nil)))
	if err != nil {
		return nil, nil, err
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	b, err := io.ReadAll(io.LimitReader(res.Body, log.MaxNote))
	if err != nil {
		return nil, nil, err
	}
	switch res.StatusCode {
	case http.StatusOK:
		return b, nil, nil
	case http.StatusConflict:
		text := strings.TrimSuffix(string(b), "\n")
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil || size < 0 || strconv.FormatInt(size, 10) != text {
			return nil, nil, errors.New("a conflict without a size")
		}
		return nil, &StaleError{size}, nil
	}
	return nil, nil, fmt.Errorf("it answered %s", res.Status)
}
