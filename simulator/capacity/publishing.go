package capacity

import (
	"math"

	"tallystream/fanout"
)

// Of publish, by its README and code.
const (
	lineBytes     = 300.0 // of a document: 18 KB a county at 60 contests
	manifestBytes = 280.0 // of a document's entry
	documentRate  = 4 << 20
	pagesEvery    = 5.0
	heartbeat     = 60.0
	logObjects    = 6.0 // bundle, hash tiles and checkpoint
	ofPublish     = "publish/README.md: a snapshot a second, stretched to 4 MB/s of documents; pages each 5 s; a heartbeat a minute"
)

// Of fanout, by design and its README.
const (
	perProcess     = 20_000.0 // viewers that a process takes
	cpuOfDelivery  = 10e-6    // seconds: 10 s a million
	deltaBytes     = 576.0
	viewerBytes    = 5 * 1024.0 // of the process 2, of the kernel 3
	ticks          = 10.0       // a second: a delta on the bus each 100 ms
	nodeCores      = 4.0
	cpuUsed        = 0.6
	ofFanout       = "fanout/README.md and fanout/bench: 20,000 a process, 10 s of CPU a million deliveries of 576 bytes, 5 KiB a viewer with the kernel's part"
	busNodes       = 3.0
	deflated       = 0.4 // of a delta's bytes on the wire
	pageBytes      = 40e3
	requestsOfPage = 4.0
)

// publishing is what the bucket gets, on average over the night.
type publishing struct{ snapshots, puts float64 }

// snapshotsAt solves for the pace: a longer interval gathers more documents,
// which stretch it, up to all documents.
func (n *Night) snapshotsAt(rate float64) (interval, documents, bytes float64) {
	interval = 1
	for range 50 {
		perCounty := rate * interval / n.Counties
		documents, bytes = 1, lineBytes*n.Contests
		counties := n.Counties * (1 - math.Exp(-perCounty))
		documents += counties
		bytes += counties * lineBytes * n.Contests
		if n.Districts > 0 {
			lines := math.Max(1, n.Counties*n.Contests/n.Districts)
			districts := n.Districts * (1 - math.Exp(-rate*interval*n.Contests/n.Districts))
			documents += districts
			bytes += districts * lines * lineBytes
		}
		bytes += manifestBytes * (n.Counties + n.Districts + 1)
		interval = (interval + math.Max(1, bytes/documentRate)) / 2
	}
	return interval, documents, bytes
}

func (p *planner) bucket(a arrivals) publishing {
	p.part = "Bucket (S3) and CDN"
	n := &p.n
	interval, documents, bytes := n.snapshotsAt(a.average)
	busy := 1 - math.Exp(-a.average*interval)
	var s publishing
	s.snapshots = p.say("snapshots", a.seconds*math.Max(busy/interval, 1/heartbeat), "", ofPublish, "%s s x max((1 - e^-(%s/s x %s s)) / %s s, 1/60 s)",
		short(a.seconds), short(a.average), short(interval), short(interval))
	each := documents + 3 + logObjects
	pages := s.snapshots * math.Min(1, interval/pagesEvery) * documents
	s.puts = p.say("puts", s.snapshots*each+pages, "", "a snapshot: its documents, manifest, note, latest, 6 of the log (bundle, tiles, checkpoint); and pages", "%s snapshots x (%s documents + 9) + %s pages",
		short(s.snapshots), short(documents), short(pages))
	gb := p.say("published", s.snapshots*bytes/1e9, "GB", ofPublish, "%s snapshots x %s MB", short(s.snapshots), short(bytes/1e6))
	p.dollars("puts of objects", s.puts, "s3-put")
	p.dollars("published for a month", gb, "s3-gb-month")
	requests := p.say("requests to the CDN", n.PageLoads*requestsOfPage, "", "assumed: 4 objects a page", "%s page loads x %g", short(n.PageLoads), requestsOfPage)
	out := n.PageLoads * requestsOfPage * pageBytes / 1e9
	p.dollars("requests", requests, "cloudfront-request")
	p.dollars("bytes to readers (40 KB each, compressed)", out, "cloudfront-gb")
	// Each of some 13 regional caches asks for each object once.
	p.dollars("reads of the CDN from the bucket", 13*s.puts, "s3-get")
	p.dollars("signatures of snapshots and checkpoints", 2*s.snapshots, "kms-sign")
	p.dollars("the signing key for a month", 1, "kms-key-month")
	return s
}

func (p *planner) live(a arrivals, _ publishing) {
	p.part = "Live (fanout and NATS)"
	n := &p.n
	updates := func(rate, often float64) float64 { return often * (1 - math.Exp(-rate/often)) }
	told := func(rate float64) float64 { return updates(rate, 1/fanout.DefaultMinInterval.Seconds()) }
	deliveries := p.say("deliveries a second at the peak", n.Viewers*told(a.peak), "/s", "a viewer of the election's document gets a delta each second in which something came (fanout's --min-interval)",
		"%s viewers x %s/s", short(n.Viewers), short(told(a.peak)))
	byCount, byCPU := math.Ceil(n.Viewers/(perProcess*nodeCores)), math.Ceil(deliveries*cpuOfDelivery/(nodeCores*cpuUsed))
	nodes := p.say("fanout nodes", math.Max(byCount, byCPU)+1, "of 4 vCPU, 8 GB", ofFanout,
		"max(%s viewers / (4 x 20,000), %s/s x 10 us / (4 x 0.6)) + 1 to lose", short(n.Viewers), short(deliveries))
	memory := n.Viewers / math.Max(1, nodes-1) * viewerBytes / 1e9
	p.say("memory of viewers a node", memory, "GB", ofFanout, "%s viewers / %s nodes x 5 KiB", short(n.Viewers), short(math.Max(1, nodes-1)))
	bus := p.say("NATS nodes", busNodes, "of 1 vCPU, 2 GB", "one may fail while another is replaced; the bus carries each delta once to each fanout node, and hints alone", "%g", busNodes)
	p.say("bus traffic at the peak", updates(a.peak, ticks)*math.Min(a.peak/ticks*(n.Contests+2), n.Counties+n.Districts+1)*deltaBytes*nodes/1e6, "MB/s", "a delta of 576 bytes to each fanout node for each document that changed",
		"%s ticks/s x documents changed x 576 B x %s nodes", short(updates(a.peak, ticks)), short(nodes))
	out := n.Viewers * told(a.average) * deltaBytes * deflated * a.seconds / 4 / 1e9
	p.dollars("deltas to viewers (a quarter of the night each, compressed)", out, "transfer-gb")
	p.dollars("fanout CPU", nodes*nodeCores*n.Hours, "fargate-cpu-hour")
	p.dollars("fanout memory", nodes*8*n.Hours, "fargate-gb-hour")
	p.dollars("NATS CPU", bus*n.Hours, "fargate-cpu-hour")
	p.dollars("NATS memory", bus*2*n.Hours, "fargate-gb-hour")
}

// CPU of services a submission, in seconds, with the SDK's share; two tasks of
// each at least.
const (
	cpuIngest    = 500e-6
	cpuAggregate = 300e-6
	ofServices   = "measured embedded: 150 us at ingest and 60 at aggregate (rehearse prints it); doubled and more for AWS's SDK (ingest/stream/kinesis/README.md)"
)

func (p *planner) services(a arrivals) {
	p.part = "Services"
	hours := p.n.Hours
	tasks := func(name string, cpu float64) float64 {
		return p.say(name, math.Max(2, math.Ceil(a.peak*cpu/cpuUsed)), "of 1 vCPU, 2 GB", ofServices, "max(2, %s/s x %g us / 0.6)", short(a.peak), cpu*1e6)
	}
	all := tasks("ingest tasks", cpuIngest) + tasks("aggregate tasks", cpuAggregate)
	all += 2 * p.say("publish tasks", 2, "of 2 vCPU, 4 GB", "one works, one waits for its lease", "2")
	p.dollars("CPU", all*hours, "fargate-cpu-hour")
	p.dollars("memory", 2*all*hours, "fargate-gb-hour")
	p.dollars("two load balancers", 2*hours, "load-balancer-hour")
}
