package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"tallystream/simulator/viewers"
)

// limit is one bound of the system against what a run wants.
type limit struct {
	name string
	have uint64
	want uint64
	hard bool // below it the run cannot succeed; otherwise it may only be slower
	why  string
}

func (l limit) ok() bool { return l.have >= l.want }

// kernelBytes is about what the kernel holds for both ends of one connection
// on loopback at rest: two sockets, files and epoll entries.
const kernelBytes = 8 << 10

// limitsFor lists the bounds for n connections on this machine, servers and
// viewers included, with so many for a server. read returns the text of a file of /proc; files is the limit
// of open files of a process.
func limitsFor(n, perServer int, files uint64, read func(path string) (string, error)) ([]limit, error) {
	first := func(path string, field int) (uint64, error) {
		text, err := read(path)
		if err != nil {
			return 0, fmt.Errorf("reading limits: %w", err)
		}
		fields := strings.Fields(text)
		if len(fields) <= field {
			return 0, fmt.Errorf("reading limits: %s has %d fields", path, len(fields))
		}
		v, err := strconv.ParseUint(fields[field], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading limits: %s: %w", path, err)
		}
		return v, nil
	}
	connections := uint64(n)
	// Each source's viewers are spread over all servers.
	servers := (n + perServer - 1) / perServer
	crowds := (n + viewers.MaxViewersPerProcess - 1) / viewers.MaxViewersPerProcess
	sources := len(viewers.Sources(nil, crowds))
	out := []limit{{"open files of a process", files, uint64(min(n, max(perServer, viewers.MaxViewersPerProcess))) + 100, true, "ulimit -n: what one process holds"}}
	for _, f := range []struct {
		name, path string
		field      int
		want       uint64
		hard       bool
		why        string
	}{
		{"fs.file-max", "/proc/sys/fs/file-max", 0, 2*connections + 10_000, true, "two sockets a connection"},
		{"fs.epoll.max_user_watches", "/proc/sys/fs/epoll/max_user_watches", 0, 2 * connections, true, "two watches a connection"},
		{"net.core.somaxconn", "/proc/sys/net/core/somaxconn", 0, 1024, false, "handshakes that wait at one server"},
		{"net.ipv4.tcp_mem, pages", "/proc/sys/net/ipv4/tcp_mem", 2, connections / 4, false, "a delta that all have and nobody has read: a quarter page each"},
		{"kernel.pid_max", "/proc/sys/kernel/pid_max", 0, uint64((servers + crowds) * 20), true, "threads of all processes"},
		{"memory available, KiB", "/proc/meminfo", 7, connections * (kernelBytes + 4<<10) / 1024, true, "kernel and both ends, about 12 KiB a connection"},
	} {
		have, err := first(f.path, f.field)
		if err != nil {
			return nil, err
		}
		out = append(out, limit{f.name, have, f.want, f.hard, f.why})
	}
	from, err := first("/proc/sys/net/ipv4/ip_local_port_range", 0)
	if err != nil {
		return nil, err
	}
	to, err := first("/proc/sys/net/ipv4/ip_local_port_range", 1)
	if err != nil {
		return nil, err
	}
	out = append(out, limit{"ports of a source and a server", to - min(from, to), connections/uint64(sources*servers) + 1, true,
		"net.ipv4.ip_local_port_range; each process of viewers connects from addresses of its own"})
	if tracked, err := first("/proc/sys/net/netfilter/nf_conntrack_count", 0); err == nil && tracked > 0 {
		most, err := first("/proc/sys/net/netfilter/nf_conntrack_max", 0)
		if err != nil {
			return nil, err
		}
		out = append(out, limit{"net.netfilter.nf_conntrack_max", most, connections + tracked, true, "connections are tracked here: exempt loopback, or raise it"})
	}
	return out, nil
}

// checkLimits prints this machine's limits, and fails if one forbids n
// connections.
func checkLimits(n, perServer int, force bool) error {
	files, err := openFiles()
	if err != nil {
		return err
	}
	limits, err := limitsFor(n, perServer, files, func(path string) (string, error) {
		b, err := os.ReadFile(path)
		return string(b), err
	})
	if err != nil {
		return err
	}
	if !writeLimits(os.Stderr, limits) && !force {
		return errors.New("this machine cannot: see the limits that are too low (--force tries all the same)")
	}
	return nil
}

// writeLimits prints them, and reports whether the run can succeed.
func writeLimits(w io.Writer, limits []limit) bool {
	can := true
	for _, l := range limits {
		verdict := "ok"
		switch {
		case !l.ok() && l.hard:
			verdict, can = "TOO LOW", false
		case !l.ok():
			verdict = "low"
		}
		fmt.Fprintf(w, "  %-32s %12d  want %12d  %-8s %s\n", l.name, l.have, l.want, verdict, l.why)
	}
	return can
}
