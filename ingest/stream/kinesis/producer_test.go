package kinesis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"tallystream/ingest/stream"
	"tallystream/ingest/stream/kinesis"
	"tallystream/ingest/stream/kinesis/kinesistest"
	"tallystream/schemas"
)

// spy counts what is put, and may answer by itself.
type spy struct {
	kinesis.API
	answer func(n int, in *sdk.PutRecordsInput) error // nil: the service does

	mu     sync.Mutex // guards what follows
	groups []int      // records of each request
}

func (s *spy) PutRecords(ctx context.Context, in *sdk.PutRecordsInput, o ...func(*sdk.Options)) (*sdk.PutRecordsOutput, error) {
	s.mu.Lock()
	s.groups = append(s.groups, len(in.Records))
	n := len(s.groups)
	s.mu.Unlock()
	if s.answer != nil {
		if err := s.answer(n, in); err != nil {
			return nil, err
		}
	}
	return s.API.PutRecords(ctx, in, o...)
}

const partitions = 4

func config(api kinesis.API) kinesis.Config {
	return kinesis.Config{API: api, Stream: "submissions", Partitions: partitions, Seed: 1}
}

// closing closes a producer when the test ends; goroutines of a bubble must
// have ended by then.
func closing(t *testing.T, p *kinesis.Producer) *kinesis.Producer {
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// appendAll appends records at once, and gives their errors.
func appendAll(ctx context.Context, p *kinesis.Producer, records ...[]byte) []error {
	errs := make([]error, len(records))
	var wg sync.WaitGroup
	for i, r := range records {
		wg.Go(func() { _, errs[i] = p.Append(ctx, schemas.Partition(i%partitions), r) })
	}
	wg.Wait()
	return errs
}

func texts(n, size int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = append(fmt.Appendf(nil, "%d ", i), make([]byte, size)...)
	}
	return list
}

func stored(s *kinesistest.Service) (n int) {
	for p := range schemas.Partition(partitions) {
		n += len(s.Records(kinesis.PointOf(p, partitions)))
	}
	return n
}

func TestOnlyFailedRecordsArePutAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := map[int]bool{}
		service := kinesistest.New(kinesistest.Options{Shards: 2, Faults: func(c kinesistest.Call) kinesistest.Fault {
			if c.Record < 0 || c.Record%3 != 0 || failed[c.Record] {
				return kinesistest.None
			}
			failed[c.Record] = true
			return kinesistest.Throttle
		}})
		api := &spy{API: service}
		cfg := config(api)
		cfg.InFlight = 1
		p := closing(t, kinesis.NewProducer(cfg))
		for _, err := range appendAll(t.Context(), p, texts(31, 100)...) {
			if err != nil {
				t.Errorf("Append: %v", err)
			}
		}
		if got := stored(service); got != 31 {
			t.Errorf("%d records lie in the stream, want each once: 31", got)
		}
		put := 0
		for _, n := range api.groups {
			put += n
		}
		if put != 31+service.Count("record throttled") {
			t.Errorf("%d records were put in %v, of which %d failed", put, api.groups, service.Count("record throttled"))
		}
	})
}

func TestGroupsGrowWithTheLoadAndKeepTheLimits(t *testing.T) {
	for _, x := range []struct{ records, size, most int }{
		{1200, 100, 500},   // records of a request
		{40, 400_000, 13},  // bytes of a request: 5 MiB
		{3, 1<<20 - 20, 3}, // a record alone may be almost one
	} {
		synctest.Test(t, func(t *testing.T) {
			api := &spy{API: kinesistest.New(kinesistest.Options{Unlimited: true}), answer: func(int, *sdk.PutRecordsInput) error {
				time.Sleep(20 * time.Millisecond)
				return nil
			}}
			cfg := config(api)
			cfg.InFlight = 1
			p := closing(t, kinesis.NewProducer(cfg))
			for _, err := range appendAll(t.Context(), p, texts(x.records, x.size)...) {
				if err != nil {
					t.Fatalf("Append: %v", err)
				}
			}
			if got := slices.Max(api.groups); got > x.most || x.records > x.most && got < x.most-1 {
				t.Errorf("%d records of %d bytes went in groups of %v, want up to %d", x.records, x.size, api.groups, x.most)
			}
		})
	}
}

func TestABusyQueueRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		api := &spy{API: kinesistest.New(kinesistest.Options{}), answer: func(int, *sdk.PutRecordsInput) error { <-release; return nil }}
		cfg := config(api)
		cfg.QueueLimit = 5
		p := closing(t, kinesis.NewProducer(cfg))
		first := make(chan []error, 1)
		go func() { first <- appendAll(t.Context(), p, texts(5, 10)...) }()
		synctest.Wait()
		if _, err := p.Append(t.Context(), 0, []byte("one too many")); !errors.Is(err, stream.ErrBusy) {
			t.Errorf("Append to a full queue: %v, want ErrBusy", err)
		}
		close(release)
		for _, err := range <-first {
			if err != nil {
				t.Errorf("Append: %v", err)
			}
		}
		if _, err := p.Append(t.Context(), 0, []byte("again")); err != nil {
			t.Errorf("Append after the queue has drained: %v", err)
		}
	})
}

func TestAFailedAppendSaysWhatIsKnown(t *testing.T) {
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	throttled := &types.ProvisionedThroughputExceededException{}
	kms := &types.KMSThrottlingException{}
	denied := &types.AccessDeniedException{}
	for _, x := range []struct {
		name   string
		answer func(n int) error
		want   error // nil: stored
		once   bool  // no second try
		not    error
		stored int // by the first answer that is not an error
	}{
		{name: "throttled for a while", answer: func(n int) error { return when(n < 4, throttled) }, stored: 1},
		{name: "throttled too long", answer: func(int) error { return throttled }, want: stream.ErrBusy, not: stream.ErrUnknownOutcome},
		{name: "the key's limit for a while", answer: func(n int) error { return when(n < 3, kms) }, stored: 1},
		{name: "nobody there", answer: func(int) error { return refused }, want: stream.ErrBusy, not: stream.ErrUnknownOutcome},
		{name: "no answer at first", answer: func(n int) error { return when(n < 3, reset) }, stored: 1},
		{name: "never an answer", answer: func(int) error { return reset }, want: stream.ErrUnknownOutcome, not: stream.ErrBusy},
		{name: "no answer, then throttled too long", answer: func(n int) error {
			if n == 1 {
				return reset
			}
			return throttled
		}, want: stream.ErrUnknownOutcome, not: stream.ErrBusy},
		{name: "no right", answer: func(int) error { return denied }, want: denied, not: stream.ErrUnknownOutcome, once: true},
		{name: "no answer, then no right", answer: func(n int) error {
			if n == 1 {
				return reset
			}
			return denied
		}, want: stream.ErrUnknownOutcome},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := kinesistest.New(kinesistest.Options{})
				api := &spy{API: service, answer: func(n int, _ *sdk.PutRecordsInput) error { return x.answer(n) }}
				p := closing(t, kinesis.NewProducer(config(api)))
				began := time.Now()
				_, err := p.Append(t.Context(), 1, []byte("a"))
				if !errors.Is(err, x.want) || x.not != nil && errors.Is(err, x.not) {
					t.Errorf("Append: %v, want %v and not %v", err, x.want, x.not)
				}
				if took := time.Since(began); took > kinesis.DefaultBudget+3*time.Second {
					t.Errorf("Append took %v", took)
				}
				if got := stored(service); got != x.stored {
					t.Errorf("%d records are stored, want %d", got, x.stored)
				}
				if x.once && len(api.groups) != 1 {
					t.Errorf("it was tried %d times", len(api.groups))
				}
			})
		})
	}
}

func when(yes bool, err error) error {
	if yes {
		return err
	}
	return nil
}

func TestAThrottledShardDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := kinesistest.New(kinesistest.Options{Shards: 2, Faults: func(c kinesistest.Call) kinesistest.Fault {
			if c.Shard == "shardId-000000000000" {
				return kinesistest.Throttle
			}
			return kinesistest.None
		}})
		cfg := config(service)
		cfg.InFlight = 1
		p := closing(t, kinesis.NewProducer(cfg))
		hot := make(chan error, 1)
		go func() { _, err := p.Append(t.Context(), 0, []byte("hot")); hot <- err }()
		synctest.Wait()
		began := time.Now()
		for range 20 {
			if _, err := p.Append(t.Context(), 3, []byte("cold")); err != nil {
				t.Errorf("Append: %v", err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("records of another shard waited %v", took)
		}
		if err := <-hot; !errors.Is(err, stream.ErrBusy) {
			t.Errorf("Append to the throttled shard: %v, want ErrBusy", err)
		}
	})
}

func TestAppendObeysItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		service := kinesistest.New(kinesistest.Options{})
		api := &spy{API: service, answer: func(int, *sdk.PutRecordsInput) error { <-release; return nil }}
		cfg := config(api)
		cfg.InFlight = 1
		p := closing(t, kinesis.NewProducer(cfg))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Append(ended, 0, []byte("never")); !errors.Is(err, context.Canceled) || errors.Is(err, stream.ErrUnknownOutcome) {
			t.Errorf("Append with an ended context: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		onItsWay, waiting := make(chan error, 1), make(chan error, 1)
		go func() { _, err := p.Append(ctx, 0, []byte("on its way")); onItsWay <- err }()
		synctest.Wait()
		go func() { _, err := p.Append(ctx, 0, []byte("waiting")); waiting <- err }()
		if err := <-onItsWay; !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, stream.ErrUnknownOutcome) {
			t.Errorf("Append of a record on its way: %v", err)
		}
		if err := <-waiting; !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, stream.ErrUnknownOutcome) {
			t.Errorf("Append of a waiting record: %v", err)
		}
		close(release)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if got := service.Records(kinesis.PointOf(0, partitions)); len(got) != 1 || string(got[0].Data) != "on its way" {
			t.Errorf("stored: %v", got)
		}
	})
}

func TestCloseKeepsWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		service := kinesistest.New(kinesistest.Options{Unlimited: true, Faults: func(c kinesistest.Call) kinesistest.Fault {
			if c.Record >= 0 {
				if tries++; tries <= 80 {
					return kinesistest.Throttle
				}
			}
			return kinesistest.None
		}})
		p := kinesis.NewProducer(config(service))
		errs := make(chan []error, 1)
		go func() { errs <- appendAll(t.Context(), p, texts(50, 10)...) }()
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		for _, err := range <-errs {
			if err != nil {
				t.Errorf("Append: %v", err)
			}
		}
		if got := stored(service); got != 50 || tries <= 80 {
			t.Errorf("%d of 50 are stored after %d tries", got, tries)
		}
		if _, err := p.Append(t.Context(), 0, []byte("late")); !errors.Is(err, stream.ErrClosed) {
			t.Errorf("Append after Close: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestRecordsThatCannotBePutAreRefused(t *testing.T) {
	service := kinesistest.New(kinesistest.Options{})
	p := closing(t, kinesis.NewProducer(config(service)))
	if _, err := p.Append(t.Context(), 0, make([]byte, 1<<20)); !errors.Is(err, stream.ErrTooLarge) {
		t.Errorf("Append of 1 MiB, which has no room for its partition key: %v", err)
	}
	if _, err := p.Append(t.Context(), partitions, []byte("a")); err == nil {
		t.Error("a partition that the election has not was taken")
	}
	if got := service.Count("PutRecords"); got != 0 {
		t.Errorf("%d requests were made", got)
	}
}
