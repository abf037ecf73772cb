package verify

import (
	"context"
	"sync"

	"tallystream/publish/bucket"
	"tallystream/publish/verify"
)

// Remembering is a source that reads what is written once only once, for as long
// as the process lives: a snapshot names thousands of documents, of which few
// changed, and the edge counts requests. What it has read is still verified each
// time.
func Remembering(from verify.Source, most int) verify.Source {
	return &remembering{from: from, most: most}
}

// remembering keeps two generations: when the young one is half of what is
// allowed, the old one is forgotten.
type remembering struct {
	from verify.Source
	most int // bytes

	mu         sync.Mutex // guards all below
	young, old map[string][]byte
	size       int // of young
}

func (r *remembering) Get(ctx context.Context, key string) ([]byte, error) {
	if !bucket.WrittenOnce(key) {
		return r.from.Get(ctx, key)
	}
	if b, ok := r.find(key); ok {
		return b, nil
	}
	b, err := r.from.Get(ctx, key)
	if err == nil {
		r.keep(key, b)
	}
	return b, err
}

// Forget makes everything be read again.
func (r *remembering) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young, r.old, r.size = nil, nil, 0
}

func (r *remembering) find(key string) ([]byte, bool) {
	r.mu.Lock()
	b, ok := r.young[key]
	if !ok {
		b, ok = r.old[key]
	}
	r.mu.Unlock()
	if ok {
		r.keep(key, b)
	}
	return b, ok
}

func (r *remembering) keep(key string, b []byte) {
	if len(b) > r.most/16 {
		return // a table of a large county; it comes back seldom
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.young[key]; ok {
		return
	}
	if r.young == nil || r.size+len(b) > r.most/2 {
		r.old, r.young, r.size = r.young, map[string][]byte{}, 0
	}
	r.young[key], r.size = b, r.size+len(b)
}
