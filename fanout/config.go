package fanout

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
)

// Engine is what moves frames between sessions and sockets.
type Engine string

// The engines. Both speak the same protocol, byte for byte.
const (
	// Epoll is for Linux: a few threads for all connections.
	Epoll Engine = "epoll"
	// Portable is net/http with two goroutines for each connection. TLS and
	// Server-Sent Events are always its.
	Portable Engine = "portable"
)

// Config of a Server. Its zero value works.
type Config struct {
	Limits Limits

	// Engine of Serve; default: Epoll on Linux without TLS, Portable elsewhere.
	Engine Engine
	// TLS makes Serve speak it; nil: that is done in front of it.
	TLS *tls.Config
	// Uncompressed declines permessage-deflate, which is otherwise agreed to
	// with every viewer that offers it.
	Uncompressed bool

	// Origins of pages on other hosts that may open a live connection, such
	// as "https://results.example.org"; "*" is all of them. A page of the same
	// host may, and so may programs, which send no Origin.
	Origins []string
	// Hosts that requests may name; empty: any. Naming them defeats pages that
	// bind a name of their own to this server's address.
	Hosts []string
	// AddressHeader names the header, such as X-Forwarded-For, in which a
	// proxy before us states the client's address as the last one; empty: there
	// is no proxy.
	AddressHeader string
	// MediaKeys are secrets that open connections of media: these get every
	// version at once, and may follow all documents. A key comes as
	// "Authorization: Bearer" or as "key" in the query.
	MediaKeys []string
	// ReadMediaKeys gives more of them, with limits of their own; it is asked
	// again every MediaKeysEvery (default 2 s), and connections with a key that
	// is gone are closed at once. nil: there are no more.
	ReadMediaKeys  func() ([]MediaKey, error)
	MediaKeysEvery time.Duration

	// Bucket is looked at for what the bus lost, every BucketEvery (default
	// 2 s); nil: the bus is all there is.
	Bucket      Bucket
	BucketEvery time.Duration

	// MinInterval unites the deltas of a document for the public for so long,
	// such as DefaultMinInterval; 0 sends each at once. Media get each at once.
	MinInterval time.Duration
	// PingEvery is the interval of ping frames to each viewer. Default 20 s.
	PingEvery time.Duration
	// DrainSpread is the time over which viewers are asked to come back when
	// the server ends. Default 5 s.
	DrainSpread time.Duration

	Now     func() time.Time // default time.Now
	Metrics *Metrics         // default: not registered anywhere
	Logger  *slog.Logger     // default: nothing
}

// Limits of what clients may use up. Zero is the default.
type Limits struct {
	Connections int // in all; default 20,000
	// AddressConnections is for one address, or one /64 network of IPv6, since
	// that is what one customer gets. Default 512: schools and offices share.
	AddressConnections int
	// AddressRate is new connections of one address a second, after a burst of
	// four times as many. Default 128, so that all that it may have can come at
	// once.
	AddressRate      float64
	KeyConnections   int           // with one media key; default 512
	Handshakes       int           // begun and not finished: beyond, the oldest are ended; default 4,096. Epoll engine only
	PageConnections  int           // that are not WebSockets: pages, events; default 4,096. Epoll engine only
	HandshakeTimeout time.Duration // from the connection's begin to the request's end; default 5 s
	CloseTimeout     time.Duration // for the viewer's answer to a close frame; default 5 s
	Documents        int           // of one connection; default 64
	FrameBytes       int64         // of a client's frame; default 32 KiB, which holds 64 long names twice
	FrameRate        float64       // client frames of any kind a second, after a burst of four times as many; default 5
	WriteTimeout     time.Duration // of one frame; default 15 s
	SlowWrite        time.Duration // a frame that takes longer ends the connection; default 5 s
	IdleTimeout      time.Duration // without a sign of life, or without a document; default 60 s
}

// DefaultMinInterval is how often services tell the public of a document.
const DefaultMinInterval = time.Second

// Close codes of the live protocol, after the HTTP statuses that they resemble.
const (
	CloseBadFrame         websocket.StatusCode = 4400 // a client's frame is not of the protocol
	CloseKeyRevoked       websocket.StatusCode = 4401 // the media key was taken back
	CloseNotAllowed       websocket.StatusCode = 4403 // asked for all documents without a key
	CloseTooSlow          websocket.StatusCode = 4408 // took frames too slowly
	CloseIdle             websocket.StatusCode = 4410 // no sign of life, or nothing followed
	CloseTooManyDocuments websocket.StatusCode = 4413
	CloseTooFast          websocket.StatusCode = 4429 // sent frames too fast
)

func defaulted[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) defaultEngine() Engine {
	if runtime.GOOS == "linux" && c.TLS == nil {
		return Epoll
	}
	return Portable
}

func (c Config) withDefaults() Config {
	l := &c.Limits
	defaulted(&l.Connections, 20_000)
	defaulted(&l.AddressConnections, 512)
	defaulted(&l.AddressRate, 128)
	defaulted(&l.KeyConnections, 512)
	defaulted(&l.Handshakes, 4096)
	defaulted(&l.PageConnections, 4096)
	defaulted(&l.HandshakeTimeout, 5*time.Second)
	defaulted(&l.CloseTimeout, 5*time.Second)
	defaulted(&l.Documents, 64)
	defaulted(&l.FrameBytes, 32<<10)
	defaulted(&l.FrameRate, 5)
	defaulted(&l.WriteTimeout, 15*time.Second)
	defaulted(&l.SlowWrite, 5*time.Second)
	defaulted(&l.IdleTimeout, 60*time.Second)
	defaulted(&c.Engine, c.defaultEngine())
	defaulted(&c.BucketEvery, 2*time.Second)
	defaulted(&c.MediaKeysEvery, 2*time.Second)
	defaulted(&c.PingEvery, 20*time.Second)
	defaulted(&c.DrainSpread, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return c
}

func (c *Config) checkEngine() error {
	switch {
	case c.Engine != Epoll && c.Engine != Portable:
		return fmt.Errorf("configuring the fanout: engine %q: want %s or %s", c.Engine, Epoll, Portable)
	case c.Engine == Epoll && runtime.GOOS != "linux":
		return fmt.Errorf("configuring the fanout: engine %s needs Linux", Epoll)
	case c.Engine == Epoll && c.TLS != nil:
		return fmt.Errorf("configuring the fanout: engine %s speaks no TLS: end it in front, or use %s", Epoll, Portable)
	}
	return nil
}
