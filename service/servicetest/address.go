package servicetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
)

// FreeAddress is one of the loopback interface that nobody listens on, for a process
// that has to be told its address before it listens, or that comes back to it.
//
// A port of 127.0.0.1 that was let go can be given to anybody's connection a moment
// later, even to one that is made to this very port, and then nobody can listen on it.
// On Linux the whole of 127.0.0.0/8 is this machine, and connections come from its first address.
func FreeAddress(t testing.TB) string {
	t.Helper()
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(256), 1+rand.IntN(254))
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
