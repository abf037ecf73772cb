package kinesis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/service/cloud"
)

// feed gives the records of one shard in order, from a sequence number on.
type feed interface {
	// next gives the records that follow, if there are any and it is time to
	// look. It does not wait longer than for one answer. True: the shard is
	// closed, and these are its last.
	next(ctx context.Context) ([]types.Record, bool, error)
	// wait returns when next may have more to give.
	wait(ctx context.Context) error
	// behind is how far the last answer was from the shard's newest record.
	behind() time.Duration
	// notBefore is when the shard may be asked again, by whomever.
	notBefore() time.Time
	close()
}

// failingTooLong is how long a feed repeats by itself before its owner hears
// of it.
const failingTooLong = 30 * time.Second

// feedState is what polling and fan-out have in common.
type feedState struct {
	cfg    *Config
	jitter *jitter
	shard  string
	after  string // sequence number, "": from the beginning

	due      time.Time // do not ask before
	late     time.Duration
	failures int       // since the last success
	failing  time.Time // since when
}

func (f *feedState) behind() time.Duration { return f.late }
func (f *feedState) notBefore() time.Time  { return f.due }

func (f *feedState) wait(ctx context.Context) error {
	if d := f.due.Sub(f.cfg.Clock.Now()); d > 0 {
		return f.cfg.Clock.Sleep(ctx, d)
	}
	return ctx.Err()
}

func (f *feedState) succeeded() { f.failures, f.failing = 0, time.Time{} }

// postpone swallows an error that time may heal, and puts the next try off. It
// gives back those that it does not heal, or has not for too long.
func (f *feedState) postpone(ctx context.Context, doing string, err error) error {
	now := f.cfg.Clock.Now()
	if f.failures++; f.failures == 1 {
		f.failing = now
	}
	why := reasonOf(err)
	var inUse *types.ResourceInUseException
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", doing, f.shard, err)
	case isGone(err) && f.isStreamGone(err):
		return fmt.Errorf("%s %s: %w", doing, f.shard, cloud.ExplainOf("stream "+f.cfg.Stream, err))
	case isGone(err):
		return fmt.Errorf("%w: %s %s: %w", ErrExpired, doing, f.shard, err)
	case why == refused && !errors.As(err, &inUse), now.Sub(f.failing) >= failingTooLong:
		f.cfg.Metrics.polls.WithLabelValues("failed").Inc()
		return fmt.Errorf("%s %s: %w", doing, f.shard, cloud.ExplainOf("stream "+f.cfg.Stream, err))
	}
	outcome := "failed"
	if why == throttled {
		outcome = "throttled"
	}
	f.cfg.Metrics.polls.WithLabelValues(outcome).Inc()
	// A shard's limits are counted by the second. Below FastPoll we would only
	// be refused again.
	f.due = later(f.due, now.Add(f.cfg.FastPoll+readBackoff.pause(f.failures, f.jitter)))
	f.cfg.Logger.Warn("reading shard is put off", "shard", f.shard, "doing", doing, "until", f.due, "err", err)
	return nil
}

// isStreamGone tells a stream that is not there from a shard that has expired:
// the message begins with what is missing.
func (f *feedState) isStreamGone(err error) bool {
	var gone *types.ResourceNotFoundException
	return errors.As(err, &gone) && strings.HasPrefix(gone.ErrorMessage(), "Stream "+f.cfg.Stream+" ")
}

// isGone says that the shard, or the stream, is not there any more.
func isGone(err error) bool {
	var gone *types.ResourceNotFoundException
	return errors.As(err, &gone)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// poller is the feed of a shard that is asked again and again.
type poller struct {
	feedState
	iterator string // "": get one behind after
	made     time.Time
	pause    time.Duration
}

func newPoller(s feedState) *poller { return &poller{feedState: s, pause: s.cfg.FastPoll} }

func (p *poller) next(ctx context.Context) ([]types.Record, bool, error) {
	now := p.cfg.Clock.Now()
	if now.Before(p.due) {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*p.cfg.Attempt) // an answer may be 10 MB
	defer cancel()
	if p.iterator == "" || now.Sub(p.made) >= iteratorLife {
		if err := p.begin(ctx, now); err != nil {
			return nil, false, p.postpone(ctx, "beginning to read shard", err)
		}
	}
	out, err := p.cfg.API.GetRecords(ctx, &sdk.GetRecordsInput{ShardIterator: &p.iterator, Limit: aws.Int32(int32(p.cfg.ReadRecords))}, once)
	var expired *types.ExpiredIteratorException
	switch {
	case errors.As(err, &expired):
		// Ours were younger, by our clock. The next look gets a new one.
		p.cfg.Metrics.polls.WithLabelValues("expired").Inc()
		p.iterator = ""
		p.due = now.Add(p.cfg.FastPoll)
		return nil, false, nil
	case err != nil:
		return nil, false, p.postpone(ctx, "reading shard", err)
	}
	p.succeeded()
	p.pace(now, out)
	if n := len(out.Records); n > 0 {
		p.after = aws.ToString(out.Records[n-1].SequenceNumber)
	}
	if out.NextShardIterator == nil {
		return out.Records, true, nil
	}
	p.iterator, p.made = *out.NextShardIterator, now
	return out.Records, false, nil
}

// begin gets an iterator behind after.
func (p *poller) begin(ctx context.Context, now time.Time) error {
	in := &sdk.GetShardIteratorInput{StreamName: &p.cfg.Stream, ShardId: &p.shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon}
	if p.after != "" {
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, aws.String(p.after)
	}
	out, err := p.cfg.API.GetShardIterator(ctx, in, once)
	if err != nil {
		return err
	}
	p.iterator, p.made = aws.ToString(out.ShardIterator), now
	return nil
}

// pace decides when to ask again: soon while the shard has records for us, or
// Kinesis says that there are more; else ever later. The bytes of an answer
// have to be paid for at 2 MB/s.
func (p *poller) pace(now time.Time, out *sdk.GetRecordsOutput) {
	p.late = time.Duration(aws.ToInt64(out.MillisBehindLatest)) * time.Millisecond
	size := 0
	for i := range out.Records {
		size += len(out.Records[i].Data)
	}
	outcome := "records"
	switch {
	case len(out.Records) > 0 || p.late > 0:
		p.pause = p.cfg.FastPoll
	default:
		p.pause = min(p.pause*3/2, p.cfg.SlowPoll)
	}
	if len(out.Records) == 0 {
		outcome = "empty"
	}
	p.cfg.Metrics.polls.WithLabelValues(outcome).Inc()
	p.due = now.Add(max(p.pause, time.Duration(float64(size)/readBytesRate*float64(time.Second))))
}

func (p *poller) close() {}
