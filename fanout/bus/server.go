package bus

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ServerOptions say how the embedded NATS server is reached.
type ServerOptions struct {
	// Listen is a host:port for other processes; port 0 takes a free one.
	// Empty: only this process reaches the server.
	Listen string
	// Token that clients over the network must bring; empty: none asked for.
	// Use one, or a loopback address: whoever can publish here can send
	// viewers to fetch (hashes still catch wrong bytes).
	Token string
}

// Server is a NATS server in this process.
type Server struct {
	nats  *server.Server
	token string
}

// Bounds of the embedded server.
const (
	startTimeout = 10 * time.Second
	// pendingBytes a client may be behind before the server cuts it off: the
	// deltas of two ticks of a national night.
	pendingBytes  = 128 << 20
	writeDeadline = 10 * time.Second
)

// StartServer starts a server and waits until it takes connections.
func StartServer(o ServerOptions) (*Server, error) {
	opts := &server.Options{
		ServerName: "tallystream", DontListen: true, NoSigs: true, NoLog: true, NoSystemAccount: true,
		MaxPayload: MaxPayload, MaxPending: pendingBytes, WriteDeadline: writeDeadline,
		Authorization: o.Token,
	}
	if o.Listen != "" {
		host, port, err := net.SplitHostPort(o.Listen)
		if err != nil {
			return nil, fmt.Errorf("starting the bus: %w", err)
		}
		if opts.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("starting the bus on %s: %w", o.Listen, err)
		}
		if opts.Port == 0 {
			opts.Port = server.RANDOM_PORT
		}
		opts.Host, opts.DontListen = host, false
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("starting the bus: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("starting the bus on %q: %w", o.Listen, errNotReady)
	}
	return &Server{s, o.Token}, nil
}

var errNotReady = errors.New("takes no connections; is the address in use?")

// URL is where other processes reach the server, or empty.
func (s *Server) URL() string {
	if a := s.nats.Addr(); a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// Close ends the server and all connections to it.
func (s *Server) Close() error {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	return nil
}
