package simulator

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tallystream/fanout/viewer"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
	"tallystream/service/servicetest"
)

var rollRelease = flag.Bool("release", false, "roll a release while a night runs on an emulator of AWS; takes minutes")

// rollout is a deployment that goes from one release to the next: two copies
// of each service, behind balancers that ask /healthz?release=.
type rollout struct {
	t        *testing.T
	binaries map[string]string // by release
	pointer  string            // file
	args     map[string][]string
	pools    map[string]*pool // of the services behind balancers
	copies   []*rolled
}

// rolled is one copy of a service, of one release.
type rolled struct {
	service, release, listen, status string

	cmd      *exec.Cmd
	log      tail
	done     chan error
	inFlight atomic.Int64 // requests that the balancer has given it
}

func buildRelease(t *testing.T, release string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tallystream-"+release)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X tallystream/service.release="+release, "-o", path, "tallystream")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", release, err, out)
	}
	return path
}

// start begins a copy and waits until it says that it is ready.
func (r *rollout) start(service, release string) *rolled {
	r.t.Helper()
	c := &rolled{service: service, release: release, status: servicetest.FreeAddress(r.t), done: make(chan error, 1)}
	args := append([]string{service, "--status", c.status, "--release-pointer", r.pointer}, r.args[service]...)
	if r.pools[service] != nil {
		c.listen = servicetest.FreeAddress(r.t)
		args = append(args, "--listen", c.listen)
	}
	c.cmd = exec.Command(r.binaries[release], args...)
	c.cmd.Stderr = &c.log
	if err := c.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	r.copies = append(r.copies, c)
	waiting, cancel := context.WithTimeout(r.t.Context(), 4*time.Minute)
	defer cancel()
	for c.ask("/readyz") != http.StatusOK {
		select {
		case err := <-c.done:
			r.t.Fatalf("%s %s ended: %v\n%s", service, release, err, &c.log)
		case <-waiting.Done():
			r.t.Fatalf("%s %s is not ready\n%s", service, release, &c.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return c
}

// ask is a question to the status pages; 0: no answer.
func (c *rolled) ask(path string) int {
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get("http://" + c.status + path)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

// stop ends a copy as a person or ECS does: only when the balancer gives it
// nothing any more and what it gave is answered.
func (r *rollout) stop(c *rolled) {
	r.t.Helper()
	if p := r.pools[c.service]; p != nil {
		r.until(fmt.Sprintf("%s %s gets no new requests", c.service, c.release), func() bool { return !p.in(c) && c.inFlight.Load() == 0 })
		p.remove(c)
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	select {
	case err := <-c.done:
		if err != nil {
			r.t.Errorf("%s %s did not end well: %v\n%s", c.service, c.release, err, &c.log)
		}
	case <-time.After(4 * time.Minute):
		r.t.Errorf("%s %s does not end\n%s", c.service, c.release, &c.log)
	}
	c.cmd = nil
}

func (r *rollout) until(what string, f func() bool) {
	r.t.Helper()
	for begun := time.Now(); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 4*time.Minute || r.t.Context().Err() != nil {
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// end stops what still runs; how it ends does not matter any more.
func (r *rollout) end() {
	for _, c := range r.copies {
		if c.cmd != nil {
			_ = c.cmd.Process.Kill()
			<-c.done
		}
		if r.t.Failed() {
			r.t.Logf("---- %s %s\n%s", c.service, c.release, &c.log)
		}
	}
}

// name writes the pointer in one step, as a put into a bucket is.
func (r *rollout) name(release string) {
	r.t.Helper()
	next := r.pointer + ".next"
	if err := os.WriteFile(next, []byte(release+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(next, r.pointer); err != nil {
		r.t.Fatal(err)
	}
}

// pool is what a balancer knows: the copies, and which of them are in.
type pool struct {
	mu     sync.Mutex // guards all below
	copies []*rolled
	are    map[*rolled]bool
	next   int
}

func (p *pool) add(c *rolled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.copies = append(p.copies, c)
}

func (p *pool) remove(c *rolled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.copies = slices.DeleteFunc(p.copies, func(x *rolled) bool { return x == c })
	delete(p.are, c)
}

func (p *pool) in(c *rolled) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.are[c]
}

// take is a copy for the next request: one that is in, and if none is, any, as
// Amazon's balancers do. Whoever takes gives back.
func (p *pool) take() *rolled {
	p.mu.Lock()
	defer p.mu.Unlock()
	well := slices.DeleteFunc(slices.Clone(p.copies), func(c *rolled) bool { return !p.are[c] })
	if len(well) == 0 {
		well = p.copies
	}
	p.next++
	c := well[p.next%len(well)]
	c.inFlight.Add(1)
	return c
}

// watch asks each copy again and again until ctx ends.
func (p *pool) watch(ctx context.Context) {
	for ctx.Err() == nil {
		p.mu.Lock()
		copies := slices.Clone(p.copies)
		p.mu.Unlock()
		for _, c := range copies {
			well := c.ask("/healthz?release=current") == http.StatusOK
			p.mu.Lock()
			p.are[c] = well && slices.Contains(p.copies, c)
			p.mu.Unlock()
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// requests balances request by request, as an ALB does. A backend that does
// not answer is the client's to see: nothing is tried again here.
func (p *pool) requests(t *testing.T) string {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: r.In.Context().Value(takenKey{}).(*rolled).listen})
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := p.take()
		defer c.inFlight.Add(-1)
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), takenKey{}, c)))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

type takenKey struct{}

// connections balances connection by connection, as an NLB does: one that is
// open stays where it is.
func (p *pool) connections(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			c := p.take()
			c.inFlight.Add(-1) // it may stay for hours: nobody waits for it
			go passOn(client, []string{c.listen}, 0)
		}
	}()
	return l.Addr().String()
}

// follower is a viewer who notices if ever he is shown less than before.
type follower struct {
	client *viewer.Client

	mu    sync.Mutex // guards all below
	seen  schemas.Version
	bytes int
	lost  []string
}

func (f *follower) changed(c viewer.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, n := c.Document.Version(), len(c.Document.Bytes())
	if v < f.seen || n == 0 && f.bytes > 0 {
		f.lost = append(f.lost, fmt.Sprintf("%s went from version %d (%d bytes) to %d (%d bytes)", c.Document.ID(), f.seen, f.bytes, v, n))
	}
	f.seen, f.bytes = v, n
}

func followers(ctx context.Context, t *testing.T, public string, d *drive) []*follower {
	t.Helper()
	var out []*follower
	for i := range 12 {
		f := new(follower)
		c, err := viewer.New(viewer.Config{Live: public, Bucket: public, Documents: []schemas.DocumentID{favourite(d.truth.Election(), i)}, OnChange: f.changed})
		if err != nil {
			t.Fatal(err)
		}
		f.client = c
		out = append(out, f)
		go func() { _ = c.Run(ctx) }() // Run only ever returns nil
	}
	return out
}

// startRollout sets an election's stores up and starts release r1. The bus is
// not part of it: in production it is a cluster of its own.
func startRollout(t *testing.T, d *drive, data service.Data) (_ *rollout, ingest, public string) {
	endpoint := mototest.Endpoint(t)
	options := mototest.At(endpoint)
	options.Prefix = fmt.Sprintf("roll-%d", os.Getpid())
	clients := mototest.Start(t)
	names, err := clients.Names(t.Context(), options, d.truth.Election().Definition.Election)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&cloud.Setup{Clients: clients, Plan: names.Plan(cloud.Size{Shards: 2}, clients.Region)}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	bus := servicetest.FreeAddress(t)
	stores := []string{"--data", data.Dir, "--stores", "aws", "--aws-endpoint", endpoint, "--aws-region", options.Region, "--aws-prefix", options.Prefix}
	common := append(slices.Clone(stores), "--bus", "nats://"+bus)
	r := &rollout{
		t: t, pointer: filepath.Join(t.TempDir(), "release"), binaries: map[string]string{"r1": buildRelease(t, "r1"), "r2": buildRelease(t, "r2")},
		args: map[string][]string{
			"fanout": common, "aggregate": common, "ingest": append(slices.Clone(common), "--limit-failure-rate=-1", "--limit-key-rate=-1"),
			"publish": append(slices.Clone(common), "--export-every", "1s", "--export-rate", "1e9", "--heartbeat", "2s"),
		},
		pools: map[string]*pool{"ingest": {are: map[*rolled]bool{}}, "fanout": {are: map[*rolled]bool{}}},
	}
	t.Cleanup(r.end)
	hub := exec.Command(r.binaries["r1"], append([]string{"fanout", "--listen", "127.0.0.1:0", "--bus-listen", bus}, stores...)...)
	if err := hub.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Process.Kill(); _ = hub.Wait() })
	r.name("r1")
	for _, name := range serviceNames {
		for range 2 {
			c := r.start(name, "r1")
			if p := r.pools[name]; p != nil {
				p.add(c)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	for _, p := range r.pools {
		go p.watch(ctx)
	}
	return r, r.pools["ingest"].requests(t), front(t, d, data, options, r.pools["fanout"].connections(t))
}

// roll brings release r2 up beside r1, moves the pointer, and ends r1 copy by copy.
func (r *rollout) roll() {
	old := slices.Clone(r.copies)
	var fresh []*rolled
	for _, name := range serviceNames {
		for range 2 {
			c := r.start(name, "r2")
			fresh = append(fresh, c)
			if well, in := c.ask("/healthz"), c.ask("/healthz?release=current"); well != 200 || in != 503 {
				r.t.Errorf("a new %s before the pointer names it: /healthz %d, with release %d, want 200 and 503", name, well, in)
			}
			if p := r.pools[name]; p != nil {
				p.add(c)
			}
		}
	}
	for _, c := range old {
		if in := c.ask("/healthz?release=current"); in != 200 {
			r.t.Errorf("an old %s before the pointer moves: %d", c.service, in)
		}
	}
	r.name("r2")
	r.until("the new copies are in and the old ones out", func() bool {
		for _, c := range slices.Concat(old, fresh) {
			if p := r.pools[c.service]; p != nil && p.in(c) != (c.release == "r2") {
				return false
			}
		}
		return true
	})
	for _, c := range old {
		if well := c.ask("/healthz"); well != 200 {
			r.t.Errorf("an old %s is out, and said to be unwell: %d", c.service, well)
		}
		r.stop(c)
	}
}

// TestAReleaseRollsWhileANightRuns: no submission is refused or even sent
// twice, and no viewer is ever shown less than before. A gate keeps a third of the
// night until the release has rolled, or one has waited at it for half of a sender's patience.
func TestAReleaseRollsWhileANightRuns(t *testing.T) {
	if !*rollRelease {
		t.Skip("rolls a release through 17 processes: go test ./simulator -run AReleaseRolls -release -timeout 20m")
	}
	var out bytes.Buffer
	d, err := newDrive(t.Context(), electionFlags{Generate: "county", Seed: 23, Revisions: 3, Released: 0.5}, driveFlags{Speed: "12/s", Viewers: 10, Clients: 16}, &out)
	if err != nil {
		t.Fatal(err)
	}
	data := service.Data{Dir: t.TempDir()}
	if err := d.writeElection(data, "ingest", "publish"); err != nil {
		t.Fatal(err)
	}
	r, ingest, public := startRollout(t, d, data)
	gate, total := servicetest.StartGate(t, ingest, sendTimeout/2), d.script.Expected().Sent
	gate.Open(total * 2 / 3)
	seen, err := newRemote(data, gate.URL, public)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	type played struct {
		report *Report
		err    error
	}
	night := make(chan played, 1)
	go func() { report, err := d.play(ctx, seen); night <- played{report, err} }()
	if !waitEntries(ctx, seen, 20) {
		t.Fatal("the night does not begin")
	}
	watching := followers(ctx, t, public, d)
	r.until("every viewer sees something", func() bool {
		return !slices.ContainsFunc(watching, func(f *follower) bool { return f.client.Stats().Connects == 0 })
	})
	begun := time.Now()
	r.roll()
	took := time.Since(begun)
	select {
	case n := <-night:
		t.Fatalf("the night was over before the release had rolled: %v", n.err)
	default:
	}
	r.until("every viewer is moved to the new release", func() bool {
		return !slices.ContainsFunc(watching, func(f *follower) bool { return f.client.Stats().Connects < 2 })
	})
	gate.OpenWide()
	n := <-night
	if n.err != nil {
		t.Fatalf("%v\n%s", n.err, out.String())
	}
	if !n.report.Reconciled {
		t.Errorf("not reconciled:\n%s", strings.Join(n.report.Mismatches, "\n"))
	}
	if n.report.Submissions.Retries > 0 {
		t.Errorf("%d times a submission had to be sent again", n.report.Submissions.Retries)
	}
	for i, f := range watching {
		f.mu.Lock()
		for _, l := range f.lost {
			t.Errorf("viewer %d: %s", i, l)
		}
		f.mu.Unlock()
		if m := f.client.Stats().Mismatches; m > 0 {
			t.Errorf("viewer %d found %d wrong hashes", i, m)
		}
	}
	t.Logf("rolled in %s: %d submissions, %d receipts, %d sent again; %d viewers moved, %d sums equal", took.Round(time.Second), n.report.Submissions.Sent,
		n.report.Submissions.Accepted+n.report.Submissions.Duplicate, n.report.Submissions.Retries, len(watching), n.report.Checked)
}
