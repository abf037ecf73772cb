package ingest

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"

	"tallystream/schemas"
)

// MediaType is what a submission is sent as. Plain text and octets are taken
// too, so that any HTTP client will do.
const MediaType = "application/vnd.tallystream.submission"

// ReleaseMediaType is what a release is sent as; others as for submissions.
const ReleaseMediaType = "application/vnd.tallystream.release"

// form is what a path takes in.
type form struct {
	what  string // for people
	field string // JSON Pointer of the whole
	media string
	most  int // bytes
	limit string
}

var (
	envelopeForm = form{
		"envelope", "/envelope", MediaType, schemas.MaxEnvelope,
		"An envelope has at most " + itoa(schemas.MaxEnvelope) + " bytes, the body in it at most " + itoa(schemas.MaxBody) + ".",
	}
	releaseForm = form{"release", "/release", ReleaseMediaType, schemas.MaxNote, "A release has at most " + itoa(schemas.MaxNote) + " bytes."}
)

// read reads a request's body into a slice of its own, which the stream will
// keep. It reads not a byte of what is too large or compressed.
func (f *form) read(r *http.Request) ([]byte, *refusal) {
	if ref := f.checkMedia(r.Header); ref != nil {
		return nil, ref
	}
	switch n := r.ContentLength; {
	case n > int64(f.most):
		return nil, f.tooLarge()
	case n > 0:
		record := make([]byte, n)
		if _, err := io.ReadFull(r.Body, record); err != nil {
			return nil, f.unread(err)
		}
		return record, nil
	}
	// No length (chunked): read one byte more than allowed to see that it is.
	record, err := io.ReadAll(io.LimitReader(r.Body, int64(f.most)+1))
	if err != nil {
		return nil, f.unread(err)
	}
	if len(record) > f.most {
		return nil, f.tooLarge()
	}
	return record, nil
}

func (f *form) checkMedia(h http.Header) *refusal {
	// Anything encoded is refused, so no bomb is ever unpacked.
	if e := h.Get("Content-Encoding"); e != "" && e != "identity" {
		return &refusal{code: schemas.ProblemMediaType, field: "/header/Content-Encoding", detail: "Send the " + f.what + "'s exact bytes, without a content encoding.", close: true}
	}
	t := h.Get("Content-Type")
	if t == f.media || t == "" {
		return nil
	}
	switch media, _, err := mime.ParseMediaType(t); {
	case err != nil:
	case media == f.media, media == "text/plain", media == "application/octet-stream":
		return nil
	}
	return &refusal{code: schemas.ProblemMediaType, field: "/header/Content-Type", detail: "Send the " + f.what + " as " + f.media + ".", close: true}
}

func (f *form) tooLarge() *refusal {
	return &refusal{code: schemas.ProblemTooLarge, field: f.field, detail: f.limit, close: true}
}

// unread says why a body could not be read to its end.
func (f *form) unread(err error) *refusal {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &refusal{code: schemas.ProblemTimeout, field: f.field, detail: "The request came too slowly.", close: true, err: err}
	}
	return &refusal{code: schemas.ProblemMalformed, field: f.field, detail: "The request ended before its body did.", close: true, err: err}
}
