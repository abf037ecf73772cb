package simulator

import (
	"bytes"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestThePaceIsAFactorARateOrNone(t *testing.T) {
	const span = 12 * time.Hour
	for _, c := range []struct {
		flag string
		want Pace
	}{
		{"max", Pace{}}, {"60", Pace{Factor: 60}}, {"0.5", Pace{Factor: 0.5}}, {"500/s", Pace{Rate: 500}}, {"auto", Pace{Factor: 432}},
	} {
		if got, err := parsePace(c.flag, span); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.flag, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "fast", "0", "-1", "0/s", "NaN", "1e400"} {
		if got, err := parsePace(bad, span); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
	if got := (Pace{Rate: 500}).due(1000, time.Hour); got != 2*time.Second {
		t.Errorf("event 1,000 at 500/s is due after %s", got)
	}
	if got := (Pace{Factor: 60}).due(1000, time.Hour); got != time.Minute {
		t.Errorf("an hour at 60 is due after %s", got)
	}
}

func TestLatencyMatchesTheReceiptWithTheFirstDeltaThatCoversIt(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	k := newTracker(10) // the log had 10 entries before
	k.receipt(at(0))
	k.receipt(at(10))
	k.receipt(at(20))
	k.seenLive(12, at(100))
	k.seenLive(12, at(150)) // says nothing new
	k.seenSnapshot(13, at(1000))
	k.seenLive(99, at(200)) // overtook receipts that are still on their way
	if got := k.entries(); got != 13 {
		t.Errorf("%d entries, want 13", got)
	}
	if got := k.liveTimes.quantiles(); got.Max != 180 {
		t.Errorf("live: %+v, want at most 180 ms", got)
	}
	if got := k.snapshotTimes.quantiles(); got.Max != 1000 {
		t.Errorf("snapshot: %+v, want at most 1000 ms", got)
	}
	if len(k.receipts) != 0 {
		t.Errorf("%d receipts are remembered though both have happened", len(k.receipts))
	}
}

func TestQuantilesAreRightToAnEighth(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	q := h.quantiles()
	for _, c := range []struct{ got, want float64 }{{q.P50, 500}, {q.P99, 990}, {q.Max, 1000}} {
		if math.Abs(c.got-c.want) > c.want/8 {
			t.Errorf("%+v: %.1f, want %.0f to an eighth", q, c.got, c.want)
		}
	}
	var none histogram
	if q := none.quantiles(); q != (Quantiles{}) {
		t.Errorf("nothing measured: %+v", q)
	}
}

// TestASubmissionIsSentAgainUntilItHasAnAnswer drives the lean client against
// net/http: busy, cut off, then a receipt.
func TestASubmissionIsSentAgainUntilItHasAnAnswer(t *testing.T) {
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != "envelope" {
			t.Errorf("got %q, %v", b, err)
		}
		switch calls.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2: // cut the connection without an answer
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		default:
			io.WriteString(w, "receipt")
		}
	}))
	defer srv.Close()
	s := sender{addr: strings.TrimPrefix(srv.URL, "http://")}
	defer s.close()
	var retries uint64
	a, err := s.deliver(t.Context(), []byte("envelope"), &retries)
	if err != nil || a.status != 200 || string(a.body) != "receipt" || retries != 2 {
		t.Errorf("%+v %q after %d retries, %v", a, a.body, retries, err)
	}
}

func TestSendingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := sender{dial: func(context.Context, string, string) (net.Conn, error) { return nil, io.ErrUnexpectedEOF }}
		var retries uint64
		if _, err := s.deliver(ctx, []byte("envelope"), &retries); err == nil || retries < 30 {
			t.Errorf("%v after %d retries", err, retries)
		}
	})
}

func TestProgressIsALineOffTheTerminal(t *testing.T) {
	var out bytes.Buffer
	d := newDisplay(&out)
	d.show(moment{elapsed: time.Second, total: 100, sent: 10})
	d.show(moment{elapsed: 6 * time.Second, total: 1_000_000, sent: 250_000, inLedger: 249_999, behind: 1})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1 || !strings.Contains(lines[0], "sent 250,000 of 1,000,000") || !strings.Contains(lines[0], "left 18s") {
		t.Errorf("%q", lines)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("control codes in a file")
	}
}
