package main

import (
	"context"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// gorilla is a hub as its documentation and its users write it: a goroutine that
// reads and one that writes for each connection, a channel between the hub and
// the writer, and PreparedMessage so that a delta is framed and compressed once.
type gorilla struct {
	up      websocket.Upgrader
	deflate bool

	mu    sync.Mutex // guards the rest; held over a publication, so that joiners miss nothing
	press *press
	all   map[*gorillaViewer]struct{}
}

type gorillaViewer struct {
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
	gone chan struct{}
}

const queue = 16 // deltas that wait for one viewer

func startGorilla(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	h := &gorilla{press: p, deflate: s.Deflate, all: map[*gorillaViewer]struct{}{}}
	// The pool of write buffers is the library's own advice for many idle
	// connections.
	h.up = websocket.Upgrader{ReadBufferSize: 512, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{}, EnableCompression: s.Deflate}
	return h, serveHTTP(ctx, l, http.HandlerFunc(h.live))
}

func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }() // ends with the process
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return nil
}

func (h *gorilla) live(w http.ResponseWriter, r *http.Request) {
	conn, err := h.up.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	v := &gorillaViewer{conn: conn, send: make(chan *websocket.PreparedMessage, queue), gone: make(chan struct{})}
	h.mu.Lock()
	welcome := h.press.welcome()
	h.all[v] = struct{}{}
	h.mu.Unlock()
	// The writer begins after these; deltas wait in its queue.
	for _, frame := range welcome {
		if conn.WriteMessage(websocket.TextMessage, frame) != nil {
			break // the reader will notice
		}
	}
	go v.write()
	for {
		if _, _, err := conn.NextReader(); err != nil {
			break
		}
	}
	close(v.gone)
	h.mu.Lock()
	delete(h.all, v)
	h.mu.Unlock()
	_ = conn.Close()
}

func (v *gorillaViewer) write() {
	for {
		select {
		case <-v.gone:
			return
		case m := <-v.send:
			if v.conn.WritePreparedMessage(m) != nil {
				_ = v.conn.Close() // wakes the reader
				return
			}
		}
	}
}

func (h *gorilla) publish(frame []byte) {
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, frame)
	if err != nil {
		return // it only fails for kinds of messages that do not exist
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.all {
		select {
		case v.send <- m:
		case <-v.gone:
		}
	}
}

func (h *gorilla) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}
