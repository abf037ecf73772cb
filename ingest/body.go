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

// readEnvelope reads a request's body into a slice of its own, which the stream
// will keep. It reads not a byte of what is too large or compressed.
func readEnvelope(r *http.Request) ([]byte, *refusal) {
	if ref := checkMedia(r.Header); ref != nil {
		return nil, ref
	}
	switch n := r.ContentLength; {
	case n > schemas.MaxEnvelope:
		return nil, tooLarge()
	case n > 0:
		record := make([]byte, n)
		if _, err := io.ReadFull(r.Body, record); err != nil {
			return nil, unread(err)
		}
		return record, nil
	}
	// No length (chunked): read one byte more than allowed to see that it is.
	record, err := io.ReadAll(io.LimitReader(r.Body, schemas.MaxEnvelope+1))
	if err != nil {
		return nil, unread(err)
	}
	if len(record) > schemas.MaxEnvelope {
		return nil, tooLarge()
	}
	return record, nil
}

func checkMedia(h http.Header) *refusal {
	// Anything encoded is refused, so no bomb is ever unpacked.
	if e := h.Get("Content-Encoding"); e != "" && e != "identity" {
		return &refusal{code: schemas.ProblemMediaType, field: "/header/Content-Encoding", detail: "Send the envelope's exact bytes, without a content encoding.", close: true}
	}
	t := h.Get("Content-Type")
	if t == MediaType || t == "" {
		return nil
	}
	switch media, _, err := mime.ParseMediaType(t); {
	case err != nil:
	case media == MediaType, media == "text/plain", media == "application/octet-stream":
		return nil
	}
	return &refusal{code: schemas.ProblemMediaType, field: "/header/Content-Type", detail: "Send the envelope as " + MediaType + ".", close: true}
}

func tooLarge() *refusal {
	return &refusal{code: schemas.ProblemTooLarge, field: "/envelope", detail: "An envelope has at most " + itoa(schemas.MaxEnvelope) + " bytes, the body in it at most " + itoa(schemas.MaxBody) + ".", close: true}
}

// unread says why a body could not be read to its end.
func unread(err error) *refusal {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &refusal{code: schemas.ProblemTimeout, field: "/envelope", detail: "The request came too slowly.", close: true, err: err}
	}
	return &refusal{code: schemas.ProblemMalformed, field: "/envelope", detail: "The request ended before its body did.", close: true, err: err}
}
