package simulator

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"strings"
	"testing"

	"tallystream/service"
	"tallystream/service/cloud/mototest"
	"tallystream/simulator/realdata"
)

// onAWS also plays nights on moto that take minutes, because it serves one
// request at a time.
var onAWS = flag.Bool("aws", false, "play South Carolina's night on moto, too")

// playOnAWS plays a night as `rehearse --aws-endpoint` does.
func playOnAWS(t *testing.T, flags electionFlags) *Report {
	t.Helper()
	aws := awsFlags{Stores: service.AWS, Shards: 2, Options: mototest.At(mototest.Endpoint(t))}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	var out bytes.Buffer
	d, err := newDrive(t.Context(), flags, driveFlags{Speed: "max", Viewers: 10, Clients: 32}, &out)
	if err != nil {
		t.Fatal(err)
	}
	data := service.Data{Dir: t.TempDir()}
	if err := d.writeElection(data, "ingest"); err != nil { // the publisher's key is in KMS
		t.Fatal(err)
	}
	where, err := aws.prepare(t.Context(), d.truth.Election().Definition.Election, &out)
	if err != nil {
		t.Fatal(err)
	}
	night, err := StartNight(context.WithoutCancel(t.Context()), NightOptions{
		Data: data, Stores: where, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
	})
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
		t.Errorf("not reconciled: %s", strings.Join(r.Mismatches, "\n"))
	}
	return r
}

func TestACountysNightOnAWSServicesReconciles(t *testing.T) {
	const seed = 4
	t.Logf("seed %d", seed)
	r := playOnAWS(t, electionFlags{Generate: "county", Seed: seed, Revisions: 3, Released: 0.5})
	t.Logf("%d submissions, %d sums equal", r.Submissions.Sent, r.Checked)
}

func TestSouthCarolinaOnAWSServicesReconciles(t *testing.T) {
	if !*onAWS {
		t.Skip("takes minutes on moto: go test ./simulator -run AWS -aws")
	}
	r := playOnAWS(t, electionFlags{Results: []string{realdata.Path(t, "sc-2024-general/results.csv.gz")}, Seed: 1, Revisions: 3, Released: 0.5})
	if r.Checked != 48708 {
		t.Errorf("%d sums compared, want 48,708", r.Checked)
	}
}
