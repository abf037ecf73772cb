package capacity

import (
	"math"

	"tallystream/ingest/stream/kinesis"
)

// Measured constants; each names the command that prints it again.
const (
	// A submission's bytes as it travels: 5,965 at 29.5 contests.
	noteBytes       = 440
	contestBytes    = 187
	measuredRecord  = "measured: go test ./simulator -run WriteUnits -v"
	packedShare     = 0.29 // of a record's bytes, packed: 1,728 of 5,965
	entryBytes      = 70   // of keys and meta around it
	tallyBytes      = 68   // of a county's tally for each contest of its units' ballots: 2,004 at 29.5
	headUnits       = 2.0
	unitUnits       = 2.0
	gap             = 0.1 // seconds between a partition's transactions: aggregate.DefaultGap
	batchEntries    = 33.0
	tableWrites     = 4000
	partitionWrites = 1000
	warmReserve     = 1.5
)

const (
	limitsDynamoDB = "AWS developer guide, \"DynamoDB item sizes and formats\", \"Transactions\": 2 units a started KB"
	limitsTable    = "AWS developer guide, \"Warm throughput\": a new on-demand table takes 4,000 write units a second"
	limitsHot      = "AWS developer guide, \"Burst and adaptive capacity\": 1,000 write units a second and partition"
	limitsKinesis  = "AWS developer guide, \"Quotas and limits\": 1,000 records and 1 MiB a second and shard; 70% of it used"
)

// arrivals is what comes in.
type arrivals struct {
	submissions, seconds, average, peak, bytes float64
}

func (p *planner) arrivals() arrivals {
	p.part = "Arrivals"
	n := &p.n
	var a arrivals
	a.submissions = p.say("submissions", n.Units*n.Revisions, "", "", "%s units x %s revisions", short(n.Units), short(n.Revisions))
	a.seconds = n.Hours * 3600
	a.average = p.say("average rate", a.submissions/a.seconds, "/s", "", "%s submissions / %s s", short(a.submissions), short(a.seconds))
	if n.Peak > 0 {
		a.peak = p.say("peak rate", math.Max(n.Peak, a.average), "/s", "--peak, or the average if that is more", "%s/s", short(n.Peak))
	} else {
		a.peak = p.say("peak rate", a.average*n.PeakFactor, "/s", "busiest five minutes of the curve", "%s/s x %s", short(a.average), short(n.PeakFactor))
	}
	a.bytes = p.say("bytes of a submission", noteBytes+contestBytes*n.Contests, "B", measuredRecord, "%d + %d x %s contests", noteBytes, contestBytes, short(n.Contests))
	return a
}

func (p *planner) stream(a arrivals) {
	p.part = "Stream (Kinesis)"
	shards := p.say("shards", float64(kinesis.ShardsFor(a.peak, a.peak*a.bytes)), "", limitsKinesis,
		"max(%s/1,000, %s x %s B / 1 MiB) / 0.7, rounded up", short(a.peak), short(a.peak), short(a.bytes))
	if shards > p.n.Partitions {
		p.warn("%s shards are more than the %s partitions of the definition: those that hold no partition's point take nothing. Give the election more partitions.",
			short(shards), short(p.n.Partitions))
	}
	hours := shards * p.n.Hours
	p.dollars("shards' hours", hours, "kinesis-shard-hour")
	p.dollars("retention of a week", hours, "kinesis-retention-hour")
	p.dollars("puts", a.submissions*math.Max(1, math.Ceil(a.bytes/25_000)), "kinesis-put-unit")
}

// writes is what a submission costs the ledger, in micro-batches of n entries
// of a partition.
type writes struct{ head, entry, unit, tally float64 }

func (w writes) sum() float64 { return w.head + w.entry + w.unit + w.tally }

// writesAt spreads the head, and the tallies of counties that come twice, over
// the entries of a batch.
func (n *Night) writesAt(bytes, rate float64) (writes, float64) {
	batch := math.Min(batchEntries, math.Max(1, rate*gap/n.Partitions))
	counties := math.Max(1, n.Counties/n.Partitions)
	distinct := math.Max(1, counties*(1-math.Pow(1-1/counties, batch)))
	return writes{
		head:  headUnits / batch,
		entry: 2 * kilobytes(bytes*packedShare+entryBytes),
		unit:  unitUnits,
		tally: 2 * kilobytes(tallyBytes*n.Contests) * distinct / batch,
	}, batch
}

func (p *planner) ledger(a arrivals) {
	p.part = "Ledger (DynamoDB)"
	n := &p.n
	alone, _ := n.writesAt(a.bytes, 0)
	p.say("write units of a submission alone", alone.sum(), "", limitsDynamoDB+"; sizes "+measuredRecord,
		"head %s + entry %s (%s B packed to %s) + unit %s + tally %s", short(alone.head), short(alone.entry), short(a.bytes), short(a.bytes*packedShare), short(alone.unit), short(alone.tally))
	peak, batch := n.writesAt(a.bytes, a.peak)
	p.say("write units of one at the peak", peak.sum(), "", "as above; a transaction of a partition each 100 ms, at most 33 entries",
		"head %s + entry %s + unit %s + tally %s, in batches of %s", short(peak.head), short(peak.entry), short(peak.unit), short(peak.tally), short(batch))
	rate := p.say("write units a second at the peak", peak.sum()*a.peak, "/s", "", "%s x %s/s", short(peak.sum()), short(a.peak))
	warm := 0.0
	if rate*warmReserve > tableWrites {
		warm = math.Ceil(rate*warmReserve/1000) * 1000
	}
	p.say("warm throughput to ask for", warm, "writes/s", limitsTable+"; `tallystream setup --warm-writes`", "%s/s x %g if above %d, in thousands", short(rate), warmReserve, tableWrites)
	p.busiest(a)
	average, _ := n.writesAt(a.bytes, a.average)
	units := p.say("write units of the night", average.sum()*a.submissions, "", "", "%s x %s submissions", short(average.sum()), short(a.submissions))
	p.dollars("writes", units, "dynamodb-write-unit")
	read := a.submissions * (2*(a.bytes*packedShare+entryBytes)/4096 + 1)
	p.dollars("reads, once by the publisher and once at a restart", read, "dynamodb-read-unit")
	if warm > tableWrites {
		p.dollars("warming", warm-tableWrites, "dynamodb-warm-unit")
	}
	gb := p.say("ledger", a.submissions*(a.bytes*packedShare+2*entryBytes)/1e9, "GB", "", "%s submissions x (%s B x %g + %d)", short(a.submissions), short(a.bytes), packedShare, 2*entryBytes)
	p.dollars("ledger for a month", gb, "dynamodb-gb-month")
	p.dollars("its point-in-time recovery", gb, "dynamodb-backup-gb")
}

// busiest is the item that is written most: the tally of the largest county.
func (p *planner) busiest(a arrivals) {
	n := &p.n
	commits := math.Max(1/gap, a.peak/n.Partitions/batchEntries)
	touched := commits * (1 - math.Exp(-a.peak*n.LargestCounty/commits))
	busiest := math.Max(touched*2*kilobytes(tallyBytes*n.Contests*1.7), commits*headUnits)
	p.say("busiest item", busiest, "writes/s", limitsHot, "max(tally %s/s x %s units, head %s/s x %g)", short(touched), short(2*kilobytes(tallyBytes*n.Contests*1.7)), short(commits), headUnits)
	if busiest > partitionWrites/10 {
		p.warn("the busiest item takes %s write units a second, more than a tenth of a partition's %d", short(busiest), partitionWrites)
	}
}
