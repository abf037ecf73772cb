package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/servicetest"
	"tallystream/simulator/script"
)

// services is a deployment of four processes on one machine.
type services struct {
	t        *testing.T
	binary   string
	data     service.Data
	bucket   string
	ingest   string
	public   string
	bus      string
	statuses map[string]string // addresses of status pages by service

	mu      sync.Mutex // guards running
	running map[string]*exec.Cmd
	logs    map[string]*bytes.Buffer
}

var serviceNames = []string{"fanout", "ingest", "aggregate", "publish"}

// buildBinary builds the command once for the test.
func buildBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tallystream")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "tallystream")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return path
}

func startServices(t *testing.T, data service.Data) *services {
	s := &services{
		t: t, binary: buildBinary(t), data: data, bucket: t.TempDir(), ingest: servicetest.FreeAddress(t), public: servicetest.FreeAddress(t), bus: servicetest.FreeAddress(t),
		statuses: map[string]string{}, running: map[string]*exec.Cmd{}, logs: map[string]*bytes.Buffer{},
	}
	for _, name := range serviceNames {
		s.statuses[name] = servicetest.FreeAddress(t)
		s.logs[name] = new(bytes.Buffer)
		s.start(name)
	}
	t.Cleanup(s.stopAll)
	for _, name := range serviceNames {
		s.waitReady(name)
	}
	return s
}

func (s *services) arguments(name string) []string {
	args := []string{name, "--data", s.data.Dir, "--status", s.statuses[name]}
	switch name {
	case "fanout":
		return append(args, "--bucket", s.bucket, "--listen", s.public, "--bus-listen", s.bus)
	case "ingest":
		return append(args, "--bus", "nats://"+s.bus, "--bucket", s.bucket, "--listen", s.ingest, "--limit-failure-rate=-1", "--limit-key-rate=-1")
	case "publish":
		return append(args, "--bus", "nats://"+s.bus, "--bucket", s.bucket, "--export-every", "1s", "--export-rate", "1e9", "--heartbeat", "2s")
	}
	return append(args, "--bus", "nats://"+s.bus)
}

func (s *services) start(name string) {
	s.t.Helper()
	cmd := exec.Command(s.binary, s.arguments(name)...)
	cmd.Stderr = s.logs[name] // only read after the process ended
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.running[name] = cmd
	s.mu.Unlock()
}

// end signals a service and waits until it is gone.
func (s *services) end(name string, sig syscall.Signal) error {
	s.mu.Lock()
	cmd := s.running[name]
	delete(s.running, name)
	s.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signalling %s: %w", name, err)
	}
	return cmd.Wait()
}

// stopAll drains in the data's direction. A service that does not end well
// fails the test.
func (s *services) stopAll() {
	for _, name := range []string{"ingest", "aggregate", "publish", "fanout"} {
		if err := s.end(name, syscall.SIGTERM); err != nil {
			s.t.Errorf("%s did not end well: %v\n%s", name, err, s.logs[name])
		}
	}
}

// waitReady polls a process from outside, as a load balancer would.
func (s *services) waitReady(name string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*time.Minute)
	defer cancel()
	var last string
	for ctx.Err() == nil {
		res, err := http.Get("http://" + s.statuses[name] + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
			last = res.Status
		} else {
			last = err.Error()
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	s.t.Fatalf("%s is not ready: %s", name, last)
}

// killEach kills one service after the other, each once the log has grown by a
// share, and starts it again. The gate lets the night go no further than that, so
// that each is killed in the middle of it; ingest stays dead until a client has noticed.
func (s *services) killEach(ctx context.Context, gate *servicetest.Gate, r *remote, expected script.Expected) {
	parts := len(serviceNames) + 2
	gate.Open(2 * expected.Sent / parts)
	for i, name := range serviceNames {
		if !waitEntries(ctx, r, uint64(expected.Accepted*(i+1)/parts)) {
			s.t.Errorf("the night was over before %s could be killed", name)
			break
		}
		err := s.end(name, syscall.SIGKILL)
		if _, killed := errors.AsType[*exec.ExitError](err); !killed {
			s.t.Errorf("killing %s: %v\n%s", name, err, s.logs[name])
		}
		gate.Open(expected.Sent / parts)
		for name == "ingest" && gate.Lost() == 0 && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		s.start(name)
	}
	gate.OpenWide()
}

// waitEntries waits until n entries are published.
func waitEntries(ctx context.Context, r *remote, n uint64) bool {
	for {
		if raw, err := r.objects.Get(ctx, schemas.LatestKey); err == nil {
			if snap, err := schemas.OpenSnapshot(raw, r.snapshots); err == nil && snap.Entries() >= n {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestFourProcessesReconcileThoughEachIsKilled runs the services apart, kills
// each with SIGKILL in the middle of the night, and starts it again. It plays
// a generated county; TALLYSTREAM_RESULTS names real results to play instead.
func TestFourProcessesReconcileThoughEachIsKilled(t *testing.T) {
	flags := electionFlags{Generate: "county", Seed: 11, Revisions: 3, Released: 0.5}
	speed := "60/s"
	if results := os.Getenv("TALLYSTREAM_RESULTS"); results != "" {
		flags.Results, speed = strings.Split(results, ","), "400/s"
	}
	var out bytes.Buffer
	d, err := newDrive(t.Context(), flags, driveFlags{Speed: speed, Viewers: 10, Clients: 32}, &out)
	if err != nil {
		t.Fatal(err)
	}
	data := service.Data{Dir: t.TempDir()}
	if err := d.writeElection(data, "ingest", "publish"); err != nil {
		t.Fatal(err)
	}
	s := startServices(t, data)
	gate := servicetest.StartGate(t, "http://"+s.ingest, 0)
	r, err := newRemote(data, gate.URL, "http://"+s.public)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var killer sync.WaitGroup
	killer.Go(func() { s.killEach(ctx, gate, r, d.script.Expected()) })
	report, err := d.play(ctx, r)
	cancel()
	killer.Wait()
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !report.Reconciled {
		t.Errorf("not reconciled:\n%s", strings.Join(report.Mismatches, "\n"))
	}
	if report.Submissions.Retries == 0 || gate.Lost() == 0 {
		t.Error("no client had to send again: was ingest killed?")
	}
	t.Logf("seed %d: %d submissions, %d retries, %d resyncs, %d snapshots", flags.Seed, report.Submissions.Sent, report.Submissions.Retries,
		report.Viewers.Resyncs, report.Snapshots)
}
