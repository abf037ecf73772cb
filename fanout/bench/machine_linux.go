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
