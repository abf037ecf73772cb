package cloud

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func (s *Setup) table(want TableSpec) resource {
	return resource{"table", want.Name,
		func(ctx context.Context) (sight, error) { return s.lookAtTable(ctx, want) },
		func(ctx context.Context) (string, error) { return "", s.createTable(ctx, want) },
	}
}

func (s *Setup) createTable(ctx context.Context, want TableSpec) error {
	in := &dynamodb.CreateTableInput{
		TableName: &want.Name,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: &want.PartitionKey, KeyType: types.KeyTypeHash},
			{AttributeName: &want.SortKey, KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: &want.PartitionKey, AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: &want.SortKey, AttributeType: types.ScalarAttributeTypeS},
		},
		BillingMode:               types.BillingMode(want.BillingMode),
		DeletionProtectionEnabled: &want.DeletionProtection,
		SSESpecification:          encrypted(want),
		WarmThroughput:            warm(want),
	}
	_, err := s.Clients.DynamoDB.CreateTable(ctx, in)
	if inUse := (*types.ResourceInUseException)(nil); errors.As(err, &inUse) {
		return nil // somebody else has just created it
	}
	return err
}

func encrypted(want TableSpec) *types.SSESpecification {
	return &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSEType(want.Encryption)}
}

// warm is nil where AWS's own warm throughput is enough.
func warm(want TableSpec) *types.WarmThroughput {
	if want.WarmReads == 0 && want.WarmWrites == 0 {
		return nil
	}
	w := &types.WarmThroughput{}
	if want.WarmReads > 0 {
		w.ReadUnitsPerSecond = &want.WarmReads
	}
	if want.WarmWrites > 0 {
		w.WriteUnitsPerSecond = &want.WarmWrites
	}
	return w
}

func (s *Setup) lookAtTable(ctx context.Context, want TableSpec) (seen sight, err error) {
	out, err := s.Clients.DynamoDB.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &want.Name})
	if absent := (*types.ResourceNotFoundException)(nil); errors.As(err, &absent) {
		return seen, nil
	}
	if err != nil {
		return seen, err
	}
	seen.found = true
	have := out.Table
	if have.TableStatus != types.TableStatusActive {
		seen.status = string(have.TableStatus)
		return seen, nil
	}
	seen.differ("keys", fmt.Sprintf("%s HASH S, %s RANGE S", want.PartitionKey, want.SortKey), keysOf(have), nil)
	seen.differ("secondary indexes", 0, len(have.GlobalSecondaryIndexes)+len(have.LocalSecondaryIndexes), nil)
	billing := types.BillingModeProvisioned
	if have.BillingModeSummary != nil {
		billing = have.BillingModeSummary.BillingMode
	}
	seen.differ("billing mode", want.BillingMode, billing, nil) // somebody may have reserved capacity
	update := func(in dynamodb.UpdateTableInput) func(context.Context) error {
		return func(ctx context.Context) error {
			in.TableName = &want.Name
			_, err := s.Clients.DynamoDB.UpdateTable(ctx, &in)
			return err
		}
	}
	seen.differ("deletion protection", want.DeletionProtection, aws.ToBool(have.DeletionProtectionEnabled),
		update(dynamodb.UpdateTableInput{DeletionProtectionEnabled: &want.DeletionProtection}))
	encryption := "AES256" // what a table without a description of it has: AWS's own key
	if have.SSEDescription != nil && have.SSEDescription.SSEType != "" {
		encryption = string(have.SSEDescription.SSEType)
	}
	seen.differ("encryption", want.Encryption, encryption, update(dynamodb.UpdateTableInput{SSESpecification: encrypted(want)}))
	seen.warmth(want, have.WarmThroughput, update)
	if err := s.lookAtRecovery(ctx, want, &seen); err != nil {
		return seen, err
	}
	return seen, s.lookAtExpiry(ctx, want, &seen)
}

func keysOf(t *types.TableDescription) string {
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range t.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	text := ""
	for i, k := range t.KeySchema {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %s %s", aws.ToString(k.AttributeName), k.KeyType, kinds[aws.ToString(k.AttributeName)])
	}
	return text
}

// warmth compares warm throughput. It only ever grows, by use as well.
func (seen *sight) warmth(want TableSpec, have *types.TableWarmThroughputDescription, update func(dynamodb.UpdateTableInput) func(context.Context) error) {
	if want.WarmReads == 0 && want.WarmWrites == 0 {
		return
	}
	if have == nil {
		seen.notes = append(seen.notes, "this endpoint does not say a table's warm throughput")
		return
	}
	if have.Status != "" && have.Status != types.TableStatusActive {
		seen.status = "warming up"
	}
	reads, writes := aws.ToInt64(have.ReadUnitsPerSecond), aws.ToInt64(have.WriteUnitsPerSecond)
	if reads < want.WarmReads {
		seen.differ("warm reads", want.WarmReads, reads, update(dynamodb.UpdateTableInput{WarmThroughput: warm(TableSpec{WarmReads: want.WarmReads})}))
	}
	if writes < want.WarmWrites {
		seen.differ("warm writes", want.WarmWrites, writes, update(dynamodb.UpdateTableInput{WarmThroughput: warm(TableSpec{WarmWrites: want.WarmWrites})}))
	}
}

func (s *Setup) lookAtRecovery(ctx context.Context, want TableSpec, seen *sight) error {
	client := s.Clients.DynamoDB
	out, err := client.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &want.Name})
	if seen.unknown(err) {
		return nil
	}
	if err != nil {
		return err
	}
	on := false
	if d := out.ContinuousBackupsDescription; d != nil && d.PointInTimeRecoveryDescription != nil {
		on = d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled
	}
	seen.differ("point-in-time recovery", want.PointInTimeRecovery, on, func(ctx context.Context) error {
		_, err := client.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
			TableName:                        &want.Name,
			PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: &want.PointInTimeRecovery},
		})
		return err
	})
	return nil
}

func (s *Setup) lookAtExpiry(ctx context.Context, want TableSpec, seen *sight) error {
	client := s.Clients.DynamoDB
	out, err := client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &want.Name})
	if seen.unknown(err) {
		return nil
	}
	if err != nil {
		return err
	}
	have := ""
	if d := out.TimeToLiveDescription; d != nil && d.TimeToLiveStatus != types.TimeToLiveStatusDisabled {
		have = aws.ToString(d.AttributeName)
		if d.TimeToLiveStatus == types.TimeToLiveStatusDisabling {
			seen.status = "TTL " + string(d.TimeToLiveStatus)
		}
	}
	if have != "" { // another attribute's rows vanish: for a person to look at
		seen.differ("TTL attribute", want.TTLAttribute, have, nil)
		return nil
	}
	seen.differ("TTL attribute", want.TTLAttribute, have, func(ctx context.Context) error {
		_, err := client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName:               &want.Name,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &want.TTLAttribute, Enabled: aws.Bool(true)},
		})
		return err
	})
	return nil
}
