package openelections

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Limits of one source. A state's file has some tens of megabytes.
const (
	MaxCompressed = 128 << 20 // bytes fetched
	MaxExpanded   = 1 << 30   // bytes of CSV
)

// Source is one CSV file, plain or gzip.
type Source struct {
	// Name stands in warnings. File names such as
	// 20241105__sc__general__precinct.csv also give date and state.
	Name string
	Open func() (io.ReadCloser, error)
}

// Bytes is a source in memory.
func Bytes(name string, b []byte) Source {
	return Source{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// Find makes sources of file names, glob patterns and https URLs, which it
// fetches with client. Patterns are expanded in sorted order.
func Find(ctx context.Context, client *http.Client, args ...string) ([]Source, error) {
	var out []Source
	for _, arg := range args {
		if strings.Contains(arg, "://") {
			fetched, err := FromURLs(ctx, client, arg)
			if err != nil {
				return nil, err
			}
			out = append(out, fetched...)
			continue
		}
		names, err := expand(arg)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			out = append(out, Source{Name: name, Open: func() (io.ReadCloser, error) { return os.Open(name) }})
		}
	}
	if len(out) == 0 {
		return nil, errors.New("results: want at least one file, pattern or https URL")
	}
	return out, nil
}

// expand takes a name as it stands before it takes it for a pattern.
func expand(arg string) ([]string, error) {
	if _, err := os.Stat(arg); err == nil {
		return []string{arg}, nil
	}
	names, err := filepath.Glob(arg)
	if err != nil {
		return nil, fmt.Errorf("results %s: %w", arg, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("results %s: no such file, and no file matches it as a pattern", arg)
	}
	slices.Sort(names)
	return names, nil
}

// FetchTimeout bounds one fetch, whatever the client's own timeout.
const FetchTimeout = 2 * time.Minute

// FromURLs fetches results over https.
func FromURLs(ctx context.Context, client *http.Client, urls ...string) ([]Source, error) {
	var out []Source
	for _, u := range urls {
		s, err := fetch(ctx, client, u)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func fetch(ctx context.Context, client *http.Client, address string) (Source, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return Source{}, fmt.Errorf("results %q: want an https URL", address)
	}
	ctx, cancel := context.WithTimeout(ctx, FetchTimeout)
	defer cancel()
	b, err := get(ctx, client, u)
	if err != nil {
		return Source{}, fmt.Errorf("fetching results %s: %w", u.Redacted(), err)
	}
	return Bytes(path.Base(u.Path), b), nil
}

func get(ctx context.Context, client *http.Client, u *url.URL) (b []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	// A copy of the client, so that a redirect cannot leave https.
	c := *client
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" || len(via) >= 5 {
			return fmt.Errorf("refusing redirect %d to %s", len(via), req.URL.Redacted())
		}
		return nil
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answer %s", resp.Status)
	}
	b, err = io.ReadAll(io.LimitReader(resp.Body, MaxCompressed+1))
	if err == nil && len(b) > MaxCompressed {
		err = fmt.Errorf("more than %d bytes", MaxCompressed)
	}
	return b, err
}

// expanded reads plain or gzip, told apart by the first two bytes, up to
// limit bytes of CSV.
func expanded(r io.Reader, limit int64) (io.Reader, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return &limited{r: br, left: limit}, nil
	}
	z, err := gzip.NewReader(br)
	if err != nil {
		return nil, fmt.Errorf("reading gzip: %w", err)
	}
	return &limited{r: z, left: limit}, nil
}

// limited fails when there is more to read than it allows: a cut file must
// not pass for a whole one.
type limited struct {
	r    io.Reader
	left int64
}

// errTooLong is the end of a limited reader's patience.
var errTooLong = errors.New("the CSV is larger than is allowed")

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		var one [1]byte
		n, err := l.r.Read(one[:])
		if n > 0 {
			return 0, errTooLong
		}
		return 0, err
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	return n, err
}
