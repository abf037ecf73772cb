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
	"syscall"
	"time"
)

// ErrAbsent: there is no such object.
var ErrAbsent = errors.New("no such object")

// fetchTimeout bounds one request: a large bundle over a slow line.
const fetchTimeout = 60 * time.Second

// Open reads a published log from a URL (http or https) or a directory.
func Open(location string) (Tiles, error) { return OpenFiles(location, MaxBundle, fetchTimeout) }

// OpenFiles reads whatever is published beside a log, too. An object has most
// bytes at the most; a web server may take so long for one.
func OpenFiles(location string, most int, timeout time.Duration) (Tiles, error) {
	if !strings.Contains(location, "://") {
		root, err := os.OpenRoot(location)
		if err != nil {
			return nil, fmt.Errorf("opening what is published: %w", err)
		}
		return &directory{root, most}, nil
	}
	base, err := url.Parse(location)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("opening what is published: %q: want a directory or a URL of http or https", location)
	}
	return &website{base, &http.Client{Timeout: timeout}, most}, nil
}

// directory reads files without leaving it.
type directory struct {
	root *os.Root
	most int
}

// Get reads one file.
func (d *directory) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.root.Open(filepath.FromSlash(key))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("getting %s: %w", key, ErrAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	about, err := f.Stat()
	var b []byte
	switch {
	case err == nil && about.IsDir():
		err = ErrAbsent // only the beginning of keys
	case err == nil:
		b, err = readBounded(f, about.Size(), d.most)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	return b, nil
}

// website reads from a web server. Unpacking a content encoding is the
// client's business.
type website struct {
	base   *url.URL
	client *http.Client
	most   int
}

// Get fetches one object.
func (w *website) Get(ctx context.Context, key string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base.JoinPath(key).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	b, err := w.read(res)
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	return b, nil
}

func (w *website) read(res *http.Response) (b []byte, err error) {
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	switch res.StatusCode {
	case http.StatusOK:
		return readBounded(res.Body, res.ContentLength, w.most)
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone: // S3 answers 403 where listing is not allowed
		return nil, ErrAbsent
	}
	return nil, fmt.Errorf("the server answered %s", res.Status)
}

// readBounded reads all of r. size is what to expect, -1 where it is not
// known; it is a hint of a stranger.
func readBounded(r io.Reader, size int64, most int) ([]byte, error) {
	const mostHinted = 16 << 20
	b := make([]byte, 0, max(512, min(size+1, mostHinted)))
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > most:
			return nil, fmt.Errorf("more than %d bytes", most)
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return nil, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}
