package faultsim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tallystream/fanout"
	"tallystream/fanout/viewer"
	"tallystream/schemas"
)

// fanNode is a node of the fanout: the real hub, with what the server does
// around it.
type fanNode struct {
	*process
	night *night
	hub   *fanout.Hub
}

func (n *night) openFan(name string) *fanNode {
	f := &fanNode{night: n}
	f.process = n.world.process(name, func(p *process) {
		conflate := n.world.chance(2)
		f.hub = fanout.NewHub(16, conflate, n.meters.fanout)
		p.start("restates", f.restates)
		if conflate {
			p.start("flushes", func(t *task) {
				for {
					t.pause(250 * time.Millisecond)
					f.hub.Flush()
				}
			})
		}
	})
	return f
}

// restates looks into the bucket for what the bus lost.
func (f *fanNode) restates(t *task) {
	for restater := fanout.NewRestater(f.hub, f.night.bucket); ; t.pause(2 * time.Second) {
		snapshot, documents, err := restater.Look(context.Background())
		switch {
		case err != nil:
			f.world.note(t.name, "restating fails", err.Error())
		case snapshot != nil:
			f.world.note(t.name, "restates", fmt.Sprintf("%d documents of snapshot %d", documents, snapshot.Number))
		}
	}
}

// watcher is a viewer: real documents and their rule, over a connection that
// may be slow and may be cut.
type watcher struct {
	*process
	night     *night
	documents []schemas.DocumentID
	have      map[schemas.DocumentID]*viewer.Document

	node    *fanNode
	life    int // of node
	session *fanout.Session
	asked   map[schemas.DocumentID]bool
}

func (n *night) openWatcher(name string, documents []schemas.DocumentID) *watcher {
	v := &watcher{night: n, documents: documents, have: map[schemas.DocumentID]*viewer.Document{}}
	for _, d := range documents {
		v.have[d] = viewer.NewDocument(d)
	}
	v.process = n.world.process(name, func(p *process) { p.start("watches", v.watch) })
	return v
}

var errCut = errors.New("connection is cut")

func (v *watcher) watch(t *task) {
	for {
		if err := v.connect(t); err == nil {
			err = v.follow(t)
			v.world.note(t.name, "loses connection", err.Error())
		}
		if v.session != nil && v.connected() {
			v.session.Close()
		}
		v.session = nil
		t.pause(v.world.between(50*time.Millisecond, 2*time.Second))
	}
}

func (v *watcher) connected() bool { return !v.node.down && v.node.life == v.life }

func (v *watcher) connect(t *task) error {
	v.node = v.night.fans[v.world.random.IntN(len(v.night.fans))]
	v.life = v.node.life
	t.travel()
	if !v.connected() {
		return errCut
	}
	v.asked = map[schemas.DocumentID]bool{}
	v.session = v.node.hub.Open(fanout.SessionOptions{Waker: fanout.WakerFunc(func() {})})
	sub := schemas.Subscribe{Documents: v.documents, Versions: map[schemas.DocumentID]schemas.Version{}}
	for _, d := range v.have {
		sub.Epoch = max(sub.Epoch, d.Epoch())
	}
	for g, d := range v.have {
		if d.Known() && d.Epoch() == sub.Epoch {
			sub.Versions[g] = d.Version()
		}
	}
	return v.ask(t, &sub)
}

// ask sends a subscription.
func (v *watcher) ask(t *task, sub *schemas.Subscribe) error {
	frame := sub.AppendFrame(nil)
	t.travel()
	if !v.connected() {
		return errCut
	}
	got, _, err := schemas.ParseClientFrame(frame)
	if err != nil {
		v.world.violate("%s: its subscription cannot be read: %v", v.name, err)
		return err
	}
	return v.session.Subscribe(got)
}

// follow takes frames in until the connection is cut.
func (v *watcher) follow(t *task) error {
	for {
		wait := v.world.between(20*time.Millisecond, 500*time.Millisecond)
		if v.world.befalls(faultSlow) {
			wait = v.world.between(time.Second, 8*time.Second)
		}
		t.pause(wait)
		for {
			if !v.connected() || v.world.befalls(faultCut) {
				return errCut
			}
			frame, err := v.session.Next()
			if err != nil {
				return err
			}
			if frame == nil {
				break
			}
			text := frame.Text()
			if v.night.plant.frame != nil {
				text = v.night.plant.frame(v.night, text)
			}
			t.pause(v.world.between(time.Millisecond, 20*time.Millisecond))
			if err := v.take(t, text); err != nil {
				return err
			}
		}
	}
}

func (v *watcher) take(t *task, frame []byte) error {
	kind, err := schemas.KindOfFrame(frame)
	if err != nil {
		return err
	}
	switch kind {
	case schemas.FrameDelta:
		return v.delta(t, frame)
	case schemas.FrameSnap:
		return v.snap(frame)
	}
	return nil
}

// delta is the client's rule, as viewer.Client has it.
func (v *watcher) delta(t *task, frame []byte) error {
	h, _, err := schemas.ReadDeltaHeader(frame)
	if err != nil {
		return err
	}
	d := v.have[h.Document]
	outcome, _, err := d.Apply(frame)
	if err != nil {
		return err
	}
	switch outcome {
	case viewer.Applied:
		v.world.note(t.name, "applies", fmt.Sprintf("%s %d to %d of epoch %d", h.Document, h.From, h.To, h.Epoch))
		delete(v.asked, h.Document)
		v.check(d)
	case viewer.Mismatch:
		v.world.violate("%s: a delta of %s from %d to %d of epoch %d leads to other bytes than its hash says", v.name, h.Document, h.From, h.To, h.Epoch)
	case viewer.Missing:
		return v.again(t, d)
	}
	return nil
}

func (v *watcher) again(t *task, d *viewer.Document) error {
	if v.asked[d.ID()] {
		return nil
	}
	v.asked[d.ID()] = true
	sub := schemas.Subscribe{Documents: []schemas.DocumentID{d.ID()}, Epoch: d.Epoch()}
	if d.Known() {
		sub.Versions = map[schemas.DocumentID]schemas.Version{d.ID(): d.Version()}
	}
	v.world.note(t.name, "asks again", string(d.ID()))
	return v.ask(t, &sub)
}

func (v *watcher) snap(frame []byte) error {
	s, err := schemas.ParseSnap(frame)
	if err != nil {
		return err
	}
	d := v.have[s.Document]
	delete(v.asked, s.Document)
	if d.Relabel(s) {
		v.check(d)
		return nil
	}
	body, err := v.night.bucket.Get(context.Background(), s.Key)
	if err != nil {
		return err
	}
	if err := d.Replace(s, body); err != nil {
		v.world.violate("%s: %v", v.name, err)
		return err
	}
	v.world.note(v.name, "fetches", fmt.Sprintf("%s %d of epoch %d", s.Document, s.Version, s.Epoch))
	v.check(d)
	return nil
}

func (v *watcher) check(d *viewer.Document) {
	v.night.publication.checkViewer(v.name, string(d.ID()), uint64(d.Epoch()), uint64(d.Version()), d.Hash(), d.Bytes())
}
