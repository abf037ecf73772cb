package bucket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

// Directory is a bucket in a directory. It is safe for concurrent use, and
// several processes may use one.
type Directory struct {
	root    string
	staging *staging
	cache   *cache // of objects for Handler
	metrics *Metrics

	mu sync.Mutex
	// durable holds the directories of keys whose own names are on disk, so
	// that only the directory itself must be synced after naming in it.
	durable map[string]struct{}
}

// Option is a choice in opening a Directory.
type Option func(*Directory)

// WithMetrics exports what the bucket does.
func WithMetrics(m *Metrics) Option { return func(d *Directory) { d.metrics = m } }

// OpenDirectory opens the bucket at path, and makes the directory if need be.
func OpenDirectory(path string, options ...Option) (*Directory, error) {
	d := &Directory{root: path, cache: newCache(), durable: map[string]struct{}{}}
	for _, option := range options {
		option(d)
	}
	if d.metrics == nil {
		d.metrics = NewMetrics(prometheus.NewRegistry())
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("opening bucket: %w", err)
	}
	if err := syncDirectories([]string{filepath.Dir(path), path}); err != nil {
		return nil, fmt.Errorf("opening bucket: %w", err)
	}
	var err error
	if d.staging, err = openStaging(path); err != nil {
		return nil, fmt.Errorf("opening bucket: %w", err)
	}
	return d, nil
}

// file is the path of a valid key.
func (d *Directory) file(key string) string {
	return filepath.Join(d.root, filepath.FromSlash(key))
}

// Get returns the bytes of the object at key, or ErrNotFound.
func (d *Directory) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := d.get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("getting object %q: %w", key, err)
	}
	return b, nil
}

func (d *Directory) get(ctx context.Context, key string) ([]byte, error) {
	if !ValidKey(key) {
		return nil, ErrKey
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(d.file(key))
	if isAbsent(err) {
		return nil, ErrNotFound
	}
	return b, err
}

// isAbsent says that no object has that key: nothing is there, or a part of
// the path is an object, or the whole of it is only the beginning of keys.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR)
}
