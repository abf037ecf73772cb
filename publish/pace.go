package publish

import "time"

// Shares of one core's time that each kind of work may take. A tick that costs
// more than its share of the interval makes the next one wait longer: at the
// size of the US ticks stretch to seconds, at that of a state they keep their
// least interval.
const (
	deltaShare    = 0.07 // double entry, rendering, hashing and sending
	snapshotShare = 0.07 // assembling and writing documents
	pagesShare    = 0.05
	exportShare   = 0.05
)

// pace says how often one kind of work may be done.
type pace struct {
	least time.Duration // no more often than this
	most  time.Duration // but at least this often, whatever it costs
	share float64       // of one core's time, as wall time of the work
	rate  float64       // bytes a second to write on average; 0: any
}

// next is when work that began at a time, took a while and wrote some bytes
// may begin again. Wall time stands for CPU time: on a busy machine that errs
// to the side of leaving the cores to others.
func (p pace) next(begun time.Time, took time.Duration, wrote int64) time.Time {
	wait := max(p.least, time.Duration(float64(took)/p.share))
	if p.rate > 0 {
		wait = max(wait, time.Duration(float64(wrote)/p.rate*float64(time.Second)))
	}
	return begun.Add(min(wait, max(p.most, p.least)))
}
