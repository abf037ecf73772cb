package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// openFiles is the limit of open files of a process.
func openFiles() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	return l.Max, nil // Go raises it to this at the start
}

// available is the machine's memory that programs may have, in bytes.
func available() (uint64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("reading the memory: %w", err)
	}
	_, rest, _ := strings.Cut(string(b), "MemAvailable:")
	var kib uint64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("reading the memory: %w", err)
	}
	return kib << 10, nil
}

// private is the memory that processes hold for themselves, in bytes: resident,
// without the pages of files that they share.
func private(pids []int) (uint64, error) {
	sum := uint64(0)
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, fmt.Errorf("reading the memory: %w", err)
		}
		var size, resident, shared uint64 // proc_pid_statm(5)
		if _, err := fmt.Sscan(string(b), &size, &resident, &shared); err != nil {
			return 0, fmt.Errorf("reading the memory: %w", err)
		}
		sum += (resident - min(resident, shared)) * uint64(os.Getpagesize())
	}
	return sum, nil
}
