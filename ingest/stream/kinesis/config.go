package kinesis

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of the service.
// https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
const (
	maxPutRecords = 500
	// maxPutBytes of a request, partition keys included, was 5 MiB until 2025
	// and is 10 MiB since. The smaller works everywhere, and no group of ours
	// comes near it.
	maxPutBytes    = 5 << 20
	maxRecordBytes = 1 << 20 // with its partition key
	iteratorLife   = 5 * time.Minute
	readBytesRate  = 2 << 20 // a second and shard, all readers together
	readsPerSecond = 5       // likewise
)

// Defaults of Config.
const (
	DefaultQueueLimit  = 4096
	DefaultQueueBytes  = 64 << 20
	DefaultInFlight    = 8
	DefaultBudget      = 10 * time.Second
	DefaultAttempt     = 5 * time.Second
	DefaultFastPoll    = 250 * time.Millisecond
	DefaultSlowPoll    = time.Second
	DefaultListEvery   = time.Minute
	DefaultReadRecords = 1000
)

// Config of both sides of the stream. Zero values mean the defaults.
type Config struct {
	API        API
	Stream     string // name
	Partitions int    // of the election

	// QueueLimit and QueueBytes bound the records that are not acknowledged
	// yet; beyond them Append fails with stream.ErrBusy.
	QueueLimit int
	QueueBytes int
	// InFlight is the most PutRecords requests at a time. While all are under
	// way records gather in the queue, so groups grow with the load, and a
	// quiet stream waits for nobody.
	InFlight int
	// Budget is how long a record is tried before its Append fails: with
	// stream.ErrBusy when it is certainly not stored. Attempt bounds one try.
	Budget  time.Duration
	Attempt time.Duration

	// FastPoll is the pause between two reads of a shard while it has records
	// for us, SlowPoll what it grows to while it has none. A shard allows five
	// reads a second to all its readers together: 250 ms leaves one of them
	// free for the next owner of the shard, or an operator.
	FastPoll time.Duration
	SlowPoll time.Duration
	// ReadRecords is the most that one read asks for.
	ReadRecords int
	// ListEvery is how long a listing of the shards is believed while nothing
	// says that it is out of date.
	ListEvery time.Duration
	// SkipExpired lets partitions pass over shards that expired before they
	// were read to their end. What they held is lost. Only an operator can
	// order that.
	SkipExpired bool
	// Consumer, the ARN of a registered consumer, and Subscriber choose
	// enhanced fan-out instead of polling.
	Consumer   string
	Subscriber Subscriber

	Clock   Clock  // nil: the real one
	Seed    uint64 // of the jitter; 0: a random one
	Metrics *Metrics
	Logger  *slog.Logger // nil: discarded
}

func (c Config) withDefaults() Config {
	setDefault(&c.QueueLimit, DefaultQueueLimit)
	setDefault(&c.QueueBytes, DefaultQueueBytes)
	setDefault(&c.InFlight, DefaultInFlight)
	setDefault(&c.Budget, DefaultBudget)
	setDefault(&c.Attempt, DefaultAttempt)
	setDefault(&c.FastPoll, DefaultFastPoll)
	setDefault(&c.SlowPoll, DefaultSlowPoll)
	setDefault(&c.ReadRecords, DefaultReadRecords)
	setDefault(&c.ListEvery, DefaultListEvery)
	c.FastPoll = max(c.FastPoll, time.Second/readsPerSecond)
	c.SlowPoll = max(c.SlowPoll, c.FastPoll)
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	for c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T int | time.Duration](x *T, to T) {
	if *x <= 0 {
		*x = to
	}
}

// jitter is randomness that several goroutines draw from.
type jitter struct {
	mu     sync.Mutex
	random *rand.Rand
}

func newJitter(seed uint64) *jitter { return &jitter{random: rand.New(rand.NewPCG(seed, 2))} }

// upTo draws a duration between 0 and most, both included.
func (j *jitter) upTo(most time.Duration) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Duration(j.random.Int64N(int64(most) + 1))
}
