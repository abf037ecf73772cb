package simulator

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"tallystream/schemas"
	"tallystream/service"
	"tallystream/simulator/script"
)

// TestANightWithReleasesReconciles plays a county's night in which much is
// held, and two supervisors release most of it.
func TestANightWithReleasesReconciles(t *testing.T) {
	const seed = 11
	var out bytes.Buffer
	d, err := newDrive(t.Context(), electionFlags{Generate: "county", Seed: seed, Revisions: 3}, driveFlags{Speed: "max", Viewers: 3, Clients: 8}, &out)
	if err != nil {
		t.Fatal(err)
	}
	rates := script.Rates{Duplicates: 0.05, Held: 0.4, Released: 0.8}
	if d.script, err = script.New(script.Config{Truth: d.truth, Keys: d.keys, Seed: seed, Revisions: 3, Rates: rates}); err != nil {
		t.Fatal(err)
	}
	data := service.Data{Dir: t.TempDir()}
	if err := d.writeElection(data, "ingest", "publish"); err != nil {
		t.Fatal(err)
	}
	night, err := StartNight(context.WithoutCancel(t.Context()), NightOptions{Data: data, Bucket: t.TempDir(), Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := night.Close(); err != nil {
			t.Error(err)
		}
	}()
	r, err := d.play(t.Context(), night)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !r.Reconciled {
		t.Errorf("seed %d: not reconciled: %s", seed, strings.Join(r.Mismatches, "\n"))
	}
	kinds := map[schemas.EntryKind]int{}
	v, err := night.forPublish.Ledger.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = v.Entries(t.Context(), nil, func(x schemas.Entry, _ []byte) error {
		kinds[x.Kind]++
		return nil
	})
	if err = errors.Join(err, v.Close()); err != nil {
		t.Fatal(err)
	}
	want := d.script.Expected()
	if want.Released == 0 || want.Lapsed == 0 || kinds[schemas.EntryReleased] != want.Released || kinds[schemas.EntryLapsed] != want.Lapsed {
		t.Errorf("seed %d: %d released and %d lapsed, want %d and %d, and some of both", seed,
			kinds[schemas.EntryReleased], kinds[schemas.EntryLapsed], want.Released, want.Lapsed)
	}
}
