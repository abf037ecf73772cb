package faultsim

import (
	"context"
	"fmt"
	"sort"

	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// simOrder is the stream of the embedded mode: one order over all partitions,
// in which a checkpoint is a record's place.
type simOrder struct {
	world *world
	town  *town
	all   []stream.Record
}

func (s *simOrder) appender(*process) ingest.Appender { return s }

func (s *simOrder) source(p *process) stream.Source {
	return stream.OneShard(s, s.town.election.Definition.Partitions, p.Now)
}

// Append is a write like others.
func (s *simOrder) Append(_ context.Context, p schemas.Partition, record []byte) (at schemas.Checkpoint, err error) {
	err = s.world.current.write(writeStream, fmt.Sprintf("partition %d", p), func() error {
		s.put(p, record)
		at = s.Last()
		return nil
	})
	return at, err
}

func (s *simOrder) put(p schemas.Partition, record []byte) {
	s.all = append(s.all, stream.Record{Partition: p, At: s.Last() + 1 + schemas.Checkpoint(s.world.random.IntN(2)), Bytes: record})
}

// Read gives what there is behind a place; it may fail like any read.
func (s *simOrder) Read(_ context.Context, after schemas.Checkpoint, limit int) (out []stream.Record, err error) {
	return out, s.world.current.read("records", func() error {
		from := sort.Search(len(s.all), func(i int) bool { return s.all[i].At > after })
		out = append(out, s.all[from:min(len(s.all), from+limit)]...)
		return nil
	})
}

// Wait does not: whoever drives a worker turn by turn reads when it likes.
func (s *simOrder) Wait(context.Context, schemas.Checkpoint) error { return nil }

// Last is the newest place.
func (s *simOrder) Last() schemas.Checkpoint {
	if len(s.all) == 0 {
		return 0
	}
	return s.all[len(s.all)-1].At
}

func (s *simOrder) records(p schemas.Partition) (out []placed) {
	for i := range s.all {
		if s.all[i].Partition == p {
			out = append(out, placed{s.all[i].At, string(s.all[i].Bytes)})
		}
	}
	return out
}

func (s *simOrder) end(schemas.Partition) schemas.Checkpoint { return s.Last() }
