package fanout_test

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The account on paper of README.md, so that its arithmetic can be believed and
// changed: `go test ./fanout -run Paper -v` prints it.
const (
	paperPlain    = 576.0            // bytes of a delta
	paperDeflated = 250.0            // the bench's, of that size
	paperHeads    = 4 + 22 + 66.0    // of the frame, of TLS 1.3, of TCP and IP
	paperCPU      = 10e-6            // seconds a delivery
	paperUsed     = 0.6              // of the cores
	paperCores    = 4.0              // of a node
	paperViewers  = 4 * 20_000.0     // of a node: four processes
	paperNode     = 0.20             // dollars an hour
	paperHour     = 3600.0           // seconds
	paperGbit     = 8 / 1e9          // of a byte
	paperKept     = 5 * 1024.0 / 1e9 // GB a viewer, of process and kernel
)

// paperBytes is what the first GB of a month cost that leave a region.
func paperBytes(gb float64) (dollars float64) {
	for _, tier := range []struct{ gb, dollars float64 }{{10e3, 0.09}, {40e3, 0.085}, {100e3, 0.07}, {math.Inf(1), 0.05}} {
		n := min(gb, tier.gb)
		dollars += n * tier.dollars
		gb -= n
	}
	return dollars
}

func paperRow(millions, told float64, size float64, frames string) string {
	deliveries := millions * 1e6 * told
	bytes := deliveries * (size + paperHeads)
	cores := deliveries * paperCPU / paperUsed
	nodes := max(math.Ceil(millions*1e6/paperViewers), math.Ceil(cores/paperCores)) + 1
	return fmt.Sprintf("| %g million | %s | %s | %s | %s | %s | %.1f | %s + %s |", millions, map[float64]string{1: "one a second", 10: "ten a second"}[told], frames,
		commas(bytes*paperGbit, 1), commas(cores, 0), commas(nodes, 0), bytes*paperHour/1e12, commas(paperBytes(bytes*paperHour/1e9), 0), commas(nodes*paperNode, 0))
}

// commas writes a number with so many digits after the point.
func commas(v float64, digits int) string {
	whole, rest, _ := strings.Cut(strconv.FormatFloat(v, 'f', digits, 64), ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		return whole + "." + rest
	}
	return whole
}

func TestTheAccountOnPaperIsWhatTheReadmeSays(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, millions := range []float64{1, 5, 20} {
		for _, told := range []float64{1, 10} {
			for _, frames := range []string{"deflated", "plain"} {
				size := map[string]float64{"deflated": paperDeflated, "plain": paperPlain}[frames]
				row := paperRow(millions, told, size, frames)
				t.Log(row)
				if !strings.Contains(string(readme), row+"\n") {
					t.Errorf("the README does not say %s", row)
				}
			}
		}
	}
	if gb := paperViewers * paperKept; gb > 4 {
		t.Errorf("viewers of a node of 8 GB take %.1f GB", gb)
	}
}
