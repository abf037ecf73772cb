package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"tallystream/schemas"
	"tallystream/service/cloud"
)

// mostSkew is how far this machine's clock may be from AWS's. A Date header has
// whole seconds; times in snapshots should be right to the second or two.
const mostSkew = 10 * time.Second

// cloud asks AWS what the service will ask, with calls that change nothing.
func (p *Preflight) cloud(ctx context.Context, name string, o Options) {
	p.region(ctx, o.Cloud)
	clock := &clock{now: p.World.Now}
	clients, err := p.open(ctx, o.Cloud, clock)
	if err != nil {
		p.refused(ctx, "--stores aws", err)
		return
	}
	names, ok := p.names(ctx, clients, o)
	if ok {
		p.rights(ctx, attemptsOf(name, clients, names, p.keyIsHere(o)))
	}
	if skew, known := clock.skew(); known && skew.Abs() > mostSkew {
		direction := "ahead of"
		if skew < 0 {
			direction = "behind"
		}
		p.Wrong("the clock of this machine", "set it with NTP (chronyc makestep), and keep chronyd running", "it is %s %s AWS's", skew.Abs().Round(time.Second), direction)
	}
}

// open makes the clients. Without a region it looks for credentials all the
// same, so that both lacks are told.
func (p *Preflight) open(ctx context.Context, o cloud.Options, c *clock) (*cloud.Clients, error) {
	options := append([]cloud.Option{cloud.WithHTTP(c.wrap)}, p.World.Cloud...)
	clients, err := cloud.Open(ctx, o, options...)
	if cloud.KindOf(err) != cloud.NoRegion {
		return clients, err
	}
	p.refused(ctx, "--aws-region", err)
	o.Region = cloud.EmulatorRegion
	if _, err := cloud.Open(ctx, o, options...); err != nil {
		return nil, err
	}
	return nil, err
}

// regions of AWS that this program knows by name, to guess what was meant.
var regions = strings.Fields(`af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1 ap-southeast-2
	ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7 ca-central-1 ca-west-1 cn-north-1 cn-northwest-1 eu-central-1 eu-central-2
	eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 eusc-de-east-1 il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1 us-east-1
	us-east-2 us-gov-east-1 us-gov-west-1 us-west-1 us-west-2`)

var regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-\d{1,2}$`)

// region is wrong if it has no region's shape, or if AWS has no such address.
// A region that is new to this program is only looked up.
func (p *Preflight) region(ctx context.Context, o cloud.Options) {
	region, setting := o.Region, "--aws-region"
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region == "" && p.World.Getenv(name) != "" {
			region, setting = p.World.Getenv(name), name
		}
	}
	if region == "" {
		return // a profile may have one
	}
	advice := "give one such as us-east-1"
	if near := nearest(region, regions); near != "" {
		advice = "did you mean " + near + "?"
	}
	if !regionName.MatchString(region) {
		p.Wrong(setting, advice, "%q is not the name of a region", region)
		return
	}
	for _, known := range regions {
		if region == known {
			return
		}
	}
	if o.Endpoint != "" || p.World.Getenv("AWS_ENDPOINT_URL") != "" {
		return // an emulator may call it what it likes
	}
	_, err := p.World.Lookup(ctx, "kinesis."+region+".amazonaws.com")
	var missing *net.DNSError
	switch {
	case errors.As(err, &missing) && missing.IsNotFound:
		p.Wrong(setting, advice, "AWS has no region %q", region)
	case err != nil:
		p.Wrong(setting, advice, "%q is no region that this program knows, and its address cannot be looked up", region)
	}
}

// nearest is the name that differs from s in at most 2 letters put in, left
// out or changed, or "".
func nearest(s string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		if d := distance(s, name); d < least {
			best, least = name, d
		}
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := corner
			if a[i] != b[j] {
				change++
			}
			corner = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// names of what the election has on AWS. Their faults are those of flags.
func (p *Preflight) names(ctx context.Context, clients *cloud.Clients, o Options) (cloud.Names, bool) {
	if rest, ok := strings.CutPrefix(o.Cloud.Bucket, "arn:"); ok {
		p.Wrong("--aws-bucket", "give the bucket's name, "+rest[strings.LastIndexAny(rest, ":/")+1:], "it is an ARN")
		return cloud.Names{}, false
	}
	b, err := os.ReadFile(Data{Dir: o.Data}.DefinitionPath())
	if err != nil {
		return cloud.Names{}, false // told already
	}
	opened, err := schemas.OpenElection(b)
	if err != nil {
		return cloud.Names{}, false
	}
	names, err := clients.Names(ctx, o.Cloud, opened.Definition.Election)
	if err != nil {
		p.refused(ctx, "--aws-bucket", err)
		return cloud.Names{}, false
	}
	return names, true
}

// keyIsHere says that the publisher signs with a key of its own, not KMS's.
func (p *Preflight) keyIsHere(o Options) bool {
	_, err := os.Stat(Data{Dir: o.Data}.KeyPath(publishService))
	return err == nil || p.World.Getenv(KeyVariable(publishService)) != ""
}

// attempt is a call that the service will need, and that changes nothing.
type attempt struct {
	setting string // what is tried, as an operator knows it
	do      func(context.Context) error
}

// rights makes all attempts at a time and tells what was refused, in their order.
func (p *Preflight) rights(ctx context.Context, attempts []attempt) {
	errs := make([]error, len(attempts))
	var g errgroup.Group
	for i, a := range attempts {
		g.Go(func() error { errs[i] = a.do(ctx); return nil })
	}
	_ = g.Wait() // they return nil
	for i, err := range errs {
		if err != nil {
			p.refused(ctx, attempts[i].setting, err)
		}
	}
}

// attemptsOf are the calls of a service. The right to put records and objects
// cannot be tried without putting one.
func attemptsOf(name string, c *cloud.Clients, n cloud.Names, keyIsHere bool) []attempt {
	stream := attempt{"stream " + n.Stream, func(ctx context.Context) error {
		_, err := c.Kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &n.Stream})
		return err
	}}
	ledger, control := reading(c, n.Ledger), reading(c, n.Control)
	switch name {
	case fanoutService:
		return []attempt{object(c, n.Bucket)}
	case ingestService:
		return []attempt{stream, ledger, control}
	case publishService:
		all := []attempt{ledger, control, writing(c, n.Control), object(c, n.Bucket)}
		if !keyIsHere {
			all = append(all, signing(c, n.Key))
		}
		return all
	}
	return []attempt{stream, ledger, writing(c, n.Ledger), control, writing(c, n.Control)}
}

// nowhere is a key that no row has.
func nowhere() map[string]ddbtypes.AttributeValue {
	return map[string]ddbtypes.AttributeValue{
		cloud.PartitionKey: &ddbtypes.AttributeValueMemberS{Value: "preflight"}, cloud.SortKey: &ddbtypes.AttributeValueMemberS{Value: "preflight"},
	}
}

func reading(c *cloud.Clients, table string) attempt {
	return attempt{"reading table " + table, func(ctx context.Context) error {
		_, err := c.DynamoDB.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: nowhere()})
		return err
	}}
}

// writing tries to write on a condition that does not hold.
func writing(c *cloud.Clients, table string) attempt {
	return attempt{"writing table " + table, func(ctx context.Context) error {
		_, err := c.DynamoDB.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &table, Item: nowhere(), ConditionExpression: aws.String("attribute_exists(" + cloud.PartitionKey + ")"),
		})
		if held := (*ddbtypes.ConditionalCheckFailedException)(nil); errors.As(err, &held) {
			return nil
		}
		return err
	}}
}

func object(c *cloud.Clients, bucket string) attempt {
	return attempt{"reading bucket " + bucket, func(ctx context.Context) error {
		out, err := c.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String(schemas.LatestKey)})
		if missing := (*s3types.NoSuchKey)(nil); errors.As(err, &missing) {
			return nil // nothing is published yet
		}
		if err != nil {
			return err
		}
		return out.Body.Close()
	}}
}

// signing asks whether a signature would be given; none is.
func signing(c *cloud.Clients, key string) attempt {
	return attempt{"signing with " + key, func(ctx context.Context) error {
		if _, err := c.KMS.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &key}); err != nil {
			return err
		}
		_, err := c.KMS.Sign(ctx, &kms.SignInput{
			KeyId: &key, Message: []byte("preflight"), MessageType: kmstypes.MessageTypeRaw, SigningAlgorithm: kmstypes.SigningAlgorithmSpecEd25519Sha512,
			DryRun: aws.Bool(true),
		})
		if would := (*kmstypes.DryRunOperationException)(nil); errors.As(err, &would) {
			return nil
		}
		return err
	}}
}

// clock measures this machine's clock against the Date header of each answer.
type clock struct {
	now func() time.Time

	mu    sync.Mutex // guards all below
	off   time.Duration
	least time.Duration // round trip of the answer that off is from; 0: none
}

func (c *clock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		before := c.now()
		res, err := next.RoundTrip(r)
		if err == nil {
			c.saw(res.Header.Get("Date"), before, c.now())
		}
		return res, err
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// saw takes the quickest answer for the best: its time was said in the least interval.
func (c *clock) saw(date string, before, after time.Time) {
	said, err := http.ParseTime(date)
	if err != nil {
		return
	}
	trip := max(after.Sub(before), 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.least == 0 || trip < c.least {
		// A header's second has begun, half of one ago on average.
		c.off, c.least = before.Add(trip/2).Sub(said.Add(500*time.Millisecond)), trip
	}
}

// skew is by how much this machine is ahead. It is not known when each answer
// took longer than the skew that counts.
func (c *clock) skew() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off, c.least > 0 && c.least < mostSkew
}
