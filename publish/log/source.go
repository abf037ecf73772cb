package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrAbsent: there is no such object.
var ErrAbsent = errors.New("no such object")

// fetchTimeout bounds one request: a large bundle over a slow line.
const fetchTimeout = 60 * time.Second

// maxObject bounds what a server can make us read.
const maxObject = MaxBundle

// Open reads a published log from a URL (http or https) or a directory.
func Open(location string) (Tiles, error) {
	if strings.Contains(location, "://") {
		return NewHTTP(location, &http.Client{Timeout: fetchTimeout})
	}
	root, err := os.OpenRoot(location)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	return &directory{root}, nil
}

// directory reads a published directory without leaving it.
type directory struct{ root *os.Root }

// Get reads one file.
func (d *directory) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.root.Open(filepath.FromSlash(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("getting %s: %w", key, ErrAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	b, err := readBounded(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	return b, nil
}

// HTTP reads a log from a web server.
type HTTP struct {
	base   *url.URL
	client *http.Client
}

// NewHTTP reads what lies below base. The client should have a timeout.
func NewHTTP(base string, client *http.Client) (*HTTP, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("opening log: %q: want a URL of http or https", base)
	}
	return &HTTP{base: u, client: client}, nil
}

// Get fetches one object.
func (h *HTTP) Get(ctx context.Context, key string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base.JoinPath(key).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	res, err := h.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	b, err := readAnswer(res)
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	return b, nil
}

func readAnswer(res *http.Response) (b []byte, err error) {
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	switch res.StatusCode {
	case http.StatusOK:
		return readBounded(res.Body)
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone: // S3 answers 403 where listing is not allowed
		return nil, ErrAbsent
	}
	return nil, fmt.Errorf("the server answered %s", res.Status)
}

func readBounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxObject+1))
	if err == nil && len(b) > maxObject {
		err = fmt.Errorf("more than %d bytes", maxObject)
	}
	return b, err
}
