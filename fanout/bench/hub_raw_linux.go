package main

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// raw is the limit: sockets, and one system call with the same bytes for each,
// from as many threads as there are processors. It reads nothing and knows no
// protocol.
type raw struct {
	call    call
	deflate bool
	sweeps  []chan sweep

	mu      sync.Mutex // guards the rest; held over a publication, so that joiners miss nothing
	press   *press
	sockets []int
}

// sweep is a frame for a share of the sockets.
type sweep struct {
	frame   []byte
	sockets []int
	done    *sync.WaitGroup
}

// call gives a socket bytes, once, without the scheduler's part in a system call:
// nothing could be leaner.
type call func(fd int, b []byte) (int, unix.Errno)

func callWrite(fd int, b []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), e
}

func callSend(fd int, b []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), e
}

func startWrite(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	return startRaw(l, p, s, callWrite)
}

func startSend(ctx context.Context, l *net.TCPListener, p *press, s setup) (hub, error) {
	return startRaw(l, p, s, callSend)
}

func startRaw(l *net.TCPListener, p *press, s setup, by call) (hub, error) {
	// The listener's own descriptor is in Go's poller; a copy of it is ours.
	file, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("taking the listener: %w", err)
	}
	h := &raw{press: p, call: by, deflate: s.Deflate}
	for range runtime.GOMAXPROCS(0) {
		c := make(chan sweep)
		h.sweeps = append(h.sweeps, c)
		go h.sweep(c)
	}
	if err := unix.SetNonblock(int(file.Fd()), false); err != nil {
		return nil, fmt.Errorf("taking the listener: %w", err)
	}
	go h.accept(int(file.Fd()), func() { _ = file.Close() })
	return h, nil
}

func (h *raw) accept(listener int, end func()) {
	defer end()
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return // the viewers that are missing will be noticed
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // only slower without
		h.mu.Lock()
		var b []byte
		for _, frame := range h.press.welcome() {
			b = append(b, webSocketFrame(frame, h.deflate)...)
		}
		h.write(fd, b)
		h.sockets = append(h.sockets, fd)
		h.mu.Unlock()
	}
}

func (h *raw) publish(frame []byte) {
	b := webSocketFrame(frame, h.deflate)
	h.mu.Lock()
	defer h.mu.Unlock()
	var done sync.WaitGroup
	for i, c := range h.sweeps {
		share := h.sockets[len(h.sockets)*i/len(h.sweeps) : len(h.sockets)*(i+1)/len(h.sweeps)]
		done.Add(1)
		c <- sweep{b, share, &done}
	}
	done.Wait()
}

func (h *raw) sweep(shares <-chan sweep) {
	runtime.LockOSThread()
	for s := range shares {
		for _, fd := range s.sockets {
			h.write(fd, s.frame)
		}
		s.done.Done()
	}
}

func (h *raw) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sockets)
}

// write writes all of b, or gives the socket up: its viewer will be missed.
func (h *raw) write(fd int, b []byte) {
	for len(b) > 0 {
		n, e := h.call(fd, b)
		switch {
		case e == unix.EAGAIN:
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 1000); err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
		case e == unix.EINTR:
		case e != 0:
			return
		default:
			b = b[n:]
		}
	}
}

// webSocketFrame is what the other kinds write, too.
func webSocketFrame(payload []byte, deflate bool) []byte {
	first := byte(0x81)
	if deflate {
		first |= 0x40
		var z bytes.Buffer
		w, err := flate.NewWriter(&z, flate.DefaultCompression)
		if err == nil {
			_, err = w.Write(payload)
		}
		if err == nil {
			err = w.Flush()
		}
		if err != nil {
			return nil // a buffer does not fail
		}
		payload = bytes.TrimSuffix(z.Bytes(), []byte{0, 0, 0xff, 0xff})
	}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}
