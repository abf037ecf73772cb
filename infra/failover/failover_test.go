//go:build unix

package failover

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/service/servicetest"
)

// night is one election, whose stores both regions reach: the home's data.
type night struct {
	t                            *testing.T
	binary, data, bucket         string
	ingestAt, publicAt, busAt    string
	east, west                   writer
	simulate, ingesting, viewing *process
}

// writer is one region's aggregate and publish.
type writer struct{ aggregate, publish *process }

type process struct {
	t      *testing.T
	name   string
	status string // address of its status pages
	cmd    *exec.Cmd
	log    bytes.Buffer // read only after done
	done   chan error
}

func (n *night) start(name string, arguments ...string) *process {
	n.t.Helper()
	p := &process{t: n.t, name: name, done: make(chan error, 1)}
	if name != "simulate" {
		p.status = servicetest.FreeAddress(n.t)
		arguments = append(arguments, "--status", p.status)
	}
	p.cmd = exec.Command(n.binary, append([]string{name, "--data", n.data}, arguments...)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	n.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (n *night) startWriter() writer {
	return writer{
		aggregate: n.start("aggregate", "--bus", "nats://"+n.busAt),
		publish:   n.start("publish", "--bus", "nats://"+n.busAt, "--bucket", n.bucket, "--export-every", "1s", "--export-rate", "1e9", "--heartbeat", "1s"),
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// metric reads one from the process's page; ok is false while there is none.
func (p *process) metric(name string) (v float64, ok bool) {
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get("http://" + p.status + "/metrics")
	if err != nil {
		return 0, false
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if text, found := strings.CutPrefix(lines.Text(), name+" "); found {
			v, err := strconv.ParseFloat(text, 64)
			return v, err == nil
		}
	}
	return 0, false
}

// value is what a process says of a metric as soon as it answers.
func (n *night) value(ctx context.Context, p *process, name string) float64 {
	n.t.Helper()
	for {
		if v, ok := p.metric(name); ok {
			return v
		}
		select {
		case <-ctx.Done():
			n.t.Fatalf("%s does not say its %s: %v", p.name, name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// await polls from outside, as an operator would.
func (n *night) await(ctx context.Context, what string, reached func() bool) {
	n.t.Helper()
	for !reached() {
		select {
		case err := <-n.simulate.done:
			n.t.Fatalf("the night was over before %s: %v\n%s", what, err, n.simulate.log.String())
		case <-ctx.Done():
			n.t.Fatalf("%s: %v", what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// cutOff freezes a region's writer. DynamoDB has no lock that a frozen process
// could keep; the embedded ledger has, for the length of a transaction, so the
// moment is taken when it does not.
func (n *night) cutOff(ctx context.Context, w writer) {
	n.t.Helper()
	n.await(ctx, "cutting the writer off", func() bool {
		w.aggregate.signal(syscall.SIGSTOP)
		w.publish.signal(syscall.SIGSTOP)
		if n.ledgerIsFree() {
			return true
		}
		w.aggregate.signal(syscall.SIGCONT)
		w.publish.signal(syscall.SIGCONT)
		return false
	})
}

func (n *night) ledgerIsFree() bool {
	c, err := sqlite.OpenConn(filepath.Join(n.data, "ledger.db"), sqlite.OpenReadWrite|sqlite.OpenWAL)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetBusyTimeout(0)
	return sqlitex.ExecuteTransient(c, "BEGIN IMMEDIATE", nil) == nil && sqlitex.ExecuteTransient(c, "ROLLBACK", nil) == nil
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tallystream")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "tallystream").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return binary
}

// What a publisher says of itself.
const (
	logSize = "tallystream_publish_log_size"
	epoch   = "tallystream_publish_epoch"
	// conflicts are an aggregator's swaps of a head that came too late.
	conflicts = `tallystream_aggregate_restarts_total{reason="conflict"}`
)

// Submissions of the night that pass in each of its parts; there are about 450.
const untilCutOff, untilBack = 60, 150

// TestTheWriterMovesWhileTheOldOneIsCutOffAndComesBack plays a county's night.
// East counts and publishes; it is cut off, not dead; west takes over; east comes
// back in the middle. Every published number must be what was sent, one chain of
// snapshots must have come of it, and east must have stopped by itself. A gate before
// ingest keeps the night from being over before all of that has happened.
func TestTheWriterMovesWhileTheOldOneIsCutOffAndComesBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	n := &night{
		t: t, binary: build(t), data: t.TempDir(), bucket: t.TempDir(),
		ingestAt: servicetest.FreeAddress(t), publicAt: servicetest.FreeAddress(t), busAt: servicetest.FreeAddress(t),
	}
	election := []string{"--data", n.data, "--generate", "county", "--seed", "11", "--revisions", "3"}
	if out, err := exec.CommandContext(ctx, n.binary, append([]string{"simulate", "--prepare"}, election...)...).CombinedOutput(); err != nil {
		t.Fatalf("preparing: %v\n%s", err, out)
	}
	n.viewing = n.start("fanout", "--bucket", n.bucket, "--listen", n.publicAt, "--bus-listen", n.busAt)
	n.ingesting = n.start("ingest", "--bus", "nats://"+n.busAt, "--bucket", n.bucket, "--listen", n.ingestAt, "--limit-failure-rate=-1", "--limit-key-rate=-1")
	gate := servicetest.StartGate(t, "http://"+n.ingestAt, 0)
	n.east = n.startWriter()
	n.simulate = n.start("simulate", "--generate", "county", "--seed", "11", "--revisions", "3", "--speed", "100/s", "--viewers", "5",
		"--ingest", gate.URL, "--public", "http://"+n.publicAt)

	gate.Open(untilCutOff)
	n.await(ctx, "east publishing", func() bool { v, _ := n.east.publish.metric(logSize); return v >= 20 })
	before, size := n.value(ctx, n.east.publish, epoch), n.value(ctx, n.east.publish, logSize)
	n.cutOff(ctx, n.east)

	n.west = n.startWriter()
	gate.Open(untilBack - untilCutOff)
	n.await(ctx, "west publishing beyond east", func() bool { v, _ := n.west.publish.metric(logSize); return v >= size+40 })
	n.east.aggregate.signal(syscall.SIGCONT)
	n.east.publish.signal(syscall.SIGCONT)
	var east, west float64 // swaps of the head that came too late
	n.await(ctx, "the ledger's head fencing east or west", func() bool {
		east, _ = n.east.aggregate.metric(conflicts) // none is said before the first
		west, _ = n.west.aggregate.metric(conflicts)
		return east+west > 0
	})
	gate.OpenWide()

	select {
	case err := <-n.east.publish.done:
		if err == nil || !strings.Contains(n.east.publish.log.String(), "another sequencer") {
			t.Errorf("east's publisher ended with %v, want that it was fenced:\n%s", err, n.east.publish.log.String())
		}
	case <-ctx.Done():
		t.Fatal("east's publisher came back and publishes on")
	}
	select {
	case err := <-n.simulate.done: // compares every published number with what it sent
		if err != nil {
			t.Fatalf("the night does not reconcile: %v\n%s", err, n.simulate.log.String())
		}
	case <-ctx.Done():
		t.Fatal("the night did not end")
	}
	if after := n.value(ctx, n.west.publish, epoch); before == 0 || after <= before {
		t.Errorf("epoch %v before the move and %v after", before, after)
	}
	t.Logf("epoch %v, then %v; by then fenced: east %v times, west %v", before, n.value(ctx, n.west.publish, epoch), east, west)
}
