package servicetest_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tallystream/service/servicetest"
)

// A gate lets through what it was opened for, and then the rest.
func TestAGateIsOpenForSoMany(t *testing.T) {
	var passed atomic.Int64
	ingest := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != "note" {
			t.Errorf("%q came, %v", b, err)
		}
		passed.Add(1)
	}))
	defer ingest.Close()
	g := servicetest.StartGate(t, ingest.URL, 0)
	answers := make(chan error, 8)
	for range cap(answers) {
		go func() {
			res, err := http.Post(g.URL, "text/plain", strings.NewReader("note"))
			if err == nil {
				err = res.Body.Close()
			}
			answers <- err
		}()
	}
	wait := func(n int) {
		t.Helper()
		for range n {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	}
	g.Open(3)
	wait(3)
	if n := passed.Load(); n != 3 {
		t.Errorf("%d passed, want 3", n)
	}
	g.OpenWide()
	wait(5)
	if n, lost := passed.Load(), g.Lost(); n != 8 || lost != 0 {
		t.Errorf("%d passed and %d were lost, want 8 and none", n, lost)
	}
}

// What ingest does not answer is to be sent again, and takes nobody's place.
func TestWhatIsNotAnsweredMayPassAgain(t *testing.T) {
	at := servicetest.FreeAddress(t)
	g := servicetest.StartGate(t, "http://"+at, 0)
	g.Open(1)
	for range 2 {
		res, err := http.Post(g.URL, "text/plain", strings.NewReader("note"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("status %d, want 503", res.StatusCode)
		}
	}
	if g.Lost() != 2 {
		t.Errorf("%d lost, want 2", g.Lost())
	}
}

func TestTheImpatientPassAShutGate(t *testing.T) {
	ingest := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer ingest.Close()
	g := servicetest.StartGate(t, ingest.URL, time.Millisecond)
	res, err := http.Post(g.URL, "text/plain", strings.NewReader("note"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestAFreeAddressIsNobodyElses(t *testing.T) {
	at := servicetest.FreeAddress(t)
	if other := servicetest.FreeAddress(t); other == at {
		t.Errorf("%s was given twice", at)
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
