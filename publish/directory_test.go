package publish_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"tallystream/publish"
	"tallystream/publish/bucket"
	"tallystream/schemas"
	"tallystream/service/register"
)

// TestADirectoryHoldsTheWholeNight runs against the real adapter and clock.
func TestADirectoryHoldsTheWholeNight(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // an emulator that other tests share may run
	e := openElection(t, smallElection())
	b, out := newBooks(t, e), t.TempDir()
	directory, err := bucket.OpenDirectory(out)
	if err != nil {
		t.Fatal(err)
	}
	control, err := register.OpenSQLite(filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	cfg := b.config(struct {
		publish.Bucket
		publish.Register
	}{directory, control}, newViewer(t, newBucket(t)), nil)
	cfg.Announcer = silent{}
	s, err := publish.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.count("oak.1", 1, oak1)
	if err := s.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	latest, err := os.ReadFile(filepath.Join(out, "latest"))
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := schemas.OpenSnapshot(latest, e.verifier)
	if err != nil {
		t.Fatal(err)
	}
	if snapshot.Entries() != 1 {
		t.Errorf("latest is %+v", snapshot)
	}
	for _, pattern := range []string{"csv/*/oak.csv", "csv/*/results.csv", "county/oak.html", "index.html", "definition.json", "config.json"} {
		if found, err := filepath.Glob(filepath.Join(out, pattern)); err != nil || len(found) != 1 {
			t.Errorf("%s: found %v, %v", pattern, found, err)
		}
	}
}

type silent struct{}

func (silent) Delta(context.Context, schemas.DocumentID, []byte) error { return nil }
func (silent) Published(context.Context, schemas.Published) error      { return nil }
