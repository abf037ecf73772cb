package edge

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tallystream/publish/bucket"
	"tallystream/schemas"
)

var (
	crowdFor   = flag.Duration("crowd.for", 0, "how long the crowd comes; with a minute and more, at 148,000 a minute and more, the hit rate must reach 99.5%")
	crowdRate  = flag.Float64("crowd.rate", 148_000, "requests a minute")
	crowdSpeed = flag.String("crowd.speed", "50", "how many times faster than a real county night results come")
)

// origin is the bucket of a night that goes on, on a socket, counting what reaches it.
type origin struct {
	handler http.Handler
	mu      sync.Mutex
	asked   map[string]int64 // by key
	total   int64
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		return
	}
	o.mu.Lock()
	o.asked[r.URL.Path]++
	o.total++
	o.mu.Unlock()
	o.handler.ServeHTTP(w, r)
}

// TestACrowdIsAFewRequestsToTheOrigin lets a crowd look at a county's night through
// Varnish with the edge's own files. However many they are, the origin sees each
// key that changes about as often as its time to live allows, and each that does not
// once. The short form asserts that; -crowd.for also the hit rate.
func TestACrowdIsAFewRequestsToTheOrigin(t *testing.T) {
	program := findVarnish(t, "varnishd")
	lasts, rate := *crowdFor, *crowdRate/60
	asked := lasts > 0
	if !asked {
		if testing.Short() {
			t.Skip("a crowd takes some seconds")
		}
		lasts, rate = 3*time.Second, rate/10
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts+8*time.Minute)
	defer cancel()
	out := startNight(ctx, t)
	directory, err := bucket.OpenDirectory(out)
	if err != nil {
		t.Fatal(err)
	}
	home := &origin{handler: directory.Handler(), asked: map[string]int64{}}
	dir := site(t, readRules(t, "bans"), true)
	for _, name := range []string{"home", "replica"} {
		listen(t, filepath.Join(dir, name), home)
	}
	c := &crowd{edge: startVarnish(ctx, t, program, dir), rate: rate, lasts: lasts, seed: 2026, history: history{replaced: map[string]time.Time{}}}
	stop := follow(t, out, c)
	c.meet(ctx)
	snapshots := stop()
	allowed(t, out)

	home.mu.Lock()
	defer home.mu.Unlock()
	got := &c.tally
	hits := 1 - float64(home.total)/float64(got.requests)
	t.Logf("%d requests in %v (%.0f a minute; at worst %v late), %.1f MB; %d snapshots came; %d keys",
		got.requests, lasts, float64(got.requests)/lasts.Minutes(), got.late.Round(time.Millisecond), float64(got.bytes)/1e6, snapshots, len(home.asked))
	t.Logf("the origin had %d requests: hit rate %.3f%%; waits p50 %v p99 %v; the oldest latest had been replaced %v before",
		home.total, 100*hits, got.wait(0.5).Round(10*time.Microsecond), got.wait(0.99).Round(10*time.Microsecond), got.oldest.Round(time.Millisecond))
	t.Logf("by kind: %v", kinds(home.asked))
	if len(got.failed) > 0 {
		t.Errorf("failed: %v", got.failed)
	}
	if asked && got.late > lasts/4 {
		t.Errorf("the crowd was %v late: the machine is too small or too busy for this rate", got.late)
	}
	for key, n := range home.asked {
		most := int64(1)
		if lives := livesFor(key); lives > 0 {
			most = int64(time.Since(c.begun)/lives) + 2
		}
		if n > most {
			t.Errorf("%s was asked for %d times, want at most %d", key, n, most)
		}
	}
	if asked && got.oldest > 5*time.Second {
		t.Errorf("a latest was given that had been replaced %v before", got.oldest)
	}
	// What no cache saves, each key's first request in each of its times, is the same for any
	// crowd: of a smaller one it is a larger part.
	if lasts >= time.Minute && *crowdRate >= 148_000 && hits < 0.995 {
		t.Errorf("hit rate %.3f%%, want 99.5%%", 100*hits)
	}
}

// livesFor is how long the edge keeps what is at a path; 0 for as long as it can.
func livesFor(path string) time.Duration {
	switch {
	case bucket.WrittenOnce(path[1:]):
		return 0
	case path == "/latest" || path == "/checkpoint":
		return time.Second
	}
	return 5 * time.Second
}

// allowed says that the functions let through everything that a night publishes, but
// for stages, which are the publisher's own.
func allowed(t *testing.T, out string) {
	t.Helper()
	s := newSandbox(t, Results)
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // what is replaced just now
			return nil
		}
		if err != nil {
			return err
		}
		key, err := filepath.Rel(out, path)
		if err != nil || d.IsDir() || !bucket.ValidKey(filepath.ToSlash(key)) {
			return err
		}
		key = filepath.ToSlash(key)
		got, err := s.run(request{Method: http.MethodGet, Path: "/" + key})
		if passes := got.URI == "/"+key; err != nil || passes == strings.HasPrefix(key, "stages/") {
			t.Errorf("%s is in the bucket: %+v, %v", key, got, err)
		}
		return nil
	})
	if err != nil {
		t.Errorf("walking the bucket: %v", err)
	}
}

// kinds sums up by the first part of the keys.
func kinds(asked map[string]int64) string {
	sums := map[string]int64{}
	for key, n := range asked {
		kind, _, _ := strings.Cut(key[1:], "/")
		sums[kind] += n
	}
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, fmt.Sprintf("%s %d", kind, sums[kind]))
	}
	return strings.Join(out, ", ")
}

// startNight builds the program and plays a county's night with it; the directory is
// what is published.
func startNight(ctx context.Context, t *testing.T) string {
	t.Helper()
	work := t.TempDir()
	binary := filepath.Join(work, "tallystream")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "tallystream").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	out := filepath.Join(work, "out")
	var said bytes.Buffer
	c := exec.CommandContext(ctx, binary, "rehearse", "--generate", "county", "--seed", "11", "--speed", *crowdSpeed, "--viewers", "0",
		"--listen", "127.0.0.1:0", "--out", out, "--data", filepath.Join(work, "data"))
	c.Stdout, c.Stderr = &said, &said
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = c.Wait(); close(done) }()
	t.Cleanup(func() { _ = c.Process.Signal(syscall.SIGTERM); <-done })
	until(ctx, t, "pages are published", func() bool {
		select {
		case <-done:
			t.Fatalf("the night ended:\n%s", said.String())
		default:
		}
		_, err := os.Stat(filepath.Join(out, "contests.html"))
		return err == nil
	})
	return out
}

func until(ctx context.Context, t *testing.T, what string, reached func() bool) {
	t.Helper()
	for !reached() {
		select {
		case <-ctx.Done():
			t.Fatalf("waiting until %s: %v", what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func listen(t *testing.T, socket string, handler http.Handler) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o777); err != nil { // varnishd asks as another user
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan struct{})
	go func() { _ = s.Serve(l); close(served) }()
	t.Cleanup(func() { _ = s.Close(); <-served })
}

// startVarnish runs varnishd on the files in dir, and returns the socket on which it
// listens: a port could be taken.
func startVarnish(ctx context.Context, t *testing.T, program, dir string) string {
	t.Helper()
	socket := filepath.Join(dir, "edge")
	var said bytes.Buffer
	c := exec.CommandContext(ctx, program, "-F", "-n", filepath.Join(dir, "work"), "-a", socket+",mode=666", "-s", "malloc,128m", "-T", "none",
		"-p", "vcl_path="+dir, "-f", filepath.Join(dir, "edge.vcl"))
	c.Stdout, c.Stderr = &said, &said
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = c.Wait(); close(done) }()
	t.Cleanup(func() { _ = c.Process.Signal(syscall.SIGTERM); <-done })
	until(ctx, t, "varnishd listens", func() bool {
		select {
		case <-done:
			t.Fatalf("varnishd ended:\n%s", said.String())
		default:
		}
		conn, err := net.DialTimeout("unix", socket, 10*time.Second)
		return err == nil && conn.Close() == nil
	})
	return socket
}

// follow notes what the bucket has, past the edge, until it is stopped; it says how
// many snapshots came.
func follow(t *testing.T, out string, c *crowd) (stop func() int) {
	t.Helper()
	look := func() {
		note, err := os.ReadFile(filepath.Join(out, schemas.LatestKey))
		if err != nil {
			t.Error(err)
			return
		}
		c.history.saw(note, documentsOf(t, out, note), time.Now())
	}
	pages, err := filepath.Glob(filepath.Join(out, "contest", "*.html"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages of contests: %v", err)
	}
	for _, p := range pages {
		c.pages = append(c.pages, "/contest/"+filepath.Base(p))
	}
	counties, err := filepath.Glob(filepath.Join(out, "county", "*.html"))
	if err != nil || len(counties) == 0 {
		t.Fatalf("no page of a county: %v", err)
	}
	c.county = "/county/" + filepath.Base(counties[0])
	look()
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				look()
			}
		}
	}()
	return func() int {
		close(ended)
		<-done
		return len(c.history.notes)
	}
}

// documentsOf are the paths of a snapshot's two documents: the election's and the
// county's.
func documentsOf(t *testing.T, out string, note []byte) map[string]string {
	paths := map[string]string{}
	_, rest, _ := bytes.Cut(note, []byte("\nmanifest "))
	digest, _, _ := bytes.Cut(rest, []byte("\n"))
	manifest, err := os.ReadFile(filepath.Join(out, "manifests", string(digest[:2]), string(digest)+".ndjson"))
	if err != nil {
		t.Errorf("the manifest of a snapshot: %v", err)
		return paths
	}
	entries, err := schemas.ParseManifest(manifest)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		if name, _, _ := strings.Cut(e.Name, "/"); name == "election" || name == "county" {
			paths[name] = "/" + e.Key
		}
	}
	return paths
}

func gunzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
