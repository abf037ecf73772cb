package cloud_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	ktypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"tallystream/service/cloud"
	"tallystream/service/cloud/faults"
	"tallystream/service/cloud/mototest"
)

// soon replaces waiting between two looks.
func soon(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func setup(t *testing.T, c *cloud.Clients, n cloud.Names, check bool) []cloud.Finding {
	t.Helper()
	s := cloud.Setup{Clients: c, Plan: n.Plan(cloud.Size{Shards: 2}, c.Region), Check: check, Pause: soon}
	findings, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

func states(findings []cloud.Finding) string {
	var all []string
	for _, f := range findings {
		all = append(all, f.Resource+" "+string(f.State))
		for _, d := range f.Differences {
			all = append(all, d.Field+" "+d.Have)
		}
	}
	return strings.Join(all, ", ")
}

const (
	absent  = "stream is missing, table is missing, table is missing, bucket is missing, key is missing"
	created = "stream created, table created, table created, bucket created, key created"
	right   = "stream is as it should be, table is as it should be, table is as it should be, bucket is as it should be, key is as it should be"
)

func TestSetupCreatesWhatIsMissingAndThenFindsItRight(t *testing.T) {
	t.Parallel()
	c, n := mototest.Start(t), mototest.Names(t, "sc-2024-general")
	for i, step := range []struct {
		check bool
		want  string
	}{{true, absent}, {true, absent}, {false, created}, {false, right}, {true, right}} {
		findings := setup(t, c, n, step.check)
		if got := states(findings); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
		for _, f := range findings {
			t.Log(f)
		}
	}
}

func TestSetupsAtTheSameTimeMakeOneOfEach(t *testing.T) {
	t.Parallel()
	c, n := mototest.Start(t), mototest.Names(t, "race")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			s := cloud.Setup{Clients: c, Plan: n.Plan(cloud.Size{Shards: 2}, c.Region), Pause: soon}
			findings, err := s.Run(t.Context())
			if err != nil {
				t.Error(err)
			}
			for _, f := range findings {
				if !f.Right() {
					t.Errorf("%+v", f)
				}
			}
		})
	}
	group.Wait()
	if got := states(setup(t, c, n, true)); got != right {
		t.Errorf("afterwards: %s", got)
	}
	// Keys cannot be deleted at once: those that got no alias must be on their way.
	keys, err := c.KMS.ListKeys(t.Context(), &kms.ListKeysInput{})
	if err != nil {
		t.Fatal(err)
	}
	usable := 0
	for _, k := range keys.Keys {
		out, err := c.KMS.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyId})
		if err != nil {
			t.Fatal(err)
		}
		if aws.ToString(out.KeyMetadata.Description) == "Signs snapshots of "+strings.TrimPrefix(n.Key, "alias/") && out.KeyMetadata.Enabled {
			usable++
		}
	}
	if usable != 1 {
		t.Errorf("%d keys can be used, want 1", usable)
	}
}

func TestSetupCompletesWhatWasLeftHalfDoneAndReshapesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, n := mototest.Start(t), mototest.Names(t, "half")
	plan := n.Plan(cloud.Size{Shards: 2}, c.Region)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// A stream of one shard, made but not encrypted; a bucket with nothing set; a key for encryption.
	must(c.Kinesis.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &n.Stream, ShardCount: aws.Int32(1)}))
	must(c.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &n.Bucket}))
	key, err := c.KMS.CreateKey(ctx, &kms.CreateKeyInput{KeyUsage: kmstypes.KeyUsageTypeEncryptDecrypt})
	must(key, err)
	must(c.KMS.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &n.Key, TargetKeyId: key.KeyMetadata.KeyId}))

	before := states(setup(t, c, n, true))
	for _, part := range []string{"shards 1", "retention hours 24", "encryption NONE", "public access blocked false", "versioning false", "spec SYMMETRIC_DEFAULT"} {
		if !strings.Contains(before, part) {
			t.Errorf("check found %s, want %s in it", before, part)
		}
	}
	if got := states(setup(t, c, n, true)); got != before {
		t.Errorf("a check changed %s to %s", before, got)
	}
	s := cloud.Setup{Clients: c, Plan: plan, Pause: soon}
	findings, err := s.Run(ctx)
	must(nil, err)
	want := "stream differs, shards 1, table created, table created, bucket completed, key differs, spec SYMMETRIC_DEFAULT, usage ENCRYPT_DECRYPT"
	if got := states(findings); got != want {
		t.Errorf("setup: %s, want %s", got, want)
	}
	versioning, err := c.S3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &n.Bucket})
	must(nil, err)
	if versioning.Status != s3types.BucketVersioningStatusEnabled {
		t.Error("versioning is still off")
	}
}

func TestATableThatDiffersIsNamedFieldByField(t *testing.T) {
	t.Parallel()
	c, n := mototest.Start(t), mototest.Names(t, "field")
	setup(t, c, n, false)
	off := false
	if _, err := c.DynamoDB.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{TableName: &n.Ledger, DeletionProtectionEnabled: &off}); err != nil {
		t.Fatal(err)
	}
	for _, f := range setup(t, c, n, true) {
		if f.Name != n.Ledger {
			continue
		}
		want := cloud.Difference{Field: "deletion protection", Want: "true", Have: "false"}
		if f.State != cloud.Differs || len(f.Differences) != 1 || f.Differences[0] != want {
			t.Errorf("%+v, want only %+v", f, want)
		}
	}
}

func TestAStreamOnDemandIsRefused(t *testing.T) {
	t.Parallel()
	c, n := mototest.Start(t), mototest.Names(t, "mode")
	if err := c.CheckStream(t.Context(), n.Stream); cloud.KindOf(err) != cloud.Missing {
		t.Errorf("a stream that is missing: %v", err)
	}
	_, err := c.Kinesis.CreateStream(t.Context(), &kinesis.CreateStreamInput{
		StreamName: &n.Stream, StreamModeDetails: &ktypes.StreamModeDetails{StreamMode: ktypes.StreamModeOnDemand},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckStream(t.Context(), n.Stream); err == nil || !strings.Contains(err.Error(), "PROVISIONED") {
		t.Errorf("a stream on demand: %v", err)
	}
	if got := states(setup(t, c, n, true)); !strings.Contains(got, "mode ON_DEMAND") {
		t.Errorf("setup: %s", got)
	}
}

func TestTheCommandChecksMakesAndChecksAgain(t *testing.T) {
	t.Parallel()
	n := mototest.Names(t, "command")
	command := cloud.SetupCommand{
		Options: mototest.At(mototest.Endpoint(t)), Size: cloud.Size{Shards: 3, WarmWrites: 40_000}, Election: "command", Timeout: time.Minute,
	}
	command.Prefix, _, _ = strings.Cut(n.Stream, "-")
	run := func(check bool) (string, error) {
		var out strings.Builder
		command.Check = check
		err := command.RunTo(t.Context(), slog.New(slog.DiscardHandler), &out)
		return out.String(), err
	}
	if out, err := run(true); !errors.Is(err, cloud.ErrNotReady) || strings.Count(out, "is missing") != 5 {
		t.Errorf("check: %v\n%s", err, out)
	}
	if out, err := run(false); err != nil || strings.Count(out, ": created") != 5 {
		t.Errorf("setup: %v\n%s", err, out)
	}
	out, err := run(true)
	if err != nil || strings.Count(out, "is as it should be") != 5 {
		t.Errorf("check again: %v\n%s", err, out)
	}
	command.WarmWrites = 50_000
	if out, err := run(true); !errors.Is(err, cloud.ErrNotReady) || !strings.Contains(out, "warm writes: want 50000, have 40000") {
		t.Errorf("a colder table: %v\n%s", err, out)
	}
	if out, err := run(false); err != nil || !strings.Contains(out, "set warm writes to 50000, was 40000") {
		t.Errorf("warming it: %v\n%s", err, out)
	}
}

func TestSetupGetsThereThroughABadNetwork(t *testing.T) {
	t.Parallel()
	endpoint := mototest.Endpoint(t)
	for seed := range uint64(2) {
		plan, err := faults.Parse(seed, "*:before=0.03,after=0.08,duplicate=0.15")
		if err != nil {
			t.Fatal(err)
		}
		network, err := faults.New(plan)
		if err != nil {
			t.Fatal(err)
		}
		c, err := cloud.Open(t.Context(), mototest.At(endpoint), cloud.WithKeys("test", "test"), cloud.WithHTTP(network.Over))
		if err != nil {
			t.Fatal(err)
		}
		n := mototest.Names(t, "bad-network")
		s := cloud.Setup{Clients: c, Plan: n.Plan(cloud.Size{Shards: 2}, c.Region), Pause: soon}
		// An operator runs it again when a call has failed more often than its budget allows.
		runs := 0
		for runs = 1; runs <= 5; runs++ {
			if _, err = s.Run(t.Context()); err == nil {
				break
			}
			t.Logf("seed %d, run %d: %v", seed, runs, err)
		}
		network.Pause()
		if got := states(setup(t, c, n, true)); got != right {
			t.Errorf("seed %d, after %d runs: %s (%v)\n%s", seed, runs, got, err, network.Counts())
		}
	}
}
