//go:build !linux

package main

import (
	"context"
	"net"
)

func startRaw(context.Context, *net.TCPListener, *press, setup) (hub, error) { return nil, errNotBuilt }
