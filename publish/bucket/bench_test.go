//go:build unix

package bucket_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tallystream/publish/bucket"
	"tallystream/schemas"
)

// documents makes n content-addressed objects of 28 KB; seed makes them new.
func documents(n int, seed uint64) []bucket.Object {
	random := rand.New(rand.NewPCG(seed, 28))
	objects := make([]bucket.Object, n)
	for i := range objects {
		body := make([]byte, 28_000)
		for j := 0; j < len(body); j += 8 {
			body[j] = byte(random.Uint32())
		}
		objects[i] = bucket.Object{Key: schemas.ContentKey("documents", schemas.DigestOf(body), ".ndjson"), Body: body}
	}
	return objects
}

// BenchmarkPutNew says what an object costs by the size of the batch.
func BenchmarkPutNew(b *testing.B) {
	for _, n := range []int{1, 4, 5, 20, 100, 1000, 5000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			d := open(b, b.TempDir())
			seed := uint64(0)
			var cpu time.Duration
			for b.Loop() {
				b.StopTimer()
				seed++
				objects := documents(n, seed)
				cpu -= processTime(b)
				b.StartTimer()
				if err := d.PutNew(b.Context(), objects...); err != nil {
					b.Fatal(err)
				}
				cpu += processTime(b)
			}
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N*n), "cpu-us/object")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/object")
		})
	}
}

// processTime is the CPU time that the process has used, the kernel's work for
// it included.
func processTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkReplace is the same for pages and pointers.
func BenchmarkReplace(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			d, objects := open(b, b.TempDir()), documents(n, 1)
			for b.Loop() {
				if err := d.Replace(b.Context(), objects...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/object")
		})
	}
}

// discarder is a ResponseWriter that costs nothing.
type discarder struct{ header http.Header }

func (d *discarder) Header() http.Header         { return d.header }
func (d *discarder) WriteHeader(int)             {}
func (d *discarder) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkHandler is the handler alone, without net/http's server.
func BenchmarkHandler(b *testing.B) {
	_, h := site(b)
	for name, path := range map[string]string{"Once": "/documents/ab/abcd.ndjson", "Mutable": "/index.html", "Missing": "/nothing"} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Accept-Encoding", "gzip, deflate, br")
			w := &discarder{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkServer serves over loopback connections that are kept alive; the
// client writes ready bytes and only skips what comes. Run it with -cpu 1 for
// the requests a second of one core that client and server share.
func BenchmarkServer(b *testing.B) {
	_, h := site(b)
	for name, path := range map[string]string{"Once": "/documents/ab/abcd.ndjson", "Page": "/", "Latest": "/latest"} {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(h)
			defer server.Close()
			request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", path)
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("tcp", server.Listener.Addr().String())
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				in := bufio.NewReaderSize(conn, 64<<10)
				for pb.Next() {
					if err := roundTrip(conn, in, request); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

func roundTrip(conn net.Conn, in *bufio.Reader, request string) error {
	if _, err := conn.Write([]byte(request)); err != nil {
		return err
	}
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if value, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	_, err := in.Discard(length)
	return err
}
