package audit_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/publish/audit"
	"tallystream/schemas"
	"tallystream/service"
)

// TestANightOfTheSimulatorHasNoDifferences audits a whole night with
// corrections, holds and late revisions in it, through all stores.
func TestANightOfTheSimulatorHasNoDifferences(t *testing.T) {
	r, err := audit.Run(t.Context(), aNight(t, "state").open(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Found != 0 {
		t.Errorf("%d differences:\n%s", r.Found, told(r))
	}
	t.Logf("%d submissions, %d numbers, %.0f submissions a second", r.Entries, r.Compared, r.PerSecond)
	if r.Entries == 0 || r.Held == 0 || r.Documents == 0 || r.Files == 0 || r.Compared == 0 || r.Stale != 0 {
		t.Errorf("little was compared: %+v", *r)
	}
}

// TestAnAuditWaitsForTheSnapshotThatShowsAll: a snapshot says how many entries
// it shows, not which, so both must show all.
func TestAnAuditWaitsForTheSnapshotThatShowsAll(t *testing.T) {
	cfg := aNight(t, "county").open(t)
	old, err := cfg.Bucket.Get(t.Context(), schemas.SnapshotKey(1))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(0, 0)
	cfg.Now = func() time.Time { return now }
	cfg.Sleep = func(_ context.Context, d time.Duration) error { now = now.Add(d); return nil }
	whole := cfg.Bucket
	cfg.Bucket, cfg.Wait = &slowPublisher{whole, old, 3}, time.Minute
	r, err := audit.Run(t.Context(), cfg)
	if err != nil || r.Found != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	cfg.Bucket = &slowPublisher{whole, old, 1000}
	_, err = audit.Run(t.Context(), cfg)
	if quiet := (*audit.NotQuietError)(nil); !errors.As(err, &quiet) || quiet.Waited != time.Minute {
		t.Errorf("it went on with %v", err)
	}
}

// TestALedgerBehindItsPublicationIsADifference: a restored table must not pass.
func TestALedgerBehindItsPublicationIsADifference(t *testing.T) {
	cfg := aNight(t, "county").open(t)
	forge(&cfg, forged{heads: func(h []ledger.Head) { h[0].Size-- }})
	r, err := audit.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told(r), "snapshot|snapshot ") || !strings.Contains(told(r), "the ledger has only") {
		t.Errorf("said: %s", told(r))
	}
}

// TestALedgerThatMovesOnIsFollowed: tallies may be of entries behind the view.
func TestALedgerThatMovesOnIsFollowed(t *testing.T) {
	cfg := aNight(t, "county").open(t)
	cfg.Bucket = nil
	views := 0
	l := &forged{Ledger: cfg.Ledger, heads: func(h []ledger.Head) {
		if views++; views == 1 {
			h[0].Size -= 10 // as if the last ten came while we counted
		}
	}}
	cfg.Ledger = l
	r, err := audit.Run(t.Context(), cfg)
	if err != nil || r.Found != 0 {
		t.Fatalf("%v, %s", err, told(r))
	}
}

// TestANightThatIsNotThereIsNotMade: opening embedded stores would make one.
func TestANightThatIsNotThereIsNotMade(t *testing.T) {
	n := aNight(t, "county")
	dir := t.TempDir()
	for _, name := range []string{"definition.json", "roster.json"} {
		b, err := os.ReadFile(filepath.Join(n.data.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := audit.Command{Options: service.Options{Data: dir}, Bucket: n.bucket}
	err := c.Run(t.Context(), slog.New(slog.DiscardHandler))
	if coded := (interface{ ExitCode() int })(nil); !errors.As(err, &coded) || coded.ExitCode() != 2 {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("it made %v", left)
	}
}
