package register_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
	"tallystream/service/register"
	"tallystream/service/register/registertest"
)

// newTable makes a control table that no other test has.
func newTable(t *testing.T, c *cloud.Clients) string {
	t.Helper()
	name := mototest.Names(t, "test").Control
	_, err := c.DynamoDB.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:   &name,
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(cloud.PartitionKey), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(cloud.SortKey), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(cloud.PartitionKey), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(cloud.SortKey), KeyType: types.KeyTypeRange},
		},
	})
	var exists *types.ResourceInUseException // nobody else has the name: a slow answer, and the SDK asked again
	if err != nil && !errors.As(err, &exists) {
		t.Fatal(err)
	}
	return name
}

func newDynamoDB(t *testing.T, calls register.DynamoDBCalls, table, scope string) *register.DynamoDB {
	t.Helper()
	r, err := register.NewDynamoDB(calls, table, scope)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDynamoDBIsARegister(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	registertest.Run(t, func(t *testing.T) registertest.Open {
		table := newTable(t, c)
		return func(t *testing.T) registertest.Register { return newDynamoDB(t, c.DynamoDB, table, "test") }
	})
}

func TestScopesOfOneTableDoNotMeet(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	table := newTable(t, c)
	one, two := newDynamoDB(t, c.DynamoDB, table, "one"), newDynamoDB(t, c.DynamoDB, table, "two")
	for _, r := range []register.Register{one, two} {
		if err := r.Swap(t.Context(), "name", nil, []byte("value")); err != nil {
			t.Errorf("each scope has its own names: %v", err)
		}
	}
	if values, err := one.List(t.Context(), ""); err != nil || len(values) != 1 {
		t.Errorf("List: %d values, %v, want 1", len(values), err)
	}
	if _, err := register.NewDynamoDB(c.DynamoDB, table, "a b"); err == nil {
		t.Error("a scope with a space was taken")
	}
}

func TestARemovalLeavesNoItem(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	table := newTable(t, c)
	r := newDynamoDB(t, c.DynamoDB, table, "test")
	for _, swap := range [][2][]byte{{nil, []byte("x")}, {[]byte("x"), nil}} {
		if err := r.Swap(t.Context(), "name", swap[0], swap[1]); err != nil {
			t.Fatal(err)
		}
	}
	out, err := c.DynamoDB.Scan(context.Background(), &dynamodb.ScanInput{TableName: &table})
	if err != nil || len(out.Items) != 0 {
		t.Errorf("%d items are left, %v", len(out.Items), err)
	}
}

func TestAMissingTableIsNamed(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	r := newDynamoDB(t, c.DynamoDB, "nowhere", "test")
	_, err := r.Load(t.Context(), "name")
	if cloud.KindOf(err) != cloud.Missing {
		t.Errorf("Load: %v, want that the table is missing", err)
	}
	if err := r.Swap(t.Context(), "name", nil, []byte("x")); cloud.KindOf(err) != cloud.Missing {
		t.Errorf("Swap: %v, want that the table is missing", err)
	}
}
