package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"tallystream/publish/bucket"
	"tallystream/service/register"
)

// strictBucket is a bucket in memory that fails the test when bytes change
// that may not.
type strictBucket struct {
	t testing.TB

	mu      sync.Mutex
	objects map[string][]byte
	values  map[string][]byte // of the register
	writes  int               // objects stored or refused, over all processes
	history []string
}

func newBucket(t testing.TB) *strictBucket {
	return &strictBucket{t: t, objects: map[string][]byte{}, values: map[string][]byte{}}
}

var errInjected = errors.New("injected fault")

// fault says what happens to the write of one object.
type fault int

const (
	works     fault = iota
	notStored       // an error, and it was not
	stored          // an error, though it was
	crash           // as notStored, and the process never writes again
	crashed         // as stored, and the process never writes again
)

// process is one process's access to the bucket, with its own faults.
type process struct {
	*strictBucket
	decide func(n int, key string) fault // n counts this process's objects from 1
	dead   chan struct{}                 // closed by a crash

	mu   sync.Mutex
	n    int
	down bool
}

func (b *strictBucket) process(decide func(n int, key string) fault) *process {
	return &process{strictBucket: b, decide: decide, dead: make(chan struct{})}
}

func (p *process) write(key string, store func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return fmt.Errorf("%s: this process is dead", key)
	}
	p.n++
	f := works
	if p.decide != nil {
		f = p.decide(p.n, key)
	}
	if f == works || f == stored || f == crashed {
		if err := store(); err != nil {
			return err
		}
	}
	if f == crash || f == crashed {
		p.down = true
		close(p.dead)
	}
	if f != works {
		return fmt.Errorf("%s: %w", key, errInjected)
	}
	return nil
}

func (p *process) PutNew(_ context.Context, objects ...bucket.Object) error {
	for _, o := range objects {
		if err := p.write(o.Key, func() error { return p.putNew(o) }); err != nil {
			return err
		}
	}
	return nil
}

func (p *process) Replace(_ context.Context, objects ...bucket.Object) error {
	for _, o := range objects {
		if err := p.write(o.Key, func() error { return p.replace(o) }); err != nil {
			return err
		}
	}
	return nil
}

// Load and Swap are the register's. A process counts its swaps among its writes.
func (b *strictBucket) Load(_ context.Context, name string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.values[name]), nil
}

func (p *process) Swap(_ context.Context, name string, before, after []byte) error {
	return p.write("register "+name, func() error { return p.swap(name, before, after) })
}

func (b *strictBucket) swap(name string, before, after []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !bytes.Equal(b.values[name], before) {
		return register.ErrConflict
	}
	b.values[name] = bytes.Clone(after)
	return nil
}

func (b *strictBucket) putNew(o bucket.Object) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	if old, ok := b.objects[o.Key]; ok {
		if !bytes.Equal(old, o.Body) {
			return fmt.Errorf("%s: %w", o.Key, bucket.ErrDiffers)
		}
		return nil
	}
	b.objects[o.Key] = bytes.Clone(o.Body)
	b.history = append(b.history, o.Key)
	return nil
}

func (b *strictBucket) replace(o bucket.Object) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writes++
	if isWrittenOnce(o.Key) {
		b.t.Errorf("%s is written once, and was replaced", o.Key)
	}
	b.objects[o.Key] = bytes.Clone(o.Body)
	b.history = append(b.history, o.Key)
	return nil
}

func isWrittenOnce(key string) bool {
	folder, _, ok := strings.Cut(key, "/")
	return ok && slices.Contains([]string{"documents", "manifests", "snapshots", "csv", "units", "rosters", "assets", "tile", "stages"}, folder)
}

func (b *strictBucket) Get(_ context.Context, key string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, ok := b.objects[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, bucket.ErrNotFound)
	}
	return bytes.Clone(body), nil
}

func (b *strictBucket) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.objects))
}

func (b *strictBucket) must(key string) []byte {
	b.t.Helper()
	body, err := b.Get(context.Background(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	return body
}
