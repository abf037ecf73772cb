package viewer_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

// script is a live server that says what a test tells it to say, strictly: it
// fails the test when the client sends what it should not.
type script struct {
	t    *testing.T
	http *httptest.Server

	mu      sync.Mutex // guards the rest
	objects map[string][]byte
	fetched map[string]int
	// visits holds what to do with each connection in turn; the last one is
	// for all that follow.
	visits []func(*visit)
	seen   int
}

// visit is one connection of the client.
type visit struct {
	s   *script
	ctx context.Context
	ws  *websocket.Conn
	sub *schemas.Subscribe // the first
}

func newScript(t *testing.T, visits ...func(*visit)) *script {
	s := &script{t: t, objects: map[string][]byte{}, fetched: map[string]int{}, visits: visits}
	s.http = httptest.NewServer(s)
	t.Cleanup(func() {
		s.http.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return s
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/live" {
		s.mu.Lock()
		s.fetched[r.URL.Path]++
		b, ok := s.objects[r.URL.Path]
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
		return
	}
	s.mu.Lock()
	play := s.visits[min(s.seen, len(s.visits)-1)]
	s.seen++
	s.mu.Unlock()
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer ws.CloseNow()
	v := &visit{s: s, ctx: r.Context(), ws: ws}
	v.sub = v.subscription()
	if v.sub != nil {
		play(v)
	}
}

// subscription reads the client's next frame, which must be one.
func (v *visit) subscription() *schemas.Subscribe {
	_, frame, err := v.ws.Read(v.ctx)
	if err != nil {
		return nil // the client went
	}
	sub, _, err := schemas.ParseClientFrame(frame)
	if err != nil {
		v.s.t.Errorf("client sent %s: %v", frame, err)
	}
	return sub
}

func (v *visit) say(frames ...[]byte) {
	for _, f := range frames {
		if v.ws.Write(v.ctx, websocket.MessageText, f) != nil {
			return
		}
	}
}

// stay waits until the client goes.
func (v *visit) stay() { _, _, _ = v.ws.Read(v.ctx) }

// object puts bytes into the bucket and returns the snap that names them.
func (s *script) object(epoch schemas.Epoch, at schemas.Version, body []byte) []byte {
	snap := snapOf(epoch, at, body)
	snap.Key = "documents/" + snap.Hash.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects["/"+snap.Key] = body
	return snap.AppendFrame(nil)
}

var hello = (&schemas.Hello{Epoch: 1, Log: 1, Snapshot: 1}).AppendFrame(nil)

// start runs a client against the script until the test ends.
func (s *script) start(cfg viewer.Config) *viewer.Client {
	s.t.Helper()
	cfg.Live, cfg.Bucket, cfg.Documents = s.http.URL, s.http.URL, []schemas.DocumentID{id}
	cfg.Random = func() float64 { return 0 }
	c, err := viewer.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	return c
}

func waitUntilHolds(t *testing.T, c *viewer.Client, body []byte) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		if got, _, _, ok := c.Copy(id); ok && bytes.Equal(got, body) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("the client does not get there: %+v", c.Stats())
		case <-time.After(time.Millisecond):
		}
	}
}

var (
	first  = bodyOf(map[string]string{"a": lineOf("a", 1), "b": lineOf("b", 1)})
	second = bodyOf(map[string]string{"a": lineOf("a", 1), "b": lineOf("b", 2)})
	third  = bodyOf(map[string]string{"a": lineOf("a", 3), "b": lineOf("b", 2)})
)

func TestAClientFetchesTheSnapshotAndAppliesDeltas(t *testing.T) {
	var s *script
	s = newScript(t, func(v *visit) {
		v.say(hello, s.object(1, 5, first), deltaOf(1, 5, 6, second, lineOf("b", 2)), deltaOf(1, 6, 7, third, lineOf("a", 3)))
		v.stay()
	})
	var mu sync.Mutex
	var changes []int
	c := s.start(viewer.Config{OnChange: func(c viewer.Change) {
		mu.Lock()
		defer mu.Unlock()
		changes = append(changes, len(c.Lines))
	}})
	waitUntilHolds(t, c, third)
	if got := c.Stats(); got.Deltas != 2 || got.Fetches != 1 || got.Resyncs != 0 || got.Mismatches != 0 {
		t.Errorf("%+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(changes) < 2 || changes[0] != 0 || changes[1] != 1 {
		t.Errorf("changes with %v lines", changes)
	}
}

func TestAClientComesBackWithWhatItHas(t *testing.T) {
	var s *script
	s = newScript(t,
		func(v *visit) {
			v.say(hello, s.object(1, 5, first), deltaOf(1, 5, 6, second, lineOf("b", 2)))
			v.say((&schemas.Bye{Reason: "drain", Milliseconds: 5}).AppendFrame(nil))
			v.stay()
		},
		func(v *visit) {
			if at, ok := v.sub.Versions[id]; !ok || at != 6 || v.sub.Epoch != 1 {
				t.Errorf("came back with %+v", v.sub)
			}
			v.say(hello, deltaOf(1, 6, 7, third, lineOf("a", 3)))
			v.stay()
		})
	c := s.start(viewer.Config{})
	waitUntilHolds(t, c, third)
	if got := c.Stats(); got.Connects != 2 || got.Fetches != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAGapIsAskedAboutFromWhereTheClientIs(t *testing.T) {
	var s *script
	s = newScript(t, func(v *visit) {
		v.say(hello, s.object(1, 5, first), deltaOf(1, 6, 7, third, lineOf("a", 3)))
		again := v.subscription()
		if again == nil || again.Versions[id] != 5 {
			t.Errorf("asked with %+v", again)
		}
		v.say(deltaOf(1, 5, 7, third, lineOf("a", 3), lineOf("b", 2)))
		v.stay()
	})
	c := s.start(viewer.Config{})
	waitUntilHolds(t, c, third)
	if got := c.Stats(); got.Resyncs != 1 || got.Mismatches != 0 {
		t.Errorf("%+v", got)
	}
}

func TestAWrongHashIsCountedAndTheSnapshotFetched(t *testing.T) {
	var s *script
	s = newScript(t, func(v *visit) {
		v.say(hello, s.object(1, 5, first), deltaOf(1, 5, 6, third, lineOf("b", 2)))
		if again := v.subscription(); again == nil || len(again.Versions) != 0 {
			t.Errorf("asked with %+v: what it has is in doubt", again)
		}
		v.say(s.object(1, 7, third))
		v.stay()
	})
	c := s.start(viewer.Config{})
	waitUntilHolds(t, c, third)
	if got := c.Stats(); got.Mismatches != 1 || got.Fetches != 2 {
		t.Errorf("%+v", got)
	}
}

func TestASnapshotThatCannotBeFetchedIsTriedAgain(t *testing.T) {
	var s *script
	s = newScript(t,
		func(v *visit) {
			v.say(hello, snapOf(1, 5, first).AppendFrame(nil)) // not in the bucket
			v.stay()
		},
		func(v *visit) {
			v.say(hello, s.object(1, 5, first))
			v.stay()
		})
	waitUntilHolds(t, s.start(viewer.Config{}), first)
}

func TestASnapshotAboveTheLimitIsNotTaken(t *testing.T) {
	var s *script
	s = newScript(t, func(v *visit) {
		v.say(hello, s.object(1, 5, first))
		v.stay()
	})
	c := s.start(viewer.Config{MaxBody: 10})
	deadline := time.After(time.Minute)
	for c.Stats().Connects < 2 {
		select {
		case <-deadline:
			t.Fatal("the client did not give up")
		case <-time.After(time.Millisecond):
		}
	}
	if _, ok := c.Hash(id); ok {
		t.Error("the document is known")
	}
}

func TestAnotherEpochWithTheSameBytesCostsNoFetch(t *testing.T) {
	var s *script
	s = newScript(t, func(v *visit) {
		v.say(hello, s.object(1, 5, first), s.object(2, 3, first), deltaOf(2, 3, 4, second, lineOf("b", 2)))
		v.stay()
	})
	c := s.start(viewer.Config{})
	waitUntilHolds(t, c, second)
	if got := c.Stats(); got.Fetches != 1 || got.Resyncs != 0 {
		t.Errorf("%+v", got)
	}
}

func TestAddressesAreCompleted(t *testing.T) {
	for _, c := range []viewer.Config{
		{Live: "ftp://x", Bucket: "http://x"}, {Live: "x", Bucket: "http://x"}, {Live: "ws://x", Bucket: ""}, {},
	} {
		c.Documents = []schemas.DocumentID{id}
		if _, err := viewer.New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if _, err := viewer.New(viewer.Config{Live: "ws://x", Bucket: "http://x"}); err == nil {
		t.Error("no documents are taken")
	}
}

func TestAKeyIsSentWhereProxiesDoNotLogIt(t *testing.T) {
	asked := make(chan *http.Request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.Clone(context.Background()):
		default:
		}
		http.Error(w, "unknown key", http.StatusUnauthorized)
	}))
	defer s.Close()
	c, err := viewer.New(viewer.Config{Live: s.URL, Bucket: s.URL, Documents: []schemas.DocumentID{schemas.AllDocuments}, Key: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	r := <-asked
	if got := r.Header.Get("Authorization"); got != "Bearer secret" || r.URL.RawQuery != "" {
		t.Errorf("asked for %s with %q", r.URL, got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
