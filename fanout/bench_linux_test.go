package fanout_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tallystream/fanout"
	"tallystream/fanout/wire"
	"tallystream/schemas"
)

// The viewers of these benchmarks are another process, this test program
// again, so that what the server uses can be told from what they use.
const crowdEnv = "FANOUT_TEST_CROWD" // "address viewers query offer"

// What a crowd asks for.
const (
	offerNothing = iota
	offerCompression
	offerTLS
)

// crowdMain is that other process: viewers who only count bytes. It prints a
// line when all are there, and one whenever they have, together, as many bytes
// as a line on its standard input says.
func crowdMain(args string) error {
	var addr, query string
	var viewers, offer int
	if _, err := fmt.Sscan(args, &addr, &viewers, &query, &offer); err != nil {
		return err
	}
	extension := ""
	if offer == offerCompression {
		extension = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	request := "GET /v1/live" + query + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + extension + "\r\n"
	if offer == offerTLS {
		return tlsCrowd(addr, viewers, request)
	}
	poll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	to, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return err
	}
	b := make([]byte, 64<<10)
	for range viewers {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
			return err
		}
		if _, err := unix.Write(fd, []byte(request)); err != nil {
			return err
		}
		for got := ""; !strings.Contains(got, `"hello"`); {
			n, err := unix.Read(fd, b)
			if err != nil || n == 0 {
				return fmt.Errorf("no hello after %q: %v", got, err)
			}
			got += string(b[:n])
		}
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	fmt.Println("all here")
	events := make([]unix.EpollEvent, 512)
	asked := bufio.NewScanner(os.Stdin)
	for total, want := 0, 0; ; {
		if want == 0 {
			if !asked.Scan() {
				return nil
			}
			if want, err = strconv.Atoi(asked.Text()); err != nil {
				return err
			}
		}
		n, err := unix.EpollWait(poll, events, -1)
		if err != nil {
			continue // interrupted
		}
		for i := range n {
			m, err := unix.Read(int(events[i].Fd), b)
			if err != nil || m == 0 {
				return nil // the server ended
			}
			total += m
		}
		if total >= want {
			total, want = total-want, 0
			fmt.Println("all have it")
		}
	}
}

// tlsCrowd is the same over TLS, with a goroutine for each viewer.
func tlsCrowd(addr string, viewers int, request string) error {
	came := make(chan int, viewers)
	for range viewers {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // a rehearsal on this machine
		if err != nil {
			return err
		}
		if _, err := io.WriteString(c, request); err != nil {
			return err
		}
		b := make([]byte, 4096)
		for got := ""; !strings.Contains(got, `"hello"`); {
			n, err := c.Read(b)
			if err != nil {
				return err
			}
			got += string(b[:n])
		}
		go func() {
			for {
				n, err := c.Read(b)
				if err != nil {
					close(came)
					return
				}
				came <- n
			}
		}()
	}
	fmt.Println("all here")
	total := 0
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); fmt.Println("all have it") {
		want, err := strconv.Atoi(asked.Text())
		if err != nil {
			return err
		}
		for total < want {
			n, ok := <-came
			if !ok {
				return nil
			}
			total += n
		}
		total -= want
	}
	return nil
}

// crowd is the running other process.
type crowd struct {
	cmd   *exec.Cmd
	in    io.Writer
	lines *bufio.Scanner
}

func startCrowd(b *testing.B, addr string, viewers int, query string, offer int) *crowd {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s %d", crowdEnv, addr, viewers, query, offer))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	c := &crowd{cmd, in, bufio.NewScanner(out)}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c.wait(b)
	return c
}

func (c *crowd) wait(b *testing.B) {
	b.Helper()
	if !c.lines.Scan() {
		b.Fatal("the viewers ended")
	}
}

// expect begins a round of so many bytes for all together.
func (c *crowd) expect(b *testing.B, bytes int) {
	b.Helper()
	if _, err := fmt.Fprintln(c.in, bytes); err != nil {
		b.Fatal(err)
	}
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sizedDelta is a delta frame of 576 bytes.
func sizedDelta(from schemas.Version) []byte {
	d := schemas.Delta{
		Epoch: 1, Document: contest, From: from, To: from + 1, Log: schemas.LogSize(from + 1), Micros: time.Now().UnixMicro(), Hash: schemas.DigestOf([]byte{byte(from)}),
	}
	for i := range 4 {
		d.Lines = append(d.Lines, fmt.Appendf(nil, `{"contest":"c","unit":"county-%02d","reporting":%d,"units":99,"votes":{"a":[%d],"b":[%d]}}`, i, 10+i, 100_000+i*7919, 100_000+i*6007))
	}
	frame := d.AppendFrame(nil)
	pad := 576 - len(frame)
	last := len(d.Lines) - 1
	d.Lines[last] = bytes.Replace(d.Lines[last], []byte("county-03"), []byte("county-03"+strings.Repeat("x", pad)), 1)
	return d.AppendFrame(nil)
}

const benchViewers = 2000

// BenchmarkDeliveryCPU is what the server's process uses for one delivery of
// a delta of 576 bytes to each of 2,000 viewers, beside a loop that does
// nothing but write(2) the same bytes.
//
//	go test ./fanout -run '^$' -bench DeliveryCPU -benchtime 200x
func BenchmarkDeliveryCPU(b *testing.B) {
	frame := sizedDelta(100_000)
	packed, err := wire.Deflate(frame)
	if err != nil {
		b.Fatal(err)
	}
	plain := wire.AppendHead(nil, wire.Text, false, len(frame))
	plain = append(plain, frame...)
	deflated := append(wire.AppendHead(nil, wire.Text, true, len(packed)), packed...)
	b.Run("write(2) plain", func(b *testing.B) { benchRaw(b, plain) })
	b.Run("write(2) deflated", func(b *testing.B) { benchRaw(b, deflated) })
	for _, e := range []fanout.Engine{fanout.Epoll, fanout.Portable} {
		b.Run(string(e)+" plain", func(b *testing.B) { benchEngine(b, fanout.Config{Engine: e}, offerNothing) })
		b.Run(string(e)+" deflated", func(b *testing.B) { benchEngine(b, fanout.Config{Engine: e}, offerCompression) })
	}
	b.Run("portable TLS", func(b *testing.B) { benchEngine(b, fanout.Config{TLS: lentTLS()}, offerTLS) })
}

func perDelivery(b *testing.B, used time.Duration) {
	b.ReportMetric(used.Seconds()*1e6/float64(b.N*benchViewers), "CPU-s/million")
	b.ReportMetric(0, "ns/op")
}

// benchEngine sends b.N deltas to everybody.
func benchEngine(b *testing.B, cfg fanout.Config, offer int) {
	cfg.PingEvery, cfg.Limits.IdleTimeout = time.Hour, time.Hour
	x := startTier(b, cfg, "county/other")
	c := startCrowd(b, x.addr, benchViewers, "?g=contest/c&e=1&v=100000", offer)
	rounds, sizes := make([][]byte, b.N), make([]int, b.N)
	for i := range rounds {
		rounds[i] = sizedDelta(schemas.Version(100_000 + i))
		payload := rounds[i]
		if offer == offerCompression {
			var err error
			if payload, err = wire.Deflate(rounds[i]); err != nil {
				b.Fatal(err)
			}
		}
		sizes[i] = len(wire.AppendHead(nil, wire.Text, false, len(payload))) + len(payload)
	}
	b.ResetTimer()
	before := cpu(b)
	for i := range b.N {
		c.expect(b, benchViewers*sizes[i])
		x.OnDelta(rounds[i])
		c.wait(b)
	}
	perDelivery(b, cpu(b)-before)
}

// benchRaw is the limit: as many threads as cores that only write.
func benchRaw(b *testing.B, message []byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	fds := make(chan int, benchViewers)
	go func() {
		for range benchViewers {
			c, err := l.Accept()
			if err != nil {
				return
			}
			file, err := c.(*net.TCPConn).File()
			if err != nil {
				return
			}
			c.Close()
			fd, _ := unix.Dup(int(file.Fd()))
			file.Close()
			_, _ = unix.Write(fd, []byte(`"hello"}`))
			fds <- fd
		}
	}()
	c := startCrowd(b, l.Addr().String(), benchViewers, "?", offerNothing)
	all := make([]int, benchViewers)
	for i := range all {
		all[i] = <-fds
		defer unix.Close(all[i])
	}
	b.ResetTimer()
	before := cpu(b)
	for range b.N {
		c.expect(b, benchViewers*len(message))
		var writing sync.WaitGroup
		for part := range runtime.GOMAXPROCS(0) {
			writing.Go(func() {
				for i := part; i < len(all); i += runtime.GOMAXPROCS(0) {
					if n, err := unix.Write(all[i], message); err != nil || n != len(message) {
						b.Error(n, err)
						return
					}
				}
			})
		}
		writing.Wait()
		c.wait(b)
	}
	perDelivery(b, cpu(b)-before)
}

// BenchmarkConnectionAtRest is what one more connection costs the server's
// process: heap and stacks, and what the kernel has given it.
//
//	go test ./fanout -run '^$' -bench ConnectionAtRest -benchtime 1x
func BenchmarkConnectionAtRest(b *testing.B) {
	for _, e := range []fanout.Engine{fanout.Epoll, fanout.Portable} {
		b.Run(string(e)+" plain", func(b *testing.B) { benchRest(b, fanout.Config{Engine: e}, 10_000, offerNothing) })
		b.Run(string(e)+" deflated", func(b *testing.B) { benchRest(b, fanout.Config{Engine: e}, 10_000, offerCompression) })
	}
	b.Run("portable TLS", func(b *testing.B) { benchRest(b, fanout.Config{TLS: lentTLS()}, 2000, offerTLS) })
}

func benchRest(b *testing.B, cfg fanout.Config, viewers int, offer int) {
	for b.Loop() {
		x := startTier(b, cfg)
		rested, resident := atRest(b)
		c := startCrowd(b, x.addr, viewers, "?g=contest/c", offer)
		there := residentBytes(b)
		after, _ := atRest(b)
		b.ReportMetric(float64(after-rested)/float64(viewers), "bytes/connection")
		b.ReportMetric(float64(there-resident)/float64(viewers), "resident/connection")
		if n := x.Hub().Sessions(); n != viewers {
			b.Fatal(n)
		}
		_ = c.cmd.Process.Kill()
		x.stop()
	}
	b.ReportMetric(0, "ns/op")
}

// lentTLS is a configuration with a certificate for this machine.
func lentTLS() *tls.Config {
	lent := httptest.NewTLSServer(http.NotFoundHandler())
	defer lent.Close()
	config := lent.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	return config
}

// atRest is what is used after a collection: heap and stacks, resident.
func atRest(b *testing.B) (used, resident int64) {
	debug.FreeOSMemory() // what an earlier benchmark left behind is not this one's
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse), residentBytes(b)
}

func residentBytes(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
