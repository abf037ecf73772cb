package mototest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
)

func table(ctx context.Context, c *cloud.Clients, name string) error {
	_, err := c.DynamoDB.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(cloud.PartitionKey), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(cloud.SortKey), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(cloud.PartitionKey), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(cloud.SortKey), AttributeType: types.ScalarAttributeTypeS},
		},
	})
	return err
}

type item = map[string]types.AttributeValue

func key(pk, sk string) item {
	return item{cloud.PartitionKey: &types.AttributeValueMemberS{Value: pk}, cloud.SortKey: &types.AttributeValueMemberS{Value: sk}}
}

func with(k item, body string) item {
	k["body"] = &types.AttributeValueMemberS{Value: body}
	return k
}

// count adds one to an item, the operation that shows whether it happened twice.
func count(table, sk string) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: &table, Key: key("p", sk), UpdateExpression: aws.String("ADD n :one"),
		ExpressionAttributeValues: item{":one": &types.AttributeValueMemberN{Value: "1"}},
	}}
}

func counted(ctx context.Context, c *cloud.Clients, table, sk string) (string, error) {
	out, err := c.DynamoDB.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key("p", sk), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return "", err
	}
	n, ok := out.Item["n"].(*types.AttributeValueMemberN)
	if !ok {
		return "", nil
	}
	return n.Value, nil
}

// transact sends a transaction; its token is good in the whole account.
func transact(ctx context.Context, c *cloud.Clients, token string, items ...types.TransactWriteItem) (*dynamodb.TransactWriteItemsOutput, error) {
	in := &dynamodb.TransactWriteItemsInput{TransactItems: items, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal}
	if token != "" {
		in.ClientRequestToken = &token
	}
	return c.DynamoDB.TransactWriteItems(ctx, in, cloud.OneAttempt)
}

func tokenHappensOnce(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := table(ctx, c, n.Ledger); err != nil {
		return err
	}
	for range 2 {
		if _, err := transact(ctx, c, n.Control[:13]+"-one", count(n.Ledger, "a")); err != nil {
			return err
		}
	}
	if got, err := counted(ctx, c, n.Ledger, "a"); err != nil || got != "1" {
		return fmt.Errorf("counted %q, want 1: %v", got, err)
	}
	if _, err := transact(ctx, c, n.Control[:13]+"-two", count(n.Ledger, "a")); err != nil {
		return err
	}
	got, err := counted(ctx, c, n.Ledger, "a")
	if err != nil || got != "2" {
		return fmt.Errorf("with another token counted %q, want 2: %v", got, err)
	}
	return nil
}

func tokenIsForOne(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := table(ctx, c, n.Ledger); err != nil {
		return err
	}
	if _, err := transact(ctx, c, n.Control[:13]+"-one", count(n.Ledger, "a")); err != nil {
		return err
	}
	_, err := transact(ctx, c, n.Control[:13]+"-one", count(n.Ledger, "b"))
	if mismatch := (*types.IdempotentParameterMismatchException)(nil); !errors.As(err, &mismatch) {
		return fmt.Errorf("another transaction with the same token: %v", err)
	}
	return nil
}

func transactionCosts(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := table(ctx, c, n.Ledger); err != nil {
		return err
	}
	if err := table(ctx, c, n.Control); err != nil {
		return err
	}
	write := func(table, sk string, size int) types.TransactWriteItem {
		return types.TransactWriteItem{Put: &types.Put{TableName: &table, Item: with(key("p", sk), strings.Repeat("x", size))}}
	}
	out, err := transact(ctx, c, "", write(n.Ledger, "a", 100), write(n.Ledger, "b", 3000), write(n.Control, "c", 10))
	if err != nil {
		return err
	}
	got := map[string]float64{}
	for _, cost := range out.ConsumedCapacity {
		got[aws.ToString(cost.TableName)] = aws.ToFloat64(cost.CapacityUnits)
	}
	if got[n.Ledger] != 2+6 || got[n.Control] != 2 {
		return fmt.Errorf("cost %v, want 8 and 2", got)
	}
	// The larger of the sizes before and after counts.
	out, err = transact(ctx, c, "", write(n.Ledger, "b", 10))
	if err != nil || aws.ToFloat64(out.ConsumedCapacity[0].CapacityUnits) != 6 {
		return fmt.Errorf("shrinking an item of 3 KB cost %v, want 6: %v", out.ConsumedCapacity, err)
	}
	return nil
}

func transactionHasALimit(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := table(ctx, c, n.Ledger); err != nil {
		return err
	}
	var items []types.TransactWriteItem
	for i := range 11 {
		items = append(items, types.TransactWriteItem{Put: &types.Put{TableName: &n.Ledger, Item: with(key("p", fmt.Sprint(i)), strings.Repeat("x", 399_000))}})
	}
	if _, err := transact(ctx, c, "", items...); err == nil {
		return errors.New("4.4 MB were taken")
	}
	if _, err := transact(ctx, c, "", items[:10]...); err != nil {
		return fmt.Errorf("4.0 MB were refused: %w", err)
	}
	return nil
}

func cancelledLeavesNothing(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := table(ctx, c, n.Ledger); err != nil {
		return err
	}
	if _, err := transact(ctx, c, "", count(n.Ledger, "a")); err != nil {
		return err
	}
	never := types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
		TableName: &n.Ledger, Key: key("p", "head"), ConditionExpression: aws.String("attribute_exists(pk)"),
	}}
	_, err := transact(ctx, c, "", count(n.Ledger, "a"), count(n.Ledger, "b"), never)
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) || len(cancelled.CancellationReasons) != 3 ||
		aws.ToString(cancelled.CancellationReasons[2].Code) != "ConditionalCheckFailed" || aws.ToString(cancelled.CancellationReasons[0].Code) != "None" {
		return fmt.Errorf("a failed condition: %v", err)
	}
	a, errA := counted(ctx, c, n.Ledger, "a")
	b, errB := counted(ctx, c, n.Ledger, "b")
	if err := errors.Join(errA, errB); err != nil || a != "1" || b != "" {
		return fmt.Errorf("it left a = %q, b = %q: %v", a, b, err)
	}
	return nil
}

func queryGoesOn(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := table(ctx, c, n.Ledger); err != nil {
		return err
	}
	const items = 30
	for i := range items { // 3 MB
		put := &dynamodb.PutItemInput{TableName: &n.Ledger, Item: with(key("p", fmt.Sprintf("%03d", i)), strings.Repeat("x", 100_000))}
		if _, err := c.DynamoDB.PutItem(ctx, put); err != nil {
			return err
		}
	}
	pages, next := 0, 0
	p := dynamodb.NewQueryPaginator(c.DynamoDB, &dynamodb.QueryInput{
		TableName: &n.Ledger, KeyConditionExpression: aws.String("pk = :p AND sk >= :s"), ConsistentRead: aws.Bool(true),
		ExpressionAttributeValues: item{":p": &types.AttributeValueMemberS{Value: "p"}, ":s": &types.AttributeValueMemberS{Value: "0"}},
	})
	for ; p.HasMorePages(); pages++ {
		out, err := p.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, it := range out.Items {
			if sk := it[cloud.SortKey].(*types.AttributeValueMemberS).Value; sk != fmt.Sprintf("%03d", next) {
				return fmt.Errorf("item %s in place %d", sk, next)
			}
			next++
		}
	}
	if next != items || pages < 3 {
		return fmt.Errorf("%d items on %d pages, want %d on 3 or more", next, pages, items)
	}
	return nil
}

func oneRacerUpdates(ctx context.Context, c *cloud.Clients, n cloud.Names) error {
	if err := table(ctx, c, n.Control); err != nil {
		return err
	}
	won := race(30, func(i int) error {
		_, err := c.DynamoDB.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &n.Control, Item: with(key("lease", "1"), fmt.Sprint(i)), ConditionExpression: aws.String("attribute_not_exists(pk)"),
		})
		if failed := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &failed) {
			return errLost
		}
		return err
	})
	return won
}

var errLost = errors.New("lost")

// race runs n racers at a time; one must win, and the others must lose.
func race(n int, run func(int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = run(i) })
	}
	group.Wait()
	winners := 0
	for _, err := range errs {
		switch {
		case err == nil:
			winners++
		case !errors.Is(err, errLost):
			return err
		}
	}
	if winners != 1 {
		return fmt.Errorf("%d of %d racers won", winners, n)
	}
	return nil
}

// BenchmarkTransact is a transaction of 40 items in a table that holds 500 of
// 1 KB, with our correction and without.
func BenchmarkTransact(b *testing.B) {
	mototest.Endpoint(b)
	for name, o := range map[string]mototest.Options{"corrected": {}, "raw": {Raw: true}} {
		b.Run(name, func(b *testing.B) {
			s, err := mototest.Launch(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			c, err := cloud.Open(b.Context(), mototest.At(s.Endpoint), cloud.WithKeys("test", "test"))
			if err != nil {
				b.Fatal(err)
			}
			n := mototest.Names(b, "bench")
			if err := table(b.Context(), c, n.Ledger); err != nil {
				b.Fatal(err)
			}
			for i := range 500 {
				put := &dynamodb.PutItemInput{TableName: &n.Ledger, Item: with(key("q", fmt.Sprint(i)), strings.Repeat("x", 1000))}
				if _, err := c.DynamoDB.PutItem(b.Context(), put); err != nil {
					b.Fatal(err)
				}
			}
			var items []types.TransactWriteItem
			for i := range 40 {
				items = append(items, count(n.Ledger, fmt.Sprint(i)))
			}
			for b.Loop() {
				if _, err := transact(b.Context(), c, "", items...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
