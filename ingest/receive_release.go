package ingest

import (
	"net/http"

	"tallystream/schemas"
)

// receiveRelease answers POST /v1/releases: two supervisors let a held
// submission count. It is a record of the stream like any other, in the
// partition of its unit, so that the fold finds it behind what it releases.
//
// Whether something of that name is held is not asked here: the ledger may be
// behind, and the fold must decide it again. A release of nothing is held
// there, for all to see.
func (s *Server) receiveRelease(w http.ResponseWriter, r *http.Request) {
	m := s.cfg.Metrics
	m.inFlight.Inc()
	defer m.inFlight.Dec()
	if ref := peerOf(r).blocked(); ref != nil {
		s.refuse(w, r, ref)
		return
	}
	record, ref := releaseForm.read(r)
	if ref != nil {
		s.refuse(w, r, ref)
		return
	}
	d := s.desks.Get().(*desk)
	defer s.desks.Put(d)
	if ref := s.checkRelease(r, d, record); ref != nil {
		s.refuse(w, r, ref)
		return
	}
	// Always appended, repeats too: the same release may have come before what
	// it releases. The fold knows repeats of one that was applied.
	if ref := s.append(r, d, record); ref != nil {
		s.refuse(w, r, ref)
		return
	}
	// Durable from here on; see receive.
	if ref := s.writeReleaseReceipt(d); ref != nil {
		s.refuse(w, r, ref)
		return
	}
	w.Header()["Content-Type"] = receiptContentType
	_, _ = w.Write(d.note)
	m.releases.Inc()
}

// checkRelease does every check, the cheapest first.
func (s *Server) checkRelease(r *http.Request, d *desk, record []byte) *refusal {
	l := &d.release
	if err := l.Parse(record); err != nil {
		return refusalOfError(err)
	}
	if ref := s.addressFits(d, l.Origin, l.Unit, &releaseForm); ref != nil {
		return ref
	}
	if ref := s.hasBudget(l.Signatures(), &releaseForm); ref != nil {
		return ref
	}
	if ref := s.passGate(r); ref != nil {
		return ref
	}
	ring := s.cfg.Keys()
	if ring == nil {
		return unknownKeys()
	}
	if err := ring.AuthorizeRelease(s.cfg.Election, l, d.unit); err != nil {
		return refusalOf(err)
	}
	return s.spend(ring, l.Signatures(), &releaseForm)
}

// writeReleaseReceipt signs the receipt into d.note.
func (s *Server) writeReleaseReceipt(d *desk) *refusal {
	receipt := schemas.ReleaseReceipt{
		Origin: s.cfg.Election.Definition.Origin, Unit: s.cfg.Election.Units[d.unit].ID,
		Revision: d.release.Revision, Digest: d.release.Digest,
	}
	d.text = receipt.AppendText(d.text[:0])
	return s.sign(d)
}
