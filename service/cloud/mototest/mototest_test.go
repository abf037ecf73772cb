package mototest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
)

// raw is one moto without our corrections, for the whole test process.
var raw = sync.OnceValues(func() (*mototest.Server, error) {
	return mototest.Launch(context.Background(), mototest.Options{Raw: true})
})

func rawClients(t *testing.T) *cloud.Clients {
	t.Helper()
	mototest.Endpoint(t) // skips where there is none
	s, err := raw()
	if err != nil {
		t.Fatal(err)
	}
	c, err := cloud.Open(t.Context(), mototest.At(s.Endpoint), cloud.WithKeys("test", "test"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// claim is what AWS does. It returns an error if these clients' endpoint does
// something else.
type claim func(ctx context.Context, c *cloud.Clients, n cloud.Names) error

// corrected are the claims that moto breaks without our corrections.
var corrected = map[string]claim{
	"a split moves nothing and closes the parent":   splitMovesNothing,
	"a merge moves nothing and closes both parents": mergeMovesNothing,
	"the last hash key of a shard belongs to it":    lastHashKeyBelongs,
	"a transaction's token makes it happen once":    tokenHappensOnce,
	"a token is for one transaction only":           tokenIsForOne,
	"a transaction says what it cost":               transactionCosts,
	"a transaction has at most 4 MB":                transactionHasALimit,
	"an Ed25519 key signs":                          edwardsSigns,
}

// kept are the claims that moto keeps by itself.
var kept = map[string]claim{
	"a cancelled transaction leaves nothing":       cancelledLeavesNothing,
	"a query goes on beyond 1 MB, in order":        queryGoesOn,
	"one of 30 racers gets a key of the bucket":    oneRacerPuts,
	"an object is replaced only if it is that one": replacedIfMatch,
	"one of 30 racers gets a conditional item":     oneRacerUpdates,
}

func TestMotoDoesWhatAWSDoes(t *testing.T) {
	t.Parallel()
	for name, holds := range corrected {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := holds(t.Context(), mototest.Start(t), mototest.Names(t, "claims")); err != nil {
				t.Error(err)
			}
		})
	}
	for name, holds := range kept {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := holds(t.Context(), mototest.Start(t), mototest.Names(t, "claims")); err != nil {
				t.Error(err)
			}
		})
	}
}

// A correction that moto no longer needs must go.
func TestEachCorrectionIsStillNeeded(t *testing.T) {
	t.Parallel()
	for name, holds := range corrected {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := holds(t.Context(), rawClients(t), mototest.Names(t, "claims"))
			if err == nil {
				t.Error("moto does this by itself now")
			}
			t.Log(err)
		})
	}
}

func TestManyWritersAtATimeLoseNoRecord(t *testing.T) {
	t.Parallel()
	if err := writersLoseNothing(t.Context(), mototest.Start(t), mototest.Names(t, "writers")); err != nil {
		t.Error(err)
	}
}

func TestNoTwoTestsShareAName(t *testing.T) {
	if a, b := mototest.Names(t, "x"), mototest.Names(t, "x"); a == b || a.Bucket == b.Bucket {
		t.Errorf("%+v twice", a)
	}
}

func TestAWrongMotoIsNamed(t *testing.T) {
	t.Setenv(mototest.Variable, "")
	t.Setenv("PATH", t.TempDir())
	if _, err := mototest.Launch(t.Context(), mototest.Options{}); !errors.Is(err, mototest.ErrMissing) {
		t.Errorf("none: %v", err)
	}
	path := t.TempDir() + "/moto_server"
	if err := os.WriteFile(path, []byte("MZ"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := mototest.Launch(t.Context(), mototest.Options{Moto: path}); err == nil || !strings.Contains(err.Error(), "want moto_server") {
		t.Errorf("no script: %v", err)
	}
}

func TestThePinnedVersionIsTheOneThatIsInstalled(t *testing.T) {
	list, err := os.ReadFile("../../../.ci/moto-requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("pinned.py")
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(string(list), "\nmoto==")
	version, _, _ = strings.Cut(version, "\n")
	if version == "" || !strings.Contains(string(program), fmt.Sprintf("PINNED = %q\n", version)) {
		t.Errorf("moto-requirements.txt has moto %q, pinned.py another", version)
	}
}

func answers(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// childVariable has the test binary start moto, print its endpoint, and wait to be killed.
const childVariable = "TALLYSTREAM_MOTOTEST_CHILD"

func TestMotoEndsWithAProcessThatIsKilled(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		s, err := mototest.Launch(t.Context(), mototest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("endpoint", s.Endpoint)
		select {}
	}
	mototest.Endpoint(t)
	child := exec.Command(os.Args[0], "-test.run=^TestMotoEndsWithAProcessThatIsKilled$")
	child.Env = append(os.Environ(), childVariable+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	endpoint := ""
	for lines := bufio.NewScanner(out); endpoint == "" && lines.Scan(); {
		endpoint, _ = strings.CutPrefix(lines.Text(), "endpoint ")
	}
	if !answers(endpoint) {
		t.Errorf("%q does not answer", endpoint)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); answers(endpoint); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("moto lives on")
		}
	}
}

func TestCloseEndsMoto(t *testing.T) {
	mototest.Endpoint(t)
	s, err := mototest.Launch(t.Context(), mototest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil || answers(s.Endpoint) {
		t.Errorf("it answers after Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}
