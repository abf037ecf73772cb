package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/ingest"
	"tallystream/publish"
	"tallystream/publish/verify"
	"tallystream/schemas"
)

// pipe is a stream and an aggregator in memory: a record is durable after
// appending, and in the ledger after counting.
type pipe struct {
	x                   *stage
	appending, counting time.Duration

	mu      sync.Mutex
	waiting []time.Time // arrivals of what is not counted, oldest first
}

func (p *pipe) Append(_ context.Context, _ schemas.Partition, record []byte) (schemas.Checkpoint, error) {
	time.Sleep(p.appending)
	p.mu.Lock()
	p.waiting = append(p.waiting, time.Now())
	p.mu.Unlock()
	go func() {
		time.Sleep(p.counting)
		line := entry(p.x.e, record, schemas.EntryCounted, "")
		u, _ := p.x.e.Unit(line.Unit)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.x.ledgers.add(line, record, numbers(p.x.e, u, int(line.Revision)))
		p.waiting = p.waiting[1:]
	}()
	return 1, nil
}

// lag is publish.Config.Lag.
func (p *pipe) lag(context.Context) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		return 0, nil
	}
	return time.Since(p.waiting[0]) + time.Nanosecond, nil
}

func (p *pipe) Submissions(context.Context, schemas.UnitID) ([]schemas.SubmissionState, error) {
	return nil, nil
}

// office is ingest before the stage, following its keys.
type office struct {
	*pipe
	handler http.Handler
}

func openOffice(t *testing.T, p *pipe) *office {
	ring, err := schemas.OpenRoster(roster(), p.x.e)
	if err != nil {
		t.Fatal(err)
	}
	watch := ingest.NewKeyWatch(p.x.keys(), slog.New(slog.DiscardHandler), time.Now)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	watch.Look(ctx)
	go func() { _ = watch.Run(ctx) }()
	server, err := ingest.New(ingest.Config{
		Election: p.x.e, Keyring: ring, Keys: watch.Keyring, Signer: signerOf("ingest"), Verifier: keyOf("ingest"), Stream: p, States: p,
		Metrics: ingest.NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &office{p, server.Handler()}
}

// send posts a submission and returns what it was refused for; "" for a receipt.
func (o *office) send(t *testing.T, unit schemas.UnitID, revision int, by string) string {
	t.Helper()
	u, _ := o.x.e.Unit(unit)
	r := httptest.NewRequest(http.MethodPost, ingest.SubmissionsPath, bytes.NewReader(envelope(o.x.e, unit, revision, numbers(o.x.e, u, revision), nil, by)))
	r.Header.Set("Content-Type", ingest.MediaType)
	w := httptest.NewRecorder()
	o.handler.ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		return ""
	}
	var p schemas.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return fmt.Sprint(w.Code, " ", p.Code())
}

// TestARevokedKeyIsRefusedAndWhatItSignedInTimeStillCounts: the change waits for
// a submission that was checked just before it, took as long to become durable as
// a stream may, and was counted long after.
func TestARevokedKeyIsRefusedAndWhatItSignedInTimeStillCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{appending: 15 * time.Second, counting: 3 * time.Minute}
		watched := func(c *publish.Config) { rooted(c); c.Lag = p.lag }
		x := open(t, watched)
		p.x = x
		x.count("oak.1", 1, "official.oak")
		o := openOffice(t, p)
		next := rosterWith("official.oak/2")
		late := make(chan string, 1)
		go func() { late <- o.send(t, "oak.2", 1, "official.oak") }()
		synctest.Wait() // it is on its way to the stream
		asked := time.Now()
		changed := make(chan error, 1)
		go func() {
			q := publish.ChangeRequest{Register: x.store, Bucket: x.store, Election: x.e, Note: rosterChange(1, next, "root.1", "root.2"), Roster: next}
			err := q.Send(t.Context())
			if err == nil {
				_, err = q.Await(t.Context(), func(_ context.Context, d time.Duration) error { time.Sleep(d); return nil })
			}
			changed <- err
		}()
		time.Sleep(2 * time.Second)
		for _, by := range []string{"official.oak", "official.oak/2"} {
			if got := o.send(t, "oak.3", 1, by); got != "403 "+string(schemas.ProblemUnknownKey) {
				t.Errorf("while the change waits, %s is told %q", by, got)
			}
		}
		if got := o.send(t, "fir.1", 1, "official.fir"); got != "" {
			t.Errorf("a key of both rosters is told %q", got)
		}
		if got := <-late; got != "" {
			t.Errorf("what was taken before is told %q", got)
		}
		if err := <-changed; err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(asked); waited < p.counting {
			t.Errorf("logged after %s", waited)
		}
		time.Sleep(2 * time.Second)
		if got := o.send(t, "oak.3", 1, "official.oak"); got != "403 "+string(schemas.ProblemUnknownKey) {
			t.Errorf("a revoked key is told %q", got)
		}
		if got := o.send(t, "oak.3", 1, "official.oak/2"); got != "" {
			t.Errorf("the new key is told %q", got)
		}
		time.Sleep(p.counting + time.Minute)
		if r, _ := check(t, verify.Options{Source: x.close(), All: true}); r.Verdict != verify.Verified || r.Counted != 4 {
			t.Error(print(r))
		}
	})
}

// TestWithoutLagTheSameNightPauses: it is the lag that keeps the order.
func TestWithoutLagTheSameNightPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := open(t, rooted)
		x.count("oak.1", 1, "official.oak")
		o := openOffice(t, &pipe{x: x, counting: 3 * time.Minute})
		next := rosterWith("official.oak/2")
		if got := o.send(t, "oak.2", 1, "official.oak"); got != "" {
			t.Fatal(got)
		}
		if err := x.change(rosterChange(1, next, "root.1", "root.2"), next); err != nil {
			t.Fatal(err)
		}
		if err := <-x.done; !isPowers(err) {
			t.Error(err)
		}
	})
}

func isPowers(err error) bool {
	_, ok := errors.AsType[*publish.PowersError](err)
	return ok
}
