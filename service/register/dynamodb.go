package register

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"tallystream/service/cloud"
)

// Attributes of an item of the control table. Both keys are strings.
const (
	attributeScope = cloud.PartitionKey // whose register it is
	attributeName  = cloud.SortKey
	attributeValue = "v" // binary; absent in what a removal leaves until it is cleared away
	attributeMark  = "w" // binary: which call of Swap wrote this
)

// DynamoDBCalls are the calls of DynamoDB that a register makes.
// *dynamodb.Client has them.
type DynamoDBCalls interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
}

var _ DynamoDBCalls = (*dynamodb.Client)(nil)

// DynamoDB is a register in one table, which several registers of different
// scopes may share. It is safe for concurrent use.
type DynamoDB struct {
	calls  DynamoDBCalls
	table  string
	scope  string
	closed atomic.Bool
}

var _ Register = (*DynamoDB)(nil)

// NewDynamoDB returns the register of a scope (such as an election) in a table
// made as cloud.Plan says. The client's retries are used for reading; Swap has its own.
func NewDynamoDB(calls DynamoDBCalls, table, scope string) (*DynamoDB, error) {
	if err := checkName(scope); err != nil {
		return nil, fmt.Errorf("opening register in table %s: scope: %w", table, err)
	}
	return &DynamoDB{calls: calls, table: table, scope: scope}, nil
}

// Close ends the use of the register. The client stays open.
func (r *DynamoDB) Close() error {
	r.closed.Store(true)
	return nil
}

func (r *DynamoDB) ready(ctx context.Context) error {
	if r.closed.Load() {
		return ErrClosed
	}
	return ctx.Err()
}

func (r *DynamoDB) key(name string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		attributeScope: &types.AttributeValueMemberS{Value: r.scope},
		attributeName:  &types.AttributeValueMemberS{Value: name},
	}
}

// Load implements Register with a consistent read.
func (r *DynamoDB) Load(ctx context.Context, name string) (value []byte, err error) {
	if err = checkName(name); err == nil {
		err = r.ready(ctx)
	}
	if err == nil {
		value, _, err = r.get(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("loading %q from the register: %w", name, cloud.ExplainOf("table "+r.table, err))
	}
	return value, nil
}

func (r *DynamoDB) get(ctx context.Context, name string) (value, mark []byte, err error) {
	out, err := r.calls.GetItem(ctx, &dynamodb.GetItemInput{TableName: &r.table, Key: r.key(name), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, nil, err
	}
	return read(out.Item)
}

// read returns the value of an item, nil if there is no item or it says that
// there is no value, and the mark of the Swap that wrote it.
func read(item map[string]types.AttributeValue) (value, mark []byte, err error) {
	if item == nil {
		return nil, nil, nil
	}
	w, ok := item[attributeMark].(*types.AttributeValueMemberB)
	if !ok {
		return nil, nil, errors.New("item was not written by a register")
	}
	if v, ok := item[attributeValue].(*types.AttributeValueMemberB); ok {
		value = v.Value
	}
	return value, w.Value, nil
}

// List implements Register with a consistent query, page by page.
func (r *DynamoDB) List(ctx context.Context, prefix string) (values map[string][]byte, err error) {
	if err = checkPrefix(prefix); err == nil {
		err = r.ready(ctx)
	}
	if err == nil {
		values, err = r.query(ctx, prefix)
	}
	if err != nil {
		return nil, fmt.Errorf("listing %q in the register: %w", prefix, cloud.ExplainOf("table "+r.table, err))
	}
	return values, nil
}

func (r *DynamoDB) query(ctx context.Context, prefix string) (map[string][]byte, error) {
	in := &dynamodb.QueryInput{
		TableName:                 &r.table,
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String(attributeScope + " = :scope"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":scope": &types.AttributeValueMemberS{Value: r.scope}},
	}
	if prefix != "" { // an empty one is refused
		in.KeyConditionExpression = aws.String(attributeScope + " = :scope AND begins_with(" + attributeName + ", :prefix)")
		in.ExpressionAttributeValues[":prefix"] = &types.AttributeValueMemberS{Value: prefix}
	}
	values := map[string][]byte{}
	for {
		out, err := r.calls.Query(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, item := range out.Items {
			name, ok := item[attributeName].(*types.AttributeValueMemberS)
			if !ok {
				return nil, errors.New("item without a name")
			}
			value, _, err := read(item)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", name.Value, err)
			}
			if value != nil {
				values[name.Value] = value
			}
		}
		if out.LastEvaluatedKey == nil {
			return values, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey // 1 MB was read
	}
}

// Swap implements Register.
func (r *DynamoDB) Swap(ctx context.Context, name string, before, after []byte) error {
	err := checkSwap(name, before, after)
	if err == nil {
		err = r.ready(ctx)
	}
	if err == nil {
		s := swapping{register: r, name: name, before: before, after: after, mark: make([]byte, markBytes)}
		_, _ = rand.Read(s.mark) // never fails
		err = s.run(ctx)
	}
	if err != nil {
		return fmt.Errorf("swapping %q in the register: %w", name, cloud.ExplainOf("table "+r.table, err))
	}
	return nil
}
