//go:build unix

package simulator

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// cpuSeconds is the user and system time of this process and of the children
// it has waited for.
func cpuSeconds() float64 {
	sum := 0.0
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			sum += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
		}
	}
	return sum
}

// peakRSS is the most memory this process held, in bytes.
func peakRSS() uint64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return uint64(u.Maxrss)
	}
	return uint64(u.Maxrss) * 1024 // everybody else counts KiB
}
