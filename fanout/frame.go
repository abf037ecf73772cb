package fanout

import (
	"sync"
	"sync/atomic"

	"tallystream/fanout/wire"
)

// Frame is a frame of the live protocol as viewers get it. All viewers share
// it, and nobody changes it: what goes to their sockets is built once, and only
// if somebody needs it.
type Frame struct {
	text   []byte
	micros int64

	building sync.Mutex             // held to build what follows
	plain    atomic.Pointer[[]byte] // a WebSocket message; of a ping, with a ping frame behind it
	deflated atomic.Pointer[[]byte] // a compressed message, or plain if that is no larger
}

// newFrame makes a frame of a text, which it keeps. micros is the publisher's
// clock in a delta, 0 in others.
func newFrame(text []byte, micros int64) *Frame { return &Frame{text: text, micros: micros} }

// newPing is a frame that asks the viewer's side for a sign of life, too:
// browsers answer a ping of the WebSocket protocol by themselves.
func newPing(text []byte) *Frame {
	f := newFrame(text, 0)
	b := wire.AppendHead(message(text, false), wire.Ping, false, 0)
	f.plain.Store(&b)
	return f
}

// message is a WebSocket message in one frame.
func message(payload []byte, deflated bool) []byte {
	b := make([]byte, 0, len(payload)+wire.MaxHead)
	b = wire.AppendHead(b, wire.Text, deflated, len(payload))
	return append(b, payload...)
}

// Text is the frame itself, one JSON object.
func (f *Frame) Text() []byte { return f.text }

// leastDeflated is the size from which a frame is worth compressing.
const leastDeflated = 200

// Wire is what goes to a viewer's socket. With deflate set, the viewer has
// negotiated permessage-deflate; small frames go as they are, all the same.
func (f *Frame) Wire(deflate bool) []byte {
	kept := &f.plain
	if deflate && len(f.text) >= leastDeflated {
		kept = &f.deflated
	}
	if b := kept.Load(); b != nil {
		return *b
	}
	f.building.Lock()
	defer f.building.Unlock()
	if b := kept.Load(); b != nil {
		return *b
	}
	b := f.build(kept == &f.deflated)
	kept.Store(&b)
	return b
}

func (f *Frame) build(deflate bool) []byte {
	if deflate {
		if packed, err := wire.Deflate(f.text); err == nil && len(packed) < len(f.text) {
			return message(packed, true)
		}
	}
	return message(f.text, false)
}
