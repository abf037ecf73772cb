package fanout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tallystream/schemas"
)

// events serves one viewer by Server-Sent Events, for networks that let no
// WebSocket through: the same frames, each the data of one event. What to
// follow stands in the query only.
//
// An event has an id ("epoch.version") where just one document is followed,
// so that plain EventSource goes on from there after a break. Our own browser
// client states its versions in the query.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	t, ok := s.admit(w, r)
	if !ok {
		return
	}
	inside := false // converse gives the ticket back
	defer func() {
		if !inside {
			s.admission.leave(t)
		}
	}()
	first, err := subscriptionOf(r.URL.Query())
	if err == nil && len(first.Documents) == 0 {
		err = fmt.Errorf("query: want a g for each document")
	}
	if err != nil {
		s.metrics.refused.WithLabelValues("query").Inc()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.permitEvents(first, t.key); err != nil {
		s.metrics.refused.WithLabelValues("query").Inc()
		http.Error(w, "query: "+err.Error(), statusOf(err))
		return
	}
	resumeAt(first, r.Header.Get("Last-Event-ID"))
	c := &eventStream{w: w, control: http.NewResponseController(w), timeout: s.limits.WriteTimeout, ids: len(first.Documents) == 1}
	if err := c.begin(r.Header.Get("Origin")); err != nil {
		s.metrics.refused.WithLabelValues("handshake").Inc()
		return // the connection is gone or cannot stream
	}
	inside = true
	s.converse("events", &opening{ticket: t, first: first}, c, func(ctx context.Context, _ *Session) ending {
		select {
		case <-r.Context().Done():
		case <-ctx.Done():
		}
		return endGone
	})
}

// permitEvents says beforehand what a WebSocket is told by a close code: an
// event stream has none, and would be opened again and again.
func (s *Server) permitEvents(first *schemas.Subscribe, key *account) error {
	most := s.limits.Documents
	if key != nil {
		most = key.documents()
	}
	return permit(key != nil, slices.Contains(first.Documents, schemas.AllDocuments), len(first.Documents), most)
}

func statusOf(err error) int {
	if errors.Is(err, ErrNotMedia) {
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

// resumeAt goes on from the last event that a viewer of one document had.
func resumeAt(first *schemas.Subscribe, id string) {
	e, v, ok := strings.Cut(id, ".")
	if !ok || len(first.Documents) != 1 {
		return
	}
	epoch, err := strconv.ParseUint(e, 10, 64)
	if err != nil {
		return
	}
	version, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return
	}
	first.Epoch = schemas.Epoch(epoch)
	first.Versions[first.Documents[0]] = schemas.Version(version)
}

// eventStream is a connection of Server-Sent Events. Only the pump writes.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	ids     bool

	mu   sync.Mutex // guards over
	over bool       // the handler returns: the connection may be another request's
}

func (c *eventStream) begin(origin string) error {
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // asks proxies not to hold events back
	if origin != "" {
		h.Set("Access-Control-Allow-Origin", origin) // admit has let it in
		h.Set("Vary", "Origin")
	}
	// The request is read: a server's limit for that must not end the answer.
	if err := c.control.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("opening an event stream: %w", err)
	}
	c.w.WriteHeader(http.StatusOK)
	return c.write([]byte("retry: 3000\n\n"))
}

func (c *eventStream) send(f *Frame) error {
	head, frame := []byte(nil), f.Text()
	if c.ids {
		head = appendEventID(head, frame)
	}
	return c.write(append(head, "data: "...), frame, []byte("\n\n")) // a frame holds no line break
}

func (c *eventStream) write(parts ...[]byte) error {
	if err := c.control.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return fmt.Errorf("writing to a viewer: %w", err)
	}
	for _, b := range parts {
		if _, err := c.w.Write(b); err != nil {
			return fmt.Errorf("writing to a viewer: %w", err)
		}
	}
	if err := c.control.Flush(); err != nil {
		return fmt.Errorf("writing to a viewer: %w", err)
	}
	return nil
}

// end has nothing to say: an event stream knows no close codes. Returning
// from the handler ends it, and a write that is stuck must not keep it.
func (c *eventStream) end(why ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why == endBroken && !c.over {
		_ = c.control.SetWriteDeadline(time.Unix(1, 0)) // it fails if the connection is gone: all the better
	}
}

func (c *eventStream) linger() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

// appendEventID appends the id line of a delta. A snap has none: what it names
// may not have been fetched when the connection breaks.
func appendEventID(dst, frame []byte) []byte {
	h, _, err := schemas.ReadDeltaHeader(frame)
	if err != nil {
		return dst
	}
	dst = append(dst, "id: "...)
	dst = strconv.AppendUint(dst, uint64(h.Epoch), 10)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, uint64(h.To), 10)
	return append(dst, '\n')
}
