package bus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"tallystream/fanout/bus"
	"tallystream/schemas"
	"tallystream/service/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const election schemas.ElectionID = "sc.2024-general"

// recorder writes down what it gets, in order.
type recorder struct{ got chan string }

func newRecorder() *recorder { return &recorder{make(chan string, 10_000)} }

func (r *recorder) OnDelta(frame []byte) { r.got <- "delta " + string(frame) }
func (r *recorder) OnPublished(p schemas.Published) {
	r.got <- fmt.Sprint("published ", p.Snapshot, len(p.Documents))
}

func (r *recorder) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-r.got:
		return s
	case <-time.After(time.Minute):
		t.Fatal("nothing came over the bus")
		return ""
	}
}

func startServer(t *testing.T, o bus.ServerOptions) *bus.Server {
	t.Helper()
	s, err := bus.StartServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func connect(t *testing.T, o bus.Options) *bus.Bus {
	t.Helper()
	if o.Election == "" {
		o.Election = election
	}
	b, err := bus.Connect(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func flush(t *testing.T, b *bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestDeltasAndAnnouncementsArriveInTheOrderInWhichTheyWereSent(t *testing.T) {
	for name, options := range map[string]func(*bus.Server) bus.Options{
		"in process": func(s *bus.Server) bus.Options { return bus.Options{Server: s} },
		"loopback":   func(s *bus.Server) bus.Options { return bus.Options{URL: s.URL()} },
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, bus.ServerOptions{Listen: "127.0.0.1:0"})
			sender, receiver := connect(t, options(s)), connect(t, options(s))
			r := newRecorder()
			if err := receiver.Receive(r); err != nil {
				t.Fatal(err)
			}
			flush(t, receiver)
			var want, got []string
			frame := []byte("frame 000")
			for i := range 200 {
				frame = fmt.Appendf(frame[:0], "frame %03d", i) // the sender uses the slice again
				if err := sender.Delta(t.Context(), schemas.ElectionDocument, frame); err != nil {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprintf("delta frame %03d", i))
				if i%10 == 0 {
					if err := sender.Published(t.Context(), schemas.Published{Snapshot: schemas.SnapshotNumber(i)}); err != nil {
						t.Fatal(err)
					}
					want = append(want, fmt.Sprintf("published %d %d", i, 0))
				}
			}
			for range want {
				got = append(got, r.next(t))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAMessageOfTheLargestSizeArrives(t *testing.T) {
	b := connect(t, bus.Options{Server: startServer(t, bus.ServerOptions{})})
	r := newRecorder()
	if err := b.Receive(r); err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	frame := strings.Repeat("x", bus.MaxPayload)
	if err := b.Delta(t.Context(), schemas.ElectionDocument, []byte(frame)); err != nil {
		t.Fatal(err)
	}
	if got := r.next(t); got != "delta "+frame {
		t.Errorf("got %d bytes", len(got))
	}
	if err := b.Delta(t.Context(), schemas.ElectionDocument, []byte(frame+"x")); err == nil {
		t.Error("one byte more was taken")
	}
}

func TestElectionsDoNotHearEachOther(t *testing.T) {
	s := startServer(t, bus.ServerOptions{})
	here := connect(t, bus.Options{Server: s, Election: "a.b"})
	there := connect(t, bus.Options{Server: s, Election: "a-b"})
	r := newRecorder()
	if err := here.Receive(r); err != nil {
		t.Fatal(err)
	}
	hinted := make(chan string, 10)
	if err := here.OnHint("stream", func() { hinted <- "stream" }); err != nil {
		t.Fatal(err)
	}
	flush(t, here)
	for _, b := range []*bus.Bus{there, here} {
		if err := b.Delta(t.Context(), schemas.ElectionDocument, fmt.Append(nil, b == here)); err != nil {
			t.Fatal(err)
		}
		if err := b.Hint("ledger"); err != nil {
			t.Fatal(err)
		}
		flush(t, b)
	}
	if err := here.Hint("stream"); err != nil {
		t.Fatal(err)
	}
	if got := r.next(t); got != "delta true" {
		t.Errorf("got %q, want only what was sent here", got)
	}
	if got := <-hinted; got != "stream" || len(hinted) > 0 {
		t.Errorf("got hint %q and %d more", got, len(hinted))
	}
}

func TestHintTopicsAreOneToken(t *testing.T) {
	b := connect(t, bus.Options{Server: startServer(t, bus.ServerOptions{})})
	for _, topic := range []string{"", "*", ">", "a.b", "a b", "A"} {
		if b.Hint(topic) == nil {
			t.Errorf("%q was taken", topic)
		}
	}
}

func TestMessagesSentWhileTheBusIsAwayArriveWhenItIsBack(t *testing.T) {
	addr := servicetest.FreeAddress(t)
	sender, receiver := connect(t, bus.Options{URL: "nats://" + addr}), connect(t, bus.Options{URL: "nats://" + addr})
	r := newRecorder()
	if err := receiver.Receive(r); err != nil {
		t.Fatal(err)
	}
	if sender.Ready() == nil {
		t.Error("ready without a server")
	}
	startServer(t, bus.ServerOptions{Listen: addr})
	flushWhenBack(t, receiver)
	if err := sender.Delta(t.Context(), schemas.ElectionDocument, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := r.next(t); got != "delta x" {
		t.Errorf("got %q", got)
	}
	if err := receiver.Ready(); err != nil {
		t.Error(err)
	}
}

// flushWhenBack waits for a connection that is being made.
func flushWhenBack(t *testing.T, b *bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for b.Flush(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatal("the bus did not come back")
		}
	}
}

func TestATokenIsAskedFor(t *testing.T) {
	s := startServer(t, bus.ServerOptions{Listen: "127.0.0.1:0", Token: "secret"})
	with := connect(t, bus.Options{URL: strings.Replace(s.URL(), "nats://", "nats://secret@", 1)})
	flushWhenBack(t, with)
	flush(t, connect(t, bus.Options{Server: s})) // this process knows it
	without := connect(t, bus.Options{URL: s.URL()})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if without.Flush(ctx) == nil {
		t.Error("taken without the token")
	}
}

func TestAClosedBusSaysSo(t *testing.T) {
	b := connect(t, bus.Options{Server: startServer(t, bus.ServerOptions{})})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Hint("stream"); err == nil || !strings.Contains(err.Error(), bus.ErrClosed.Error()) {
		t.Errorf("got %v", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}
