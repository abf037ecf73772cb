package bus_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/fanout/bus"
	"tallystream/schemas"
)

// startCluster starts servers that are linked to each other. The later ones
// know the first only, and hear of the others from it.
func startCluster(t *testing.T, n int, o bus.ServerOptions, c bus.ClusterOptions) []*bus.Server {
	t.Helper()
	var servers []*bus.Server
	for range n {
		cluster := c
		cluster.Name, cluster.Listen = "night", "127.0.0.1:0"
		if len(servers) > 0 {
			cluster.Routes = []string{servers[0].ClusterAddress()}
		}
		o.Listen, o.Cluster = "127.0.0.1:0", &cluster
		servers = append(servers, startServer(t, o))
	}
	for _, s := range servers {
		until(t, "servers are linked", func() bool { return s.Peers() == n-1 })
	}
	return servers
}

// until asks again until a condition holds that others bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("it did not come about: ", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// set is a receiver that knows what came, and may ask again.
type set struct {
	mu  sync.Mutex // guards got
	got map[string]bool
}

func newSet() *set { return &set{got: map[string]bool{}} }

func (s *set) OnDelta(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[string(frame)] = true
}

func (s *set) OnPublished(schemas.Published) {}

func (s *set) has(frame string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[frame]
}

// reaches sends until the receiver has heard: a route or a subscription that is
// being made again loses what is sent meanwhile.
func reaches(t *testing.T, sender *bus.Bus, r *set, word string) {
	t.Helper()
	n := 0
	until(t, word, func() bool {
		n++
		// While the bus is away it is buffered, or refused: both are tried again.
		_ = sender.Delta(context.Background(), schemas.ElectionDocument, fmt.Appendf(nil, "%s %d", word, n))
		for i := range n {
			if r.has(fmt.Sprintf("%s %d", word, i+1)) {
				return true
			}
		}
		return false
	})
}

func urls(servers []*bus.Server) string {
	var out []string
	for _, s := range servers {
		out = append(out, s.URL())
	}
	return strings.Join(out, ",")
}

func TestWhatOneServerOfAClusterGetsTheClientsOfAllGetInOrder(t *testing.T) {
	servers := startCluster(t, 3, bus.ServerOptions{}, bus.ClusterOptions{Secret: "between us"})
	sender := connect(t, bus.Options{Server: servers[0]})
	var receivers []*recorder
	for _, s := range servers {
		b, r := connect(t, bus.Options{Server: s}), newRecorder()
		if err := b.Receive(r); err != nil {
			t.Fatal(err)
		}
		flush(t, b)
		receivers = append(receivers, r)
	}
	for _, r := range receivers { // until the interest is known everywhere
		seen := false
		until(t, "interest", func() bool {
			if err := sender.Published(t.Context(), schemas.Published{}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-r.got:
				seen = true
			case <-time.After(5 * time.Millisecond):
			}
			return seen
		})
	}
	for i := range 500 {
		if err := sender.Delta(t.Context(), schemas.ElectionDocument, fmt.Appendf(nil, "%03d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for n, r := range receivers {
		for i := range 500 {
			got := r.next(t)
			for strings.HasPrefix(got, "published") {
				got = r.next(t)
			}
			if want := fmt.Sprintf("delta %03d", i); got != want {
				t.Fatalf("server %d: got %q, want %q", n, got, want)
			}
		}
	}
}

func TestTheEndOfAServerMovesItsClientsToTheOthers(t *testing.T) {
	servers := startCluster(t, 3, bus.ServerOptions{Token: "secret"}, bus.ClusterOptions{Secret: "between us"})
	withToken := func(s []*bus.Server) string { return strings.ReplaceAll(urls(s), "nats://", "nats://secret@") }
	// Clients name one server, and hear of the others from it.
	sender := connect(t, bus.Options{URL: withToken(servers[:1])})
	moving, staying := connect(t, bus.Options{URL: withToken(servers[1:2])}), connect(t, bus.Options{Server: servers[2]})
	heard := map[*bus.Bus]*set{moving: newSet(), staying: newSet()}
	for b, r := range heard {
		if err := b.Receive(r); err != nil {
			t.Fatal(err)
		}
		flushWhenBack(t, b)
		reaches(t, sender, r, "before")
	}
	for i, s := range servers[:2] { // first the sender's, then the receiver's
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, r := range heard {
			reaches(t, sender, r, fmt.Sprint("after ", i+1))
		}
	}
	until(t, "the last one is alone", func() bool { return servers[2].Peers() == 0 })
	registry := prometheus.NewRegistry()
	servers[2].Register(registry)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "tallystream_bus_peers" || families[0].GetMetric()[0].GetGauge().GetValue() != 0 {
		t.Errorf("%v, %v", families, err)
	}
}

func TestAServerThatComesBackIsLinkedAgain(t *testing.T) {
	servers := startCluster(t, 2, bus.ServerOptions{}, bus.ClusterOptions{})
	at := servers[0].ClusterAddress()
	if err := servers[0].Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "alone", func() bool { return servers[1].Peers() == 0 })
	again := startServer(t, bus.ServerOptions{Listen: "127.0.0.1:0", Cluster: &bus.ClusterOptions{Name: "night", Listen: at}})
	// It knows nobody: the one that was left finds it.
	until(t, "linked", func() bool { return again.Peers() == 1 && servers[1].Peers() == 1 })
}

func TestAClusterRefusesStrangers(t *testing.T) {
	first := startCluster(t, 1, bus.ServerOptions{}, bus.ClusterOptions{Secret: "between us"})[0]
	for name, c := range map[string]bus.ClusterOptions{
		"another secret": {Name: "night", Secret: "guess"},
		"no secret":      {Name: "night"},
		"another name":   {Name: "day", Secret: "between us"},
	} {
		t.Run(name, func(t *testing.T) {
			var log lockedBuffer
			c.Listen, c.Routes = "127.0.0.1:0", []string{first.ClusterAddress()}
			stranger := startServer(t, bus.ServerOptions{Listen: "127.0.0.1:0", Cluster: &c, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			// It says why, and no secret.
			until(t, "it is refused", func() bool { return strings.Contains(log.String(), "bus server") })
			if stranger.Peers() != 0 || first.Peers() != 0 {
				t.Errorf("%d and %d peers", stranger.Peers(), first.Peers())
			}
			if strings.Contains(log.String(), "guess") || strings.Contains(log.String(), "between us") {
				t.Errorf("a secret in the log: %s", log.String())
			}
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestBadAddressesOfAClusterAreNamed(t *testing.T) {
	for want, c := range map[string]bus.ClusterOptions{
		"needs a name":  {Listen: "127.0.0.1:0"},
		"an address":    {Name: "night"},
		"missing port":  {Name: "night", Listen: "127.0.0.1"},
		"want a number": {Name: "night", Listen: "127.0.0.1:x"},
		"for clients":   {Name: "night", Listen: "127.0.0.1:0"},
		`route "other"`: {Name: "night", Listen: "127.0.0.1:0", Routes: []string{"other"}},
	} {
		if s, err := bus.StartServer(bus.ServerOptions{Cluster: &c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
			if err == nil {
				s.Close()
			}
		}
	}
}

// certificates makes an authority and a certificate of 127.0.0.1 by it.
func certificates(t *testing.T) bus.TLSFiles {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "bus"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	above, own := newKey(), newKey()
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, above.Public(), above)
	if err != nil {
		t.Fatal(err)
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, authority, own.Public(), above)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return bus.TLSFiles{
		Certificate: write("certificate.pem", "CERTIFICATE", serverDER), Key: write("key.pem", "PRIVATE KEY", private),
		Authorities: write("authorities.pem", "CERTIFICATE", authorityDER),
	}
}

func TestServersAndClientsSpeakTLSAndCheckEachOther(t *testing.T) {
	files, others := certificates(t), certificates(t)
	peer, err := files.Peer()
	if err != nil {
		t.Fatal(err)
	}
	server, err := files.Server()
	if err != nil {
		t.Fatal(err)
	}
	servers := startCluster(t, 2, bus.ServerOptions{TLS: server}, bus.ClusterOptions{TLS: peer})
	trusting, err := bus.TLSFiles{Authorities: files.Authorities}.Client()
	if err != nil {
		t.Fatal(err)
	}
	sender, r := connect(t, bus.Options{URL: urls(servers[:1]), TLS: trusting}), newSet()
	receiver := connect(t, bus.Options{Server: servers[1]}) // in the process, without a socket
	if err := receiver.Receive(r); err != nil {
		t.Fatal(err)
	}
	flushWhenBack(t, sender)
	reaches(t, sender, r, "over TLS")

	elsewhere, err := bus.TLSFiles{Authorities: others.Authorities}.Client()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]bus.Options{
		"a client that trusts others":     {URL: urls(servers[:1]), TLS: elsewhere},
		"a client that trusts the system": {URL: urls(servers[:1])},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if connect(t, o).Flush(ctx) == nil {
			t.Errorf("%s got in", name)
		}
		cancel()
	}
	foreign, err := others.Peer()
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	stranger := startServer(t, bus.ServerOptions{
		Listen:  "127.0.0.1:0",
		Cluster: &bus.ClusterOptions{Name: "night", Listen: "127.0.0.1:0", Routes: []string{servers[0].ClusterAddress()}, TLS: foreign},
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
	})
	until(t, "it is refused", func() bool { return strings.Contains(log.String(), "TLS") })
	if stranger.Peers() != 0 || servers[0].Peers() != 1 {
		t.Errorf("%d and %d peers", stranger.Peers(), servers[0].Peers())
	}
}

func TestFilesOfTLSThatAreMissingAreNamed(t *testing.T) {
	files := certificates(t)
	for want, open := range map[string]func() error{
		"no certificate": func() error { f := files; f.Authorities = files.Key; _, err := f.Peer(); return err },
		"authorities":    func() error { f := files; f.Authorities = ""; _, err := f.Peer(); return err },
		"nowhere.pem":    func() error { f := files; f.Certificate = "nowhere.pem"; _, err := f.Server(); return err },
		"private key":    func() error { f := files; f.Key = files.Certificate; _, err := f.Client(); return err },
	} {
		if err := open(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
