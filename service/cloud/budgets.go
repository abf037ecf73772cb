package cloud

import (
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Budget is how long and how often a call of one service is tried. README.md
// gives the reasons.
type Budget struct {
	Header      time.Duration // from the request's last byte to the answer's first
	Total       time.Duration // one attempt with its body; 0: only its context ends it
	Attempts    int           // by the SDK
	Pause       time.Duration // longest pause before the second attempt; it doubles with each
	MaxPause    time.Duration // longest pause at all
	Connections int           // open at a time
}

// The budgets. The slowest answer that still counts as one is short, since
// whoever waits for it holds a batch of submissions.
var (
	// KinesisBudget leaves every repetition to the adapter, which repeats only
	// the records that failed. No total: SubscribeToShard answers for minutes.
	KinesisBudget = Budget{Header: 5 * time.Second, Attempts: 1, Pause: 100 * time.Millisecond, MaxPause: time.Second, Connections: 128}
	// DynamoDBBudget is for reads. Transactions are sent with OneAttempt, since
	// the ledger decides by the reason of a failure what to do.
	DynamoDBBudget = Budget{Header: 4 * time.Second, Total: 8 * time.Second, Attempts: 6, Pause: 25 * time.Millisecond, MaxPause: 500 * time.Millisecond, Connections: 256}
	// S3Budget repeats: a put is conditional or of bytes that never change.
	S3Budget = Budget{Header: 10 * time.Second, Total: 60 * time.Second, Attempts: 6, Pause: 100 * time.Millisecond, MaxPause: 2 * time.Second, Connections: 256}
	// KMSBudget signs once a tick; a signature made twice does no harm.
	KMSBudget = Budget{Header: 4 * time.Second, Total: 6 * time.Second, Attempts: 5, Pause: 50 * time.Millisecond, MaxPause: time.Second, Connections: 16}
	// STSBudget asks once at the start.
	STSBudget = Budget{Header: 5 * time.Second, Total: 8 * time.Second, Attempts: 4, Pause: 100 * time.Millisecond, MaxPause: time.Second, Connections: 2}
)

// Time limits of making and keeping a connection, the same for all.
const (
	dialTimeout = 3 * time.Second
	tlsTimeout  = 5 * time.Second
	idleTimeout = 50 * time.Second // below a minute, after which load balancers may forget a connection without a word
	keepAlive   = 15 * time.Second
	maxHeader   = 64 << 10
)

// OneAttempt is an option of a single DynamoDB call whose failures its caller
// wants to see.
func OneAttempt(o *dynamodb.Options) { o.RetryMaxAttempts = 1 }

// transport makes the connections of one service.
func (b Budget) transport() http.RoundTripper {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout, d.KeepAlive = dialTimeout, keepAlive }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = tlsTimeout
			t.ResponseHeaderTimeout = b.Header
			t.IdleConnTimeout = idleTimeout
			t.MaxConnsPerHost = b.Connections
			t.MaxIdleConnsPerHost = b.Connections // else a burst closes and opens connections all the time
			t.MaxIdleConns = b.Connections
			t.MaxResponseHeaderBytes = maxHeader
		}).GetTransport()
}

// client is the HTTP client of one service, with what wraps its transport.
func (b Budget) client(wrap []func(http.RoundTripper) http.RoundTripper) *http.Client {
	transport := b.transport()
	for _, w := range wrap {
		transport = w(transport)
	}
	return &http.Client{Transport: transport, Timeout: b.Total, CheckRedirect: followRedirect}
}

// followRedirect obeys 307 and 308 only, as the SDK's own client does: a 301
// of S3 means the wrong region, and Explain says so.
func followRedirect(r *http.Request, via []*http.Request) error {
	code := r.Response.StatusCode
	if len(via) < 3 && (code == http.StatusTemporaryRedirect || code == http.StatusPermanentRedirect) {
		return nil
	}
	return http.ErrUseLastResponse
}

// retryer is the SDK's standard one with pauses of our own: its own are up to
// two seconds before the second attempt, whatever the service. Its token bucket
// (500 tokens, 5 for a repetition) also ends repetitions when most calls fail.
func (b Budget) retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = b.Attempts, b.MaxPause
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return b.pauseAfter(attempt, rand.Float64()), nil
		})
	})
}

// pauseAfter is the pause after a failed attempt, from 1: a share of the
// longest, drawn so that those who failed together do not come back together.
func (b Budget) pauseAfter(attempt int, share float64) time.Duration {
	longest := b.MaxPause
	if doublings := attempt - 1; doublings < 16 {
		longest = min(longest, b.Pause<<doublings)
	}
	return time.Duration(share * float64(longest))
}

func newClients(cfg aws.Config, wrap []func(http.RoundTripper) http.RoundTripper) *Clients {
	return &Clients{
		Region: cfg.Region, Endpoint: aws.ToString(cfg.BaseEndpoint),
		Kinesis: kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
			o.HTTPClient, o.Retryer = KinesisBudget.client(wrap), KinesisBudget.retryer()
		}),
		DynamoDB: dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
			o.HTTPClient, o.Retryer = DynamoDBBudget.client(wrap), DynamoDBBudget.retryer()
		}),
		S3: s3.NewFromConfig(cfg, func(o *s3.Options) {
			o.HTTPClient, o.Retryer = S3Budget.client(wrap), S3Budget.retryer()
			o.DisableLogOutputChecksumValidationSkipped = true // objects are checked by their own digests
			// An emulator's host name has no bucket in front of it.
			o.UsePathStyle = o.BaseEndpoint != nil
		}),
		KMS: kms.NewFromConfig(cfg, func(o *kms.Options) {
			o.HTTPClient, o.Retryer = KMSBudget.client(wrap), KMSBudget.retryer()
		}),
		STS: sts.NewFromConfig(cfg, func(o *sts.Options) {
			o.HTTPClient, o.Retryer = STSBudget.client(nil), STSBudget.retryer()
		}),
	}
}
