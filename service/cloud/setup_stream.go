package cloud

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// patient lets the SDK repeat calls of setup, which KinesisBudget does not.
func patient(o *kinesis.Options) { o.RetryMaxAttempts = 5 }

func (s *Setup) stream() resource {
	want := s.Plan.Stream
	return resource{"stream", want.Name,
		func(ctx context.Context) (sight, error) { return s.lookAtStream(ctx, want) },
		func(ctx context.Context) (string, error) { return "", s.createStream(ctx, want) },
	}
}

func (s *Setup) createStream(ctx context.Context, want StreamSpec) error {
	_, err := s.Clients.Kinesis.CreateStream(ctx, &kinesis.CreateStreamInput{
		StreamName: &want.Name, ShardCount: aws.Int32(int32(want.Shards)),
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamMode(want.Mode)},
	}, patient)
	if inUse := (*types.ResourceInUseException)(nil); errors.As(err, &inUse) {
		return nil // somebody else has just created it
	}
	return err
}

func (s *Setup) lookAtStream(ctx context.Context, want StreamSpec) (seen sight, err error) {
	client := s.Clients.Kinesis
	out, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &want.Name}, patient)
	if absent := (*types.ResourceNotFoundException)(nil); errors.As(err, &absent) {
		return seen, nil
	}
	if err != nil {
		return seen, err
	}
	have := out.StreamDescriptionSummary
	seen.found = true
	if have.StreamStatus != types.StreamStatusActive {
		seen.status = string(have.StreamStatus)
		return seen, nil
	}
	mode := string(types.StreamModeProvisioned)
	if have.StreamModeDetails != nil {
		mode = string(have.StreamModeDetails.StreamMode)
	}
	seen.differ("mode", want.Mode, mode, nil) // changing it reshards the stream
	switch shards := int(aws.ToInt32(have.OpenShardCount)); {
	case shards < want.Shards:
		seen.differ("shards", want.Shards, shards, nil) // resharding is for when its load is known
	case shards > want.Shards:
		seen.notes = append(seen.notes, fmt.Sprintf("has %d shards, more than the %d asked for", shards, want.Shards))
	}
	retention := int(aws.ToInt32(have.RetentionPeriodHours))
	if retention < want.RetentionHours { // a longer one is somebody's wish; shortening it forgets records
		seen.differ("retention hours", want.RetentionHours, retention, func(ctx context.Context) error {
			_, err := client.IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{
				StreamName: &want.Name, RetentionPeriodHours: aws.Int32(int32(want.RetentionHours)),
			}, patient)
			return err
		})
	}
	seen.differ("encryption", types.EncryptionTypeKms, have.EncryptionType, func(ctx context.Context) error {
		_, err := client.StartStreamEncryption(ctx, &kinesis.StartStreamEncryptionInput{
			StreamName: &want.Name, EncryptionType: types.EncryptionTypeKms, KeyId: &want.EncryptionKey,
		}, patient)
		return err
	})
	return seen, nil
}

// CheckStream says why ingest must not use the stream, or nil: it is missing,
// or on demand, where records are spread with no regard to ExplicitHashKey.
func (c *Clients) CheckStream(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := c.Kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name}, patient)
	if err != nil {
		return fmt.Errorf("checking stream %s: %w", name, Explain(err))
	}
	if d := out.StreamDescriptionSummary.StreamModeDetails; d != nil && d.StreamMode != types.StreamModeProvisioned {
		return fmt.Errorf("checking stream %s: its mode is %s; it must be PROVISIONED, since a partition's records have to stay in one shard", name, d.StreamMode)
	}
	return nil
}
