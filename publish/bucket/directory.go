package bucket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// stagingName is the directory, within the bucket, of files that have no key
// yet. Keys cannot name it.
const stagingName = ".staging"

// abandoned is how old a staged file is when its process must be gone.
const abandoned = time.Hour

// Directory is a bucket in a directory. It is safe for concurrent use, and
// several processes may use one.
type Directory struct {
	root    string
	staging string
	// process and count name staged files: unique among processes and within
	// one.
	process string
	count   atomic.Uint64
	metrics *Metrics

	cache *cache // of objects for Handler

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
	d := &Directory{
		root:    path,
		staging: filepath.Join(path, stagingName),
		process: rand.Text(),
		cache:   newCache(),
		durable: map[string]struct{}{},
	}
	for _, option := range options {
		option(d)
	}
	if d.metrics == nil {
		d.metrics = NewMetrics(prometheus.NewRegistry())
	}
	if err := os.MkdirAll(d.staging, 0o755); err != nil {
		return nil, fmt.Errorf("opening bucket: %w", err)
	}
	if err := syncDirectories([]string{filepath.Dir(path), path}); err != nil {
		return nil, fmt.Errorf("opening bucket: %w", err)
	}
	if err := d.sweep(time.Now().Add(-abandoned)); err != nil {
		return nil, fmt.Errorf("opening bucket: %w", err)
	}
	return d, nil
}

// sweep removes files that were staged before the given time: what processes
// left that died before naming them. Nobody can have seen them.
func (d *Directory) sweep(before time.Time) error {
	entries, err := os.ReadDir(d.staging)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && info.ModTime().Before(before) {
			err = os.Remove(filepath.Join(d.staging, entry.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
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
