package register

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"tallystream/service/cloud"
)

const (
	// attempts of one swap. With the pauses between them it gives up on a table
	// that refuses everything at once after 1.6 s on average.
	attempts = 8
	// attemptTimeout is how long one of them may take. The service answers
	// within milliseconds; a lease cannot wait long.
	attemptTimeout = 2 * time.Second
	// The pause before the next attempt is drawn evenly from zero to a limit
	// that doubles from firstPause to longestPause.
	firstPause, longestPause = 40 * time.Millisecond, time.Second
	// markBytes is how long a mark is: no two calls have the same one.
	markBytes = 16
)

// swapping is one call of DynamoDB.Swap. It repeats its write by itself, one
// attempt of the SDK at a time: the SDK would take a lost answer and then the
// refusal of its repetition, and report a conflict with our own write.
//
// All attempts have the same condition and leave the same mark. So at most one
// of them acts, and who finds the mark knows that one has.
type swapping struct {
	register            *DynamoDB
	name                string
	before, after, mark []byte
	// doubt is the error of the first attempt that may have acted, or may act
	// yet.
	doubt error
}

// verdict is what one attempt says.
type verdict int

const (
	swapped verdict = iota
	refused         // this attempt did nothing, and no other will do better
	again           // it did nothing, or nobody knows: repeat
)

func (s *swapping) run(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		says, err := s.attempt(ctx)
		if says == swapped {
			return s.clear(ctx)
		}
		if says == refused {
			return s.undecided(err)
		}
		if attempt == attempts || !rest(ctx, attempt) {
			return s.look(ctx, err)
		}
	}
}

// rest pauses after an attempt. It reports false when ctx ended.
func rest(ctx context.Context, attempt int) bool {
	timer := time.NewTimer(rand.N(min(firstPause<<(attempt-1), longestPause)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt writes once.
func (s *swapping) attempt(ctx context.Context) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	_, err := s.register.calls.PutItem(ctx, s.input(), cloud.OneAttempt)
	if err == nil {
		return swapped, nil
	}
	if conflict := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &conflict) {
		if _, mark, readErr := read(conflict.Item); readErr == nil && s.isOurs(mark) {
			return swapped, nil // an earlier attempt acted, or the network sent this one twice
		}
		return refused, ErrConflict
	}
	switch {
	case !isRefusal(err):
		if s.doubt == nil {
			s.doubt = err
		}
		return again, err
	case isPassing(err):
		return again, err
	}
	return refused, err
}

// input puts an item, conditioned on the value. A removal leaves an item
// without a value: it bears the mark, so that it can be proved as well.
func (s *swapping) input() *dynamodb.PutItemInput {
	in := &dynamodb.PutItemInput{
		TableName:                           &s.register.table,
		Item:                                s.register.key(s.name),
		ConditionExpression:                 aws.String("attribute_not_exists(" + attributeValue + ")"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	in.Item[attributeMark] = &types.AttributeValueMemberB{Value: s.mark}
	if len(s.after) > 0 {
		in.Item[attributeValue] = &types.AttributeValueMemberB{Value: s.after}
	}
	if len(s.before) > 0 {
		in.ConditionExpression = aws.String(attributeValue + " = :before")
		in.ExpressionAttributeValues = map[string]types.AttributeValue{":before": &types.AttributeValueMemberB{Value: s.before}}
	}
	return in
}

func (s *swapping) isOurs(mark []byte) bool { return bytes.Equal(mark, s.mark) }

// undecided returns the error of a refusal: it says for certain that nothing
// was written only if no earlier attempt may have.
func (s *swapping) undecided(err error) error {
	switch s.doubt {
	case nil:
		return err
	case err:
		return fmt.Errorf("outcome is unknown: %w", err)
	}
	return fmt.Errorf("outcome is unknown: %w (then %v)", s.doubt, err) // not %w: it must not be ErrConflict
}

// look reads what is there after the last attempt failed with err. The mark
// proves that an attempt acted; without it one may act yet.
func (s *swapping) look(ctx context.Context, err error) error {
	if s.doubt == nil {
		return err
	}
	// The caller's time may be over; this is short and decides a lot.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	_, mark, readErr := s.register.get(ctx, s.name)
	if readErr == nil && s.isOurs(mark) {
		return s.clear(ctx)
	}
	return s.undecided(err)
}

// clear takes away the item that a removal has left, unless somebody wrote it
// anew. If it fails, the item stays and says that there is no value.
func (s *swapping) clear(ctx context.Context) error {
	if len(s.after) > 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	_, _ = s.register.calls.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName:                 &s.register.table,
		Key:                       s.register.key(s.name),
		ConditionExpression:       aws.String(attributeMark + " = :mark"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":mark": &types.AttributeValueMemberB{Value: s.mark}},
	}, cloud.OneAttempt)
	return nil
}

// isRefusal reports whether the service itself said that it did not do it:
// with an error code, and a status that blames the request.
func isRefusal(err error) bool {
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	return errors.As(err, &api) && errors.As(err, &response) && response.HTTPStatusCode() >= 400 && response.HTTPStatusCode() < http.StatusInternalServerError
}

// isPassing reports whether a refusal is only one of the rate, or of another
// write of the item at the same moment.
func isPassing(err error) bool {
	var busy *types.TransactionConflictException
	return errors.As(err, &busy) || retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}.IsErrorThrottle(err) == aws.TrueTernary
}
