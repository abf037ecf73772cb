// Package stream keeps signed submissions durably and in order between ingest
// and aggregation.
//
// Its invariant: a record whose Append returned without error is on disk, and
// every reader, now and after any crash, finds exactly its bytes at exactly
// that checkpoint. Nothing here is ever changed or removed.
//
// The embedded stream is one SQLite file with one order over all partitions,
// like a Kinesis stream of one shard. One process writes it; any number of
// processes on the same machine read it.
package stream

import (
	"errors"

	"tallystream/schemas"
)

// Record is one record of the stream. Its bytes may be shared with other
// readers: never write to them.
type Record struct {
	Partition schemas.Partition
	At        schemas.Checkpoint
	Bytes     []byte
}

// MaxRecord is the largest record that a stream takes: what Kinesis takes, less
// a partition key.
const MaxRecord = 1<<20 - 256

// What a caller decides on. An Append that failed with anything else but
// ErrUnknownOutcome certainly left nothing in the stream.
var (
	// ErrBusy: the queue is full. Nothing was stored; try again later.
	ErrBusy = errors.New("stream is busy")
	// ErrClosed: the stream was closed on this side.
	ErrClosed = errors.New("stream is closed")
	// ErrUnknownOutcome: the record may or may not be in the stream, now or
	// after a crash. Appending it again is right: aggregation counts a
	// repeated submission once.
	ErrUnknownOutcome = errors.New("stream append has an unknown outcome")
	// ErrTooLarge: the record is larger than MaxRecord.
	ErrTooLarge = errors.New("record is too large for the stream")
	// ErrNotFound: no record lies at that checkpoint.
	ErrNotFound = errors.New("no record at this checkpoint")
	// ErrLocked: another process writes this stream.
	ErrLocked = errors.New("stream is written by another process")
	// ErrFormat: the file is not a stream of this version.
	ErrFormat = errors.New("file is not a stream of this version")
)
