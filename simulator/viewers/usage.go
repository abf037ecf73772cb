package viewers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what processes have used up.
type Usage struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	Resident   uint64  `json:"resident_bytes"`
}

func (u Usage) plus(o Usage) Usage {
	return Usage{u.CPUSeconds + o.CPUSeconds, u.Resident + o.Resident}
}

// clockTicks is the unit of times in /proc, which Linux fixes for programs
// (USER_HZ).
const clockTicks = 100

// ProcessUsage reads what a process of this machine has used, from /proc: CPU of
// it alone, without children.
func ProcessUsage(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("reading what a process used: %w", err)
	}
	return usageOf(string(stat), os.Getpagesize())
}

// usageOf reads /proc/PID/stat, proc_pid_stat(5): fields 14 and 15 are the CPU
// times, 24 the resident pages. The name in field 2 may hold anything.
func usageOf(stat string, page int) (Usage, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return Usage{}, fmt.Errorf("reading what a process used: %d fields, want 22", len(fields))
	}
	var n [3]uint64
	for i, f := range []int{14, 15, 24} {
		var err error
		if n[i], err = strconv.ParseUint(fields[f-3], 10, 64); err != nil {
			return Usage{}, fmt.Errorf("reading what a process used: field %d: %w", f, err)
		}
	}
	return Usage{CPUSeconds: float64(n[0]+n[1]) / clockTicks, Resident: n[2] * uint64(page)}, nil
}

// ProcessesUsage is the sum over several processes.
func ProcessesUsage(pids ...int) (Usage, error) {
	var out Usage
	for _, pid := range pids {
		u, err := ProcessUsage(pid)
		if err != nil {
			return out, err
		}
		out = out.plus(u)
	}
	return out, nil
}

// Usage is what the crew's processes have used, and this one.
func (c *Crew) Usage() (Usage, error) {
	return ProcessesUsage(append(c.Processes(), os.Getpid())...)
}

const (
	scrapeTimeout = 5 * time.Second
	maxScrape     = 8 << 20
)

// scrapeUsage reads a server's own account from its metrics page.
func scrapeUsage(ctx context.Context, client *http.Client, url string) (Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Usage{}, fmt.Errorf("reading the server's metrics: %w", err)
	}
	res, err := client.Do(r)
	if err != nil {
		return Usage{}, fmt.Errorf("reading the server's metrics: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Usage{}, fmt.Errorf("reading the server's metrics: %s", res.Status)
	}
	return readMetrics(io.LimitReader(res.Body, maxScrape))
}

var errNoUsage = errors.New("metrics have no process_cpu_seconds_total and process_resident_memory_bytes")

// readMetrics finds the two numbers in the Prometheus text format.
func readMetrics(page io.Reader) (Usage, error) {
	found := map[string]float64{}
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || name != "process_cpu_seconds_total" && name != "process_resident_memory_bytes" {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || n < 0 {
			return Usage{}, fmt.Errorf("reading the server's metrics: %s is %.40q", name, value)
		}
		found[name] = n
	}
	if err := lines.Err(); err != nil {
		return Usage{}, fmt.Errorf("reading the server's metrics: %w", err)
	}
	if len(found) != 2 {
		return Usage{}, fmt.Errorf("reading the server's metrics: %w", errNoUsage)
	}
	return Usage{found["process_cpu_seconds_total"], uint64(found["process_resident_memory_bytes"])}, nil
}
