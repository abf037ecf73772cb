package fanout

import (
	"bufio"
	"fmt"
	"net/http"

	"github.com/coder/websocket"

	"tallystream/schemas"
)

// livePath is where WebSockets are opened.
const livePath = "/v1/live"

// opening is a WebSocket that is open and nobody serves yet.
type opening struct {
	ticket  ticket // to give back when it ends
	first   *schemas.Subscribe
	ws      *websocket.Conn
	deflate bool
}

// open lets a request in and does the handshake; w has the answer. Both
// engines open connections with it.
func (s *Server) open(w http.ResponseWriter, r *http.Request) (*opening, bool) {
	t, ok := s.admit(w, r)
	if !ok {
		return nil, false
	}
	first, err := subscriptionOf(r.URL.Query())
	if err != nil {
		s.admission.leave(t)
		s.metrics.refused.WithLabelValues("query").Inc()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, false
	}
	// The origin was checked by admit, in the same way as for events.
	options := &websocket.AcceptOptions{InsecureSkipVerify: true}
	if !s.cfg.Uncompressed {
		options.CompressionMode = websocket.CompressionNoContextTakeover
	}
	ws, err := websocket.Accept(w, r, options)
	if err != nil {
		s.admission.leave(t)
		s.metrics.refused.WithLabelValues("handshake").Inc()
		return nil, false // Accept has answered
	}
	return &opening{t, first, ws, w.Header().Get("Sec-WebSocket-Extensions") != ""}, true
}

// greet begins the session of a connection that is open: what it follows, and
// a good-bye at once if the server has begun to drain. cut ends the connection
// without a word, from any goroutine and at any time; it may be called after
// the end.
func (s *Server) greet(session *Session, o *opening, w Waker, cut func()) error {
	session.awake = true // the engine asks for what there is at once: it need not be woken
	s.hub.open(session, SessionOptions{Waker: w, account: o.ticket.key, cut: cut})
	s.lateComer(session)
	return session.Subscribe(o.first)
}

// Buffers that coder/websocket reads and writes through, in bytes. Frames of
// ours do not pass them; a control frame fits into one.
const (
	readBuffer  = 512
	writeBuffer = 144
)

// unread takes what a bufio.Reader has read ahead.
func unread(r *bufio.Reader) ([]byte, error) {
	early, err := r.Peek(r.Buffered())
	if err != nil {
		return nil, fmt.Errorf("taking over the connection: %w", err)
	}
	return append([]byte(nil), early...), nil
}

// take does what a client's frame asks for.
func take(frame []byte, session *Session) (ending, bool) {
	sub, unsub, err := schemas.ParseClientFrame(frame)
	switch {
	case err != nil:
		return endBadFrame, false
	case unsub != nil:
		session.Unsubscribe(unsub.Documents)
	default:
		if err := session.Subscribe(sub); err != nil {
			return endingOf(err), false
		}
	}
	return ending{}, true
}
