package faultsim

import (
	"bytes"
	"context"
	"strings"

	"tallystream/publish/bucket"
	"tallystream/schemas"
)

// simBucket holds objects. Each object of a call is a write of its own: a
// crash leaves some of them.
type simBucket struct {
	world   *world
	objects map[string][]byte
	onPut   func(key string, body []byte)
}

func newBucket(w *world) *simBucket { return &simBucket{world: w, objects: map[string][]byte{}} }

// kindOf says which write it is.
func kindOf(key string) write {
	switch {
	case key == schemas.LatestKey:
		return writeLatest
	case key == checkpointKey:
		return writeCheckpoint
	case strings.HasPrefix(key, "tile/"):
		return writeTile
	case strings.HasPrefix(key, "snapshots/"):
		return writeNote
	case strings.HasPrefix(key, "manifests/"):
		return writeManifest
	case strings.HasPrefix(key, "documents/"):
		return writeDocument
	case strings.HasSuffix(key, ".html"):
		return writePages
	}
	return writeElection
}

// checkpointKey is where the newest signed size and root of the log lie.
const checkpointKey = "checkpoint"

// fixed are objects of the election that every sequencer puts when it opens.
// There are many, and one write stands for all of them.
func fixed(objects []bucket.Object) bool {
	for i := range objects {
		if kindOf(objects[i].Key) != writeElection {
			return false
		}
	}
	return len(objects) > 0
}

func (b *simBucket) PutNew(_ context.Context, objects ...bucket.Object) error {
	return b.put(objects, func(o *bucket.Object) error {
		if there, ok := b.objects[o.Key]; ok {
			if !bytes.Equal(there, o.Body) {
				return bucket.ErrDiffers
			}
			return nil
		}
		b.objects[o.Key] = o.Body
		b.onPut(o.Key, o.Body)
		return nil
	})
}

func (b *simBucket) Replace(_ context.Context, objects ...bucket.Object) error {
	return b.put(objects, func(o *bucket.Object) error {
		if there, ok := b.objects[o.Key]; ok && bucket.WrittenOnce(o.Key) && !bytes.Equal(there, o.Body) {
			b.world.violate("object %s is written once, and is replaced", o.Key)
		}
		b.objects[o.Key] = o.Body
		b.onPut(o.Key, o.Body)
		return nil
	})
}

// put writes objects in any order, and stops at the first that fails.
func (b *simBucket) put(objects []bucket.Object, one func(*bucket.Object) error) error {
	own := make([]bucket.Object, len(objects)) // the writer may reuse its slice
	for i, o := range objects {
		own[i] = o
		own[i].Body = bytes.Clone(o.Body)
	}
	if fixed(own) {
		return b.world.current.write(writeElection, own[0].Key, func() error { return each(own, one) })
	}
	for _, i := range b.world.random.Perm(len(own)) {
		o := &own[i]
		if err := b.world.current.write(kindOf(o.Key), o.Key, func() error { return one(o) }); err != nil {
			return err
		}
	}
	return nil
}

func each(objects []bucket.Object, one func(*bucket.Object) error) error {
	for i := range objects {
		if err := one(&objects[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *simBucket) Get(_ context.Context, key string) (body []byte, err error) {
	return body, b.world.current.read(key, func() error {
		there, ok := b.objects[key]
		if !ok {
			return bucket.ErrNotFound
		}
		body = bytes.Clone(there)
		return nil
	})
}
