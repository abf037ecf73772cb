//go:build !linux

package fanout

import (
	"context"
	"errors"
	"net"
	"net/http"
)

// serveEpoll is not reached: New refuses the engine on this system.
func (s *Server) serveEpoll(context.Context, http.Handler, []net.Listener) error {
	return errors.New("fanout: no epoll on this system")
}
