package ingest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"tallystream/schemas"
)

// unitStates answers GET /v1/submissions/{unit} with a list of
// schemas.SubmissionState, by revision. It tells no counts.
func (s *Server) unitStates(w http.ResponseWriter, r *http.Request, id string) {
	unit, ok := s.cfg.Election.Unit(schemas.UnitID(id))
	if !ok {
		s.refuse(w, r, &refusal{code: schemas.ProblemNotFound, field: "/path/unit", detail: "is no unit of this election"})
		return
	}
	// Looked at before the ledger: what the ledger takes in between shows as
	// counted, and nothing shows as neither.
	last := s.memory.last(unit)
	list, err := s.cfg.States.Submissions(r.Context(), schemas.UnitID(id))
	if err != nil {
		s.refuse(w, r, &refusal{code: schemas.ProblemUnavailable, detail: "The ledger could not be read; ask again.", err: err})
		return
	}
	list = withReceived(list, schemas.UnitID(id), last)
	if s.cfg.Election.RemainderOf(unit) >= 0 {
		// Whoever asks could try small numbers until one has the hash.
		for i := range list {
			list[i].Digest = schemas.Digest{}
		}
	}
	body, err := json.Marshal(list)
	if err != nil {
		s.refuse(w, r, &refusal{code: schemas.ProblemUnavailable, detail: "The answer could not be written.", err: err})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // a client that is gone asks again
	s.cfg.Metrics.answered()
}

// withReceived gives holds their public reason and adds what is durable but
// not in the ledger yet.
func withReceived(list []schemas.SubmissionState, unit schemas.UnitID, last *durable) []schemas.SubmissionState {
	out := make([]schemas.SubmissionState, 0, len(list)+1)
	for _, state := range list {
		if state.Hold != "" && state.Reason == "" {
			state.Reason = state.Hold.Explanation()
		}
		out = append(out, state)
	}
	if last != nil && !slices.ContainsFunc(out, func(state schemas.SubmissionState) bool {
		return state.Revision == last.revision && state.Digest == last.digest && state.Hold != schemas.HoldRelease
	}) {
		out = append(out, schemas.SubmissionState{Unit: unit, Revision: last.revision, Digest: last.digest, State: schemas.StateReceived})
	}
	slices.SortStableFunc(out, func(a, b schemas.SubmissionState) int { return int(a.Revision) - int(b.Revision) })
	return out
}

// key answers GET /v1/key with the verifier key of receipts.
func (s *Server) key(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"] = receiptContentType
	h.Set("Cache-Control", "max-age=300")
	_, _ = io.WriteString(w, s.cfg.Verifier+"\n")
	s.cfg.Metrics.answered()
}
