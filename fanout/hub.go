package fanout

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"tallystream/schemas"
)

// Hub knows what there is to tell of each document and who follows it. It has
// no clock and no network: the bus calls OnDelta and OnPublished, sessions take
// frames out, and a Server's ticker calls Flush and Ping.
//
// Locks are taken in this order: Hub.mu, topic.mu, Session.mu.
type Hub struct {
	maxDocuments int  // of an ordinary session
	conflate     bool // deltas wait for Flush, but not those for media
	metrics      *Metrics

	mu     sync.RWMutex // guards topics and media
	topics map[schemas.DocumentID]*topic
	media  map[*Session]func(schemas.DocumentID) Position // follow whatever comes

	sessions [pingPhases]registry

	stateMu sync.Mutex // guards the rest
	state   State
	paused  bool                   // publication rests, as of the newest snapshot announced
	missed  schemas.SnapshotNumber // the last one that was passed over unannounced; 0: none
	hello   *Frame                 // that says the state; nil: not built since it changed
	dirty   []*topic               // with news since the last Flush
}

// State is how far the hub is.
type State struct {
	Epoch    schemas.Epoch
	Log      schemas.LogSize
	Snapshot schemas.SnapshotNumber
}

// topic is one document with those who follow it.
type topic struct {
	document schemas.DocumentID
	conflate bool // the public has a view of its own

	mu        sync.Mutex // guards the rest
	trail     *Trail
	view      *Trail // that the public has; nil: nobody has asked for it yet
	rows      [classes][]*row
	followers [classes]int // in all rows
	dirty     bool         // in Hub.dirty
}

// watched reports whether anybody follows the document. mu is held.
func (t *topic) watched() bool { return t.followers[public]+t.followers[media] > 0 }

// NewHub makes a hub whose ordinary sessions may follow that many documents.
// With conflate set, deltas for the public are united until Flush.
func NewHub(maxDocuments int, conflate bool, m *Metrics) *Hub {
	return &Hub{
		maxDocuments: maxDocuments, conflate: conflate, metrics: m,
		topics: map[schemas.DocumentID]*topic{}, media: map[*Session]func(schemas.DocumentID) Position{},
	}
}

// State is how far the hub is.
func (h *Hub) State() State {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	return h.state
}

// Open begins a session, with a hello.
func (h *Hub) Open(o SessionOptions) *Session {
	s := &Session{}
	h.open(s, o)
	return s
}

// open begins a session that lies where its engine wants it.
func (h *Hub) open(s *Session, o SessionOptions) {
	s.hub, s.waker, s.media, s.account, s.phase = h, o.Waker, o.Media || o.account != nil, o.account, uint8(rand.IntN(pingPhases))
	h.sessions[s.phase].add(s)
	s.Tell(h.greeting())
	if s.account != nil && !s.account.join(s, o.cut) {
		s.revoke()
	}
}

// greeting is the hello for now, the same for everybody who comes.
func (h *Hub) greeting() *Frame {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	if h.hello == nil {
		hello := schemas.Hello{Epoch: h.state.Epoch, Log: h.state.Log, Snapshot: h.state.Snapshot, Paused: h.paused}
		h.hello = newFrame(hello.AppendFrame(nil), 0)
	}
	return h.hello
}

// OnDelta takes a delta frame from the bus, keeps it, and returns its head.
// Nothing but that is read unless somebody needs more.
func (h *Hub) OnDelta(frame []byte) (head schemas.DeltaHeader, ok bool) {
	head, _, err := schemas.ReadDeltaHeader(frame)
	if err != nil {
		h.metrics.unreadable.Inc()
		return head, false
	}
	h.advance(State{Epoch: head.Epoch, Log: head.Log})
	t := h.topic(head.Document)
	t.mu.Lock()
	defer t.mu.Unlock()
	outcome := t.trail.Add(&head, frame, t.watched())
	h.metrics.deltas.WithLabelValues(string(outcome)).Inc()
	if outcome == Extended || outcome == Broken {
		h.spread(t)
	}
	return head, true
}

// OnPublished takes in what a snapshot brought.
func (h *Hub) OnPublished(p schemas.Published) {
	h.miss(p.Snapshot)
	h.pause(p.Snapshot, p.Paused)
	h.advance(State{Epoch: p.Epoch, Log: p.Log, Snapshot: p.Snapshot})
	for i := range p.Documents {
		a := &p.Documents[i]
		if _, err := schemas.ParseDocumentID(string(a.Document)); err != nil {
			h.metrics.unreadable.Inc()
			continue
		}
		t := h.topic(a.Document)
		t.mu.Lock()
		outcome := t.trail.Announce(p.Epoch, a.Version, a.Hash)
		h.metrics.announcements.WithLabelValues(string(outcome)).Inc()
		if outcome == Extended || outcome == Broken {
			h.spread(t)
		}
		t.mu.Unlock()
	}
}

// pause takes in whether publication rests, as of that snapshot.
func (h *Hub) pause(n schemas.SnapshotNumber, paused bool) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	if n >= h.state.Snapshot && h.paused != paused {
		h.paused, h.hello = paused, nil
	}
}

// Restate takes in a document that a snapshot of this log size names, which
// was found in the bucket and not announced over the bus. It reports whether
// that was news.
func (h *Hub) Restate(log schemas.LogSize, d schemas.DocumentID, version schemas.Version, hash schemas.Digest) bool {
	t := h.topic(d)
	t.mu.Lock()
	defer t.mu.Unlock()
	news := t.trail.Restate(log, version, hash)
	if news {
		h.spread(t)
	}
	return news
}

// RestateSnapshot notes the newest snapshot that the bucket has, after all of
// its documents were restated.
func (h *Hub) RestateSnapshot(log schemas.LogSize, n schemas.SnapshotNumber) {
	h.advance(State{Log: log, Snapshot: n})
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	if n >= h.missed {
		h.missed = 0
	}
}

// miss notes that snapshots before n were not announced here. What they
// brought to documents that no later one names would never be told.
func (h *Hub) miss(n schemas.SnapshotNumber) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	if n > h.state.Snapshot+1 {
		h.missed = n - 1
	}
}

// announced is the newest snapshot heard of, and whether one before it was
// not announced.
func (h *Hub) announced() (newest schemas.SnapshotNumber, gap bool) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	return h.state.Snapshot, h.missed != 0
}

// advance moves the state on. A later epoch may begin with a smaller log.
func (h *Hub) advance(to State) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	if to.Epoch > h.state.Epoch {
		h.state.Epoch, h.state.Log = to.Epoch, to.Log
	}
	if to.Epoch == h.state.Epoch || to.Epoch == 0 {
		h.state.Log = max(h.state.Log, to.Log)
	}
	h.state.Snapshot = max(h.state.Snapshot, to.Snapshot)
	h.hello = nil
}

// spread tells those who follow t, now or at the next Flush. t.mu is held.
func (h *Hub) spread(t *topic) {
	t.tell(media, t.trail)
	if !h.conflate {
		t.tell(public, t.trail)
		return
	}
	if t.followers[public] > 0 && !t.dirty {
		t.dirty = true
		h.stateMu.Lock()
		h.dirty = append(h.dirty, t)
		h.stateMu.Unlock()
	}
}

// Flush tells the public what came since the last one; only a hub that
// conflates needs it.
func (h *Hub) Flush() {
	h.stateMu.Lock()
	dirty := h.dirty
	h.dirty = nil
	h.stateMu.Unlock()
	for _, t := range dirty {
		t.mu.Lock()
		t.dirty = false
		if t.followers[public] > 0 {
			t.view = t.trail.clone()
			t.tell(public, t.view)
		}
		t.mu.Unlock()
	}
}

// Ping tells one part of the sessions, of pingPhases, that the server lives.
func (h *Hub) Ping(phase int, micros int64) {
	h.stateMu.Lock()
	at, paused := h.state, h.paused
	h.stateMu.Unlock()
	ping := schemas.Ping{Epoch: at.Epoch, Log: at.Log, Snapshot: at.Snapshot, Micros: micros, Paused: paused}
	frame := newPing(ping.AppendFrame(nil)) // one for all
	h.sessions[phase%pingPhases].each(func(s *Session) { s.Tell(frame) })
}

// End says good-bye to every session. Each is asked to wait for a time of its
// own below spread, so that they do not come back all at once.
func (h *Hub) End(reason string, least, spread int64) {
	for i := range h.sessions {
		h.sessions[i].each(func(s *Session) { s.End(farewell(reason, least, spread)) })
	}
}

// farewell is a bye frame that asks for a wait of at least least milliseconds.
func farewell(reason string, least, spread int64) *Frame {
	bye := schemas.Bye{Reason: reason, Milliseconds: least + rand.Int64N(max(spread, 1))}
	return newFrame(bye.AppendFrame(nil), 0)
}

// topic finds or makes the topic of a document.
func (h *Hub) topic(d schemas.DocumentID) *topic {
	h.mu.RLock()
	t := h.topics[d]
	h.mu.RUnlock()
	if t != nil {
		return t
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.make(d)
}

// make finds or makes a topic, and gives it to media that follow everything.
// h.mu is held for writing.
func (h *Hub) make(d schemas.DocumentID) *topic {
	if t := h.topics[d]; t != nil {
		return t
	}
	t := &topic{document: d, conflate: h.conflate, trail: NewTrail(d)}
	h.topics[d] = t
	h.metrics.documents.Set(float64(len(h.topics)))
	for s, position := range h.media {
		h.attach(s, d, t, position(d))
	}
	return t
}

func (h *Hub) follow(s *Session, d schemas.DocumentID, p Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attach(s, d, h.make(d), p)
}

func (h *Hub) followAll(s *Session, position func(schemas.DocumentID) Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.media[s] = position
	for _, d := range slices.Sorted(maps.Keys(h.topics)) { // in an order that tests can count on
		h.attach(s, d, h.topics[d], position(d))
	}
}

// attach makes s follow t from p on. h.mu is held for writing.
func (h *Hub) attach(s *Session, d schemas.DocumentID, t *topic, p Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.mu.Lock()
	f := s.followed.get(d)
	if s.left || f != nil {
		s.mu.Unlock()
		if f != nil {
			f.position = p
		}
	} else {
		f = &following{session: s, position: p}
		t.rowFor(s).add(f)
		s.followed.add(f)
		s.mu.Unlock()
		h.metrics.subscriptions.Inc()
	}
	if f != nil && t.seenBy(s.class()).Pending(f.position) {
		f.news()
	}
}

func (h *Hub) unfollow(s *Session, d schemas.DocumentID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.detach(s, d)
}

func (h *Hub) unfollowAll(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.media, s)
	for d := range h.topics {
		h.detach(s, d)
	}
}

// detach ends a following, and forgets a topic that has neither viewers nor
// content: clients may name documents that do not exist. h.mu is held for
// writing.
func (h *Hub) detach(s *Session, d schemas.DocumentID) {
	s.mu.Lock()
	f := s.followed.get(d)
	s.followed.remove(d)
	s.mu.Unlock()
	if f == nil {
		return
	}
	t := f.row.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	f.row.remove(f)
	h.metrics.subscriptions.Dec()
	if t.followers[public] == 0 {
		t.view = nil
	}
	if !t.watched() && t.trail.Empty() {
		delete(h.topics, d)
		h.metrics.documents.Set(float64(len(h.topics)))
	}
}

// leave ends a session.
func (h *Hub) leave(s *Session) {
	if s.account != nil {
		s.account.part(s)
	}
	h.sessions[s.phase].remove(s)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.media, s)
	s.mu.Lock()
	s.left, s.ended, s.first, s.last, s.notice = true, true, nil, nil, nil
	followed := s.followed.all()
	s.mu.Unlock()
	for _, f := range followed {
		h.detach(s, f.row.topic.document)
	}
}

// Sessions is how many there are.
func (h *Hub) Sessions() int {
	n := 0
	for i := range h.sessions {
		n += h.sessions[i].len()
	}
	return n
}

// Documents is how many documents are known or followed.
func (h *Hub) Documents() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.topics)
}

// HeldBytes is how many bytes of deltas are held for viewers that may need
// them.
func (h *Hub) HeldBytes() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	n := 0
	for _, t := range h.topics {
		t.mu.Lock()
		n += t.trail.bytes
		if t.view != nil {
			n += t.view.beyond(t.trail)
		}
		t.mu.Unlock()
	}
	return n
}
