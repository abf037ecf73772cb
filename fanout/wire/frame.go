package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// Opcode of a frame, RFC 6455 section 11.8.
type Opcode byte

// The opcodes in use.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xa
)

// Control reports whether frames of o stand between the frames of messages.
func (o Opcode) Control() bool { return o&0x8 != 0 }

// Close codes of RFC 6455 section 7.4.1 that are sent from here.
const (
	StatusProtocolError  = 1002
	StatusInvalidPayload = 1007
	StatusTooBig         = 1009
)

// MaxControl is the largest payload of a control frame, in bytes.
const MaxControl = 125

// Head is the header of a frame, RFC 6455 section 5.2.
type Head struct {
	Final    bool
	Reserved byte // the three bits after FIN, in the low bits
	Opcode   Opcode
	Masked   bool
	Minimal  bool   // the length is written in as few bytes as it can be
	Length   uint64 // of the payload
	Size     int    // of the header itself, 2 to MaxHead
}

// MaxHead is the largest size of a header.
const MaxHead = 14

// Bits of the first byte.
const (
	finalBit   = 0x80
	deflateBit = 0x40 // RSV1, RFC 7692 section 6
	maskBit    = 0x80 // of the second byte
)

// ReadHead reads a header from the beginning of b; ok is false while it is
// not whole.
func ReadHead(b []byte) (h Head, ok bool) {
	if len(b) < 2 {
		return h, false
	}
	h = Head{
		Final: b[0]&finalBit != 0, Reserved: b[0] >> 4 & 7, Opcode: Opcode(b[0] & 0xf),
		Masked: b[1]&maskBit != 0, Minimal: true, Length: uint64(b[1] &^ maskBit), Size: 2,
	}
	switch h.Length {
	case 126:
		if len(b) < 4 {
			return h, false
		}
		h.Length, h.Size = uint64(binary.BigEndian.Uint16(b[2:])), 4
		h.Minimal = h.Length > 125
	case 127:
		if len(b) < 10 {
			return h, false
		}
		h.Length, h.Size = binary.BigEndian.Uint64(b[2:]), 10
		h.Minimal = h.Length > math.MaxUint16
	}
	if h.Masked {
		h.Size += 4
	}
	return h, len(b) >= h.Size
}

// AppendHead appends the header of a server's whole message of n bytes.
func AppendHead(dst []byte, op Opcode, deflated bool, n int) []byte {
	first := finalBit | byte(op)
	if deflated {
		first |= deflateBit
	}
	dst = append(dst, first)
	switch {
	case n <= 125:
		return append(dst, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

// AppendClose appends a close frame. The reason must be short enough: words
// of ours are.
func AppendClose(dst []byte, code int, reason string) []byte {
	reason = reason[:min(len(reason), MaxControl-2)]
	dst = AppendHead(dst, Close, false, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// NoStatus is the code of a close frame that states none.
const NoStatus = 1005

// CloseOf reads a server's close frame; ok is false for any other frame.
func CloseOf(frame []byte) (code int, reason []byte, ok bool) {
	h, whole := ReadHead(frame)
	if !whole || h.Opcode != Close || h.Masked || uint64(len(frame)-h.Size) < h.Length {
		return 0, nil, false
	}
	p := frame[h.Size : h.Size+int(h.Length)]
	if len(p) < 2 {
		return NoStatus, nil, true
	}
	return int(binary.BigEndian.Uint16(p)), p[2:], true
}

// CheckedClose is a close frame that coder/websocket wrote, or the one that
// must be sent instead: it answers a client's reason with the same bytes, which
// must be UTF-8 (RFC 6455 section 5.5.1).
func CheckedClose(frame []byte) []byte {
	if _, reason, ok := CloseOf(frame); ok && !utf8.Valid(reason) {
		return AppendClose(nil, StatusInvalidPayload, "close reason is not UTF-8")
	}
	return frame
}

// Violation is a rule that a client's frame breaks, and the close code for it.
type Violation struct {
	Code   int
	Reason string
}

func (v *Violation) Error() string { return fmt.Sprintf("websocket frame: %s (%d)", v.Reason, v.Code) }

// Violations that are found before a frame is read.
var (
	errUnmasked   = &Violation{StatusProtocolError, "frame is not masked"}
	errLength     = &Violation{StatusProtocolError, "length is not written in the shortest form"}
	errControl    = &Violation{StatusProtocolError, "control frame is too long or fragmented"}
	errTooBig     = &Violation{StatusTooBig, "message is too big"}
	errReserved   = &Violation{StatusProtocolError, "reserved bits or opcode in use"}
	errHighLength = &Violation{StatusProtocolError, "length has its highest bit set"}
)

// ErrTooFast is what a client gets for more frames than Rules.Allow lets pass.
var ErrTooFast = &Violation{Reason: "too fast"}

// Rules are what frames of a client must keep, beyond what their reader sees
// to.
type Rules struct {
	MaxMessage uint64      // bytes of the payloads of one message
	Allow      func() bool // asked once for each frame
}

// check judges a frame of a client by its header, before the frame is there.
// before is how much its message has already.
func (r *Rules) check(h *Head, before uint64) error {
	switch {
	case !h.Masked:
		return errUnmasked
	case h.Length>>63 != 0:
		return errHighLength
	case !h.Minimal:
		return errLength
	case h.Reserved&3 != 0 || h.Opcode&7 > Binary:
		return errReserved
	case h.Opcode.Control() && (h.Length > MaxControl || !h.Final || h.Reserved != 0):
		return errControl
	case !h.Opcode.Control() && h.Length > r.MaxMessage-min(before, r.MaxMessage):
		return errTooBig
	case !r.Allow():
		return ErrTooFast
	}
	return nil
}
