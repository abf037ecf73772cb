package kinesis_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tallystream/ingest/stream/kinesis"
	"tallystream/schemas"
)

func TestAPointIsTheMiddleOfItsShare(t *testing.T) {
	for _, x := range []struct {
		p          schemas.Partition
		partitions int
		want       string
	}{
		{0, 1, "170141183460469231731687303715884105728"}, // 2^127
		{0, 2, "85070591730234615865843651857942052864"},  // 2^126
		{1, 2, "255211775190703847597530955573826158592"}, // 3 * 2^126
		{2, 3, "283568639100782052886145506193140176213"}, // 5/6 of 2^128, rounded down
		{4095, 4096, "340240828546070184842346363461134450688"},
	} {
		if got := kinesis.PointOf(x.p, x.partitions).String(); got != x.want {
			t.Errorf("PointOf(%d, %d) = %s, want %s", x.p, x.partitions, got, x.want)
		}
	}
}

func TestPointsAscendAndSurviveTheirSpelling(t *testing.T) {
	for _, partitions := range []int{1, 2, 3, 7, 46, 256, schemas.MaxPartitions} {
		var last kinesis.Point
		for p := range partitions {
			x := kinesis.PointOf(schemas.Partition(p), partitions)
			if x.Compare(last) <= 0 || !kinesis.Whole.Holds(x) {
				t.Fatalf("point %d of %d is %s, after %s", p, partitions, x, last)
			}
			if y, err := kinesis.ParsePoint(x.String()); err != nil || y != x {
				t.Fatalf("%s read back as %s, %v", x, y, err)
			}
			last = x
		}
	}
	for _, bad := range []string{"", "-1", "01", "1e3", "340282366920938463463374607431768211456", "0x10", " 1"} {
		if x, err := kinesis.ParsePoint(bad); err == nil {
			t.Errorf("%q was read as %s", bad, x)
		}
	}
}

// model is a stream whose shards a test splits and merges, with the records of
// each partition in each shard.
type model struct {
	shards  []kinesis.ShardInfo
	records map[string][]int // by shard: the partitions of its records, in order
	points  []kinesis.Point
}

func newModel(shards, partitions int) *model {
	m := &model{records: map[string][]int{}}
	for p := range partitions {
		m.points = append(m.points, kinesis.PointOf(schemas.Partition(p), partitions))
	}
	first := kinesis.Point{}
	for i := range shards {
		last := kinesis.Whole.Last
		if i+1 < shards {
			last = kinesis.Point{Hi: uint64(i+1) << 60} // not equal, which is as good
		}
		m.add(kinesis.ShardInfo{Range: kinesis.Range{First: first, Last: last}})
		first = kinesis.Point{Hi: last.Hi, Lo: last.Lo + 1}
	}
	return m
}

func (m *model) add(s kinesis.ShardInfo) {
	s.ID = fmt.Sprintf("shardId-%012d", len(m.shards))
	m.shards = append(m.shards, s)
}

func (m *model) open() (list []int) {
	for i, s := range m.shards {
		if !s.Closed {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b int) int { return m.shards[a].Range.First.Compare(m.shards[b].Range.First) })
	return list
}

func (m *model) put(p int) {
	for _, i := range m.open() {
		if s := m.shards[i]; s.Range.Holds(m.points[p]) {
			m.records[s.ID] = append(m.records[s.ID], p)
		}
	}
}

func (m *model) split(i int, at kinesis.Point) {
	s := m.shards[i]
	if at.Compare(s.Range.First) <= 0 || at.Compare(s.Range.Last) > 0 {
		return
	}
	m.shards[i].Closed = true
	below := kinesis.Point{Hi: at.Hi, Lo: at.Lo - 1}
	if at.Lo == 0 {
		below.Hi--
	}
	m.add(kinesis.ShardInfo{Parent: s.ID, Range: kinesis.Range{First: s.Range.First, Last: below}})
	m.add(kinesis.ShardInfo{Parent: s.ID, Range: kinesis.Range{First: at, Last: s.Range.Last}})
}

func (m *model) merge(i, j int) {
	a, b := m.shards[i], m.shards[j]
	m.shards[i].Closed, m.shards[j].Closed = true, true
	m.add(kinesis.ShardInfo{Parent: a.ID, Adjacent: b.ID, Range: kinesis.Range{First: a.Range.First, Last: b.Range.Last}})
}

// TestPartitionsAreReadInOrderThroughSplitsAndMerges reads a stream that is
// split and merged at random, a few records at a time from any of the open
// shards, and commits the partitions' cursors one by one, so that a crash
// leaves some behind. Every partition must see its records in the order in
// which they were put, none twice by its committed count, none left out.
func TestPartitionsAreReadInOrderThroughSplitsAndMerges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		random := rand.New(rand.NewPCG(seed, 0))
		partitions := rapid.IntRange(1, 12).Draw(t, "partitions")
		m := newModel(rapid.IntRange(1, 4).Draw(t, "shards"), partitions)
		w := &walker{t: t, m: m, random: random, cursors: make([]string, partitions), read: make([]int, partitions), puts: make([]int, partitions)}
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			w.step()
		}
		w.drain()
	})
}

// walker follows a model with nothing but a Lineage and cursors.
type walker struct {
	t       *rapid.T
	m       *model
	random  *rand.Rand
	cursors []string // committed
	read    []int    // records that each partition has committed
	puts    []int
}

func (w *walker) step() {
	switch open := w.m.open(); w.random.IntN(8) {
	case 0:
		i := open[w.random.IntN(len(open))]
		w.m.split(i, kinesis.Point{Hi: w.random.Uint64(), Lo: w.random.Uint64()})
	case 1:
		if len(open) > 1 {
			i := w.random.IntN(len(open) - 1)
			w.m.merge(open[i], open[i+1])
		}
	case 2, 3:
		for range 1 + w.random.IntN(10) {
			p := w.random.IntN(len(w.puts))
			w.m.put(p)
			w.puts[p]++
		}
	default:
		w.readSome()
	}
}

// readSome reads a piece of one open shard; each of its partitions may or may
// not come to commit what it read.
func (w *walker) readSome() bool {
	l, err := kinesis.NewLineage(w.m.shards, len(w.puts))
	if err != nil {
		w.t.Fatal(err)
	}
	open, err := l.Open(w.cursors)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(open) == 0 {
		w.t.Fatal("no shard can be read")
	}
	o := open[w.random.IntN(len(open))]
	w.checkParents(o.ID)
	records := w.m.records[o.ID]
	upTo := w.random.IntN(len(records) + 1)
	ended := upTo == len(records) && w.closed(o.ID) && w.random.IntN(3) > 0
	moved := false
	for i, p := range o.Partitions {
		if w.random.IntN(4) == 0 {
			continue // it crashed before this one's commit
		}
		from := 0
		if o.Places[i].Behind != "" {
			_, _ = fmt.Sscan(o.Places[i].Behind, &from)
		}
		if from > upTo {
			continue
		}
		// Sequence numbers of the model are places in the shard, from 1.
		for _, x := range records[from:upTo] {
			if x == int(p) {
				w.read[p]++
			}
		}
		before := w.cursors[p]
		switch {
		case ended:
			w.cursors[p] = "k1/" + o.ID + "/end"
		case upTo > 0:
			w.cursors[p] = fmt.Sprintf("k1/%s/%d", o.ID, upTo)
		}
		moved = moved || w.cursors[p] != before
		w.checkOrder(int(p))
	}
	return moved
}

func (w *walker) closed(id string) bool {
	i := slices.IndexFunc(w.m.shards, func(s kinesis.ShardInfo) bool { return s.ID == id })
	return w.m.shards[i].Closed
}

// checkParents: every partition that a parent held has read the parent to its
// end, or is further.
func (w *walker) checkParents(id string) {
	for _, s := range w.m.shards {
		if s.ID != id {
			continue
		}
		for _, parent := range w.m.shards {
			if parent.ID != s.Parent && parent.ID != s.Adjacent {
				continue
			}
			for p, x := range w.m.points {
				if parent.Range.Holds(x) && w.cursors[p] != "k1/"+parent.ID+"/end" && !w.isPast(p, parent.ID) {
					w.t.Fatalf("%s can be read, and partition %d is at %q in its parent %s", id, p, w.cursors[p], parent.ID)
				}
			}
		}
	}
}

func (w *walker) isPast(p int, shard string) bool {
	return len(w.cursors[p]) > 20 && w.cursors[p][3:23] > shard // names ascend
}

// checkOrder: what a partition has committed is as many records as lie before
// its cursor, in the order of its shards, none left out and none twice.
func (w *walker) checkOrder(p int) {
	want := 0
	var shard, place string
	if w.cursors[p] != "" {
		shard, place = w.cursors[p][3:23], w.cursors[p][24:]
	}
	for _, s := range w.m.shards {
		if !s.Range.Holds(w.m.points[p]) || s.ID > shard {
			continue
		}
		upTo := len(w.m.records[s.ID])
		if s.ID == shard && place != "end" {
			_, _ = fmt.Sscan(place, &upTo)
		}
		for _, x := range w.m.records[s.ID][:upTo] {
			if x == p {
				want++
			}
		}
	}
	if w.read[p] != want {
		w.t.Fatalf("partition %d at %q has read %d records, want %d", p, w.cursors[p], w.read[p], want)
	}
}

func (w *walker) drain() {
	for range 10_000 {
		done := true
		for p := range w.read {
			done = done && w.read[p] == w.puts[p]
		}
		if done {
			return
		}
		w.readSome()
	}
	w.t.Fatalf("read %v of %v records and came no further", w.read, w.puts)
}

func shardsOf(t *testing.T, shards []kinesis.ShardInfo, cursors ...string) string {
	t.Helper()
	l, err := kinesis.NewLineage(shards, len(cursors))
	if err != nil {
		t.Fatal(err)
	}
	open, err := l.Open(cursors)
	if err != nil {
		return err.Error()
	}
	text := ""
	for _, o := range open {
		text += fmt.Sprint(o.ID, o.Partitions, " ")
	}
	return text
}

// half ranges of a stream of two partitions.
var (
	below = kinesis.Range{Last: kinesis.Point{Hi: 1<<63 - 1, Lo: 1<<64 - 1}}
	above = kinesis.Range{First: kinesis.Point{Hi: 1 << 63}, Last: kinesis.Whole.Last}
)

func TestAChildWaitsForBothParents(t *testing.T) {
	merged := []kinesis.ShardInfo{
		{ID: "a", Range: below, Closed: true}, {ID: "b", Range: above, Closed: true},
		{ID: "c", Parent: "a", Adjacent: "b", Range: kinesis.Whole},
	}
	for _, x := range []struct{ zero, one, want string }{
		{"", "", "a[0] b[1] "},
		{"k1/a/end", "", "b[1] "},
		{"k1/a/end", "k1/b/77", "b[1] "},
		{"", "k1/b/end", "a[0] "},
		{"k1/a/end", "k1/b/end", "c[0 1] "},
		{"k1/c/5", "k1/b/end", "c[0 1] "},
	} {
		if got := shardsOf(t, merged, x.zero, x.one); got != x.want {
			t.Errorf("%q and %q: %q can be read, want %q", x.zero, x.one, got, x.want)
		}
	}
}

func TestASplitWaitsForEveryPartitionOfItsParent(t *testing.T) {
	split := []kinesis.ShardInfo{
		{ID: "a", Range: kinesis.Whole, Closed: true},
		{ID: "b", Parent: "a", Range: below}, {ID: "c", Parent: "a", Range: above},
	}
	for _, x := range []struct{ zero, one, want string }{
		{"", "", "a[0 1] "},
		{"k1/a/end", "k1/a/3", "a[1] "},
		{"k1/a/end", "k1/a/end", "b[0] c[1] "},
	} {
		if got := shardsOf(t, split, x.zero, x.one); got != x.want {
			t.Errorf("%q and %q: %q can be read, want %q", x.zero, x.one, got, x.want)
		}
	}
}

func TestAnExpiredParentIsAsGoodAsReadIfItWas(t *testing.T) {
	left := []kinesis.ShardInfo{{ID: "c", Parent: "a", Adjacent: "b", Range: kinesis.Whole}} // a and b are too old
	l, err := kinesis.NewLineage(left, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ cursor, expired string }{
		{"", ""}, {"k1/a/end", ""}, {"k1/c/9", ""},
		{"k1/a/44", "a"},                        // unread records may have gone with it
		{"k1/older-than-a/end", "older-than-a"}, // a came and went unread
	} {
		got, err := l.Place(0, x.cursor)
		if err != nil || got.Shard != "c" || got.Expired != x.expired {
			t.Errorf("%q: %+v, %v, want c and expired %q", x.cursor, got, err, x.expired)
		}
	}
}

func TestAnEndWithoutAChildYetIsAwaited(t *testing.T) {
	one := []kinesis.ShardInfo{{ID: "a", Range: kinesis.Whole, Closed: true}}
	if got := shardsOf(t, one, "k1/a/end", "k1/a/end"); got != "" {
		t.Errorf("%q can be read", got)
	}
}

func TestListingsThatNoReshardMakesAreRefused(t *testing.T) {
	for name, shards := range map[string][]kinesis.ShardInfo{
		"none":         nil,
		"a gap":        {{ID: "a", Range: below}},
		"an overlap":   {{ID: "a", Range: kinesis.Whole}, {ID: "b", Range: below}},
		"two children": {{ID: "a", Range: kinesis.Whole}, {ID: "b", Parent: "a", Range: below}, {ID: "c", Parent: "a", Range: kinesis.Whole}},
		"a circle":     {{ID: "a", Parent: "b", Range: kinesis.Whole}, {ID: "b", Parent: "a", Range: kinesis.Whole}},
	} {
		if _, err := kinesis.NewLineage(shards, 2); !errors.Is(err, kinesis.ErrLineage) {
			t.Errorf("%s: %v, want ErrLineage", name, err)
		}
	}
}

func TestBadCursorsAreRefused(t *testing.T) {
	l, err := kinesis.NewLineage([]kinesis.ShardInfo{{ID: "a", Range: below}, {ID: "b", Range: above}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"a/1", "k2/a/1", "k1/a", "k1//1", "k1/a/", "k1/a/01", "k1/a/-1", "k1/a/1x", "k1/a/1/2", "k1/b/1", "end"} {
		if place, err := l.Place(0, bad); !errors.Is(err, kinesis.ErrCursor) {
			t.Errorf("%q: %+v, %v, want ErrCursor", bad, place, err)
		}
	}
}
