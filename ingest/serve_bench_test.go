//go:build unix

package ingest_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"tallystream/ingest"
)

// BenchmarkServe is all of a submission but the stream: HTTP over loopback,
// eight keep-alive connections, and a client that only writes and reads bytes.
// cpu-us/op is the whole process's CPU, that client included.
func BenchmarkServe(b *testing.B) {
	o := newBench(b, func(c *ingest.Config) {
		c.Stream, c.Limits.KeyRate = nullStream{}, -1
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	served := make(chan error, 1)
	go func() { served <- o.server.Serve(ctx, l) }()
	envelope := o.seal(b, 1, o.body(b, 1), "official-leon")
	request := []byte("POST /v1/submissions HTTP/1.1\r\nHost: x\r\nContent-Type: " + ingest.MediaType +
		"\r\nContent-Length: " + strconv.Itoa(len(envelope)) + "\r\n\r\n")
	request = append(request, envelope...)
	b.SetParallelism(4)
	b.ReportAllocs()
	before := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for pb.Next() {
			if err := exchange(c, r, request); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-us/op")
	cancel()
	if err := <-served; err != nil {
		b.Error(err)
	}
}

func exchange(c net.Conn, r *bufio.Reader, request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			_, err := io.CopyN(io.Discard, r, int64(length))
			return err
		}
		if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(n))); err != nil {
				return err
			}
		}
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
