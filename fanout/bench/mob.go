package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tallystream/fanout/wire"
)

// mobPlan is what a process of offenders is told; it ends with its input.
type mobPlan struct {
	Address string `json:"address"`
	Each    int    `json:"each"` // offenders of each kind at a time
}

// mobReport counts, by kind of offence, what ended the connection: a close code,
// or "HTTP" and a status.
type mobReport map[string]map[string]uint64

func (r mobReport) count(kind, code string, n uint64) {
	if r[kind] == nil {
		r[kind] = map[string]uint64{}
	}
	r[kind][code] += n
}

// What ends connections of any kind.
const (
	tooOften   = "HTTP 429"   // the address connects too often
	unfinished = "unfinished" // the run ended before
)

// offence is one way to be hostile, and what it must be closed with.
type offence struct {
	name, code string
	many       int // 0: as the plan says
	do         func(ctx context.Context, c net.Conn) (io.Reader, error)
}

const mobHandshake = "GET /v1/live?g=" + string(document) + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

func offences() []offence {
	sending := func(b []byte) func(context.Context, net.Conn) (io.Reader, error) {
		return func(_ context.Context, c net.Conn) (io.Reader, error) {
			_, err := c.Write(b)
			return c, err
		}
	}
	garbage := make([]byte, 4096)
	for i := range garbage {
		garbage[i] = byte(rand.Uint32())
	}
	garbage[0] |= 0x70 // reserved bits: it cannot be a frame by chance
	ping := []byte{0x89, 0x80, 1, 2, 3, 4}
	return []offence{
		{"never read", "4410", 0, func(ctx context.Context, c net.Conn) (io.Reader, error) {
			wait(ctx, alertTimeout+3*time.Second)
			return c, nil // what came is looked at in the end
		}},
		{"read a byte a second", "4410", 0, func(ctx context.Context, c net.Conn) (io.Reader, error) {
			begun, head := time.Now(), []byte{}
			for ctx.Err() == nil && time.Since(begun) < alertTimeout+3*time.Second {
				var b [1]byte
				if _, err := io.ReadFull(c, b[:]); err != nil {
					return nil, err
				}
				head = append(head, b[0])
				wait(ctx, time.Second)
			}
			return io.MultiReader(bytes.NewReader(head), c), nil
		}},
		{"send garbage", "1002", 0, sending(garbage)},
		{"send huge frames", "1009", 0, sending([]byte{0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4})},
		{"flood with pings", "4429", 0, sending(bytes.Repeat(ping, 1000))},
		{"never finish a handshake", "HTTP 408", 100, nil},
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

type mobCommand struct{}

// Run is hostile until the input ends, and says then what became of everybody.
func (mobCommand) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	read := json.NewDecoder(os.Stdin)
	var p mobPlan
	if err := read.Decode(&p); err != nil {
		return fmt.Errorf("reading the plan: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until it ends
		stop()
	}()
	report, mu, group := mobReport{}, sync.Mutex{}, sync.WaitGroup{}
	for _, o := range offences() {
		many := o.many
		if many == 0 {
			many = p.Each
		}
		for range many {
			group.Go(func() {
				for ctx.Err() == nil {
					code := offend(ctx, p.Address, o)
					mu.Lock()
					report.count(o.name, code, 1)
					mu.Unlock()
					if code == tooOften {
						wait(ctx, 250*time.Millisecond) // more would only heat this process's processor
					}
				}
			})
		}
	}
	group.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return fmt.Errorf("reporting: %w", err)
	}
	return nil
}

// offend is one connection, from its begin to its end. Offenders come from the
// address that they go to.
func offend(ctx context.Context, address string, o offence) string {
	host, _, _ := net.SplitHostPort(address)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return ending(ctx, err)
	}
	defer conn.Close()
	unhook := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer unhook()
	if o.do == nil {
		_, err := io.WriteString(conn, mobHandshake[:len(mobHandshake)-2-rand.IntN(40)])
		if err != nil {
			return ending(ctx, err)
		}
		return codeOf(ctx, conn)
	}
	if _, err := io.WriteString(conn, mobHandshake); err != nil {
		return ending(ctx, err)
	}
	from, err := o.do(ctx, conn)
	if err != nil && from == nil {
		return ending(ctx, err)
	}
	return codeOf(ctx, from)
}

// codeOf reads to the close frame, or to a refusal.
func codeOf(ctx context.Context, from io.Reader) string {
	in := bufio.NewReader(from)
	line, err := in.ReadString('\n')
	if err != nil {
		return ending(ctx, err)
	}
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[1] != "101" {
		return "HTTP " + strings.Join(fields[min(1, len(fields)):min(2, len(fields))], "")
	}
	for line != "\r\n" {
		if line, err = in.ReadString('\n'); err != nil {
			return ending(ctx, err)
		}
	}
	for {
		h, err := nextHead(in)
		if err != nil {
			return ending(ctx, err)
		}
		frame := make([]byte, h.Size+int(h.Length))
		if _, err := io.ReadFull(in, frame); err != nil {
			return ending(ctx, err)
		}
		if code, _, ok := wire.CloseOf(frame); ok {
			return strconv.Itoa(code)
		}
	}
}

// nextHead looks at the next frame's header without a wait for what comes after.
func nextHead(in *bufio.Reader) (wire.Head, error) {
	for n := 2; ; n++ {
		b, err := in.Peek(n)
		if err != nil {
			return wire.Head{}, fmt.Errorf("reading a frame: %w", err)
		}
		if h, ok := wire.ReadHead(b); ok {
			return h, nil
		}
	}
}

func ending(ctx context.Context, err error) string {
	var number syscall.Errno
	switch {
	case ctx.Err() != nil:
		return unfinished
	case errors.As(err, &number):
		return number.Error()
	}
	return fmt.Sprint(err)
}
