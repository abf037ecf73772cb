package ingest

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"tallystream/schemas"
)

// refusal is why a request gets a problem. It carries no counts and no keys.
type refusal struct {
	code   schemas.ProblemCode
	field  string // JSON Pointer; "/envelope/..." or "/release/..." for the note, "/header/..." for HTTP
	detail string
	allow  string        // methods, for method-not-allowed
	after  time.Duration // Retry-After, if above 0
	close  bool          // the rest of the request was not read: close the connection
	err    error         // for the log, where the client must not see the cause
}

func wrongMethod(allow string) *refusal {
	return &refusal{code: schemas.ProblemMethod, allow: allow, detail: "Allowed: " + allow + "."}
}

// refusalOf turns a check's error into a refusal.
func refusalOf(err *schemas.FieldError) *refusal {
	code := err.Code
	if _, ok := kinds[code]; !ok {
		code = schemas.ProblemMalformed
	}
	return &refusal{code: code, field: err.Field, detail: err.Want}
}

// kind is the part of a problem that depends on its code only.
type kind struct {
	status int
	title  string
}

// kinds gives every problem its status. Authority problems are 403, not 401:
// there is no WWW-Authenticate scheme to offer, the signature is in the body.
// What is well-formed and says something impossible is 422. 429 and 503 carry
// Retry-After.
var kinds = map[schemas.ProblemCode]kind{
	schemas.ProblemMalformed:         {http.StatusBadRequest, "What was sent does not follow the format."},
	schemas.ProblemTooLarge:          {http.StatusRequestEntityTooLarge, "What was sent is too large."},
	schemas.ProblemMediaType:         {http.StatusUnsupportedMediaType, "What was sent is compressed or of another media type."},
	schemas.ProblemElection:          {http.StatusUnprocessableEntity, "What was sent is for another election."},
	schemas.ProblemDefinition:        {http.StatusUnprocessableEntity, "The submission follows another ballot definition."},
	schemas.ProblemUnknownUnit:       {http.StatusUnprocessableEntity, "The election has no such unit."},
	schemas.ProblemContest:           {http.StatusUnprocessableEntity, "A contest or selection is not on the unit's ballot."},
	schemas.ProblemUnknownKey:        {http.StatusForbidden, "No signature is by a key of the roster."},
	schemas.ProblemRole:              {http.StatusForbidden, "The key may not sign this."},
	schemas.ProblemSignature:         {http.StatusForbidden, "A signature does not verify."},
	schemas.ProblemSignaturesMissing: {http.StatusForbidden, "Signatures are missing."},
	schemas.ProblemVotesExceed:       {http.StatusUnprocessableEntity, "There are more votes than the ballots could hold."},
	schemas.ProblemRateLimited:       {http.StatusTooManyRequests, "Too many requests."},
	schemas.ProblemBusy:              {http.StatusServiceUnavailable, "The stream is behind: send the same again later."},
	schemas.ProblemUnavailable:       {http.StatusServiceUnavailable, "The stream failed: send the same again."},
	schemas.ProblemNotFound:          {http.StatusNotFound, "There is nothing here."},
	schemas.ProblemMethod:            {http.StatusMethodNotAllowed, "The method is not allowed here."},
	schemas.ProblemTimeout:           {http.StatusRequestTimeout, "The request came too slowly."},
}

// StatusOf is the HTTP status of a problem.
func StatusOf(code schemas.ProblemCode) int { return kinds[code].status }

// problemOf is the problem that a refusal is answered with.
func problemOf(ref *refusal) *schemas.Problem {
	k := kinds[ref.code]
	return &schemas.Problem{Type: ref.code.URI(), Title: k.title, Status: k.status, Detail: ref.detail, Field: ref.field}
}

// refuse answers with a problem, counts it, and charges the address for it if
// it is the client's fault.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, ref *refusal) {
	s.cfg.Metrics.refused(ref.code)
	p := problemOf(ref)
	if p.Status < 500 && p.Status != http.StatusTooManyRequests {
		peerOf(r).fail()
	}
	s.logRefusal(r, ref)
	body, err := json.Marshal(p)
	if err != nil { // strings and an int always marshal
		w.WriteHeader(p.Status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", schemas.ProblemMediaTypeName)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if ref.allow != "" {
		h.Set("Allow", ref.allow)
	}
	if ref.after > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((ref.after+time.Second-1)/time.Second), 10))
	}
	if ref.close {
		h.Set("Connection", "close")
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client is gone if this fails; nothing was promised
	}
}

// logRefusal warns of what the service itself fails at, once a second at most:
// with the stream down every request fails. The metrics count them all.
func (s *Server) logRefusal(r *http.Request, ref *refusal) {
	ctx, log := r.Context(), s.cfg.Logger
	if ref.code == schemas.ProblemUnavailable {
		second := s.cfg.Now().Unix()
		if last := s.warned.Load(); last != second && s.warned.CompareAndSwap(last, second) {
			log.LogAttrs(ctx, slog.LevelWarn, "requests fail", slog.Any("err", ref.err))
		}
		return
	}
	if log.Enabled(ctx, slog.LevelDebug) {
		log.LogAttrs(ctx, slog.LevelDebug, "request refused", slog.String("problem", string(ref.code)), slog.String("field", ref.field))
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
