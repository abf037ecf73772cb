// Package bucket keeps published objects where everyone may read them.
//
// Its invariants: an object put with PutNew never changes and never goes
// away, whoever else tries to write at its key; no reader ever sees part of
// an object; and what PutNew and Replace have returned from survives a power
// cut, its name included.
package bucket

import "errors"

// Object is something to publish.
type Object struct {
	// Key is the object's path, such as "snapshots/000000012". ValidKey says
	// what it may look like.
	Key  string
	Body []byte
	// ContentType and CacheControl are kept by a store that can keep them. A
	// directory cannot: its Handler says ContentTypeOf and CacheControlOf of
	// the key.
	ContentType  string
	CacheControl string
}

// What a caller decides on.
var (
	// ErrNotFound: there is no object at that key.
	ErrNotFound = errors.New("no such object")
	// ErrDiffers: another object lies at a key that is written once. It
	// stays as it was.
	ErrDiffers = errors.New("another object lies at this key")
	// ErrKey: the key is not a ValidKey.
	ErrKey = errors.New("key is not valid")
)
