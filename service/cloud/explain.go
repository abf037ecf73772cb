package cloud

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Kind of a problem with the cloud, as an operator has to deal with it.
type Kind string

// The kinds.
const (
	NoRegion      Kind = "no region is set"
	NoCredentials Kind = "no credentials were found"
	NoProfile     Kind = "the profile does not exist"
	BadKeys       Kind = "the credentials are not valid"
	Expired       Kind = "the credentials have expired"
	ClockSkew     Kind = "this machine's clock is wrong"
	Denied        Kind = "access is denied"
	WrongRegion   Kind = "it is in another region"
	Missing       Kind = "it does not exist"
	KeyUnusable   Kind = "the KMS key cannot be used"
	Unreachable   Kind = "the endpoint cannot be reached"
	NotAWS        Kind = "what answers is not AWS"
	UnknownCall   Kind = "the endpoint does not know this call" // an emulator's gap
	Slow          Kind = "the answer did not come in time"
	Throttled     Kind = "AWS limits the rate"
	Quota         Kind = "a quota of the account is used up"
	Busy          Kind = "it is being changed"
	Fault         Kind = "AWS has a fault of its own"
)

// Problem is an error of AWS that a person can do something about.
type Problem struct {
	Kind    Kind
	Call    string // "DynamoDB TransactWriteItems", or ""
	Subject string // what is missing or denied, or ""
	Advice  string // what to do
	Err     error  // the SDK's
}

// Error is one sentence.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Call != "" {
		b.WriteString(p.Call + ": ")
	}
	b.WriteString(string(p.Kind))
	if p.Subject != "" {
		b.WriteString(" (" + p.Subject + ")")
	}
	if p.Advice != "" {
		b.WriteString(": " + p.Advice)
	}
	return b.String()
}

// Unwrap returns the SDK's error.
func (p *Problem) Unwrap() error { return p.Err }

// KindOf is the kind of err's Problem, explained first if need be, or "".
func KindOf(err error) Kind {
	var p *Problem
	if errors.As(Explain(err), &p) {
		return p.Kind
	}
	return ""
}

const (
	adviceCredentials = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, log in with \"aws sso login\", or run with a role"
	adviceFault       = "it is tried again; if it stays, look at health.aws.amazon.com"
	adviceEndpoint    = "check --aws-endpoint, AWS_ENDPOINT_URL, the region's name and the network"
)

// finding is what an error code means.
type finding struct {
	kind   Kind
	advice string
}

// findings by error code. Codes are those of the services' API references;
// S3's have no suffix, others may end in "Exception".
var findings = map[string]finding{
	"ExpiredToken":          {Expired, "log in again (\"aws sso login\"), or wait for the role's next credentials"},
	"ExpiredTokenException": {Expired, "log in again (\"aws sso login\"), or wait for the role's next credentials"},
	"TokenRefreshRequired":  {Expired, "log in again (\"aws sso login\")"},

	"UnrecognizedClient":          {BadKeys, "the access key is unknown or the session token is wrong; check which profile is used, and whether the region is enabled for the account"},
	"UnrecognizedClientException": {BadKeys, "the access key is unknown or the session token is wrong; check which profile is used, and whether the region is enabled for the account"},
	"InvalidClientTokenId":        {BadKeys, "the access key is unknown; check which profile is used"},
	"InvalidAccessKeyId":          {BadKeys, "the access key is unknown; check which profile is used"},
	"InvalidToken":                {BadKeys, "the session token does not belong to the access key"},
	"SignatureDoesNotMatch":       {BadKeys, "the secret does not belong to the access key"},
	"IncompleteSignature":         {BadKeys, "the request was not signed as AWS expects; check for a proxy that changes it"},
	"MissingAuthenticationToken":  {NoCredentials, adviceCredentials},

	"RequestTimeTooSkewed": {ClockSkew, "set the clock (NTP); AWS takes no request more than 5 to 15 minutes off"},
	"RequestExpired":       {ClockSkew, "set the clock (NTP); AWS takes no request more than 5 to 15 minutes off"},
	"RequestInTheFuture":   {ClockSkew, "set the clock (NTP); AWS takes no request more than 5 to 15 minutes off"},

	"AccessDenied":             {Denied, "allow this action to the role that runs here"},
	"AccessDeniedException":    {Denied, "allow this action to the role that runs here"},
	"AuthorizationError":       {Denied, "allow this action to the role that runs here"},
	"UnauthorizedOperation":    {Denied, "allow this action to the role that runs here"},
	"AllAccessDisabled":        {Denied, "the bucket's owner has disabled it"},
	"KMSAccessDeniedException": {Denied, "allow the use of the stream's KMS key to the role that runs here"},
	"OptInRequired":            {Denied, "the account has not opted in to this service or region"},

	"PermanentRedirect":                  {WrongRegion, "set --aws-region to the bucket's region"},
	"AuthorizationHeaderMalformed":       {WrongRegion, "set --aws-region to the bucket's region"},
	"IllegalLocationConstraintException": {WrongRegion, "set --aws-region to the bucket's region"},
	"InvalidRegion":                      {WrongRegion, "set --aws-region"},

	"ResourceNotFoundException": {Missing, "run \"tallystream setup\", or check --aws-prefix, --aws-region and the election's identifier"},
	"TableNotFoundException":    {Missing, "run \"tallystream setup\", or check --aws-prefix, --aws-region and the election's identifier"},
	"NoSuchBucket":              {Missing, "run \"tallystream setup\", or check --aws-bucket, --aws-prefix and --aws-region"},
	"NotFoundException":         {Missing, "run \"tallystream setup\", or check --aws-prefix, --aws-region and the election's identifier"},
	"NoSuchKey":                 {Missing, ""},

	"DisabledException":               {KeyUnusable, "enable it: it is disabled"},
	"KMSDisabledException":            {KeyUnusable, "enable it: it is disabled"},
	"KMSInvalidStateException":        {KeyUnusable, "cancel its deletion or import: its state forbids the use"},
	"KMSNotFoundException":            {KeyUnusable, "it was deleted or never existed"},
	"InvalidKeyUsageException":        {KeyUnusable, "it is not for signing; let \"tallystream setup\" make one"},
	"UnsupportedOperationException":   {KeyUnusable, "this endpoint does not do this with such a key"},
	"InaccessibleEncryptionException": {KeyUnusable, "the table's KMS key was disabled or its grants were taken away"},

	"ThrottlingException":                    {Throttled, "it is tried again; if it stays, raise the limit or the table's warm throughput"},
	"Throttling":                             {Throttled, "it is tried again"},
	"TooManyRequestsException":               {Throttled, "it is tried again"},
	"RequestLimitExceeded":                   {Throttled, "it is tried again; the account's throughput quota is reached"},
	"ProvisionedThroughputExceededException": {Throttled, "it is tried again; if it stays, add shards to the stream or raise the table's warm throughput"},
	"KMSThrottlingException":                 {Throttled, "it is tried again; the KMS request quota is reached"},
	"SlowDown":                               {Throttled, "it is tried again"},

	"LimitExceededException":        {Quota, "ask for a higher quota, or wait until other changes of the account's streams and tables are done"},
	"TooManyBuckets":                {Quota, "ask for a higher quota of buckets"},
	"ServiceQuotaExceededException": {Quota, "ask for a higher quota"},

	"ResourceInUseException":                {Busy, "try again when its status is ACTIVE"},
	"TableInUseException":                   {Busy, "try again when its status is ACTIVE"},
	"OperationAborted":                      {Busy, "another change of the bucket is under way; try again"},
	"ContinuousBackupsUnavailableException": {Busy, "the table is still being made; try again"},

	"BucketAlreadyExists": {Denied, "another account has a bucket of this name; give --aws-bucket"},

	"InternalFailure":            {Fault, adviceFault},
	"InternalServerError":        {Fault, adviceFault},
	"InternalError":              {Fault, adviceFault},
	"KMSInternalException":       {Fault, adviceFault},
	"DependencyTimeoutException": {Fault, adviceFault},
	"ServiceUnavailable":         {Fault, adviceFault},

	"UnknownOperationException": {UnknownCall, "use AWS, or an emulator that has it"},
	"NotImplemented":            {UnknownCall, "use AWS, or an emulator that has it"},
}

// Explain turns an error of the SDK into a *Problem that says what to do. Any
// other error, and nil, comes back as it is, and so does one that holds a
// Problem already.
func Explain(err error) error {
	var known *Problem
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	p := problemOf(err)
	if p == nil {
		return err
	}
	p.Call, p.Err = callOf(err), err
	return p
}

// ExplainOf is Explain of a call on a resource, such as "table x", which it names
// where AWS does not: of a table that is not there DynamoDB says only that.
func ExplainOf(resource string, err error) error {
	err = Explain(err)
	if p := (*Problem)(nil); errors.As(err, &p) && p.Kind == Missing && p.Subject == "" {
		p.Subject = resource
	}
	return err
}

func problemOf(err error) *Problem {
	var api smithy.APIError
	if errors.As(err, &api) {
		return problemOfCode(api, err)
	}
	var profile config.SharedConfigProfileNotExistError
	var missing *aws.MissingRegionError
	var network net.Error
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var transport *url.Error
	var status *smithyhttp.ResponseError
	var garbled *smithy.DeserializationError
	text := err.Error()
	switch {
	case errors.As(err, &profile):
		return &Problem{Kind: NoProfile, Subject: profile.Profile, Advice: "check --aws-profile, AWS_PROFILE and ~/.aws/config"}
	case errors.As(err, &missing), strings.Contains(text, "Missing Region"), strings.Contains(text, "Invalid Configuration: Missing Region"):
		return &Problem{Kind: NoRegion, Advice: "give --aws-region, or set AWS_REGION or a region in the profile"}
	case strings.Contains(text, "refresh cached SSO token"), strings.Contains(text, "SSO session has expired"), strings.Contains(text, "token has expired"):
		return &Problem{Kind: Expired, Advice: "log in again (\"aws sso login\")"}
	case strings.Contains(text, "failed to refresh cached credentials"), strings.Contains(text, "failed to retrieve credentials"):
		return &Problem{Kind: NoCredentials, Advice: adviceCredentials}
	case errors.As(err, &dns):
		return &Problem{Kind: Unreachable, Subject: dns.Name + " has no address", Advice: adviceEndpoint}
	case errors.As(err, &authority), errors.As(err, &host):
		return &Problem{Kind: Unreachable, Subject: "its certificate is not trusted", Advice: adviceEndpoint + "; a proxy that opens TLS needs AWS_CA_BUNDLE"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Problem{Kind: Unreachable, Subject: hostOf(err) + "refused", Advice: adviceEndpoint}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return &Problem{Kind: Slow, Advice: "it is tried again; if it stays, " + adviceEndpoint}
	case errors.As(err, &status) && status.HTTPStatusCode() >= 300:
		return &Problem{Kind: NotAWS, Subject: fmt.Sprintf("HTTP %d", status.HTTPStatusCode()), Advice: adviceEndpoint}
	case errors.As(err, &transport), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return &Problem{Kind: Unreachable, Subject: "the connection broke", Advice: "it is tried again; if it stays, " + adviceEndpoint}
	case errors.As(err, &garbled):
		return &Problem{Kind: NotAWS, Advice: adviceEndpoint}
	}
	return nil
}

// deniedAction finds who was denied what: "User: ARN is not authorized to
// perform: dynamodb:PutItem on resource: ARN ...".
var deniedAction = regexp.MustCompile(`perform: ([a-zA-Z0-9-]+:[a-zA-Z0-9*]+)(?: on resource: (arn:[^ ]+))?`)

// expectedRegion finds the region that S3 expects: "the region 'us-east-1' is
// wrong; expecting 'eu-west-1'".
var expectedRegion = regexp.MustCompile(`expecting '([a-z0-9-]+)'`)

func problemOfCode(api smithy.APIError, err error) *Problem {
	code, message := api.ErrorCode(), api.ErrorMessage()
	if code == "InvalidSignatureException" || code == "SignatureDoesNotMatch" {
		return signatureProblem(message)
	}
	if code == "AccessDeniedException" && strings.Contains(message, "could not be found") {
		return &Problem{Kind: Missing, Advice: findings["ResourceNotFoundException"].advice}
	}
	f, ok := findings[code]
	if !ok {
		return problemOfStatus(err)
	}
	p := &Problem{Kind: f.kind, Advice: f.advice}
	if f.kind == Denied {
		if m := deniedAction.FindStringSubmatch(message); m != nil {
			p.Subject = strings.TrimSpace(m[1] + " " + m[2])
		}
	}
	if f.kind == WrongRegion {
		if m := expectedRegion.FindStringSubmatch(message); m != nil {
			p.Subject = m[1]
		}
	}
	if f.kind == Missing || f.kind == Busy || f.kind == KeyUnusable {
		p.Subject = resourceIn(message)
	}
	return p
}

// signatureProblem tells a wrong clock from a wrong secret: the message of the
// first names times.
func signatureProblem(message string) *Problem {
	for _, sign := range []string{"Signature expired", "Signature not yet current", "must be within"} {
		if strings.Contains(message, sign) {
			return &Problem{Kind: ClockSkew, Advice: findings["RequestExpired"].advice}
		}
	}
	if strings.Contains(message, "Credential should be scoped to a valid region") {
		return &Problem{Kind: WrongRegion, Advice: "set --aws-region to the endpoint's region"}
	}
	return &Problem{Kind: BadKeys, Advice: findings["SignatureDoesNotMatch"].advice}
}

// problemOfStatus explains answers without a known code, such as those to HEAD
// requests, which have no body.
func problemOfStatus(err error) *Problem {
	var r *smithyhttp.ResponseError
	if !errors.As(err, &r) {
		return nil
	}
	switch r.HTTPStatusCode() {
	case 301:
		return &Problem{Kind: WrongRegion, Subject: r.Response.Header.Get("X-Amz-Bucket-Region"), Advice: findings["PermanentRedirect"].advice}
	case 401, 403:
		return &Problem{Kind: Denied, Advice: findings["AccessDenied"].advice}
	case 404:
		return &Problem{Kind: Missing, Advice: findings["NoSuchBucket"].advice}
	case 501:
		return &Problem{Kind: UnknownCall, Advice: findings["NotImplemented"].advice}
	}
	return nil
}

// named finds a resource's name in a message of DynamoDB, Kinesis or KMS.
var named = regexp.MustCompile(`(?i)(arn:[^ ']+|alias/[^ ']+|(?:stream|table|key|shard)s?:? '?[a-zA-Z0-9_.:/-]{3,})`)

func resourceIn(message string) string { return strings.TrimRight(named.FindString(message), ".:") }

func callOf(err error) string {
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return op.Service() + " " + op.Operation()
	}
	return ""
}

// hostOf is "ADDRESS " of a failed connection, or "".
func hostOf(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		return op.Addr.String() + " "
	}
	return ""
}
