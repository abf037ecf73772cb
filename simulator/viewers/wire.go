package viewers

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// opcode of a WebSocket frame, RFC 6455 section 5.2.
type opcode byte

const (
	opContinuation opcode = 0
	opText         opcode = 1
	opBinary       opcode = 2
	opClose        opcode = 8
	opPing         opcode = 9
	opPong         opcode = 10
)

func (o opcode) control() bool { return o >= opClose }

// maxMessage bounds a message, compressed and not: a document of 64,000
// lines.
const maxMessage = 16 << 20

// errWire is in every error about bytes that are no WebSocket frames of a
// server.
var errWire = errors.New("websocket")

func wireError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errWire, fmt.Errorf(format, args...))
}

// frameHead is the head of a server's frame.
type frameHead struct {
	op         opcode
	final      bool
	compressed bool // RSV1, RFC 7692 section 6
	size       int  // of the head itself, in bytes
	payload    int
}

// readFrameHead reads the head of the frame that b begins with. It needs more
// bytes when ok is false and there is no error.
func readFrameHead(b []byte, deflate bool) (h frameHead, ok bool, err error) {
	if len(b) < 2 {
		return h, false, nil
	}
	h = frameHead{op: opcode(b[0] & 0x0f), final: b[0]&0x80 != 0, compressed: b[0]&0x40 != 0, size: 2, payload: int(b[1] & 0x7f)}
	switch {
	case b[0]&0x30 != 0:
		return h, false, wireError("reserved bits are set")
	case h.compressed && (!deflate || h.op.control() || h.op == opContinuation):
		return h, false, wireError("compressed without leave")
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return h, false, wireError("unknown opcode %d", h.op)
	case b[1]&0x80 != 0:
		return h, false, wireError("a server masks its frame")
	case h.op.control() && (!h.final || h.payload > 125):
		return h, false, wireError("a control frame is fragmented or above 125 bytes")
	}
	switch h.payload {
	case 126:
		h.size = 4
		if len(b) < h.size {
			return h, false, nil
		}
		if h.payload = int(binary.BigEndian.Uint16(b[2:])); h.payload < 126 {
			return h, false, wireError("length %d is not in its shortest form", h.payload)
		}
	case 127:
		h.size = 10
		if len(b) < h.size {
			return h, false, nil
		}
		n := binary.BigEndian.Uint64(b[2:])
		if n < 1<<16 {
			return h, false, wireError("length %d is not in its shortest form", n)
		}
		if n > maxMessage {
			return h, false, wireError("frame of %d bytes, want at most %d", n, maxMessage)
		}
		h.payload = int(n)
	}
	return h, true, nil
}

// message is one whole message or control frame. Its payload is valid until
// take returns.
type message struct {
	op         opcode
	compressed bool
	payload    []byte
}

// stream takes messages out of what a server sends. It holds memory only while
// a message is not whole.
type stream struct{ partial *partial }

type partial struct {
	raw        []byte // of a frame that is not whole
	open       bool   // a fragmented message has begun
	op         opcode
	compressed bool
	body       []byte // of that message so far
}

// feed takes the next bytes in, and calls take for each message that is whole
// now, until one fails.
func (s *stream) feed(b []byte, deflate bool, take func(message) error) error {
	if s.partial != nil && len(s.partial.raw) > 0 {
		b = append(s.partial.raw, b...)
		s.partial.raw = nil
	}
	for {
		h, ok, err := readFrameHead(b, deflate)
		if err != nil {
			return err
		}
		if !ok || len(b) < h.size+h.payload {
			break
		}
		payload := b[h.size : h.size+h.payload]
		b = b[h.size+h.payload:]
		if err := s.frame(h, payload, take); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		if s.partial == nil {
			s.partial = new(partial)
		}
		s.partial.raw = append([]byte(nil), b...)
	} else if s.partial != nil && !s.partial.open {
		s.partial = nil
	}
	return nil
}

// frame takes one whole frame, and puts fragments together.
func (s *stream) frame(h frameHead, payload []byte, take func(message) error) error {
	open := s.partial != nil && s.partial.open
	switch {
	case h.op.control():
		return take(message{op: h.op, payload: payload})
	case h.op == opContinuation && !open:
		return wireError("a continuation of nothing")
	case h.op != opContinuation && open:
		return wireError("a message begins within another")
	case h.final && !open:
		return take(message{h.op, h.compressed, payload})
	}
	if !open {
		if s.partial == nil {
			s.partial = new(partial)
		}
		s.partial.open, s.partial.op, s.partial.compressed = true, h.op, h.compressed
	}
	p := s.partial
	if len(p.body)+len(payload) > maxMessage {
		return wireError("message above %d bytes", maxMessage)
	}
	p.body = append(p.body, payload...)
	if !h.final {
		return nil
	}
	whole := message{p.op, p.compressed, p.body}
	p.open, p.body = false, nil
	return take(whole)
}

// appendClientFrame appends a frame as a client must send it: masked. Control
// payloads are at most 125 bytes.
func appendClientFrame(dst []byte, op opcode, payload []byte, mask [4]byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	dst = append(dst, mask[:]...)
	for i, c := range payload {
		dst = append(dst, c^mask[i&3])
	}
	return dst
}

// closeCode is the code in a close frame; 1005 stands for none, RFC 6455
// section 7.4.1.
func closeCode(payload []byte) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(payload))
}
