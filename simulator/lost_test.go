package simulator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tallystream/ingest"
	"tallystream/publish/verify"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
)

// journal is a log that a test reads while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// kept is a night on moto that was played and ended: what was acknowledged lies
// in stream, tables and bucket.
type kept struct {
	drive   *drive
	data    service.Data
	where   service.Options
	names   cloud.Names
	clients *cloud.Clients
	report  *Report
}

// keep plays a county's night, on services of its own.
func keep(t *testing.T) *kept {
	t.Helper()
	k := &kept{data: service.Data{Dir: t.TempDir()}, clients: mototest.Start(t)}
	where := awsFlags{Stores: service.AWS, Shards: 2, Options: mototest.At(mototest.Endpoint(t))}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	var out bytes.Buffer
	var err error
	if k.drive, err = newDrive(t.Context(), electionFlags{Generate: "county", Seed: 4, Revisions: 1}, driveFlags{Speed: "max", Viewers: 1, Clients: 32}, &out); err != nil {
		t.Fatal(err)
	}
	if err := k.drive.writeElection(k.data, "ingest"); err != nil {
		t.Fatal(err)
	}
	election := k.drive.truth.Election().Definition.Election
	if k.where, err = where.prepare(t.Context(), election, &out); err != nil {
		t.Fatal(err)
	}
	if k.names, err = k.clients.Names(t.Context(), k.where.Cloud, election); err != nil {
		t.Fatal(err)
	}
	night := k.start(t, slog.New(slog.DiscardHandler))
	if k.report, err = k.drive.play(t.Context(), night); err != nil || !k.report.Reconciled {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if err := night.Close(); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kept) start(t *testing.T, log *slog.Logger) *Night {
	t.Helper()
	night, err := StartNight(context.WithoutCancel(t.Context()), NightOptions{Data: k.data, Stores: k.where, Listen: "127.0.0.1:0", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return night
}

// setup makes again what is missing, as `tallystream setup` does.
func (k *kept) setup(t *testing.T) {
	t.Helper()
	setup := cloud.Setup{Clients: k.clients, Plan: k.names.Plan(cloud.Size{Shards: 2}, k.clients.Region), Progress: func(string) {}}
	if _, err := setup.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// await waits for what has to come, and says what did.
func (j *journal) await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !reached(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v\n%s", what, patience, j.String())
		}
	}
}

// says reports whether a service said in one line what it was doing, which
// resource does not exist, and what to do.
func (j *journal) says(doing, resource string) bool {
	return j.hasLine(doing, "it does not exist", resource, "tallystream setup")
}

// hasLine reports whether one line has all of these words.
func (j *journal) hasLine(words ...string) bool {
	for line := range strings.SplitSeq(j.String(), "\n") {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

// dropTable deletes a table, which has to be allowed first.
func (k *kept) dropTable(t *testing.T, name string) {
	t.Helper()
	if _, err := k.clients.DynamoDB.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{TableName: &name, DeletionProtectionEnabled: aws.Bool(false)}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.clients.DynamoDB.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
		t.Fatal(err)
	}
}

// dropBucket deletes every version of every object, and the bucket; again if
// something was put meanwhile.
func (k *kept) dropBucket(t *testing.T) {
	t.Helper()
	var err error
	for range 20 {
		for pages := s3.NewListObjectVersionsPaginator(k.clients.S3, &s3.ListObjectVersionsInput{Bucket: &k.names.Bucket}); pages.HasMorePages(); {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range page.Versions {
				if _, err := k.clients.S3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &k.names.Bucket, Key: v.Key, VersionId: v.VersionId}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err = k.clients.S3.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: &k.names.Bucket}); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// ledgerOf is every entry with its exact bytes, in order: what was acknowledged
// and what became of it. "" while it cannot be read whole.
func ledgerOf(t *testing.T, n *Night) (text string, records [][]byte) {
	t.Helper()
	v, err := n.forPublish.Ledger.View(t.Context())
	if err != nil {
		return "", nil
	}
	defer v.Close()
	var b strings.Builder
	err = v.Entries(t.Context(), nil, func(x schemas.Entry, record []byte) error {
		records = append(records, bytes.Clone(record))
		_, err := fmt.Fprintf(&b, "%+v %x\n", x, record)
		return err
	})
	if err != nil {
		return "", nil
	}
	return b.String(), records
}

// latest is the newest snapshot of the bucket.
func latest(t *testing.T, n *Night) *schemas.Snapshot {
	t.Helper()
	note, err := n.Objects().Get(t.Context(), schemas.LatestKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schemas.OpenSnapshot(note, n.Snapshots())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// submit sends a record, and returns status and answer.
func submit(t *testing.T, n *Night, record []byte) (status int, answer string) {
	t.Helper()
	r, err := http.Post(n.IngestURL()+"/v1/submissions", ingest.MediaType, bytes.NewReader(record))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// patience is how long a test waits for what has to come, on however busy a
// machine.
const patience = 2 * time.Minute

// finish has the publisher bring everything out.
func finish(t *testing.T, n *Night, all uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.Finish(ctx, all); err != nil {
		t.Fatal(err)
	}
}

// wantStuck holds that the publisher does not bring anything out for a while.
func wantStuck(t *testing.T, n *Night, all uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := n.Finish(ctx, all); err == nil {
		t.Error("a snapshot was published without what it needs")
	}
}

// TestDeletedTablesAndStreamsAreNamedAndNothingAcknowledgedIsLost: one after the
// other, beneath running services.
func TestDeletedTablesAndStreamsAreNamedAndNothingAcknowledgedIsLost(t *testing.T) {
	k := keep(t)
	var j journal
	log := slog.New(slog.NewTextHandler(&j, nil))
	night := k.start(t, log)
	want, records := ledgerOf(t, night)
	all := uint64(len(records))
	if all == 0 {
		t.Fatal("the night left an empty ledger")
	}
	finish(t, night, all)
	before := latest(t, night)

	t.Run("the ledger is folded anew from the stream, and the numbers stay", func(t *testing.T) {
		k.dropTable(t, k.names.Ledger)
		j.await(t, "aggregate says so", func() bool { return j.says("looking after shards failed", "table "+k.names.Ledger) })
		j.await(t, "publish says so", func() bool { return j.says("reading the ledger failed", "table "+k.names.Ledger) })
		if status, answer := submit(t, night, records[0]); status != http.StatusOK {
			t.Errorf("what comes in meanwhile is answered %d %s, want a receipt: the stream has it", status, answer)
		}
		k.setup(t)
		j.await(t, "the ledger is folded anew", func() bool { got, _ := ledgerOf(t, night); return got == want })
		finish(t, night, all)
		after := latest(t, night)
		if after.Number <= before.Number || after.Accepted != before.Accepted || after.Held != before.Held {
			t.Errorf("snapshot %d has %d accepted and %d held, snapshot %d before had %d and %d", after.Number, after.Accepted, after.Held, before.Number, before.Accepted, before.Held)
		}
		k.verified(t, night, after.Accepted)
	})

	t.Run("without a stream ingest gives no receipts", func(t *testing.T) {
		if _, err := k.clients.Kinesis.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: &k.names.Stream}); err != nil {
			t.Fatal(err)
		}
		status, answer := submit(t, night, records[1])
		if status != http.StatusServiceUnavailable || !strings.Contains(answer, string(schemas.ProblemUnavailable)) {
			t.Errorf("%d %s", status, answer)
		}
		if strings.Contains(answer, k.names.Stream) {
			t.Errorf("a stranger is told %s", answer)
		}
		j.await(t, "ingest says so", func() bool { return j.says("putting records failed", "tream "+k.names.Stream) })
		j.await(t, "aggregate says so", func() bool { return j.says("aggregation starts again", "tream "+k.names.Stream) })
		if got, _ := ledgerOf(t, night); got != want {
			t.Error("the ledger is not what it was")
		}
	})

	t.Run("without a register nobody publishes, and not beside what is published either", func(t *testing.T) {
		k.dropTable(t, k.names.Control)
		wantStuck(t, night, all)
		j.await(t, "publish says so", func() bool { return j.says("object=mark", "table "+k.names.Control) })
		k.setup(t) // an empty one
		j.await(t, "the sequencer stops", func() bool { return strings.Contains(j.String(), "publishing stopped, the last snapshot stays") })
		err := night.Close()
		if err == nil || !strings.Contains(err.Error(), "publishes to this bucket") {
			t.Errorf("with an empty register the sequencer ended with: %v", err)
		}
		again := k.start(t, log)
		j.await(t, "the next one refuses", func() bool {
			return strings.Contains(j.String(), "it has snapshots, but the register has no mark of them (restore the register")
		})
		if err := again.Close(); err == nil {
			t.Error("it ended as if nothing had been")
		}
	})
}

// TestADeletedBucketIsNamedUntilItIsBack: what was counted is in the ledger.
func TestADeletedBucketIsNamedUntilItIsBack(t *testing.T) {
	k := keep(t)
	var j journal
	night := k.start(t, slog.New(slog.NewTextHandler(&j, nil)))
	want, records := ledgerOf(t, night)
	k.dropBucket(t)
	wantStuck(t, night, uint64(len(records)))
	j.await(t, "publish says so", func() bool { return j.says("writing to the bucket failed", "bucket "+k.names.Bucket) })
	if status, answer := submit(t, night, records[0]); status != http.StatusOK {
		t.Errorf("%d %s: submissions need no bucket", status, answer)
	}
	if got, _ := ledgerOf(t, night); got != want || want == "" {
		t.Error("the ledger is not what it was")
	}
	if err := night.Close(); err != nil {
		t.Log(err)
	}
}

// verified holds what is public against itself, as any auditor does.
func (k *kept) verified(t *testing.T, n *Night, counted uint64) {
	t.Helper()
	source, err := verify.Open(n.PublicURL())
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := verify.Run(t.Context(), verify.Options{Source: source, All: true})
	if err != nil {
		t.Fatal(err)
	}
	if v.Verdict != verify.Verified || uint64(v.Counted) != counted {
		t.Errorf("%s: %d counted, want %d", v.Verdict, v.Counted, counted)
	}
}
