package fanout

import (
	"sync"
	"sync/atomic"

	"tallystream/fanout/wire"
)

// Frame is a frame of the live protocol as viewers get it. All viewers share
// it, and nobody changes it: what goes to their sockets is built once.
type Frame struct {
	text   []byte // a part of plain
	plain  []byte // a WebSocket message; of a ping, with a ping frame behind it
	micros int64

	deflating sync.Mutex             // held to build deflated
	deflated  atomic.Pointer[[]byte] // once somebody needs it
}

// newFrame makes a frame of a text, which it copies. micros is the
// publisher's clock in a delta, 0 in others.
func newFrame(text []byte, micros int64) *Frame {
	plain := make([]byte, 0, len(text)+wire.MaxHead)
	plain = wire.AppendHead(plain, wire.Text, false, len(text))
	head := len(plain)
	plain = append(plain, text...)
	return &Frame{text: plain[head:len(plain):len(plain)], plain: plain, micros: micros}
}

// newPing is a frame that asks the viewer's side for a sign of life, too:
// browsers answer a ping of the WebSocket protocol by themselves.
func newPing(text []byte) *Frame {
	f := newFrame(text, 0)
	f.plain = wire.AppendHead(f.plain, wire.Ping, false, 0)
	return f
}

// Text is the frame itself, one JSON object.
func (f *Frame) Text() []byte { return f.text }

// leastDeflated is the size from which a frame is worth compressing.
const leastDeflated = 200

// Wire is what goes to a viewer's socket. With deflate set, the viewer has
// negotiated permessage-deflate; small frames go as they are, all the same.
func (f *Frame) Wire(deflate bool) []byte {
	if !deflate || len(f.text) < leastDeflated {
		return f.plain
	}
	if b := f.deflated.Load(); b != nil {
		return *b
	}
	f.deflating.Lock()
	defer f.deflating.Unlock()
	if b := f.deflated.Load(); b != nil {
		return *b
	}
	b := f.plain
	if packed, err := wire.Deflate(f.text); err == nil && len(packed) < len(f.text) {
		b = wire.AppendHead(make([]byte, 0, len(packed)+wire.MaxHead), wire.Text, true, len(packed))
		b = append(b, packed...)
	}
	f.deflated.Store(&b)
	return b
}
