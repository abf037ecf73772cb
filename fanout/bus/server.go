package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
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
	// TLS is what clients over the network must speak; nil: they need not.
	TLS *tls.Config
	// Cluster ties the server to others, and needs Listen; nil: it is alone.
	Cluster *ClusterOptions
	// Name tells servers of a cluster apart; empty: one is drawn.
	Name   string
	Logger *slog.Logger // for what goes wrong between servers; default: nothing
}

// ClusterOptions tie servers together: what one of them gets, the clients of
// all get. Every server is linked to every other one, so a message takes one
// hop, and the end of a server is the end of its clients' connections only.
type ClusterOptions struct {
	// Name is the same for all servers of the cluster; others are refused.
	Name string
	// Listen is a host:port for the other servers; port 0 takes a free one.
	Listen string
	// Routes are where others listen, as host:port. One that is reached tells
	// of those it knows, and each is tried again for ever.
	Routes []string
	// Secret that servers prove to each other; empty: none is asked for. Use
	// one, or a network that nobody else reaches: a server of the cluster can
	// send and hear everything.
	Secret string
	// TLS between servers, in both roles; nil: none.
	TLS *tls.Config
}

// Server is a NATS server in this process.
type Server struct {
	nats  *server.Server
	token string
	tls   bool
}

// Bounds of the embedded server.
const (
	startTimeout = 10 * time.Second
	// pendingBytes a client may be behind before the server cuts it off: the
	// deltas of two ticks of a national night.
	pendingBytes  = 128 << 20
	writeDeadline = 10 * time.Second
	// routePing finds a server that is gone without a word.
	routePing = 5 * time.Second
)

// StartServer starts a server and waits until it takes connections. It does not
// wait for other servers of its cluster.
func StartServer(o ServerOptions) (*Server, error) {
	opts := &server.Options{
		ServerName: o.Name, DontListen: true, NoSigs: true, NoLog: true, NoSystemAccount: true,
		MaxPayload: MaxPayload, MaxPending: pendingBytes, WriteDeadline: writeDeadline,
		Authorization: o.Token, TLSConfig: o.TLS, TLSTimeout: server.TLS_TIMEOUT.Seconds(),
	}
	if o.Listen != "" {
		opts.DontListen = false
		if err := splitAddress(o.Listen, &opts.Host, &opts.Port); err != nil {
			return nil, fmt.Errorf("starting the bus: %w", err)
		}
	}
	if o.Cluster != nil {
		if err := o.Cluster.apply(opts); err != nil {
			return nil, fmt.Errorf("starting the bus: %w", err)
		}
		if o.Listen == "" {
			// NATS opens its routes only after a listener for clients.
			return nil, errors.New("starting the bus: a server of a cluster needs an address for clients, too")
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("starting the bus: %w", err)
	}
	if o.Logger != nil {
		s.SetLoggerV2(natsLogger{o.Logger}, false, false, false)
	}
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("starting the bus on %q: %w", o.Listen, errNotReady)
	}
	return &Server{s, o.Token, o.TLS != nil}, nil
}

var errNotReady = errors.New("takes no connections; is the address in use?")

// splitAddress reads a host:port. NATS has a number of its own for a free port.
func splitAddress(address string, host *string, port *int) error {
	h, p, err := net.SplitHostPort(address)
	if err != nil {
		return err //nolint:wrapcheck // it names the address; the callers say what for
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return fmt.Errorf("address %q: port: want a number up to 65535", address)
	}
	*host, *port = h, int(n)
	if n == 0 {
		*port = server.RANDOM_PORT
	}
	return nil
}

// routeUser is whom servers of a cluster log in as.
const routeUser = "tallystream"

func (c *ClusterOptions) apply(opts *server.Options) error {
	if c.Name == "" || c.Listen == "" {
		return errors.New("a cluster needs a name and an address to listen at")
	}
	opts.Cluster.Name = c.Name
	if err := splitAddress(c.Listen, &opts.Cluster.Host, &opts.Cluster.Port); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	// An election is one account, and a pool spreads accounts over connections.
	opts.Cluster.PoolSize = -1
	opts.Cluster.PingInterval, opts.Cluster.WriteDeadline = routePing, writeDeadline
	opts.Cluster.TLSConfig, opts.Cluster.TLSTimeout = c.TLS, server.TLS_TIMEOUT.Seconds()
	var login *url.Userinfo
	if c.Secret != "" {
		opts.Cluster.Username, opts.Cluster.Password = routeUser, c.Secret
		login = url.UserPassword(routeUser, c.Secret)
	}
	for _, route := range c.Routes {
		if _, _, err := net.SplitHostPort(route); err != nil {
			return fmt.Errorf("route %q: want host:port", route)
		}
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", User: login, Host: route})
	}
	return nil
}

// URL is where other processes reach the server, or empty.
func (s *Server) URL() string {
	a := s.nats.Addr()
	switch {
	case a == nil:
		return ""
	case s.tls:
		return "tls://" + a.String()
	}
	return "nats://" + a.String()
}

// ClusterAddress is where other servers reach this one, or empty.
func (s *Server) ClusterAddress() string {
	if a := s.nats.ClusterAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Peers is how many servers of the cluster this one is linked to.
func (s *Server) Peers() int { return s.nats.NumRoutes() }

// Close ends the server and all connections to it.
func (s *Server) Close() error {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	return nil
}

// natsLogger passes on what goes wrong; NATS takes secrets out of what it logs.
type natsLogger struct{ log *slog.Logger }

func (l natsLogger) Warnf(format string, v ...any) {
	l.log.Warn("bus server", "message", fmt.Sprintf(format, v...))
}

func (l natsLogger) Errorf(format string, v ...any) {
	l.log.Warn("bus server", "message", fmt.Sprintf(format, v...))
}

// Fatalf is called by NATS before it would end the process, which is not its.
func (l natsLogger) Fatalf(format string, v ...any) {
	l.log.Error("bus server", "message", fmt.Sprintf(format, v...))
}

// Noticef tells of every connection. What matters of it: another cluster's name
// is only noticed by whichever server hears the other's first, and that is not
// always the one that calls it an error.
func (l natsLogger) Noticef(format string, v ...any) {
	if text := fmt.Sprintf(format, v...); strings.Contains(text, server.ClusterNameConflict.String()) {
		l.log.Warn("bus server", "message", text)
	}
}

func (natsLogger) Debugf(string, ...any) {}
func (natsLogger) Tracef(string, ...any) {}
