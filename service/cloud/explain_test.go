package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tallystream/service/cloud"
)

// answering opens clients of a server that gives everyone one answer.
func answering(t *testing.T, status int, header map[string]string, body string) *cloud.Clients {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE([]byte(body)))) // DynamoDB always sends it
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return reaching(t, server.URL)
}

func reaching(t *testing.T, endpoint string) *cloud.Clients {
	t.Helper()
	c, err := cloud.Open(t.Context(), cloud.Options{Endpoint: endpoint, Region: "eu-west-1", Prefix: "t"}, cloud.WithKeys("id", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// calls of each service, for an error to come back from.
var calls = map[string]func(context.Context, *cloud.Clients) error{
	"dynamodb": func(ctx context.Context, c *cloud.Clients) error {
		_, err := c.DynamoDB.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("the-ledger"), Item: map[string]dynamotypes.AttributeValue{}}, cloud.OneAttempt)
		return err
	},
	"kinesis": func(ctx context.Context, c *cloud.Clients) error {
		_, err := c.Kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("the-stream")})
		return err
	},
	"s3": func(ctx context.Context, c *cloud.Clients) error {
		_, err := c.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("the-bucket"), Key: aws.String("k")}, func(o *s3.Options) { o.RetryMaxAttempts = 1 })
		return err
	},
	"s3 head": func(ctx context.Context, c *cloud.Clients) error {
		_, err := c.S3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("the-bucket")}, func(o *s3.Options) { o.RetryMaxAttempts = 1 })
		return err
	},
	"kms": func(ctx context.Context, c *cloud.Clients) error {
		_, err := c.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/x")}, func(o *kms.Options) { o.RetryMaxAttempts = 1 })
		return err
	},
}

func jsonError(code, message string) string {
	return fmt.Sprintf(`{"__type":%q,"message":%q}`, code, message)
}

func xmlError(code, message string) string {
	return fmt.Sprintf(`<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
}

func TestErrorsOfAWSSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		call   string
		status int
		body   string
		kind   cloud.Kind
		text   string // a part of the sentence
	}{
		{"dynamodb", 400, jsonError("com.amazon.coral.service#ExpiredTokenException", "The security token included in the request is expired"), cloud.Expired, "aws sso login"},
		{"dynamodb", 400, jsonError("com.amazon.coral.service#UnrecognizedClientException", "The security token included in the request is invalid."), cloud.BadKeys, "profile"},
		{"dynamodb", 400, jsonError("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "Requested resource not found: Table: the-ledger not found"), cloud.Missing, "Table: the-ledger"},
		{"dynamodb", 400, jsonError("com.amazon.coral.service#AccessDeniedException", "User: arn:aws:sts::1:assumed-role/r/i is not authorized to perform: dynamodb:PutItem on resource: arn:aws:dynamodb:eu-west-1:1:table/the-ledger because no identity-based policy allows it"), cloud.Denied, "dynamodb:PutItem arn:aws:dynamodb:eu-west-1:1:table/the-ledger"},
		{"dynamodb", 400, jsonError("com.amazon.coral.service#InvalidSignatureException", "Signature expired: 20261121T120000Z is now earlier than 20261121T121500Z"), cloud.ClockSkew, "clock"},
		{"dynamodb", 400, jsonError("com.amazon.coral.service#InvalidSignatureException", "Credential should be scoped to a valid region."), cloud.WrongRegion, "--aws-region"},
		{"dynamodb", 400, jsonError("com.amazon.coral.service#InvalidSignatureException", "The request signature we calculated does not match"), cloud.BadKeys, "secret"},
		{"dynamodb", 400, jsonError("com.amazonaws.dynamodb.v20120810#ThrottlingException", "slow"), cloud.Throttled, "warm throughput"},
		{"dynamodb", 500, jsonError("com.amazonaws.dynamodb.v20120810#InternalServerError", "oops"), cloud.Fault, "health.aws"},
		{"dynamodb", 400, jsonError("UnknownOperationException", ""), cloud.UnknownCall, "emulator"},
		{"kinesis", 400, jsonError("ResourceNotFoundException", "Stream the-stream under account 1 not found."), cloud.Missing, "Stream the-stream"},
		{"kinesis", 400, jsonError("LimitExceededException", "Rate exceeded"), cloud.Quota, "quota"},
		{"kinesis", 400, jsonError("KMSDisabledException", "key arn:aws:kms:eu-west-1:1:key/abc is disabled"), cloud.KeyUnusable, "arn:aws:kms:eu-west-1:1:key/abc"},
		{"kinesis", 400, jsonError("ResourceInUseException", "Stream the-stream under account 1 is not ACTIVE"), cloud.Busy, "ACTIVE"},
		{"kms", 400, jsonError("NotFoundException", "Alias arn:aws:kms:eu-west-1:1:alias/x is not found."), cloud.Missing, "alias/x"},
		{"kms", 400, jsonError("AccessDeniedException", "User: u is not authorized to perform: kms:DescribeKey on resource: arn:aws:kms:eu-west-1:1:key/abc"), cloud.Denied, "kms:DescribeKey"},
		{"s3", 404, xmlError("NoSuchBucket", "The specified bucket does not exist"), cloud.Missing, "tallystream setup"},
		{"s3", 403, xmlError("AccessDenied", "Access Denied"), cloud.Denied, "role"},
		{"s3", 403, xmlError("RequestTimeTooSkewed", "The difference between the request time and the current time is too large."), cloud.ClockSkew, "NTP"},
		{"s3", 400, xmlError("ExpiredToken", "The provided token has expired."), cloud.Expired, "log in again"},
		{"s3", 301, xmlError("PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint."), cloud.WrongRegion, "bucket's region"},
		{"s3", 400, xmlError("AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-2'"), cloud.WrongRegion, "us-east-2"},
		{"s3", 503, xmlError("SlowDown", "Please reduce your request rate."), cloud.Throttled, "again"},
		{"s3 head", 403, "", cloud.Denied, "role"},
		{"s3 head", 404, "", cloud.Missing, "tallystream setup"},
		{"dynamodb", 200, "<html>Welcome to the hotel's network</html>", cloud.NotAWS, "--aws-endpoint"},
		{"dynamodb", 502, "<html>bad gateway</html>", cloud.NotAWS, "HTTP 502"},
	} {
		err := calls[c.call](t.Context(), answering(t, c.status, nil, c.body))
		explained := cloud.Explain(err)
		if cloud.KindOf(err) != c.kind || !strings.Contains(explained.Error(), c.text) {
			t.Errorf("%s %d %s:\n\t%v\n\tkind %q, want %q with %q (from %v)", c.call, c.status, c.body, explained, cloud.KindOf(err), c.kind, c.text, err)
		}
		if explained != nil && strings.ContainsRune(explained.Error(), '\n') {
			t.Errorf("more than one line: %q", explained)
		}
		if !errors.Is(explained, err) {
			t.Errorf("%v does not wrap the SDK's error", explained)
		}
	}
}

func TestWhatAWSDoesNotNameTheCallerNames(t *testing.T) {
	for message, want := range map[string]string{
		"Requested resource not found":                              "it does not exist (table mine)",
		"Requested resource not found: Table: the-ledger not found": "it does not exist (Table: the-ledger)",
	} {
		err := calls["dynamodb"](t.Context(), answering(t, 400, nil, jsonError("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", message)))
		if got := cloud.ExplainOf("table mine", err); !strings.Contains(got.Error(), want) {
			t.Errorf("%s: %v, want %s", message, got, want)
		}
	}
	if cloud.ExplainOf("table mine", nil) != nil {
		t.Error("no error is explained")
	}
}

func TestAWrongRegionOfABucketIsNamedFromTheHeader(t *testing.T) {
	c := answering(t, 301, map[string]string{"X-Amz-Bucket-Region": "us-west-2"}, "")
	err := cloud.Explain(calls["s3 head"](t.Context(), c))
	if cloud.KindOf(err) != cloud.WrongRegion || !strings.Contains(err.Error(), "us-west-2") {
		t.Error(err)
	}
}

func TestAnEndpointThatCannotBeReachedIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	err = cloud.Explain(calls["dynamodb"](t.Context(), reaching(t, "http://"+addr)))
	if cloud.KindOf(err) != cloud.Unreachable || !strings.Contains(err.Error(), addr) {
		t.Errorf("refused: %v", err)
	}
	err = cloud.Explain(calls["dynamodb"](t.Context(), reaching(t, "http://no-such-host.invalid")))
	if cloud.KindOf(err) != cloud.Unreachable || !strings.Contains(err.Error(), "no-such-host.invalid") {
		t.Errorf("no address: %v", err)
	}
}

func TestAnAnswerThatDoesNotComeIsSlowAndOnesOwnCancelIsNot(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that its client has left
		<-r.Context().Done()
	}))
	defer server.Close()
	defer server.CloseClientConnections()
	c := reaching(t, server.URL)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := calls["dynamodb"](ctx, c); cloud.KindOf(err) != cloud.Slow {
		t.Errorf("deadline: kind %q of %v", cloud.KindOf(err), err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := calls["dynamodb"](ctx, c); cloud.KindOf(err) != "" || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: kind %q of %v", cloud.KindOf(err), err)
	}
}

func TestWhatIsNoErrorOfAWSStaysAsItIs(t *testing.T) {
	plain := errors.New("the disk is full")
	if cloud.Explain(plain) != plain || cloud.Explain(nil) != nil {
		t.Error("changed")
	}
	once := cloud.Explain(calls["s3"](t.Context(), answering(t, 404, nil, xmlError("NoSuchBucket", ""))))
	if wrapped := fmt.Errorf("publishing: %w", once); cloud.Explain(wrapped) != wrapped {
		t.Error("explained twice")
	}
}
