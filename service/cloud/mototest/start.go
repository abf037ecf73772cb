package mototest

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"tallystream/schemas"
	"tallystream/service/cloud"
)

// shared is the one server of this test process. It ends with the process.
var shared = sync.OnceValues(func() (*Server, error) { return Launch(context.Background(), Options{}) })

// Endpoint is that of the test process's moto. The test is skipped where there
// is none; a moto that does not start fails it.
func Endpoint(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if errors.Is(err, ErrMissing) || errors.Is(err, ErrVersion) && os.Getenv(Variable) == "" {
		t.Skip(err) // nobody said that it should be there
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.Endpoint
}

// Start returns clients of the test process's moto.
func Start(t testing.TB, options ...cloud.Option) *cloud.Clients {
	t.Helper()
	c, err := cloud.Open(t.Context(), At(Endpoint(t)), append([]cloud.Option{cloud.WithKeys("test", "test")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// At are the options of an endpoint of moto.
func At(endpoint string) cloud.Options {
	return cloud.Options{Endpoint: endpoint, Region: cloud.EmulatorRegion, Prefix: "tallystream"}
}

// Names are names that no other test has, for the election.
func Names(t testing.TB, election schemas.ElectionID) cloud.Names {
	t.Helper()
	prefix := "t" + strings.ToLower(rand.Text()[:12])
	n, err := cloud.NamesOf(prefix, election, cloud.Site{Account: "123456789012", Region: cloud.EmulatorRegion}, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}
