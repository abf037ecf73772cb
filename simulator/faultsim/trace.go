package faultsim

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"time"
)

// traceLines is how much of a trace is kept for whoever looks for the cause.
const traceLines = 400

// trace is what happened, in order. All of it goes into the hash.
type trace struct {
	hash  hash.Hash64
	ring  [traceLines]traceLine
	count int
	out   io.Writer // gets every line; nil: nobody asked
}

type traceLine struct {
	at                time.Duration
	who, what, detail string
}

func newTrace() *trace { return &trace{hash: fnv.New64a()} }

func (t *trace) add(at time.Duration, who, what, detail string) {
	l := traceLine{at, who, what, detail}
	t.ring[t.count%traceLines] = l
	t.count++
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(at))
	_, _ = t.hash.Write(b[:]) // hashes do not fail
	_, _ = io.WriteString(t.hash, who)
	_, _ = io.WriteString(t.hash, what)
	_, _ = io.WriteString(t.hash, detail)
	if t.out != nil {
		fmt.Fprintln(t.out, l)
	}
}

func (l traceLine) String() string {
	return fmt.Sprintf("%10.4fs  %-22s %-28s %s", l.at.Seconds(), l.who, l.what, l.detail)
}

// last returns the last n lines.
func (t *trace) last(n int) []string {
	n = min(n, t.count, traceLines)
	out := make([]string, n)
	for i := range n {
		out[i] = t.ring[(t.count-n+i)%traceLines].String()
	}
	return out
}
