package verify

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

	"tallystream/publish/log"
)

// Source is where published objects are read from. It is not trusted. An
// object that is not there is log.ErrAbsent; every other error says that
// nothing is known about the object.
type Source interface {
	Get(ctx context.Context, key string) ([]byte, error)
}

// maxObject bounds what a source can make us hold: a county's table of a large
// election has some 100 MB.
const maxObject = 1 << 30

// fetchTimeout bounds one request: a large document over a slow line.
const fetchTimeout = 2 * time.Minute

// Open reads a published election from a URL (http or https) or a directory.
func Open(location string) (Source, error) {
	if !strings.Contains(location, "://") {
		root, err := os.OpenRoot(location)
		if err != nil {
			return nil, fmt.Errorf("opening what is published: %w", err)
		}
		return &directory{root}, nil
	}
	base, err := url.Parse(location)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("opening what is published: %q: want a directory or a URL of http or https", location)
	}
	return &website{base, &http.Client{Timeout: fetchTimeout}}, nil
}

// directory reads files without leaving it.
type directory struct{ root *os.Root }

func (d *directory) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.root.Open(filepath.FromSlash(key))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("getting %s: %w", key, log.ErrAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	about, err := f.Stat()
	var b []byte
	switch {
	case err == nil && about.IsDir():
		err = log.ErrAbsent // only the beginning of keys
	case err == nil:
		b, err = readBounded(f, about.Size())
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
}

func (w *website) Get(ctx context.Context, key string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base.JoinPath(key).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", key, err)
	}
	res, err := w.client.Do(req)
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
		return readBounded(res.Body, res.ContentLength)
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone: // S3 answers 403 where listing is not allowed
		return nil, log.ErrAbsent
	}
	return nil, fmt.Errorf("the server answered %s", res.Status)
}

// readBounded reads all of r. size is what to expect, -1 where it is not
// known; it is a hint of a stranger.
func readBounded(r io.Reader, size int64) ([]byte, error) {
	const mostHinted = 16 << 20
	b := make([]byte, 0, max(512, min(size+1, mostHinted)))
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > maxObject:
			return nil, fmt.Errorf("more than %d bytes", maxObject)
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
