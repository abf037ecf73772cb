package audit_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tallystream/aggregate/ledger"
	"tallystream/publish/audit"
	"tallystream/schemas"
	"tallystream/service"
)

// TestANightOfTheSimulatorHasNoDifferences audits a whole night with
// corrections, holds and late revisions in it, through all stores.
func TestANightOfTheSimulatorHasNoDifferences(t *testing.T) {
	if underRace {
		t.Skip("skipped: a state's night takes minutes with the race detector; the county's nights are played")
	}
	r, err := audit.Run(t.Context(), aNight(t, "state").open(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Found != 0 {
		t.Errorf("%d differences:\n%s", r.Found, told(r))
	}
	t.Logf("%d submissions, %d numbers, %.0f submissions a second", r.Entries, r.Compared, r.PerSecond)
	if r.Entries == 0 || r.Held == 0 || r.Movements == 0 || r.Documents == 0 || r.Files == 0 || r.Compared == 0 || r.Stale != 0 {
		t.Errorf("little was compared: %+v", *r)
	}
}

// TestAnOlderSnapshotIsComparedAtItsOwnCut: the log says which entries it shows.
func TestAnOlderSnapshotIsComparedAtItsOwnCut(t *testing.T) {
	if underRace {
		t.Skip("skipped: a state's night takes minutes with the race detector; the county's nights are played")
	}
	cfg := aNight(t, "state").open(t)
	newest, err := audit.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Final = false
	whole, found := cfg.Bucket, false
	for n := newest.Snapshot - 1; n > 0; n-- {
		old, err := whole.Get(t.Context(), schemas.SnapshotKey(n))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Bucket = repainted{whole, func(key string, b []byte) ([]byte, error) {
			if key == schemas.LatestKey {
				return old, nil
			}
			return b, nil
		}}
		r, err := audit.Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("snapshot %d: %d numbers, log %d", r.Snapshot, r.Compared, r.Log)
		if r.Found != 0 || r.Entries != newest.Entries || r.Snapshot != n {
			t.Errorf("%+v\n%s", r, told(r))
		}
		found = found || r.Log > 10 && r.Log < newest.Log
	}
	if !found {
		t.Error("no snapshot of the night shows a part of it")
	}
}

// TestALogThatLeadsElsewhereIsADifference: an older snapshot's cut is only as
// good as its log.
func TestALogThatLeadsElsewhereIsADifference(t *testing.T) {
	cfg := aNight(t, "county").open(t)
	forge(&cfg, forged{heads: func(h []ledger.Head) { h[0].Size-- }}) // so that the log is read
	whole := cfg.Bucket
	cfg.Bucket = repainted{whole, func(key string, b []byte) ([]byte, error) {
		if strings.HasPrefix(key, "tile/entries/") {
			b[len(b)-1] ^= 1
		}
		return b, nil
	}}
	r, err := audit.Run(t.Context(), cfg)
	if err != nil || !strings.Contains(told(r), "object|the log of snapshot") {
		t.Errorf("%v, %+v", err, r)
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

// TestHiddenUnitsAreNotAuditedLineByLine: what is published is not what the ledger
// has, and the error says what to do instead.
func TestHiddenUnitsAreNotAuditedLineByLine(t *testing.T) {
	cfg := aNight(t, "county").open(t)
	e := *cfg.Election
	e.Remainders = []schemas.Remainder{{ID: "combined-1", Units: []schemas.UnitIndex{0, 1}}}
	cfg.Election = &e
	_, err := audit.Run(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "--unseal") {
		t.Errorf("Run returned %v", err)
	}
}
