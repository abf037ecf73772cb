package viewers

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

// state of a viewer's connection.
type state uint8

const (
	away    state = iota // waits for its time to connect
	dialing              // the connection is not there yet
	asking               // the handshake is not answered, or nothing came after it
	open                 // has had a hello
)

// seat is one viewer. Times are milliseconds since the crowd began, so that
// they are small.
type seat struct {
	stream
	positions []position // sorted by document
	checks    []*check   // beside positions; nil unless the viewer is sampled

	generation uint32 // of its connections
	begunAt    uint32 // when this connection was begun
	heardAt    uint32 // when the last bytes came
	pingedAt   uint32 // when it last asked for a round trip
	comeAt     uint32 // when it was told to come back; 0: it was not

	state    state
	attempt  uint8 // connections in a row that brought nothing
	shift    uint8 // targets that it gave up
	sampled  bool
	upgraded bool // the handshake was answered
	deflate  bool // and compression agreed on
	hello    bool // the first frame came
	missing  bool // was cut off by a storm and is not back
}

// find is where a document stands in positions, or would stand.
func (s *seat) find(document int32) (k int, ok bool) {
	return slices.BinarySearchFunc(s.positions, document, func(p position, d int32) int { return int(p.document - d) })
}

// check is a sampled viewer's copy of a document, kept by the client's rule.
type check struct {
	document *viewer.Document
	fetching *schemas.Snap // the newest one, if its bytes are not there yet
	waiting  [][]byte      // deltas that came meanwhile
	bytes    int           // of them
}

// maxWaiting bounds the deltas that wait for a snapshot.
const maxWaiting = 4 << 20

// Times of a viewer that was cut off, as fanout/viewer has them: half of the wait
// is chance, so that viewers who were cut off together do not come back together.
const (
	leastRetry = 250 * time.Millisecond
	mostRetry  = 15 * time.Second
)

// backoff is how long a viewer waits after so many attempts in vain.
func backoff(attempt uint8, random *rand.Rand) time.Duration {
	most := min(leastRetry<<min(attempt, 10), mostRetry)
	return most/2 + time.Duration(random.Float64()*float64(most/2))
}

// comeback is a viewer's time to connect again.
type comeback struct {
	at   time.Time
	seat int32
}

// comebacks is a heap by time.
type comebacks []comeback

func (c comebacks) Len() int           { return len(c) }
func (c comebacks) Less(i, j int) bool { return c[i].at.Before(c[j].at) }
func (c comebacks) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }

// Push implements heap.Interface.
func (c *comebacks) Push(x any) { *c = append(*c, x.(comeback)) }

// Pop implements heap.Interface.
func (c *comebacks) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

func (c *comebacks) add(at time.Time, seat int32) { heap.Push(c, comeback{at, seat}) }

// due takes the first one out whose time has come.
func (c *comebacks) due(now time.Time) (int32, bool) {
	if len(*c) == 0 || (*c)[0].at.After(now) {
		return 0, false
	}
	return heap.Pop(c).(comeback).seat, true
}
