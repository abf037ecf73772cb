package kinesis

import (
	"errors"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
)

// reason is why a call or a record failed, as far as a retry depends on it.
type reason int

const (
	fine        reason = iota
	throttled          // certainly nothing was done; again, later
	unreachable        // there was no connection, so nothing was done; again, later
	internal           // Kinesis failed; perhaps it was done
	transport          // no answer; perhaps it was done
	refused            // certainly nothing was done, and will not be
)

var reasonNames = [...]string{"", "throttled", "unreachable", "internal", "transport", "refused"}

func (r reason) String() string { return reasonNames[r] }

// reasonOfCode judges an error code of the service.
// https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
func reasonOfCode(code string) reason {
	switch code {
	case "":
		return fine
	case "ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException",
		"ThrottlingException", "Throttling", "RequestLimitExceeded", "SlowDown":
		return throttled
	case "InternalFailure", "InternalFailureException", "InternalError", "InternalServerError", "ServiceUnavailable", "ServiceUnavailableException",
		"RequestTimeout", "RequestTimeoutException":
		return internal
	}
	return refused
}

// reasonOf judges the error of a whole call. An error that is not the
// service's own word is one of the transport.
func reasonOf(err error) reason {
	var api smithy.APIError
	switch {
	case err == nil:
		return fine
	case isDial(err):
		return unreachable
	case !errors.As(err, &api):
		return transport
	}
	if r := reasonOfCode(api.ErrorCode()); r != refused {
		return r
	}
	if api.ErrorFault() == smithy.FaultServer || statusOf(err) >= 500 {
		return internal // a code that is not known here
	}
	return refused
}

// isDial says that no connection came about, so that no byte was sent.
func isDial(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

func statusOf(err error) int {
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// once tells the SDK's client not to retry by itself: only we know which
// failures are certain, and a second try would hide what became of the first.
func once(o *sdk.Options) { o.Retryer = aws.NopRetryer{} }

// backoff doubles a bound from first to most, and draws from below it:
// "full jitter".
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
type backoff struct{ first, most time.Duration }

var (
	putBackoff  = backoff{first: 50 * time.Millisecond, most: 2 * time.Second}
	readBackoff = backoff{first: time.Second, most: 8 * time.Second}
)

// pause before the next try, after so many failed ones.
func (b backoff) pause(failed int, random *jitter) time.Duration {
	bound := b.first
	for range min(failed-1, 20) {
		bound = min(2*bound, b.most)
	}
	return random.upTo(bound)
}
