package service_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tallystream/schemas"
	"tallystream/service"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestReadinessSaysWhichPartCannotWorkAndHealthDoesNotCare(t *testing.T) {
	s := service.NewStatus()
	var broken error
	s.Ready("publish", func() error { return broken })
	s.Ready("ingest", func() error { return nil })
	mux := http.NewServeMux()
	s.Register(mux)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- service.Serve(ctx, l, mux) }()
	base := "http://" + l.Addr().String()
	if code, body := get(t, base+"/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	broken = errors.New("the books do not agree")
	if code, body := get(t, base+"/readyz"); code != 503 || !strings.Contains(body, "publish: the books do not agree") {
		t.Errorf("not ready: %d %q", code, body)
	}
	if code, _ := get(t, base+"/healthz"); code != 200 {
		t.Errorf("health: %d", code)
	}
	if code, body := get(t, base+"/metrics"); code != 200 || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ending: %v", err)
	}
}

func TestADataDirectoryHoldsOneElection(t *testing.T) {
	d := service.Data{Dir: filepath.Join(t.TempDir(), "data")}
	if _, err := d.Open(); err == nil || !strings.Contains(err.Error(), "definition.json") {
		t.Errorf("opening nothing: %v", err)
	}
	if err := d.Create([]byte("one"), []byte("roster")); err != nil {
		t.Fatal(err)
	}
	if err := d.Create([]byte("one"), []byte("roster")); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := d.Create([]byte("another"), []byte("roster")); err == nil {
		t.Error("another election replaced the first")
	}
	if b, err := os.ReadFile(d.DefinitionPath()); err != nil || string(b) != "one" {
		t.Errorf("the definition is now %q, %v", b, err)
	}
}

func TestAKeyIsForItsOwnerOnlyAndOpensAgain(t *testing.T) {
	d := service.Data{Dir: t.TempDir()}
	if err := d.NewKey("ingest", "results.example/test"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(d.KeyPath("ingest"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	signer, verifier, err := d.Signer("ingest")
	if err != nil {
		t.Fatal(err)
	}
	if signer.Name() != "results.example/test/ingest" || !strings.HasPrefix(verifier, signer.Name()+"+") {
		t.Errorf("signer %s, verifier %s", signer.Name(), verifier)
	}
	if _, err := schemas.ParseVerifierKey(verifier); err != nil {
		t.Error(err)
	}
	key, err := os.ReadFile(d.KeyPath("ingest"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(service.KeyVariable("publish"), string(key))
	if _, again, err := d.Signer("publish"); err != nil || again != verifier {
		t.Errorf("a key in a variable: %s, %v", again, err)
	}
	t.Setenv(service.KeyVariable("publish"), "")
	if _, _, err := d.Signer("publish"); err == nil || !strings.Contains(err.Error(), "keys new") {
		t.Errorf("a missing key: %v", err)
	}
}
