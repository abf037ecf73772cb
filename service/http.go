package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check says why a part cannot do its work, or nil.
type Check func() error

// Status serves /healthz, /readyz and /metrics of a process.
type Status struct {
	Registry *prometheus.Registry

	mu      sync.Mutex // guards checks and release
	checks  map[string]Check
	release Check // nil: any release may run
}

// NewStatus makes a registry with the Go and process collectors.
func NewStatus() *Status {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Status{Registry: r, checks: map[string]Check{}}
}

// Ready adds a check that /readyz asks each time.
func (s *Status) Ready(part string, c Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks[part] = c
}

// Release sets the check that /healthz?release= asks besides.
func (s *Status) Release(c Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release = c
}

// wrongRelease says why another release should run, or nil.
func (s *Status) wrongRelease() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.release == nil {
		return nil
	}
	return s.release()
}

// Failing asks every check and returns "part: reason" for those that fail.
func (s *Status) Failing() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for part, c := range s.checks {
		if err := c(); err != nil {
			out = append(out, part+": "+err.Error())
		}
	}
	sort.Strings(out)
	return out
}

// Register adds the three pages to mux.
func (s *Status) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		// Without ?release= the process answers: that is all health means, and a
		// supervisor must not restart what runs well. A balancer asks with it.
		if r.URL.Query().Has("release") {
			if err := s.wrongRelease(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if failing := s.Failing(); len(failing) > 0 {
			http.Error(w, strings.Join(failing, "\n"), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Registry, promhttp.HandlerOpts{Registry: s.Registry}))
}

// Limits of the servers of operators' pages and static files. Ingest and the
// live tier have their own.
const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 60 * time.Second
	drainTimeout  = 10 * time.Second
	maxHeader     = 16 << 10
)

// Serve answers on l until ctx ends, then finishes the requests at hand.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: idleTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		done <- srv.Shutdown(drain)
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", l.Addr(), err)
	}
	return <-done
}
