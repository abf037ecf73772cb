package viewers

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tallystream/fanout"
	"tallystream/schemas"
)

// TestMain is also one of the processes that a test starts.
func TestMain(m *testing.M) {
	if os.Getenv("TALLYSTREAM_TEST_WORKER") != "" {
		if err := Work(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func testWorker() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TALLYSTREAM_TEST_WORKER=1")
	return cmd
}

// press is a publisher in small: documents of some lines, the deltas between
// their versions, and the bucket.
type press struct {
	mu      sync.Mutex // guards the rest
	objects map[string][]byte
	docs    map[schemas.DocumentID]*pressed
	log     schemas.LogSize
	number  schemas.SnapshotNumber
}

type pressed struct {
	lines   map[string]string
	version schemas.Version
}

func newPress(documents ...schemas.DocumentID) *press {
	p := &press{objects: map[string][]byte{}, docs: map[schemas.DocumentID]*pressed{}}
	for _, g := range documents {
		p.docs[g] = &pressed{lines: map[string]string{}}
		for u := range 5 {
			p.docs[g].lines[fmt.Sprint("u", u)] = testLine(u, 0)
		}
	}
	return p
}

func testLine(unit, n int) string {
	return fmt.Sprintf(`{"contest":"c","unit":"u%d","reporting":%d,"units":99,"votes":{"a":[%d]}}`, unit, n%99, n)
}

func (d *pressed) body() []byte {
	var b bytes.Buffer
	units := make([]string, 0, len(d.lines))
	for u := range d.lines {
		units = append(units, u)
	}
	slices.Sort(units)
	for _, u := range units {
		b.WriteString(d.lines[u] + "\n")
	}
	return b.Bytes()
}

// publish puts every document into the bucket, and announces it.
func (p *press) publish() schemas.Published {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number++
	p.log++
	out := schemas.Published{Epoch: 1, Log: p.log, Snapshot: p.number, Micros: time.Now().UnixMicro()}
	var manifest bytes.Buffer
	names := make([]schemas.DocumentID, 0, len(p.docs))
	for g := range p.docs {
		names = append(names, g)
	}
	slices.Sort(names)
	for _, g := range names {
		d := p.docs[g]
		if d.version == 0 {
			d.version = p.log
		}
		body := d.body()
		hash := schemas.DigestOf(body)
		p.objects[fanout.DocumentKey(hash)] = body
		fmt.Fprintf(&manifest, `{"name":%q,"version":%d,"key":%q,"sha256":"%s","bytes":%d}`+"\n", g, d.version, fanout.DocumentKey(hash), hash, len(body))
		out.Documents = append(out.Documents, schemas.Announcement{Document: g, Version: d.version, Hash: hash})
	}
	sum := schemas.DigestOf(manifest.Bytes())
	p.objects[schemas.ContentKey("manifests", sum, ".ndjson")] = manifest.Bytes()
	s := schemas.Snapshot{Origin: "results.example", Number: p.number, Log: p.log, Manifest: sum, Time: "2026-11-03T21:04:05.123Z"}
	p.objects[schemas.LatestKey] = append(s.AppendText(nil), "\n— results.example/publish AAAA\n"...)
	return out
}

// change gives a document a new version and returns the delta.
func (p *press) change(g schemas.DocumentID) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log++
	d := p.docs[g]
	from := d.version
	d.version = p.log
	line := testLine(int(p.log)%5, int(p.log))
	d.lines[fmt.Sprint("u", int(p.log)%5)] = line
	return (&schemas.Delta{
		Epoch: 1, Document: g, From: from, To: d.version, Log: p.log, Micros: time.Now().UnixMicro(), Hash: schemas.DigestOf(d.body()), Lines: [][]byte{[]byte(line)},
	}).AppendFrame(nil)
}

func (p *press) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	b, ok := p.objects[strings.TrimPrefix(r.URL.Path, "/")]
	p.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(b)
}

// tier is a fanout node with a publisher.
type tier struct {
	*fanout.Server
	press *press
	http  *httptest.Server
	stop  func()
}

func startTier(t testing.TB, press *press, cfg fanout.Config) *tier {
	t.Helper()
	cfg.DrainSpread = time.Second
	server, err := fanout.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	x := &tier{Server: server, press: press}
	x.OnPublished(press.publish())
	mux := http.NewServeMux()
	server.Register(mux)
	mux.Handle("/", press)
	x.http = httptest.NewServer(mux)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	x.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		x.http.Close()
	})
	t.Cleanup(x.stop)
	return x
}

// change sends a delta of a document to everybody.
func (x *tier) change(g schemas.DocumentID) { x.OnDelta(x.press.change(g)) }
