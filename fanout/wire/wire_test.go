package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
	"pgregory.net/rapid"

	"tallystream/fanout/wire"
)

// frameOf is a client's frame.
func frameOf(first byte, payload []byte) []byte {
	b := wire.AppendHead(nil, 0, false, len(payload))
	b[0], b[1] = first, b[1]|0x80
	b = append(b, 0, 0, 0, 0) // a mask of zeros
	return append(b, payload...)
}

func rulesOf(limit uint64) *wire.Rules {
	return &wire.Rules{MaxMessage: limit, Allow: func() bool { return true }}
}

func TestHeadersAreReadAsTheyAreWritten(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 31} {
		for _, packed := range []bool{false, true} {
			b := wire.AppendHead(nil, wire.Text, packed, n)
			h, ok := wire.ReadHead(b)
			want := wire.Head{Final: true, Opcode: wire.Text, Minimal: true, Length: uint64(n), Size: len(b)}
			if packed {
				want.Reserved = 4
			}
			if !ok || h != want {
				t.Errorf("%d: %+v %t", n, h, ok)
			}
			for i := range b {
				if _, ok := wire.ReadHead(b[:i]); ok {
					t.Errorf("%d: %d bytes are a whole header", n, i)
				}
			}
		}
	}
}

func TestACloseFrameSaysItsCodeAndReason(t *testing.T) {
	b := wire.AppendClose(nil, 4410, "idle")
	if code, reason, ok := wire.CloseOf(b); !ok || code != 4410 || string(reason) != "idle" {
		t.Errorf("%d %q %t", code, reason, ok)
	}
	if code, _, ok := wire.CloseOf([]byte{0x88, 0}); !ok || code != wire.NoStatus {
		t.Errorf("%d %t", code, ok)
	}
	if _, _, ok := wire.CloseOf([]byte{0x8a, 0}); ok {
		t.Error("a pong is a close frame")
	}
	long := wire.AppendClose(nil, 1000, strings.Repeat("x", 500))
	if h, _ := wire.ReadHead(long); h.Length != wire.MaxControl {
		t.Errorf("%d bytes", h.Length)
	}
	bad := wire.AppendClose(nil, 1000, "\xff")
	if code, _, _ := wire.CloseOf(wire.CheckedClose(bad)); code != wire.StatusInvalidPayload {
		t.Errorf("a reason that is not UTF-8 is answered with %d", code)
	}
}

// message is one message or control frame as a client means it.
type message struct {
	op     wire.Opcode
	frames []byte
}

func drawMessages(t *rapid.T) (stream []byte, want []message) {
	for range rapid.IntRange(0, 8).Draw(t, "messages") {
		pieces := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 140), 1, 4).Draw(t, "pieces")
		var frames []byte
		for i, p := range pieces {
			first, op := byte(0), wire.Continuation
			if i == 0 {
				first, op = 1, wire.Text
			}
			if i == len(pieces)-1 {
				first |= 0x80
			}
			f := frameOf(first, p)
			frames = append(frames, f...)
			stream = append(stream, f...)
			if i == len(pieces)-1 {
				want = append(want, message{op, frames})
			} else if rapid.Bool().Draw(t, "ping between") {
				ping := frameOf(0x89, rapid.SliceOfN(rapid.Byte(), 0, 125).Draw(t, "ping"))
				stream = append(stream, ping...)
				want = append(want, message{wire.Ping, ping})
			}
		}
	}
	return stream, want
}

// However a stream is cut, the same messages come out, whole and in order of
// their ends.
func TestMessagesComeOutWholeHoweverTheyCameIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream, want := drawMessages(t)
		var in wire.Input
		var got []message
		asked := 0
		rules := &wire.Rules{MaxMessage: 4 * 140, Allow: func() bool { asked++; return true }}
		for rest := stream; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			buffer := bytes.Clone(rest[:n])
			if _, err := in.Feed(buffer, rules, func(frames []byte, op wire.Opcode) bool {
				got = append(got, message{op, bytes.Clone(frames)})
				return true
			}); err != nil {
				t.Fatal(err)
			}
			clear(buffer) // it is the caller's
			rest = rest[n:]
		}
		if in.Waiting() {
			t.Fatal("something is left")
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
		frames := 0
		for b := stream; len(b) > 0; frames++ {
			h, _ := wire.ReadHead(b)
			b = b[h.Size+int(h.Length):]
		}
		if asked != frames {
			t.Fatalf("%d frames were allowed, want %d", asked, frames)
		}
	})
}

// A Walk sees the same frames, and stops at a close frame.
func TestAWalkKeepsStepHoweverBytesCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream, _ := drawMessages(t)
		stream = append(stream, frameOf(0x88, []byte{3, 232})...)
		var w wire.Walk
		for rest := stream; len(rest) > 0; {
			if w.Closed() {
				t.Fatal("closed before the close frame ended")
			}
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			if _, err := w.Take(rest[:n], rulesOf(1<<20)); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if !w.Closed() {
			t.Fatal("the close frame was not seen")
		}
	})
}

func TestARuleBreakerIsFoundByItsHeader(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []byte
		code  int
	}{
		"unmasked":              {[]byte{0x81, 1, 'x'}, 1002},
		"reserved bit 2":        {frameOf(0xa1, nil), 1002},
		"opcode 3":              {frameOf(0x83, nil), 1002},
		"opcode 11":             {frameOf(0x8b, nil), 1002},
		"long ping":             {frameOf(0x89, make([]byte, 126)), 1002},
		"ping in parts":         {frameOf(0x09, nil), 1002},
		"too big":               {frameOf(0x81, make([]byte, 1001)), 1009},
		"too big in parts":      {append(frameOf(0x01, make([]byte, 600)), frameOf(0x80, make([]byte, 401))...), 1009},
		"longest length":        {binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, 1<<63-1), 1009},
		"length with high bit":  {binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, 1<<63), 1002},
		"length not at minimum": {[]byte{0x81, 0xfe, 0, 125}, 1002},
	} {
		b := append(c.bytes, 0, 0, 0, 0, 0, 0)
		var in wire.Input
		rest, err := in.Feed(bytes.Clone(b), rulesOf(1000), func([]byte, wire.Opcode) bool { return true })
		var v *wire.Violation
		if !errors.As(err, &v) || v.Code != c.code {
			t.Errorf("%s: %v, want %d", name, err, c.code)
		}
		var w wire.Walk
		n, err := w.Take(b, rulesOf(1000))
		if !errors.As(err, &v) || v.Code != c.code || !bytes.Equal(b[n:], rest) {
			t.Errorf("%s: a walk finds %v after %d bytes, want %d", name, err, n, c.code)
		}
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	const limit = 1000
	var in wire.Input
	kept := 0
	for i := range 100_000 {
		// Fragments of a byte, without an end.
		first := byte(0)
		if i == 0 {
			first = 1
		}
		if _, err := in.Feed(frameOf(first, []byte{'x'}), rulesOf(limit), func([]byte, wire.Opcode) bool { return true }); err != nil {
			break
		}
		kept++
	}
	if kept != limit {
		t.Errorf("%d bytes were kept, want %d", kept, limit)
	}
}

func TestDeflatedBytesAreTheSameForEverybody(t *testing.T) {
	text := []byte(strings.Repeat(`{"contest":"c","unit":"u","votes":{"a":[1]}}`, 20))
	a, err := wire.Deflate(text)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := wire.Deflate(text); !bytes.Equal(a, b) {
		t.Error("twice is not the same")
	}
	tail := io.MultiReader(bytes.NewReader(a), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	if got, err := io.ReadAll(flate.NewReader(tail)); err != nil || !bytes.Equal(got, text) {
		t.Errorf("inflates to %q: %v", got, err)
	}
	if len(a) > len(text)/4 {
		t.Errorf("%d bytes of %d", len(a), len(text))
	}
}

// FuzzInput: whatever comes, what is passed on is whole and within the rules,
// no more is kept than they allow, and a Walk agrees.
func FuzzInput(f *testing.F) {
	f.Add(frameOf(0x81, []byte("hello")), 3)
	f.Add(append(frameOf(0x01, []byte("a")), append(frameOf(0x89, nil), frameOf(0x80, []byte("b"))...)...), 1)
	f.Add([]byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff"), 2)
	f.Add(frameOf(0x88, []byte{3, 232}), 100)
	f.Fuzz(func(t *testing.T, stream []byte, step int) {
		const limit = 512
		step = min(max(step, 1), 4096)
		var in wire.Input
		var walk wire.Walk
		for b := stream; len(b) > 0; b = b[min(step, len(b)):] {
			piece := bytes.Clone(b[:min(step, len(b))])
			closed := false
			_, walked := walk.Take(piece, rulesOf(limit))
			_, err := in.Feed(piece, rulesOf(limit), func(frames []byte, op wire.Opcode) bool {
				for rest := frames; len(rest) > 0; {
					h, ok := wire.ReadHead(rest)
					if !ok || !h.Masked || uint64(len(rest)) < uint64(h.Size)+h.Length {
						t.Fatalf("%x is not whole", frames)
					}
					rest = rest[h.Size+int(h.Length):]
				}
				closed = op == wire.Close
				return !closed
			})
			if closed {
				return
			}
			if (err != nil) != (walked != nil) {
				t.Fatalf("input finds %v, walk %v", err, walked)
			}
			if err != nil {
				return
			}
		}
	})
}

func BenchmarkDeflate(b *testing.B) {
	text := []byte(strings.Repeat(`{"contest":"contest-17","unit":"leon","reporting":1,"units":99,"votes":{"smith":[10234,7,918,17]}},`, 6))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		out, err := wire.Deflate(text)
		if err != nil {
			b.Fatal(err)
		}
		size = len(out)
	}
	b.ReportMetric(float64(size)/float64(len(text)), "ratio")
}
