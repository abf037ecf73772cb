package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

// Options are the flags of every command that may work on AWS. What they leave
// out comes from where AWS's own tools take it: AWS_PROFILE, AWS_REGION,
// AWS_ENDPOINT_URL (and AWS_ENDPOINT_URL_S3 and so on), ~/.aws, and the role
// of the machine or the container.
type Options struct {
	Profile  string `name:"aws-profile" help:"Profile of the AWS configuration files. Empty: AWS_PROFILE, or none." group:"aws"`
	Region   string `name:"aws-region" help:"Region of AWS. Empty: AWS_REGION, or the profile's." group:"aws"`
	Endpoint string `name:"aws-endpoint" help:"URL that answers for every service of AWS, such as a local emulator. Empty: AWS_ENDPOINT_URL, or AWS itself." placeholder:"URL" group:"aws"`
	Prefix   string `name:"aws-prefix" help:"First part of the names of everything on AWS." default:"tallystream" env:"TALLYSTREAM_AWS_PREFIX" group:"aws"`
	Bucket   string `name:"aws-bucket" help:"Name of the bucket. Empty: made of prefix, election, account and region." env:"TALLYSTREAM_AWS_BUCKET" group:"aws"`
}

// Clients of the services, safe for concurrent use. Their time limits and
// retries are in budgets.go.
type Clients struct {
	Kinesis  *kinesis.Client
	DynamoDB *dynamodb.Client
	S3       *s3.Client
	KMS      *kms.Client
	STS      *sts.Client

	Region   string
	Endpoint string // "" means AWS itself
}

// Option is a choice in opening Clients.
type Option func(*opening)

type opening struct {
	wrap        []func(http.RoundTripper) http.RoundTripper
	credentials aws.CredentialsProvider
	logger      logging.Logger
}

// WithHTTP puts a transport between the SDK and the network, once for each
// service. STS is left out: it is only asked whose account this is.
func WithHTTP(wrap func(http.RoundTripper) http.RoundTripper) Option {
	return func(o *opening) { o.wrap = append(o.wrap, wrap) }
}

// WithKeys uses these credentials instead of those of the environment.
func WithKeys(id, secret string) Option {
	return func(o *opening) { o.credentials = credentials.NewStaticCredentialsProvider(id, secret, "") }
}

// WithLog gives what the SDK itself has to say, such as a connection that could
// not be used again, to a log at debug level. Without it nobody is told: every
// error comes back from its call as well.
func WithLog(log *slog.Logger) Option {
	return func(o *opening) {
		o.logger = logging.LoggerFunc(func(kind logging.Classification, format string, v ...any) {
			log.Debug("aws sdk", "kind", string(kind), "text", fmt.Sprintf(format, v...))
		})
	}
}

// credentialsTimeout bounds the search for credentials: without any, the SDK
// asks the machine's metadata service, which off AWS does not answer.
const credentialsTimeout = 15 * time.Second

// EmulatorRegion is the region of an endpoint on the loopback interface when
// none is configured; its credentials are "test" then.
const EmulatorRegion = "us-east-1"

// Open makes the clients. It fails, with a *Problem, when there is no region
// or there are no credentials; it does not talk to the services.
func Open(ctx context.Context, o Options, options ...Option) (*Clients, error) {
	opening := opening{logger: logging.Nop{}}
	for _, option := range options {
		option(&opening)
	}
	if err := checkEndpoint(o.Endpoint); err != nil {
		return nil, err
	}
	load := []func(*config.LoadOptions) error{config.WithLogger(opening.logger)}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Endpoint != "" {
		load = append(load, config.WithBaseEndpoint(o.Endpoint))
	}
	if opening.credentials != nil {
		load = append(load, config.WithCredentialsProvider(opening.credentials))
	} else if o.Profile == "" && isEmulated(o.Endpoint) {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("test", "test", "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", Explain(err))
	}
	if cfg.Region == "" && isLoopback(aws.ToString(cfg.BaseEndpoint)) {
		cfg.Region = EmulatorRegion
	}
	if cfg.Region == "" {
		return nil, &Problem{Kind: NoRegion, Advice: "give --aws-region, or set AWS_REGION or a region in the profile"}
	}
	if err := findCredentials(ctx, cfg); err != nil {
		return nil, err
	}
	return newClients(cfg, opening.wrap), nil
}

func findCredentials(ctx context.Context, cfg aws.Config) error {
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	if cfg.Credentials == nil {
		return &Problem{Kind: NoCredentials, Advice: adviceCredentials}
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		explained := Explain(err)
		if problem := (*Problem)(nil); errors.As(explained, &problem) {
			return explained
		}
		return &Problem{Kind: NoCredentials, Advice: adviceCredentials, Err: err}
	}
	return nil
}

// checkEndpoint refuses what the SDK would fail on much later.
func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("--aws-endpoint %q: want a URL such as http://127.0.0.1:5000", endpoint)
	}
	return nil
}

// isEmulated says that requests go to a loopback endpoint and nobody has
// configured credentials, so that a made-up pair will do.
func isEmulated(endpoint string) bool {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE"} {
		if os.Getenv(name) != "" {
			return false
		}
	}
	if endpoint == "" {
		endpoint = os.Getenv("AWS_ENDPOINT_URL")
	}
	return isLoopback(endpoint)
}

func isLoopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Account asks whose account the credentials belong to.
func (c *Clients) Account(ctx context.Context) (string, error) {
	out, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("asking for the account: %w", Explain(err))
	}
	return aws.ToString(out.Account), nil
}
