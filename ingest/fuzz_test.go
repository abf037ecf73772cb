package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"tallystream/ingest"
	"tallystream/schemas"
)

// countingStream counts appends and compares the last with what was sent.
type countingStream struct {
	appends int
	last    []byte
}

func (s *countingStream) Append(_ context.Context, _ schemas.Partition, record []byte) (schemas.Checkpoint, error) {
	s.appends++
	s.last = record
	return schemas.Checkpoint(s.appends), nil
}

// FuzzHandler sends whatever to the API: as it is, or as the body of a well
// signed envelope. Every answer is a receipt for exactly what was appended, or
// a problem and nothing appended.
func FuzzHandler(f *testing.F) {
	o := newBench(f, nil)
	f.Add(o.seal(f, 1, o.body(f, 1), "official-leon"), false, "POST", ingest.SubmissionsPath, ingest.MediaType, "")
	f.Add([]byte(o.body(f, 1)), true, "POST", ingest.SubmissionsPath, "text/plain; charset=utf-8", "identity")
	f.Add([]byte(`{"schema":"tallystream.submission/1"}`), true, "POST", ingest.SubmissionsPath, "", "gzip")
	f.Add(o.release(f, "supervisor-1", "supervisor-2"), false, "POST", ingest.ReleasesPath, ingest.ReleaseMediaType, "")
	f.Add(o.release(f, "supervisor-1"), false, "POST", ingest.ReleasesPath, "", "")
	f.Add([]byte{}, false, "GET", ingest.SubmissionsPath+"/leon-1101", "", "")
	f.Add([]byte{}, false, "HEAD", ingest.KeyPath, "", "")
	f.Fuzz(func(t *testing.T, body []byte, sign bool, method, path, media, encoding string) {
		if sign && len(body) > 0 && len(body) <= schemas.MaxBody {
			body = o.seal(t, 1, string(body), "official-leon")
		}
		r, err := http.NewRequest(method, "http://ingest/", bytes.NewReader(body))
		if err != nil {
			return // no such method
		}
		r.URL.Path = path
		r.Header.Set("Content-Type", media)
		r.Header.Set("Content-Encoding", encoding)
		stream := new(countingStream)
		cfg := o.config
		cfg.Stream, cfg.Metrics = stream, newMetrics()
		s, err := ingest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		switch {
		case w.Code == http.StatusOK && path == ingest.SubmissionsPath:
			if stream.appends != 1 || !bytes.Equal(stream.last, body) {
				t.Errorf("a receipt with %d appends", stream.appends)
			}
			o.receipt(t, w, body)
		case w.Code == http.StatusOK && path == ingest.ReleasesPath:
			if stream.appends != 1 || !bytes.Equal(stream.last, body) {
				t.Errorf("a receipt with %d appends", stream.appends)
			}
			o.releaseReceipt(t, w, body)
		case stream.appends != 0:
			t.Errorf("status %d and something appended", w.Code)
		case w.Code != http.StatusOK:
			var p schemas.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); method != http.MethodHead && (err != nil || p.Status != w.Code || p.Code() == "") {
				t.Errorf("status %d without a problem: %s", w.Code, w.Body)
			}
		}
	})
}

func FuzzSheet(f *testing.F) {
	e := openOffice(f).election
	f.Add([]byte(unitCSV), "leon-1102", true)
	f.Add([]byte("contest,selection,count_type,votes\npresident,smith,early,1\n"), "leon-1102", false)
	f.Fuzz(func(t *testing.T, b []byte, unit string, zeros bool) {
		body, err := ingest.BodyOfSheet(b, e, schemas.UnitID(unit), zeros)
		if err != nil {
			return
		}
		var s schemas.Submission
		if err := s.Decode(body); err != nil {
			t.Errorf("a sheet makes a body that cannot be read: %v\n%s", err, body)
		}
	})
}
