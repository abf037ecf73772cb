package dynamodb_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/dynamodb"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/schemas"
	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
)

func TestDynamoDBConforms(t *testing.T) {
	clients := mototest.Start(t)
	ledgertest.Run(t, func(t *testing.T) ledgertest.Open {
		table := newTable(t, clients)
		return func(e *schemas.Election) (ledgertest.Ledger, error) { return open(t, clients, table, e) }
	})
}

func open(t testing.TB, clients *cloud.Clients, table string, e *schemas.Election) (*dynamodb.Ledger, error) {
	t.Helper()
	return dynamodb.Open(t.Context(), e, definitionOf(t, e), dynamodb.Config{
		Client: clients.DynamoDB, Table: table, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
}

// definitionOf is the exact bytes that ledgertest opened the election from.
func definitionOf(t testing.TB, e *schemas.Election) []byte {
	t.Helper()
	b, err := json.Marshal(e.Definition)
	if err != nil {
		t.Fatal(err)
	}
	if schemas.DigestOf(b) != e.Hash {
		t.Fatal("the definition's bytes are not those that it was opened from")
	}
	return b
}

// newTable makes the ledger table as setup plans it.
func newTable(t testing.TB, clients *cloud.Clients) string {
	t.Helper()
	plan := mototest.Names(t, "test").Tables(cloud.Size{})[0]
	makeTable(t, clients, plan)
	return plan.Name
}

func makeTable(t testing.TB, clients *cloud.Clients, plan cloud.TableSpec) {
	t.Helper()
	_, err := clients.DynamoDB.CreateTable(t.Context(), &sdk.CreateTableInput{
		TableName: &plan.Name, BillingMode: types.BillingMode(plan.BillingMode),
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: &plan.PartitionKey, AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: &plan.SortKey, AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: &plan.PartitionKey, KeyType: types.KeyTypeHash},
			{AttributeName: &plan.SortKey, KeyType: types.KeyTypeRange},
		},
	})
	if exists := (*types.ResourceInUseException)(nil); err != nil && !errors.As(err, &exists) {
		t.Fatal(err)
	}
}

var _ ledgertest.Ledger = (*dynamodb.Ledger)(nil)
var _ = ledger.ErrConflict
