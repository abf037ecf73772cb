package witness

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"tallystream/publish/log"
)

// Limits of the HTTP side. Requests carry no name, so the rate is for all of
// them together; one costs two Ed25519 operations and, where the log grew,
// two syncs of the disk.
const (
	requestsPerSecond = 20
	requestBurst      = 60
	requestTime       = 10 * time.Second // to read a body
)

// SizeMediaType is that of the answer to a stale request.
const SizeMediaType = "text/x.tlog.size"

// handler serves one witness.
type handler struct {
	w     *Witness
	limit *rate.Limiter
}

// Handler serves
//
//	POST /add-checkpoint      https://c2sp.org/tlog-witness#add-checkpoint
//	GET  /checkpoint/<id>     the last cosigned checkpoint of a log; id is the SHA-256 of its origin, in hexadecimal
func (w *Witness) Handler() http.Handler {
	h := &handler{w, rate.NewLimiter(requestsPerSecond, requestBurst)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", h.add)
	mux.HandleFunc("GET /checkpoint/{id}", h.checkpoint)
	return mux
}

// admit keeps the rate.
func (h *handler) admit(w http.ResponseWriter) bool {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if h.limit.Allow() {
		return true
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, "too many requests", http.StatusTooManyRequests)
	return false
}

func (h *handler) add(w http.ResponseWriter, r *http.Request) {
	if !h.admit(w) {
		return
	}
	// A server that cannot set deadlines (a test's recorder) has its own.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequest))
	if err != nil {
		http.Error(w, "want a body of at most "+strconv.Itoa(MaxRequest)+" bytes, in time", http.StatusRequestEntityTooLarge)
		return
	}
	req, err := ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	lines, err := h.w.Add(r.Context(), req)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(lines)
}

// refuse answers with the status that the specification has for the reason.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var stale *StaleError
	var fork *ForkError
	switch {
	case errors.As(err, &stale):
		w.Header().Set("Content-Type", SizeMediaType)
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, strconv.FormatInt(stale.Size, 10)+"\n")
	case errors.As(err, &fork):
		w.Header().Set("Content-Type", SizeMediaType)
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, strconv.FormatInt(fork.Seen.N, 10)+"\n")
	case errors.Is(err, ErrMalformed):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, ErrUnknownLog):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, log.ErrUnsigned), errors.Is(err, log.ErrSignature):
		http.Error(w, "no signature by a trusted key of this log", http.StatusForbidden)
	case errors.Is(err, ErrProof):
		http.Error(w, ErrProof.Error(), http.StatusUnprocessableEntity)
	default:
		h.w.cfg.Logger.ErrorContext(r.Context(), "could not witness", "err", err)
		http.Error(w, "the witness failed; try again", http.StatusInternalServerError)
	}
}

func (h *handler) checkpoint(w http.ResponseWriter, r *http.Request) {
	if !h.admit(w) {
		return
	}
	for origin := range h.w.logs {
		if ID(origin) != r.PathValue("id") {
			continue
		}
		if b := h.w.Cosigned(origin); b != nil {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("Access-Control-Allow-Origin", "*")
			_, _ = w.Write(b)
			return
		}
	}
	http.Error(w, "no checkpoint", http.StatusNotFound)
}
