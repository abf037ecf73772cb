//go:build !unix

package simulator

// cpuSeconds and peakRSS are not known on this system; the report says 0.
func cpuSeconds() float64 { return 0 }

func peakRSS() uint64 { return 0 }
