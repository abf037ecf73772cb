package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
)

// failure is an error as a service answers it.
type failure struct {
	status  int
	code    string
	message string
	reasons []reason // of TransactionCanceledException
}

// reason why an item's transaction was cancelled.
type reason struct {
	Code    string `json:"Code"`
	Message string `json:"Message,omitempty"`
}

// throttles are the errors of each service for too high a rate, by its API
// reference; one is drawn.
var throttles = map[string][]failure{
	"Kinesis": {{400, "ProvisionedThroughputExceededException", "Rate exceeded for shard shardId-000000000000 in stream.", nil}},
	"DynamoDB": {
		{400, "ThrottlingException", "Throughput exceeds the current capacity of your table or index.", nil},
		{400, "ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the table was exceeded.", nil},
		{400, "RequestLimitExceeded", "Throughput exceeds the current throughput limit for your account.", nil},
	},
	"S3":  {{503, "SlowDown", "Please reduce your request rate.", nil}},
	"KMS": {{400, "ThrottlingException", "You have exceeded the rate at which you may call KMS.", nil}},
}

// refusal is the answer of a service that did not act, or says so.
func refusal(kind Kind, random *rand.Rand, o Operation, r *http.Request, body []byte) (*http.Response, error) {
	switch kind {
	case Throttle:
		return throttled(random, o, r, body)
	case Conflict:
		if strings.HasPrefix(o.Name, "Transact") {
			return cancelled(random, r, body, reason{"TransactionConflict", "Transaction is ongoing for the item"})
		}
		if o.Service == "S3" {
			return answer(o, r, failure{409, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation against this resource.", nil})
		}
		return answer(o, r, failure{400, "TransactionConflictException", "Transaction is ongoing for the item", nil})
	case Expired:
		return answer(o, r, failure{400, "ExpiredIteratorException", "Iterator expired. The iterator was created more than 300 seconds ago.", nil})
	case InProgress:
		return answer(o, r, failure{400, "TransactionInProgressException", "The transaction with the given request token is already in progress.", nil})
	case Unavailable:
		return answer(o, r, failure{503, unavailable[o.Service], "The service is unavailable. Please try again shortly.", nil})
	default:
		return answer(o, r, failure{500, internal[o.Service], "We encountered an internal error. Please try again.", nil})
	}
}

// The codes of each service's own faults.
var (
	internal    = map[string]string{"Kinesis": "InternalFailure", "DynamoDB": "InternalServerError", "S3": "InternalError", "KMS": "KMSInternalException"}
	unavailable = map[string]string{"Kinesis": "ServiceUnavailable", "DynamoDB": "ServiceUnavailable", "S3": "ServiceUnavailable", "KMS": "DependencyTimeoutException"}
)

// throttled answers a transaction in one of two ways, as DynamoDB does: the
// request was refused, or one of its items was.
func throttled(random *rand.Rand, o Operation, r *http.Request, body []byte) (*http.Response, error) {
	if o.Name == "TransactWriteItems" && random.IntN(2) == 0 {
		return cancelled(random, r, body, reason{"ThrottlingError", "Throughput exceeds the current capacity of your table or index."})
	}
	if o.Service == "Kinesis" && (strings.HasPrefix(o.Name, "Describe") || strings.HasPrefix(o.Name, "List")) {
		return answer(o, r, failure{400, "LimitExceededException", "Rate exceeded for the account.", nil})
	}
	kinds := throttles[o.Service]
	if kinds == nil {
		kinds = []failure{{429, "TooManyRequestsException", "Rate exceeded", nil}}
	}
	return answer(o, r, kinds[random.IntN(len(kinds))])
}

// cancelled answers that one item, drawn, was the reason.
func cancelled(random *rand.Rand, r *http.Request, body []byte, why reason) (*http.Response, error) {
	var request struct{ TransactItems []json.RawMessage }
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fmt.Errorf("reading a transaction to refuse it: %w", err)
	}
	if len(request.TransactItems) == 0 {
		return nil, fmt.Errorf("reading a transaction to refuse it: it has no items")
	}
	reasons := make([]reason, len(request.TransactItems))
	codes := make([]string, len(reasons))
	guilty := random.IntN(len(reasons))
	for i := range reasons {
		reasons[i].Code = "None"
		if i == guilty {
			reasons[i] = why
		}
		codes[i] = reasons[i].Code
	}
	return answer(OperationOf(r), r, failure{
		400, "TransactionCanceledException",
		"Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]", reasons,
	})
}

// answer writes a failure in the service's form: XML for S3, JSON for the
// others.
func answer(o Operation, r *http.Request, f failure) (*http.Response, error) {
	if o.Service == "S3" {
		body := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
			`<Error><Code>%s</Code><Message>%s</Message><RequestId>FAULT</RequestId></Error>`, f.code, f.message)
		if r.Method == http.MethodHead {
			body = ""
		}
		return response(r, f.status, "application/xml", []byte(body)), nil
	}
	body, err := json.Marshal(struct {
		Type    string   `json:"__type"`
		Message string   `json:"message"`
		Reasons []reason `json:"CancellationReasons,omitempty"`
	}{typePrefix[o.Service] + f.code, f.message, f.reasons})
	if err != nil {
		return nil, fmt.Errorf("writing a fault: %w", err)
	}
	return response(r, f.status, r.Header.Get("Content-Type"), body), nil
}

// typePrefix stands before DynamoDB's error codes.
var typePrefix = map[string]string{"DynamoDB": "com.amazonaws.dynamodb.v20120810#"}

func response(r *http.Request, status int, contentType string, body []byte) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type": {contentType}, "X-Amzn-Requestid": {"FAULT"},
			"X-Amz-Crc32": {strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)}, // which DynamoDB's client checks
		},
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), Request: r,
	}
}
