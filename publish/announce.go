package publish

import (
	"context"

	"tallystream/schemas"
)

// announceAtOnce is the most documents that one Published names: about 300 KB
// on the bus.
const announceAtOnce = 2000

// sendDeltas tells the fanout what the last render changed. A document whose
// delta is lost or too large is brought up to date by its next snapshot: the
// next delta begins at a version that viewers do not have, so they fetch.
func (s *Sequencer) sendDeltas(ctx context.Context) {
	r := s.renderer
	d := schemas.Delta{Epoch: s.epoch, Log: s.cut.log, Micros: s.cfg.Now().UnixMicro()}
	var frame []byte
	for i, document := range r.changed {
		now := &r.edition.documents[document]
		d.Document = s.catalogue.documents[document].id
		d.From, d.To, d.Hash = r.from[i], now.version, now.hash
		d.Lines = r.changedLines(d.Lines[:0], document)
		frame = d.AppendFrame(frame[:0])
		if len(frame) > maxFrame {
			s.cfg.Metrics.deltasLarge.Inc()
			continue
		}
		if err := s.cfg.Announcer.Delta(ctx, d.Document, frame); err != nil {
			s.announceFailed(ctx, err)
			continue
		}
		s.cfg.Metrics.deltas.Inc()
		s.cfg.Metrics.deltaBytes.Add(float64(len(frame)))
	}
}

// announce tells the fanout which documents a snapshot brought.
func (s *Sequencer) announce(ctx context.Context, p *plan) {
	m := schemas.Published{Epoch: s.epoch, Log: p.snapshot.Log, Snapshot: p.snapshot.Number, Micros: s.cfg.Now().UnixMicro(), Paused: p.pause != nil}
	rest := p.announced
	for {
		n := min(len(rest), announceAtOnce)
		m.Documents = m.Documents[:0]
		for _, i := range rest[:n] {
			d := &p.edition.documents[i]
			m.Documents = append(m.Documents, schemas.Announcement{Document: s.catalogue.documents[i].id, Version: d.version, Hash: d.hash})
		}
		if err := s.cfg.Announcer.Published(ctx, m); err != nil {
			s.announceFailed(ctx, err)
		}
		if rest = rest[n:]; len(rest) == 0 {
			return
		}
	}
}

func (s *Sequencer) announceFailed(ctx context.Context, err error) {
	s.cfg.Metrics.announceErr.Inc()
	s.cfg.Logger.WarnContext(ctx, "announcing failed, viewers take the next snapshot", "err", err)
}
