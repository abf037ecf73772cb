package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Network injects the faults of one plan beneath any number of clients.
type Network struct {
	plan  Plan
	delay time.Duration
	sleep func(context.Context, time.Duration) error

	mu     sync.Mutex // guards what follows
	paused bool
	nth    map[Operation]uint64
	faults map[Fault]uint64
	late   map[Operation][]pending
}

// pending is a request that will arrive late.
type pending struct {
	next    http.RoundTripper
	request *http.Request
	body    []byte
}

// Option is a choice in making a Network.
type Option func(*Network)

// WithDelay sets how long Slow delays an answer; the default is 2 seconds.
func WithDelay(d time.Duration) Option { return func(n *Network) { n.delay = d } }

// WithSleep replaces the clock of Slow.
func WithSleep(sleep func(context.Context, time.Duration) error) Option {
	return func(n *Network) { n.sleep = sleep }
}

const defaultDelay = 2 * time.Second

// maxBody bounds a request's body, which is kept to send it again.
const maxBody = 64 << 20

// New makes a network that fails by plan.
func New(plan Plan, options ...Option) (*Network, error) {
	if err := plan.Validate(); err != nil {
		return nil, err
	}
	n := &Network{
		plan: plan, delay: defaultDelay, sleep: sleep,
		nth: map[Operation]uint64{}, faults: map[Fault]uint64{}, late: map[Operation][]pending{},
	}
	for _, option := range options {
		option(n)
	}
	return n, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Over puts the network over a transport; it is what cloud.WithHTTP takes.
func (n *Network) Over(next http.RoundTripper) http.RoundTripper { return transport{n, next} }

// Pause lets everything pass, uncounted, until Resume.
func (n *Network) Pause() { n.set(true) }

// Resume ends Pause.
func (n *Network) Resume() { n.set(false) }

func (n *Network) set(paused bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = paused
}

// next counts a request and decides its fault.
func (n *Network) next(o Operation, r *http.Request) (Kind, *rand.Rand) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused {
		return None, nil
	}
	n.nth[o]++
	kind, random := n.plan.at(o, n.nth[o], r)
	if kind != None {
		n.faults[Fault{o, kind}]++
	}
	return kind, random
}

// transport is a Network over one client's transport.
type transport struct {
	network *Network
	next    http.RoundTripper
}

// CloseIdleConnections passes on what http.Client asks for.
func (t transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip sends the request, or not, or twice.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	o := OperationOf(r)
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	kind, random := t.network.next(o, r)
	answer, err := t.meet(kind, random, o, r, body)
	if kind != Late {
		t.network.deliver(r.Context(), o)
	}
	return answer, err
}

func (t transport) meet(kind Kind, random *rand.Rand, o Operation, r *http.Request, body []byte) (*http.Response, error) {
	switch kind {
	case Throttle, Conflict, InProgress, Expired, Internal, Unavailable:
		return refusal(kind, random, o, r, body)
	case Partial, PartialAfter:
		return t.partial(kind, random, r, body)
	case Before:
		return nil, reset("write")
	case Late:
		t.network.keep(o, pending{t.next, r, body})
		return nil, reset("read")
	case After, InternalAfter:
		answer, err := t.send(r, body)
		if err != nil {
			return nil, err
		}
		discard(answer)
		if kind == After {
			return nil, reset("read")
		}
		return refusal(Internal, random, o, r, body)
	case Cut:
		answer, err := t.send(r, body)
		if err != nil {
			return nil, err
		}
		return cut(answer)
	case Slow:
		answer, err := t.send(r, body)
		if err != nil {
			return nil, err
		}
		if err := t.network.sleep(r.Context(), t.network.delay); err != nil {
			discard(answer)
			return nil, err
		}
		return answer, nil
	case Duplicate:
		return t.twice(r, body)
	default:
		return t.send(r, body)
	}
}

// send forwards the request with the given body.
func (t transport) send(r *http.Request, body []byte) (*http.Response, error) {
	return t.next.RoundTrip(withBody(r, body))
}

// twice sends the request, keeps the answer, and sends it again.
func (t transport) twice(r *http.Request, body []byte) (*http.Response, error) {
	answer, err := t.send(r, body)
	if err != nil {
		return nil, err
	}
	kept, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close() // read to its end
	if err != nil {
		return nil, fmt.Errorf("reading the first of two answers: %w", err)
	}
	answer.Body = io.NopCloser(bytes.NewReader(kept))
	if second, err := t.send(r, body); err == nil { // a duplicate that the network loses is none
		discard(second)
	}
	return answer, nil
}

// keep holds a request back until the operation's next one is through.
func (n *Network) keep(o Operation, p pending) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.late[o] = append(n.late[o], p)
}

// deliver sends what was held back for the operation. Its answers go nowhere.
func (n *Network) deliver(ctx context.Context, o Operation) {
	n.mu.Lock()
	late := n.late[o]
	delete(n.late, o)
	n.mu.Unlock()
	for _, p := range late {
		// Its sender gave up long ago.
		answer, err := p.next.RoundTrip(withBody(p.request.WithContext(context.WithoutCancel(ctx)), p.body))
		if err != nil {
			continue // it was lost on the way, as requests are
		}
		discard(answer)
	}
}

// Flush lets every request arrive that is still on its way.
func (n *Network) Flush(ctx context.Context) {
	n.mu.Lock()
	var waiting []Operation
	for o := range n.late {
		waiting = append(waiting, o)
	}
	n.mu.Unlock()
	for _, o := range waiting {
		n.deliver(ctx, o)
	}
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("reading the request: more than %d bytes", maxBody)
	}
	return body, nil
}

// withBody is r with a body of its own, as long as it says.
func withBody(r *http.Request, body []byte) *http.Request {
	r = r.Clone(r.Context())
	r.ContentLength = int64(len(body))
	r.Body, r.GetBody = http.NoBody, nil
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r
}

// discard reads an answer to its end, so that its connection can be used again.
func discard(answer *http.Response) {
	_, _ = io.Copy(io.Discard, answer.Body) // nobody sees it
	_ = answer.Body.Close()
}

// cut breaks the connection in the middle of the answer.
func cut(answer *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, reset("read") // the head is all there was
	}
	answer.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), failing{reset("read")}))
	return answer, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// reset is the error of a connection that the other side has reset.
func reset(op string) error { return &net.OpError{Op: op, Net: "tcp", Err: syscall.ECONNRESET} }
