// Package client sends signed submissions and brings back their receipts.
//
// Invariant: Send returns a receipt only if its signature verifies and it names
// exactly the bytes that were sent. Sending the same envelope again is always
// safe: it is counted once, and its receipt is the same.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
)

// Defaults of Config.
const (
	DefaultAttempts = 10
	DefaultFirst    = 200 * time.Millisecond
	DefaultMost     = 10 * time.Second
	DefaultTimeout  = 15 * time.Second
	// longestRetryAfter bounds what a server may ask for.
	longestRetryAfter = 2 * time.Minute
	// maxAnswer is above any receipt and any problem, maxStates above what a
	// unit's submissions come to.
	maxAnswer = 64 << 10
	maxStates = 4 << 20
)

const (
	submissionsPath     = "/v1/submissions"
	releasesPath        = "/v1/releases"
	keyPath             = "/v1/key"
	submissionMediaType = "application/vnd.tallystream.submission"
	releaseMediaType    = "application/vnd.tallystream.release"
)

// Config says where to send and how patiently.
type Config struct {
	// URL of the service, without a path: "https://submit.example.org".
	URL string
	// Verifier checks receipts.
	Verifier note.Verifier
	// HTTP defaults to a client of its own with DefaultTimeout a request.
	HTTP *http.Client
	// Attempts in all; default DefaultAttempts. The context bounds them too.
	Attempts int
	// First is the longest wait before the second attempt; each further one
	// may be twice as long, up to Most. The wait itself is random between
	// nothing and that ("full jitter"), so that a thousand clients which failed
	// together do not come back together. Retry-After is waited for besides.
	First, Most time.Duration
	// OnRetry, if set, hears of every failed attempt that another will follow.
	OnRetry func(attempt int, wait time.Duration, err error)
	// Jitter returns a random wait below its argument; default math/rand/v2.
	Jitter func(time.Duration) time.Duration
}

// Client sends submissions and releases. It is safe for concurrent use.
type Client struct{ cfg Config }

// Receipt is a checked receipt.
type Receipt struct {
	schemas.Receipt
	Note     []byte // its exact bytes: what to keep
	Attempts int
}

// RefusedError is a final answer: sending the same bytes again will not help.
type RefusedError struct{ Problem schemas.Problem }

func (e *RefusedError) Error() string {
	p := &e.Problem
	var s strings.Builder
	fmt.Fprintf(&s, "refused (%d", p.Status)
	if code := p.Code(); code != "" {
		fmt.Fprintf(&s, ", %s", code)
	}
	fmt.Fprintf(&s, "): %s", p.Title)
	if p.Field != "" {
		fmt.Fprintf(&s, " %s:", p.Field)
	}
	if p.Detail != "" {
		s.WriteString(" " + p.Detail)
	}
	return s.String()
}

// GaveUpError means that no final answer came: the submission may or may not
// be stored. Send it again later.
type GaveUpError struct {
	Attempts int
	Last     error // a network error, a *RefusedError that may pass, or a bad receipt
}

func (e *GaveUpError) Error() string {
	return fmt.Sprintf("gave up after %d attempts: %v", e.Attempts, e.Last)
}

// Unwrap returns the last attempt's error.
func (e *GaveUpError) Unwrap() error { return e.Last }

// ErrReceipt means that an answer looked like success but was no receipt for
// what was sent. Nothing may be taken as promised.
var ErrReceipt = errors.New("the answer is not a receipt for what was sent")

// New checks cfg and returns a Client.
func New(cfg Config) (*Client, error) {
	if cfg.URL == "" || cfg.Verifier == nil {
		return nil, errors.New("submission client: URL and verifier are required")
	}
	cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: DefaultTimeout}
	}
	if cfg.Attempts <= 0 {
		cfg.Attempts = DefaultAttempts
	}
	if cfg.First <= 0 {
		cfg.First = DefaultFirst
	}
	if cfg.Most <= 0 {
		cfg.Most = DefaultMost
	}
	if cfg.Jitter == nil {
		cfg.Jitter = func(d time.Duration) time.Duration { return rand.N(d) }
	}
	return &Client{cfg: cfg}, nil
}

// Send sends an envelope until it has a receipt, a final refusal
// (*RefusedError) or no patience left (*GaveUpError).
func (c *Client) Send(ctx context.Context, envelope []byte) (*Receipt, error) {
	var v schemas.Envelope
	if err := v.Parse(envelope); err != nil {
		return nil, fmt.Errorf("sending submission: %w", err)
	}
	return c.send(ctx, &parcel{
		what: "submission", path: submissionsPath, media: submissionMediaType, bytes: envelope,
		want: schemas.Receipt{Origin: string(v.Origin), Unit: schemas.UnitID(v.Unit), Revision: v.Revision, Digest: v.Digest},
		open: schemas.OpenReceipt,
	})
}

// SendRelease sends a release, like Send. The receipt is of that kind.
func (c *Client) SendRelease(ctx context.Context, release []byte) (*Receipt, error) {
	var l schemas.Release
	if err := l.Parse(release); err != nil {
		return nil, fmt.Errorf("sending release: %w", err)
	}
	return c.send(ctx, &parcel{
		what: "release", path: releasesPath, media: releaseMediaType, bytes: release,
		want: schemas.Receipt{Origin: string(l.Origin), Unit: schemas.UnitID(l.Unit), Revision: l.Revision, Digest: l.Digest},
		open: func(b []byte, v note.Verifier) (*schemas.Receipt, error) {
			r, err := schemas.OpenReleaseReceipt(b, v)
			return (*schemas.Receipt)(r), err
		},
	})
}

// parcel is what is sent, and what its receipt must say.
type parcel struct {
	what, path, media string
	bytes             []byte
	want              schemas.Receipt
	open              func([]byte, note.Verifier) (*schemas.Receipt, error)
}

func (c *Client) send(ctx context.Context, p *parcel) (*Receipt, error) {
	for attempt := 1; ; attempt++ {
		receipt, after, err := c.try(ctx, p)
		if err == nil {
			receipt.Attempts = attempt
			return receipt, nil
		}
		if after < 0 {
			return nil, err
		}
		if attempt >= c.cfg.Attempts || !c.rest(ctx, attempt, after, err) {
			return nil, &GaveUpError{Attempts: attempt, Last: err}
		}
	}
}

// rest waits before the next attempt, or reports that ctx ended.
func (c *Client) rest(ctx context.Context, attempt int, after time.Duration, err error) bool {
	wait := after + c.backoff(attempt)
	if c.cfg.OnRetry != nil && ctx.Err() == nil {
		c.cfg.OnRetry(attempt, wait, err)
	}
	return sleep(ctx, wait)
}

// backoff is the random wait after the given attempt.
func (c *Client) backoff(attempt int) time.Duration {
	longest := c.cfg.Most
	if shift := attempt - 1; shift < 20 && c.cfg.First<<shift < longest {
		longest = c.cfg.First << shift
	}
	return c.cfg.Jitter(longest)
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// final as a wait means: do not try again.
const final = time.Duration(-1)

// try sends once. After an error it returns how long the server wants us to
// wait at least, or final.
func (c *Client) try(ctx context.Context, p *parcel) (*Receipt, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL+p.path, bytes.NewReader(p.bytes))
	if err != nil {
		return nil, final, fmt.Errorf("sending %s: %w", p.what, err)
	}
	req.Header.Set("Content-Type", p.media)
	res, body, err := c.do(req, maxAnswer)
	if err != nil {
		return nil, 0, fmt.Errorf("sending %s: %w", p.what, err)
	}
	if res.StatusCode == http.StatusOK {
		receipt, err := c.open(body, p)
		return receipt, 0, err
	}
	return nil, retryAfter(res), &RefusedError{Problem: problemOf(res, body)}
}

// do sends a request and reads the answer.
func (c *Client) do(req *http.Request, most int64) (*http.Response, []byte, error) {
	res, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return res, body, nil
}

// open checks that body is the receipt for p. A captive portal answers 200 too:
// that is no reason to believe it, nor to give up.
func (c *Client) open(body []byte, p *parcel) (*Receipt, error) {
	r, err := p.open(body, c.cfg.Verifier)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if *r != p.want {
		return nil, fmt.Errorf("%w: it is for %s revision %s", ErrReceipt, r.Unit, r.Revision)
	}
	return &Receipt{Receipt: *r, Note: body}, nil
}

// States asks once what became of a unit's submissions.
func (c *Client) States(ctx context.Context, unit schemas.UnitID) ([]schemas.SubmissionState, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.URL+submissionsPath+"/"+url.PathEscape(string(unit)), nil)
	if err != nil {
		return nil, fmt.Errorf("asking for states: %w", err)
	}
	res, body, err := c.do(req, maxStates)
	if err != nil {
		return nil, fmt.Errorf("asking for states: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, &RefusedError{Problem: problemOf(res, body)}
	}
	var states []schemas.SubmissionState
	if err := json.Unmarshal(body, &states); err != nil {
		return nil, fmt.Errorf("reading states: %w", err)
	}
	return states, nil
}

// retryAfter is the wait that a refusal asks for, or final.
func retryAfter(res *http.Response) time.Duration {
	switch res.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return final
	}
	seconds, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 31)
	if err != nil { // absent, or a date, which our service never sends
		return 0
	}
	return min(time.Duration(seconds)*time.Second, longestRetryAfter)
}

// problemOf reads a problem, or makes one of an answer that has none (a proxy's).
func problemOf(res *http.Response, body []byte) schemas.Problem {
	var p schemas.Problem
	if media, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";"); media == schemas.ProblemMediaTypeName {
		if err := json.Unmarshal(body, &p); err == nil {
			p.Status = res.StatusCode
			return p
		}
	}
	return schemas.Problem{Type: "about:blank", Title: http.StatusText(res.StatusCode), Status: res.StatusCode}
}

// FetchKey asks a service for the verifier key of its receipts. It is as
// trustworthy as the connection: compare it with one from the election
// authority, and keep it.
func FetchKey(ctx context.Context, hc *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+keyPath, nil)
	if err != nil {
		return "", fmt.Errorf("fetching the receipt key: %w", err)
	}
	res, err := hc.Do(req)
	if err != nil {
		return "", fmt.Errorf("fetching the receipt key: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("fetching the receipt key: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("fetching the receipt key: status %d", res.StatusCode)
	}
	key := strings.TrimSpace(string(body))
	if _, err := note.NewVerifier(key); err != nil {
		return "", fmt.Errorf("fetching the receipt key: %w", err)
	}
	return key, nil
}
