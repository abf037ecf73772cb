package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// sendTimeout bounds one target; a function has 30 seconds for all.
const sendTimeout = 6 * time.Second

// Post sends messages over HTTP. Redirects are not followed: a token goes where
// the secret says and nowhere else.
func Post(transport http.RoundTripper) Sender {
	client := &http.Client{
		Transport: transport, Timeout: sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, t *Target, m *Message) error {
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body))
		if err != nil {
			return errors.New("its URL is none")
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", m.ID)
		if t.Token != "" {
			req.Header.Set("Authorization", "Bearer "+t.Token)
		}
		res, err := client.Do(req)
		if err != nil {
			return withoutURL(err)
		}
		_, err = io.CopyN(io.Discard, res.Body, maxText)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return withoutURL(err)
		}
		if res.StatusCode < 200 || res.StatusCode > 299 {
			return fmt.Errorf("it answered HTTP %d", res.StatusCode)
		}
		return nil
	}
}

// withoutURL leaves out where to: a chat's URL is its password.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
