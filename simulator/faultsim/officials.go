package faultsim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"tallystream/ingest"
	"tallystream/ingest/stream"
	"tallystream/schemas"
)

// desk is a copy of the submission service.
type desk struct {
	*process
	handler http.Handler
}

// openDesk starts one, on the stream that wrap gives.
func (n *night) openDesk(name string) *desk {
	d := &desk{}
	d.process = n.world.process(name, func(p *process) {
		appender := n.tape.appender(p)
		if n.plant.appender != nil {
			appender = n.plant.appender(n, p, appender)
		}
		server, err := ingest.New(ingest.Config{
			Election: n.town.election, Keyring: n.town.keyring, Signer: &n.town.receipts, Verifier: n.town.receipts.VerifierKey(),
			Stream: appender, States: n.ledger, Busy: func(err error) bool { return errors.Is(err, stream.ErrBusy) },
			Metrics: n.meters.ingest, Now: p.Now,
		})
		if err != nil {
			n.world.violate("ingest does not start: %v", err)
			return
		}
		d.handler = server.Handler()
	})
	return d
}

// answer is what a request brought; it is also the writer of it.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// serve answers one request in a task of its own, and tells then.
func (d *desk) serve(m *meaning, then func(*answer)) {
	path, media := ingest.SubmissionsPath, ingest.MediaType
	if m.releases != nil {
		path, media = ingest.ReleasesPath, ingest.ReleaseMediaType
	}
	d.start("request", func(*task) {
		a := &answer{header: http.Header{}}
		d.handler.ServeHTTP(a, &http.Request{
			Method: http.MethodPost, URL: &url.URL{Path: path}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(bytes.NewReader(m.envelope)), ContentLength: int64(len(m.envelope)),
		})
		then(a)
	})
}

// official sends submissions of some units, and what two supervisors release of
// them, until each has its receipt.
type official struct {
	*process
	night *night
	plan  []*meaning
	done  bool
}

// hire gives an official what to send: mostly in order, with slips.
func (n *night) hire(name string, units []int) *official {
	w := n.world
	o := &official{night: n}
	for _, u := range units {
		story := &n.town.units[u]
		last := 1 + w.random.IntN(len(story.ordinary))
		o.plan = append(o.plan, story.ordinary[:last]...)
		for range w.random.IntN(3) {
			o.plan = append(o.plan, story.odd[w.random.IntN(len(story.odd))])
		}
		o.plan = append(o.plan, n.supervise(story, o.plan)...)
	}
	for i := range o.plan { // out of order, a little
		if w.chance(3) {
			k := w.random.IntN(len(o.plan))
			o.plan[i], o.plan[k] = o.plan[k], o.plan[i]
		}
	}
	o.process = w.process(name, func(p *process) { p.start("sends", o.work) })
	return o
}

// supervise draws what is released of a plan: mostly what may be held, now and
// then what is not, and poison. Before it or after it is a matter of how the
// plan is mixed.
func (n *night) supervise(story *unitStory, plan []*meaning) (out []*meaning) {
	w := n.world
	for _, m := range plan {
		often := 2
		if m == story.ordinary[0] {
			often = 12
		}
		if l := story.releases[m]; l != nil && w.chance(often) {
			out = append(out, l)
		}
	}
	if w.chance(6) {
		m := n.town.poison[w.random.IntN(len(n.town.poison))]
		if l := n.town.releaseOf(m); l != nil {
			out = append(out, l)
		}
	}
	return out
}

func (o *official) work(t *task) {
	w := o.night.world
	for i := 0; i < len(o.plan); i++ {
		t.pause(w.between(0, 2*time.Second))
		m := o.plan[i]
		o.send(t, m)
		if w.befalls(faultSentAgain) {
			again := o.plan[w.random.IntN(i+1)]
			w.note(t.name, "sends again", again.name)
			o.send(t, again)
		}
	}
	o.done = true
}

// send tries until there is a receipt.
func (o *official) send(t *task, m *meaning) {
	w := o.night.world
	for try := 0; ; try++ {
		a := o.try(t, m)
		switch {
		case a == nil:
			w.note(t.name, "no answer", m.name)
		case a.status == http.StatusOK:
			o.night.acknowledge(t.name, m, a.body.Bytes())
			return
		case a.status != http.StatusServiceUnavailable && a.status != http.StatusTooManyRequests:
			w.violate("%s is refused: %d %s", m.name, a.status, a.body.String())
			return
		default:
			w.note(t.name, "busy", m.name)
		}
		t.pause(w.between(50*time.Millisecond, time.Duration(min(try+1, 8))*400*time.Millisecond))
	}
}

// try asks any desk once.
func (o *official) try(t *task, m *meaning) *answer {
	w := o.night.world
	d := o.night.desks[w.random.IntN(len(o.night.desks))]
	var got *answer
	reply := func(a *answer) {
		if w.befalls(faultAnswerLost) {
			return
		}
		w.after(w.between(time.Millisecond, 30*time.Millisecond), func() {
			if got == nil {
				got = a
				t.wake()
			}
		})
	}
	arrive := func() {
		if !d.down {
			d.serve(m, reply)
		}
	}
	if !w.befalls(faultRequestLost) {
		w.after(w.between(time.Millisecond, 30*time.Millisecond), arrive)
	}
	if w.befalls(faultRequestTwice) {
		w.after(w.between(time.Millisecond, 2*time.Second), arrive)
	}
	t.await(w.between(time.Second, 6*time.Second))
	a := got
	got = &answer{} // what comes later is nobody's
	return a
}

// acknowledge checks a receipt and remembers what it promises.
func (n *night) acknowledge(who string, m *meaning, receipt []byte) {
	if before, ok := n.receipts[m]; ok {
		if before != string(receipt) {
			n.world.violate("%s has two receipts that differ", m.name)
		}
		return
	}
	r, err := n.read.receipt(n.town, m, receipt)
	if err != nil || r.Unit != m.unit || r.Revision != m.revision || r.Digest != m.digest {
		n.world.violate("the receipt of %s is not for it: %v", m.name, err)
	}
	n.world.note(who, "has a receipt", m.name)
	n.receipts[m] = string(receipt)
}

// unkept lists a receipt whose submission is no ledger entry; "" if all are.
func (n *night) unkept() string {
	type key struct {
		unit     schemas.UnitID
		revision schemas.Revision
		digest   schemas.Digest
		release  bool
	}
	there := map[key]bool{}
	for _, p := range n.ledger.parts {
		for i := range p.entries {
			x := &p.entries[i]
			there[key{x.Unit, x.Revision, x.Digest, x.OfRelease()}] = true
		}
	}
	for _, o := range n.officials {
		for _, m := range o.plan {
			if _, acknowledged := n.receipts[m]; acknowledged && !there[key{m.unit, m.revision, m.digest, m.releases != nil}] {
				return fmt.Sprintf("%s has a receipt and no entry in the ledger", m.name)
			}
		}
	}
	return ""
}
