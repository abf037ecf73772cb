package main

import (
	"context"
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// coder is the hub one writes first with coder/websocket: a handler for each
// viewer that waits for deltas and writes each to its own connection, framed,
// and compressed, for it alone.
type coder struct {
	options websocket.AcceptOptions

	mu    sync.Mutex // guards the rest; held over a publication, so that joiners miss nothing
	press *press
	all   map[*coderViewer]struct{}
}

type coderViewer struct {
	send chan []byte
	gone <-chan struct{}
}

func startCoder(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	h := &coder{press: p, all: map[*coderViewer]struct{}{}}
	h.options.CompressionMode = websocket.CompressionDisabled
	if s.Deflate {
		h.options.CompressionMode, h.options.CompressionThreshold = websocket.CompressionNoContextTakeover, 128
	}
	return h, serveHTTP(ctx, l, http.HandlerFunc(h.live))
}

func (h *coder) live(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &h.options)
	if err != nil {
		return // it has answered
	}
	defer conn.CloseNow()
	ctx := conn.CloseRead(context.Background())
	v := &coderViewer{send: make(chan []byte, queue), gone: ctx.Done()}
	h.mu.Lock()
	welcome := h.press.welcome()
	h.all[v] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.all, v)
		h.mu.Unlock()
	}()
	for _, frame := range welcome {
		if conn.Write(ctx, websocket.MessageText, frame) != nil {
			return
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case frame := <-v.send:
			if conn.Write(ctx, websocket.MessageText, frame) != nil {
				return
			}
		}
	}
}

func (h *coder) publish(frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.all {
		select {
		case v.send <- frame:
		case <-v.gone:
		}
	}
}

func (h *coder) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}
