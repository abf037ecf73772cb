package main

import (
	"context"
	"fmt"
	"net"
)

// hub is one way to push frames. Its process has nothing else to do.
type hub interface {
	// publish hands the delta to everybody. It may wait until they have it.
	publish(frame []byte)
	// open is how many viewers there are.
	open() int
}

// reader is a hub that reads a bucket.
type reader interface{ reads() uint64 }

// starter makes a hub that serves l until ctx ends.
type starter func(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error)

// kind is a way to push with its name in tables.
type kind struct {
	name  string
	raw   bool // frames without a handshake
	start starter
}

// kinds in the order of the table; the first is what others are held against.
func kinds() []kind {
	return []kind{
		{"write(2)", true, startWrite},
		{"send(2)", true, startSend},
		{"epoll", false, startEpoll},
		{"portable", false, startPortable},
		{"gorilla", false, startGorilla},
		{"coder", false, startCoder},
	}
}

func kindNamed(name string) (kind, error) {
	for _, k := range kinds() {
		if k.name == name {
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("no kind %q", name)
}
