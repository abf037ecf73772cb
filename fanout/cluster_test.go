package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/fanout"
	"tallystream/fanout/bus"
	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

// site is a deployment in small: three NATS servers in a cluster, three nodes
// that reach them by URL, a publisher, and viewers whom a balancer sends to
// any node that is there.
type site struct {
	press     *press
	servers   []*bus.Server
	nodes     []*siteNode
	publisher *bus.Bus
	balancer  *balancer
}

type siteNode struct {
	address  string
	registry *prometheus.Registry
	server   *fanout.Server
	bus      *bus.Bus
	stop     func()
}

// balancer dials the nodes in turn. It lets every connection to a node that
// dies end without a word.
type balancer struct {
	mu    sync.Mutex // guards the rest
	nodes []string
	turn  int
	open  map[string][]net.Conn
}

var errNoNode = errors.New("no node is left")

func (b *balancer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.nodes) == 0 {
		return nil, errNoNode
	}
	b.turn++
	node := b.nodes[b.turn%len(b.nodes)]
	c, err := new(net.Dialer).DialContext(ctx, network, node)
	if err == nil {
		b.open[node] = append(b.open[node], c)
	}
	return c, err
}

func (b *balancer) lose(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var left []string
	for _, n := range b.nodes {
		if n != node {
			left = append(left, n)
		}
	}
	b.nodes = left
	for _, c := range b.open[node] {
		_ = c.Close() // it may be closed already
	}
	delete(b.open, node)
}

func startSite(t *testing.T, documents ...schemas.DocumentID) *site {
	t.Helper()
	s := &site{press: newPress(documents...), balancer: &balancer{open: map[string][]net.Conn{}}}
	var urls []string
	for range 3 {
		cluster := &bus.ClusterOptions{Name: "night", Listen: "127.0.0.1:0", Secret: "between us"}
		if len(s.servers) > 0 {
			cluster.Routes = []string{s.servers[0].ClusterAddress()}
		}
		server, err := bus.StartServer(bus.ServerOptions{Listen: "127.0.0.1:0", Token: "token", Cluster: cluster})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		s.servers = append(s.servers, server)
		urls = append(urls, strings.Replace(server.URL(), "nats://", "nats://token@", 1))
	}
	for _, server := range s.servers {
		waitFor(t, func() bool { return server.Peers() == 2 })
	}
	for i := range 3 {
		s.startNode(t, urls[i]) // it hears of the others from that one
	}
	s.publisher = s.join(t, urls[0], prometheus.NewRegistry())
	return s
}

func (s *site) join(t *testing.T, url string, r *prometheus.Registry) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(bus.Options{URL: url, Election: "small-2026", Metrics: bus.NewMetrics(r)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	waitFor(t, func() bool { return b.Ready() == nil })
	return b
}

func (s *site) startNode(t *testing.T, url string) {
	t.Helper()
	n := &siteNode{registry: prometheus.NewRegistry()}
	server, err := fanout.New(fanout.Config{
		Bucket: s.press, BucketEvery: 20 * time.Millisecond, MinInterval: 5 * time.Millisecond, DrainSpread: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.server, n.bus = server, s.join(t, url, n.registry)
	if err := n.bus.Receive(server); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	running.Go(func() {
		if err := server.Serve(ctx, s.press, l); err != nil {
			t.Error(err)
		}
	})
	n.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(n.stop)
	s.nodes, s.balancer.nodes = append(s.nodes, n), append(s.balancer.nodes, n.address)
}

// play changes documents, and publishes now and then.
func (s *site) play(t *testing.T, random *rand.Rand, n int) {
	t.Helper()
	for i := range n {
		g := s.press.order[random.IntN(len(s.press.order))]
		s.press.change(g, someUnits(random, 30)...)
		// What the bus does not take or loses is found in the bucket.
		_ = s.publisher.Delta(t.Context(), g, s.press.delta(g))
		if i%10 == 9 {
			_ = s.publisher.Published(t.Context(), s.press.publish(false))
		}
	}
	_ = s.publisher.Published(t.Context(), s.press.publish(false))
}

func TestNobodyMissesTheFinalStateWhenANodeOrAServerOfTheBusDies(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	documents := []schemas.DocumentID{"election", "contest/c", "county/x"}
	s := startSite(t, documents...)
	transport := &http.Transport{DialContext: s.balancer.dial}
	t.Cleanup(transport.CloseIdleConnections)
	var viewers []client
	for i := range 12 {
		c, err := viewer.New(viewer.Config{
			Live: "ws://night.test", Bucket: "http://night.test", Documents: documents[:1+i%3],
			HTTP: &http.Client{Transport: transport}, Random: func() float64 { return 0 },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		viewers = append(viewers, client{c})
	}
	everybody := func(when string) {
		t.Helper()
		for i, v := range viewers {
			for _, g := range documents[:1+i%3] {
				waitFor(t, func() bool { return v.holds(s.press, g) })
			}
			if n := v.Stats().Mismatches; n > 0 {
				t.Errorf("%s: viewer %d saw %d wrong hashes", when, i, n)
			}
		}
	}
	for _, g := range documents {
		s.press.change(g, "u001")
	}
	s.play(t, random, 20)
	everybody("at the start")

	// The server that the publisher and a node use goes, in the midst of it.
	var playing sync.WaitGroup
	playing.Go(func() { s.play(t, random, 60) })
	if err := s.servers[0].Close(); err != nil {
		t.Error(err)
	}
	playing.Wait()
	everybody("after a server of the bus died")

	// A node goes, with its viewers' connections.
	playing.Go(func() { s.play(t, random, 60) })
	s.balancer.lose(s.nodes[1].address)
	s.nodes[1].stop()
	playing.Wait()
	everybody("after a node died")

	// And another server of the bus: one of each is left, or two.
	if err := s.servers[1].Close(); err != nil {
		t.Error(err)
	}
	s.play(t, random, 20)
	everybody("at the end")

	for i, n := range s.nodes {
		families, err := n.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "tallystream_bus_sent_total" && len(f.GetMetric()) > 0 {
				t.Errorf("node %d sent something on the bus: %v", i, fmt.Sprint(f))
			}
		}
	}
}
