package ingest

import (
	"net/http"
	"time"

	"tallystream/schemas"
)

// ReceiptMediaType is the media type of a receipt.
const ReceiptMediaType = "text/plain; charset=utf-8"

var receiptContentType = []string{ReceiptMediaType} // shared by all answers, never changed

// receive answers POST /v1/submissions.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) {
	m := s.cfg.Metrics
	started := s.cfg.Now()
	m.inFlight.Inc()
	defer m.inFlight.Dec()
	if ref := peerOf(r).blocked(); ref != nil {
		s.refuse(w, r, ref)
		return
	}
	record, ref := envelopeForm.read(r)
	if ref != nil {
		s.refuse(w, r, ref)
		return
	}
	d := s.desks.Get().(*desk)
	defer s.desks.Put(d)
	clock := m.sample(started, s.cfg.Now)
	if ref := s.check(r, d, record, clock); ref != nil {
		s.refuse(w, r, ref)
		return
	}
	repeated, ref := s.store(r, d, record)
	if ref != nil {
		s.refuse(w, r, ref)
		return
	}
	clock.lap(m.stages.append)
	// The record is durable from here on: whatever happens, the receipt may be
	// given, and a repeat will give the same one.
	if ref := s.writeReceipt(d); ref != nil {
		s.refuse(w, r, ref)
		return
	}
	clock.lap(m.stages.receipt)
	w.Header()["Content-Type"] = receiptContentType
	_, _ = w.Write(d.note) // a client that is gone sends again
	m.accepted(repeated, s.cfg.Now().Sub(started))
}

// check does every check, the cheapest first, and waits at the gate before the
// dear ones.
func (s *Server) check(r *http.Request, d *desk, record []byte, clock *laps) *refusal {
	m := s.cfg.Metrics
	if ref := s.envelopeFits(d, record); ref != nil {
		return ref
	}
	clock.lap(m.stages.read)
	if ref := s.hasBudget(d.envelope.Signatures(), &envelopeForm); ref != nil {
		return ref
	}
	if ref := s.passGate(r); ref != nil {
		return ref
	}
	clock.lap(m.stages.gate)
	if ref := s.bodyFits(d); ref != nil {
		return ref
	}
	clock.lap(m.stages.decode)
	if ref := s.authorized(d); ref != nil {
		return ref
	}
	clock.lap(m.stages.verify)
	if ref := s.resolves(d); ref != nil {
		return ref
	}
	clock.lap(m.stages.resolve)
	return nil
}

// passGate waits while the ledger is too far behind.
func (s *Server) passGate(r *http.Request) *refusal {
	if !s.gate.pass(r.Context()) {
		return &refusal{code: schemas.ProblemBusy, detail: "More submissions wait to be counted than should.", after: 2 * time.Second}
	}
	return nil
}

// store makes record durable, unless it is the last one of its unit again.
func (s *Server) store(r *http.Request, d *desk, record []byte) (repeated bool, ref *refusal) {
	v := &d.envelope
	if s.memory.has(d.unit, v.Revision, &v.Digest) {
		return true, nil
	}
	if ref := s.append(r, d, record); ref != nil {
		return false, ref
	}
	s.memory.put(d.unit, v.Revision, v.Digest)
	return false, nil
}

// append makes record durable in the partition of its unit.
func (s *Server) append(r *http.Request, d *desk, record []byte) *refusal {
	_, err := s.cfg.Stream.Append(r.Context(), s.cfg.Election.PartitionOf(d.unit), record)
	switch {
	case err == nil:
		return nil
	case s.cfg.Busy(err):
		return &refusal{code: schemas.ProblemBusy, detail: "The stream takes no more for the moment.", after: time.Second, err: err}
	}
	return &refusal{code: schemas.ProblemUnavailable, detail: "Whether it was stored is not known; sending it again is safe.", after: time.Second, err: err}
}

// writeReceipt signs the receipt into d.note.
func (s *Server) writeReceipt(d *desk) *refusal {
	receipt := schemas.Receipt{
		Origin: s.cfg.Election.Definition.Origin, Unit: s.cfg.Election.Units[d.unit].ID,
		Revision: d.envelope.Revision, Digest: d.envelope.Digest,
	}
	d.text = receipt.AppendText(d.text[:0])
	return s.sign(d)
}

// sign signs d.text into d.note.
func (s *Server) sign(d *desk) *refusal {
	var err error
	if d.note, err = schemas.AppendNote(d.note[:0], d.text, s.cfg.Signer); err != nil {
		return &refusal{code: schemas.ProblemUnavailable, detail: "It is stored, but its receipt could not be signed; send it again.", after: time.Second, err: err}
	}
	return nil
}
