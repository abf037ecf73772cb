package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"time"
)

// A server process is told what to do on its standard input and answers on its
// standard output; it ends with its input. CPU and memory of the two sides can be
// told apart because nothing else is in it.

// setup is the first line of the input.
type setup struct {
	Kind    string `json:"kind"`
	Deflate bool   `json:"deflate"`
	Bytes   int    `json:"bytes"` // of a delta
	Quiet   bool   `json:"quiet"` // no pings
	Alert   bool   `json:"alert"` // viewers that give no sign of life are noticed soon
	Open    bool   `json:"open"`  // to other addresses than this machine's loopback
}

// command is every further line.
type command struct {
	Do string `json:"do"` // publish, open, memory, release, reads
}

// answer is one line of the output; each command has one.
type answer struct {
	Address string `json:"address,omitempty"` // after the setup
	Open    int    `json:"open,omitempty"`
	// InUse is heap and stacks that are in use after a collection, in bytes.
	InUse uint64 `json:"in_use,omitempty"`
	Reads uint64 `json:"reads,omitempty"` // of the bucket, by a hub that has one
	Error string `json:"error,omitempty"`
}

// errNotBuilt is returned for kinds that this system does not have.
var errNotBuilt = errors.New("not on this system")

// serve is the life of a server process.
func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	read, write := json.NewDecoder(in), json.NewEncoder(out)
	var s setup
	if err := read.Decode(&s); err != nil {
		return fmt.Errorf("reading the setup: %w", err)
	}
	p := newPress(s.Bytes)
	h, address, err := open(ctx, s, p)
	if err != nil {
		return errors.Join(err, write.Encode(answer{Error: err.Error()}))
	}
	if err := write.Encode(answer{Address: address}); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	for {
		var c command
		if err := read.Decode(&c); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading a command: %w", err)
		}
		if err := write.Encode(obey(c, h, p)); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
}

func open(ctx context.Context, s setup, p *press) (hub, string, error) {
	k, err := kindNamed(s.Kind)
	if err != nil {
		return nil, "", err
	}
	address := "127.0.0.1:0"
	if s.Open {
		address = "0.0.0.0:0"
	}
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return nil, "", fmt.Errorf("listening: %w", err)
	}
	h, err := k.start(ctx, l.(*net.TCPListener), p, s)
	if err != nil {
		return nil, "", fmt.Errorf("starting %s: %w", s.Kind, err)
	}
	return h, fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port), nil
}

func obey(c command, h hub, p *press) answer {
	switch c.Do {
	case "publish":
		h.publish(p.next(time.Now()))
		return answer{}
	case "open":
		return answer{Open: h.open()}
	case "reads":
		if r, ok := h.(reader); ok {
			return answer{Reads: r.reads()}
		}
		return answer{}
	case "memory":
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return answer{InUse: m.HeapInuse + m.StackInuse}
	case "release":
		debug.FreeOSMemory()
		debug.FreeOSMemory()
		return answer{}
	}
	return answer{Error: fmt.Sprintf("no command %q", c.Do)}
}
