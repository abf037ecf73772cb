package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"tallystream/fanout/bus"
	"tallystream/service"
)

// TestEveryCommandParsesAndHelps builds the whole command line, as main does.
func TestEveryCommandParsesAndHelps(t *testing.T) {
	for _, args := range []string{
		"rehearse", "rehearse --generate us --revisions 1 --speed max --exit", "rehearse --results a.csv --results b,c.csv.gz", "rehearse --results a.csv b.csv --exit",
		"simulate --prepare", "ingest --data d --listen 127.0.0.1:1", "aggregate", "publish --export-every 5s", "fanout", "watch president --json",
		"keys new official --out k", "keys show k", "version", "submit body.json --key k --url http://127.0.0.1:1",
		"viewers ws://127.0.0.1:8080 -n 10 --storm-at 5s --json", "setup --check --aws-endpoint http://127.0.0.1:1", "setup --plan",
		"rehearse --aws-endpoint http://127.0.0.1:1 --generate county", "ingest --stores aws --aws-region us-east-1", "aggregate --stores aws", "publish --stores aws", "fanout --stores aws",
		"convert definition.json", "audit --bucket public", "verify public --json", "capacity --units 2500 --contests 30", "simulate-faults --seeds 10", "keys media herald",
		"replay . --speed 3600 --twins 10 --copies",
	} {
		var cli commands
		parser, err := kong.New(&cli, options()...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(strings.Fields(args)); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestACommaInAFileNameIsPartOfIt: --results may be repeated, not split.
func TestACommaInAFileNameIsPartOfIt(t *testing.T) {
	var cli commands
	parser, err := kong.New(&cli, options()...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"rehearse", "--results", "a,b.csv", "--results", "c.csv"}); err != nil {
		t.Fatal(err)
	}
	if got := cli.Rehearse.Results; len(got) != 2 || got[0] != "a,b.csv" {
		t.Errorf("%q", got)
	}
}

// TestEveryServiceReachesABusWithTLS: with the authority of its certificate, as a
// container is given it and as a file, and not with another's.
func TestEveryServiceReachesABusWithTLS(t *testing.T) {
	own, other := httptest.NewTLSServer(nil), certificateOf(t)
	defer own.Close() // only its certificate, of 127.0.0.1, is used
	pair := own.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	files := bus.TLSFiles{Certificate: write("certificate.pem", "CERTIFICATE", pair.Certificate[0]), Key: write("key.pem", "PRIVATE KEY", private)}
	config, err := files.Server()
	if err != nil {
		t.Fatal(err)
	}
	server, err := bus.StartServer(bus.ServerOptions{Listen: "127.0.0.1:0", Token: "secret", TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	text, err := os.ReadFile(files.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(strings.Replace(server.URL(), "nats://", "tls://", 1), "tls://", "tls://secret@", 1)
	for name, c := range map[string]struct {
		authorities string
		good        bool
	}{
		"the text": {string(text), true}, "a file of it": {files.Certificate, true}, "another's": {other, false}, "the system's": {"", false},
	} {
		for service, at := range addresses(t, url, c.authorities) {
			b, err := reach(at, "small-2026")
			if err != nil {
				t.Fatalf("%s, %s: %v", service, name, err)
			}
			reached := false
			for deadline := time.Now().Add(map[bool]time.Duration{true: 10 * time.Second, false: 200 * time.Millisecond}[c.good]); !reached && time.Now().Before(deadline); {
				reached = b.Ready() == nil
				runtime.Gosched()
			}
			if reached != c.good {
				t.Errorf("%s with %s: reached %v, %v", service, name, reached, b.Ready())
			}
			if err := b.Close(); err != nil && c.good {
				t.Error(err)
			}
		}
	}
	if _, err := reach(service.BusAddress{URL: url, Authorities: "nowhere.pem"}, "small-2026"); err == nil || !strings.Contains(err.Error(), "--bus-tls-ca") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// addresses are where the services find the bus, by their environment.
func addresses(t *testing.T, url, authorities string) map[string]service.BusAddress {
	t.Helper()
	t.Setenv("TALLYSTREAM_BUS", url)
	t.Setenv("TALLYSTREAM_BUS_TLS_CA", authorities)
	var cli commands
	parser, err := kong.New(&cli, options()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"ingest", "aggregate", "publish"} {
		if _, err := parser.Parse([]string{command}); err != nil {
			t.Fatal(err)
		}
	}
	if cli.Fanout.BusOptions.TLSCA != authorities {
		t.Errorf("fanout is told %q", cli.Fanout.BusOptions.TLSCA)
	}
	return map[string]service.BusAddress{"ingest": cli.Ingest.BusAt(), "aggregate": cli.Aggregate.BusAt(), "publish": cli.Publish.Service.BusAt()}
}

// certificateOf is some other authority's certificate.
func certificateOf(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
