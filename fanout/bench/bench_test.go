package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"tallystream/schemas"
	"tallystream/simulator/viewers"
)

// TestMain is also the processes that measurements start.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "server":
		err = serve(context.Background(), os.Stdin, os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == "viewers":
		err = viewers.Work(context.Background(), os.Stdin, os.Stdout)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestDeltasHaveTheirSizeAndLeadOn(t *testing.T) {
	for _, size := range []int{400, 576, 1500, 20_000} {
		p := newPress(size)
		at := p.version
		for range 20 {
			frame := p.next(time.Now())
			d, err := schemas.ParseDelta(frame)
			if err != nil {
				t.Fatalf("%s: %v", frame, err)
			}
			if d.From != at || d.To != at+1 || d.Hash != schemas.DigestOf(append(bytes.Join(d.Lines, nil), '\n')) {
				t.Fatalf("from %d to %d, at %d, hash %s", d.From, d.To, at, d.Hash)
			}
			at = d.To
			if len(frame) > size || len(frame) < size-16 {
				t.Errorf("%d bytes, want %d", len(frame), size)
			}
		}
	}
}

// TestEveryKindBringsEveryDeltaToEveryViewer is the benchmark in small, with its
// processes.
func TestEveryKindBringsEveryDeltaToEveryViewer(t *testing.T) {
	self, err := crowdCommand()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		for _, deflate := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s deflate %v", k.name, deflate), func(t *testing.T) {
				m := measurement{kind: k, deflate: deflate, self: self, sizes: sizes{
					connections: 60, perServer: 25, bytes: 576, processes: 1, paced: 1, saturated: 20, patience: time.Minute,
				}}
				r, err := m.run(t.Context())
				if runtime.GOOS != "linux" && err != nil {
					t.Skip("only on Linux:", err)
				}
				if err != nil {
					t.Fatal(err)
				}
				if r.Paced.Missed+r.Saturated.Missed != 0 || len(r.Saturated.Lost) != 0 || r.Paced.Deliveries != 60 || r.Paced.Latency.Count != 60 {
					t.Errorf("%+v", r)
				}
				if r.Saturated.Deliveries == 0 || r.Saturated.Deliveries > 20*60 || r.ConnectsPerSecond <= 0 {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

func TestTheTableSaysWhatWasNotMeasuredAndWhatWasMissed(t *testing.T) {
	r := report{Machine: "m", Bytes: 576, Skipped: []string{"coder with 10 connections: no"}, Results: []result{
		{Kind: "write(2)", Connections: 10, Saturated: spell{ServerSeconds: 8}},
		{Kind: "epoll", Connections: 10, Saturated: spell{ServerSeconds: 9, Missed: 3}},
		{Kind: "epoll", Connections: 10, Deflate: true, Saturated: spell{ServerSeconds: 7.5, Missed: 4}},
	}}
	var b bytes.Buffer
	if err := show(&b, &r, false); err != nil {
		t.Fatal(err)
	}
	var row []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "epoll") {
			row = strings.Fields(line)
		}
	}
	if len(row) != 14 || row[5] != "9.00" || row[6] != "1.12" || row[7] != "7.50" || row[13] != "7" {
		t.Errorf("%q in\n%s", row, b.String())
	}
	if !strings.Contains(b.String(), "skipped: coder") {
		t.Error("what was skipped is not said")
	}
	b.Reset()
	if err := show(&b, &r, true); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back.Results) != 3 || back.Results[1].Saturated.Missed != 3 {
		t.Errorf("%s: %v", b.String(), err)
	}
}

// machine is /proc of a machine that can.
func machine() map[string]string {
	return map[string]string{
		"/proc/sys/fs/file-max": "2466170\n", "/proc/sys/fs/epoll/max_user_watches": "5491511\n", "/proc/sys/net/core/somaxconn": "4096\n",
		"/proc/sys/net/ipv4/tcp_mem": "287898\t383867\t575796\n", "/proc/sys/kernel/pid_max": "32768\n",
		"/proc/meminfo":                              "MemTotal: 24684084 kB\nMemFree: 24190736 kB\nMemAvailable: 24241176 kB\n",
		"/proc/sys/net/ipv4/ip_local_port_range":     "32768\t60999\n",
		"/proc/sys/net/netfilter/nf_conntrack_count": "0\n",
		"/proc/sys/net/netfilter/nf_conntrack_max":   "262144\n",
	}
}

func TestTheLimitThatForbidsAMillionIsNamed(t *testing.T) {
	for _, c := range []struct {
		name, path, text string
		files            uint64
		can              bool
		says             string
	}{
		{"this machine", "", "", 20_000, true, ""},
		{"no conntrack", "/proc/sys/net/netfilter/nf_conntrack_count", "-", 20_000, true, ""},
		{"conntrack", "/proc/sys/net/netfilter/nf_conntrack_count", "12", 20_000, false, "nf_conntrack_max"},
		{"few files", "", "", 1024, false, "ulimit -n"},
		{"few files in all", "/proc/sys/fs/file-max", "1000000", 20_000, false, "fs.file-max"},
		{"few ports", "/proc/sys/net/ipv4/ip_local_port_range", "32768 32800", 20_000, false, "ip_local_port_range"},
		{"little memory", "/proc/meminfo", "MemTotal: 9 kB\nMemFree: 9 kB\nMemAvailable: 8000000 kB\n", 20_000, false, "memory available"},
		{"a short queue", "/proc/sys/net/core/somaxconn", "128", 20_000, true, "low"},
	} {
		t.Run(c.name, func(t *testing.T) {
			proc := machine()
			if c.path != "" {
				proc[c.path] = c.text
			}
			limits, err := limitsFor(1_000_000, 19_000, c.files, func(path string) (string, error) {
				text, ok := proc[path]
				if !ok || text == "-" {
					return "", errors.New("no such file " + path)
				}
				return text, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if can := writeLimits(&b, limits); can != c.can || !strings.Contains(b.String(), c.says) {
				t.Errorf("can %v:\n%s", can, b.String())
			}
			if c.can != !strings.Contains(b.String(), "TOO LOW") {
				t.Errorf("%s", b.String())
			}
		})
	}
}
