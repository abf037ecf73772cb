package register_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"tallystream/service/cloud"
	"tallystream/service/cloud/faults"
	"tallystream/service/cloud/mototest"
	"tallystream/service/register"
)

// faulty returns a register behind a network that fails by plan, and one of
// the same names behind a good network.
func faulty(t *testing.T, seed uint64, plan string) (bad, good *register.DynamoDB, network *faults.Network) {
	t.Helper()
	p, err := faults.Parse(seed, plan)
	if err != nil {
		t.Fatal(err)
	}
	if network, err = faults.New(p, faults.WithDelay(20*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	c := mototest.Start(t)
	table := newTable(t, c)
	return newDynamoDB(t, mototest.Start(t, cloud.WithHTTP(network.Over)).DynamoDB, table, "test"), newDynamoDB(t, c.DynamoDB, table, "test"), network
}

// dynamoDBKinds are the faults that a single write can meet.
var dynamoDBKinds = []faults.Kind{
	faults.Throttle, faults.Conflict, faults.Before, faults.After, faults.Cut, faults.Slow, faults.Duplicate, faults.Late,
	faults.Internal, faults.InternalAfter, faults.Unavailable,
}

// TestASwapSurvivesEachFault: whatever happens to the first request of a swap,
// it succeeds, once.
func TestASwapSurvivesEachFault(t *testing.T) {
	t.Parallel()
	for _, kind := range dynamoDBKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			for _, swap := range []struct{ what, before, after string }{{"create", "", "x"}, {"change", "x", "y"}, {"remove", "x", ""}} {
				bad, good, network := faulty(t, 1, "PutItem#1="+string(kind))
				if swap.before != "" {
					if err := good.Swap(t.Context(), "name", nil, []byte(swap.before)); err != nil {
						t.Fatal(err)
					}
				}
				if err := bad.Swap(t.Context(), "name", []byte(swap.before), []byte(swap.after)); err != nil {
					t.Errorf("%s: %v", swap.what, err)
				}
				if got, err := good.Load(t.Context(), "name"); err != nil || string(got) != swap.after {
					t.Errorf("%s: the value is %q, %v, want %q", swap.what, got, err, swap.after)
				}
				if network.Counts().Total(kind) != 1 {
					t.Errorf("%s: the fault did not happen", swap.what)
				}
			}
		})
	}
}

// TestAConflictIsToldApartUnderEachFault: a swap from a value that is not
// there never succeeds, and never changes anything.
func TestAConflictIsToldApartUnderEachFault(t *testing.T) {
	t.Parallel()
	for _, kind := range dynamoDBKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			bad, good, _ := faulty(t, 1, "PutItem#1="+string(kind))
			if err := good.Swap(t.Context(), "name", nil, []byte("rival")); err != nil {
				t.Fatal(err)
			}
			err := bad.Swap(t.Context(), "name", []byte("x"), []byte("y"))
			if err == nil {
				t.Error("succeeded")
			}
			// Certain only if no answer was lost.
			certain := kind == faults.Throttle || kind == faults.Conflict || kind == faults.Slow || kind == faults.Duplicate
			if certain != errors.Is(err, register.ErrConflict) {
				t.Errorf("%v, want ErrConflict: %v", err, certain)
			}
			if got, err := good.Load(t.Context(), "name"); err != nil || string(got) != "rival" {
				t.Errorf("the value is %q, %v", got, err)
			}
		})
	}
}

// overtaken loses the answer of the first write, and lets a rival write
// before the next.
type overtaken struct {
	register.DynamoDBCalls
	once  sync.Once
	rival func()
}

func (o *overtaken) PutItem(ctx context.Context, in *dynamodb.PutItemInput, options ...func(*dynamodb.Options)) (out *dynamodb.PutItemOutput, err error) {
	lost := false
	out, err = o.DynamoDBCalls.PutItem(ctx, in, options...)
	o.once.Do(func() { lost = true })
	if lost {
		o.rival()
		return nil, errors.New("connection reset by peer")
	}
	return out, err
}

// TestAWriteThatWasOvertakenIsNoConflict: ours acted, its answer was lost, and
// a rival went on from it. To say "conflict, nothing was written" would be
// false.
func TestAWriteThatWasOvertakenIsNoConflict(t *testing.T) {
	t.Parallel()
	c := mototest.Start(t)
	table := newTable(t, c)
	good := newDynamoDB(t, c.DynamoDB, table, "test")
	for _, swap := range []struct{ what, before, after string }{{"create", "", "ours"}, {"change", "x", "ours"}, {"remove", "x", ""}} {
		if swap.before != "" {
			if err := good.Swap(t.Context(), swap.what, nil, []byte(swap.before)); err != nil {
				t.Fatal(err)
			}
		}
		calls := &overtaken{DynamoDBCalls: c.DynamoDB, rival: func() {
			if err := good.Swap(context.Background(), swap.what, []byte(swap.after), []byte("theirs")); err != nil {
				t.Error(err)
			}
		}}
		err := newDynamoDB(t, calls, table, "test").Swap(t.Context(), swap.what, []byte(swap.before), []byte(swap.after))
		if err == nil || errors.Is(err, register.ErrConflict) {
			t.Errorf("%s: %v, want an unknown outcome", swap.what, err)
		}
		if got, err := good.Load(t.Context(), swap.what); err != nil || string(got) != "theirs" {
			t.Errorf("%s: the value is %q, %v", swap.what, got, err)
		}
	}
}

func TestAnEndlessFaultIsAnErrorAndNoConflict(t *testing.T) {
	t.Parallel()
	for kind, want := range map[faults.Kind]string{
		faults.Throttle: "", faults.Before: "", faults.Internal: "", faults.Unavailable: "", faults.InternalAfter: "x", faults.After: "x",
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			bad, good, _ := faulty(t, 1, "PutItem:"+string(kind)+"=1")
			err := bad.Swap(t.Context(), "name", nil, []byte("x"))
			// Where each attempt acts and says that it failed, reading proves it.
			if (err == nil) != (want != "") || errors.Is(err, register.ErrConflict) {
				t.Errorf("Swap: %v", err)
			}
			if got, err := good.Load(t.Context(), "name"); err != nil || string(got) != want {
				t.Errorf("the value is %q, %v, want %q", got, err, want)
			}
		})
	}
}

// TestNothingIsLostOrDoubledUnderFaults: eight writers raise one number over
// bad networks. Each number is raised by one of them; what is uncertain is at
// most what was called so.
func TestNothingIsLostOrDoubledUnderFaults(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 8
	bad, good, network := faulty(t, 42, "DynamoDB.*:throttle=0.05,conflict=0.02,before=0.05,after=0.08,cut=0.03,slow=0.02,duplicate=0.03,late=0.04,"+
		"internal=0.03,internal-after=0.05,unavailable=0.03")
	var mu sync.Mutex // guards what follows
	raised, unknown := map[int]int{}, 0
	var done sync.WaitGroup
	for range writers {
		done.Go(func() {
			for succeeded := 0; succeeded < each && t.Context().Err() == nil; {
				n, err := counter{bad}.raise()
				mu.Lock()
				switch {
				case err == nil:
					raised[n]++
					succeeded++
				case !errors.Is(err, register.ErrConflict):
					unknown++
				}
				mu.Unlock()
			}
		})
	}
	done.Wait()
	n, _, err := counter{good}.read()
	if err != nil {
		t.Fatal(err)
	}
	for number, times := range raised {
		if times != 1 || number > n {
			t.Errorf("%d was raised %d times, and the end is %d", number, times, n)
		}
	}
	if len(raised) != writers*each || n < len(raised) || n > len(raised)+unknown {
		t.Errorf("%d numbers were raised, %d swaps were unknown, the end is %d", len(raised), unknown, n)
	}
	t.Logf("seed 42: raised to %d, %d swaps unknown\n%s", n, unknown, network.Counts())
}

func TestListsAndLoadsSurviveFaults(t *testing.T) {
	t.Parallel()
	bad, good, _ := faulty(t, 7, "GetItem:throttle=0.1,before=0.1,cut=0.1,internal=0.1;Query:throttle=0.1,before=0.1,cut=0.1,internal=0.1")
	const names = 8
	for i := range names {
		if err := good.Swap(t.Context(), fmt.Sprintf("name/%02d", i), nil, strconv.AppendInt(nil, int64(i), 10)); err != nil {
			t.Fatal(err)
		}
	}
	failed := 0
	for i := range names {
		got, err := bad.Load(t.Context(), fmt.Sprintf("name/%02d", i))
		if err != nil {
			failed++
		} else if string(got) != strconv.Itoa(i) {
			t.Errorf("name %d is %q", i, got)
		}
		values, err := bad.List(t.Context(), "name/")
		if err != nil {
			failed++
		} else if len(values) != names {
			t.Errorf("%d names are listed", len(values))
		}
	}
	if failed > names {
		t.Errorf("%d of %d reads failed", failed, 2*names)
	}
}
