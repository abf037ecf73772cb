//go:build !linux

package main

import (
	"context"
	"net"
)

func startRaw(context.Context, *net.TCPListener, *press, bool) (hub, error) { return nil, errNotBuilt }
