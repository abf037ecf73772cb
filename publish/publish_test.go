package publish_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish"
	"tallystream/publish/bucket"
	"tallystream/schemas"
)

// night is a sequencer at work in a bubble of synthetic time.
type night struct {
	*publish.Sequencer
	t    *testing.T
	wake chan struct{}
	stop context.CancelFunc
	done chan error
}

// begin starts a sequencer; change may alter its configuration.
func begin(t *testing.T, b *books, p *process, v publish.Announcer, change func(*publish.Config)) *night {
	t.Helper()
	n := &night{t: t, wake: make(chan struct{}, 1), done: make(chan error, 1)}
	cfg := b.config(p, v, n.wake)
	if change != nil {
		change(&cfg)
	}
	var err error
	if n.Sequencer, err = publish.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	n.stop = stop
	go func() {
		select {
		case <-p.dead:
			stop()
		case <-ctx.Done():
		}
	}()
	go func() { n.done <- n.Run(ctx) }()
	return n
}

// hint tells that the ledger grew.
func (n *night) hint() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// end stops the sequencer and returns what Run said.
func (n *night) end() error {
	n.stop()
	return <-n.done
}

func (n *night) mustEnd() {
	n.t.Helper()
	if err := n.end(); err != nil {
		n.t.Error(err)
	}
}

func (n *night) mustFinish() {
	n.t.Helper()
	if err := n.Finish(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

var oak1 = row(1, 30, 40 /* bond */, 1, 10, 11, 12, 13 /* governor */, 1, 7, 8, 9, 10, 14, 22, 0, 0 /* president */, 1, 3, 4, 5, 6)

func TestASmallElectionIsPublishedToTheByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), func(c *publish.Config) { c.UnitLines = true })
		b.count("oak.1", 1, oak1)
		b.count("ash.1", 1, row(1, 5, 6, 1, 1, 2, 3, 4, 1, 0, 0, 0, 1, 2, 3, 4, 5))
		b.count("fir.1", 1, row(1, 9, 9, 1, 2, 2, 2, 2))
		b.submit("fir.1", 2, row(1, 1, 1, 1, 0, 0, 0, 1), schemas.EntryHeld, schemas.HoldLowered)
		n.mustFinish()
		for name, want := range map[string]string{
			"county/oak": `{"contest":"ballots-cast","unit":"oak","reporting":1,"units":2,"votes":{"ballots":[30,40]}}
{"contest":"bond","unit":"oak","reporting":1,"units":1,"votes":{"yes":[10,11],"no":[12,13]}}
{"contest":"governor","unit":"oak","reporting":1,"units":2,"votes":{"lee":[7,8],"kim":[9,10]},"undervotes":[14,22],"overvotes":[0,0]}
{"contest":"president","unit":"oak","reporting":1,"units":2,"votes":{"smith":[3,4],"jones":[5,6]}}
`,
			"contest/governor": `{"contest":"governor","unit":"ash","reporting":1,"units":1,"votes":{"lee":[1,2],"kim":[3,4]},"undervotes":[1,0],"overvotes":[0,0]}
{"contest":"governor","unit":"north","reporting":2,"units":3,"votes":{"lee":[8,10],"kim":[12,14]},"undervotes":[15,22],"overvotes":[0,0]}
{"contest":"governor","unit":"oak","reporting":1,"units":2,"votes":{"lee":[7,8],"kim":[9,10]},"undervotes":[14,22],"overvotes":[0,0]}
{"contest":"governor","unit":"test-2026","reporting":2,"units":3,"votes":{"lee":[8,10],"kim":[12,14]},"undervotes":[15,22],"overvotes":[0,0]}
`,
			"election": `{"contest":"ballots-cast","unit":"north","reporting":2,"units":3,"votes":{"ballots":[35,46]}}
{"contest":"ballots-cast","unit":"south","reporting":1,"units":1,"votes":{"ballots":[9,9]}}
{"contest":"ballots-cast","unit":"test-2026","reporting":3,"units":4,"votes":{"ballots":[44,55]}}
{"contest":"governor","unit":"north","reporting":2,"units":3,"votes":{"lee":[8,10],"kim":[12,14]},"undervotes":[15,22],"overvotes":[0,0]}
{"contest":"governor","unit":"test-2026","reporting":2,"units":3,"votes":{"lee":[8,10],"kim":[12,14]},"undervotes":[15,22],"overvotes":[0,0]}
{"contest":"president","unit":"north","reporting":2,"units":3,"votes":{"smith":[5,7],"jones":[9,11]}}
{"contest":"president","unit":"south","reporting":1,"units":1,"votes":{"smith":[2,2],"jones":[2,2]}}
{"contest":"president","unit":"test-2026","reporting":3,"units":4,"votes":{"smith":[7,9],"jones":[11,13]}}
`,
			"units/fir": `{"contest":"ballots-cast","unit":"fir.1","reporting":1,"units":1,"votes":{"ballots":[9,9]}}
{"contest":"president","unit":"fir.1","reporting":1,"units":1,"votes":{"smith":[2,2],"jones":[2,2]}}
`,
			"csv/fir.csv": `county,unit,contest,selection,count_type,votes
fir,fir.1,ballots-cast,ballots,early,9
fir,fir.1,ballots-cast,ballots,election-day,9
fir,fir.1,president,smith,early,2
fir,fir.1,president,smith,election-day,2
fir,fir.1,president,jones,early,2
fir,fir.1,president,jones,election-day,2
`,
		} {
			if got := document(t, store, e, name); got != want {
				t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
			}
		}
		chain := checkChain(t, store, e)
		last := chain[len(chain)-1]
		if last.Entries() != 4 || last.Accepted != 3 || last.Held != 1 {
			t.Errorf("last snapshot %+v", last)
		}
		for _, m := range manifestOf(t, store, last) {
			if m.Name == "contest/bond" {
				t.Error("the contest of one county has a document of its own")
			}
		}
		n.mustEnd()
	})
}

func TestLiveDocumentsEqualThePublishedOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		v := newViewer(t, store)
		n := begin(t, b, store.process(nil), v, nil)
		time.Sleep(time.Second) // the first snapshot
		count := schemas.Count(0)
		for revision := range schemas.Revision(20) {
			for _, u := range e.Definition.Units {
				i, _ := e.Unit(u.ID)
				b.count(u.ID, revision+1, b.cells(i, func() schemas.Count { count = (count*7 + 3) % 101; return count }))
				n.hint()
				time.Sleep(37 * time.Millisecond)
			}
		}
		n.mustFinish()
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.deltas < 100 || v.resyncs > 0 {
			t.Errorf("%d deltas applied, %d resyncs", v.deltas, v.resyncs)
		}
		for id, mine := range v.documents {
			if got := document(t, store, e, string(id)); got != string(mine.bytes()) {
				t.Errorf("%s: live is\n%s\npublished\n%s", id, mine.bytes(), got)
			}
		}
		checkChain(t, store, e)
		n.mustEnd()
	})
}

func TestAWrongTallyStopsPublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		b.count("oak.1", 1, oak1)
		n.hint()
		time.Sleep(3 * time.Second)
		if err := n.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		before := checkChain(t, store, e)
		b.mu.Lock()
		oak, _ := e.County("oak")
		place := e.Counties[oak]
		i, _ := place.Find(0)
		b.tallies[oak][place.Sections[i].Offset+1]++ // one vote more than the submissions have
		b.mu.Unlock()
		b.count("oak.2", 1, row(1, 10, 10, 1, 1, 1, 1, 1, 8, 8, 0, 0, 1, 5, 5, 5, 5))
		n.hint()
		err := <-n.done
		imbalance, ok := errors.AsType[*publish.ImbalanceError](err)
		if !ok || imbalance.County != "oak" || imbalance.Contest != "president" {
			t.Fatalf("Run returned %v", err)
		}
		if n.Ready() == nil {
			t.Error("still ready")
		}
		// One more says that publication is paused; its numbers are the same.
		after := checkChain(t, store, e)
		if last := after[len(after)-1]; len(after) != len(before)+1 || last.Entries() != 1 {
			t.Errorf("%d snapshots before, %d after, the last %+v", len(before), len(after), last)
		}
		if err := n.Finish(t.Context()); !errors.Is(err, publish.ErrStopped) {
			t.Errorf("Finish returned %v", err)
		}
		n.stop()
	})
}

// TestACutFollowsALedgerThatMovesOn: an entry that comes between the reading of
// entries and that of tallies belongs to the cut, too.
func TestACutFollowsALedgerThatMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		moved := false
		b.mu.Lock()
		b.moves = func() {
			moved = true
			b.count("oak.2", 1, row(1, 10, 10, 1, 1, 1, 1, 1, 8, 8, 0, 0, 1, 5, 5, 5, 5))
		}
		b.mu.Unlock()
		b.count("oak.1", 1, oak1)
		n.hint()
		time.Sleep(5 * time.Second)
		if err := n.Ready(); err != nil || !moved {
			t.Errorf("not ready: %v (moved: %t)", err, moved)
		}
		chain := checkChain(t, store, e)
		if last := chain[len(chain)-1]; last.Entries() != 2 || last.Accepted != 2 {
			t.Errorf("last snapshot %+v, want both submissions", last)
		}
		n.mustEnd()
	})
}

func TestAHeartbeatFollowsEachMinuteWithoutChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		v := newViewer(t, store)
		n := begin(t, b, store.process(nil), v, nil)
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		chain := checkChain(t, store, e)
		if len(chain) != 11 { // the first, then one a minute
			t.Errorf("%d snapshots in ten minutes", len(chain))
		}
		for _, s := range chain[1:] {
			if s.Manifest != chain[0].Manifest {
				t.Errorf("snapshot %d names other bytes, and nothing changed", s.Number)
			}
		}
		n.mustEnd()
	})
}

func TestALedgerThatFailsForAWhileIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		b.fail(errors.New("disk asleep"))
		b.count("oak.1", 1, oak1)
		n.hint()
		time.Sleep(5 * time.Second)
		if err := n.Ready(); err == nil || !strings.Contains(err.Error(), "disk asleep") {
			t.Errorf("Ready says %v", err)
		}
		b.fail(nil)
		time.Sleep(5 * time.Second)
		if err := n.Ready(); err != nil {
			t.Errorf("Ready says %v", err)
		}
		if got := n.Latest(); got.Entries() != 1 {
			t.Errorf("latest %+v", got)
		}
		n.mustEnd()
	})
}

func TestASecondSequencerFencesTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		first := begin(t, b, store.process(nil), newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		second := begin(t, b, store.process(nil), newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		b.count("oak.1", 1, oak1)
		first.hint()
		second.hint()
		err := <-first.done
		if !errors.Is(err, publish.ErrFenced) {
			t.Errorf("the first ended with %v", err)
		}
		second.mustFinish()
		checkChain(t, store, e)
		first.stop()
		second.mustEnd()
	})
}

func TestABucketOfAnotherElectionIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		store := newBucket(t)
		other := smallElection()
		other.Name = "Another"
		n := begin(t, newBooks(t, openElection(t, other)), store.process(nil), newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		n.mustEnd()
		again := begin(t, newBooks(t, e), store.process(nil), newViewer(t, store), nil)
		if err := <-again.done; !errors.Is(err, publish.ErrForeign) {
			t.Errorf("Run returned %v", err)
		}
		again.stop()
	})
}

func TestALedgerThatLostEntriesStopsPublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		b.count("oak.1", 1, oak1)
		n.mustFinish()
		n.mustEnd()
		again := begin(t, newBooks(t, e), store.process(nil), newViewer(t, store), nil)
		if err := <-again.done; !errors.Is(err, publish.ErrLedgerBehind) {
			t.Errorf("Run returned %v", err)
		}
		again.stop()
	})
}

func TestABucketWithoutItsMarkIsNotPublishedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		n.mustFinish()
		n.mustEnd()
		for name, mark := range map[string][]byte{"lost": nil, "of another election": []byte("other.example/x/publication/v1\nepoch 3\nowner a\n\n")} {
			store.mu.Lock()
			store.values["publication"] = mark
			store.mu.Unlock()
			again := begin(t, b, store.process(nil), newViewer(t, store), nil)
			if err := <-again.done; !errors.Is(err, publish.ErrForeign) {
				t.Errorf("mark %s: Run returned %v", name, err)
			}
			again.stop()
		}
	})
}

// overtaken is a process that is slow: something happens before it looks for
// a first snapshot.
type overtaken struct {
	*process
	meanwhile func()
}

func (o *overtaken) Get(ctx context.Context, key string) ([]byte, error) {
	if o.meanwhile != nil && key == schemas.SnapshotKey(1) {
		meanwhile := o.meanwhile
		o.meanwhile = nil
		meanwhile()
	}
	return o.process.Get(ctx, key)
}

// The simulation of faults found this one: the operator was told to restore a
// register that was whole.
func TestASequencerThatIsOvertakenAtTheFirstStartIsFencedAndBlamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		var second *night
		slow := &overtaken{process: store.process(nil)}
		slow.meanwhile = func() {
			second = begin(t, b, store.process(nil), newViewer(t, store), nil)
			second.mustFinish()
		}
		first := begin(t, b, slow.process, newViewer(t, store), func(c *publish.Config) { c.Bucket = slow })
		if err := <-first.done; !errors.Is(err, publish.ErrFenced) || errors.Is(err, publish.ErrForeign) {
			t.Errorf("the first ended with %v", err)
		}
		first.stop()
		checkChain(t, store, e)
		second.mustEnd()
	})
}

func TestOtherBytesAtTheNextNumberStopTheSequencer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		latest := string(store.must(schemas.LatestKey))
		key := schemas.SnapshotKey(n.Latest().Number + 1)
		if err := store.putNew(bucket.Object{Key: key, Body: []byte("written by somebody who took no epoch")}); err != nil {
			t.Fatal(err)
		}
		b.count("oak.1", 1, oak1)
		n.hint()
		if err := <-n.done; !errors.Is(err, publish.ErrFenced) || !errors.Is(err, bucket.ErrDiffers) {
			t.Errorf("Run returned %v", err)
		}
		if got := string(store.must(schemas.LatestKey)); got != latest {
			t.Error("latest was moved all the same")
		}
		n.stop()
	})
}

// deaf is a bus that takes nothing.
type deaf struct{}

func (deaf) Delta(context.Context, schemas.DocumentID, []byte) error { return errors.New("no bus") }
func (deaf) Published(context.Context, schemas.Published) error      { return errors.New("no bus") }

func TestPublishingGoesOnWithoutTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), deaf{}, nil)
		time.Sleep(2 * time.Second)
		b.count("oak.1", 1, oak1)
		n.hint()
		time.Sleep(2 * time.Second)
		if got := n.Latest(); got.Entries() != 1 || n.Ready() != nil {
			t.Errorf("latest %+v, ready %v", got, n.Ready())
		}
		n.mustEnd()
	})
}

func TestARecordThatIsNotItsEntrysStopsPublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := openElection(t, smallElection())
		b, store := newBooks(t, e), newBucket(t)
		n := begin(t, b, store.process(nil), newViewer(t, store), nil)
		time.Sleep(2 * time.Second)
		b.count("fir.1", 1, row(1, 9, 9, 1, 2, 2, 2, 2))
		b.count("fir.1", 2, row(1, 9, 9, 1, 2, 2, 2, 3))
		b.mu.Lock()
		b.records[2] = b.records[1]
		b.mu.Unlock()
		n.hint()
		err := <-n.done
		if replay, ok := errors.AsType[*publish.ReplayError](err); !ok || replay.Seq != 2 {
			t.Errorf("Run returned %v", err)
		}
		n.stop()
	})
}
