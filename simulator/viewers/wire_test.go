package viewers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// coderServer is a server that coder/websocket speaks for.
func coderServer(t *testing.T, mode websocket.CompressionMode, serve func(context.Context, *websocket.Conn) error) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := serve(ctx, c); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// dialRaw opens a connection with the requests and answers of this package. What
// came after the answer is in rest.
func dialRaw(t *testing.T, address string, deflate bool) (conn net.Conn, rest []byte, deflated bool) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	key := handshakeKey(1, 2, 3)
	if _, err := conn.Write(appendRequest(nil, address, "/v1/live?g=election", key, "", deflate)); err != nil {
		t.Fatal(err)
	}
	var b []byte
	for {
		n, deflated, err := readAnswer(b, key, deflate)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return conn, b[n:], deflated
		}
		more := make([]byte, 4096)
		k, err := conn.Read(more)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, more[:k]...)
	}
}

func TestCoderTakesOurFramesAndWeTakeItsOwn(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 127, 1000, 65_535, 65_536, 100_000}
	text := func(n int) []byte { return bytes.Repeat([]byte("ab,c"), n/4+1)[:n] }
	for _, deflate := range []bool{false, true} {
		t.Run(fmt.Sprint("deflate ", deflate), func(t *testing.T) {
			mode := websocket.CompressionDisabled
			if deflate {
				mode = websocket.CompressionNoContextTakeover
			}
			address := coderServer(t, mode, func(ctx context.Context, c *websocket.Conn) error {
				for _, n := range sizes {
					_, got, err := c.Read(ctx)
					if err != nil || !bytes.Equal(got, text(n)) {
						return fmt.Errorf("server read %d bytes of %d: %w", len(got), n, err)
					}
					// Several writes of one message are several frames.
					w, err := c.Writer(ctx, websocket.MessageText)
					if err != nil {
						return err
					}
					for part := range bytes.SplitSeq(text(n), []byte(",")) {
						if _, err := w.Write(append(part, ',')); err != nil {
							return err
						}
					}
					if err := w.Close(); err != nil {
						return err
					}
				}
				return c.Close(4408, "too slow")
			})
			conn, rest, deflated := dialRaw(t, address, deflate)
			if deflated != deflate {
				t.Fatalf("deflate %v, want %v", deflated, deflate)
			}
			var s stream
			var z inflater
			next := 0
			send := func() {
				if next < len(sizes) {
					if _, err := conn.Write(appendClientFrame(nil, opText, text(sizes[next]), [4]byte{1, 2, 3, byte(next)})); err != nil {
						t.Error(err)
					}
				}
			}
			code := 0
			take := func(m message) error {
				if m.op == opClose {
					code = closeCode(m.payload)
					return io.EOF
				}
				payload := m.payload
				if m.compressed {
					var err error
					if payload, err = z.inflate(payload); err != nil {
						return err
					}
				}
				var want []byte
				for part := range bytes.SplitSeq(text(sizes[next]), []byte(",")) {
					want = append(append(want, part...), ',')
				}
				if m.op != opText || !bytes.Equal(payload, want) {
					return fmt.Errorf("message %d: op %d, %d bytes, want %d", next, m.op, len(payload), len(want))
				}
				next++
				send()
				return nil
			}
			send()
			buffer := rest
			for {
				err := s.feed(buffer, deflate, take)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				buffer = make([]byte, 777)
				n, err := conn.Read(buffer)
				if err != nil {
					t.Fatal(err)
				}
				buffer = buffer[:n]
			}
			if next != len(sizes) || code != 4408 {
				t.Errorf("%d messages, closed with %d", next, code)
			}
			if _, err := conn.Write(appendClientFrame(nil, opClose, []byte{0x11, 0x38}, [4]byte{})); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCoderGetsAPongForItsPingAndWeForOurs(t *testing.T) {
	address := coderServer(t, websocket.CompressionDisabled, func(ctx context.Context, c *websocket.Conn) error {
		ctx = c.CloseRead(ctx)
		if err := c.Ping(ctx); err != nil {
			return fmt.Errorf("server pings: %w", err)
		}
		<-ctx.Done()
		return nil
	})
	conn, rest, _ := dialRaw(t, address, false)
	var s stream
	pongs := 0
	take := func(m message) error {
		switch m.op {
		case opPing:
			both := appendClientFrame(appendClientFrame(nil, opPong, m.payload, [4]byte{9, 9, 9, 9}), opPing, []byte("12345678"), [4]byte{4, 3, 2, 1})
			_, err := conn.Write(both)
			return err
		case opPong:
			if string(m.payload) != "12345678" {
				t.Errorf("pong %q", m.payload)
			}
			pongs++
		}
		return nil
	}
	for buffer := rest; pongs == 0; {
		if err := s.feed(buffer, false, take); err != nil {
			t.Fatal(err)
		}
		if pongs > 0 {
			break
		}
		buffer = make([]byte, 512)
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		buffer = buffer[:n]
	}
	conn.Close()
}

func TestFramesThatAServerMayNotSend(t *testing.T) {
	for name, b := range map[string][]byte{
		"masked":                     {0x81, 0x81, 0, 0, 0, 0, 'a'},
		"reserved bit":               {0x91, 1, 'a'},
		"compressed without leave":   {0xc1, 1, 'a'},
		"unknown opcode":             {0x83, 1, 'a'},
		"unknown control opcode":     {0x8b, 0},
		"fragmented ping":            {0x09, 0},
		"long ping":                  {0x89, 126, 0, 126},
		"length not in its shortest": {0x81, 126, 0, 5, 'h', 'e', 'l', 'l', 'o'},
		"same with 64 bits":          {0x81, 127, 0, 0, 0, 0, 0, 0, 0, 5},
		"above the limit":            {0x81, 127, 0, 0, 0, 0, 2, 0, 0, 0},
		"continuation of nothing":    {0x80, 1, 'a'},
		"a message in another":       {0x01, 1, 'a', 0x81, 1, 'b'},
	} {
		t.Run(name, func(t *testing.T) {
			var s stream
			err := s.feed(b, false, func(message) error { return nil })
			if err == nil {
				t.Error("taken")
			}
		})
	}
}

// FuzzStream: however bytes are cut, the same messages come out, or the same
// refusal.
func FuzzStream(f *testing.F) {
	f.Add([]byte{0x81, 1, 'a', 0x01, 1, 'b', 0x89, 0, 0x80, 1, 'c'}, uint8(1), false)
	f.Add([]byte{0xc1, 126, 0, 126}, uint8(3), true)
	f.Add([]byte{0x88, 2, 3, 232}, uint8(2), false)
	f.Fuzz(func(t *testing.T, b []byte, cut uint8, deflate bool) {
		run := func(step int) (out []string, failed bool) {
			var s stream
			for at := 0; at < len(b); at += step {
				err := s.feed(b[at:min(at+step, len(b))], deflate, func(m message) error {
					out = append(out, fmt.Sprintf("%d %v %x", m.op, m.compressed, m.payload))
					return nil
				})
				if err != nil {
					return out, true
				}
			}
			return out, false
		}
		whole, failed := run(max(len(b), 1))
		cutUp, failedToo := run(int(cut)%16 + 1)
		if fmt.Sprint(whole) != fmt.Sprint(cutUp) || failed != failedToo {
			t.Fatalf("whole %q %v, in pieces %q %v", whole, failed, cutUp, failedToo)
		}
	})
}

func FuzzInflate(f *testing.F) {
	f.Add([]byte{0x4b, 0x4c, 0x04, 0x00})
	f.Add([]byte{})
	var z inflater
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := z.inflate(b)
		if err == nil && len(out) > maxMessage {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
