package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	ktypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"tallystream/service/cloud"
	"tallystream/service/cloud/faults"
)

// server is a strict AWS that has acted on each request that it lists. A
// PutRecords lists its records.
type server struct {
	mu    sync.Mutex
	acted []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	o := faults.OperationOf(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := "{}"
	switch o.Name {
	case "PutRecords":
		var request struct {
			Records []struct{ PartitionKey string }
		}
		if err := json.Unmarshal(body, &request); err != nil || len(request.Records) == 0 {
			http.Error(w, "no records", http.StatusTeapot)
			return
		}
		var puts []string
		for _, record := range request.Records {
			s.acted = append(s.acted, record.PartitionKey)
			puts = append(puts, fmt.Sprintf(`{"SequenceNumber":"%d","ShardId":"shardId-%s"}`, len(s.acted), record.PartitionKey))
		}
		answer = `{"FailedRecordCount":0,"Records":[` + strings.Join(puts, ",") + `]}`
	case "GetItem":
		s.acted = append(s.acted, o.Name)
		answer = `{"Item":{"pk":{"S":"` + strings.Repeat("x", 1000) + `"}}}`
	default:
		s.acted = append(s.acted, o.Name)
		if o.Service == "S3" {
			answer = ""
		}
	}
	w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE([]byte(answer))))
	_, _ = io.WriteString(w, answer)
}

func (s *server) list() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.acted, " ")
}

// failing opens clients whose network fails by plan, over a strict server.
func failing(t *testing.T, plan string, options ...faults.Option) (*cloud.Clients, *faults.Network, *server) {
	t.Helper()
	p, err := faults.Parse(7, plan)
	if err != nil {
		t.Fatal(err)
	}
	n, err := faults.New(p, options...)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	c, err := cloud.Open(t.Context(), cloud.Options{Endpoint: h.URL, Region: "us-east-1"}, cloud.WithKeys("a", "b"), cloud.WithHTTP(n.Over))
	if err != nil {
		t.Fatal(err)
	}
	return c, n, s
}

func transact(ctx context.Context, c *cloud.Clients) error {
	item := func(pk string) dtypes.TransactWriteItem {
		return dtypes.TransactWriteItem{Put: &dtypes.Put{TableName: aws.String("t"), Item: map[string]dtypes.AttributeValue{"pk": &dtypes.AttributeValueMemberS{Value: pk}}}}
	}
	_, err := c.DynamoDB.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []dtypes.TransactWriteItem{item("a"), item("b"), item("c")}}, cloud.OneAttempt)
	return err
}

func get(ctx context.Context, c *cloud.Clients) error {
	_, err := c.DynamoDB.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("t"), Key: map[string]dtypes.AttributeValue{"pk": &dtypes.AttributeValueMemberS{Value: "a"}}}, cloud.OneAttempt)
	return err
}

func putObject(ctx context.Context, c *cloud.Clients) error {
	_, err := c.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Body: strings.NewReader("text")},
		func(o *s3.Options) { o.RetryMaxAttempts = 1 })
	return err
}

func putNew(ctx context.Context, c *cloud.Clients) error {
	_, err := c.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Body: strings.NewReader("text"), IfNoneMatch: aws.String("*")},
		func(o *s3.Options) { o.RetryMaxAttempts = 1 })
	return err
}

func getRecords(ctx context.Context, c *cloud.Clients) error {
	_, err := c.Kinesis.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String("i")})
	return err
}

func sign(ctx context.Context, c *cloud.Clients) error {
	_, err := c.KMS.Sign(ctx, &kms.SignInput{KeyId: aws.String("k"), Message: []byte("m"), SigningAlgorithm: "ED25519_SHA_512"},
		func(o *kms.Options) { o.RetryMaxAttempts = 1 })
	return err
}

func TestEachFaultIsWhatTheServiceWouldSayAndDo(t *testing.T) {
	t.Parallel()
	as := func(target any) func(error) bool { return func(err error) bool { return errors.As(err, target) } }
	broken := func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
	kind := func(k cloud.Kind) func(error) bool { return func(err error) bool { return cloud.KindOf(err) == k } }
	code := func(want string) func(error) bool {
		return func(err error) bool { return err != nil && strings.Contains(err.Error(), want) }
	}
	fine := func(err error) bool { return err == nil }
	for _, c := range []struct {
		plan  string
		call  func(context.Context, *cloud.Clients) error
		want  func(error) bool
		acted string
	}{
		{"TransactWriteItems#1=conflict", transact, as(new(*dtypes.TransactionCanceledException)), ""},
		{"TransactWriteItems#1=in-progress", transact, as(new(*dtypes.TransactionInProgressException)), ""},
		{"TransactWriteItems#1=before", transact, broken, ""},
		{"TransactWriteItems#1=after", transact, broken, "TransactWriteItems"},
		{"TransactWriteItems#1=duplicate", transact, fine, "TransactWriteItems TransactWriteItems"},
		{"TransactWriteItems#1=internal", transact, as(new(*dtypes.InternalServerError)), ""},
		{"TransactWriteItems#1=internal-after", transact, as(new(*dtypes.InternalServerError)), "TransactWriteItems"},
		{"TransactWriteItems#1=unavailable", transact, code("StatusCode: 503"), ""},
		{"TransactWriteItems#1=late", transact, broken, ""},
		{"TransactWriteItems#2=after", transact, fine, "TransactWriteItems"},
		{"DynamoDB.GetItem#1=throttle", get, kind(cloud.Throttled), ""},
		{"DynamoDB.GetItem#1=cut", get, func(err error) bool { return err != nil }, "GetItem"},
		{"S3.*#1=throttle", putObject, kind(cloud.Throttled), ""},
		{"PutObject#1=internal", putObject, code("InternalError"), ""},
		{"PutObject#1=after", putObject, broken, "PutObject"},
		{"PutObject#1=conflict", putObject, fine, "PutObject"}, // which had no condition
		{"PutObject#1=conflict", putNew, code("ConditionalRequestConflict"), ""},
		{"GetRecords#1=throttle", getRecords, as(new(*ktypes.ProvisionedThroughputExceededException)), ""},
		{"GetRecords#1=expired", getRecords, as(new(*ktypes.ExpiredIteratorException)), ""},
		{"KMS.Sign#1=throttle", sign, kind(cloud.Throttled), ""},
		{"PutRecords#1=partial;*#1=expired", sign, fine, "Sign"}, // which are not for KMS
	} {
		clients, network, server := failing(t, c.plan)
		err := c.call(t.Context(), clients)
		if !c.want(err) {
			t.Errorf("%s: %v", c.plan, err)
		}
		if got := server.list(); got != c.acted {
			t.Errorf("%s: the service did %q, want %q (%v)\n%s", c.plan, got, c.acted, err, network.Counts())
		}
	}
}

func TestACancelledTransactionHasAReasonForEachItem(t *testing.T) {
	t.Parallel()
	clients, _, _ := failing(t, "TransactWriteItems:conflict=1")
	guilty := map[int]bool{}
	for range 40 {
		var cancelled *dtypes.TransactionCanceledException
		if err := transact(t.Context(), clients); !errors.As(err, &cancelled) || len(cancelled.CancellationReasons) != 3 {
			t.Fatalf("%v", err)
		}
		for i, r := range cancelled.CancellationReasons {
			switch aws.ToString(r.Code) {
			case "TransactionConflict":
				guilty[i] = true
			case "None":
			default:
				t.Errorf("reason %q", aws.ToString(r.Code))
			}
		}
	}
	if len(guilty) != 3 {
		t.Errorf("only items %v were ever in conflict", guilty)
	}
}

// putRecords puts n records named 0, 1, 2 ... and returns which failed.
func putRecords(t *testing.T, c *cloud.Clients, n int) (failed []bool) {
	t.Helper()
	in := &kinesis.PutRecordsInput{StreamName: aws.String("s")}
	for i := range n {
		in.Records = append(in.Records, ktypes.PutRecordsRequestEntry{Data: []byte("x"), PartitionKey: aws.String(fmt.Sprint(i))})
	}
	out, err := c.Kinesis.PutRecords(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for i, r := range out.Records {
		bad := r.ErrorCode != nil
		failed = append(failed, bad)
		switch {
		case bad:
			count++
		case aws.ToString(r.ShardId) != fmt.Sprintf("shardId-%d", i):
			t.Errorf("record %d has the answer of another: %s", i, aws.ToString(r.ShardId))
		}
	}
	if len(failed) != n || count != int(aws.ToInt32(out.FailedRecordCount)) || count == 0 {
		t.Errorf("%d answers for %d, %d failed, said to be %d", len(failed), n, count, aws.ToInt32(out.FailedRecordCount))
	}
	return failed
}

func TestOfAPartialPutRecordsExactlyTheFailedOnesAreNotStored(t *testing.T) {
	t.Parallel()
	clients, _, server := failing(t, "PutRecords:partial=1")
	var want []string
	for range 50 {
		for i, bad := range putRecords(t, clients, 5) {
			if !bad {
				want = append(want, fmt.Sprint(i))
			}
		}
	}
	if got := server.list(); got != strings.Join(want, " ") || len(want) == 0 {
		t.Errorf("stored %s, want %s", got, want)
	}
}

func TestPartialAfterStoresWhatItSaysHasFailed(t *testing.T) {
	t.Parallel()
	clients, _, server := failing(t, "PutRecords:partial-after=1")
	putRecords(t, clients, 4)
	if got := server.list(); got != "0 1 2 3" {
		t.Errorf("stored %s, want all", got)
	}
}

func TestALateRequestIsOvertakenByItsRepetition(t *testing.T) {
	t.Parallel()
	clients, network, server := failing(t, "PutRecords#1=late")
	put := func(key string) error {
		_, err := clients.Kinesis.PutRecords(t.Context(), &kinesis.PutRecordsInput{
			StreamName: aws.String("s"), Records: []ktypes.PutRecordsRequestEntry{{Data: []byte("x"), PartitionKey: &key}},
		})
		return err
	}
	if err := put("first"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the first: %v", err)
	}
	if err := put("second"); err != nil {
		t.Error(err)
	}
	if got := server.list(); got != "second first" {
		t.Errorf("stored %s, want second first", got)
	}
	network.Flush(t.Context()) // nothing is left
	if got := server.list(); got != "second first" {
		t.Errorf("after a flush: %s", got)
	}
}

func TestASlowAnswerIsLostWhenItsCallerHasLeft(t *testing.T) {
	t.Parallel()
	var slept []time.Duration
	leave := errors.New("left")
	clients, _, server := failing(t, "GetItem:slow=1", faults.WithDelay(3*time.Second),
		faults.WithSleep(func(_ context.Context, d time.Duration) error {
			slept = append(slept, d)
			if len(slept) == 2 {
				return leave
			}
			return nil
		}))
	if err := get(t.Context(), clients); err != nil {
		t.Errorf("slow: %v", err)
	}
	if err := get(t.Context(), clients); !errors.Is(err, leave) {
		t.Errorf("left: %v", err)
	}
	if len(slept) != 2 || slept[0] != 3*time.Second || server.list() != "GetItem GetItem" {
		t.Errorf("slept %v, did %s", slept, server.list())
	}
}

func TestTheSameSeedFailsTheSameRequestsWhateverElseHappens(t *testing.T) {
	t.Parallel()
	run := func(seed uint64, between int) string {
		p, err := faults.Parse(seed, "TransactWriteItems:throttle=0.2,before=0.2,after=0.2; GetItem:before=0.5")
		if err != nil {
			t.Fatal(err)
		}
		n, err := faults.New(p)
		if err != nil {
			t.Fatal(err)
		}
		h := httptest.NewServer(&server{})
		defer h.Close()
		c, err := cloud.Open(t.Context(), cloud.Options{Endpoint: h.URL, Region: "us-east-1"}, cloud.WithKeys("a", "b"), cloud.WithHTTP(n.Over))
		if err != nil {
			t.Fatal(err)
		}
		var trace strings.Builder
		for range 60 {
			for range between {
				_ = get(t.Context(), c)
			}
			before := n.Counts()
			_ = transact(t.Context(), c)
			after := n.Counts()
			for _, k := range faults.Kinds {
				f := faults.Fault{Operation: faults.Operation{Service: "DynamoDB", Name: "TransactWriteItems"}, Kind: k}
				if after.Faults[f] > before.Faults[f] {
					trace.WriteString(string(k))
				}
			}
			trace.WriteByte('.')
		}
		return trace.String()
	}
	one := run(1, 0)
	if again := run(1, 0); again != one {
		t.Errorf("seed 1 gives %s and then %s", one, again)
	}
	if busy := run(1, 2); busy != one {
		t.Errorf("seed 1 gives %s, and %s beside other requests", one, busy)
	}
	if other := run(2, 0); other == one {
		t.Errorf("seed 2 gives the same as seed 1: %s", other)
	}
}

func TestFaultsAreCountedByOperationAndKind(t *testing.T) {
	t.Parallel()
	clients, network, _ := failing(t, "GetItem:before=0.25; TransactWriteItems#2=after")
	network.Pause()
	for range 10 {
		if err := get(t.Context(), clients); err != nil {
			t.Errorf("a fault in a pause: %v", err)
		}
	}
	network.Resume()
	const n = 400
	failed := uint64(0)
	for range n {
		if get(t.Context(), clients) != nil {
			failed++
		}
	}
	_, _ = transact(t.Context(), clients), transact(t.Context(), clients)
	c := network.Counts()
	if c.Total(faults.Before) != failed || failed < n/8 || failed > n/2 {
		t.Errorf("%d of %d failed, counted %d", failed, n, c.Total(faults.Before))
	}
	want := fmt.Sprintf("operation requests before after DynamoDB.GetItem %d %d 0 DynamoDB.TransactWriteItems 2 0 1", n, failed)
	if got := strings.Join(strings.Fields(c.String()), " "); got != want {
		t.Errorf("the table says\n%s, want %s", c, want)
	}
}

func TestAPlanThatMeansNothingIsRefused(t *testing.T) {
	t.Parallel()
	for plan, want := range map[string]string{
		"PutRecords":                  "want OPERATION",
		"PutRecords#x=after":          "want OPERATION#NUMBER=KIND",
		"PutRecords#0=after":          "from 1",
		"PutRecords#1=gone":           "no kind",
		"PutRecords:after":            "want KIND=PROBABILITY",
		"PutRecords:after=2":          "from 0 to 1",
		"PutRecords:after=NaN":        "from 0 to 1",
		"[:after=0.1":                 "no operation",
		":after=0.1":                  "no operation",
		"GetItem:after=0.1;x:lost=.1": "no kind",
	} {
		if _, err := faults.Parse(1, plan); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", plan, err, want)
		}
	}
	if p, err := faults.Parse(1, " ; "); err != nil || len(p.Chances)+len(p.Exact) != 0 {
		t.Errorf("an empty plan: %+v, %v", p, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("PutRecords:partial=0.1,after=0.05; TransactWriteItems#3=after; S3.*:slow=1")
	f.Fuzz(func(t *testing.T, plan string) {
		p, err := faults.Parse(1, plan)
		if err != nil {
			return
		}
		if _, err := faults.New(p); err != nil {
			t.Errorf("%q is parsed and then refused: %v", plan, err)
		}
	})
}

func TestOperationsOfS3AreNamed(t *testing.T) {
	t.Parallel()
	for request, want := range map[string]string{
		"PUT http://h/b/k?x-id=PutObject":                       "PutObject",
		"GET http://h/b/a/b/c?x-id=GetObject":                   "GetObject",
		"HEAD http://h/b/k":                                     "HeadObject",
		"HEAD http://h/b":                                       "HeadBucket",
		"PUT http://h/b":                                        "CreateBucket",
		"PUT http://h/b?versioning=":                            "PutBucketVersioning",
		"GET http://h/b?list-type=2&prefix=p":                   "ListObjectsV2",
		"DELETE http://h/b/k?x-id=DeleteObject":                 "DeleteObject",
		"HEAD https://b.s3.eu-west-1.amazonaws.com/k":           "HeadObject",
		"GET https://b.s3.eu-west-1.amazonaws.com/?list-type=2": "ListObjectsV2",
	} {
		method, url, _ := strings.Cut(request, " ")
		r, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := faults.OperationOf(r); got != (faults.Operation{Service: "S3", Name: want}) {
			t.Errorf("%s: %v, want S3.%s", request, got, want)
		}
	}
}
