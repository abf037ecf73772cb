package fanout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"tallystream/schemas"
)

// Server serves the live tier over HTTP. It takes deltas and announcements
// from the bus, or straight from the publisher in the same process.
type Server struct {
	cfg       Config
	limits    Limits
	hub       *Hub
	keys      *keyring // of media
	admission *admission
	arrivals  arrivals
	metrics   *Metrics
	log       *slog.Logger
	now       func() time.Time

	// cut ends the connections that did not go when they were told to.
	cut    context.Context
	cutAll context.CancelFunc
	drain  func() // says good-bye once, and returns when nobody is left
}

// New makes a server. Run must be called for its pings.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.checkEngine(); err != nil {
		return nil, err
	}
	if cfg.MinInterval < 0 || cfg.PingEvery < time.Second {
		return nil, fmt.Errorf("configuring the fanout: intervals %s and %s", cfg.MinInterval, cfg.PingEvery)
	}
	keys := &keyring{metrics: cfg.Metrics.keys, connections: cfg.Limits.KeyConnections}
	s := &Server{
		cfg: cfg, limits: cfg.Limits, keys: keys, admission: newAdmission(&cfg, keys),
		metrics: cfg.Metrics, log: cfg.Logger, now: cfg.Now,
		hub: NewHub(cfg.Limits.Documents, cfg.MinInterval > 0, cfg.Metrics),
	}
	s.arrivals.rate = cfg.Limits.AddressRate
	if err := s.readMediaKeys(); err != nil {
		return nil, fmt.Errorf("configuring the fanout: %w", err)
	}
	s.cut, s.cutAll = context.WithCancel(context.Background())
	s.drain = sync.OnceFunc(s.sayGoodbye)
	return s, nil
}

// Engine is the one that Serve uses.
func (s *Server) Engine() Engine { return s.cfg.Engine }

// Hub is what the server serves from.
func (s *Server) Hub() *Hub { return s.hub }

// OnDelta takes a delta frame from the bus, and keeps it.
func (s *Server) OnDelta(frame []byte) {
	if h, ok := s.hub.OnDelta(frame); ok {
		s.metrics.onBus.Observe(since(s.now(), h.Micros))
	}
}

// OnPublished takes an announcement from the bus.
func (s *Server) OnPublished(p schemas.Published) { s.hub.OnPublished(p) }

// Delta takes a delta from a publisher in this process, without a bus. The
// frame may be used again when it returns.
func (s *Server) Delta(_ context.Context, _ schemas.DocumentID, frame []byte) error {
	s.OnDelta(append([]byte(nil), frame...))
	return nil
}

// Published takes an announcement from a publisher in this process.
func (s *Server) Published(_ context.Context, p schemas.Published) error {
	s.OnPublished(p)
	return nil
}

// Register adds the live tier's pages to mux, for a caller with an HTTP server
// of its own: WebSockets are then served by the portable engine. Serve is what
// uses the engine of the configuration.
func (s *Server) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+livePath, s.live)
	mux.HandleFunc("GET /v1/events", s.events)
}

// Handler serves the live tier alone.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	s.Register(mux)
	return mux
}

// errDraining is why a server that ends is not ready.
var errDraining = errors.New("draining")

// Ready says why viewers should go elsewhere, or nil.
func (s *Server) Ready() error {
	if s.admission.isClosed() {
		return errDraining
	}
	return nil
}

// drainTimeout bounds the good-bye to viewers.
const drainTimeout = 5 * time.Second

// Run pings viewers until ctx ends, and then says good-bye to them. When it
// returns, no connection is left.
func (s *Server) Run(ctx context.Context) error {
	interval := s.cfg.PingEvery / pingPhases
	ping, begun, pinged := time.NewTicker(interval), s.now(), 0
	defer ping.Stop()
	var flush <-chan time.Time
	if s.cfg.MinInterval > 0 {
		t := time.NewTicker(s.cfg.MinInterval)
		defer t.Stop()
		flush = t.C
	}
	var looking sync.WaitGroup
	if s.cfg.Bucket != nil {
		looking.Go(func() { s.watchBucket(ctx) })
	}
	if s.cfg.ReadMediaKeys != nil {
		looking.Go(func() { s.watchMediaKeys(ctx) })
		looking.Go(func() { s.refillAccounts(ctx) }) // keys of the configuration have no limit of bytes
	}
	for {
		select {
		case <-ctx.Done():
			looking.Wait()
			s.drain()
			return nil
		case <-flush:
			s.hub.Flush()
		case <-ping.C:
			// By the clock: a ticker leaves out what a busy machine is late for.
			due := int(s.now().Sub(begun) / interval)
			for pinged = max(pinged, due-pingPhases); pinged < due; pinged++ {
				s.hub.Ping(pinged%pingPhases, s.now().UnixMicro())
			}
		}
	}
}

const drainReason = "drain"

// lateComer says good-bye to a session that was opened while the server began
// to drain: after it said so to all, and so to nobody who was not there yet.
func (s *Server) lateComer(session *Session) {
	if s.admission.isClosed() {
		spread := s.cfg.DrainSpread.Milliseconds()
		session.End(farewell(drainReason, spread/5, spread))
	}
}

func (s *Server) sayGoodbye() {
	begun, gone := s.now(), s.admission.close()
	s.log.Info("live connections draining", "connections", s.hub.Sessions())
	spread := s.cfg.DrainSpread.Milliseconds()
	s.hub.End(drainReason, spread/5, spread)
	timer := time.AfterFunc(drainTimeout, s.cutAll)
	defer timer.Stop()
	<-gone
	s.cutAll()
	s.log.Info("live connections drained", "elapsed", s.now().Sub(begun))
}

// countsArrivals reports whether connections are counted when they are accepted:
// where that tells their address, which it does not behind a proxy.
func (s *Server) countsArrivals() bool { return s.cfg.Engine == Epoll && s.cfg.AddressHeader == "" }

// admit checks a request and counts it in; it has answered when it returns
// false. The ticket must be given back once.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (t ticket, ok bool) {
	why := s.admission.check(r)
	if why == nil {
		t.from = s.admission.address(r)
		if !s.countsArrivals() && !s.arrivals.allow(t.from, s.now()) {
			why = tooOften
		}
	}
	if why == nil {
		if t.key, why = s.admission.key(r); why == nil {
			why = s.admission.enter(t)
		}
	}
	if why != nil {
		s.metrics.refused.WithLabelValues(why.reason).Inc()
		why.answer(w)
	}
	return t, why == nil
}
