package viewer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"tallystream/schemas"
)

// line is one connection of a client. It reads one frame after the other and
// fetches snapshots in between, so that it needs no queue: meanwhile the
// server unites what comes.
type line struct {
	client *Client
	ws     *websocket.Conn
	good   bool // it was of use: the next attempt need not wait for long
	bye    *schemas.Bye
	buffer bytes.Buffer
	ask    *rate.Limiter
	asked  map[schemas.DocumentID]bool // the server was asked to begin anew
}

// errSilent is why a connection without pings is given up.
var errSilent = errors.New("nothing came from the live server, not even a ping")

// follow connects, subscribes from what the documents have, and takes frames in
// until the connection ends.
func (l *line) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var err error
	if l.ws, err = l.client.dial(ctx); err != nil {
		return err
	}
	defer l.ws.CloseNow()
	l.ask = rate.NewLimiter(2, 8) // the server allows more
	l.asked = map[schemas.DocumentID]bool{}
	if err := l.subscribe(ctx); err != nil {
		return err
	}
	dead := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer dead.Stop()
	for {
		frame, err := l.read(ctx)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		dead.Reset(silence + fetchTimeout)
		if err := l.take(ctx, frame); err != nil || l.bye != nil {
			return err
		}
	}
}

func (l *line) read(ctx context.Context) ([]byte, error) {
	_, r, err := l.ws.Reader(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading from the live server: %w", err)
	}
	if l.buffer.Cap() > 1<<20 {
		l.buffer = bytes.Buffer{} // one large union should not stay
	}
	l.buffer.Reset()
	if _, err := io.Copy(&l.buffer, r); err != nil {
		return nil, fmt.Errorf("reading from the live server: %w", err)
	}
	l.client.bytes.Add(uint64(l.buffer.Len()))
	return l.buffer.Bytes(), nil
}

// subscribe asks for every document, from the version it has. Versions are of
// one epoch: documents of an earlier one begin anew, and cost no fetch if the
// bytes are still the same.
func (l *line) subscribe(ctx context.Context) error {
	sub := schemas.Subscribe{Documents: l.client.cfg.Documents, Versions: map[schemas.DocumentID]schemas.Version{}}
	for _, d := range l.client.docs {
		sub.Epoch = max(sub.Epoch, d.epoch)
	}
	for g, d := range l.client.docs {
		if d.known && d.epoch == sub.Epoch {
			sub.Versions[g] = d.version
		}
	}
	return l.write(ctx, sub.AppendFrame(nil))
}

func (l *line) write(ctx context.Context, frame []byte) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := l.ws.Write(ctx, websocket.MessageText, frame); err != nil {
		return fmt.Errorf("writing to the live server: %w", err)
	}
	return nil
}

func (l *line) take(ctx context.Context, frame []byte) error {
	kind, err := schemas.KindOfFrame(frame)
	if err != nil {
		return err
	}
	switch kind {
	case schemas.FrameDelta:
		return l.delta(ctx, frame)
	case schemas.FrameSnap:
		return l.snap(ctx, frame)
	case schemas.FrameHello:
		h, err := schemas.ParseHello(frame)
		if err != nil {
			return err
		}
		l.client.tell(State{Connected: true, Epoch: h.Epoch, Log: h.Log, Snapshot: h.Snapshot})
	case schemas.FramePing:
		p, err := schemas.ParsePing(frame)
		if err != nil {
			return err
		}
		l.good = true
		l.client.tell(State{Connected: true, Epoch: p.Epoch, Log: p.Log, Snapshot: p.Snapshot})
	case schemas.FrameBye:
		l.bye, err = schemas.ParseBye(frame)
		return err
	}
	return nil
}

func (l *line) delta(ctx context.Context, frame []byte) error {
	c := l.client
	h, _, err := schemas.ReadDeltaHeader(frame)
	if err != nil {
		return err
	}
	d := c.document(h.Document)
	if d == nil {
		return nil // not asked for
	}
	c.mu.Lock()
	outcome, changed, err := d.Apply(frame)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	switch outcome {
	case Dropped:
		c.dropped.Add(1)
	case Applied:
		c.deltas.Add(1)
		l.good = true
		delete(l.asked, h.Document)
		if c.cfg.OnChange != nil {
			c.cfg.OnChange(Change{Document: d, Lines: changed, Log: h.Log, Micros: h.Micros})
		}
	case Missing:
		return l.again(ctx, d, true)
	case Mismatch:
		c.mismatches.Add(1)
		return l.again(ctx, d, false)
	}
	return nil
}

// again asks the server to lead on from what the document has, or, if that is
// in doubt, from nothing.
func (l *line) again(ctx context.Context, d *Document, trusted bool) error {
	if l.asked[d.id] {
		return nil // the answer is on its way
	}
	l.asked[d.id] = true
	l.client.resyncs.Add(1)
	if err := l.ask.Wait(ctx); err != nil {
		return fmt.Errorf("asking the live server: %w", err)
	}
	sub := schemas.Subscribe{Documents: []schemas.DocumentID{d.id}, Epoch: d.epoch}
	if trusted && d.known {
		sub.Versions = map[schemas.DocumentID]schemas.Version{d.id: d.version}
	}
	return l.write(ctx, sub.AppendFrame(nil))
}

func (l *line) snap(ctx context.Context, frame []byte) error {
	c := l.client
	s, err := schemas.ParseSnap(frame)
	if err != nil {
		return err
	}
	d := c.document(s.Document)
	if d == nil {
		return nil
	}
	delete(l.asked, s.Document)
	c.mu.Lock()
	same := d.Relabel(s)
	c.mu.Unlock()
	if same {
		l.good = true
		return nil
	}
	if d.known {
		c.resyncs.Add(1)
	}
	body, err := c.fetch(ctx, s)
	if err != nil {
		return err
	}
	c.mu.Lock()
	err = d.Replace(s, body)
	c.mu.Unlock()
	if err != nil {
		if errors.Is(err, ErrHash) {
			c.mismatches.Add(1)
		}
		return err
	}
	l.good = true
	if c.cfg.OnChange != nil {
		c.cfg.OnChange(Change{Document: d})
	}
	return nil
}

// document finds a document that was asked for, or that comes with all.
func (c *Client) document(g schemas.DocumentID) *Document {
	if d := c.docs[g]; d != nil {
		return d
	}
	for _, asked := range c.cfg.Documents {
		if asked == schemas.AllDocuments {
			c.mu.Lock()
			defer c.mu.Unlock()
			d := NewDocument(g)
			c.docs[g] = d
			return d
		}
	}
	return nil
}
