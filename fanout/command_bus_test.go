package fanout

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/service/servicetest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// parsed is the command as the command line has it.
func parsed(t *testing.T, args ...string) *Command {
	t.Helper()
	var c Command
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestTheFlagsOfTheBusMakeNodesACluster(t *testing.T) {
	start := func(args ...string) (peers func() float64) {
		t.Helper()
		registry := prometheus.NewRegistry()
		c := parsed(t, append(args, "--bus-listen=127.0.0.1:0", "--bus-cluster=night", "--bus-token=token", "--bus-cluster-secret=between us")...)
		b, end, err := c.connect("small-2026", registry, quiet)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := end(); err != nil {
				t.Error(err)
			}
		})
		if err := b.Hint("stream"); err != nil {
			t.Error(err)
		}
		return func() float64 {
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				if f.GetName() == "tallystream_bus_peers" {
					return f.GetMetric()[0].GetGauge().GetValue()
				}
			}
			return -1
		}
	}
	first, second := servicetest.FreeAddress(t), servicetest.FreeAddress(t)
	routes := []string{"--bus-route=" + first, "--bus-route=" + second} // the same on every node
	a := start(append(routes, "--bus-cluster-listen="+first)...)
	b := start(append(routes, "--bus-cluster-listen="+second)...)
	for deadline := time.Now().Add(time.Minute); a() != 1 || b() != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v and %v peers", a(), b())
		}
	}
}

func TestFlagsOfTheBusThatDoNotFitAreRefused(t *testing.T) {
	for want, args := range map[string][]string{
		"leave --bus out":        {"--bus=nats://127.0.0.1:1", "--bus-cluster=night"},
		"--bus-route needs":      {"--bus-listen=127.0.0.1:0", "--bus-route=127.0.0.1:1"},
		"certificate of the bus": {"--bus-listen=127.0.0.1:0", "--bus-tls-cert=nowhere.pem"},
		"authorities of the bus": {"--bus=nats://127.0.0.1:1", "--bus-tls-ca=nowhere.pem"},
		"want host:port":         {"--bus-listen=127.0.0.1:0", "--bus-cluster=night", "--bus-cluster-listen=127.0.0.1:0", "--bus-route=other"},
	} {
		b, end, err := parsed(t, args...).connect("small-2026", prometheus.NewRegistry(), quiet)
		if err == nil {
			t.Errorf("%v were taken", args)
			_ = b.Close()
			_ = end()
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

func TestThePublicHearsOnceASecondUnlessTheOperatorSaysOtherwise(t *testing.T) {
	if got := parsed(t).MinInterval; got != DefaultMinInterval {
		t.Errorf("the default is %s", got)
	}
	if got := parsed(t, "--min-interval=0s").MinInterval; got != 0 {
		t.Errorf("0s is %s", got)
	}
}

func TestAFileOfMediaKeysThatCannotBeReadIsNamedAtTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "media-keys")
	for want, text := range map[string]string{"media keys: line 1: want a name": "ap", "no such file": ""} {
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if _, err := New(Config{ReadMediaKeys: MediaKeysFile(path)}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
