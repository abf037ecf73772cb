package bus

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/schemas"
)

// Options of a connection. Either Server or URL must be set.
type Options struct {
	Server *Server // in this process: no socket
	// URL is "nats://host:port", or several with commas between them: when one
	// goes away, the connection moves to another, and to servers of their
	// cluster that it has heard of. A token, or user:password, stands before
	// an "@"; the scheme "tls" demands TLS.
	URL string
	// TLS is used when the server asks for it, and demanded if it is set.
	TLS *tls.Config
	// Credentials is a file of NATS credentials (a JWT and its seed), for a
	// bus whose operator hands those out.
	Credentials string
	Election    schemas.ElectionID
	// Name shows in the server's list of connections.
	Name    string
	Metrics *Metrics     // default: not registered anywhere
	Logger  *slog.Logger // default: nothing
}

// Bus is a connection to the bus. It may be used from several goroutines.
type Bus struct {
	nats     *nats.Conn
	subjects subjects
	metrics  *Metrics
	log      *slog.Logger
	closed   chan struct{} // closed when NATS says that the connection ended for good

	calling sync.RWMutex // read-held while a receiver or a hint is called
	ended   bool         // guarded by calling: no more calls
}

// Bounds of a connection.
const (
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 500 * time.Millisecond
	reconnectBuffer = 16 << 20 // sent while the bus is away; beyond it messages are refused
	pingInterval    = 10 * time.Second
	flushTimeout    = 2 * time.Second
	// A reader may be this far behind before messages are dropped; bytes are
	// the deltas of some ticks of a national night.
	readerMessages = 1 << 18
	readerBytes    = 256 << 20
)

// Connect begins to connect and does not wait: while the bus is away messages
// are buffered, and the attempts never end before Close.
func Connect(o Options) (*Bus, error) {
	names, err := subjectsOf(o.Election)
	if err != nil {
		return nil, err
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	b := &Bus{subjects: names, metrics: o.Metrics, log: o.Logger, closed: make(chan struct{})}
	opts := []nats.Option{
		nats.Name(o.Name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(reconnectBuffer), nats.PingInterval(pingInterval),
		nats.ConnectHandler(b.onConnect), nats.ReconnectHandler(b.onReconnect),
		nats.DisconnectErrHandler(b.onDisconnect), nats.ErrorHandler(b.onError),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
	}
	if o.Server != nil {
		opts = append(opts, nats.InProcessServer(o.Server.nats), nats.Token(o.Server.token))
	} else if o.URL == "" {
		return nil, errors.New("connecting to the bus: neither a server nor a URL")
	}
	if o.TLS != nil {
		opts = append(opts, nats.Secure(o.TLS))
	}
	if o.Credentials != "" {
		opts = append(opts, nats.UserCredentials(o.Credentials))
	}
	if b.nats, err = nats.Connect(o.URL, opts...); err != nil {
		return nil, fmt.Errorf("connecting to the bus: %w", err)
	}
	return b, nil
}

func (b *Bus) onConnect(*nats.Conn) { b.metrics.connected.Set(1) }

func (b *Bus) onReconnect(*nats.Conn) {
	b.metrics.connected.Set(1)
	b.metrics.reconnects.Inc()
	b.log.Info("bus is back")
}

func (b *Bus) onDisconnect(_ *nats.Conn, err error) {
	b.metrics.connected.Set(0)
	if err != nil {
		b.log.Warn("bus is away", "err", err)
	}
}

func (b *Bus) onError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		b.metrics.lost.Inc() // NATS reports each stretch of drops once
	}
	b.log.Warn("bus error", "err", err)
}

// Ready says why the bus cannot be reached, or nil.
func (b *Bus) Ready() error {
	if s := b.nats.Status(); s != nats.CONNECTED {
		return fmt.Errorf("bus is %s", s)
	}
	return nil
}

// Delta sends a delta frame. The frame may be used again when it returns.
func (b *Bus) Delta(_ context.Context, _ schemas.DocumentID, frame []byte) error {
	return b.send("delta", b.subjects.delta(), frame)
}

// Published sends what a snapshot brought.
func (b *Bus) Published(_ context.Context, p schemas.Published) error {
	message, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("sending to the bus: %w", err)
	}
	return b.send("published", b.subjects.published(), message)
}

// Hint wakes up whoever listens for the topic.
func (b *Bus) Hint(topic string) error {
	subject, err := b.subjects.hint(topic)
	if err != nil {
		return err
	}
	return b.send("hint", subject, nil)
}

func (b *Bus) send(kind, subject string, message []byte) error {
	if err := b.nats.Publish(subject, message); err != nil {
		b.metrics.sendErrors.Inc()
		if errors.Is(err, nats.ErrConnectionClosed) {
			err = ErrClosed
		}
		return fmt.Errorf("sending %s to the bus: %w", kind, err)
	}
	b.metrics.sent.WithLabelValues(kind).Inc()
	b.metrics.sentBytes.Add(float64(len(message)))
	return nil
}

// Receiver is what the hub is to the bus. Its methods are called one at a
// time, in the order in which one sender sent.
type Receiver interface {
	// OnDelta gets a delta frame, which it may keep.
	OnDelta(frame []byte)
	OnPublished(p schemas.Published)
}

// Receive hands every delta and announcement to r until Close.
func (b *Bus) Receive(r Receiver) error {
	delta, published := b.subjects.delta(), b.subjects.published()
	deltas, announcements := b.metrics.received.WithLabelValues("delta"), b.metrics.received.WithLabelValues("published")
	return b.subscribe(b.subjects.live(), func(m *nats.Msg) {
		switch m.Subject {
		case delta:
			deltas.Inc()
			r.OnDelta(m.Data)
		case published:
			announcements.Inc()
			var p schemas.Published
			if err := json.Unmarshal(m.Data, &p); err != nil {
				b.metrics.unreadable.Inc()
				b.log.Warn("announcement is not readable", "err", err)
				return
			}
			r.OnPublished(p)
		}
	})
}

// OnHint calls fn, never twice at a time, for each hint of the topic. Hints
// that come while fn runs may be joined.
func (b *Bus) OnHint(topic string, fn func()) error {
	subject, err := b.subjects.hint(topic)
	if err != nil {
		return err
	}
	hints := b.metrics.received.WithLabelValues("hint")
	return b.subscribe(subject, func(*nats.Msg) {
		hints.Inc()
		fn()
	})
}

func (b *Bus) subscribe(subject string, fn nats.MsgHandler) error {
	s, err := b.nats.Subscribe(subject, func(m *nats.Msg) {
		b.calling.RLock()
		defer b.calling.RUnlock()
		if !b.ended {
			fn(m)
		}
	})
	if err != nil {
		return fmt.Errorf("listening on the bus: %w", err)
	}
	if err := s.SetPendingLimits(readerMessages, readerBytes); err != nil {
		return fmt.Errorf("listening on the bus: %w", err)
	}
	return nil
}

// Flush waits until the server has everything that was sent.
func (b *Bus) Flush(ctx context.Context) error {
	if err := b.nats.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("flushing the bus: %w", err)
	}
	return nil
}

// Close sends what is buffered if the bus is there, and ends the connection.
// It waits for the call of a receiver or a hint that runs, which therefore
// must not call it; there is none after it has returned.
func (b *Bus) Close() error {
	var err error
	if b.nats.IsConnected() {
		err = b.nats.FlushTimeout(flushTimeout)
	}
	b.calling.Lock()
	b.ended = true
	b.calling.Unlock()
	b.nats.Close()
	<-b.closed
	b.metrics.connected.Set(0)
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("closing the bus: %w", err)
	}
	return nil
}
