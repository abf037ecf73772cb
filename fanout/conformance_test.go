package fanout_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"

	"tallystream/fanout"
	"tallystream/fanout/wire"
	"tallystream/schemas"
)

// This is a suite of the coverage of the Autobahn test suite's chapters 1 to
// 7, 9, 10, 12 and 13, for a server that does not echo: where Autobahn expects
// its message back, a subscription must bring its snapshot.

// raw is a viewer who writes bytes.
type raw struct {
	t *testing.T
	net.Conn
	in      *bufio.Reader
	head    string // of the answer to the handshake
	deflate bool
}

const offerDeflate = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"

func handshakeOf(query, headers string) string {
	return "GET /v1/live" + query + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + headers + "\r\n"
}

// connectRaw sends a request and reads the header of the answer.
func connectRaw(t *testing.T, x *tier, request string) *raw {
	t.Helper()
	c, err := net.Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := &raw{t: t, Conn: c, in: bufio.NewReader(c)}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	for !strings.HasSuffix(r.head, "\r\n\r\n") {
		line, err := r.in.ReadString('\n')
		if err != nil {
			t.Fatalf("no answer after %q: %v", r.head+line, err)
		}
		r.head += line
	}
	r.deflate = strings.Contains(r.head, "permessage-deflate")
	return r
}

// openRaw opens a WebSocket and reads its hello.
func openRaw(t *testing.T, x *tier, query, headers string) *raw {
	t.Helper()
	r := connectRaw(t, x, handshakeOf(query, headers))
	if !strings.HasPrefix(r.head, "HTTP/1.1 101 ") {
		t.Fatal(r.head)
	}
	r.wantText("hello")
	return r
}

// got is a frame of the server.
type got struct {
	op      wire.Opcode
	payload []byte
	packed  bool
}

func (r *raw) next() (g got, err error) {
	var head []byte
	for {
		b, err := r.in.ReadByte()
		if err != nil {
			return g, err
		}
		head = append(head, b)
		h, ok := wire.ReadHead(head)
		if !ok {
			continue
		}
		if h.Masked || !h.Minimal || !h.Final || h.Reserved != 0 && (h.Reserved != 4 || h.Opcode.Control() || !r.deflate) {
			r.t.Fatalf("the server sent %+v", h)
		}
		g = got{h.Opcode, make([]byte, h.Length), h.Reserved == 4}
		if _, err := io.ReadFull(r.in, g.payload); err != nil {
			return g, err
		}
		if g.packed {
			tail := io.MultiReader(bytes.NewReader(g.payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
			if g.payload, err = io.ReadAll(flate.NewReader(tail)); err != nil {
				r.t.Fatalf("the server's compression: %v", err)
			}
		}
		return g, nil
	}
}

func (r *raw) wantText(kind schemas.FrameKind) got {
	r.t.Helper()
	g, err := r.next()
	if err != nil {
		r.t.Fatalf("want %s: %v", kind, err)
	}
	if k, _ := schemas.KindOfFrame(g.payload); g.op != wire.Text || k != kind {
		r.t.Fatalf("got %x %q, want %s", g.op, g.payload, kind)
	}
	return g
}

func (r *raw) wantPong(payload string) {
	r.t.Helper()
	if g, err := r.next(); err != nil || g.op != wire.Pong || string(g.payload) != payload {
		r.t.Fatalf("got %x %q, %v, want pong %q", g.op, g.payload, err, payload)
	}
}

// wantClosed wants a close frame of one of the codes, and then the end.
func (r *raw) wantClosed(codes ...int) {
	r.t.Helper()
	g, err := r.next()
	if err != nil || g.op != wire.Close {
		r.t.Fatalf("got %x %q, %v, want a close frame", g.op, g.payload, err)
	}
	code := wire.NoStatus
	if len(g.payload) >= 2 {
		code = int(binary.BigEndian.Uint16(g.payload))
	}
	ok := false
	for _, c := range codes {
		ok = ok || c == code
	}
	if !ok {
		r.t.Fatalf("closed with %d %q, want %d", code, g.payload[min(2, len(g.payload)):], codes)
	}
	_, _ = r.Write(masked(0x88, g.payload)) // the server may have closed already, if we began
	if g, err := r.next(); err == nil {
		r.t.Fatalf("%x %q after the close frame", g.op, g.payload)
	}
}

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// masked is a client's frame with that first byte.
func masked(first byte, payload []byte) []byte {
	b := wire.AppendHead(nil, 0, false, len(payload))
	b[0], b[1] = first, b[1]|0x80
	b = append(b, testMask[:]...)
	for i, p := range payload {
		b = append(b, p^testMask[i%4])
	}
	return b
}

func text(s string) []byte { return masked(0x81, []byte(s)) }

const subscribe = `{"p":1,"t":"sub","g":["contest/c"]}`

// padded is a subscription of n bytes.
func padded(n int) string { return subscribe + strings.Repeat(" ", n-len(subscribe)) }

func closeFrame(code int, reason string) []byte {
	return masked(0x88, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

func deflated(s string) []byte {
	b, err := wire.Deflate([]byte(s))
	if err != nil {
		panic(err)
	}
	return b
}

// finalBlock ends its last block, which RFC 7692 section 7.2.3.4 allows.
func finalBlock(s string) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		panic(err)
	}
	if _, err := io.WriteString(w, s); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return append(b.Bytes(), 0)
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// expectation is what follows the bytes of a case, and ends the connection.
type expectation func(r *raw)

// stays: the connection answers pings, and then the client closes it.
func stays(r *raw) {
	r.t.Helper()
	if _, err := r.Write(masked(0x89, []byte("still there?"))); err != nil {
		r.t.Fatal(err)
	}
	r.wantPong("still there?")
	if _, err := r.Write(closeFrame(1000, "bye")); err != nil {
		r.t.Fatal(err)
	}
	r.wantClosed(1000)
}

func follows(r *raw) {
	r.t.Helper()
	r.wantText(schemas.FrameSnap)
	stays(r)
}

func closes(codes ...int) expectation {
	return func(r *raw) {
		r.t.Helper()
		r.wantClosed(codes...)
	}
}

func pongs(payloads ...string) expectation {
	return func(r *raw) {
		r.t.Helper()
		for _, p := range payloads {
			r.wantPong(p)
		}
		stays(r)
	}
}

// mayFollow is for a subscription with the end right behind it: its snapshot
// may or may not have gone out by then.
func mayFollow(code int) expectation {
	return func(r *raw) {
		r.t.Helper()
		if b, err := r.in.Peek(1); err == nil && b[0]&0xf == byte(wire.Text) {
			r.wantText(schemas.FrameSnap)
		}
		r.wantClosed(code)
	}
}

// pongThen is a pong first and something else after it.
func pongThen(payload string, rest expectation) expectation {
	return func(r *raw) {
		r.t.Helper()
		r.wantPong(payload)
		rest(r)
	}
}

type conformanceCase struct {
	name    string
	bytes   []byte
	want    expectation
	deflate bool // agreed on
}

const limitBytes = 32 << 10 // the default of Limits.FrameBytes

func conformanceCases() []conformanceCase {
	var cases []conformanceCase
	add := func(name string, b []byte, want expectation) {
		cases = append(cases, conformanceCase{name, b, want, false})
	}
	addDeflate := func(name string, b []byte, want expectation) {
		cases = append(cases, conformanceCase{name, b, want, true})
	}
	half := len(subscribe) / 2

	// 1, 9: lengths.
	for _, n := range []int{len(subscribe), 125, 126, 127, 128, 255, 256, 1024, 4096, 16384, limitBytes - 1, limitBytes} {
		add(fmt.Sprintf("1.1 text of %d bytes", n), text(padded(n)), follows)
	}
	add("1.1 empty text", text(""), closes(4400))
	for _, n := range []int{0, 1, 125, 126, 127, 128, 4096} {
		add(fmt.Sprintf("1.2 binary of %d bytes", n), masked(0x82, make([]byte, n)), closes(1003))
	}
	for _, n := range []int{limitBytes + 1, limitBytes + 2, 65535, 65536, 1 << 20} {
		add(fmt.Sprintf("9.1 text of %d bytes", n), text(padded(n)), closes(1009))
	}
	huge := []byte{0x81, 0xff, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7}
	add("9.2 text of 2^62 bytes announced", huge, closes(1009))
	negative := bytes.Clone(huge)
	negative[2] = 0xff
	add("9.2 length with its highest bit", negative, closes(1002))
	add("9.3 too big in fragments", join(masked(0x01, make([]byte, limitBytes-1)), masked(0x80, []byte("  "))), closes(1009))
	add("9.3 as big as may be in fragments", join(masked(0x01, []byte(padded(limitBytes-2))), masked(0x80, []byte("  "))), follows)
	add("9.4 length 5 in 16 bits", []byte{0x81, 0xfe, 0, 5, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'}, closes(1002))
	add("9.4 length 200 in 64 bits", append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0}, make([]byte, 200)...), closes(1002))

	// 2: pings and pongs.
	for _, p := range []string{"", "Hello", "\x00\xff\xfe\xfd\xfc\xfb\x00\xff", strings.Repeat("\xfe", 124), strings.Repeat("*", 125)} {
		add(fmt.Sprintf("2.1 ping of %d bytes", len(p)), masked(0x89, []byte(p)), pongs(p))
	}
	add("2.5 ping of 126 bytes", masked(0x89, make([]byte, 126)), closes(1002))
	add("2.5 pong of 126 bytes", masked(0x8a, make([]byte, 126)), closes(1002))
	add("2.7 unasked pong", masked(0x8a, nil), stays)
	add("2.8 unasked pong with a payload", masked(0x8a, []byte("unasked")), stays)
	add("2.9 unasked pong, ping", join(masked(0x8a, []byte("unasked")), masked(0x89, []byte("ping"))), pongs("ping"))
	var ten [][]byte
	var tenAnswers []string
	for i := range 10 {
		ten, tenAnswers = append(ten, masked(0x89, fmt.Append(nil, "payload-", i))), append(tenAnswers, fmt.Sprint("payload-", i))
	}
	add("2.10 ten pings", join(ten...), pongs(tenAnswers...))

	// 3: reserved bits.
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, op := range []byte{0x1, 0x2, 0x8, 0x9, 0xa} {
			add(fmt.Sprintf("3 reserved bits %d with opcode %d", rsv, op), masked(0x80|rsv<<4|op, []byte{0x03, 0xe8}), closes(1002))
			if rsv != 4 || op >= 8 {
				addDeflate(fmt.Sprintf("3 reserved bits %d with opcode %d, deflate agreed", rsv, op), masked(0x80|rsv<<4|op, []byte{0x03, 0xe8}), closes(1002))
			}
		}
	}
	add("3.2 subscription, then reserved bits", join(text(subscribe), masked(0xa1, []byte("x"))), mayFollow(1002))

	// 4: opcodes.
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		add(fmt.Sprintf("4 opcode %d, empty", op), masked(0x80|op, nil), closes(1002))
		add(fmt.Sprintf("4 opcode %d, with a payload", op), masked(0x80|op, []byte("reserved")), closes(1002))
		add(fmt.Sprintf("4 opcode %d between fragments", op), join(masked(0x01, []byte(subscribe[:half])), masked(0x80|op, nil), masked(0x80, []byte(subscribe[half:]))), closes(1002))
	}

	// 5: fragments.
	first, last := masked(0x01, []byte(subscribe[:half])), masked(0x80, []byte(subscribe[half:]))
	add("5.1 ping in two fragments", join(masked(0x09, []byte("frag")), masked(0x80, []byte("ment"))), closes(1002))
	add("5.2 pong in two fragments", join(masked(0x0a, []byte("frag")), masked(0x80, []byte("ment"))), closes(1002))
	add("5.2 close in two fragments", join(masked(0x08, []byte{0x03}), masked(0x80, []byte{0xe8})), closes(1002))
	add("5.3 text in two fragments", join(first, last), follows)
	add("5.6 ping between them", join(first, masked(0x89, []byte("ping")), last), pongThen("ping", follows))
	add("5.7 two pings between them", join(first, masked(0x89, []byte("a")), masked(0x89, []byte("b")), last), pongThen("a", pongThen("b", follows)))
	add("5.8 pong between them", join(first, masked(0x8a, []byte("pong")), last), follows)
	add("5.9 continuation of nothing, final", join(last, text(subscribe)), closes(1002))
	add("5.12 continuation of nothing, then text", join(masked(0x00, []byte("x")), text(subscribe)), closes(1002))
	add("5.15 two continuations after the end", join(first, last, masked(0x80, []byte("x"))), mayFollow(1002))
	add("5.18 text before the end of text", join(first, text(subscribe)), closes(1002))
	add("5.18 text fragments before the end of text", join(first, first, last), closes(1002))
	add("5.18 binary before the end of text", join(first, masked(0x82, []byte("x"))), closes(1002))
	var pieces [][]byte
	for i, b := range []byte(subscribe[:12]) {
		op := byte(0)
		if i == 0 {
			op = 1
		}
		pieces = append(pieces, masked(op, []byte{b}))
	}
	add("5.19 thirteen fragments", join(append(pieces, masked(0x80, []byte(subscribe[12:])))...), follows)
	add("5.19 empty fragments", join(masked(0x01, nil), masked(0x00, nil), masked(0x00, []byte(subscribe)), masked(0x00, nil), masked(0x80, nil)), follows)
	add("5.20 two messages in fragments", join(first, last, masked(0x01, []byte(`{"p":1,"t":"sub",`)), masked(0x80, []byte(`"g":["election"]}`))), follows)
	add("5.20 binary in fragments", join(masked(0x02, []byte("a")), masked(0x80, []byte("b"))), closes(1003))

	// 6: UTF-8.
	for name, s := range map[string]string{
		"overlong slash 2": "\xc0\xaf", "overlong slash 3": "\xe0\x80\xaf", "overlong slash 4": "\xf0\x80\x80\xaf", "overlong slash 5": "\xf8\x80\x80\x80\xaf",
		"overlong nul": "\xc0\x80", "overlong max 2": "\xc1\xbf", "overlong max 3": "\xe0\x9f\xbf", "overlong max 4": "\xf0\x8f\xbf\xbf",
		"surrogate high": "\xed\xa0\x80", "surrogate low": "\xed\xbf\xbf", "surrogate pair": "\xed\xa0\x80\xed\xb0\x80", "beyond U+10FFFF": "\xf4\x90\x80\x80",
		"five bytes": "\xf8\x88\x80\x80\x80", "six bytes": "\xfc\x84\x80\x80\x80\x80", "FE": "\xfe", "FF": "\xff", "FE FF": "\xfe\xfe\xff\xff",
		"lone continuation": "\x80", "six lone continuations": "\x80\xbf\x80\xbf\x80\xbf", "all continuations end": "\xbf", "cut off 2": "\xc3", "cut off 3": "\xe2\x82",
		"cut off 4": "\xf0\x9f\x92", "cut off in between": "\xce\xba\xe1\xbd", "start without end": "\xce \xcf ", "mixed": "\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80edited",
	} {
		message := `{"p":1,"t":"sub","g":["` + s + `"]}`
		cut := strings.Index(message, s) + 1
		add("6 not UTF-8: "+name, text(message), closes(1007))
		add("6 not UTF-8 in fragments: "+name, join(masked(0x01, []byte(message[:cut])), masked(0x80, []byte(message[cut:]))), closes(1007))
		addDeflate("6 not UTF-8, deflated: "+name, masked(0xc1, deflated(message)), closes(1007))
	}
	for name, s := range map[string]string{
		"κόσμε": "κόσμε", "two": "\u0080", "three": "\u0800", "four": "\U00010000", "last of one": "\x7f", "last of two": "\u07ff", "last of three": "\uffff", "last": "\U0010ffff",
		"before surrogates": "\ud7ff", "after surrogates": "\ue000", "replacement": "\ufffd", "noncharacter FFFE": "\ufffe", "noncharacter 1FFFF": "\U0001ffff", "noncharacter FDD0": "\ufdd0",
		"emoji": "\U0001f4a9",
	} {
		message := `{"p":1,"t":"sub","g":["` + s + `"]}` // UTF-8, but no document's name
		cut := strings.Index(message, s) + max(1, len(s)/2)
		add("6 UTF-8: "+name, text(message), closes(4400))
		add("6 UTF-8 cut between fragments: "+name, join(masked(0x01, []byte(message[:cut])), masked(0x80, []byte(message[cut:]))), closes(4400))
	}

	// 7: closing.
	add("7.1 close", closeFrame(1000, ""), closes(1000))
	add("7.1 two closes", join(closeFrame(1000, ""), closeFrame(1000, "")), closes(1000))
	add("7.1 ping after close", join(closeFrame(1000, ""), masked(0x89, []byte("x"))), closes(1000))
	add("7.1 text after close", join(closeFrame(1000, ""), text(subscribe)), closes(1000))
	add("7.1 close between fragments", join(first, closeFrame(1000, ""), last), closes(1000))
	add("7.1 subscription, then close", join(text(subscribe), closeFrame(1000, "")), mayFollow(1000))
	add("7.3 close without a payload", masked(0x88, nil), closes(wire.NoStatus))
	add("7.3 close with one byte", masked(0x88, []byte{3}), closes(1002))
	add("7.3 close with a reason", closeFrame(1000, "Hello"), closes(1000))
	add("7.3 close with a reason of 123 bytes", closeFrame(1000, strings.Repeat("*", 123)), closes(1000))
	add("7.3 close with a reason of 124 bytes", closeFrame(1000, strings.Repeat("*", 124)), closes(1002))
	add("7.5 close with a reason that is not UTF-8", closeFrame(1000, "\xce\xba\xe1\xbd\xb9\xed\xa0\x80"), closes(1007))
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7.7 close with %d", code), closeFrame(code, ""), closes(code))
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(fmt.Sprintf("7.9 close with %d", code), closeFrame(code, ""), closes(1002))
		add(fmt.Sprintf("7.9 close with %d and a reason", code), closeFrame(code, "reason"), closes(1002))
	}

	// Masks, RFC 6455 section 5.1.
	for _, op := range []byte{0x81, 0x82, 0x88, 0x89, 0x8a} {
		add(fmt.Sprintf("unmasked %x", op), append([]byte{op, 2}, 0x03, 0xe8), closes(1002))
	}
	zero := append([]byte{0x81, 0x80 | byte(len(subscribe)), 0, 0, 0, 0}, subscribe...)
	add("mask of zeros", zero, follows)

	// 12, 13: permessage-deflate.
	packed := deflated(subscribe)
	addDeflate("12 deflated subscription", masked(0xc1, packed), follows)
	addDeflate("12 plain subscription all the same", text(subscribe), follows)
	addDeflate("12 in two fragments", join(masked(0x41, packed[:10]), masked(0x80, packed[10:])), follows)
	addDeflate("12 a ping between them", join(masked(0x41, packed[:10]), masked(0x89, []byte("p")), masked(0x80, packed[10:])), pongThen("p", follows))
	addDeflate("12 reserved bit on the second fragment", join(masked(0x41, packed[:10]), masked(0xc0, packed[10:])), closes(1002))
	addDeflate("12 reserved bit on a continuation of plain text", join(first, masked(0xc0, []byte(subscribe[half:]))), closes(1002))
	addDeflate("12 two deflated messages without a context", join(masked(0xc1, packed), masked(0xc1, deflated(`{"p":1,"t":"sub","g":["election"]}`))), follows)
	addDeflate("12 stored block", masked(0xc1, join([]byte{0, byte(len(subscribe)), 0, ^byte(len(subscribe)), 0xff}, []byte(subscribe), []byte{0})), follows)
	addDeflate("12 final block", masked(0xc1, finalBlock(subscribe)), follows)
	addDeflate("12 deflated binary", masked(0xc2, packed), closes(1003))
	addDeflate("12 not deflate at all", masked(0xc1, []byte("\xff\xff\xff\xff\xff\xff")), closes(1002, 1007))
	addDeflate("12 deflates to too much", masked(0xc1, deflated(padded(limitBytes+1))), closes(1009))
	addDeflate("12 deflates to as much as may be", masked(0xc1, deflated(padded(limitBytes))), follows)
	addDeflate("12 deflates to megabytes", masked(0xc1, deflated(strings.Repeat(" ", 8<<20))), closes(1009))
	addDeflate("12 unmasked deflated text", append(wire.AppendHead(nil, wire.Text, true, len(packed)), packed...), closes(1002))
	return cases
}

// TestWebSocketConformance plays every case whole and byte by byte, on both
// engines.
func TestWebSocketConformance(t *testing.T) {
	cases := conformanceCases()
	onEngines(t, func(t *testing.T, start starter) {
		x := start(t, fanout.Config{Limits: fanout.Limits{FrameRate: 1000, CloseTimeout: 500 * time.Millisecond}, PingEvery: time.Hour})
		played := 0
		for _, c := range cases {
			for _, how := range []string{"whole", "in bytes"} {
				if how == "in bytes" && len(c.bytes) > 600 {
					continue
				}
				t.Run(c.name+"/"+how, func(t *testing.T) {
					headers := ""
					if c.deflate {
						headers = offerDeflate
					}
					r := openRaw(t, x, "", headers)
					r.t = t
					if r.deflate != c.deflate {
						t.Fatal(r.head)
					}
					step := len(c.bytes)
					if how == "in bytes" {
						step = 1
					}
					for b := c.bytes; len(b) > 0; b = b[min(step, len(b)):] {
						if _, err := r.Write(b[:min(step, len(b))]); err != nil {
							break // it has closed; what it said is read below
						}
					}
					c.want(r)
				})
				played++
			}
		}
		t.Logf("%d cases in %d plays", len(cases), played)
		waitFor(t, func() bool { return x.Hub().Sessions() == 0 })
	})
}

// TestTheOpeningHandshake: RFC 6455 section 4.2, RFC 7692 section 7.1.
func TestTheOpeningHandshake(t *testing.T) {
	good := handshakeOf("", "")
	without := func(header string) string {
		var out []string
		for line := range strings.SplitAfterSeq(good, "\r\n") {
			if !strings.HasPrefix(line, header) {
				out = append(out, line)
			}
		}
		return strings.Join(out, "")
	}
	with := func(extension string) string {
		return handshakeOf("", "Sec-WebSocket-Extensions: "+extension+"\r\n")
	}
	const agreed = "Sec-Websocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"
	onEngines(t, func(t *testing.T, start starter) {
		x := start(t, fanout.Config{})
		for _, c := range []struct{ name, request, status, header string }{
			{"as it should be", good, "101", "Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"},
			{"names of headers in any case", strings.NewReplacer("Upgrade:", "UPGRADE:", "Connection:", "connection:", "Sec-WebSocket-Key", "sec-websocket-key").Replace(good), "101", ""},
			{"values in any case", strings.NewReplacer("websocket\r\n", "WebSocket\r\n", ": Upgrade", ": UPGRADE").Replace(good), "101", ""},
			{"more in Connection", strings.Replace(good, "Connection: Upgrade", "Connection: keep-alive, Upgrade", 1), "101", ""},
			{"a subprotocol that nobody speaks", handshakeOf("", "Sec-WebSocket-Protocol: chat\r\n"), "101", ""},
			{"another extension", with("x-webkit-deflate-frame"), "101", ""},
			{"deflate", with("permessage-deflate"), "101", agreed},
			{"deflate as browsers offer it", with("permessage-deflate; client_max_window_bits"), "101", agreed},
			{"deflate with a window for the server of 15 bits", with("permessage-deflate; server_max_window_bits=15"), "101", agreed},
			{"deflate with a window for the server of 10 bits is declined", with("permessage-deflate; server_max_window_bits=10"), "101", ""},
			{"a second offer is taken", with("permessage-deflate; server_max_window_bits=10, permessage-deflate"), "101", agreed},
			{"deflate with an unknown parameter is declined", with("permessage-deflate; wrong=1"), "101", ""},
			{"no Upgrade", without("Upgrade"), "426", "Upgrade: websocket\r\n"},
			{"no Connection", without("Connection"), "426", ""},
			{"another Upgrade", strings.Replace(good, "Upgrade: websocket", "Upgrade: h2c", 1), "426", ""},
			{"no version", without("Sec-WebSocket-Version"), "400", "Sec-Websocket-Version: 13\r\n"},
			{"another version", strings.Replace(good, "Version: 13", "Version: 12", 1), "400", "Sec-Websocket-Version: 13\r\n"},
			{"no key", without("Sec-WebSocket-Key"), "400", ""},
			{"a key that is too short", strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", 1), "400", ""},
			{"a key that is not base64", strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "!!!!", 1), "400", ""},
			{"two keys", handshakeOf("", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "400", ""},
			{"HTTP/1.0", strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1), "426", ""},
			{"no Host", without("Host"), "400", ""},
			{"POST", strings.Replace(good, "GET", "POST", 1), "404", ""},
			{"another path", strings.Replace(good, "/v1/live", "/v1/livelier", 1), "404", ""},
			{"the whole URL in the request", strings.Replace(good, "GET /v1", "GET http://x/v1", 1), "101", ""},
			{"a header without a colon", handshakeOf("", "nonsense\r\n"), "400", ""},
			{"no HTTP", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", "400", ""},
			{"a header of 40 KB", handshakeOf("", "X: "+strings.Repeat("x", 40<<10)+"\r\n"), "431", ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := connectRaw(t, x, c.request)
				if !strings.HasPrefix(r.head, "HTTP/1.1 "+c.status+" ") && !strings.HasPrefix(r.head, "HTTP/1.0 "+c.status+" ") {
					t.Fatalf("got %q, want %s", r.head, c.status)
				}
				if !strings.Contains(r.head, c.header) {
					t.Errorf("%q does not say %q", r.head, c.header)
				}
				if r.deflate != (c.header == agreed) {
					t.Errorf("extensions of %q", r.head)
				}
				if c.status == "101" {
					r.wantText(schemas.FrameHello)
					stays(r)
				}
			})
		}
		for _, step := range []int{1, 7, 64} { // in pieces
			c, err := net.Dial("tcp", x.addr)
			if err != nil {
				t.Fatal(err)
			}
			for b := []byte(good); len(b) > 0; b = b[min(step, len(b)):] {
				if _, err := c.Write(b[:min(step, len(b))]); err != nil {
					t.Fatal(err)
				}
			}
			r := &raw{t: t, Conn: c, in: bufio.NewReader(c)}
			for line := ""; line != "\r\n"; {
				if line, err = r.in.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			r.wantText(schemas.FrameHello)
			stays(r)
			c.Close()
		}
	})
}

func TestAServerThatDeclinesCompressionSendsNone(t *testing.T) {
	onEngines(t, func(t *testing.T, start starter) {
		x := start(t, fanout.Config{Uncompressed: true})
		if r := openRaw(t, x, "", offerDeflate); r.deflate {
			t.Error(r.head)
		}
	})
}

// A delta is compressed for those who agreed to it, and says the same.
func TestACompressedDeltaIsThePlainOne(t *testing.T) {
	onEngines(t, func(t *testing.T, start starter) {
		x := start(t, fanout.Config{})
		plain, packed := openRaw(t, x, "?g=contest/c", ""), openRaw(t, x, "?g=contest/c", offerDeflate)
		plain.wantText(schemas.FrameSnap)
		packed.wantText(schemas.FrameSnap)
		for i := range 20 {
			x.press.change(contest, fmt.Sprint("u", i), fmt.Sprint("w", i))
			x.OnDelta(x.press.delta(contest))
			a, b := plain.wantText(schemas.FrameDelta), packed.wantText(schemas.FrameDelta)
			if !bytes.Equal(a.payload, b.payload) || a.packed || !b.packed {
				t.Fatalf("%s\nand\n%s", a.payload, b.payload)
			}
		}
	})
}
