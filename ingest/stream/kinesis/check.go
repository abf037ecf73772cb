package kinesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/service/cloud"
)

// What a shard takes.
const (
	shardRecords = 1000    // a second
	shardBytes   = 1 << 20 // a second, partition keys included
)

// Expect is what the stream must stand. Zero values are not checked.
type Expect struct {
	Partitions int           // of the election
	Records    float64       // a second, at the peak
	Bytes      float64       // a second, at the peak
	Retention  time.Duration // of records that nobody has read
	// Encrypted demands encryption at rest; without it, its lack is a warning.
	Encrypted bool
}

// Description is what the stream is, as far as Check cares.
type Description struct {
	ARN       string
	Shards    int // open
	Retention time.Duration
	Encrypted bool
	// Warnings are sentences for the operator: the stream can be used so, but
	// was perhaps not meant so.
	Warnings []string
}

// Check asks whether the stream can be used: it is there, active, in
// provisioned mode. Every service does at its start, since no error would show
// later that an on-demand stream scatters partitions over shards. Its error is
// an ErrUnusable that says what to do, or that of the call.
func Check(ctx context.Context, api API, name string, want Expect) (Description, error) {
	out, err := api.DescribeStreamSummary(ctx, &sdk.DescribeStreamSummaryInput{StreamName: &name})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		return Description{}, fmt.Errorf("%w: there is no stream %q in this account and region: `tallystream setup` creates it: %w", ErrUnusable, name, err)
	case err != nil:
		return Description{}, fmt.Errorf("describing stream %q: %w", name, cloud.ExplainOf("stream "+name, err))
	case out.StreamDescriptionSummary == nil:
		return Description{}, fmt.Errorf("describing stream %q: empty answer", name)
	}
	s := out.StreamDescriptionSummary
	d := Description{
		ARN: aws.ToString(s.StreamARN), Shards: int(aws.ToInt32(s.OpenShardCount)),
		Retention: time.Duration(aws.ToInt32(s.RetentionPeriodHours)) * time.Hour, Encrypted: s.EncryptionType == types.EncryptionTypeKms,
	}
	if why := unusable(s, d, want); why != "" {
		return d, fmt.Errorf("%w: stream %q %s", ErrUnusable, name, why)
	}
	d.Warnings = warnings(d, want)
	return d, nil
}

// unusable gives the end of a sentence that begins with the stream's name.
func unusable(s *types.StreamDescriptionSummary, d Description, want Expect) string {
	switch s.StreamStatus {
	case types.StreamStatusActive, types.StreamStatusUpdating: // a reshard goes on beside reads and writes
	case types.StreamStatusCreating:
		return "is still being created: try again in a minute"
	default:
		return fmt.Sprintf("is in status %s: want ACTIVE", s.StreamStatus)
	}
	switch {
	case s.RecordDistributionStrategy == types.RecordDistributionStrategyAuto:
		return "distributes records by strategy AUTO, which ignores hash keys, so a county's submissions would lose their order: make it a provisioned stream"
	case s.StreamModeDetails == nil || s.StreamModeDetails.StreamMode != types.StreamModeProvisioned:
		return "is not in provisioned mode; an on-demand stream can be set to ignore hash keys at any time, " +
			"and splits shards by itself: change it with `aws kinesis update-stream-mode --stream-mode-details StreamMode=PROVISIONED`"
	case want.Encrypted && !d.Encrypted:
		return "is not encrypted at rest: start it with `aws kinesis start-stream-encryption --encryption-type KMS --key-id alias/aws/kinesis`"
	}
	return ""
}

func warnings(d Description, want Expect) []string {
	var list []string
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if need := ShardsFor(want.Records, want.Bytes); d.Shards < need {
		warn("%d shards are open, and %.0f records of %.0f bytes in all a second need %d: submissions will be throttled and told to come again",
			d.Shards, want.Records, want.Bytes, need)
	}
	if want.Partitions > 0 && d.Shards > want.Partitions {
		warn("%d shards are open for %d partitions: at least %d of them stay empty and cost money", d.Shards, want.Partitions, d.Shards-want.Partitions)
	}
	if d.Retention < want.Retention {
		warn("records are kept for %v, want %v: what is not aggregated by then is lost", d.Retention, want.Retention)
	}
	if !d.Encrypted {
		warn("records are not encrypted at rest, so submissions before the close of polls lie readable in the service's storage")
	}
	return list
}

// fullShard is how much of a shard's limits a plan may use: points of busy
// partitions never spread evenly.
const fullShard = 0.7

// ShardsFor is how many shards a rate needs, with room to spare.
func ShardsFor(records, bytes float64) int {
	share := max(records/shardRecords, bytes/shardBytes) / fullShard
	n := int(share)
	if float64(n) < share {
		n++
	}
	return max(n, 1)
}
