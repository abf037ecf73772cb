package fanout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"tallystream/fanout"
	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

// The protocol from the viewers' side, as one schedule by seed without a clock
// and without a network: a publisher that restarts; nodes that lose, repeat and
// reorder what the bus brings, die and begin anew, and look at a bucket whose
// newest snapshot is late; viewers of both kinds who are slow, are cut off,
// fetch late or in vain, and come back to any node.

const (
	protocolSeeds = 10_000
	protocolSteps = 80 // with faults
)

var protocolDocuments = []schemas.DocumentID{"election", "contest/c", "county/x"}

func TestAnyViewerEndsWithTheDocumentsBytesWhateverIsLostRepeatedReorderedOrDies(t *testing.T) {
	t.Parallel()
	if text := os.Getenv("SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		night := newProtocolNight(seed)
		night.trace = t.Logf
		if err := night.run(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		return
	}
	seeds := uint64(protocolSeeds)
	if testing.Short() {
		seeds /= 10
	}
	const workers = 4
	var mu sync.Mutex // guards the rest
	var total protocolCounts
	failed, why := uint64(0), error(nil)
	var working sync.WaitGroup
	for w := range uint64(workers) {
		working.Go(func() {
			var counts protocolCounts
			for seed := 1 + w; seed <= seeds; seed += workers {
				night := newProtocolNight(seed)
				err := night.run()
				counts.add(night.counts)
				if err != nil {
					mu.Lock()
					if failed == 0 || seed < failed {
						failed, why = seed, err
					}
					mu.Unlock()
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(counts)
		})
	}
	working.Wait()
	if failed > 0 {
		t.Fatalf("seed %d: %v\nreplay: SEED=%d go test -v -run %s", failed, why, failed, t.Name())
	}
	t.Logf("%d nights: %+v", seeds, total)
	for what, n := range map[string]int{"deltas": total.Deltas, "fetches": total.Fetches, "fetches saved": 10 * total.Same, "moves": total.Moves, "restatements": total.Restated} {
		if n < int(seeds) {
			t.Errorf("%d %s in %d nights: too quiet to show anything", n, what, seeds)
		}
	}
}

// protocolCounts say what the nights were like. Gaps are rare: a node makes
// none, and only deltas that come out of turn do.
type protocolCounts struct{ Deltas, Fetches, Same, Gaps, Moves, Restated int }

func (c *protocolCounts) add(o protocolCounts) {
	c.Deltas += o.Deltas
	c.Fetches += o.Fetches
	c.Same += o.Same
	c.Gaps += o.Gaps
	c.Moves += o.Moves
	c.Restated += o.Restated
}

// protocolNight is one seed.
type protocolNight struct {
	random  *rand.Rand
	press   *press
	latests [][]byte // every newest snapshot that there was
	truth   map[schemas.DocumentID]map[schemas.Version]schemas.Digest
	nodes   []*protocolNode
	viewers []*protocolViewer
	faults  bool
	counts  protocolCounts
	trace   func(string, ...any)
}

// protocolNode is a node with what the bus has for it.
type protocolNode struct {
	night *protocolNight
	hub   *fanout.Hub
	looks *fanout.Restater
	bus   []any // delta frames and announcements
}

// protocolViewer is a viewer without a network.
type protocolViewer struct {
	night   *protocolNight
	name    int
	media   bool
	follows []schemas.DocumentID
	docs    map[schemas.DocumentID]*viewer.Document
	node    *protocolNode
	session *fanout.Session
	asked   map[schemas.DocumentID]bool // the node was asked to begin anew
	snap    *schemas.Snap               // is being fetched: no frame is taken meanwhile
	kept    []byte                      // a frame that comes later, or again
}

var protocolMetrics = newMetrics()

func newProtocolNight(seed uint64) *protocolNight {
	n := &protocolNight{
		random: rand.New(rand.NewPCG(seed, 5)), press: newPress(protocolDocuments...), faults: true,
		truth: map[schemas.DocumentID]map[schemas.Version]schemas.Digest{}, trace: func(string, ...any) {},
	}
	for _, g := range protocolDocuments {
		n.truth[g] = map[schemas.Version]schemas.Digest{}
	}
	for range 2 + n.random.IntN(2) {
		node := &protocolNode{night: n}
		node.begin()
		n.nodes = append(n.nodes, node)
	}
	for i := range 3 {
		v := &protocolViewer{night: n, name: i, media: i == 2, follows: protocolDocuments[:1+n.random.IntN(len(protocolDocuments))]}
		v.docs = map[schemas.DocumentID]*viewer.Document{}
		for _, g := range protocolDocuments {
			v.docs[g] = viewer.NewDocument(g)
		}
		n.viewers = append(n.viewers, v)
	}
	return n
}

func (n *protocolNight) oneIn(of int) bool { return n.random.IntN(of) == 0 }

// unless is one in so many while there are faults.
func (n *protocolNight) fault(of int) bool { return n.faults && n.oneIn(of) }

func (n *protocolNight) run() error {
	defer func() {
		for _, v := range n.viewers {
			v.hangUp()
		}
	}()
	for _, g := range protocolDocuments {
		n.change(g)
	}
	n.deltas()
	n.publish(true)
	for step := range protocolSteps {
		n.trace("step %d", step)
		if err := n.step(); err != nil {
			return err
		}
	}
	return n.end()
}

func (n *protocolNight) step() error {
	node := n.nodes[n.random.IntN(len(n.nodes))]
	switch what := n.random.IntN(100); {
	case what < 14:
		n.change(protocolDocuments[n.random.IntN(len(protocolDocuments))])
		if n.oneIn(4) {
			return nil // the next delta carries this change, too
		}
		n.deltas()
	case what < 17:
		n.publish(n.oneIn(4))
	case what < 18:
		n.press.restart()
		n.publish(true)
	case what < 46:
		for range 1 + n.random.IntN(3) {
			node.hear()
		}
	case what < 48:
		node.look()
	case what < 56:
		node.hub.Flush()
	case what < 57:
		node.begin()
	default:
		v := n.viewers[n.random.IntN(len(n.viewers))]
		for range 1 + n.random.IntN(4) {
			if err := v.step(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *protocolNight) change(g schemas.DocumentID) {
	var units []string
	for range 1 + n.random.IntN(3) {
		units = append(units, "u"+strconv.Itoa(n.random.IntN(7)))
	}
	n.press.change(g, units...)
}

func (n *protocolNight) deltas() {
	for _, g := range protocolDocuments {
		if frame := n.press.delta(g); frame != nil {
			n.note(g)
			n.send(frame)
		}
	}
}

func (n *protocolNight) publish(all bool) {
	published := n.press.publish(all)
	n.latests = append(n.latests, n.press.objects[schemas.LatestKey])
	for _, g := range protocolDocuments {
		n.note(g)
	}
	n.send(published)
}

// note keeps what a document is at its version now.
func (n *protocolNight) note(g schemas.DocumentID) {
	d := n.press.docs[g]
	n.truth[g][d.version] = schemas.DigestOf(d.body())
}

func (n *protocolNight) send(message any) {
	for _, node := range n.nodes {
		node.bus = append(node.bus, message)
	}
}

// end ends the faults: everything changes once more, and all that is under way
// arrives.
func (n *protocolNight) end() error {
	n.trace("the faults end")
	n.faults = false
	for _, g := range protocolDocuments {
		n.change(g)
	}
	n.deltas()
	n.publish(false)
	for _, node := range n.nodes {
		for len(node.bus) > 0 {
			node.hear()
		}
		for range 2 { // the second look finds what stayed ahead of the bus
			node.look()
		}
		node.hub.Flush()
	}
	for _, v := range n.viewers {
		if err := v.finish(); err != nil {
			return err
		}
	}
	return nil
}

// begin makes a node begin with nothing: it was started again, or is another.
func (node *protocolNode) begin() {
	if node.hub != nil {
		node.night.trace("a node dies")
		for _, v := range node.night.viewers {
			if v.node == node {
				v.hangUp()
			}
		}
	}
	node.hub = fanout.NewHub(8, true, protocolMetrics)
	node.looks = fanout.NewRestater(node.hub, staleBucket{node.night})
	node.bus = nil
}

// hear takes one message of the bus in.
func (node *protocolNode) hear() {
	n := node.night
	if len(node.bus) == 0 {
		return
	}
	i := 0
	if n.fault(5) {
		i = n.random.IntN(len(node.bus)) // not its turn
	}
	message := node.bus[i]
	if !n.fault(12) { // else it stays, and comes again
		node.bus = slices.Delete(node.bus, i, i+1)
	}
	if n.fault(8) {
		return // lost
	}
	switch m := message.(type) {
	case []byte:
		node.hub.OnDelta(m)
	case schemas.Published:
		node.hub.OnPublished(m)
	}
}

func (node *protocolNode) look() {
	_, documents, err := node.looks.Look(context.Background())
	node.night.counts.Restated += documents
	node.night.trace("a node looks at the bucket: %d documents, %v", documents, err)
}

// staleBucket is the bucket as a node sees it through caches: what is named by
// its hash is right or not there, and the newest snapshot may be an old one.
type staleBucket struct{ night *protocolNight }

func (b staleBucket) Get(ctx context.Context, key string) ([]byte, error) {
	n := b.night
	if n.fault(6) {
		return nil, errNoObject
	}
	if key != schemas.LatestKey || len(n.latests) == 0 {
		return n.press.Get(ctx, key)
	}
	age := 0
	if n.fault(3) {
		age = n.random.IntN(3)
	}
	return n.latests[max(0, len(n.latests)-1-age)], nil
}

// step is one thing that a viewer does.
func (v *protocolViewer) step() error {
	n := v.night
	switch {
	case v.session == nil:
		return v.connect()
	case n.fault(30):
		v.hangUp() // perhaps with a frame under way, or a fetch
		return nil
	case v.snap != nil:
		return v.fetched()
	}
	return v.take()
}

// connect resumes at any node from what the viewer has.
func (v *protocolViewer) connect() error {
	n := v.night
	node := n.nodes[n.random.IntN(len(n.nodes))]
	if v.node != nil && v.node != node {
		n.counts.Moves++
	}
	v.node, v.asked, v.snap, v.kept = node, map[schemas.DocumentID]bool{}, nil, nil
	v.session = node.hub.Open(fanout.SessionOptions{Media: v.media, Waker: nobody})
	sub := schemas.Subscribe{Documents: v.follows, Versions: map[schemas.DocumentID]schemas.Version{}}
	if v.media {
		sub.Documents = []schemas.DocumentID{schemas.AllDocuments}
	}
	for _, d := range v.docs {
		sub.Epoch = max(sub.Epoch, d.Epoch())
	}
	for g, d := range v.docs {
		if d.Known() && d.Epoch() == sub.Epoch {
			sub.Versions[g] = d.Version()
		}
	}
	n.trace("viewer %d comes with %v of epoch %d", v.name, sub.Versions, sub.Epoch)
	return v.session.Subscribe(&sub)
}

func (v *protocolViewer) hangUp() {
	if v.session != nil {
		v.session.Close()
		v.session = nil
	}
}

// take takes a frame. A delta may be held up behind the next frame, or come
// twice, which TCP does not do and the rule bears.
func (v *protocolViewer) take() error {
	n := v.night
	frame, err := v.session.Next()
	if err != nil {
		return err
	}
	late := v.kept
	if v.kept = nil; frame != nil && n.fault(15) && bytes.Contains(frame.Text(), []byte(`"t":"delta"`)) {
		v.kept = frame.Text()
		if n.oneIn(2) {
			frame = nil // only later
		}
	}
	if frame != nil {
		if err := v.read(frame.Text()); err != nil {
			return err
		}
	}
	if late == nil || v.session == nil {
		return nil
	}
	if v.snap != nil {
		v.kept = late // it waits for the fetch
		return nil
	}
	return v.read(late)
}

func (v *protocolViewer) read(frame []byte) error {
	kind, err := schemas.KindOfFrame(frame)
	if err != nil {
		return err
	}
	v.night.trace("viewer %d gets %.70s", v.name, frame)
	switch kind {
	case schemas.FrameSnap:
		s, err := schemas.ParseSnap(frame)
		if err != nil {
			return err
		}
		delete(v.asked, s.Document)
		if v.docs[s.Document].Relabel(s) {
			v.night.counts.Same++
			return nil
		}
		v.snap = s
	case schemas.FrameDelta:
		return v.delta(frame)
	}
	return nil
}

func (v *protocolViewer) delta(frame []byte) error {
	h, _, err := schemas.ReadDeltaHeader(frame)
	if err != nil {
		return err
	}
	d := v.docs[h.Document]
	outcome, _, err := d.Apply(frame)
	if err != nil {
		return err
	}
	switch outcome {
	case viewer.Mismatch:
		return fmt.Errorf("%s: the delta from %d to %d of epoch %d does not fit at %d", h.Document, h.From, h.To, h.Epoch, d.Version())
	case viewer.Applied:
		v.night.counts.Deltas++
		delete(v.asked, h.Document)
		return v.check(h.Document)
	case viewer.Missing:
		if v.asked[h.Document] {
			return nil // the answer is on its way
		}
		v.asked[h.Document] = true
		v.night.counts.Gaps++
		sub := schemas.Subscribe{Documents: []schemas.DocumentID{h.Document}, Epoch: d.Epoch()}
		if d.Known() {
			sub.Versions = map[schemas.DocumentID]schemas.Version{h.Document: d.Version()}
		}
		return v.session.Subscribe(&sub)
	}
	return nil
}

// fetched ends a fetch, at last: with the bytes, with others, or in vain.
func (v *protocolViewer) fetched() error {
	n, s := v.night, v.snap
	v.snap = nil
	n.counts.Fetches++
	body, err := n.press.Get(context.Background(), s.Key)
	if err != nil {
		return fmt.Errorf("%s at %d of epoch %d is not in the bucket", s.Document, s.Version, s.Epoch)
	}
	body = bytes.Clone(body)
	switch {
	case n.fault(8):
		v.hangUp() // the bucket is away
		return nil
	case n.fault(8):
		body = append(body, "{}\n"...)
	}
	switch err := v.docs[s.Document].Replace(s, body); {
	case errors.Is(err, viewer.ErrHash):
		v.hangUp()
		return nil
	case err != nil:
		return err
	}
	return v.check(s.Document)
}

// check holds what the viewer has against what was published at that version.
func (v *protocolViewer) check(g schemas.DocumentID) error {
	d := v.docs[g]
	if want, ok := v.night.truth[g][d.Version()]; !ok || d.Hash() != want || schemas.DigestOf(d.Bytes()) != want {
		return fmt.Errorf("viewer %d: %s at %d of epoch %d has other bytes", v.name, g, d.Version(), d.Epoch())
	}
	return nil
}

// finish takes what there is until there is nothing more.
func (v *protocolViewer) finish() error {
	for range 200 {
		if v.session == nil {
			if err := v.connect(); err != nil {
				return err
			}
		}
		if v.snap == nil && v.holdsAll() {
			return nil
		}
		if err := v.step(); err != nil {
			return err
		}
	}
	return fmt.Errorf("viewer %d (media %t) does not hold the documents' bytes", v.name, v.media)
}

func (v *protocolViewer) holdsAll() bool {
	follows := v.follows
	if v.media {
		follows = protocolDocuments
	}
	for _, g := range follows {
		if want := v.night.press.docs[g]; v.docs[g].Version() != want.version || !bytes.Equal(v.docs[g].Bytes(), want.body()) {
			return false
		}
	}
	return true
}
