package dynamodb_test

import (
	"context"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/dynamodb"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
)

// reading may read and not write, as ingest and publish may.
type reading struct{ *sdk.Client }

func (reading) PutItem(context.Context, *sdk.PutItemInput, ...func(*sdk.Options)) (*sdk.PutItemOutput, error) {
	return nil, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not authorized to perform: dynamodb:PutItem"}
}

// TestAReaderMayComeBeforeTheFirstAggregator: it sees an empty ledger, which
// an aggregator makes the election's.
func TestAReaderMayComeBeforeTheFirstAggregator(t *testing.T) {
	clients := mototest.Start(t)
	e := ledgertest.Election(t, ledgertest.Shape{Counties: 2, UnitsPerCounty: 3, Contests: 3, Partitions: 2})
	table := newTable(t, clients)
	reader, err := dynamodb.Open(t.Context(), e, definitionOf(t, e), dynamodb.Config{Client: reading{clients.DynamoDB}, Table: table})
	if err != nil {
		t.Fatal(err)
	}
	if heads, err := reader.Heads(t.Context()); err != nil || len(heads) != 2 || heads[1].Size != 0 {
		t.Errorf("heads %+v, %v", heads, err)
	}
	if _, err := open(t, clients, table, e); err != nil {
		t.Fatal(err)
	}
	if _, err := dynamodb.Open(t.Context(), e, definitionOf(t, e), dynamodb.Config{Client: reading{clients.DynamoDB}, Table: table}); err != nil {
		t.Errorf("a reader after the aggregator: %v", err)
	}
}

// TestATableThatIsMadeAgainTakesTheSameTransactionAgain: DynamoDB remembers a
// token longer than the table, and would say of it that it was done.
func TestATableThatIsMadeAgainTakesTheSameTransactionAgain(t *testing.T) {
	clients := mototest.Start(t)
	e := ledgertest.Election(t, ledgertest.Shape{Counties: 2, UnitsPerCounty: 3, Contests: 3, Partitions: 2})
	plan := mototest.Names(t, "test").Tables(cloud.Size{})[0]
	makeTable(t, clients, plan)
	l, err := open(t, clients, plan.Name, e)
	if err != nil {
		t.Fatal(err)
	}
	batch := ledger.Batch{After: ledger.Head{Checkpoint: 1, Cursor: "1/shard/7", Epoch: 1}}
	for range 2 {
		if err := l.Commit(t.Context(), []ledger.Batch{batch}); err != nil {
			t.Fatal(err)
		}
		if heads, err := l.Heads(t.Context()); err != nil || heads[0] != batch.After {
			t.Errorf("committed %+v, and the ledger has %+v, %v", batch.After, heads, err)
		}
		if _, err := clients.DynamoDB.DeleteTable(t.Context(), &sdk.DeleteTableInput{TableName: &plan.Name}); err != nil {
			t.Fatal(err)
		}
		makeTable(t, clients, plan)
	}
}
