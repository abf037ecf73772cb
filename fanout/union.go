package fanout

import (
	"bytes"
	"fmt"
	"slices"

	"tallystream/schemas"
)

// aged is a line of one of several deltas in a row.
type aged struct {
	key, line []byte
	age       int // index of its delta
}

// unite makes one delta frame out of several in a row: of each line the newest,
// from where the first begins to where the last leads.
func unite(deltas []held) (*Frame, error) {
	var all []aged
	var lines [][]byte
	var first, last schemas.DeltaHeader
	for i, d := range deltas {
		h, joined, err := schemas.ReadDeltaHeader(d.frame.Text())
		if err != nil {
			return nil, fmt.Errorf("uniting deltas: %w", err)
		}
		if i == 0 {
			first = h
		}
		last = h
		if lines, err = schemas.SplitLines(lines[:0], joined); err != nil {
			return nil, fmt.Errorf("uniting deltas: %w", err)
		}
		for _, line := range lines {
			key, err := schemas.LineKey(line)
			if err != nil {
				return nil, fmt.Errorf("uniting deltas: %w", err)
			}
			all = append(all, aged{key, line, i})
		}
	}
	slices.SortFunc(all, func(a, b aged) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return b.age - a.age // newest first
	})
	all = slices.CompactFunc(all, func(a, b aged) bool { return bytes.Equal(a.key, b.key) })
	return unitedFrame(first, last, all), nil
}

func unitedFrame(first, last schemas.DeltaHeader, all []aged) *Frame {
	d := schemas.Delta{
		Epoch: last.Epoch, Document: last.Document, From: first.From, To: last.To,
		Log: last.Log, Micros: last.Micros, Hash: last.Hash, Lines: make([][]byte, len(all)),
	}
	size := 256
	for i := range all {
		d.Lines[i] = all[i].line
		size += len(all[i].line) + 1
	}
	return newFrame(d.AppendFrame(make([]byte, 0, size)), d.Micros)
}
