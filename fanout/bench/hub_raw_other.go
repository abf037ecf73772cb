//go:build !linux

package main

import (
	"context"
	"net"
)

func startWrite(context.Context, *net.TCPListener, *press, setup) (hub, error) {
	return nil, errNotBuilt
}

func startSend(context.Context, *net.TCPListener, *press, setup) (hub, error) {
	return nil, errNotBuilt
}
