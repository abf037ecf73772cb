package faults_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	ktypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/service/cloud"
	"tallystream/service/cloud/faults"
	"tallystream/service/cloud/mototest"
)

// emulated opens clients of moto whose network fails by plan, and clients of
// the same moto whose network does not.
func emulated(t *testing.T, seed uint64, plan string) (bad, good *cloud.Clients, network *faults.Network) {
	t.Helper()
	p, err := faults.Parse(seed, plan)
	if err != nil {
		t.Fatal(err)
	}
	if network, err = faults.New(p); err != nil {
		t.Fatal(err)
	}
	return mototest.Start(t, cloud.WithHTTP(network.Over)), mototest.Start(t), network
}

func TestOnAnEmulatorRecordsSentUntilTheySucceedAreAllThere(t *testing.T) {
	t.Parallel()
	const seed, batches = 11, 40
	bad, good, network := emulated(t, seed, "PutRecords:partial=0.3,partial-after=0.1,before=0.1,after=0.1,late=0.1,throttle=0.1,duplicate=0.1")
	n := mototest.Names(t, "records")
	if _, err := good.Kinesis.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &n.Stream, ShardCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for b := range batches {
		var todo []ktypes.PutRecordsRequestEntry
		for r := range 5 {
			text := fmt.Sprint(b, "/", r)
			want[text] = true
			todo = append(todo, ktypes.PutRecordsRequestEntry{Data: []byte(text), PartitionKey: aws.String("p")})
		}
		for len(todo) > 0 {
			out, err := bad.Kinesis.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: &n.Stream, Records: todo})
			if err != nil {
				continue
			}
			var again []ktypes.PutRecordsRequestEntry
			for i, r := range out.Records {
				if r.ErrorCode != nil {
					again = append(again, todo[i])
				}
			}
			todo = again
		}
	}
	network.Flush(t.Context())
	got, total := readAll(t, good, n.Stream)
	for text := range want {
		if got[text] == 0 {
			t.Errorf("seed %d: %s is lost\n%s", seed, text, network.Counts())
		}
	}
	for _, k := range []faults.Kind{faults.Partial, faults.PartialAfter, faults.Before, faults.After, faults.Late, faults.Throttle, faults.Duplicate} {
		if network.Counts().Total(k) == 0 {
			t.Errorf("seed %d: no %s", seed, k)
		}
	}
	if total == len(want) || len(got) != len(want) {
		t.Errorf("%d records of %d, stored %d times: duplicates must be among them, and nothing else", len(got), len(want), total)
	}
}

func readAll(t *testing.T, c *cloud.Clients, stream string) (texts map[string]int, total int) {
	t.Helper()
	at, err := c.Kinesis.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: ktypes.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Kinesis.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: at.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	texts = map[string]int{}
	for _, r := range out.Records {
		texts[string(r.Data)]++
	}
	return texts, len(out.Records)
}

func TestOnAnEmulatorATransactionSentUntilItSucceedsHappensOnce(t *testing.T) {
	t.Parallel()
	const seed, transactions = 12, 60
	bad, good, network := emulated(t, seed,
		"TransactWriteItems:conflict=0.1,in-progress=0.05,before=0.1,after=0.15,late=0.1,cut=0.1,duplicate=0.1,internal-after=0.1,throttle=0.1")
	n := mototest.Names(t, "once")
	s := cloud.Setup{Clients: good, Plan: n.Plan(cloud.Size{Shards: 1}, good.Region)}
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := map[string]dtypes.AttributeValue{cloud.PartitionKey: &dtypes.AttributeValueMemberS{Value: "p"}, cloud.SortKey: &dtypes.AttributeValueMemberS{Value: "n"}}
	var failures []error
	for i := range transactions {
		token := fmt.Sprint(n.Ledger[:13], "-", i)
		for {
			_, err := bad.DynamoDB.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{
				ClientRequestToken: &token,
				TransactItems: []dtypes.TransactWriteItem{{Update: &dtypes.Update{
					TableName: &n.Ledger, Key: key, UpdateExpression: aws.String("ADD n :one"),
					ExpressionAttributeValues: map[string]dtypes.AttributeValue{":one": &dtypes.AttributeValueMemberN{Value: "1"}},
				}}},
			}, cloud.OneAttempt)
			if err == nil {
				break
			}
			failures = append(failures, err)
		}
	}
	network.Flush(t.Context())
	out, err := good.DynamoDB.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &n.Ledger, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := out.Item["n"].(*dtypes.AttributeValueMemberN); !ok || got.Value != fmt.Sprint(transactions) {
		t.Errorf("seed %d: counted %v, want %d\n%s", seed, out.Item["n"], transactions, network.Counts())
	}
	conflict := func(err error) bool {
		var cancelled *dtypes.TransactionCanceledException
		return errors.As(err, &cancelled) && aws.ToString(cancelled.CancellationReasons[0].Code) == "TransactionConflict"
	}
	if !slices.ContainsFunc(failures, conflict) {
		t.Errorf("seed %d: no conflict among %d failures", seed, len(failures))
	}
}
